/* SPDX-License-Identifier: MIT */
/* The guest of a run: its files, its command line, its token, and how it is made when missing. */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Longest command line that Linux keeps, in characters. */
#define COMMAND_LINE_MAX 2047

/* Guests of ours end long before; this is for one that hangs. */
#define DEFAULT_TIMEOUT_MS 600000

#define TOKEN_KEY "vmmu.token="

static char *folder_of_command(void)
{
	char *path = cli_allocate(PATH_MAX);
	ssize_t bytes = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *folder;

	path[bytes > 0 ? bytes : 0] = '\0';
	folder = cli_copy(dirname(path));
	free(path);
	return folder;
}

/* Where an installed command keeps what it fetched. */
static char *cache_folder(void)
{
	const char *cache = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");

	if (cache && cache[0] == '/')
		return cli_format("%s/vmmu/guests", cache);
	if (home && home[0] == '/')
		return cli_format("%s/.cache/vmmu/guests", home);
	return cli_copy("/var/tmp/vmmu-guests");
}

void run_find_places(struct run_places *places, const struct run_options *options)
{
	const struct guest_kind *kind = options->guest ? options->guest : guest_at(0);
	char *folder = folder_of_command();
	char *mark = cli_format("%s/build.ninja", folder);
	char *image;

	if (cli_exists(mark)) {
		image = cli_format("%s/hv/vmmu-hv.elf", folder);
		places->guest_parts = cli_format("%s/guests", folder);
		places->guest_folder = cli_copy(places->guest_parts);
	} else {
		image = cli_format("%s/../share/vmmu/vmmu-hv.elf", folder);
		places->guest_parts = cli_format("%s/../share/vmmu/guests", folder);
		places->guest_folder = cache_folder();
	}
	places->hypervisor = options->hypervisor ? cli_copy(options->hypervisor) : cli_copy(image);
	places->guest_script = cli_format("%s/guest.sh", places->guest_parts);
	places->guest_kernel = cli_format("%s/%s", places->guest_folder, kind->kernel);
	places->guest_initrd =
		kind->initrd ? cli_format("%s/%s", places->guest_folder, kind->initrd) : NULL;
	free(image);
	free(mark);
	free(folder);
}

/* The value of the last token word in @line; to free. */
static char *find_token(const char *line)
{
	const char *value = NULL;
	size_t length = 0;

	while (*line) {
		size_t blanks = strspn(line, " \t");
		size_t word = strcspn(line + blanks, " \t");

		line += blanks;
		if (strncmp(line, TOKEN_KEY, strlen(TOKEN_KEY)) == 0) {
			value = line + strlen(TOKEN_KEY);
			length = word - strlen(TOKEN_KEY);
		}
		line += word;
	}
	return value ? cli_format("%.*s", (int)length, value) : cli_copy("none");
}

/* Is @append usable? @taken characters are in front of it already. */
static int check_append(const char *append, size_t taken)
{
	size_t most = COMMAND_LINE_MAX - (taken ? taken + 1 : 0);

	if (strlen(append) > most)
		return cli_refuse("--append is too long: %zu characters, and %zu fit",
				  strlen(append), most);
	for (const char *at = append; *at; at++) {
		if ((unsigned char)*at < ' ' && *at != '\t')
			return cli_refuse("--append must be one line of text");
	}
	return CLI_OK;
}

int run_choose_guest(struct run_options *options)
{
	const struct guest_kind *kind;

	if (options->guest && options->kernel)
		return cli_refuse("--guest names a kernel of its own; it cannot be given together "
				  "with --kernel");
	if (!options->guest && !options->kernel)
		options->guest = guest_at(0);
	kind = options->guest ? options->guest : guest_at(0);
	if (options->resident < 100 && options->migrate)
		return cli_refuse("--migrate cannot be given together with --resident: the copy "
				  "needs all of the guest's memory");
	if (options->resident < 100) {
		if (kind->vgtt)
			return cli_refuse("--resident cannot be given together with --guest %s: "
					  "its device keeps addresses of guest memory",
					  kind->name);
		options->huge = false;
	}
	if (options->memory_bytes == 0)
		options->memory_bytes = kind->memory_bytes;
	if (options->timeout_ms < 0 && options->guest && !options->initrd && !options->interactive)
		options->timeout_ms = DEFAULT_TIMEOUT_MS;
	return CLI_OK;
}

int run_plan_guest(struct run_guest *guest, const struct run_options *options,
		   const struct run_places *places)
{
	const struct guest_kind *kind = options->guest;
	const char *append = options->append ? options->append : "";
	char *base = cli_copy("");
	int status;

	guest->kind = kind;
	guest->is_ours = kind && !options->initrd;
	guest->goal = guest->is_ours && !options->interactive ? kind->goal : NULL;
	guest->kernel = kind ? places->guest_kernel : options->kernel;
	guest->initrd = guest->is_ours ? places->guest_initrd : options->initrd;
	if (kind) {
		bool shell = guest->is_ours && options->interactive && !kind->goal;

		free(base);
		base = cli_format("%s%s", kind->words, shell ? " vmmu.shell" : "");
	}
	status = check_append(append, strlen(base));
	guest->command_line = cli_format("%s%s%s", base, *base && *append ? " " : "", append);
	guest->token = find_token(guest->command_line);
	if (options->cpus > 1) {
		char *token = guest->token;

		guest->token = cli_format("%s cpus=%" PRIu64, token, options->cpus);
		free(token);
	}
	free(base);
	return status;
}

static bool make_folder(const char *path)
{
	char *copy = cli_copy(path);
	bool ok = true;

	for (char *at = strchr(copy + 1, '/'); ok && at; at = strchr(at + 1, '/')) {
		*at = '\0';
		ok = mkdir(copy, 0777) == 0 || errno == EEXIST;
		*at = '/';
	}
	ok = ok && (mkdir(copy, 0777) == 0 || errno == EEXIST);
	free(copy);
	return ok;
}

int run_make_guest(const struct run_places *places, const char *name)
{
	int status = 0;
	pid_t pid;

	if (!cli_exists(places->guest_script)) {
		cli_warn("%s is missing; build or install the project first", places->guest_script);
		return CLI_FAILED;
	}
	if (!make_folder(places->guest_folder)) {
		cli_warn("the folder %s cannot be made: %s", places->guest_folder, strerror(errno));
		return CLI_FAILED;
	}
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		(void)dup2(STDERR_FILENO, STDOUT_FILENO);
		(void)execl("/bin/sh", "sh", places->guest_script, places->guest_parts,
			    places->guest_folder, name, (char *)NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid < 0 || status != 0) {
		cli_warn("the guest %s could not be made; see above, or give --kernel", name);
		return CLI_FAILED;
	}
	return CLI_OK;
}
