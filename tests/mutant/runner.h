/* SPDX-License-Identifier: MIT */
/*
 * Each deliberate mistake of src/base/mutate.h in a process of its own: what the tests notice of it
 * is said; what they do not notice fails. Crashing and hanging count as noticed, too.
 */
#ifndef TESTS_MUTANT_RUNNER_H
#define TESTS_MUTANT_RUNNER_H

#include <stddef.h>

#include "base/mutate.h"

struct mutant {
	enum vmmu_mutant mutant;
	const char *name, *text;
};
#define MUTANT_ROW(name, text) {VMMU_MUTANT_##name, #name, text},

#define MUTANT_NOTICE_BYTES 700u

/* Runs in the process of the mutant. Leaves what is wrong in @notice, in words; else "". */
typedef void mutant_look_fn(char notice[MUTANT_NOTICE_BYTES]);

/* All of them, and the library without mistakes, which must be quiet. As many processes at a time
 * as there are CPUs. Return: the program's exit status. */
int mutants_run(const struct mutant *mutants, size_t count, mutant_look_fn *look);

#endif
