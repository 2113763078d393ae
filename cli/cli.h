/* SPDX-License-Identifier: MIT */
/*
 * What every subcommand of `vmmu` shares: exit statuses, one-line messages, growing buffers, time,
 * and argument parsing that answers a mistake with exactly one line.
 */
#ifndef VMMU_CLI_CLI_H
#define VMMU_CLI_CLI_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)

/* Exit statuses of the command, whatever the subcommand. */
enum cli_status {
	CLI_OK = 0,        /* all that was asked for happened */
	CLI_FAILED = 1,    /* it was tried and did not go well */
	CLI_BAD_INPUT = 2, /* nothing was tried: an option, a file or the machine forbids it */
};

struct cli_command {
	const char *name;
	const char *summary;
	int (*main)(int argc, char **argv); /* argv[0] is the command's name */
};

/* The subcommands, each in its own file. Return: the process's exit status. */
int run_main(int argc, char **argv);
int bench_main(int argc, char **argv);

/* Print "vmmu: ..." as one line on standard error; control characters are shown as '?'. */
void cli_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* cli_warn(), then CLI_BAD_INPUT, so that a check can `return cli_refuse(...)`. */
int cli_refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * argp_parse() with one line for every mistake. Handles --help and --version, which @argp need not
 * list. @name is what the help calls the program. A parser that finds a bad value tells so with
 * cli_refuse() and returns ECANCELED.
 * Return: -1 to go on, else the exit status to leave with.
 */
int cli_parse(const struct argp *argp, const char *name, int argc, char **argv, void *input);

/* Memory or exit: a command that has no memory left for its own few buffers cannot go on. */
void *cli_allocate(size_t bytes);
char *cli_copy(const char *text);
char *cli_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A buffer that grows at the end and is consumed at the front. All zero is empty. */
struct cli_buffer {
	char *data;
	size_t used; /* bytes */
	size_t size; /* bytes */
};

void cli_buffer_add(struct cli_buffer *buffer, const void *data, size_t bytes);
void cli_buffer_drop(struct cli_buffer *buffer, size_t bytes);
void cli_buffer_free(struct cli_buffer *buffer);

/*
 * Take the first line, without its newline, as a string to free; NULL when there is no whole line.
 * A line longer than @limit bytes is cut into several, so that memory stays bounded.
 */
char *cli_buffer_take_line(struct cli_buffer *buffer, size_t limit);

/* Milliseconds on a clock that only goes forward. */
int64_t cli_now_ms(void);

/* "512M", "2G", "65536K", "512" (MiB): bytes in *@bytes. Return: false when it is not a size. */
bool cli_parse_size(const char *text, uint64_t *bytes);

/* A whole decimal number without sign. Return: false when it is anything else, or over @max. */
bool cli_parse_number(const char *text, uint64_t max, uint64_t *number);

/* "512M", "1.5G": for people; exact when @bytes is a multiple of 1 MiB below 10 GiB. */
const char *cli_size_text(uint64_t bytes, char *text, size_t size);

/* Is there something under this name? (any kind, links followed) */
bool cli_exists(const char *path);

#endif
