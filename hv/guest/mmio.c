/* SPDX-License-Identifier: MIT */
/*
 * Between the instruction emulator and the guest's memory: linear addresses are walked by the
 * guest's tables, memory is read and written, everything else goes to the devices.
 */
#include "mmio.h"

#include "../emulate/execute.h"
#include "../svm/smp.h"
#include "access.h"
#include "device.h"
#include "guest.h"

#define RFLAGS_RF (UINT64_C(1) << 16)

enum segment_attributes {
	SEGMENT_TYPE_ACCESS = 1u << 1, /* data: writable, code: readable */
	SEGMENT_TYPE_EXPAND_DOWN = 1u << 2,
	SEGMENT_TYPE_CODE = 1u << 3,
	SEGMENT_PRESENT = 1u << 7,
};

/* A page that was walked to. */
struct seen_page {
	uint64_t linear; /* its first byte; UINT64_MAX: none */
	uint64_t gpa;
};

/* One instruction under way, and why it failed if it did. */
struct task {
	struct vcpu *vcpu;
	uint64_t fault_linear;
	uint32_t fault_code;
	bool unreadable; /* the guest's tables lead out of memory */
	bool one_place;  /* it accesses memory at one place, which is the one that the exit names */
	bool has_paging;
	/* Last page read, and written: the iterations of a string instruction mostly stay in them,
	 * and as the CPU does, one instruction looks each of its pages up once. */
	struct seen_page seen[2];
	struct vmmu_paging paging; /* if so: most accesses need no walk */
};

/* A piece of an access that does not cross a page. */
struct piece {
	uint64_t gpa;
	uint32_t bytes;
};

static bool piece_translate(struct task *task, uint64_t linear, uint32_t flags, uint64_t *gpa)
{
	struct seen_page *seen = &task->seen[(flags & VMMU_WALK_WRITE) != 0];
	uint64_t offset = linear % FRAME_BYTES;
	struct vmmu_walk_result result;
	enum vmmu_walk_status status;

	if (seen->linear == linear - offset) {
		*gpa = seen->gpa + offset;
		return true;
	}
	if (!task->has_paging)
		access_paging(task->vcpu, &task->paging);
	task->has_paging = true;
	status = access_walk(task->vcpu, &task->paging, linear, flags, &result);
	if (status == VMMU_WALK_OK) {
		*gpa = result.gpa.addr;
		*seen = (struct seen_page){linear - offset, result.gpa.addr - offset};
		return true;
	}
	task->unreadable = status != VMMU_WALK_FAULT;
	task->fault_linear = linear;
	task->fault_code = result.error_code;
	return false;
}

/* Has the exit been for an access that wrote? Bit 1 of both kinds of error code. */
static bool exit_was_write(const struct vcpu *vcpu)
{
	return (vcpu->vmcb.control.exit_info_1 & VMMU_PF_WRITE) != 0;
}

/*
 * May @bytes at @linear be done at the physical address that the CPU has found for the access
 * which exited? It has walked the guest's tables and judged the rights: of a write if it wrote.
 */
static bool exit_names(const struct vcpu *vcpu, uint64_t linear, uint32_t bytes, bool write)
{
	return (linear - vcpu->fault_gpa) % FRAME_BYTES == 0 &&
	       vcpu->fault_gpa % FRAME_BYTES + bytes <= FRAME_BYTES &&
	       (!write || exit_was_write(vcpu));
}

/* Both pages of an access are translated before either is touched. Return: pieces, 0: fault. */
static unsigned access_split(struct task *task, const struct emu_access *access, uint32_t flags,
			     struct piece pieces[2])
{
	uint32_t rest = (uint32_t)(FRAME_BYTES - access->linear % FRAME_BYTES);
	uint32_t first = access->bytes < rest ? access->bytes : rest;

	if ((access->flags & EMU_ACCESS_WRITE_INTENT) != 0)
		flags |= VMMU_WALK_WRITE;
	pieces[0].bytes = first;
	if (task->one_place &&
	    exit_names(task->vcpu, access->linear, access->bytes, (flags & VMMU_WALK_WRITE) != 0)) {
		pieces[0].gpa = task->vcpu->fault_gpa;
		return 1;
	}
	if (!piece_translate(task, access->linear, flags, &pieces[0].gpa))
		return 0;
	if (first == access->bytes)
		return 1;
	pieces[1].bytes = access->bytes - first;
	if (!piece_translate(task, access->linear + first, flags, &pieces[1].gpa))
		return 0;
	return 2;
}

static void piece_read(struct vcpu *vcpu, const struct piece *piece, uint8_t *to)
{
	const uint8_t *at = guest_pointer(&vcpu->guest->memory, piece->gpa, GUEST_READ);

	if (at != NULL)
		memcpy(to, at, piece->bytes);
	else
		device_read(vcpu, piece->gpa, piece->bytes, to);
}

/* The library may have a copy of what was there, or clients that want to know. */
static void memory_written(const struct vcpu *vcpu, const struct piece *piece)
{
	enum vmmu_error error =
		vmmu_guest_written(vcpu->guest->vm, 0, (vmmu_gpa_t){piece->gpa}, piece->bytes);

	HV_ASSERT(error != VMMU_EINVAL); /* a dead VM is noticed at the next entry */
}

/* A store of the CPU's own widths is one store. */
static void store(uint8_t *at, const uint8_t *from, uint32_t bytes)
{
	uint64_t wide;
	uint32_t narrow;

	if (bytes == 8 && (uintptr_t)at % 8 == 0) {
		memcpy(&wide, from, sizeof(wide));
		__atomic_store_n((uint64_t *)(void *)at, wide, __ATOMIC_SEQ_CST);
	} else if (bytes == 4 && (uintptr_t)at % 4 == 0) {
		memcpy(&narrow, from, sizeof(narrow));
		__atomic_store_n((uint32_t *)(void *)at, narrow, __ATOMIC_SEQ_CST);
	} else {
		memcpy(at, from, bytes);
	}
}

static void piece_write(struct vcpu *vcpu, const struct piece *piece, const uint8_t *from)
{
	uint8_t *at = guest_pointer(&vcpu->guest->memory, piece->gpa, GUEST_WRITE);

	if (at == NULL) {
		device_write(vcpu, piece->gpa, piece->bytes, from);
		return;
	}
	smp_tell_begin(vcpu);
	store(at, from, piece->bytes);
	memory_written(vcpu, piece);
	smp_tell_end(vcpu);
}

static enum emu_result op_fetch(void *context, const struct emu_access *access, void *value)
{
	struct task *task = context;

	if (code_read(task->vcpu, access->linear, value, access->bytes) == access->bytes)
		return EMU_ACCESS_OK;
	task->fault_linear = access->linear;
	task->fault_code = VMMU_PF_FETCH | (task->vcpu->vmcb.save.cpl == 3 ? VMMU_PF_USER : 0u);
	return EMU_ACCESS_FAULT;
}

static enum emu_result op_read(void *context, const struct emu_access *access, void *value)
{
	struct task *task = context;
	struct piece pieces[2];
	unsigned count = access_split(task, access, 0, pieces);
	uint8_t *to = value;

	for (unsigned i = 0; i < count; to += pieces[i].bytes, i++)
		piece_read(task->vcpu, &pieces[i], to);
	return count != 0 ? EMU_ACCESS_OK : EMU_ACCESS_FAULT;
}

static enum emu_result op_write(void *context, const struct emu_access *access, const void *value)
{
	struct task *task = context;
	struct piece pieces[2];
	unsigned count = access_split(task, access, VMMU_WALK_WRITE, pieces);
	const uint8_t *from = value;

	for (unsigned i = 0; i < count; from += pieces[i].bytes, i++)
		piece_write(task->vcpu, &pieces[i], from);
	return count != 0 ? EMU_ACCESS_OK : EMU_ACCESS_FAULT;
}

/* True: done, or the memory holds something else. */
static bool exchange(uint8_t *at, uint32_t bytes, const void *expected, const void *desired,
		     bool *same)
{
	uint64_t old[2] = {0}, new[2] = {0};

	if (bytes > sizeof(old) || (uintptr_t)at % bytes != 0)
		return false;
	memcpy(old, expected, bytes);
	memcpy(new, desired, bytes);
	switch (bytes) {
	case 1:
		__asm__ volatile("lock cmpxchgb %b3, %1"
				 : "=@ccz"(*same), "+m"(*at), "+a"(old[0])
				 : "q"(new[0])
				 : "memory");
		return true;
	case 2:
		__asm__ volatile("lock cmpxchgw %w3, %1"
				 : "=@ccz"(*same), "+m"(*(uint16_t *)(void *)at), "+a"(old[0])
				 : "r"(new[0])
				 : "memory");
		return true;
	case 4:
		__asm__ volatile("lock cmpxchgl %k3, %1"
				 : "=@ccz"(*same), "+m"(*(uint32_t *)(void *)at), "+a"(old[0])
				 : "r"(new[0])
				 : "memory");
		return true;
	case 8:
		__asm__ volatile("lock cmpxchgq %3, %1"
				 : "=@ccz"(*same), "+m"(*(uint64_t *)(void *)at), "+a"(old[0])
				 : "r"(new[0])
				 : "memory");
		return true;
	case 16:
		__asm__ volatile("lock cmpxchg16b %1"
				 : "=@ccz"(*same), "+m"(*(uint64_t(*)[2])(void *)at), "+a"(old[0]),
				   "+d"(old[1])
				 : "b"(new[0]), "c"(new[1])
				 : "memory");
		return true;
	default:
		return false;
	}
}

/* Atomic as the CPU's own, unless the operand crosses a page or is not aligned. */
static enum emu_result op_compare_exchange(void *context, const struct emu_access *access,
					   const void *expected, const void *desired)
{
	struct task *task = context;
	struct piece pieces[2];
	unsigned count = access_split(task, access, VMMU_WALK_WRITE, pieces);
	uint8_t *at = NULL;
	bool same;

	if (count == 0)
		return EMU_ACCESS_FAULT;
	if (count == 1)
		at = guest_pointer(&task->vcpu->guest->memory, pieces[0].gpa, GUEST_WRITE);
	smp_tell_begin(task->vcpu);
	if (at == NULL || !exchange(at, access->bytes, expected, desired, &same)) {
		smp_tell_end(task->vcpu);
		return op_write(context, access, desired);
	}
	if (same)
		memory_written(task->vcpu, &pieces[0]);
	smp_tell_end(task->vcpu);
	return same ? EMU_ACCESS_OK : EMU_ACCESS_RETRY;
}

static enum emu_result op_check_write(void *context, const struct emu_access *access)
{
	struct piece pieces[2];

	return access_split(context, access, VMMU_WALK_WRITE, pieces) != 0 ? EMU_ACCESS_OK
									   : EMU_ACCESS_FAULT;
}

/* The guest's SSE registers are in the CPU: the host has no use for them. */
/* clang-format off */
#define EACH_XMM(X) \
	X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
/* clang-format on */

static void op_xmm_read(void *context, unsigned reg, void *value)
{
	(void)context;
	switch (reg) {
#define XMM_READ(n)                                                                                \
	case n:                                                                                    \
		__asm__ volatile("movdqu %%xmm" #n ", (%0)" : : "r"(value) : "memory");            \
		break;
		EACH_XMM(XMM_READ)
#undef XMM_READ
	default:
		break;
	}
}

static void op_xmm_write(void *context, unsigned reg, const void *value)
{
	(void)context;
	switch (reg) {
#define XMM_WRITE(n)                                                                               \
	case n:                                                                                    \
		__asm__ volatile("movdqu (%0), %%xmm" #n : : "r"(value) : "memory");               \
		break;
		EACH_XMM(XMM_WRITE)
#undef XMM_WRITE
	default:
		break;
	}
}

static const struct emu_ops ops = {
	.fetch = op_fetch,
	.read = op_read,
	.write = op_write,
	.compare_exchange = op_compare_exchange,
	.check_write = op_check_write,
	.xmm_read = op_xmm_read,
	.xmm_write = op_xmm_write,
};

static struct emu_segment segment_load(const struct vmcb_segment *segment)
{
	unsigned attributes = segment->attributes;
	bool code = (attributes & SEGMENT_TYPE_CODE) != 0;
	bool access = (attributes & SEGMENT_TYPE_ACCESS) != 0;
	struct emu_segment out = {.base = segment->base, .limit = segment->limit};

	if ((attributes & SEGMENT_PRESENT) == 0)
		return out;
	if (!code || access)
		out.flags |= EMU_SEGMENT_READABLE;
	if (!code && access)
		out.flags |= EMU_SEGMENT_WRITABLE;
	if (!code && (attributes & SEGMENT_TYPE_EXPAND_DOWN) != 0)
		out.flags |= EMU_SEGMENT_EXPAND_DOWN;
	if ((attributes & SEGMENT_BIG) != 0)
		out.flags |= EMU_SEGMENT_BIG;
	return out;
}

void mmio_cpu_load(struct vcpu *vcpu, struct emu_cpu *cpu)
{
	const struct vmcb_save *save = &vcpu->vmcb.save;

	memcpy(cpu->gpr, vcpu->regs, sizeof(cpu->gpr));
	cpu->gpr[EMU_RAX] = save->rax;
	cpu->gpr[EMU_RSP] = save->rsp;
	cpu->rip = save->rip;
	cpu->rflags = save->rflags;
	cpu->mode = (uint8_t)access_mode(vcpu);
	if (cpu->mode == EMU_MODE_64) {
		/* All that counts of segments there. */
		cpu->segment[EMU_FS].base = save->fs.base;
		cpu->segment[EMU_GS].base = save->gs.base;
	} else {
		cpu->segment[EMU_ES] = segment_load(&save->es);
		cpu->segment[EMU_CS] = segment_load(&save->cs);
		cpu->segment[EMU_SS] = segment_load(&save->ss);
		cpu->segment[EMU_DS] = segment_load(&save->ds);
		cpu->segment[EMU_FS] = segment_load(&save->fs);
		cpu->segment[EMU_GS] = segment_load(&save->gs);
	}
	cpu->cpl = save->cpl;
	cpu->linear_bits = (vcpu_cr4(vcpu) & CR4_LA57) != 0 ? 57 : 48;
}

static void cpu_store(struct vcpu *vcpu, const struct emu_cpu *cpu)
{
	struct vmcb_save *save = &vcpu->vmcb.save;

	memcpy(vcpu->regs, cpu->gpr, sizeof(vcpu->regs));
	save->rax = cpu->gpr[EMU_RAX];
	save->rsp = cpu->gpr[EMU_RSP];
	save->rip = cpu->rip;
	save->rflags = cpu->rflags;
}

static enum svm_next fault_inject(struct task *task)
{
	struct vcpu *vcpu = task->vcpu;

	if (task->unreadable) {
		guest_end(vcpu->guest, GUEST_CRASH,
			  "the guest's page tables lead out of memory at linear address 0x%llx",
			  (unsigned long long)task->fault_linear);
		return SVM_STOP;
	}
	svm_inject_page_fault(vcpu, task->fault_linear, task->fault_code);
	return SVM_RESUME;
}

static enum svm_next cannot(struct vcpu *vcpu, const char *what)
{
	guest_end(vcpu->guest, GUEST_CRASH,
		  "the instruction that accessed 0x%llx, where no memory is, %s",
		  (unsigned long long)vcpu->fault_gpa, what);
	return SVM_STOP;
}

/* --- the short way: MOV --- */

static bool is_high_byte(const struct emu_insn *insn)
{
	return insn->operand_bytes == 1 && !insn->has_rex && insn->reg >= 4;
}

/* Offset of the memory operand in its page: 64-bit code, so only two segments have a base. */
static uint64_t operand_offset(struct vcpu *vcpu, const struct emu_insn *insn)
{
	const struct emu_memory *memory = &insn->memory;
	uint64_t at = (uint64_t)memory->disp;

	if (memory->rip_relative)
		at += vcpu->vmcb.save.rip + insn->length;
	if (memory->base != EMU_REG_NONE)
		at += *vcpu_reg(vcpu, memory->base);
	if (memory->index != EMU_REG_NONE)
		at += *vcpu_reg(vcpu, memory->index) * memory->scale;
	if (insn->segment == EMU_FS)
		at += vcpu->vmcb.save.fs.base;
	else if (insn->segment == EMU_GS)
		at += vcpu->vmcb.save.gs.base;
	return at % FRAME_BYTES;
}

/* 64-bit code: a result of 32 bits clears the upper half, a smaller one keeps what is above. */
static void reg_set(struct vcpu *vcpu, unsigned reg, unsigned bytes, uint64_t value)
{
	uint64_t *at = vcpu_reg(vcpu, reg);

	if (bytes < 4)
		memcpy(at, &value, bytes);
	else
		*at = value;
}

/*
 * A MOV between the place that the exit names and a register, or from a constant: nearly all
 * accesses to devices, and most writes to page tables. The CPU has walked the tables and made its
 * checks before it exited, so nothing can fail any more and no state has to be carried about.
 * False: it is another instruction, and nothing has happened.
 */
static bool move_done(struct vcpu *vcpu, const struct emu_insn *insn)
{
	const struct piece piece = {.gpa = vcpu->fault_gpa, .bytes = insn->operand_bytes};
	bool write = insn->destination == EMU_OPERAND_RM;
	unsigned operand = write ? insn->source : insn->destination;
	unsigned reg = operand == EMU_OPERAND_ACC ? (unsigned)EMU_RAX : insn->reg;
	uint64_t value = 0;

	if (insn->op != EMU_OP_MOV || !insn->has_memory || is_high_byte(insn) ||
	    write != exit_was_write(vcpu) ||
	    !exit_names(vcpu, operand_offset(vcpu, insn), piece.bytes, write))
		return false;
	if (write) {
		value = operand == EMU_OPERAND_IMM ? (uint64_t)insn->imm : *vcpu_reg(vcpu, reg);
		piece_write(vcpu, &piece, (const uint8_t *)&value);
	} else {
		piece_read(vcpu, &piece, (uint8_t *)&value);
		reg_set(vcpu, reg, piece.bytes, value);
	}
	vcpu->vmcb.save.rflags &= ~RFLAGS_RF;
	svm_skip(vcpu, insn->length);
	return true;
}

/* --- the long way --- */

/* Does it access memory at one place only, whose address its operand gives? */
static bool has_one_place(const struct emu_insn *insn)
{
	return insn->has_memory && insn->op != EMU_OP_PUSH && insn->op != EMU_OP_POP;
}

/* @insn: what is at RIP, or NULL: to be fetched. False: the emulator does not know it. */
static bool insn_run(struct vcpu *vcpu, const struct emu_insn *insn, enum svm_next *next)
{
	struct task task;
	struct emu_cpu cpu;
	enum emu_outcome outcome;

	/* Field by field: the rest is large, and mostly not used. */
	task.vcpu = vcpu;
	task.unreadable = false;
	task.has_paging = false;
	task.seen[0].linear = UINT64_MAX;
	task.seen[1].linear = UINT64_MAX;
	task.one_place = insn != NULL && has_one_place(insn);
	mmio_cpu_load(vcpu, &cpu);
	if (insn != NULL)
		outcome = emu_execute(&cpu, insn, &ops, &task);
	else
		outcome = emu_step(&cpu, &ops, &task);
	if (outcome == EMU_CANNOT)
		return false;
	/* Whatever came of it: iterations of a string instruction that were done stay done. */
	cpu_store(vcpu, &cpu);
	switch (outcome) {
	case EMU_DONE:
		svm_skip(vcpu, 0); /* RIP is right already: only what comes with retiring */
		break;
	case EMU_FAULT:
		if (!guest_has_ended(vcpu->guest))
			*next = fault_inject(&task);
		break;
	case EMU_RAISE_UD:
		svm_inject(vcpu, VECTOR_UD);
		break;
	case EMU_RAISE_GP:
		svm_inject_code(vcpu, VECTOR_GP, 0);
		break;
	case EMU_RAISE_SS:
		svm_inject_code(vcpu, VECTOR_SS, 0);
		break;
	case EMU_AGAIN:
	case EMU_RETRY:
	case EMU_CANNOT:
		break;
	}
	return true;
}

bool mmio_try(struct vcpu *vcpu, enum svm_next *next)
{
	const struct emu_insn *insn = code_known(vcpu);

	*next = SVM_RESUME;
	if ((insn == NULL || !move_done(vcpu, insn)) && !insn_run(vcpu, insn, next))
		return false;
	if (guest_has_ended(vcpu->guest))
		*next = SVM_STOP;
	return true;
}

enum svm_next mmio_emulate(struct vcpu *vcpu)
{
	enum svm_next next;

	return mmio_try(vcpu, &next) ? next : cannot(vcpu, "is not one that the emulator knows");
}
