/* SPDX-License-Identifier: MIT */
/*
 * One session: waits for QEMU's channels, the user and the clock, until QEMU has ended and every
 * channel is empty. Times are in milliseconds; a time of 0 means that nothing is planned.
 *
 * QEMU is killed in five cases only: the hypervisor does not come up, does not answer a question,
 * does not leave after its last word, the user wants to stop, or standard output went away.
 */
#include "session.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MS 60000  /* longest silence before the guest starts */
#define LOOK_MS 3000    /* between two watchdog looks */
#define ANSWER_MS 10000 /* longest silence after a question, and after the last word */
#define NMI_MS 50       /* from the letter to the NMI, so that the letter is there first */

#define REPORT_LINE_LIMIT 4096u
#define MESSAGES_MAX 65536u
#define CHUNK 16384u

/* What is asked for through COM2. */
enum question { ASK_NOTHING = 0, ASK_LOOK = 'w', ASK_TIMEOUT = 't', ASK_DONE = 'd' };

enum {
	POLL_SIGNALS,
	POLL_COM1,
	POLL_REPORT,
	POLL_TRACE,
	POLL_MONITOR,
	POLL_MESSAGES,
	POLL_STDIN,
	POLL_STDOUT,
	POLL_COUNT
};

struct session {
	struct qemu *qemu;
	const struct run_files *files;
	struct report *report;
	struct console console;
	struct cli_buffer report_in;
	struct cli_buffer messages;
	struct cli_buffer keys;
	struct pollfd polls[POLL_COUNT];
	char chunk[CHUNK];
	enum question asked;
	int64_t start_deadline;
	int64_t next_look;
	int64_t nmi_at;
	int64_t answer_deadline;
	int64_t timeout_at;
	int child_status;
	int interrupted_by; /* a signal's number */
	bool child_ended;
	bool killed;
	bool stdin_open;
	bool said_bad_line;
};

/* End QEMU; the first @outcome and @why stay. @why may be NULL: nothing to explain. */
static void end_by_force(struct session *session, const char *outcome, const char *why)
{
	if (session->killed)
		return;
	session->killed = true;
	(void)kill(session->qemu->pid, SIGKILL);
	report_set_text(session->report, "guest.outcome", outcome);
	if (why && !session->report->error)
		session->report->error = cli_copy(why);
}

static void tell_monitor(struct session *session, const char *command)
{
	char *line = cli_format("{\"execute\":\"%s\"}\n", command);

	(void)!write(session->qemu->monitor, line, strlen(line));
	free(line);
}

static void ask(struct session *session, enum question question, int64_t now)
{
	char letter = (char)question;

	session->asked = question;
	(void)!write(session->qemu->com2, &letter, 1);
	session->nmi_at = now + NMI_MS;
	session->answer_deadline = now + ANSWER_MS;
	session->next_look = 0;
}

static void answered(struct session *session, int64_t now)
{
	if (session->asked != ASK_LOOK)
		return;
	session->asked = ASK_NOTHING;
	session->answer_deadline = 0;
	session->next_look = now + LOOK_MS;
}

static void take_report_line(struct session *session, const char *line, int64_t now)
{
	const char *rest = "";

	if (session->start_deadline)
		session->start_deadline = now + START_MS;
	switch (report_take(session->report, line, &rest)) {
	case LINE_PROGRESS:
		console_progress(&session->console, rest);
		break;
	case LINE_START:
		console_clear_progress(&session->console);
		session->start_deadline = 0;
		session->next_look = now + LOOK_MS;
		break;
	case LINE_ALIVE:
		answered(session, now);
		break;
	case LINE_END:
		session->asked = ASK_NOTHING;
		session->start_deadline = 0;
		session->next_look = 0;
		session->nmi_at = 0;
		session->timeout_at = 0;
		session->answer_deadline = now + ANSWER_MS;
		break;
	case LINE_BAD:
		if (!session->said_bad_line)
			cli_warn("the hypervisor reported something unknown: %s", line);
		session->said_bad_line = true;
		break;
	case LINE_KEPT:
	default:
		break;
	}
}

static void take_report(struct session *session, size_t bytes, int64_t now)
{
	char *line;

	cli_buffer_add(&session->report_in, session->chunk, bytes);
	while ((line = cli_buffer_take_line(&session->report_in, REPORT_LINE_LIMIT)) != NULL) {
		take_report_line(session, line, now);
		free(line);
	}
}

static void take_trace(struct session *session, size_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t wrote = write(session->files->trace, session->chunk + done, bytes - done);

		if (wrote <= 0) {
			char *why =
				cli_format("the trace could not be written: %s", strerror(errno));

			end_by_force(session, "interrupted", why);
			free(why);
			return;
		}
		done += (size_t)wrote;
	}
}

/* Read what is there from channel *@fd; at its end close it. Return: bytes in session->chunk. */
static size_t read_channel(struct session *session, int *fd)
{
	ssize_t bytes = read(*fd, session->chunk, CHUNK);

	if (bytes > 0)
		return (size_t)bytes;
	if (bytes < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	(void)close(*fd);
	*fd = -1;
	return 0;
}

static void take_signal(struct session *session)
{
	struct signalfd_siginfo info;

	if (read(session->polls[POLL_SIGNALS].fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo != SIGCHLD) {
		session->interrupted_by = (int)info.ssi_signo;
		end_by_force(session, "interrupted", NULL);
		return;
	}
	if (waitpid(session->qemu->pid, &session->child_status, WNOHANG) == session->qemu->pid)
		session->child_ended = true;
}

static void take_keys(struct session *session)
{
	ssize_t bytes = read(STDIN_FILENO, session->chunk, CHUNK);

	if (bytes <= 0) {
		session->stdin_open = bytes < 0 && (errno == EAGAIN || errno == EINTR);
		return;
	}
	cli_buffer_add(&session->keys, session->chunk,
		       console_filter_keys(&session->console, session->chunk, (size_t)bytes));
	if (session->console.quit)
		end_by_force(session, "quit", NULL);
}

static void send_keys(struct session *session)
{
	ssize_t wrote = write(session->qemu->com1, session->keys.data, session->keys.used);

	if (wrote > 0)
		cli_buffer_drop(&session->keys, (size_t)wrote);
}

static void watch(struct session *session, int index, int fd, short events)
{
	session->polls[index] =
		(struct pollfd){.fd = events ? fd : -1, .events = events, .revents = 0};
}

static void prepare_polls(struct session *session)
{
	const struct qemu *qemu = session->qemu;
	const struct console *console = &session->console;
	int com1 = (console_is_full(console) ? 0 : POLLIN) | (session->keys.used ? POLLOUT : 0);

	watch(session, POLL_COM1, qemu->com1, (short)com1);
	watch(session, POLL_REPORT, qemu->report, POLLIN);
	watch(session, POLL_TRACE, qemu->trace, POLLIN);
	watch(session, POLL_MONITOR, qemu->monitor, POLLIN);
	watch(session, POLL_MESSAGES, qemu->messages, POLLIN);
	watch(session, POLL_STDIN, STDIN_FILENO,
	      session->stdin_open && session->keys.used == 0 ? POLLIN : 0);
	watch(session, POLL_STDOUT, STDOUT_FILENO,
	      console->out.used > 0 && !console->out_lost ? POLLOUT : 0);
}

static bool is_ready(const struct session *session, int index)
{
	return session->polls[index].revents != 0;
}

/* A guest that has said what it is run for is stopped; so is one that found a fault. */
static void check_goal(struct session *session, int64_t now)
{
	const struct console *console = &session->console;

	if (!console->goal || (!console->saw_ok && !console->failed) ||
	    session->asked == ASK_DONE || session->asked == ASK_TIMEOUT ||
	    session->report->end_status >= 0)
		return;
	session->timeout_at = 0;
	ask(session, ASK_DONE, now);
}

static void take_channels(struct session *session, int64_t now)
{
	struct qemu *qemu = session->qemu;
	size_t bytes;

	if (is_ready(session, POLL_REPORT))
		take_report(session, read_channel(session, &qemu->report), now);
	if (session->polls[POLL_COM1].revents & POLLOUT)
		send_keys(session);
	if (session->polls[POLL_COM1].revents & ~POLLOUT) {
		bytes = read_channel(session, &qemu->com1);
		console_guest_wrote(&session->console, session->chunk, bytes);
		check_goal(session, now);
	}
	if (is_ready(session, POLL_TRACE))
		take_trace(session, read_channel(session, &qemu->trace));
	if (is_ready(session, POLL_MONITOR))
		(void)read_channel(session, &qemu->monitor);
	if (is_ready(session, POLL_MESSAGES)) {
		bytes = read_channel(session, &qemu->messages);
		if (session->messages.used < MESSAGES_MAX)
			cli_buffer_add(&session->messages, session->chunk, bytes);
	}
}

static void check_times(struct session *session, int64_t now)
{
	if (session->nmi_at && now >= session->nmi_at) {
		session->nmi_at = 0;
		tell_monitor(session, "inject-nmi");
	}
	if (session->start_deadline && now >= session->start_deadline)
		end_by_force(session, "crash", "the hypervisor did not start the guest");
	if (session->answer_deadline && now >= session->answer_deadline)
		end_by_force(session, session->asked == ASK_TIMEOUT ? "timeout" : "crash",
			     session->report->end_status >= 0
				     ? "QEMU did not end after the run"
				     : "the hypervisor did not answer and was ended");
	if (session->timeout_at && now >= session->timeout_at) {
		session->timeout_at = 0;
		if (session->report->started)
			ask(session, ASK_TIMEOUT, now);
		else
			end_by_force(session, "timeout", NULL);
	}
	if (session->next_look && now >= session->next_look)
		ask(session, ASK_LOOK, now);
}

/* How long to wait for an event: until the first planned time. */
static int wait_ms(const struct session *session, int64_t now)
{
	const int64_t times[] = {session->start_deadline, session->next_look, session->nmi_at,
				 session->answer_deadline, session->timeout_at};
	int64_t wait = 60000;

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		if (times[i] && times[i] - now < wait)
			wait = times[i] - now;
	}
	if (session->killed && wait <= 0)
		return 1000;
	return wait > 0 ? (int)wait : 0;
}

static bool is_over(const struct session *session)
{
	const struct qemu *qemu = session->qemu;

	return session->child_ended && qemu->com1 < 0 && qemu->report < 0 && qemu->trace < 0 &&
	       qemu->messages < 0;
}

static void explain_early_end(struct session *session)
{
	int status = session->child_status;
	char *line;

	if (session->killed || session->report->end_status >= 0)
		return;
	while ((line = cli_buffer_take_line(&session->messages, REPORT_LINE_LIMIT)) != NULL) {
		/* What the processor model lists and an emulator lacks is said at every start. */
		if (!strstr(line, "TCG doesn't support requested feature"))
			cli_warn("QEMU: %s", line);
		free(line);
	}
	report_set_text(session->report, "guest.outcome", "crash");
	if (session->report->error)
		return;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		session->report->error =
			cli_copy("the machine was reset or switched off under the hypervisor");
	else
		session->report->error =
			cli_format("QEMU ended before the run did (%s %d)",
				   WIFSIGNALED(status) ? "signal" : "status",
				   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void loop(struct session *session)
{
	while (!is_over(session)) {
		int64_t now = cli_now_ms();

		prepare_polls(session);
		(void)poll(session->polls, POLL_COUNT, wait_ms(session, now));
		now = cli_now_ms();
		take_channels(session, now);
		if (is_ready(session, POLL_STDIN))
			take_keys(session);
		if (is_ready(session, POLL_STDOUT))
			console_flush(&session->console);
		if (is_ready(session, POLL_SIGNALS))
			take_signal(session);
		if (session->console.out_lost)
			end_by_force(session, "interrupted", NULL);
		if (!session->child_ended)
			check_times(session, now);
	}
}

static int open_signals(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGQUIT);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

int session_run(const struct qemu_request *request, const struct run_guest *guest,
		struct report *report)
{
	struct session *session = cli_allocate(sizeof(*session));
	struct qemu qemu;
	int64_t now = cli_now_ms();
	int interrupted_by;

	session->qemu = &qemu;
	session->files = request->files;
	session->report = report;
	session->start_deadline = now + START_MS;
	session->timeout_at =
		request->options->timeout_ms > 0 ? now + request->options->timeout_ms : 0;
	session->stdin_open = request->options->interactive;
	/* Before the child exists, or its end could be missed. */
	watch(session, POLL_SIGNALS, open_signals(), POLLIN);
	if (!qemu_start(&qemu, request)) {
		free(session);
		return -1;
	}
	console_open(&session->console, guest, request->options->interactive);
	tell_monitor(session, "qmp_capabilities");
	loop(session);
	explain_early_end(session);
	console_close(&session->console);
	report->guest_ok = session->console.saw_ok && !session->console.failed;
	if (session->console.failed)
		report_set_text(report, "guest.failed", session->console.failed);
	free(session->console.failed);
	interrupted_by = session->interrupted_by;
	(void)close(session->polls[POLL_SIGNALS].fd);
	cli_buffer_free(&session->report_in);
	cli_buffer_free(&session->messages);
	cli_buffer_free(&session->keys);
	free(session);
	return interrupted_by;
}
