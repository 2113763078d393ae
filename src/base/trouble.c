/* SPDX-License-Identifier: MIT */
/* What happens when something goes wrong, and the trace of what went right. */
#include "vm.h"

const char *vmmu_error_text(enum vmmu_error error)
{
	switch (error) {
#define ERROR_CASE(name, code, text)                                                               \
	case VMMU_##name:                                                                          \
		return text;
		VMMU_ERRORS(ERROR_CASE)
#undef ERROR_CASE
	}
	return "unknown error";
}

const char *vmmu_outcome_name(enum vmmu_outcome outcome)
{
	switch (outcome) {
#define OUTCOME_CASE(name, word, text)                                                             \
	case VMMU_OUTCOME_##name:                                                                  \
		return word;
		VMMU_OUTCOMES(OUTCOME_CASE)
#undef OUTCOME_CASE
	case VMMU_OUTCOME_COUNT:
		break;
	}
	return "?";
}

const char *vmmu_vm_death(const struct vmmu_vm *vm)
{
	return (const char *)(uintptr_t)atomic_get_acquire(&vm->death);
}

void vmmu_vm_kill(struct vmmu_task *task, const char *reason, uint64_t a, uint64_t b)
{
	struct vmmu_vm *vm = task->vm;
	uint64_t alive = 0;

	if (!atomic_cas(&vm->death, &alive, (uintptr_t)reason))
		return;
	/* Whoever is in the guest comes out, and vmmu_vcpu_enter() keeps it out. */
	task->debt.owed = true;
	task->debt.everything = true;
	trace(task, VMMU_TRACE_DEAD, 0, a, b, 0);
	if (vm->port->log)
		vm->port->log(vm->host, reason);
}

void vmmu_panic(const struct vmmu_vm *vm, const char *text)
{
	if (vm->port->panic)
		vm->port->panic(vm->host, text);
	__builtin_trap();
}

void vmmu_trace_emit(struct vmmu_task *task, enum vmmu_trace_kind kind, unsigned level,
		     const uint64_t abc[3])
{
	struct vmmu_trace record = {
		.version = VMMU_TRACE_VERSION,
		.kind = (uint8_t)kind,
		.level = (uint8_t)level,
		.vcpu = task->vcpu ? task->vcpu->index : UINT32_MAX,
		.space = task->vcpu ? (uint8_t)task->vcpu->space : (uint8_t)task->space,
		.number = atomic_plus(&task->vm->trace_number, 1),
		.a = abc[0],
		.b = abc[1],
		.c = abc[2],
	};

	task->vm->port->trace(task->vm->host, &record);
}

static const struct vmmu_stat_info stat_table[VMMU_STAT_COUNT] = {
#define STAT_ROW(name, key_, text_) [VMMU_STAT_##name] = {.key = (key_), .text = (text_)},
	VMMU_STATS(STAT_ROW)
#undef STAT_ROW
};

const struct vmmu_stat_info *vmmu_stats_table(void)
{
	return stat_table;
}
