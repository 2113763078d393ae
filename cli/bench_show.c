/* SPDX-License-Identifier: MIT */
/* Figures of `vmmu bench` for people, and as JSON for bench/run.py. */
#include "bench.h"

#include <jansson.h>
#include <string.h>

static bool is_check(const struct bench_figure *figure)
{
	return strcmp(figure->set, "check") == 0;
}

static bool was_shown(const struct bench_figures *results, size_t before,
		      const struct bench_figure *figure)
{
	for (size_t i = 0; i < before; i++) {
		if (bench_find(&results[i], figure->set, figure->operation))
			return true;
	}
	return false;
}

static void show_line(const struct bench_figures *results, size_t count,
		      const struct bench_figure *figure)
{
	(void)printf("%-7s %-28s", figure->set, figure->operation);
	for (size_t i = 0; i < count; i++) {
		const struct bench_figure *found =
			bench_find(&results[i], figure->set, figure->operation);

		if (found)
			(void)printf(" %12.*f", found->number < 1000 ? 1 : 0, found->number);
		else
			(void)printf(" %12s", "");
	}
	(void)puts("");
}

bool bench_show_table(const struct bench_plan *const *plans, const struct bench_figures *results,
		      size_t count)
{
	bool any = false;

	for (size_t i = 0; i < count; i++)
		any = any || results[i].count > 0;
	if (!any)
		return true;
	for (size_t i = 0; i < count; i++)
		(void)printf("column %zu: %s\n", i + 1, plans[i]->text);
	(void)puts("instructions per operation");
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < results[i].count; k++) {
			const struct bench_figure *figure = &results[i].list[k];

			if (!is_check(figure) && !was_shown(results, i, figure))
				show_line(results, count, figure);
		}
	}
	return fflush(stdout) == 0;
}

static json_t *figures_to_json(const struct bench_figures *figures)
{
	json_t *sets = json_object();

	for (size_t i = 0; i < figures->count; i++) {
		const struct bench_figure *figure = &figures->list[i];
		json_t *set = json_object_get(sets, figure->set);

		if (is_check(figure))
			continue;
		if (!set) {
			set = json_object();
			(void)json_object_set_new(sets, figure->set, set);
		}
		(void)json_object_set_new(set, figure->operation, json_real(figure->number));
	}
	return sets;
}

bool bench_write_json(const char *path, const struct bench_files *files, const char *mmu,
		      const struct bench_plan *const *plans, const struct bench_figures *results,
		      size_t count)
{
	json_t *runs = json_object();
	json_t *root = json_pack("{s:s, s:s, s:s, s:o}", "vmmu", VMMU_VERSION, "qemu",
				 files->version, "mmu", mmu, "runs", runs);
	int failed;

	for (size_t i = 0; i < count; i++) {
		if (results[i].count > 0)
			(void)json_object_set_new(runs, plans[i]->name,
						  figures_to_json(&results[i]));
	}
	failed = json_dump_file(root, path, JSON_INDENT(1));
	json_decref(root);
	return failed == 0;
}
