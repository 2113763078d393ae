/* SPDX-License-Identifier: MIT */
/* The options of `vmmu run`: their help, and whether each value is one. */
#include "run.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MAX 1e6 /* seconds */
#define EVERY_MAX UINT32_MAX

enum {
	KEY_GUEST = 0x200,
	KEY_MMU,
	KEY_KERNEL,
	KEY_INITRD,
	KEY_APPEND,
	KEY_MEMORY,
	KEY_CPUS,
	KEY_HUGE,
	KEY_AUDIT,
	KEY_INTERACTIVE,
	KEY_TIMEOUT,
	KEY_JSON,
	KEY_TRACE,
	KEY_ICOUNT,
	KEY_STRESS,
	KEY_RESIDENT,
	KEY_MIGRATE,
	KEY_QEMU,
	KEY_HYPERVISOR,
};

static const struct argp_option argp_options[] = {
	{NULL, 0, NULL, 0, "The guest:", 1},
	{"guest", KEY_GUEST, "NAME", 0,
	 "One that is fetched from Debian once. Linux, with an initramfs that checks its memory "
	 "and "
	 "powers off: linux (default), linux-la57 (5-level tables), linux-pae and linux-i386 (32 "
	 "bits, with and without PAE), mediator (with a mediated device whose page table the "
	 "hypervisor tracks). Others: memtest (memtest86+, one pass), mach (GNU Mach alone)",
	 1},
	{"kernel", KEY_KERNEL, "FILE", 0,
	 "Instead: a Linux bzImage or a multiboot1 ELF32 kernel of yours", 1},
	{"initrd", KEY_INITRD, "FILE", 0, "Its initramfs; for a multiboot kernel, its first module",
	 1},
	{"append", KEY_APPEND, "WORDS", 0,
	 "Its command line; with --guest, added to what that needs", 1},
	{"memory", KEY_MEMORY, "SIZE", 0,
	 "Its memory: 512M, 2G, ... (a plain number is MiB; a multiple of 2M; default 512M, "
	 "mach 128M, memtest 32M)",
	 1},
	{"cpus", KEY_CPUS, "N", 0, "Its processors, 1 to 8 (default 1)", 1},
	{NULL, 0, NULL, 0, "The memory management unit:", 2},
	{"mmu", KEY_MMU, "MODE", 0,
	 "How memory is virtualised: npt (nested paging, default) or shadow (without it)", 2},
	{"huge", KEY_HUGE, "on|off", 0, "May 2M and 1G pages be used (default on)", 2},
	{"audit", KEY_AUDIT, "WHEN", 0,
	 "Check the library's invariants: off (default), exit (at every guest exit), sample (small "
	 "steps, a tenth of the time), every=N (everything, each N exits)",
	 2},
	{"stress", KEY_STRESS, NULL, 0,
	 "Take translations away all the time while the guest runs: ranges, a slot, everything; "
	 "log and count what it writes now and then",
	 2},
	{"resident", KEY_RESIDENT, "PERCENT", 0,
	 "Keep only this share of the guest's memory in host frames, 10% to 100% (default); cold "
	 "pages are compressed, and brought back when they are needed. In 4K pages; not with "
	 "--guest mediator",
	 2},
	{"migrate", KEY_MIGRATE, NULL, 0,
	 "Rehearse a live migration: copy the guest's memory while it runs, and again what it "
	 "writes "
	 "meanwhile; at its end the two must be the same. Takes twice its memory; not with "
	 "--resident",
	 2},
	{NULL, 0, NULL, 0, "The run:", 3},
	{"interactive", KEY_INTERACTIVE, NULL, 0,
	 "Connect this terminal to the guest's serial port; Ctrl-A x quits, Ctrl-A Ctrl-A sends "
	 "Ctrl-A. The Linux guests then end in a shell, the others go on until you quit",
	 3},
	{"timeout", KEY_TIMEOUT, "SECONDS", 0,
	 "End the run after this time (default: 600 with --guest, none with --kernel, --initrd and "
	 "with --interactive)",
	 3},
	{"json", KEY_JSON, "FILE", 0, "Write the figures of the report there", 3},
	{"trace", KEY_TRACE, "FILE", 0, "Write the library's binary trace records there", 3},
	{"icount", KEY_ICOUNT, NULL, 0,
	 "Let QEMU count instructions: one is one tick of the time stamp counter, and runs repeat; "
	 "several processors take turns then",
	 3},
	{"qemu", KEY_QEMU, "PROGRAM", 0, "The QEMU to use (default qemu-system-x86_64)", 3},
	{"hypervisor", KEY_HYPERVISOR, "FILE", 0, "The hypervisor image (default: the built one)",
	 3},
	{0},
};

static const char doc[] =
	"Boot a guest on memory that vmmu virtualises, inside QEMU, and show what the MMU did."
	"\v"
	"The guest's console appears live on standard output, then a table of exits, faults, "
	"mapped "
	"pages, MMIO, flushes and audit findings.\n"
	"\n"
	"Exit status: 0 when the guest powered off by itself, a Linux of --guest reported ok, and "
	"no "
	"audit finding occurred. memtest and mach are stopped: 0 after a pass without errors, and "
	"when Mach's drivers are up and it misses the programs to run. For multiboot kernels that "
	"use the debug-exit port 0xf4: 0 when they wrote 0. Else 1; 2 for bad input, and then "
	"nothing was started or written.\n"
	"\n"
	"Examples:\n"
	"  vmmu run\n"
	"  vmmu run --huge off --audit every=1000 --json report.json\n"
	"  vmmu run --guest linux-pae --mmu shadow\n"
	"  vmmu run --kernel test.flat --append \"args\" --timeout 60";

static int refuse_value(const char *option, const char *value, const char *wanted)
{
	(void)cli_refuse("--%s: '%s' is not %s", option, value, wanted);
	return ECANCELED;
}

static int parse_guest(struct run_options *options, const char *arg)
{
	char *names;

	options->guest = guest_find(arg);
	if (options->guest)
		return 0;
	names = guest_names();
	(void)cli_refuse("--guest: '%s' is not a known guest; known: %s", arg, names);
	free(names);
	return ECANCELED;
}

static int parse_mmu(struct run_options *options, const char *arg)
{
	if (strcmp(arg, "npt") != 0 && strcmp(arg, "shadow") != 0)
		return refuse_value("mmu", arg, "a known mode; known: npt, shadow");
	options->mmu = arg;
	return 0;
}

static int parse_audit(struct run_options *options, const char *arg)
{
	uint64_t every = 0;

	options->audit = arg;
	if (strcmp(arg, "off") == 0 || strcmp(arg, "exit") == 0 || strcmp(arg, "sample") == 0)
		return 0;
	if (strncmp(arg, "every=", 6) == 0 && cli_parse_number(arg + 6, EVERY_MAX, &every) &&
	    every > 0)
		return 0;
	return refuse_value("audit", arg, "one of off, exit, sample, every=N with N from 1");
}

static int parse_huge(struct run_options *options, const char *arg)
{
	options->huge = strcmp(arg, "on") == 0;
	if (options->huge || strcmp(arg, "off") == 0)
		return 0;
	return refuse_value("huge", arg, "on or off");
}

static int parse_memory(struct run_options *options, const char *arg)
{
	if (!cli_parse_size(arg, &options->memory_bytes))
		return refuse_value("memory", arg, "a size like 512M or 2G");
	if (options->memory_bytes == 0 || options->memory_bytes % (2 * MIB) != 0)
		return refuse_value("memory", arg, "a multiple of 2M");
	return 0;
}

static int parse_cpus(struct run_options *options, const char *arg)
{
	if (!cli_parse_number(arg, RUN_CPUS_MAX, &options->cpus) || options->cpus == 0)
		return refuse_value("cpus", arg, "a number from 1 to 8");
	return 0;
}

static int parse_resident(struct run_options *options, const char *arg)
{
	size_t length = strlen(arg);
	char *number = cli_format("%.*s", (int)(length - (length && arg[length - 1] == '%')), arg);
	bool ok = cli_parse_number(number, 100, &options->resident) &&
		  options->resident >= RUN_RESIDENT_MIN;

	free(number);
	return ok ? 0 : refuse_value("resident", arg, "a share from 10% to 100%");
}

static int parse_timeout(struct run_options *options, const char *arg)
{
	char *end = NULL;
	double seconds = strtod(arg, &end);

	if (end == arg || *end != '\0' || !isfinite(seconds) || seconds <= 0)
		return refuse_value("timeout", arg, "a positive number of seconds");
	if (seconds > TIMEOUT_MAX)
		return refuse_value("timeout", arg, "at most 1000000 seconds");
	options->timeout_ms = (int64_t)(seconds * 1000);
	if (options->timeout_ms == 0)
		options->timeout_ms = 1;
	return 0;
}

/* Options whose value is kept as it is. Return: where, NULL when @key is none of them. */
static const char **plain_option(struct run_options *options, int key)
{
	switch (key) {
	case KEY_KERNEL:
		return &options->kernel;
	case KEY_INITRD:
		return &options->initrd;
	case KEY_APPEND:
		return &options->append;
	case KEY_JSON:
		return &options->json;
	case KEY_TRACE:
		return &options->trace;
	case KEY_QEMU:
		return &options->qemu;
	case KEY_HYPERVISOR:
		return &options->hypervisor;
	default:
		return NULL;
	}
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct run_options *options = state->input;
	const char **plain = plain_option(options, key);

	if (plain) {
		*plain = arg;
		return 0;
	}
	switch (key) {
	case KEY_GUEST:
		return parse_guest(options, arg);
	case KEY_MMU:
		return parse_mmu(options, arg);
	case KEY_AUDIT:
		return parse_audit(options, arg);
	case KEY_HUGE:
		return parse_huge(options, arg);
	case KEY_MEMORY:
		return parse_memory(options, arg);
	case KEY_CPUS:
		return parse_cpus(options, arg);
	case KEY_RESIDENT:
		return parse_resident(options, arg);
	case KEY_TIMEOUT:
		return parse_timeout(options, arg);
	case KEY_INTERACTIVE:
		options->interactive = true;
		return 0;
	case KEY_STRESS:
		options->stress = true;
		return 0;
	case KEY_MIGRATE:
		options->migrate = true;
		return 0;
	case KEY_ICOUNT:
		options->icount = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int run_parse_options(struct run_options *options, int argc, char **argv)
{
	static const struct argp argp = {.options = argp_options, .parser = parse, .doc = doc};

	*options = (struct run_options){
		.mmu = "npt",
		.audit = "off",
		.timeout_ms = -1,
		.huge = true,
		.cpus = 1,
		.resident = 100,
	};
	return cli_parse(&argp, "vmmu run", argc, argv, options);
}
