/* SPDX-License-Identifier: MIT */
/* The crash report: everything that is known about a guest that cannot go on. */
#include "report.h"

#include "../guest/access.h"
#include "../guest/guest.h"

typedef unsigned long long number;

static const char *exit_name(uint32_t code)
{
	switch (code) {
#define EXIT_NAME(name, value, text)                                                               \
	case value:                                                                                \
		return text;
		SVM_EXITS(EXIT_NAME)
#undef EXIT_NAME
	case SVM_EXIT_INVALID:
		return "state that the CPU refuses";
	default:
		return "a kind that the hypervisor does not know";
	}
}

static void dump_registers(struct vcpu *vcpu)
{
	static const char *const names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					    "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
	const struct vmcb_save *save = &vcpu->vmcb.save;

	for (unsigned i = 0; i < 16; i++)
		console_printf("%4s %016llx%s", names[i], (number)*vcpu_reg(vcpu, i),
			       i % 4 == 3 ? "\n" : " ");
	console_printf(" rip %016llx rflags %llx cpl %u\n", (number)save->rip, (number)save->rflags,
		       save->cpl);
	console_printf(" cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx\n", (number)vcpu_cr0(vcpu),
		       (number)save->cr2, (number)vcpu_cr3(vcpu), (number)vcpu_cr4(vcpu),
		       (number)vcpu_efer(vcpu));
	if (vcpu->shadow)
		console_printf("in the CPU: cr0 %llx cr3 %llx cr4 %llx efer %llx\n",
			       (number)save->cr0, (number)save->cr3, (number)save->cr4,
			       (number)save->efer);
}

static void dump_segments(const struct vmcb_save *save)
{
	const struct {
		const char *name;
		const struct vmcb_segment *segment;
	} rows[] = {{"cs", &save->cs}, {"ss", &save->ss},     {"ds", &save->ds},
		    {"es", &save->es}, {"fs", &save->fs},     {"gs", &save->gs},
		    {"tr", &save->tr}, {"gdtr", &save->gdtr}, {"idtr", &save->idtr}};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		console_printf("%5s %04x base %016llx limit %08x attributes %03x\n", rows[i].name,
			       rows[i].segment->selector, (number)rows[i].segment->base,
			       rows[i].segment->limit, rows[i].segment->attributes);
}

static void dump_code(struct vcpu *vcpu)
{
	uint8_t code[EMU_INSN_BYTES_MAX + 1];
	unsigned count = code_read(vcpu, vcpu_linear_rip(vcpu), code, sizeof(code));

	console_printf("code at rip:");
	for (unsigned i = 0; i < count; i++)
		console_printf(" %02x", code[i]);
	console_printf(count != 0 ? "\n" : " cannot be reached\n");
}

static void explain_line(void *context, const char *line)
{
	(void)context;
	console_printf("  %s\n", line);
}

static void explain(struct vcpu *vcpu, const char *what, uint64_t gpa)
{
	console_printf("%s, guest-physical 0x%llx:\n", what, (number)gpa);
	if (vmmu_explain(vcpu->guest->vm, 0, (vmmu_gpa_t){gpa}, explain_line, NULL) != VMMU_OK)
		console_printf("  there is no explanation\n");
}

/* Under shadow paging the hardware walks linear addresses: both tables side by side. */
static void explain_gva(struct vcpu *vcpu, const char *what, uint64_t gva)
{
	console_printf("%s, linear 0x%llx:\n", what, (number)gva);
	if (vmmu_explain_gva(vcpu->mmu, (vmmu_gva_t){gva}, explain_line, NULL) != VMMU_OK)
		console_printf("  there is no explanation\n");
}

static void explain_nested(struct vcpu *vcpu)
{
	struct vmmu_walk_result result;
	struct vmmu_paging paging;

	access_paging(vcpu, &paging);
	if (access_walk(vcpu, &paging, vcpu_linear_rip(vcpu), VMMU_WALK_FETCH | VMMU_WALK_NO_UPDATE,
			&result) == VMMU_WALK_OK)
		explain(vcpu, "where rip is", result.gpa.addr);
	explain(vcpu, "last nested page fault", vcpu->fault_gpa);
}

void crash_report(struct vcpu *vcpu)
{
	const struct vmcb_control *control = &vcpu->vmcb.control;

	console_printf("last exit 0x%llx: %s; info %llx %llx, event %llx, %llu exits\n",
		       (number)control->exit_code, exit_name((uint32_t)control->exit_code),
		       (number)control->exit_info_1, (number)control->exit_info_2,
		       (number)control->event, (number)vcpu->exits);
	dump_registers(vcpu);
	dump_segments(&vcpu->vmcb.save);
	dump_code(vcpu);
	if (!vcpu->shadow) {
		explain_nested(vcpu);
		return;
	}
	explain_gva(vcpu, "where rip is", vcpu_linear_rip(vcpu));
	explain_gva(vcpu, "last page fault", vcpu->fault_gva);
}
