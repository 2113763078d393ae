/* SPDX-License-Identifier: MIT */
/* Parsing of the hypervisor's command line. */
#include "options.h"

#include <vmmu/port.h>

#include "../platform/platform.h"

enum { WORD_BYTES = 128, MEMORY_MIN_MIB = 4, RESIDENT_MIN = 10 };

static bool parse_switch(const char *value, bool *to)
{
	if (!text_equals(value, "on") && !text_equals(value, "off"))
		return false;
	*to = text_equals(value, "on");
	return true;
}

static bool parse_audit(const char *value, struct options *options)
{
	static const struct {
		const char *word;
		enum audit_mode mode;
	} modes[] = {{"off", AUDIT_OFF}, {"exit", AUDIT_EXIT}, {"sample", AUDIT_SAMPLE}};

	for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (text_equals(value, modes[i].word)) {
			options->audit = modes[i].mode;
			return true;
		}
	}
	if (!text_starts(value, "every=") || !text_to_u64(value + 6, &options->audit_every))
		return false;
	options->audit = AUDIT_EVERY;
	return options->audit_every != 0;
}

static bool parse_memory(const char *value, uint64_t *bytes)
{
	return text_to_u64(value, bytes) && *bytes >= MIB(MEMORY_MIN_MIB) &&
	       *bytes % BLOCK_2M_BYTES == 0;
}

static bool parse_levels(const char *value, unsigned *levels)
{
	*levels = text_equals(value, "5") ? 5 : 4;
	return *levels == 5 || text_equals(value, "4");
}

static bool parse_cpus(const char *value, unsigned *cpus)
{
	uint64_t count;

	if (!text_to_u64(value, &count) || count == 0 || count > CPUS_MAX)
		return false;
	*cpus = (unsigned)count;
	return true;
}

static bool parse_resident(const char *value, unsigned *resident)
{
	uint64_t percent;

	if (!text_to_u64(value, &percent) || percent < RESIDENT_MIN || percent > 100)
		return false;
	*resident = (unsigned)percent;
	return true;
}

static bool parse_prefetch(const char *value, unsigned *prefetch)
{
	uint64_t count;

	if (!text_to_u64(value, &count) || count == 0 || count > VMMU_PREFETCH_MAX ||
	    (count & (count - 1)) != 0)
		return false;
	*prefetch = (unsigned)count;
	return true;
}

static bool parse_mmu(const char *value, bool *shadow)
{
	*shadow = text_equals(value, "shadow");
	return *shadow || text_equals(value, "npt");
}

/* NULL: taken; else what values the word takes. */
static const char *word_take(struct options *options, const char *word)
{
	if (text_starts(word, "mmu="))
		return parse_mmu(word + 4, &options->shadow) ? NULL : "npt or shadow";
	if (text_starts(word, "memory="))
		return parse_memory(word + 7, &options->memory)
			       ? NULL
			       : "a number of bytes, at least 4 MiB, a multiple of 2 MiB";
	if (text_starts(word, "huge="))
		return parse_switch(word + 5, &options->huge) ? NULL : "on or off";
	if (text_starts(word, "audit="))
		return parse_audit(word + 6, options) ? NULL : "off, exit, sample or every=N";
	if (text_starts(word, "trace="))
		return parse_switch(word + 6, &options->trace) ? NULL : "on or off";
	if (text_starts(word, "prefill="))
		return parse_switch(word + 8, &options->prefill) ? NULL : "on or off";
	if (text_starts(word, "vgtt="))
		return parse_switch(word + 5, &options->vgtt) ? NULL : "on or off";
	if (text_starts(word, "hostport="))
		return parse_switch(word + 9, &options->host_port) ? NULL : "on or off";
	if (text_starts(word, "stress="))
		return parse_switch(word + 7, &options->stress) ? NULL : "on or off";
	if (text_starts(word, "migrate="))
		return parse_switch(word + 8, &options->migrate) ? NULL : "on or off";
	if (text_starts(word, "levels="))
		return parse_levels(word + 7, &options->levels) ? NULL : "4 or 5";
	if (text_starts(word, "prefetch="))
		return parse_prefetch(word + 9, &options->prefetch) ? NULL : "1, 2, 4, 8, 16 or 32";
	if (text_starts(word, "cpus="))
		return parse_cpus(word + 5, &options->cpus) ? NULL : "a number from 1 to 8";
	if (text_starts(word, "resident="))
		return parse_resident(word + 9, &options->resident) ? NULL
								    : "a number from 10 to 100";
	return "";
}

/* NULL, or why the options do not go together. */
static const char *contradiction(const struct options *options)
{
	if (options->memory == 0)
		return "memory= is missing on the hypervisor's line: bytes of guest memory";
	if (options->migrate && options->host_port)
		return "migrate=on does not go together with hostport=on: slots come and go there";
	if (options->resident == 100)
		return NULL;
	if (options->migrate)
		return "resident= does not go together with migrate=on: the copy needs all of the "
		       "guest's memory";
	if (options->vgtt)
		return "resident= does not go together with vgtt=on: the device keeps addresses of "
		       "guest memory";
	if (options->prefill)
		return "resident= does not go together with prefill=on: one takes away what the "
		       "other gives";
	if (options->huge)
		return "resident= needs huge=off: memory comes and goes in 4K frames";
	return NULL;
}

bool options_parse(struct options *options, const char *line, char *trouble, uint64_t bytes)
{
	char word[WORD_BYTES];
	const char *conflict;
	size_t length;

	*options = (struct options){.huge = true, .levels = 4, .cpus = 1, .resident = 100};
	while ((length = boot_word_next(&line, word, sizeof(word))) != 0) {
		const char *expected = length < sizeof(word) ? word_take(options, word) : "";

		if (expected == NULL)
			continue;
		if (expected[0] == '\0')
			format_text(trouble, bytes, "unknown word '%s' on the hypervisor's line",
				    word);
		else
			format_text(trouble, bytes, "bad value in '%s': it takes %s", word,
				    expected);
		return false;
	}
	conflict = contradiction(options);
	if (conflict != NULL)
		format_text(trouble, bytes, "%s", conflict);
	return conflict == NULL;
}
