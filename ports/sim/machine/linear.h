/* SPDX-License-Identifier: MIT */
/*
 * linear.h - the machine under shadow paging; include this one.
 *
 * Without a second stage the hardware walks tables with the guest's linear address. Three parts,
 * which share words (linear_types.h) and nothing else:
 *
 *   linear_cpu.h     a CPU that walks such tables in host memory and keeps stale entries
 *   linear_oracle.h  what a guest access may do, from guest memory, registers and history alone
 *   linear_spec.h    the manuals' rules for one path of entries, one plain predicate each
 *
 * A test plays the guest: it tells the oracle what the guest writes, loads and flushes, lets
 * the hypervisor under test and a linear CPU do their work, and asks the oracle about each
 * access whether hardware could have answered so.
 */
#ifndef SIM_MACHINE_LINEAR_H
#define SIM_MACHINE_LINEAR_H

#include "linear_cpu.h"
#include "linear_oracle.h"
#include "linear_spec.h"
#include "linear_types.h"

#endif
