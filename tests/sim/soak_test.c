/* SPDX-License-Identifier: MIT */
/*
 * soak_test.c - a very small hypervisor on the simulated machine, careful or careless.
 *
 * It maps host pages into 64 guest frames, takes them away, lets the host swap, and runs guest
 * stores and loads on two CPUs. As long as it flushes where it must, nobody may notice that
 * CPUs are adversarial; if it forgets one kind of flush, that must come out.
 */
#include "oracle.h"
#include "tables.h"

#define FRAMES 64u
#define PAGES(n) ((uint64_t)(n)*SIM_PAGE_BYTES)

enum carelessness {
	CAREFUL,
	NO_FLUSH_ON_UNMAP,
	NO_FLUSH_ON_PROTECT,
	FLUSH_ONE_CPU,
	FREE_TABLE_BEFORE_FLUSH,
};

struct soak {
	struct sim_machine *machine;
	struct oracle *oracle;
	struct tables tables;
	enum carelessness carelessness;
	uint64_t wrong; /* answers that the oracle does not accept */
};

static void soak_start(struct soak *soak, enum sim_format format, uint64_t seed,
		       enum carelessness carelessness)
{
	struct sim_config config = {.seed = seed, .cpu_count = 2, .frame_count = 512};
	struct oracle_request slot = {.byte_count = PAGES(FRAMES)};

	*soak = (struct soak){.machine = sim_machine_new(&config), .carelessness = carelessness};
	assert_non_null(soak->machine);
	soak->oracle = oracle_new(soak->machine);
	soak->tables = tables_new(soak->machine, format);
	assert_int_equal(oracle_set(soak->oracle, &slot), ORACLE_OK);
	assert_true(sim_host_populate(soak->machine, sim_hpage(0), FRAMES, SIM_LEVEL_4K));
	for (uint32_t i = 0; i < 2; i++)
		sim_cpu_set_root(sim_machine_cpu(soak->machine, i), &soak->tables.root);
}

static void flush(struct soak *soak, uint64_t gfn, uint64_t count)
{
	if (soak->carelessness == FLUSH_ONE_CPU)
		sim_cpu_flush_range(sim_machine_cpu(soak->machine, 0), 1, sim_gfn(gfn),
				    sim_gfn(gfn + count));
	else
		sim_flush_range(soak->machine, 1, sim_gfn(gfn), sim_gfn(gfn + count));
}

static void unmap(struct soak *soak, uint64_t gfn)
{
	tables_unmap(&soak->tables, sim_gpa(PAGES(gfn)), SIM_LEVEL_4K);
	if (soak->carelessness != NO_FLUSH_ON_UNMAP)
		flush(soak, gfn, 1);
}

/* What a fault handler does: ask the host, map what it has. */
static void handle_fault(struct soak *soak, uint64_t gfn, enum sim_access_kind kind)
{
	sim_hpage_t page = sim_hpage(gfn);
	struct sim_host_view host = sim_host_query(soak->machine, page);

	if (!host.is_present)
		assert_true(sim_host_swap_in(soak->machine, page));
	if (host.is_present && kind == SIM_WRITE && !host.is_writable) {
		unmap(soak, gfn);
		assert_true(sim_host_copy_on_write(soak->machine, page));
	}
	host = sim_host_query(soak->machine, page);
	tables_map(&soak->tables, sim_gpa(PAGES(gfn)), host.pfn, SIM_LEVEL_4K,
		   host.is_writable ? "rwx" : "rx");
}

static void guest_access(struct soak *soak)
{
	struct sim_machine *machine = soak->machine;
	struct sim_cpu *cpu = sim_machine_cpu(machine, (uint32_t)sim_random_below(machine, 2));
	uint64_t gfn = sim_random_below(machine, FRAMES);
	sim_gpa_t gpa = sim_gpa(PAGES(gfn) + 8 * sim_random_below(machine, 4));
	bool is_write = sim_random_below(machine, 2);
	enum sim_access_kind kind = is_write ? SIM_WRITE : SIM_READ;
	uint64_t fresh = oracle_fresh_value(soak->oracle), value = 0, expected = 0;
	struct sim_result r = {.outcome = SIM_BROKEN};

	for (unsigned tries = 0; tries < 5 && r.outcome != SIM_OK; tries++) {
		if (tries)
			handle_fault(soak, gfn, kind);
		r = is_write ? sim_cpu_store(cpu, gpa, fresh) : sim_cpu_load(cpu, gpa, &value);
		if (r.outcome == SIM_BROKEN)
			break;
	}
	if (!oracle_agrees(soak->oracle, 0, gpa, kind, &r, NULL, 0) || r.outcome != SIM_OK) {
		soak->wrong++;
		return;
	}
	assert_true(oracle_load(soak->oracle, 0, gpa, &expected));
	soak->wrong += !is_write && value != expected;
	if (is_write)
		assert_true(oracle_store(soak->oracle, 0, gpa, fresh));
}

/* Forget all mappings by giving up the leaf table. */
static void drop_leaf_table(struct soak *soak)
{
	sim_pfn_t table = tables_below(&soak->tables, sim_gpa(0), SIM_LEVEL_2M);

	if (!table.n)
		return;
	tables_unmap(&soak->tables, sim_gpa(0), SIM_LEVEL_2M);
	if (soak->carelessness == FREE_TABLE_BEFORE_FLUSH)
		sim_ram_free(soak->machine, table);
	flush(soak, 0, 512);
	if (soak->carelessness != FREE_TABLE_BEFORE_FLUSH)
		sim_ram_free(soak->machine, table);
}

static void host_event(struct soak *soak)
{
	uint64_t gfn = sim_random_below(soak->machine, FRAMES);
	sim_gpa_t gpa = sim_gpa(PAGES(gfn));
	struct sim_host_view host = sim_host_query(soak->machine, sim_hpage(gfn));

	switch (sim_random_below(soak->machine, 8)) {
	case 0:
	case 1:
	case 2:
		unmap(soak, gfn);
		(void)sim_host_swap_out(soak->machine, sim_hpage(gfn));
		break;
	case 3:
		unmap(soak, gfn);
		(void)sim_host_migrate(soak->machine, sim_hpage(gfn));
		break;
	case 4:
		unmap(soak, gfn);
		(void)sim_host_discard(soak->machine, sim_hpage(gfn));
		oracle_host_discard(soak->oracle, sim_hpage(gfn));
		break;
	case 5:
		drop_leaf_table(soak);
		break;
	default:
		if (tables_get(&soak->tables, gpa, SIM_LEVEL_4K))
			tables_map(&soak->tables, gpa, host.pfn, SIM_LEVEL_4K, "rx");
		if (soak->carelessness != NO_FLUSH_ON_PROTECT)
			flush(soak, gfn, 1);
		(void)sim_host_write_protect(soak->machine, sim_hpage(gfn));
		break;
	}
}

/* Return: how often something was found. */
static uint64_t soak_run(enum sim_format format, uint64_t seed, enum carelessness carelessness)
{
	struct soak soak;
	uint64_t found;

	soak_start(&soak, format, seed, carelessness);
	for (unsigned i = 0; i < 20000; i++) {
		if (sim_random_below(soak.machine, 8))
			guest_access(&soak);
		else
			host_event(&soak);
		if (carelessness == CAREFUL && i % 64 == 0)
			assert_int_equal(sim_outdated_translations(soak.machine, 1, NULL, 0), 0);
		if (carelessness != CAREFUL && (sim_violation_count(soak.machine) || soak.wrong))
			break; /* found; what comes after is its consequence */
	}
	if (carelessness == CAREFUL)
		sim_violations_print(soak.machine, stderr);
	found = sim_violation_count(soak.machine) + soak.wrong;
	oracle_free(soak.oracle);
	sim_machine_free(soak.machine);
	return found;
}

static void a_careful_hypervisor_never_sees_a_stale_translation(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		assert_int_equal(soak_run(SIM_NPT, seed, CAREFUL), 0);
		assert_int_equal(soak_run(SIM_EPT, seed, CAREFUL), 0);
	}
}

static void every_kind_of_carelessness_is_found_with_every_seed(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++)
		for (unsigned how = NO_FLUSH_ON_UNMAP; how <= FREE_TABLE_BEFORE_FLUSH; how++) {
			assert_true(soak_run(SIM_NPT, seed, (enum carelessness)how) > 0);
			assert_true(soak_run(SIM_EPT, seed, (enum carelessness)how) > 0);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_careful_hypervisor_never_sees_a_stale_translation),
		cmocka_unit_test(every_kind_of_carelessness_is_found_with_every_seed),
	};

	return cmocka_run_group_tests_name("sim_soak", tests, NULL, NULL);
}
