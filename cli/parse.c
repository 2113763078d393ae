/* SPDX-License-Identifier: MIT */
/*
 * argp, but a mistake is answered with one line. argp's own way prints the mistake and a second
 * line of advice; so its error output is off here and --help and --version are done by hand.
 */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_VERSION = 'V', KEY_HELP = 0x10001 };

struct outer {
	const struct argp *argp; /* the command's own */
	const char *name;
	void *input;
	const char *last_word; /* where the parse stopped */
	int status;            /* -1: go on */
};

static const struct argp_option own_options[] = {
	{"help", KEY_HELP, NULL, 0, "Give this help", -1},
	{"version", KEY_VERSION, NULL, 0, "Print the version", -1},
	{0},
};

/* Does the option word @word want a value that it does not have? */
static bool lacks_value(const struct argp *argp, const char *word)
{
	size_t length = strlen(word);
	unsigned matches = 0;
	unsigned wanting = 0;

	if (length < 3 || strncmp(word, "--", 2) != 0 || strchr(word, '='))
		return false;
	for (const struct argp_option *option = argp->options; option->name || option->group;
	     option++) {
		if (!option->name || strncmp(option->name, word + 2, length - 2) != 0)
			continue;
		wanting += option->arg != NULL;
		matches++;
	}
	return matches == 1 && wanting == 1;
}

static int explain(const struct outer *outer)
{
	const char *word = outer->last_word ? outer->last_word : "";

	if (lacks_value(outer->argp, word))
		return cli_refuse("option '%s' needs a value; `%s --help` tells which", word,
				  outer->name);
	return cli_refuse("unknown or ambiguous option: '%s'; `%s --help` lists the options", word,
			  outer->name);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct outer *outer = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = outer->input;
		return 0;
	case KEY_HELP:
		outer->status = -2;
		return ECANCELED;
	case KEY_VERSION:
		(void)puts("vmmu " VMMU_VERSION);
		outer->status = fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
		return ECANCELED;
	case ARGP_KEY_ARG:
		outer->status = cli_refuse("unexpected word: '%s'; `%s --help` lists the options",
					   arg, outer->name);
		return ECANCELED;
	case ARGP_KEY_ERROR:
		if (state->next > 0)
			outer->last_word = state->argv[state->next - 1];
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cli_parse(const struct argp *argp, const char *name, int argc, char **argv, void *input)
{
	const struct argp_child children[] = {{argp, 0, NULL, 0}, {0}};
	const struct argp whole = {.options = own_options, .parser = parse, .children = children};
	struct outer outer = {.argp = argp, .name = name, .input = input, .status = -1};
	error_t error;

	error = argp_parse(&whole, argc, argv, ARGP_NO_ERRS | ARGP_NO_HELP | ARGP_NO_EXIT, NULL,
			   &outer);
	if (outer.status == -2) {
		argp_help(&whole, stdout, ARGP_HELP_STD_HELP & ~(unsigned)ARGP_HELP_EXIT_OK,
			  (char *)(uintptr_t)name);
		return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
	}
	if (error == 0 || outer.status != -1)
		return outer.status;
	return error == ECANCELED ? CLI_BAD_INPUT : explain(&outer);
}
