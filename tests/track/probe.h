/* SPDX-License-Identifier: MIT */
/* Short lives, each aimed at one rule of tracking. */
#ifndef TESTS_TRACK_PROBE_H
#define TESTS_TRACK_PROBE_H

/* Return: NULL, or the first rule that is broken, in words. */
const char *track_probes(void);

#endif
