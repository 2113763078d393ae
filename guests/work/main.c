/* SPDX-License-Identifier: MIT */
/*
 * vmmu-guest: runs every part of the work, then says so in one line that carries the token of this
 * run, and the number of processors if there are several. With the words `child SEED` it is one of
 * its own children.
 */
#include "work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	static char token[4096];
	unsigned cpus;

	if (argc == 3 && strcmp(argv[1], "child") == 0)
		return work_child(strtoull(argv[2], NULL, 10));

	(void)work_seconds();
	work_option("vmmu.token=", "none", token, sizeof(token));
	work_mappings();
	work_copy_on_write();
	work_processes("/proc/self/exe");
	work_files(argc > 1 ? argv[1] : "/tmp");
	cpus = work_parallel();
	work_memory();
	work_say("all work done in %.1f s", work_seconds());
	(void)printf("vmmu-guest: ok token=%s", token);
	if (cpus > 1)
		(void)printf(" cpus=%u", cpus);
	(void)putchar('\n');
	work_drain();
	return 0;
}
