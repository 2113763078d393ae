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

static void read_command_line(char *line, size_t size)
{
	FILE *file = fopen("/proc/cmdline", "r");

	line[0] = '\0';
	if (!file)
		return;
	if (!fgets(line, (int)size, file))
		line[0] = '\0';
	(void)fclose(file);
}

void work_token(char *token, size_t size)
{
	static const char key[] = "vmmu.token=";
	static char line[8192];
	char *rest = NULL;

	(void)snprintf(token, size, "none");
	read_command_line(line, sizeof(line));
	for (char *word = strtok_r(line, " \t\n", &rest); word;
	     word = strtok_r(NULL, " \t\n", &rest)) {
		if (strncmp(word, key, sizeof(key) - 1) == 0)
			(void)snprintf(token, size, "%s", word + sizeof(key) - 1);
	}
}

int main(int argc, char **argv)
{
	static char token[4096];
	unsigned cpus;

	if (argc == 3 && strcmp(argv[1], "child") == 0)
		return work_child(strtoull(argv[2], NULL, 10));

	(void)work_seconds();
	work_token(token, sizeof(token));
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
