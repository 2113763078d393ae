/* SPDX-License-Identifier: MIT */
/*
 * Paying flush debts, and the sections that make forgetting impossible.
 *
 * A vCPU that enters the guest and a thread that withdraws a translation:
 *
 *   vCPU (vmmu_vcpu_enter)          | withdrawing thread (pay)
 *   in_guest = 1                    | entry changed
 *   stamp seen?  ---------.         | stamp + 1
 *   flush what is new      \        | in_guest of each vCPU?  --> port->tlb_flush
 *
 * Both write first and read then, with full barriers: at least one of them sees the other.
 * Either the vCPU flushes by itself or the port is asked to interrupt it.
 */
#include "flush/debt.h"

#include "vm.h"

void vmmu_debt_add(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range)
{
	struct vmmu_debt *debt = &task->debt;

	if (debt->out_of_reach)
		return;
	if (!debt->owed) {
		debt->owed = true;
		debt->space = space;
		debt->range = range;
		return;
	}
	if (debt->space != space)
		debt->everything = true;
	if (range.start.n < debt->range.start.n)
		debt->range.start = range.start;
	if (range.end.n > debt->range.end.n)
		debt->range.end = range.end;
}

void vmmu_debt_add_everything(struct vmmu_task *task)
{
	if (task->debt.out_of_reach)
		return;
	task->debt.owed = true;
	task->debt.everything = true;
}

static bool somebody_is_in_guest(const struct vmmu_vm *vm)
{
	for (const struct vmmu_vcpu *v = vm->vcpus; v; v = v->next)
		if (atomic_get_ordered(&v->in_guest))
			return true;
	return false;
}

static void flush_remote(struct vmmu_task *task)
{
	struct vmmu_vm *vm = task->vm;
	const struct vmmu_flush request = {
		.vm_cookie = vm->config.cookie,
		.space = task->debt.space,
		.range = task->debt.range,
		.everything = task->debt.everything,
	};

	stat_add(task, VMMU_STAT_FLUSHES_REMOTE, 1);
	vm->port->tlb_flush(vm->host, &request);
}

static void flush(struct vmmu_task *task)
{
	struct vmmu_debt *debt = &task->debt;

	if (!VMMU_MUTANT(SKIP_STAMP))
		(void)atomic_plus(&task->vm->flush_stamp, 1); /* pairs with vmmu_vcpu_enter() */
	if (somebody_is_in_guest(task->vm) && !VMMU_MUTANT(SKIP_FLUSH))
		flush_remote(task);
	stat_add(task, VMMU_STAT_FLUSHES, 1);
	trace(task, VMMU_TRACE_FLUSH, 0, debt->range.start.n, debt->range.end.n, debt->everything);
	debt->owed = false;
	debt->everything = false;
	debt->space = 0;
	debt->range = (struct vmmu_gfn_range){.start = {0}, .end = {0}};
}

/* The flush before: a table must not be freed while a CPU may walk it. */
static __attribute__((noinline)) void retire(struct vmmu_task *task)
{
	struct vmmu_sp *sp = task->debt.unlinked;

	task->debt.unlinked = NULL;
	while (sp) {
		struct vmmu_sp *next = sp->next;

		vmmu_table_retire(task, sp);
		sp = next;
	}
}

/* Context: mmu lock, either mode (the list of vCPUs stands still). */
static inline void pay_if_owed(struct vmmu_task *task)
{
	if (task->debt.owed)
		flush(task);
	if (VMMU_UNLIKELY(task->debt.unlinked != NULL))
		retire(task);
}

void vmmu_reading_begin(struct vmmu_task *task) VMMU_NO_ANALYSIS
{
	if (VMMU_LIKELY(task->vcpu != NULL))
		vmmu_epoch_enter(&task->vm->epoch, &task->vcpu->reader, 0);
	else
		task->ticket = vmmu_epoch_enter_outside(&task->vm->epoch);
}

void vmmu_reading_end(struct vmmu_task *task) VMMU_NO_ANALYSIS
{
	if (VMMU_LIKELY(task->vcpu != NULL))
		vmmu_epoch_leave(&task->vcpu->reader);
	else
		vmmu_epoch_leave_outside(&task->vm->epoch, task->ticket);
}

static inline bool is_announced(const struct vmmu_task *task)
{
	return VMMU_LIKELY(task->vcpu != NULL) && VMMU_LIKELY(!task->vm->mmu_lock.foreign);
}

/* Apart, so that a vCPU which finds the lock open needs no stack frame. */
static __attribute__((noinline)) void begin_shared_slow(struct vmmu_task *task) VMMU_NO_ANALYSIS
{
	struct vmmu_vm *vm = task->vm;

	if (!is_announced(task)) {
		vmmu_rwlock_acquire_shared(&vm->mmu_lock, vm->port, vm->host);
		vmmu_reading_begin(task);
		return;
	}
	do
		vmmu_rwlock_wait_open(&vm->mmu_lock, vm->port, vm->host);
	while (!vmmu_epoch_enter_sharing(&vm->epoch, &task->vcpu->reader, &vm->mmu_lock));
}

void vmmu_section_begin_shared(struct vmmu_task *task) VMMU_NO_ANALYSIS
{
	struct vmmu_vm *vm = task->vm;

	if (VMMU_UNLIKELY(!is_announced(task)) ||
	    VMMU_UNLIKELY(
		    !vmmu_epoch_enter_sharing(&vm->epoch, &task->vcpu->reader, &vm->mmu_lock)))
		begin_shared_slow(task);
}

void vmmu_section_end_shared(struct vmmu_task *task) VMMU_NO_ANALYSIS
{
	pay_if_owed(task);
	if (is_announced(task)) {
		vmmu_epoch_leave(&task->vcpu->reader); /* and the lock */
		return;
	}
	vmmu_reading_end(task);
	vmmu_rwlock_release_shared(&task->vm->mmu_lock, task->vm->port, task->vm->host);
}

void vmmu_section_begin(struct vmmu_task *task) VMMU_NO_ANALYSIS
{
	vmmu_rwlock_acquire(&task->vm->mmu_lock, task->vm->port, task->vm->host);
}

void vmmu_section_end(struct vmmu_task *task) VMMU_NO_ANALYSIS
{
	/* A check may have failed where no debt could be noted. */
	if (VMMU_UNLIKELY(vm_is_dead(task->vm)) && !atomic_swap(&task->vm->death_told, 1))
		vmmu_debt_add_everything(task);
	pay_if_owed(task);
	vmmu_rwlock_release(&task->vm->mmu_lock, task->vm->port, task->vm->host);
}

void vmmu_section_settle(struct vmmu_task *task)
{
	pay_if_owed(task);
}

/* Steps between two looks at who waits: flushes that pausing makes due cost more than waiting. */
#define STEPS_PER_LOOK 128u

bool vmmu_section_wants_pause(struct vmmu_task *task, bool shares)
{
	const struct vmmu_port *port = task->vm->port;

	if (port->should_yield && port->should_yield(task->vm->host))
		return true;
	return ++task->steps % STEPS_PER_LOOK == 0 &&
	       vmmu_rwlock_is_wanted(&task->vm->mmu_lock, shares);
}

void vmmu_section_yield(struct vmmu_task *task)
{
	const struct vmmu_port *port = task->vm->port;

	stat_add(task, VMMU_STAT_YIELDS, 1);
	if (port->yield)
		port->yield(task->vm->host);
	else
		vmmu_relax(port, task->vm->host);
}

bool vmmu_section_pause(struct vmmu_task *task) VMMU_NO_ANALYSIS
{
	if (!vmmu_section_wants_pause(task, false))
		return false;
	if (!VMMU_MUTANT(PAUSE_UNPAID))
		pay_if_owed(task);
	vmmu_rwlock_release(&task->vm->mmu_lock, task->vm->port, task->vm->host);
	vmmu_section_yield(task);
	vmmu_section_begin(task);
	return true;
}

bool vmmu_section_pause_shared(struct vmmu_task *task) VMMU_NO_ANALYSIS
{
	if (!vmmu_section_wants_pause(task, true))
		return false;
	vmmu_section_end_shared(task);
	vmmu_section_yield(task);
	vmmu_section_begin_shared(task);
	return true;
}

void vmmu_reading_wait(struct vmmu_task *task) VMMU_NO_ANALYSIS
{
	struct vmmu_vm *vm = task->vm;
	uint64_t start = atomic_get_ordered(&vm->epoch.now);

	while (!VMMU_MUTANT(SET_EARLY)) {
		uint64_t now;

		/* The list of vCPUs stands still under the lock, as the scan needs. */
		vmmu_rwlock_acquire_shared(&vm->mmu_lock, vm->port, vm->host);
		now = vmmu_epoch_try_advance(&vm->epoch, vm->mmu_lock.readers, vm->port, vm->host);
		vmmu_rwlock_release_shared(&vm->mmu_lock, vm->port, vm->host);
		if (vmmu_epoch_is_past(start, now))
			return;
		if (vm->port->yield)
			vm->port->yield(vm->host);
		else
			vmmu_relax(vm->port, vm->host);
	}
}

bool vmmu_slot_copy(struct vmmu_task *task, unsigned space, vmmu_gfn_t gfn, struct vmmu_slot *copy,
		    uint64_t *generation)
{
	struct vmmu_slot_space *s = &task->vm->spaces[space];
	const struct vmmu_slot *slot;

	/* The number first: the set that belongs to it, or a newer one, is seen then. */
	*generation = atomic_get_acquire(&s->generation);
	vmmu_reading_begin(task);
	slot = vmmu_slots_find(vmmu_slots_now(s), gfn);
	if (slot)
		*copy = *slot;
	vmmu_reading_end(task);
	return slot != NULL;
}
