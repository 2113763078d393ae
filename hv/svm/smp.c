/* SPDX-License-Identifier: MIT */
/*
 * How vCPUs on different CPUs meet.
 *
 * Remote flush. vcpu->inside is the number of the run that the CPU is in, or 0. Both sides write
 * first and read then, so that at least one sees the other:
 *
 *   vCPU (smp_enter)                        who withdraws (smp_tlb_flush)
 *   reads guest->flushes                    has raised the library's stamp
 *   vmmu_vcpu_enter(): reads the stamp      flushes + 1
 *   inside = number of this run             inside of all others: not 0? NMI, and wait until
 *   flushes as before? VMRUN                it is another number
 *   else inside = 0, once more
 *
 * GIF is 0 from before the first line to VMRUN: an NMI in between is taken at VMRUN, as an exit. A
 * CPU that is outside, be it that it waits for a lock, is waited for by nobody.
 *
 * QEMU changes its word of pending interrupts without a lock at #VMEXIT and, with a virtual
 * interrupt, at VMRUN, so an NMI or interrupt that comes at that moment may be lost. At #VMEXIT a
 * lost NMI has nothing to do any more. For VMRUN it is sent again after a while; and before a
 * HLT the local APIC is made to look again at what it holds.
 */
#include "smp.h"

#include "../guest/guest.h"
#include "../platform/apic.h"
#include "cr.h"
#include "exits.h"

#define AGAIN_TICKS UINT64_C(30000000)

/* Turns of PAUSE before a vCPU sleeps. */
enum { DOZE_TURNS = 100 };

enum {
	CODE16 = 0x9b,
	DATA16 = 0x93,
	LDT = 0x82,
	TSS16_BUSY = 0x8b,
	SPURIOUS_RESET = 0xff,
	VECTORS = 256,
};
#define CR0_RESET UINT64_C(0x60000010) /* CD, NW, ET */
#define DR6_RESET UINT64_C(0xffff0ff0)
#define DR7_RESET UINT64_C(0x400)
#define RFLAGS_RESET UINT64_C(2)
#define FORMAT_FLAT UINT32_MAX

/* --- requests --- */

static void kick(struct vcpu *to)
{
	__atomic_store_n(&to->kicked, 1, __ATOMIC_SEQ_CST);
	apic_send_nmi(to->apic_id);
}

static bool is_reachable(const struct vcpu *vcpu)
{
	return __atomic_load_n(&vcpu->inside, __ATOMIC_SEQ_CST) != 0 ||
	       __atomic_load_n(&vcpu->resting, __ATOMIC_SEQ_CST) != 0;
}

void smp_request(struct vcpu *to, uint32_t what)
{
	__atomic_fetch_or(&to->requests, what, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&to->guest->wakes, 1, __ATOMIC_SEQ_CST);
	if (is_reachable(to))
		kick(to);
}

static bool has_requests(const struct vcpu *vcpu)
{
	return __atomic_load_n(&vcpu->requests, __ATOMIC_SEQ_CST) != 0;
}

/* --- INIT and STARTUP --- */

static struct vmcb_segment segment(unsigned selector, unsigned attributes)
{
	return (struct vmcb_segment){
		.selector = (uint16_t)selector,
		.attributes = (uint16_t)attributes,
		.limit = 0xffff,
		.base = (uint64_t)selector << 4,
	};
}

static void cr_set(struct vcpu *vcpu, uint64_t cr0)
{
	bool legal = svm_cr_set(vcpu, &(struct guest_cr){.cr0 = cr0});

	HV_ASSERT(legal);
}

void smp_reset(struct vcpu *vcpu)
{
	struct vmcb_save *save = &vcpu->vmcb.save;
	struct vmcb_control *control = &vcpu->vmcb.control;

	svm_halt_end(vcpu);
	save->es = segment(0, DATA16);
	save->ds = save->ss = save->fs = save->gs = save->es;
	save->cs = segment(0xf000, CODE16);
	save->gdtr = save->idtr = segment(0, 0);
	save->ldtr = segment(0, LDT);
	save->tr = segment(0, TSS16_BUSY);
	save->cpl = 0;
	save->rip = 0xfff0;
	save->rflags = RFLAGS_RESET;
	save->dr6 = DR6_RESET;
	save->dr7 = DR7_RESET;
	save->cr2 = 0;
	for (unsigned i = 0; i < 16; i++)
		*vcpu_reg(vcpu, i) = 0;
	vcpu->regs[2] = cpuid(1, 0).eax; /* EDX: what the CPU is */
	/* In two steps, so that the library hears of the mode even if PE was clear before. */
	cr_set(vcpu, CR0_RESET | CR0_PE);
	cr_set(vcpu, CR0_RESET);
	control->event = 0;
	control->virtual_interrupt = 0;
	control->interrupt_shadow = 0;
	control->intercept_3 &= ~INTERCEPT_IRET;
	vcpu->nmi_blocked = false;
	vcpu->chores &= ~(uint32_t)CHORE_NMI;
	vcpu->code.linear = UINT64_MAX;
	vcpu->walk.valid = false;
	vcpu->flush = true;
	vcpu->state = VCPU_WAITS;
}

/* As far as the registers allow: an interrupt that is requested but not in service stays. */
static void apic_reset(struct vcpu *vcpu)
{
	for (uint32_t offset = APIC_LVT_TIMER; offset <= APIC_LVT_ERROR; offset += 0x10) {
		if (offset != APIC_LVT_LINT1)
			apic_write(offset, DELIVERY_MASKED);
	}
	vcpu->lint1 = DELIVERY_MASKED;
	vcpu->apic_logical_id = 0;
	vcpu->apic_logical_format = FORMAT_FLAT;
	apic_write(APIC_TIMER_COUNT, 0);
	apic_write(APIC_TIMER_DIVIDE, 0);
	apic_write(APIC_TPR, 0);
	apic_write(APIC_LOGICAL_ID, 0);
	apic_write(APIC_LOGICAL_FORMAT, FORMAT_FLAT);
	for (unsigned vector = 0; vector < VECTORS; vector += 32) {
		while (apic_read(APIC_IN_SERVICE + vector / 2) != 0)
			apic_write(APIC_EOI, 0);
	}
	apic_write(APIC_SPURIOUS, SPURIOUS_RESET);
}

static void take_init(struct vcpu *vcpu)
{
	/* As a bus would: the boot CPU's INIT resets the machine. */
	if (vcpu->index == 0) {
		guest_end(vcpu->guest, GUEST_RESET, "the guest's boot CPU was sent an INIT");
		return;
	}
	if (vcpu->state == VCPU_WAITS)
		return;
	smp_reset(vcpu);
	apic_reset(vcpu);
}

static void take_startup(struct vcpu *vcpu)
{
	struct vmcb_save *save = &vcpu->vmcb.save;

	if (vcpu->state != VCPU_WAITS)
		return;
	save->cs = segment((vcpu->startup_vector & 0xff) << 8, CODE16);
	save->rip = 0;
	vcpu->state = VCPU_RUNS;
}

static void take_nmi(struct vcpu *vcpu)
{
	if (vcpu->state == VCPU_WAITS)
		return;
	svm_nmi_queue(vcpu);
	svm_halt_end(vcpu);
	if (vcpu->state == VCPU_HALTED)
		svm_skip(vcpu, vcpu->halt_bytes);
	vcpu->state = VCPU_RUNS;
}

static void requests_take(struct vcpu *vcpu)
{
	uint32_t what = __atomic_exchange_n(&vcpu->requests, 0, __ATOMIC_SEQ_CST);

	if ((what & SMP_INIT) != 0)
		take_init(vcpu);
	if ((what & SMP_STARTUP) != 0)
		take_startup(vcpu);
	if ((what & SMP_NMI) != 0)
		take_nmi(vcpu);
	if ((what & SMP_LOOK) != 0)
		watch_registers(vcpu);
}

/* --- which vCPUs a command means --- */

static bool is_logical_target(const struct vcpu *vcpu, uint32_t destination)
{
	uint32_t id = vcpu->apic_logical_id >> 24;

	if (vcpu->apic_logical_format >> 28 == 0xf)
		return (id & destination) != 0;
	/* Clusters of four. */
	return (destination >> 4 == 0xf || id >> 4 == destination >> 4) &&
	       (id & destination & 0xf) != 0;
}

uint32_t smp_targets(const struct vcpu *vcpu, uint32_t command, uint32_t destination)
{
	const struct guest *guest = vcpu->guest;
	uint32_t self = 1u << vcpu->index;
	uint32_t all = (1u << guest->cpu_count) - 1;
	uint32_t found = 0;

	switch (DELIVERY_SHORTHAND(command)) {
	case SHORTHAND_SELF:
		return self;
	case SHORTHAND_ALL:
		return all;
	case SHORTHAND_OTHERS:
		return all & ~self;
	default:
		break;
	}
	if (destination == 0xff)
		return all;
	for (unsigned i = 0; i < guest->cpu_count; i++) {
		const struct vcpu *other = guest->vcpus[i];

		if ((command & DELIVERY_LOGICAL) != 0 ? is_logical_target(other, destination)
						      : other->apic_id == destination)
			found |= 1u << i;
	}
	return found;
}

/* --- resting --- */

void smp_halt(struct vcpu *vcpu, unsigned bytes)
{
	vcpu->halt_bytes = (uint8_t)bytes;
	vcpu->state = VCPU_HALTED;
}

/*
 * Nobody is left who could wake another. @wakes changes with each request and each end of a rest:
 * if it does while we look, somebody is awake and will look again before he rests.
 */
static bool all_rest(const struct guest *guest)
{
	uint64_t wakes = __atomic_load_n(&guest->wakes, __ATOMIC_SEQ_CST);

	for (unsigned i = 0; i < guest->cpu_count; i++) {
		const struct vcpu *vcpu = guest->vcpus[i];

		if (has_requests(vcpu) || __atomic_load_n(&vcpu->resting, __ATOMIC_SEQ_CST) == 0)
			return false;
	}
	return __atomic_load_n(&guest->wakes, __ATOMIC_SEQ_CST) == wakes;
}

static void rest(struct vcpu *vcpu)
{
	struct guest *guest = vcpu->guest;

	__atomic_store_n(&vcpu->resting, 1, __ATOMIC_SEQ_CST);
	if (!has_requests(vcpu) && !guest_has_ended(guest)) {
		if (all_rest(guest))
			guest_end(guest, GUEST_HALT,
				  "the guest's CPUs all halted with interrupts off");
		else
			cpu_wait();
	}
	__atomic_fetch_add(&guest->wakes, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&vcpu->resting, 0, __ATOMIC_SEQ_CST);
	vcpu->nmi_taken |= nmi_take();
}

/* --- waiting for the library's lock --- */

/*
 * Its holder may wait for a CPU that leaves the guest. Under an emulator with fewer processors than
 * the guest has, those that spin meanwhile are what keeps that CPU from running. The first turn
 * behind the spinning only says that this vCPU is about to sleep: the lock is looked at once more
 * before the next, so either that look or whoever lets go sees the other.
 */
void smp_doze(struct vcpu *vcpu, unsigned turn)
{
	if (turn < DOZE_TURNS) {
		cpu_relax();
		return;
	}
	if (turn > DOZE_TURNS && vcpu->dozing != 0) {
		cpu_wait();
		vcpu->nmi_taken |= nmi_take();
	}
	__atomic_store_n(&vcpu->dozing, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&vcpu->guest->dozed, 1, __ATOMIC_SEQ_CST);
}

void smp_wake(struct guest *guest)
{
	if (__atomic_load_n(&guest->dozed, __ATOMIC_SEQ_CST) == 0)
		return;
	__atomic_store_n(&guest->dozed, 0, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < guest->cpu_count; i++) {
		struct vcpu *vcpu = guest->vcpus[i];

		if (__atomic_exchange_n(&vcpu->dozing, 0, __ATOMIC_SEQ_CST) != 0)
			kick(vcpu);
	}
}

/* --- entry and remote flush --- */

/* A lost interrupt would be waited for. */
static void apic_look_again(void)
{
	apic_write(APIC_TPR, apic_read(APIC_TPR));
}

/* Return: whether the vCPU may run now, and counts as inside. */
static bool try_enter(struct vcpu *vcpu, enum svm_next *next)
{
	struct guest *guest = vcpu->guest;
	uint64_t flushes = __atomic_load_n(&guest->flushes, __ATOMIC_SEQ_CST);

	*next = svm_enter(vcpu);
	if (*next == SVM_STOP)
		return false;
	__atomic_store_n(&vcpu->dozing, 0, __ATOMIC_RELAXED);
	if (++vcpu->runs == 0)
		vcpu->runs = 1;
	__atomic_store_n(&vcpu->inside, vcpu->runs, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&guest->flushes, __ATOMIC_SEQ_CST) == flushes && !has_requests(vcpu) &&
	    !guest_has_ended(guest))
		return true;
	__atomic_store_n(&vcpu->inside, 0, __ATOMIC_SEQ_CST);
	vmmu_vcpu_leave(vcpu->mmu);
	/* What this entry was to flush is still to be flushed. */
	vcpu->flush |= vcpu->vmcb.control.tlb_control != TLB_CONTROL_NONE;
	return false;
}

/*
 * Both sides write first and read then, so that at least one sees the other. Who holds is busy
 * himself and waits for nobody who waits for him: a busy vCPU waits for vCPUs inside only, and
 * these have left before they wait here.
 */
void smp_busy_begin(struct vcpu *vcpu)
{
	struct guest *guest = vcpu->guest;

	if (guest->memory.backing == NULL)
		return;
	for (;;) {
		__atomic_store_n(&vcpu->busy, 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&guest->held, __ATOMIC_SEQ_CST) == 0)
			return;
		__atomic_store_n(&vcpu->busy, 0, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&guest->held, __ATOMIC_SEQ_CST) != 0)
			cpu_relax();
	}
}

void smp_busy_end(struct vcpu *vcpu)
{
	if (vcpu->guest->memory.backing == NULL)
		return;
	__atomic_store_n(&vcpu->busy, 0, __ATOMIC_SEQ_CST);
}

bool smp_hold(struct vcpu *vcpu)
{
	struct guest *guest = vcpu->guest;

	if (__atomic_exchange_n(&guest->held, 1, __ATOMIC_SEQ_CST) != 0)
		return false;
	for (unsigned i = 0; i < guest->cpu_count; i++) {
		const struct vcpu *other = guest->vcpus[i];

		while (other != vcpu && __atomic_load_n(&other->busy, __ATOMIC_SEQ_CST) != 0)
			cpu_relax();
	}
	return true;
}

void smp_release(struct vcpu *vcpu)
{
	__atomic_store_n(&vcpu->guest->held, 0, __ATOMIC_SEQ_CST);
}

void smp_leave(struct vcpu *vcpu)
{
	__atomic_store_n(&vcpu->inside, 0, __ATOMIC_RELEASE);
	smp_busy_begin(vcpu);
}

static enum svm_next enter_loop(struct vcpu *vcpu)
{
	enum svm_next next = SVM_RESUME;

	for (;;) {
		if (vcpu->nmi_taken) {
			vcpu->nmi_taken = false;
			watch_nmi(vcpu);
		}
		if (guest_has_ended(vcpu->guest))
			return SVM_STOP;
		if (has_requests(vcpu)) {
			requests_take(vcpu);
		} else if (vcpu->state != VCPU_RUNS) {
			smp_busy_end(vcpu);
			rest(vcpu);
			smp_busy_begin(vcpu);
		} else {
			if (vcpu->halting)
				apic_look_again();
			if (try_enter(vcpu, &next) || next == SVM_STOP)
				return next;
		}
	}
}

enum svm_next smp_enter(struct vcpu *vcpu)
{
	enum svm_next next = enter_loop(vcpu);

	smp_busy_end(vcpu);
	return next;
}

static void wait_outside(struct vcpu *vcpu, uint32_t run)
{
	uint64_t begin = rdtsc();

	while (__atomic_load_n(&vcpu->inside, __ATOMIC_SEQ_CST) == run) {
		cpu_relax();
		if (rdtsc() - begin > AGAIN_TICKS) {
			kick(vcpu);
			begin = rdtsc();
		}
	}
}

void smp_tlb_flush(struct guest *guest)
{
	const struct vcpu *self = this_cpu()->hv;
	uint32_t runs[CPUS_MAX];

	__atomic_fetch_add(&guest->flushes, 1, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < guest->cpu_count; i++) {
		runs[i] = 0;
		if (guest->vcpus[i] != self)
			runs[i] = __atomic_load_n(&guest->vcpus[i]->inside, __ATOMIC_SEQ_CST);
		if (runs[i] != 0)
			kick(guest->vcpus[i]);
	}
	for (unsigned i = 0; i < guest->cpu_count; i++) {
		if (runs[i] != 0)
			wait_outside(guest->vcpus[i], runs[i]);
	}
}

/* --- writes that are told, and audits --- */

/* Both write first and read then: who audits waits for those who tell, others wait for him. */
void smp_tell_begin(struct vcpu *vcpu)
{
	struct guest *guest = vcpu->guest;

	while (vcpu->many) {
		__atomic_store_n(&vcpu->telling, 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&guest->auditing, __ATOMIC_SEQ_CST) == 0)
			return;
		__atomic_store_n(&vcpu->telling, 0, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&guest->auditing, __ATOMIC_SEQ_CST) != 0)
			cpu_relax();
	}
}

void smp_tell_end(struct vcpu *vcpu)
{
	__atomic_store_n(&vcpu->telling, 0, __ATOMIC_SEQ_CST);
}

void smp_audit_begin(struct vcpu *vcpu)
{
	struct guest *guest = vcpu->guest;

	while (__atomic_exchange_n(&guest->auditing, 1, __ATOMIC_SEQ_CST) != 0)
		cpu_relax();
	for (unsigned i = 0; i < guest->cpu_count; i++)
		while (__atomic_load_n(&guest->vcpus[i]->telling, __ATOMIC_SEQ_CST) != 0)
			cpu_relax();
}

void smp_audit_end(struct vcpu *vcpu)
{
	__atomic_store_n(&vcpu->guest->auditing, 0, __ATOMIC_SEQ_CST);
}

void smp_look_again(struct guest *guest)
{
	for (unsigned i = 1; i < guest->cpu_count; i++)
		if (is_reachable(guest->vcpus[i]))
			kick(guest->vcpus[i]);
}

static bool has_stopped(const struct vcpu *vcpu)
{
	return __atomic_load_n(&vcpu->stopped, __ATOMIC_SEQ_CST) != 0;
}

void smp_stop(struct vcpu *vcpu)
{
	struct guest *guest = vcpu->guest;

	smp_busy_end(vcpu);
	__atomic_store_n(&vcpu->stopped, 1, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < guest->cpu_count; i++) {
		struct vcpu *other = guest->vcpus[i];
		uint64_t begin = rdtsc() - AGAIN_TICKS;

		while (!has_stopped(other)) {
			if (is_reachable(other) && rdtsc() - begin >= AGAIN_TICKS) {
				kick(other);
				begin = rdtsc();
			}
			cpu_relax();
		}
	}
}
