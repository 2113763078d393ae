/* SPDX-License-Identifier: MIT */
/*
 * `vmmu bench`: what the reference hypervisor costs, in instructions, by the benchmark payload.
 * Every plan runs twice; figures are shown only if both runs printed the same.
 */
#include "bench.h"
#include "run.h"

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The QEMU that the figures are comparable with: another may count otherwise. */
#define QEMU_SERIES "7.2."

enum { KEY_MMU = 0x300, KEY_QUICK, KEY_JSON };

static const struct bench_plan plans[] = {
	{"4k", "4K host pages, no prefetch", "huge=off prefill=on prefetch=1", "exits,touch,tables",
	 "exits,touch,tables"},
	{"4k_prefetch", "4K host pages, prefetch as by default", "huge=off prefill=on hostport=on",
	 "touch,tables,dirty,slots", "touch,tables"},
	{"2m", "2M host pages", "huge=on prefill=on hostport=on", "touch,dirty,slots", "touch"},
	{"4k_lazy", "4K host pages, given at the fault", "huge=off prefetch=1", "touch", NULL},
	{"4k_lazy_prefetch", "the same with prefetch", "huge=off", "touch", NULL},
	{"2m_lazy", "2M host pages, given at the fault", "huge=on", "touch", NULL},
};

enum { PLAN_COUNT = sizeof(plans) / sizeof(plans[0]) };

struct bench_options {
	const char *mmu;
	const char *json;
	bool quick;
};

static const struct argp_option argp_options[] = {
	{"mmu", KEY_MMU, "MODE", 0, "How memory is virtualised: npt (default) or shadow", 0},
	{"quick", KEY_QUICK, NULL, 0, "Only the most important figures", 0},
	{"json", KEY_JSON, "FILE", 0, "Write the figures there, too", 0},
	{0},
};

static const char doc[] =
	"Measure what the reference hypervisor costs, in instructions, inside QEMU."
	"\v"
	"Figures are instructions per operation as the guest sees them; they do not depend on the "
	"machine that this runs on. `make bench` puts Linux KVM's beside them.\n"
	"\n"
	"Exit status: 0 when every run gave figures that can be trusted, else 1; 2 for bad input.";

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct bench_options *options = state->input;

	switch (key) {
	case KEY_MMU:
		options->mmu = arg;
		if (strcmp(arg, "npt") == 0 || strcmp(arg, "shadow") == 0)
			return 0;
		(void)cli_refuse("--mmu: '%s' is not a known mode; known: npt, shadow", arg);
		return ECANCELED;
	case KEY_QUICK:
		options->quick = true;
		return 0;
	case KEY_JSON:
		options->json = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* First line of `program --version` without its end, to free; NULL when there is none. */
static char *version_of(const char *program)
{
	char *command = cli_format("'%s' --version", program);
	FILE *pipe = popen(command, "re");
	char line[256] = "";
	char *found;

	free(command);
	if (!pipe)
		return NULL;
	(void)!fgets(line, sizeof(line), pipe);
	(void)pclose(pipe);
	found = strstr(line, "version ");
	if (!found)
		return NULL;
	found += strlen("version ");
	found[strcspn(found, " \n(")] = '\0';
	return cli_copy(found);
}

/* The payload lies beside the hypervisor when installed, in its own folder when built. */
static char *payload_find(const char *hypervisor)
{
	char *copy = cli_copy(hypervisor);
	const char *folder = dirname(copy);
	char *built = cli_format("%s/../bench/guest/payload.elf", folder);
	char *installed = cli_format("%s/payload.elf", folder);
	bool is_built = cli_exists(built);

	free(copy);
	free(is_built ? installed : built);
	return is_built ? built : installed;
}

static int files_find(struct bench_files *files)
{
	const struct run_options none = {0};
	struct run_places places = {0};

	files->program = qemu_find(&none);
	if (!files->program)
		return CLI_BAD_INPUT;
	run_find_places(&places, &none);
	files->hypervisor = places.hypervisor;
	free(places.guest_script);
	free(places.guest_parts);
	free(places.guest_folder);
	free(places.guest_kernel);
	free(places.guest_initrd);
	files->payload = payload_find(files->hypervisor);
	if (!cli_exists(files->hypervisor) || !cli_exists(files->payload))
		return cli_refuse("the hypervisor or the payload is missing (%s, %s); `make build` "
				  "builds them",
				  files->hypervisor, files->payload);
	files->version = version_of(files->program);
	if (!files->version || strncmp(files->version, QEMU_SERIES, strlen(QEMU_SERIES)) != 0)
		return cli_refuse("this is QEMU %s; figures are comparable with QEMU %sx only",
				  files->version ? files->version : "of unknown version",
				  QEMU_SERIES);
	return CLI_OK;
}

/* Twice, and the same both times. */
static bool plan_run(const struct bench_files *files, const struct bench_plan *plan,
		     const char *mmu, struct bench_figures *figures)
{
	struct bench_figures again = {0};
	char *why = NULL;
	bool ok = bench_run(files, plan, mmu, figures, &why) &&
		  bench_run(files, plan, mmu, &again, &why);

	if (ok && !bench_is_same(figures, &again)) {
		why = cli_copy("two runs gave different figures");
		ok = false;
	}
	if (!ok) {
		cli_warn("%s: no figures, for they could not be trusted: %s", plan->text, why);
		bench_free(figures);
	}
	bench_free(&again);
	free(why);
	return ok;
}

static int run_plans(const struct bench_options *options, const struct bench_files *files)
{
	struct bench_plan chosen[PLAN_COUNT];
	const struct bench_plan *run[PLAN_COUNT];
	struct bench_figures results[PLAN_COUNT] = {0};
	size_t count = 0;
	bool ok = true;

	for (size_t i = 0; i < PLAN_COUNT; i++) {
		if (options->quick && !plans[i].quick_sets)
			continue;
		chosen[count] = plans[i];
		if (options->quick)
			chosen[count].sets = plans[i].quick_sets;
		run[count] = &chosen[count];
		if (isatty(STDERR_FILENO))
			(void)fprintf(stderr, "\r\033[K%s", plans[i].text);
		ok = plan_run(files, run[count], options->mmu, &results[count]) && ok;
		count++;
	}
	if (isatty(STDERR_FILENO))
		(void)fputs("\r\033[K", stderr);
	if (!bench_show_table(run, results, count))
		ok = false;
	if (options->json &&
	    !bench_write_json(options->json, files, options->mmu, run, results, count)) {
		cli_warn("--json: %s could not be written: %s", options->json, strerror(errno));
		ok = false;
	}
	for (size_t i = 0; i < count; i++)
		bench_free(&results[i]);
	return ok ? CLI_OK : CLI_FAILED;
}

int bench_main(int argc, char **argv)
{
	static const struct argp argp = {.options = argp_options, .parser = parse, .doc = doc};
	struct bench_options options = {.mmu = "npt"};
	struct bench_files files = {0};
	int status = cli_parse(&argp, "vmmu bench", argc, argv, &options);

	if (status >= 0)
		return status;
	status = files_find(&files);
	if (status == CLI_OK)
		status = run_plans(&options, &files);
	free(files.program);
	free(files.hypervisor);
	free(files.payload);
	free(files.version);
	return status;
}
