/* SPDX-License-Identifier: MIT */
/* The `vmmu` command: finds the subcommand and hands over. */
#include "cli.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const struct cli_command commands[] = {
	{"run", "boot a guest on memory that vmmu virtualises; show what the MMU did", run_main},
	{"bench", "measure what the reference hypervisor costs, in instructions", bench_main},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static int print_help(void)
{
	(void)puts("Usage: vmmu COMMAND [OPTION...]\n"
		   "vmmu virtualises the memory management unit of x86 guests. This command runs\n"
		   "guests on it, inside QEMU; no hardware support and no root are needed.\n"
		   "\n"
		   "Commands:");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		(void)printf("  %-8s %s\n", commands[i].name, commands[i].summary);
	(void)puts("\n"
		   "  --help     this text; `vmmu COMMAND --help` tells about one command\n"
		   "  --version  the version\n"
		   "\n"
		   "Exit status: 0 done and all well, 1 something failed, 2 bad input.");
	return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}

static int print_version(void)
{
	(void)puts("vmmu " VMMU_VERSION);
	return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}

/* A file opened later must not become standard output because the caller closed that. */
static void occupy_standard_files(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			(void)open("/dev/null", O_RDWR);
	}
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : NULL;

	occupy_standard_files();
	/* A reader that went away is an error of the write, not the end of the process. */
	(void)signal(SIGPIPE, SIG_IGN);
	if (!word)
		return cli_refuse("a command is missing; `vmmu --help` lists them");
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "-?") == 0)
		return print_help();
	if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
		return print_version();
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(commands[i].name, word) == 0)
			return commands[i].main(argc - 1, argv + 1);
	}
	return cli_refuse("unknown %s: '%s'; `vmmu --help` lists what there is",
			  word[0] == '-' ? "option" : "command", word);
}
