/* SPDX-License-Identifier: MIT */
/*
 * QEMU as a child process. Every channel is a socket pair and every file an inherited descriptor:
 * no temporary files, no names with blanks or commas that QEMU would split, nothing to clean up.
 * The child dies with this process, whatever ends it.
 */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROGRAM_DEFAULT "qemu-system-x86_64"
#define ARGUMENTS_MAX 80
#define PASSED_MAX 12

/* The hypervisor's own code and tables, and what it keeps for each page of the guest. */
#define ROOM_FIXED (96 * MIB)
#define ROOM_FRACTION 32

/* A start time that never changes, counted in the machine's own time: runs repeat. */
#define CLOCK "base=2024-01-01T00:00:00,clock=vm"

struct arguments {
	char *words[ARGUMENTS_MAX + 1];
	size_t count;
	int passed[PASSED_MAX]; /* descriptors that QEMU inherits */
	size_t passed_count;
};

uint64_t qemu_memory_bytes(const struct run_options *options, uint64_t input)
{
	uint64_t guest = options->memory_bytes * (options->migrate ? 2 : 1);
	uint64_t bytes = guest + guest / ROOM_FRACTION + input + ROOM_FIXED;

	return (bytes + 2 * MIB - 1) / (2 * MIB) * (2 * MIB);
}

static bool is_program(const char *path)
{
	return access(path, X_OK) == 0;
}

/* Look for @name as a shell would. */
static char *find_in_path(const char *name)
{
	const char *at = getenv("PATH");

	while (at && *at) {
		size_t length = strcspn(at, ":");
		char *path = cli_format("%.*s/%s", (int)length, at, name);

		if (length > 0 && is_program(path))
			return path;
		free(path);
		at += length;
		at += *at == ':';
	}
	return NULL;
}

char *qemu_find(const struct run_options *options)
{
	const char *name = options->qemu ? options->qemu : PROGRAM_DEFAULT;
	char *path = NULL;

	if (strchr(name, '/'))
		path = is_program(name) ? cli_copy(name) : NULL;
	else
		path = find_in_path(name);
	if (!path && options->qemu)
		(void)cli_refuse("--qemu: no program %s", name);
	else if (!path)
		(void)cli_refuse("%s is not installed; to install it: "
				 "apt-get install qemu-system-x86",
				 name);
	return path;
}

static void add(struct arguments *arguments, char *word)
{
	if (arguments->count < ARGUMENTS_MAX)
		arguments->words[arguments->count++] = word;
}

static void add_option(struct arguments *arguments, const char *option, const char *value)
{
	add(arguments, cli_copy(option));
	if (value)
		add(arguments, cli_copy(value));
}

static void add_device(struct arguments *arguments, char *device)
{
	add(arguments, cli_copy("-device"));
	add(arguments, device);
}

static void pass(struct arguments *arguments, int fd)
{
	if (arguments->passed_count < PASSED_MAX)
		arguments->passed[arguments->passed_count++] = fd;
}

/*
 * A channel named @id, its far end given to QEMU. Return: our end, which does not block when read
 * or written; -1 when the system has no descriptors left.
 */
static int add_channel(struct arguments *arguments, const char *id)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return -1;
	(void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
	pass(arguments, ends[1]);
	add(arguments, cli_copy("-chardev"));
	add(arguments, cli_format("socket,id=%s,fd=%d", id, ends[1]));
	return ends[0];
}

static bool add_channels(struct arguments *arguments, struct qemu *qemu, bool trace)
{
	qemu->com1 = add_channel(arguments, "com1");
	add_device(arguments, cli_copy("isa-serial,chardev=com1,index=0"));
	qemu->com2 = add_channel(arguments, "com2");
	add_device(arguments, cli_copy("isa-serial,chardev=com2,index=1"));
	qemu->report = add_channel(arguments, "report");
	add_device(arguments, cli_copy("isa-debugcon,chardev=report,iobase=0xe9"));
	if (trace) {
		qemu->trace = add_channel(arguments, "trace");
		add_device(arguments, cli_copy("isa-debugcon,chardev=trace,iobase=0xea"));
	}
	add_device(arguments, cli_copy("isa-debug-exit,iobase=0xf4,iosize=4"));
	qemu->monitor = add_channel(arguments, "monitor");
	add_option(arguments, "-mon", "chardev=monitor,mode=control");
	return qemu->com1 >= 0 && qemu->com2 >= 0 && qemu->report >= 0 && qemu->monitor >= 0 &&
	       (!trace || qemu->trace >= 0);
}

static void add_machine(struct arguments *arguments, const struct qemu_request *request)
{
	/* Counting instructions is for one thread, in which the processors take turns. */
	add_option(arguments, "-accel",
		   request->options->cpus > 1 && !request->options->icount ? "tcg,thread=multi"
									   : "tcg");
	add_option(arguments, "-machine", "pc");
	add_option(arguments, "-cpu", request->cpu);
	add_option(arguments, "-m", NULL);
	add(arguments, cli_format("%" PRIu64 "M", request->memory_bytes / MIB));
	if (request->options->cpus > 1) {
		add(arguments, cli_copy("-smp"));
		add(arguments, cli_format("%" PRIu64, request->options->cpus));
	}
	add_option(arguments, "-nodefaults", NULL);
	add_option(arguments, "-no-user-config", NULL);
	add_option(arguments, "-no-reboot", NULL);
	add_option(arguments, "-display", "none");
	add_option(arguments, "-seed", "1");
	add_option(arguments, "-rtc", CLOCK);
	if (request->options->icount)
		add_option(arguments, "-icount", "shift=0,sleep=off");
}

static char *passed_name(struct arguments *arguments, int fd)
{
	pass(arguments, fd);
	return cli_format("/proc/self/fd/%d", fd);
}

/* The hypervisor and its modules, each with its role as the word after the name. */
static void add_images(struct arguments *arguments, const struct qemu_request *request)
{
	const struct run_options *options = request->options;
	const struct run_files *files = request->files;
	const int fds[] = {files->kernel, files->initrd, files->append};
	const char *roles[] = {"kernel", "initrd", "append"};
	char *modules = cli_copy("");
	char share[40] = "";

	if (options->resident < 100)
		(void)snprintf(share, sizeof(share), " resident=%" PRIu64, options->resident);
	add(arguments, cli_copy("-kernel"));
	add(arguments, passed_name(arguments, files->hypervisor));
	add(arguments, cli_copy("-append"));
	add(arguments, cli_format("mmu=%s memory=%" PRIu64
				  " huge=%s audit=%s trace=%s cpus=%" PRIu64 " stress=%s%s%s%s",
				  options->mmu, options->memory_bytes, options->huge ? "on" : "off",
				  options->audit, options->trace ? "on" : "off", options->cpus,
				  options->stress ? "on" : "off", request->vgtt ? " vgtt=on" : "",
				  options->migrate ? " migrate=on" : "", share));
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		char *name;
		char *longer;

		if (fds[i] < 0)
			continue;
		name = passed_name(arguments, fds[i]);
		longer = cli_format("%s%s%s %s", modules, *modules ? "," : "", name, roles[i]);
		free(name);
		free(modules);
		modules = longer;
	}
	add(arguments, cli_copy("-initrd"));
	add(arguments, modules);
}

/* In the child: become QEMU. */
static _Noreturn void become(const struct arguments *arguments, const char *program, int messages,
			     pid_t parent)
{
	sigset_t none;
	int null = open("/dev/null", O_RDWR);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	/* Out of the terminal's reach: an interrupt is for the command, which ends QEMU. */
	(void)setpgid(0, 0);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)dup2(null, STDIN_FILENO);
	(void)dup2(messages, STDOUT_FILENO);
	(void)dup2(messages, STDERR_FILENO);
	for (size_t i = 0; i < arguments->passed_count; i++)
		(void)fcntl(arguments->passed[i], F_SETFD, 0);
	(void)execv(program, arguments->words);
	(void)dprintf(STDERR_FILENO, "%s cannot be started: %s\n", program, strerror(errno));
	_exit(127);
}

/* Our copies of QEMU's ends; the files among them stay with their owner. */
static void close_far_ends(struct arguments *arguments, const struct run_files *files)
{
	for (size_t i = 0; i < arguments->passed_count; i++) {
		int fd = arguments->passed[i];

		if (fd >= 0 && fd != files->hypervisor && fd != files->kernel &&
		    fd != files->initrd && fd != files->append)
			(void)close(fd);
	}
	for (size_t i = 0; i < arguments->count; i++)
		free(arguments->words[i]);
}

bool qemu_start(struct qemu *qemu, const struct qemu_request *request)
{
	struct arguments *arguments = cli_allocate(sizeof(*arguments));
	int messages[2] = {-1, -1};
	pid_t parent = getpid();
	bool ok;

	*qemu = (struct qemu){.pid = -1,
			      .com1 = -1,
			      .com2 = -1,
			      .report = -1,
			      .trace = -1,
			      .monitor = -1,
			      .messages = -1};
	add(arguments, cli_copy(request->program));
	add_machine(arguments, request);
	ok = add_channels(arguments, qemu, request->files->trace >= 0) &&
	     socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, messages) == 0;
	if (ok) {
		qemu->messages = messages[0];
		(void)fcntl(messages[0], F_SETFL, O_NONBLOCK);
		add_images(arguments, request);
		qemu->pid = fork();
		if (qemu->pid == 0)
			become(arguments, request->program, messages[1], parent);
		(void)close(messages[1]);
	}
	if (qemu->pid < 0)
		cli_warn("%s cannot be started: %s", request->program, strerror(errno));
	close_far_ends(arguments, request->files);
	free(arguments);
	return qemu->pid > 0;
}
