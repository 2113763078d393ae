/* SPDX-License-Identifier: MIT */
/* Runs the sets that the command line names: a word "sets=exits,touch", no order, no blanks. */
#include "payload.h"

enum { INFO_COMMAND_LINE = 4 }; /* words of the multiboot information */

void payload_main(const uint32_t *multiboot);

static const struct {
	const char *name;
	void (*run)(void);
} sets[] = {
	{"exits", bench_exits}, {"touch", bench_touch}, {"tables", bench_tables},
	{"dirty", bench_dirty}, {"slots", bench_slots},
};

/* Behind @prefix, or NULL. */
static const char *skip(const char *text, const char *prefix)
{
	while (*prefix != '\0') {
		if (*text++ != *prefix++)
			return 0;
	}
	return text;
}

/* Is @name one of the words between commas after "sets="? */
static bool is_wanted(const char *line, const char *name)
{
	const char *rest;

	for (; *line != '\0'; line++) {
		const char *word = skip(line, "sets=");

		while (word != 0) {
			rest = skip(word, name);
			if (rest != 0 && (*rest == ',' || *rest == ' ' || *rest == '\0'))
				return true;
			while (*word != ',' && *word != ' ' && *word != '\0')
				word++;
			word = *word == ',' ? word + 1 : 0;
		}
	}
	return false;
}

void payload_main(const uint32_t *multiboot)
{
	const char *line = (const char *)(uintptr_t)multiboot[INFO_COMMAND_LINE];

	uint64_t entry = ticks();

	exceptions_init();
	bench_check();
	put_result("check", "entry", entry, 1);
	for (unsigned i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		if (is_wanted(line, sets[i].name))
			sets[i].run();
	}
	put_result("check", "done", 1, 1);
	out8(PORT_DEBUG_EXIT, 0);
}
