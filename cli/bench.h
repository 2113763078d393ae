/* SPDX-License-Identifier: MIT */
/*
 * The parts of `vmmu bench`: what is run (bench.c), one run in QEMU (bench_run.c), and how the
 * figures are shown (bench_show.c). docs/performance.md tells what they mean.
 */
#ifndef VMMU_CLI_BENCH_H
#define VMMU_CLI_BENCH_H

#include "cli.h"

/* One figure: bench SET OPERATION NUMBER. */
struct bench_figure {
	char *set;
	char *operation;
	double number;
};

/* What one run of the payload printed. */
struct bench_figures {
	struct bench_figure *list;
	size_t count;
};

/* One way to start the hypervisor, and what the payload measures then. */
struct bench_plan {
	const char *name;
	const char *text;       /* what is said about it */
	const char *words;      /* for the hypervisor */
	const char *sets;       /* for the payload */
	const char *quick_sets; /* the same with --quick; NULL: not run then */
};

/* Files and program of a run; paths are absolute or relative, all are kept open by nobody. */
struct bench_files {
	char *program;
	char *hypervisor;
	char *payload;
	char *version; /* of QEMU */
};

/*
 * One run. Return: true, with @figures filled in; false, with a sentence in *@why, to free, if
 * the run did not end well or its ticks are not instructions. @mmu is the word for mmu=.
 */
bool bench_run(const struct bench_files *files, const struct bench_plan *plan, const char *mmu,
	       struct bench_figures *figures, char **why);

const struct bench_figure *bench_find(const struct bench_figures *figures, const char *set,
				      const char *operation);
bool bench_is_same(const struct bench_figures *a, const struct bench_figures *b);
void bench_free(struct bench_figures *figures);

/* Results of the plans that were run, in their order. Return: false: output failed. */
bool bench_show_table(const struct bench_plan *const *plans, const struct bench_figures *results,
		      size_t count);
bool bench_write_json(const char *path, const struct bench_files *files, const char *mmu,
		      const struct bench_plan *const *plans, const struct bench_figures *results,
		      size_t count);

#endif
