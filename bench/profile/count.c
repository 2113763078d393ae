/* SPDX-License-Identifier: MIT */
/*
 * A QEMU TCG plugin that counts how often each instruction ran between two moments: from the
 * first execution of address `begin`, or a later one, to the next one of address `end`.
 *
 *   -plugin libbench-count.so,begin=ADDRESS,end=ADDRESS,skip=TIMES,out=FILE
 *
 * FILE gets one line "ADDRESS COUNT" per instruction. The declarations below are the part of
 * QEMU's plugin interface (version 1) that is used; Debian packages no header for it.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t qemu_plugin_id_t;

enum { INLINE_ADD_U64 = 0, NO_REGISTERS = 0, ADDRESSES_MAX = 1 << 20 };

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int operation,
						void *at, uint64_t value);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    void (*callback)(unsigned cpu, void *data), int flags,
					    void *data);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
					   void (*callback)(qemu_plugin_id_t,
							    struct qemu_plugin_tb *));
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*callback)(qemu_plugin_id_t, void *),
				    void *data);
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv);

extern EXPORT int qemu_plugin_version;
int qemu_plugin_version = 1;

/* Counters by address: open addressing, never emptied. */
static struct counter {
	uint64_t address, count, before, during;
} counters[ADDRESSES_MAX];

static uint64_t begin, end, skip;
static const char *out_path;
static enum { WAITING, COUNTING, DONE } state;

static struct counter *counter_of(uint64_t address)
{
	uint64_t at = address * UINT64_C(0x9e3779b97f4a7c15) >> 44;

	while (counters[at].address != 0 && counters[at].address != address)
		at = (at + 1) % ADDRESSES_MAX;
	counters[at].address = address;
	return &counters[at];
}

static void on_begin(unsigned cpu, void *data)
{
	(void)cpu;
	(void)data;
	if (state != WAITING || skip-- != 0)
		return;
	state = COUNTING;
	for (size_t i = 0; i < ADDRESSES_MAX; i++)
		counters[i].before = counters[i].count;
}

static void on_end(unsigned cpu, void *data)
{
	(void)cpu;
	(void)data;
	if (state != COUNTING)
		return;
	state = DONE;
	for (size_t i = 0; i < ADDRESSES_MAX; i++)
		counters[i].during = counters[i].count - counters[i].before;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	(void)id;
	for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint64_t address = qemu_plugin_insn_vaddr(insn);

		if (address == begin)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_begin, NO_REGISTERS, NULL);
		if (address == end)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_end, NO_REGISTERS, NULL);
		qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64,
							   &counter_of(address)->count, 1);
	}
}

static void on_exit_write(qemu_plugin_id_t id, void *data)
{
	FILE *file = fopen(out_path, "w");

	(void)id;
	(void)data;
	if (file == NULL)
		return;
	for (size_t i = 0; i < ADDRESSES_MAX; i++) {
		if (counters[i].during != 0)
			(void)fprintf(file, "%" PRIx64 " %" PRIu64 "\n", counters[i].address,
				      counters[i].during);
	}
	(void)fclose(file);
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		if (strncmp(argv[i], "begin=", 6) == 0)
			begin = strtoull(argv[i] + 6, NULL, 0);
		else if (strncmp(argv[i], "end=", 4) == 0)
			end = strtoull(argv[i] + 4, NULL, 0);
		else if (strncmp(argv[i], "skip=", 5) == 0)
			skip = strtoull(argv[i] + 5, NULL, 0);
		else if (strncmp(argv[i], "out=", 4) == 0)
			out_path = strdup(argv[i] + 4);
	}
	if (out_path == NULL)
		return 1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	qemu_plugin_register_atexit_cb(id, on_exit_write, NULL);
	return 0;
}
