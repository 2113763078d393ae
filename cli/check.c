/* SPDX-License-Identifier: MIT */
/*
 * Everything that can be found wrong before QEMU starts: files, outputs, memory. One line for the
 * first mistake; nothing is created or changed before all of it has passed.
 */
#include "path.h"
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Below this no guest does anything, whatever it is. */
#define MEMORY_LEAST (32 * MIB)

/* Open the input @path; @what is how messages call it. Return: descriptor, -1 after one line. */
static int open_input(const char *what, const char *path, uint64_t *bytes)
{
	struct stat info;
	int fd;

	if (stat(path, &info) != 0) {
		(void)cli_refuse("%s %s: %s", what, path, strerror(errno));
		return -1;
	}
	if (S_ISDIR(info.st_mode)) {
		(void)cli_refuse("%s %s is a directory", what, path);
		return -1;
	}
	if (!S_ISREG(info.st_mode)) {
		(void)cli_refuse("%s %s is not a regular file", what, path);
		return -1;
	}
	if (info.st_size == 0) {
		(void)cli_refuse("%s %s is empty", what, path);
		return -1;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		(void)cli_refuse("%s %s cannot be read: %s", what, path, strerror(errno));
	*bytes = (uint64_t)info.st_size;
	return fd;
}

static int open_kernel(const char *path, struct kernel_facts *facts, uint64_t *bytes)
{
	int fd = open_input("kernel", path, bytes);

	if (fd < 0)
		return -1;
	run_inspect_kernel(fd, *bytes, facts);
	if (facts->kind == KERNEL_UNKNOWN) {
		(void)cli_refuse("kernel %s %s", path, facts->problem);
		(void)close(fd);
		return -1;
	}
	return fd;
}

static int check_input(const char *what, const char *path, bool is_kernel)
{
	struct kernel_facts facts;
	uint64_t bytes;
	int fd = is_kernel ? open_kernel(path, &facts, &bytes) : open_input(what, path, &bytes);

	if (fd < 0)
		return CLI_BAD_INPUT;
	(void)close(fd);
	return CLI_OK;
}

static int check_output(const char *option, const char *path)
{
	size_t length = strlen(path);
	struct stat info;
	char *folder;
	int status = CLI_OK;

	if (length == 0)
		return cli_refuse("--%s: the file name is empty", option);
	if (stat(path, &info) == 0) {
		if (S_ISDIR(info.st_mode))
			return cli_refuse("--%s: %s is a directory", option, path);
		if (access(path, W_OK) != 0 && !path_is_open_as(path, STDOUT_FILENO))
			return cli_refuse("--%s: %s cannot be written: %s", option, path,
					  strerror(errno));
		return CLI_OK;
	}
	folder = path_folder(path);
	if (path[length - 1] == '/' || !folder)
		status = cli_refuse("--%s: the folder of %s does not exist", option, path);
	else if (access(folder, W_OK | X_OK) != 0)
		status = cli_refuse("--%s: no file can be made in %s: %s", option, folder,
				    strerror(errno));
	free(folder);
	return status;
}

static int check_outputs(const struct run_options *options, const struct run_guest *guest,
			 const struct run_places *places)
{
	const char *outputs[] = {options->json, options->trace};
	const char *names[] = {"json", "trace"};
	const char *inputs[] = {guest->kernel, guest->initrd, places->hypervisor};

	for (size_t i = 0; i < 2; i++) {
		if (!outputs[i])
			continue;
		if (check_output(names[i], outputs[i]) != CLI_OK)
			return CLI_BAD_INPUT;
		for (size_t k = 0; k < sizeof(inputs) / sizeof(inputs[0]); k++) {
			if (inputs[k] && path_is_same(outputs[i], inputs[k]))
				return cli_refuse("--%s would overwrite the input file %s",
						  names[i], inputs[k]);
		}
	}
	if (outputs[0] && outputs[1] && path_is_same(outputs[0], outputs[1]))
		return cli_refuse("--json and --trace name the same file: %s", outputs[0]);
	return CLI_OK;
}

/* Memory that new programs can have, in bytes; 0 when the system does not tell. */
static uint64_t free_memory(void)
{
	char line[128];
	uint64_t kib = 0;
	FILE *file = fopen("/proc/meminfo", "re");

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
			break;
	}
	if (file)
		(void)fclose(file);
	return kib * KIB;
}

static int check_memory(const struct run_options *options)
{
	uint64_t available = free_memory();
	char wanted[24];
	char other[24];

	(void)cli_size_text(options->memory_bytes, wanted, sizeof(wanted));
	if (options->memory_bytes < MEMORY_LEAST)
		return cli_refuse("--memory %s is too small; at least %s", wanted,
				  cli_size_text(MEMORY_LEAST, other, sizeof(other)));
	if (available > 0 &&
	    (options->memory_bytes > available || qemu_memory_bytes(options, 0) > available))
		return cli_refuse("--memory %s is more than this machine has free (%s, and the "
				  "hypervisor needs some%s)",
				  wanted, cli_size_text(available, other, sizeof(other)),
				  options->migrate ? "; --migrate takes as much again" : "");
	return CLI_OK;
}

int run_check_request(const struct run_options *options, const struct run_guest *guest,
		      const struct run_places *places)
{
	if (options->kernel && check_input("kernel", options->kernel, true) != CLI_OK)
		return CLI_BAD_INPUT;
	if (options->initrd && check_input("initrd", options->initrd, false) != CLI_OK)
		return CLI_BAD_INPUT;
	if (check_memory(options) != CLI_OK)
		return CLI_BAD_INPUT;
	if (!cli_exists(places->hypervisor))
		return cli_refuse("the hypervisor image %s is missing; `make build` builds it",
				  places->hypervisor);
	if (check_input("hypervisor", places->hypervisor, false) != CLI_OK)
		return CLI_BAD_INPUT;
	return check_outputs(options, guest, places);
}

/* The command line goes to the hypervisor as a file, for it may be long and hold anything. */
static int make_append(const char *text)
{
	int fd = memfd_create("append", MFD_CLOEXEC);
	size_t length = strlen(text);

	if (fd < 0 || write(fd, text, length) != (ssize_t)length) {
		cli_warn("the guest's command line cannot be passed on: %s", strerror(errno));
		return -1;
	}
	return fd;
}

int run_open_inputs(struct run_files *files, const struct run_options *options,
		    struct run_guest *guest, const struct run_places *places)
{
	struct kernel_facts facts = {0};
	uint64_t kernel_bytes = 0;
	uint64_t initrd_bytes = 0;
	uint64_t ignored = 0;
	uint64_t least;
	char wanted[24];

	*files = (struct run_files){-1, -1, -1, -1, -1, -1, 0};
	files->hypervisor = open_input("hypervisor", places->hypervisor, &ignored);
	files->kernel = open_kernel(guest->kernel, &facts, &kernel_bytes);
	if (guest->initrd)
		files->initrd = open_input("initrd", guest->initrd, &initrd_bytes);
	if (files->hypervisor < 0 || files->kernel < 0 || (guest->initrd && files->initrd < 0))
		return CLI_BAD_INPUT;
	guest->is_linux = facts.kind == KERNEL_LINUX;
	files->input_bytes = kernel_bytes + initrd_bytes;
	least = facts.memory_bytes + initrd_bytes;
	if (options->memory_bytes < least)
		return cli_refuse("--memory %s is too small: this guest needs at least %" PRIu64
				  "M",
				  cli_size_text(options->memory_bytes, wanted, sizeof(wanted)),
				  (least + 2 * MIB - 1) / (2 * MIB) * 2);
	if (*guest->command_line) {
		files->append = make_append(guest->command_line);
		if (files->append < 0)
			return CLI_FAILED;
	}
	return CLI_OK;
}

/* Open without emptying; a file that is a standard one already is shared, not opened again. */
static int open_output(const char *option, const char *path)
{
	int fd;

	if (path_is_open_as(path, STDOUT_FILENO))
		fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	else if (path_is_open_as(path, STDERR_FILENO))
		fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	else
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
	if (fd < 0)
		(void)cli_refuse("--%s: %s cannot be written: %s", option, path, strerror(errno));
	return fd;
}

static void empty_output(const char *path, int fd)
{
	if (fd >= 0 && !path_is_open_as(path, STDOUT_FILENO) &&
	    !path_is_open_as(path, STDERR_FILENO))
		(void)!ftruncate(fd, 0);
}

int run_open_outputs(struct run_files *files, const struct run_options *options)
{
	if (options->json) {
		files->json = open_output("json", options->json);
		if (files->json < 0)
			return CLI_BAD_INPUT;
	}
	if (options->trace) {
		files->trace = open_output("trace", options->trace);
		if (files->trace < 0)
			return CLI_BAD_INPUT;
	}
	empty_output(options->json, files->json);
	empty_output(options->trace, files->trace);
	return CLI_OK;
}
