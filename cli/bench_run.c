/* SPDX-License-Identifier: MIT */
/*
 * One run of the benchmark payload: QEMU as a child, its COM1 a pipe, its report channel a file
 * in memory. Shorter than session.c: the payload needs no watchdog but a time limit.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT_MS 120000
#define GUEST_MEMORY (640 * MIB)
#define MACHINE_MB "768"
#define REPORT_BYTES 65536

/* QEMU's status when the hypervisor asked for 0. */
enum { STATUS_DONE = 1 };

struct child {
	pid_t pid;
	int out;    /* COM1 */
	int report; /* what the hypervisor reported */
};

static int memory_file(const char *name, const char *text)
{
	int fd = memfd_create(name, 0);

	if (fd >= 0 && write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static _Noreturn void become(const struct bench_files *files, const struct bench_plan *plan,
			     const char *mmu, int out, int report)
{
	char *sets = cli_format("sets=%s", plan->sets);
	int append = memory_file("append", sets);
	int null = open("/dev/null", O_RDWR);
	char *memory = cli_format("mmu=%s memory=%llu %s", mmu, (unsigned long long)GUEST_MEMORY,
				  plan->words);
	char *modules = cli_format("%s kernel,/proc/self/fd/%d append", files->payload, append);
	char *channel = cli_format("file,id=report,path=/proc/self/fd/%d", report);
	/* clang-format off */
	const char *words[] = {
		files->program, "-accel", "tcg", "-machine", "pc",
		"-cpu", "EPYC,+svm,+npt,+vgif,-rdrand", "-m", MACHINE_MB,
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-seed", "1", "-rtc", "base=2024-01-01T00:00:00,clock=vm",
		"-icount", "shift=0,sleep=off",
		"-chardev", "stdio,id=com1", "-device", "isa-serial,chardev=com1,index=0",
		"-chardev", channel, "-device", "isa-debugcon,chardev=report,iobase=0xe9",
		"-device", "isa-debug-exit,iobase=0xf4,iosize=4",
		"-kernel", files->hypervisor, "-append", memory, "-initrd", modules, NULL,
	};
	/* clang-format on */

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)dup2(null, STDIN_FILENO);
	(void)dup2(out, STDOUT_FILENO);
	(void)dup2(null, STDERR_FILENO);
	(void)execv(files->program, (char *const *)(uintptr_t)words);
	_exit(127);
}

static bool child_start(struct child *child, const struct bench_files *files,
			const struct bench_plan *plan, const char *mmu)
{
	int ends[2];

	child->report = memory_file("report", "");
	if (child->report < 0 || pipe2(ends, O_CLOEXEC) != 0)
		return false;
	child->pid = fork();
	if (child->pid == 0)
		become(files, plan, mmu, ends[1], child->report);
	(void)close(ends[1]);
	child->out = ends[0];
	return child->pid > 0;
}

static void take_line(struct bench_figures *figures, const char *line)
{
	char set[32];
	char operation[64];
	double number;

	if (sscanf(line, "bench %31s %63s %lf", set, operation, &number) != 3)
		return;
	figures->list = realloc(figures->list, (figures->count + 1) * sizeof(figures->list[0]));
	if (!figures->list)
		abort();
	figures->list[figures->count++] = (struct bench_figure){
		.set = cli_copy(set), .operation = cli_copy(operation), .number = number};
}

/* Everything that the payload prints. Return: false when the time was over. */
static bool read_all(const struct child *child, struct bench_figures *figures)
{
	struct cli_buffer buffer = {0};
	int64_t deadline = cli_now_ms() + LIMIT_MS;
	char chunk[4096];

	for (;;) {
		struct pollfd wait = {.fd = child->out, .events = POLLIN};
		int64_t left = deadline - cli_now_ms();
		ssize_t bytes;
		char *line;

		if (left <= 0 || poll(&wait, 1, (int)left) == 0) {
			cli_buffer_free(&buffer);
			return false;
		}
		bytes = read(child->out, chunk, sizeof(chunk));
		if (bytes < 0 && errno == EINTR)
			continue;
		if (bytes <= 0)
			break;
		cli_buffer_add(&buffer, chunk, (size_t)bytes);
		while ((line = cli_buffer_take_line(&buffer, sizeof(chunk))) != NULL) {
			take_line(figures, line);
			free(line);
		}
	}
	cli_buffer_free(&buffer);
	return true;
}

/* The hypervisor's own words about what went wrong, or @otherwise; to free. */
static char *error_of(int report, const char *otherwise)
{
	char *text = cli_allocate(REPORT_BYTES + 1);
	ssize_t bytes = pread(report, text, REPORT_BYTES, 0);
	char *found;
	char *words;

	text[bytes > 0 ? bytes : 0] = '\0';
	found = strstr(text, "error ");
	if (found)
		found[strcspn(found, "\n")] = '\0';
	words = cli_copy(found ? found + strlen("error ") : otherwise);
	free(text);
	return words;
}

static double number_of(const struct bench_figures *figures, const char *operation)
{
	const struct bench_figure *figure = bench_find(figures, "check", operation);

	return figure ? figure->number : 0;
}

static char *judge(const struct child *child, const struct bench_figures *figures, int status)
{
	if (!WIFEXITED(status) || WEXITSTATUS(status) != STATUS_DONE)
		return error_of(child->report, "QEMU or the hypervisor failed");
	if (number_of(figures, "done") != 1)
		return cli_copy("the payload did not come to its end");
	if (number_of(figures, "exact") != 1)
		return cli_copy("time stamp ticks are not instructions on this QEMU");
	return NULL;
}

bool bench_run(const struct bench_files *files, const struct bench_plan *plan, const char *mmu,
	       struct bench_figures *figures, char **why)
{
	struct child child = {.pid = -1, .out = -1, .report = -1};
	int status = 0;

	*why = NULL;
	if (!child_start(&child, files, plan, mmu)) {
		*why = cli_format("QEMU could not be started: %s", strerror(errno));
	} else {
		if (!read_all(&child, figures)) {
			(void)kill(child.pid, SIGKILL);
			*why = cli_format("it did not end within %d s", LIMIT_MS / 1000);
		}
		while (waitpid(child.pid, &status, 0) < 0 && errno == EINTR)
			;
		if (!*why)
			*why = judge(&child, figures, status);
	}
	(void)close(child.out);
	(void)close(child.report);
	return !*why;
}

const struct bench_figure *bench_find(const struct bench_figures *figures, const char *set,
				      const char *operation)
{
	for (size_t i = 0; i < figures->count; i++) {
		const struct bench_figure *figure = &figures->list[i];

		if (strcmp(figure->set, set) == 0 && strcmp(figure->operation, operation) == 0)
			return figure;
	}
	return NULL;
}

bool bench_is_same(const struct bench_figures *a, const struct bench_figures *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct bench_figure *same =
			bench_find(b, a->list[i].set, a->list[i].operation);

		if (!same || same->number != a->list[i].number)
			return false;
	}
	return true;
}

void bench_free(struct bench_figures *figures)
{
	for (size_t i = 0; i < figures->count; i++) {
		free(figures->list[i].set);
		free(figures->list[i].operation);
	}
	free(figures->list);
	*figures = (struct bench_figures){0};
}
