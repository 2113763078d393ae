/* SPDX-License-Identifier: MIT */
/*
 * Threads under ThreadSanitizer, both engines: vCPUs write frames; one thread adds, checks that
 * nothing passes, and removes; one has clients come and go; one deletes and recreates a slot with
 * tracked frames; one copies the guest's memory as the dirty log tells him to. A vCPU is a thread
 * that walks the tables as the hardware would.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <vmmu/vmmu.h>

#define VCPUS 3u
#define FRAMES 64u /* slot 0: the guest's memory */
#define OTHER 512u /* slot 1, which comes and goes */
#define OTHER_COUNT 16u
#define PML4 56u /* the guest's tables: identity of the first 1024 frames but for those here */
#define PDPT 57u
#define PD 58u
#define PT 59u
#define PT_OTHER 60u
#define WRITTEN 48u /* frames that vCPUs write */
#define ROUNDS 400u
#define MARKS UINT64_C(0x60) /* accessed, dirty */
#define ARENA_PAGES 16384u
#define GUEST_PFN 64u  /* arena pages behind slot 0 */
#define OTHER_PFN 256u /* behind slot 1 */
#define FIRST_FREE 512u

struct world;

struct cpu {
	struct world *world;
	struct vmmu_vcpu *vcpu;
	unsigned index;
	atomic_uint runs; /* odd: in the guest */
	uint64_t direct, emulated;
	uint64_t seed;
};

struct world {
	struct vmmu_vm *vm;
	bool shadow;
	uint8_t *arena;
	pthread_mutex_t lock;
	uint64_t free_page, free_count, free_list[ARENA_PAGES];
	struct cpu cpu[VCPUS];
	atomic_uint kicks;
	vmmu_tracker_id_t shared;
	/* writes that CPUs did by themselves; writes told to the checker */
	_Atomic uint64_t passed[FRAMES], told[FRAMES];
	/* emulated writes: stored next, and the library was told */
	_Atomic uint64_t stores[FRAMES], stores_told[FRAMES];
	_Atomic uint64_t ends, wrong;
	atomic_bool stop;
};

/* ---- the port ---- */

static vmmu_pfn_t page_alloc(void *host)
{
	struct world *w = host;
	uint64_t pfn = UINT64_MAX;

	pthread_mutex_lock(&w->lock);
	if (w->free_count)
		pfn = w->free_list[--w->free_count];
	else if (w->free_page < ARENA_PAGES)
		pfn = w->free_page++;
	pthread_mutex_unlock(&w->lock);
	if (pfn != UINT64_MAX)
		memset(w->arena + pfn * VMMU_PAGE_BYTES, 0, VMMU_PAGE_BYTES);
	return (vmmu_pfn_t){pfn};
}

static void page_free(void *host, vmmu_pfn_t pfn)
{
	struct world *w = host;

	pthread_mutex_lock(&w->lock);
	w->free_list[w->free_count++] = pfn.n;
	pthread_mutex_unlock(&w->lock);
}

static void *page_map(void *host, vmmu_pfn_t pfn)
{
	struct world *w = host;

	return w->arena + pfn.n * VMMU_PAGE_BYTES;
}

/* Whoever is in the guest now leaves it before this returns. */
static void tlb_flush(void *host, const struct vmmu_flush *flush)
{
	struct world *w = host;

	(void)flush;
	atomic_fetch_add(&w->kicks, 1);
	for (unsigned i = 0; i < VCPUS; i++) {
		unsigned seen = atomic_load(&w->cpu[i].runs);

		while ((seen & 1u) && atomic_load(&w->cpu[i].runs) == seen)
			sched_yield();
	}
}

static bool should_yield(void *host)
{
	(void)host;
	return true;
}

static void yield(void *host)
{
	(void)host;
	sched_yield();
}

static const struct vmmu_port port = {
	.page_alloc = page_alloc,
	.page_free = page_free,
	.page_map = page_map,
	.guest_map = page_map,
	.tlb_flush = tlb_flush,
	.should_yield = should_yield,
	.yield = yield,
	.relax = yield,
};

/* ---- a CPU ---- */

static uint64_t roll(uint64_t *seed, uint64_t bound)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (*seed >> 33) % bound;
}

static _Atomic uint64_t *word(struct world *w, uint64_t address)
{
	return (_Atomic uint64_t *)(void *)(w->arena + (address & ~UINT64_C(7)));
}

/* As the hardware walks four levels. False: it may not be written. */
static bool walk(struct world *w, uint64_t root, uint64_t address, uint64_t *host)
{
	uint64_t table = root;

	for (unsigned level = 4; level; level--) {
		unsigned shift = 12 + 9 * (level - 1);
		_Atomic uint64_t *entry = word(w, table + 8 * (address >> shift & 511));
		uint64_t e = atomic_load(entry);
		bool leaf;

		do {
			if ((e & 3) != 3)
				return false;
			leaf = level == 1 || (level <= 3 && (e & 0x80));
		} while (leaf && (e & MARKS) != MARKS &&
			 !atomic_compare_exchange_strong(entry, &e, e | MARKS));
		table = e & UINT64_C(0xffffffffff000);
		if (leaf) {
			uint64_t inside = (UINT64_C(1) << shift) - 1;

			*host = (table & ~inside) | (address & inside);
			return true;
		}
	}
	return false;
}

/* The hardware's part of a write. True: done. */
static bool write_direct(struct cpu *cpu, uint64_t address)
{
	struct world *w = cpu->world;
	unsigned kicks = atomic_load(&w->kicks);
	struct vmmu_entry entry;
	uint64_t host;
	bool done;

	if (vmmu_vcpu_enter(cpu->vcpu, &entry) != VMMU_OK) {
		atomic_fetch_add(&w->wrong, 1);
		return true;
	}
	/* Either the flush waits for the end of this run, or the kick is seen here. */
	atomic_fetch_add(&cpu->runs, 1);
	done = atomic_load(&w->kicks) == kicks && walk(w, entry.root.addr, address, &host);
	if (done) {
		atomic_fetch_add(word(w, host), 1);
		if (address >> 12 < FRAMES)
			atomic_fetch_add(&w->passed[address >> 12], 1);
		cpu->direct++;
	}
	atomic_fetch_add(&cpu->runs, 1);
	vmmu_vcpu_leave(cpu->vcpu);
	return done;
}

static enum vmmu_outcome fault(struct cpu *cpu, uint64_t address)
{
	if (cpu->world->shadow) {
		struct vmmu_shadow_result result;

		return vmmu_shadow_fault(cpu->vcpu, (vmmu_gva_t){address}, VMMU_PF_WRITE, 0,
					 &result);
	}
	struct vmmu_fault f = {.gpa = {address}, .access = VMMU_ACCESS_WRITE};
	struct vmmu_fault_result result;

	return vmmu_fault_handle(cpu->vcpu, &f, &result);
}

static void write_frame(struct cpu *cpu, uint64_t address)
{
	struct world *w = cpu->world;

	for (unsigned i = 0; i < 10000 && !write_direct(cpu, address); i++) {
		switch (fault(cpu, address)) {
		case VMMU_OUTCOME_TRACKED:
			/* The instruction, emulated. */
			if (address >> 12 < FRAMES) {
				atomic_fetch_add(&w->stores[address >> 12], 1);
				atomic_fetch_add(word(w, GUEST_PFN * VMMU_PAGE_BYTES + address), 1);
			}
			if (vmmu_guest_written(w->vm, 0, (vmmu_gpa_t){address}, 8) != VMMU_OK)
				atomic_fetch_add(&w->wrong, 1);
			if (address >> 12 < FRAMES)
				atomic_fetch_add(&w->stores_told[address >> 12], 1);
			cpu->emulated++;
			return;
		case VMMU_OUTCOME_MMIO:
			return;
		case VMMU_OUTCOME_RESUME:
		case VMMU_OUTCOME_SPURIOUS:
		case VMMU_OUTCOME_RETRY:
			break;
		case VMMU_OUTCOME_READONLY:
		case VMMU_OUTCOME_PENDING:
		case VMMU_OUTCOME_HOST_ERROR:
		case VMMU_OUTCOME_NO_MEMORY:
		case VMMU_OUTCOME_STUCK:
		case VMMU_OUTCOME_INJECT:
		case VMMU_OUTCOME_TABLE_WRITE:
		case VMMU_OUTCOME_DEAD:
		case VMMU_OUTCOME_COUNT:
			atomic_fetch_add(&w->wrong, 1);
			return;
		}
	}
}

static void *run_cpu(void *context)
{
	struct cpu *cpu = context;

	while (!atomic_load(&cpu->world->stop)) {
		uint64_t frame = roll(&cpu->seed, 8) ? roll(&cpu->seed, WRITTEN)
						     : OTHER + roll(&cpu->seed, OTHER_COUNT);

		write_frame(cpu, frame << 12 | 8 * cpu->index);
	}
	return NULL;
}

/* ---- clients ---- */

static struct vmmu_gfn_range range(uint64_t start, uint64_t end)
{
	return (struct vmmu_gfn_range){{start}, {end}};
}

static void told(void *client, unsigned space, vmmu_gpa_t gpa, uint32_t bytes, uint32_t kind)
{
	struct world *w = client;

	if (space || bytes != 8 || kind != VMMU_ACCESS_WRITE)
		atomic_fetch_add(&w->wrong, 1);
	if (gpa.addr >> 12 < FRAMES)
		atomic_fetch_add(&w->told[gpa.addr >> 12], 1);
}

static void ended(void *client, unsigned space, struct vmmu_gfn_range gone)
{
	struct world *w = client;

	if (space || gone.start.n != OTHER || gone.end.n != OTHER + OTHER_COUNT)
		atomic_fetch_add(&w->wrong, 1);
	atomic_fetch_add(&w->ends, 1);
}

static const struct vmmu_tracker_ops checker_ops = {.accessed = told, .region_removed = ended};

static uint64_t content(struct world *w, uint64_t frame)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < VCPUS; i++)
		sum += atomic_load(word(w, (GUEST_PFN + frame) * VMMU_PAGE_BYTES + 8 * i));
	return sum;
}

/* Add, look, wait, look, remove: what CPUs do by themselves stands still in between. */
static void check_range(struct world *w, vmmu_tracker_id_t id, uint64_t start, uint64_t end,
			uint64_t turns)
{
	uint64_t before = 0, after = 0, told_before = 0, told_after = 0, changed = 0;

	for (uint64_t n = start; n < end; n++)
		told_before += atomic_load(&w->told[n]);
	if (vmmu_track_add(w->vm, id, range(start, end), VMMU_ACCESS_WRITE) != VMMU_OK)
		atomic_fetch_add(&w->wrong, 1);
	for (uint64_t n = start; n < end; n++) {
		before += atomic_load(&w->passed[n]);
		changed -= content(w, n);
	}
	while (turns--)
		sched_yield();
	for (uint64_t n = start; n < end; n++) {
		changed += content(w, n);
		after += atomic_load(&w->passed[n]);
	}
	if (after != before)
		atomic_fetch_add(&w->wrong, 1);
	/* R34: what was not in memory at the first look is told; wait for those under way. */
	do {
		sched_yield();
		told_after = 0;
		for (uint64_t n = start; n < end; n++)
			told_after += atomic_load(&w->told[n]);
	} while (told_after - told_before < changed && !atomic_load(&w->wrong));
	if (vmmu_track_remove(w->vm, id, range(start, end), VMMU_ACCESS_WRITE) != VMMU_OK)
		atomic_fetch_add(&w->wrong, 1);
}

static void *run_checker(void *context)
{
	struct world *w = context;
	vmmu_tracker_id_t id;
	uint64_t seed = 3;

	if (vmmu_tracker_register(w->vm, &checker_ops, w, &id) != VMMU_OK)
		atomic_fetch_add(&w->wrong, 1);
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t start = roll(&seed, WRITTEN - 8), end = start + 1 + roll(&seed, 8);

		check_range(w, id, start, end, roll(&seed, 60));
	}
	if (vmmu_tracker_unregister(w->vm, id) != VMMU_OK)
		atomic_fetch_add(&w->wrong, 1);
	return NULL;
}

/* R9: two of these on one frame. */
static void *run_counter(void *context)
{
	struct world *w = context;
	vmmu_tracker_id_t id = w->shared;

	for (unsigned i = 0; i < ROUNDS; i++)
		if (vmmu_track_add(w->vm, id, range(7, 8), VMMU_ACCESS_WRITE) != VMMU_OK ||
		    vmmu_track_remove(w->vm, id, range(7, 8), VMMU_ACCESS_WRITE) != VMMU_OK)
			atomic_fetch_add(&w->wrong, 1);
	return NULL;
}

/* A client whose memory is gone once it has left. */
struct guest_client {
	struct world *world;
	vmmu_tracker_id_t id;
	_Atomic uint64_t calls;
};

static void called(void *client, unsigned space, vmmu_gpa_t gpa, uint32_t bytes, uint32_t kind)
{
	struct guest_client *c = client;

	(void)space;
	(void)bytes;
	(void)kind;
	/* R7: callbacks change what is tracked. */
	if (atomic_fetch_add(&c->calls, 1) % 4 == 3) {
		vmmu_gfn_t gfn = vmmu_gpa_to_gfn(gpa);

		(void)!vmmu_track_remove(c->world->vm, c->id, range(gfn.n, gfn.n + 1),
					 VMMU_ACCESS_WRITE);
	}
}

static void *run_visitors(void *context)
{
	static const struct vmmu_tracker_ops ops = {.accessed = called};
	struct world *w = context;
	uint64_t seed = 5;

	for (unsigned i = 0; i < ROUNDS / 2; i++) {
		struct guest_client *c = calloc(1, sizeof(*c));
		uint64_t start = roll(&seed, WRITTEN),
			 end = start + 1 + roll(&seed, WRITTEN - start);

		if (!c)
			abort();
		c->world = w;
		if (vmmu_tracker_register(w->vm, &ops, c, &c->id) != VMMU_OK ||
		    vmmu_track_add(w->vm, c->id, range(start, end), VMMU_ACCESS_WRITE) != VMMU_OK)
			atomic_fetch_add(&w->wrong, 1);
		if (roll(&seed, 2))
			(void)!vmmu_track_once(w->vm, c->id, range(start, end), true);
		for (unsigned turn = roll(&seed, 40); turn; turn--)
			sched_yield();
		(void)!vmmu_track_rearm(w->vm, c->id, range(start, start + 1));
		if (vmmu_tracker_unregister(w->vm, c->id) != VMMU_OK)
			atomic_fetch_add(&w->wrong, 1);
		free(c);
	}
	return NULL;
}

/* ---- a copy of the guest's memory ---- */

struct copy {
	uint64_t sum[WRITTEN]; /* counters only ever grow */
	bool unsure[WRITTEN];  /* stored, and not told yet */
};

static struct copy content_of_all(struct world *w)
{
	struct copy c;

	for (unsigned n = 0; n < WRITTEN; n++) {
		uint64_t done = atomic_load(&w->stores_told[n]);

		c.sum[n] = content(w, n);
		c.unsure[n] = atomic_load(&w->stores[n]) != done;
	}
	return c;
}

static void begin_to_log(struct world *w, struct copy *copy)
{
	if (vmmu_slot_set_flags(w->vm, 0, 0, VMMU_SLOT_LOG) != VMMU_OK)
		atomic_fetch_add(&w->wrong, 1);
	*copy = content_of_all(w);
}

/* What was there when the look began is told by it, or was told and copied before. */
static void look(struct world *w, struct copy *copy)
{
	struct vmmu_slot_part part = {.count = WRITTEN};
	struct copy before = content_of_all(w);
	uint64_t told = 0;

	if (vmmu_dirty_log(w->vm, &part, &told, NULL) != VMMU_OK)
		atomic_fetch_add(&w->wrong, 1);
	for (unsigned n = 0; n < WRITTEN; n++) {
		if (told >> n & 1)
			copy->sum[n] = content(w, n);
		else if (!before.unsure[n] && copy->sum[n] < before.sum[n])
			atomic_fetch_add(&w->wrong, 1);
	}
}

static void *run_migrator(void *context)
{
	struct world *w = context;
	struct copy copy;

	begin_to_log(w, &copy);
	for (unsigned i = 1; i < ROUNDS / 4; i++) {
		look(w, &copy);
		if (i % 16 == 0) {
			if (vmmu_slot_set_flags(w->vm, 0, 0, 0) != VMMU_OK)
				atomic_fetch_add(&w->wrong, 1);
			begin_to_log(w, &copy);
		}
		sched_yield();
	}
	return NULL;
}

static struct vmmu_slot_config other_slot(void)
{
	return (struct vmmu_slot_config){.id = 1,
					 .base = {OTHER},
					 .count = OTHER_COUNT,
					 .host_base = OTHER_PFN * VMMU_PAGE_BYTES};
}

static void *run_slots(void *context)
{
	struct vmmu_slot_config other = other_slot();
	struct world *w = context;
	vmmu_tracker_id_t id;

	if (vmmu_tracker_register(w->vm, &checker_ops, w, &id) != VMMU_OK)
		atomic_fetch_add(&w->wrong, 1);
	for (unsigned i = 0; i < ROUNDS / 4; i++) {
		uint64_t ends;

		if (vmmu_track_add(w->vm, id, range(OTHER, OTHER + 8), VMMU_ACCESS_WRITE) !=
		    VMMU_OK)
			atomic_fetch_add(&w->wrong, 1);
		for (unsigned turn = i % 16; turn; turn--)
			sched_yield();
		ends = atomic_load(&w->ends);
		/* R4, I14: told before the call returns. */
		if (vmmu_slot_delete(w->vm, 0, 1) != VMMU_OK || atomic_load(&w->ends) == ends)
			atomic_fetch_add(&w->wrong, 1);
		if (vmmu_track_remove(w->vm, id, range(OTHER, OTHER + 1), VMMU_ACCESS_WRITE) !=
		    VMMU_ENOENT)
			atomic_fetch_add(&w->wrong, 1);
		memset(w->arena + OTHER_PFN * VMMU_PAGE_BYTES, (int)i,
		       OTHER_COUNT * VMMU_PAGE_BYTES); /* it is ours: a late write is a race */
		if (vmmu_slot_create(w->vm, &other) != VMMU_OK)
			atomic_fetch_add(&w->wrong, 1);
	}
	if (vmmu_tracker_unregister(w->vm, id) != VMMU_OK)
		atomic_fetch_add(&w->wrong, 1);
	return NULL;
}

/* ---- a world ---- */

static void guest_entry(struct world *w, uint64_t table, unsigned index, uint64_t frame)
{
	atomic_store(word(w, (GUEST_PFN + table) * VMMU_PAGE_BYTES + 8 * index),
		     frame << 12 | 0x67);
}

static void build_guest(struct world *w)
{
	struct vmmu_paging paging = {
		.mode = VMMU_PAGING_4LEVEL, .cr3 = PML4 << 12, .physical_bits = 40, .wp = true};

	guest_entry(w, PML4, 0, PDPT);
	guest_entry(w, PDPT, 0, PD);
	guest_entry(w, PD, 0, PT);
	guest_entry(w, PD, 1, PT_OTHER);
	for (unsigned i = 0; i < WRITTEN; i++)
		guest_entry(w, PT, i, i);
	for (unsigned i = 0; i < OTHER_COUNT; i++)
		guest_entry(w, PT_OTHER, i, OTHER + i);
	for (unsigned i = 0; i < VCPUS; i++)
		assert_int_equal(vmmu_shadow_set_paging(w->cpu[i].vcpu, &paging), VMMU_OK);
}

static struct world *world_new(bool shadow)
{
	struct vmmu_vm_config config = {.format = shadow ? VMMU_FORMAT_SHADOW : VMMU_FORMAT_NPT,
					.root_level = 4,
					.physical_bits = 40,
					.max_leaf = VMMU_LEVEL_1G,
					.spaces = 1};
	struct vmmu_slot_config slot = {.count = FRAMES, .host_base = GUEST_PFN * VMMU_PAGE_BYTES};
	struct vmmu_slot_config other = other_slot();
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->arena = aligned_alloc(VMMU_PAGE_BYTES, (size_t)ARENA_PAGES * VMMU_PAGE_BYTES);
	assert_non_null(w->arena);
	memset(w->arena, 0, FIRST_FREE * VMMU_PAGE_BYTES);
	w->free_page = FIRST_FREE;
	w->shadow = shadow;
	pthread_mutex_init(&w->lock, NULL);
	assert_int_equal(vmmu_vm_create(&port, w, &config, &w->vm), VMMU_OK);
	assert_int_equal(vmmu_slot_create(w->vm, &slot), VMMU_OK);
	assert_int_equal(vmmu_slot_create(w->vm, &other), VMMU_OK);
	for (unsigned i = 0; i < VCPUS; i++) {
		w->cpu[i] = (struct cpu){.world = w, .index = i, .seed = 77 + i};
		assert_int_equal(vmmu_vcpu_create(w->vm, w, &w->cpu[i].vcpu), VMMU_OK);
	}
	if (shadow)
		build_guest(w);
	return w;
}

static void world_free(struct world *w)
{
	for (unsigned i = 0; i < VCPUS; i++)
		vmmu_vcpu_destroy(w->cpu[i].vcpu);
	assert_int_equal(vmmu_vm_destroy(w->vm), VMMU_OK);
	assert_int_equal(w->free_count, w->free_page - FIRST_FREE);
	free(w->arena);
	free(w);
}

static void finding(void *context, const struct vmmu_finding *f)
{
	(void)context;
	print_message("# %s\n", f->text);
}

static void live(bool shadow)
{
	static void *(*const others[])(void *) = {run_checker, run_visitors, run_slots,
						  run_migrator};
	struct world *w = world_new(shadow);
	pthread_t cpu[VCPUS], other[4];
	uint64_t direct = 0, emulated = 0;

	for (unsigned i = 0; i < VCPUS; i++)
		assert_int_equal(pthread_create(&cpu[i], NULL, run_cpu, &w->cpu[i]), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&other[i], NULL, others[i], w), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(other[i], NULL);
	atomic_store(&w->stop, true);
	for (unsigned i = 0; i < VCPUS; i++) {
		pthread_join(cpu[i], NULL);
		direct += w->cpu[i].direct;
		emulated += w->cpu[i].emulated;
	}
	print_message("# %llu writes by CPUs, %llu emulated, %llu ends of slots told\n",
		      (unsigned long long)direct, (unsigned long long)emulated,
		      (unsigned long long)atomic_load(&w->ends));
	if (vmmu_vm_death(w->vm))
		fail_msg("%s", vmmu_vm_death(w->vm));
	assert_int_equal(atomic_load(&w->wrong), 0);
	assert_true(direct > 0 && emulated > 0 && atomic_load(&w->ends) > 0);
	assert_int_equal(vmmu_audit(w->vm, finding, NULL), 0);
	world_free(w);
}

static void clients_and_faulting_vcpus_under_nested_paging(void **state)
{
	(void)state;
	live(false);
}

static void clients_and_faulting_vcpus_under_shadow_paging(void **state)
{
	(void)state;
	live(true);
}

/* R9 */
static void two_threads_add_and_remove_one_frame(void **state)
{
	struct world *w = world_new(false);
	uint64_t values[VMMU_STAT_COUNT];
	pthread_t thread[2];

	(void)state;
	assert_int_equal(vmmu_tracker_register(w->vm, &checker_ops, w, &w->shared), VMMU_OK);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, run_counter, w), 0);
	for (unsigned i = 0; i < ROUNDS; i++)
		write_frame(&w->cpu[0], 7 << 12);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(atomic_load(&w->wrong), 0);
	vmmu_stats_read(w->vm, values);
	assert_int_equal(values[VMMU_STAT_TRACK_FRAMES], 0);
	assert_int_equal(vmmu_track_remove(w->vm, w->shared, range(7, 8), VMMU_ACCESS_WRITE),
			 VMMU_ENOENT);
	assert_int_equal(vmmu_audit(w->vm, finding, NULL), 0);
	assert_int_equal(vmmu_tracker_unregister(w->vm, w->shared), VMMU_OK);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_threads_add_and_remove_one_frame),
		cmocka_unit_test(clients_and_faulting_vcpus_under_nested_paging),
		cmocka_unit_test(clients_and_faulting_vcpus_under_shadow_paging),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
