/* SPDX-License-Identifier: MIT */
/* Directed looks at what a random life rarely meets. */
#ifndef TESTS_TDP_PROBE_H
#define TESTS_TDP_PROBE_H

#include <stddef.h>

/* Return: NULL if all is well, else what is wrong, in words. */
const char *probe_all(void);

#endif
