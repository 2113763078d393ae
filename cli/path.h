/* SPDX-License-Identifier: MIT */
/* Questions about file names that the checks of `vmmu run` ask. */
#ifndef VMMU_CLI_PATH_H
#define VMMU_CLI_PATH_H

#include <stdbool.h>

/* Do both names lead to one file, also through links, or would they once it is made? */
bool path_is_same(const char *a, const char *b);

/* Is @path what the descriptor @fd has open already? */
bool path_is_open_as(const char *path, int fd);

/* The folder that @path is in, links in its last part followed; to free. NULL: it has none. */
char *path_folder(const char *path);

#endif
