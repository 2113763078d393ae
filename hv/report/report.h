/* SPDX-License-Identifier: MIT */
/* What is told when the guest has ended. */
#ifndef HV_REPORT_REPORT_H
#define HV_REPORT_REPORT_H

struct guest;
struct vcpu;

/* All figures to the report channel. Return: the exit status to ask for, 0 or 1. */
int report_figures(struct guest *guest);

/* Where the guest is and what it last faulted on, to COM1, for people. */
void crash_report(struct vcpu *vcpu);

#endif
