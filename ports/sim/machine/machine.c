/* SPDX-License-Identifier: MIT */
/* machine.c - wiring, random numbers, the violations log, shoot-downs of all CPUs. */
#include "machine.h"

#include <stdlib.h>
#include <string.h>

#include "internal.h"

static struct sim_config with_defaults(const struct sim_config *config)
{
	struct sim_config c = *config;

	c.seed = c.seed ? c.seed : 1;
	c.base_pfn = c.base_pfn ? c.base_pfn : 0x140000;
	c.frame_count = c.frame_count ? c.frame_count : 4096;
	c.host_page_count = c.host_page_count ? c.host_page_count : c.frame_count;
	c.cpu_count = c.cpu_count ? c.cpu_count : 1;
	c.tlb_count = c.tlb_count ? c.tlb_count : 64;
	c.psc_count = c.psc_count ? c.psc_count : 32;
	return c;
}

struct sim_machine *sim_machine_new(const struct sim_config *config)
{
	struct sim_config c = with_defaults(config);
	struct sim_machine *machine = calloc(1, sizeof(*machine));

	if (!machine)
		return NULL;
	sim_prng_seed(&machine->prng, c.seed);
	machine->lazy_flush = c.lazy_flush;
	machine->cpu = calloc(c.cpu_count, sizeof(*machine->cpu));
	if (!machine->cpu || !sim_ram_init(machine, &c) ||
	    !sim_host_init(machine, c.host_page_count)) {
		sim_machine_free(machine);
		return NULL;
	}
	for (uint32_t i = 0; i < c.cpu_count; i++) {
		machine->cpu_count = i + 1;
		if (!sim_cpu_init(&machine->cpu[i], machine, i, &c)) {
			sim_machine_free(machine);
			return NULL;
		}
	}
	return machine;
}

void sim_machine_free(struct sim_machine *machine)
{
	if (!machine)
		return;
	for (uint32_t i = 0; i < machine->cpu_count; i++)
		sim_cpu_fini(&machine->cpu[i]);
	sim_host_fini(machine);
	sim_ram_fini(machine);
	free(machine->cpu);
	free(machine);
}

struct sim_cpu *sim_machine_cpu(struct sim_machine *machine, uint32_t index)
{
	return index < machine->cpu_count ? &machine->cpu[index] : NULL;
}

uint32_t sim_machine_cpu_count(const struct sim_machine *machine)
{
	return machine->cpu_count;
}

void sim_machine_set_mode(struct sim_machine *machine, enum sim_cpu_mode mode)
{
	for (uint32_t i = 0; i < machine->cpu_count; i++)
		sim_cpu_set_mode(&machine->cpu[i], mode);
}

uint64_t sim_random(struct sim_machine *machine)
{
	return sim_prng_next(&machine->prng);
}

uint64_t sim_random_below(struct sim_machine *machine, uint64_t bound)
{
	return sim_prng_below(&machine->prng, bound);
}

void sim_machine_set_step(struct sim_machine *machine, sim_step_fn *step, void *context)
{
	machine->step = step;
	machine->step_context = context;
}

void sim_machine_step(struct sim_machine *machine, struct sim_cpu *cpu)
{
	if (machine->step)
		machine->step(machine->step_context, cpu);
}

void sim_violation(struct sim_machine *machine, const char *format, ...)
{
	uint64_t index = machine->violation_count++;
	va_list args;

	if (index >= SIM_VIOLATIONS_KEPT)
		return;
	va_start(args, format);
	(void)vsnprintf(machine->violation[index], SIM_VIOLATION_BYTES, format, args);
	va_end(args);
}

uint64_t sim_violation_count(const struct sim_machine *machine)
{
	return machine->violation_count;
}

const char *sim_violation_text(const struct sim_machine *machine, uint64_t index)
{
	if (index >= machine->violation_count || index >= SIM_VIOLATIONS_KEPT)
		return NULL;
	return machine->violation[index];
}

void sim_violations_print(const struct sim_machine *machine, FILE *out)
{
	const char *text;

	for (uint64_t i = 0; (text = sim_violation_text(machine, i)); i++)
		(void)fprintf(out, "# violation %llu: %s\n", (unsigned long long)i + 1, text);
	if (machine->violation_count > SIM_VIOLATIONS_KEPT)
		(void)fprintf(out, "# and %llu more\n",
			      (unsigned long long)(machine->violation_count - SIM_VIOLATIONS_KEPT));
}

void sim_violations_clear(struct sim_machine *machine)
{
	machine->violation_count = 0;
}

void sim_text_add(struct sim_text *text, const char *format, ...)
{
	va_list args;
	int length;

	if (!text->buffer || text->used + 1 >= text->size)
		return;
	va_start(args, format);
	length = vsnprintf(text->buffer + text->used, text->size - text->used, format, args);
	va_end(args);
	if (length < 0)
		return;
	text->used += (size_t)length;
	if (text->used >= text->size)
		text->used = text->size - 1;
}

void sim_flush_range(struct sim_machine *machine, uint32_t tag, sim_gfn_t start, sim_gfn_t end)
{
	for (uint32_t i = 0; i < machine->cpu_count; i++)
		sim_cpu_flush_range(&machine->cpu[i], tag, start, end);
}

void sim_flush_all(struct sim_machine *machine, uint32_t tag)
{
	for (uint32_t i = 0; i < machine->cpu_count; i++)
		sim_cpu_flush_all(&machine->cpu[i], tag);
}

void sim_flush_root(struct sim_machine *machine, sim_pfn_t root)
{
	for (uint32_t i = 0; i < machine->cpu_count; i++)
		sim_cpu_flush_root(&machine->cpu[i], root);
}

void sim_flush_everything(struct sim_machine *machine)
{
	for (uint32_t i = 0; i < machine->cpu_count; i++)
		sim_cpu_flush_everything(&machine->cpu[i]);
}
