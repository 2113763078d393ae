/* SPDX-License-Identifier: MIT */
/* The words of the hypervisor's command line (docs/run-interface.md). */
#ifndef HV_GUEST_OPTIONS_H
#define HV_GUEST_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum audit_mode { AUDIT_OFF, AUDIT_EXIT, AUDIT_SAMPLE, AUDIT_EVERY };

struct options {
	uint64_t memory; /* bytes */
	uint64_t audit_every;
	enum audit_mode audit;
	unsigned prefetch; /* for the library; 0: its default */
	unsigned levels;   /* of host and nested tables, 4 or 5 */
	unsigned cpus;     /* of the guest */
	unsigned resident; /* percent of memory that stays in host frames; 100: all */
	bool shadow;       /* no nested paging */
	bool huge;
	bool trace;
	bool stress;    /* withdraw memory while the guest runs */
	bool vgtt;      /* the mediated device */
	bool host_port; /* the guest may ask for slot operations, see host_port.h */
	bool migrate;   /* keep a second copy of the guest's memory */
	bool prefill;   /* give the guest all its host frames before it starts */
};

/* Return: false, with a sentence at @trouble, if a word is unknown or has a bad value. */
bool options_parse(struct options *options, const char *line, char *trouble, uint64_t bytes);

#endif
