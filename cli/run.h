/* SPDX-License-Identifier: MIT */
/*
 * The parts of `vmmu run`, in the order in which they work: options, checks, guest, QEMU,
 * session (everything while QEMU lives), report, table, JSON. docs/run-interface.md is the contract
 * with the hypervisor.
 */
#ifndef VMMU_CLI_RUN_H
#define VMMU_CLI_RUN_H

#include "cli.h"

#include <sys/types.h>

/* The hypervisor has room for no more. */
#define RUN_CPUS_MAX 8

/* With less a guest does nothing but wait for its pages. */
#define RUN_RESIDENT_MIN 10

/* What the user asked for. Strings are the user's own; NULL where nothing was said. */
struct run_options {
	const struct guest_kind *guest;
	const char *mmu;
	const char *kernel;
	const char *initrd;
	const char *append;
	const char *audit;
	const char *json;
	const char *trace;
	const char *qemu;
	const char *hypervisor;
	uint64_t memory_bytes; /* 0: not given */
	uint64_t cpus;
	uint64_t resident;  /* percent; 100: all memory stays */
	int64_t timeout_ms; /* 0: none, -1: not given */
	bool huge;
	bool interactive;
	bool icount;
	bool stress;
	bool migrate;
};

/* A guest that `vmmu run --guest` knows. Files are names in the guest folder. */
struct guest_kind {
	const char *name;
	const char *kernel;
	const char *initrd; /* NULL: none */
	const char *words;  /* its command line */
	const char *cpu;    /* QEMU's model of the processor */
	const char *goal;   /* words on its serial port: it has done all; NULL: vmmu-guest's */
	const char *broken; /* words on its serial port: it found a fault; NULL: there are none */
	uint64_t memory_bytes;
	bool draws; /* a screen, by cursor movements */
	bool vgtt;  /* works with the mediated device */
};

/* NULL: no guest has this name. The first one is the default; NULL behind the last. */
const struct guest_kind *guest_find(const char *name);
const struct guest_kind *guest_at(size_t index);

/* Every name, separated by commas; to free. */
char *guest_names(void);

/* Fill @options from the command line. Return: as cli_parse(). */
int run_parse_options(struct run_options *options, int argc, char **argv);

/* Where the files of the command itself are; found from where the command is. */
struct run_places {
	char *hypervisor;
	char *guest_script;
	char *guest_parts;
	char *guest_folder;
	char *guest_kernel;
	char *guest_initrd;
};

void run_find_places(struct run_places *places, const struct run_options *options);

/* The guest as it will be started. */
struct run_guest {
	const char *kernel;
	const char *initrd; /* NULL: none */
	char *command_line;
	char *token;                   /* of the last vmmu.token= word, or "none", and what else
					* stands behind it in the ok line */
	const struct guest_kind *kind; /* NULL: a kernel of the user's */
	const char *goal;              /* words that end the run well; NULL: it ends by itself */
	bool is_ours;                  /* does work of its own, whose result decides */
	bool is_linux;
};

/* Choose the guest and fill in what depends on it. Return: CLI_OK or CLI_BAD_INPUT, told. */
int run_choose_guest(struct run_options *options);

/* Work out kernel, initrd, command line and token. Return: CLI_OK or CLI_BAD_INPUT, told. */
int run_plan_guest(struct run_guest *guest, const struct run_options *options,
		   const struct run_places *places);

/* Fetch and build the guest @name where it is missing. Return: CLI_OK or CLI_FAILED, told. */
int run_make_guest(const struct run_places *places, const char *name);

/*
 * Everything that can be found wrong before QEMU starts. The first is for what the user wrote, the
 * second opens the inputs that exist by then. Nothing is written.
 * Return: CLI_OK, or CLI_BAD_INPUT after one line.
 */
int run_check_request(const struct run_options *options, const struct run_guest *guest,
		      const struct run_places *places);

/* Descriptors of everything the run reads and writes; -1 where there is none. */
struct run_files {
	int hypervisor;
	int kernel;
	int initrd;
	int append;
	int json;
	int trace;
	uint64_t input_bytes; /* kernel and initrd together */
};

int run_open_inputs(struct run_files *files, const struct run_options *options,
		    struct run_guest *guest, const struct run_places *places);
int run_open_outputs(struct run_files *files, const struct run_options *options);

/* What a kernel file is. */
enum kernel_kind { KERNEL_LINUX, KERNEL_MULTIBOOT, KERNEL_UNKNOWN };

struct kernel_facts {
	enum kernel_kind kind;
	const char *problem;   /* why it is KERNEL_UNKNOWN, continues "FILE " */
	uint64_t memory_bytes; /* the least memory it can start in, without its initrd */
};

/* Look at the first bytes of the open file @fd, which is @file_bytes long. */
void run_inspect_kernel(int fd, uint64_t file_bytes, struct kernel_facts *facts);

/* One line from the report channel, kept. */
struct report_entry {
	char *key;
	char *text; /* NULL: a number */
	uint64_t number;
};

struct report {
	struct report_entry *entries;
	size_t count;
	char **findings;
	size_t finding_count;
	char *error;
	int end_status; /* -1: no end line */
	bool started;
	bool guest_ok;
};

enum report_line { LINE_KEPT, LINE_PROGRESS, LINE_START, LINE_ALIVE, LINE_END, LINE_BAD };

/* Keep what @line says; *@rest points at the words after the first. */
enum report_line report_take(struct report *report, const char *line, const char **rest);
void report_set_number(struct report *report, const char *key, uint64_t number);
void report_set_text(struct report *report, const char *key, const char *text);
const struct report_entry *report_find(const struct report *report, const char *key);
uint64_t report_number(const struct report *report, const char *key, uint64_t otherwise);
const char *report_text(const struct report *report, const char *key, const char *otherwise);
void report_free(struct report *report);

/* A running QEMU and our ends of its channels. */
struct qemu {
	pid_t pid;
	int com1, com2, report, trace, monitor, messages;
};

struct qemu_request {
	const char *program;
	const struct run_options *options;
	const struct run_files *files;
	const char *cpu;       /* model of the processor */
	uint64_t memory_bytes; /* of the machine, not of the guest */
	bool vgtt;             /* with the mediated device */
};

/* Memory of the machine that holds this guest, @input bytes of files, and the copy of --migrate. */
uint64_t qemu_memory_bytes(const struct run_options *options, uint64_t input);

/* The program to start, to free; NULL after one line when there is none. */
char *qemu_find(const struct run_options *options);

/* Return: false after one line when it could not be started. */
bool qemu_start(struct qemu *qemu, const struct qemu_request *request);

/*
 * Start QEMU and run until it has ended. Return: -1 after one line when it could not be started,
 * the signal that interrupted the run, 0 when none did.
 */
int session_run(const struct qemu_request *request, const struct run_guest *guest,
		struct report *report);

/* The verdict. *@reason is NULL for CLI_OK, else one line for the user, to free. */
int run_judge(const struct report *report, const struct run_guest *guest, char **reason);

/* Return: false when standard output did not take it all. */
bool table_print(const struct report *report, const struct run_options *options,
		 double wall_seconds);

/* Return: false when the file did not take it all. */
bool json_write(const struct report *report, int fd, int exit_status, double wall_seconds);

#endif
