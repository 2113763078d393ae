/* SPDX-License-Identifier: MIT */
/*
 * usage: PROGRAM tdp|shadow [SECONDS]
 *
 * Goes on for so long, and until everything has happened often enough to mean something.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "stress.h"

#define THREADS (VCPUS + 4u + LASTING_SLOTS)

struct vmmu_vm *vm;
bool is_shadow;
_Atomic bool stop;
struct counts counts;

static _Thread_local uint64_t random_state = 1;

void roll_seed(uint64_t seed)
{
	random_state = seed * UINT64_C(0x9E3779B97F4A7C15);
}

uint64_t roll(uint64_t bound)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (random_state >> 33) % bound;
}

void violation(const char *format, ...)
{
	va_list args;

	if (counts.violations++ < 10) {
		va_start(args, format);
		fprintf(stderr, "# violation: ");
		vfprintf(stderr, format, args);
		fprintf(stderr, "\n");
		va_end(args);
	}
	stop = true;
}

static bool enough_happened(void)
{
	return counts.accesses > 2000 && counts.faults > 500 && counts.devices > 20 &&
	       counts.invalidations > 100 && counts.slot_changes > 50 && counts.zaps > 20 &&
	       counts.audits > 20 && counts.looks > 30 && counts.copied > 300 &&
	       (!is_shadow || counts.table_writes > 20);
}

static void wait_for(unsigned seconds)
{
	time_t begin = time(NULL);

	while (!stop && (time(NULL) - begin < (time_t)seconds || !enough_happened()))
		usleep(10000);
	stop = true;
}

static void begin(pthread_t *threads)
{
	unsigned n = 0;

	for (unsigned i = 0; i < VCPUS; i++)
		pthread_create(&threads[n++], NULL, cpu_thread, &cpus[i]);
	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&threads[n++], NULL, host_thread, (void *)i);
	pthread_create(&threads[n++], NULL, slot_thread, NULL);
	pthread_create(&threads[n++], NULL, audit_thread, NULL);
	for (uintptr_t i = 0; i < LASTING_SLOTS; i++)
		pthread_create(&threads[n++], NULL, migrate_thread, (void *)i);
}

static void end(const pthread_t *threads)
{
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	migrate_check();
	(void)vmmu_audit(vm, report_finding, NULL);
	for (unsigned i = 0; i < VCPUS; i++)
		vmmu_vcpu_destroy(cpus[i].vcpu);
	if (vmmu_vm_destroy(vm) != VMMU_OK)
		violation("the VM cannot be destroyed");
	if (counts.pages)
		violation("%llu pages were not given back", (unsigned long long)counts.pages);
	free(frames);
}

int main(int argc, char **argv)
{
	struct vmmu_vm_config config = {
		.format = VMMU_FORMAT_NPT,
		.root_level = 4,
		.physical_bits = 48,
		.max_leaf = VMMU_LEVEL_4K,
		.spaces = 1,
		.prefetch = 4,
	};
	pthread_t threads[THREADS];

	is_shadow = argc > 1 && !strcmp(argv[1], "shadow");
	if (is_shadow)
		config.format = VMMU_FORMAT_SHADOW;
	roll_seed(1);
	memory_make();
	if (vmmu_vm_create(&stress_port, NULL, &config, &vm) != VMMU_OK)
		return 2;
	guest_make();
	cpus_begin();
	begin(threads);
	wait_for(argc > 2 ? (unsigned)atoi(argv[2]) : 4);
	end(threads);
	printf("# | %s: %llu accesses (%llu while slots changed), %llu faults, %llu to devices, "
	       "%llu "
	       "table writes\n# | beside %llu invalidations, %llu slot changes, %llu zaps, %llu "
	       "audit steps,\n# | %llu looks, %llu pages copied\n",
	       is_shadow ? "shadow" : "tdp", (unsigned long long)counts.accesses,
	       (unsigned long long)counts.unsure, (unsigned long long)counts.faults,
	       (unsigned long long)counts.devices, (unsigned long long)counts.table_writes,
	       (unsigned long long)counts.invalidations, (unsigned long long)counts.slot_changes,
	       (unsigned long long)counts.zaps, (unsigned long long)counts.audits,
	       (unsigned long long)counts.looks, (unsigned long long)counts.copied);
	printf("%s 1 - real threads on every call\n1..1\n", counts.violations ? "not ok" : "ok");
	return counts.violations != 0;
}
