/* SPDX-License-Identifier: MIT */
/*
 * `vmmu run`: checks, starts, waits, shows, judges. Every step is in a file of its own; run.h lists
 * them in order.
 */
#include "run.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void free_run(struct run_places *places, struct run_guest *guest, struct run_files *files)
{
	const int fds[] = {files->hypervisor, files->kernel, files->initrd,
			   files->append,     files->json,   files->trace};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (fds[i] > 2)
			(void)close(fds[i]);
	}
	free(places->hypervisor);
	free(places->guest_script);
	free(places->guest_parts);
	free(places->guest_folder);
	free(places->guest_kernel);
	free(places->guest_initrd);
	free(guest->command_line);
	free(guest->token);
}

static char *reason_from_outcome(const char *outcome)
{
	static const char *const reasons[][2] = {
		{"timeout", "the guest did not end in the time given"},
		{"stall", "the guest could make no more progress"},
		{"halt", "the guest halted with interrupts off, for ever"},
		{"reset", "the guest reset the machine"},
		{"crash", "the guest could not go on"},
		{"quit", "the run was ended from the keyboard"},
		{"interrupted", "the run was interrupted"},
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		if (strcmp(reasons[i][0], outcome) == 0)
			return cli_copy(reasons[i][1]);
	}
	return cli_format("the guest ended with the outcome '%s'", outcome);
}

/* What the mediated device did wrong; NULL: nothing, or there is none. */
static char *find_device_fault(const struct report *report)
{
	uint64_t mismatches = report_number(report, "mediator.mismatches", 0);
	uint64_t stale = report_number(report, "mediator.stale", 0);
	uint64_t strays = report_number(report, "mediator.strays", 0);

	if (mismatches == 0 && stale == 0 && strays == 0)
		return NULL;
	return cli_format("the mediated device was wrong: %llu mismatches, %llu stale entries, "
			  "%llu stray writes",
			  (unsigned long long)mismatches, (unsigned long long)stale,
			  (unsigned long long)strays);
}

/* The second copy of the guest's memory is not the same; NULL: it is, or there is none. */
static char *find_copy_fault(const struct report *report)
{
	uint64_t differ = report_number(report, "migrate.differ", 0);

	if (differ == 0)
		return NULL;
	return cli_format("the second copy differs from the guest's memory in %llu frames, the "
			  "first is 0x%llx",
			  (unsigned long long)differ,
			  (unsigned long long)report_number(report, "migrate.differ_at", 0));
}

/* What is wrong with a run that came to its end, NULL when nothing is. */
static char *find_fault(const struct report *report, const struct run_guest *guest)
{
	const char *outcome = report_text(report, "guest.outcome", "unknown");
	const struct report_entry *code = report_find(report, "guest.exit_code");
	uint64_t findings = report_number(report, "audit.findings", 0);

	if (report->error)
		return cli_copy(report->error);
	if (findings < report->finding_count)
		findings = report->finding_count;
	if (findings > 0)
		return cli_format("the audit found %llu broken invariants",
				  (unsigned long long)findings);
	if (!guest->goal && !guest->is_linux && code && !code->text && strcmp(outcome, "exit") == 0)
		return code->number == 0 ? NULL
					 : cli_format("the guest ended with exit code %llu",
						      (unsigned long long)code->number);
	if (strcmp(outcome, guest->goal ? "done" : "poweroff") != 0)
		return reason_from_outcome(outcome);
	if (!guest->is_ours || report->guest_ok)
		return find_device_fault(report);
	if (report_find(report, "guest.failed"))
		return cli_format("the guest's work failed: %s",
				  report_text(report, "guest.failed", ""));
	return cli_format("the guest powered off without 'vmmu-guest: ok token=%s'", guest->token);
}

int run_judge(const struct report *report, const struct run_guest *guest, char **reason)
{
	*reason = find_fault(report, guest);
	if (report->error && report->end_status == CLI_BAD_INPUT)
		return CLI_BAD_INPUT;
	if (!*reason)
		*reason = find_copy_fault(report);
	if (!*reason && report->end_status != CLI_OK)
		*reason = cli_format("the hypervisor ended with status %d", report->end_status);
	return *reason ? CLI_FAILED : CLI_OK;
}

/* Table, JSON and verdict of a finished session. Return: the exit status. */
static int finish(const struct report *report, const struct run_options *options,
		  const struct run_guest *guest, const struct run_files *files, double wall_seconds)
{
	char *reason = NULL;
	int status = run_judge(report, guest, &reason);

	if (report->started && !table_print(report, options, wall_seconds) && status == CLI_OK) {
		status = CLI_FAILED;
		reason = cli_copy("the table could not be written to standard output");
	}
	if (files->json >= 0 && !json_write(report, files->json, status, wall_seconds)) {
		cli_warn("--json: %s could not be written", options->json);
		if (status == CLI_OK)
			status = CLI_FAILED;
	}
	if (reason)
		cli_warn("%s", reason);
	free(reason);
	return status;
}

/* End by the signal that ended the run, so that the caller sees what happened. */
static void pass_on(int signal_number)
{
	sigset_t set;

	(void)signal(signal_number, SIG_DFL);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, signal_number);
	(void)raise(signal_number);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static int run_session(const struct run_options *options, const struct run_guest *guest,
		       const struct run_files *files, const char *program)
{
	const struct qemu_request request = {
		.program = program,
		.options = options,
		.files = files,
		.cpu = guest->kind ? guest->kind->cpu : guest_at(0)->cpu,
		.memory_bytes = qemu_memory_bytes(options, files->input_bytes),
		.vgtt = guest->kind && guest->kind->vgtt,
	};
	struct report report = {.end_status = -1};
	int64_t begin = cli_now_ms();
	int interrupted_by;
	int status = CLI_FAILED;

	if (guest->kind)
		report_set_text(&report, "guest.name", guest->kind->name);
	interrupted_by = session_run(&request, guest, &report);
	if (interrupted_by >= 0)
		status = finish(&report, options, guest, files,
				(double)(cli_now_ms() - begin) / 1000);
	report_free(&report);
	if (interrupted_by > 0)
		pass_on(interrupted_by);
	return status;
}

static int prepare_and_run(struct run_options *options, struct run_places *places,
			   struct run_guest *guest, struct run_files *files)
{
	char *program = NULL;
	int status;

	status = run_choose_guest(options);
	run_find_places(places, options);
	if (status == CLI_OK)
		status = run_plan_guest(guest, options, places);
	if (status == CLI_OK)
		status = run_check_request(options, guest, places);
	if (status == CLI_OK) {
		program = qemu_find(options);
		status = program ? CLI_OK : CLI_BAD_INPUT;
	}
	if (status == CLI_OK && guest->kind)
		status = run_make_guest(places, guest->kind->name);
	if (status == CLI_OK)
		status = run_open_inputs(files, options, guest, places);
	if (status == CLI_OK)
		status = run_open_outputs(files, options);
	if (status == CLI_OK)
		status = run_session(options, guest, files, program);
	free(program);
	return status;
}

int run_main(int argc, char **argv)
{
	struct run_options options;
	struct run_places places = {0};
	struct run_guest guest = {0};
	struct run_files files = {-1, -1, -1, -1, -1, -1, 0};
	int status = run_parse_options(&options, argc, argv);

	if (status >= 0)
		return status;
	status = prepare_and_run(&options, &places, &guest, &files);
	free_run(&places, &guest, &files);
	return status;
}
