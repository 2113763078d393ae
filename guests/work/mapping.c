/* SPDX-License-Identifier: MIT */
/*
 * Mappings: map, fill, protect, punch holes, move, grow, and look at the contents after each step.
 * Where a protection forbids an access, the access must fault, at that address, and change nothing.
 */
#include "work.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>

#define ROUNDS 100
#define PAGES_MAX 64u
#define BUFFER ((size_t)64 * PAGE_BYTES)

#define RW (PROT_READ | PROT_WRITE)

static void protect(void *start, size_t bytes, int protection)
{
	if (mprotect(start, bytes, protection) != 0)
		work_fail("mprotect, error number", 0, (uint64_t)errno);
}

static void must_fault(const char *what, int got, const void *at)
{
	work_check(what, SIGSEGV, (uint64_t)got);
	work_check("the address of a fault", (uintptr_t)at, work_fault_address());
}

/* One page in the middle loses its rights and gets them back, with its contents. */
static void check_protection(uint8_t *start, size_t pages, uint64_t seed)
{
	uint8_t *page = start + pages / 2 * PAGE_BYTES;

	protect(page, PAGE_BYTES, PROT_READ);
	work_check("reading a read-only page, signal", 0, (uint64_t)work_try_read(page));
	must_fault("writing a read-only page, signal", work_try_write(page + 7, 1), page + 7);
	protect(page, PAGE_BYTES, PROT_NONE);
	must_fault("reading a page without rights, signal", work_try_read(page + 9), page + 9);
	must_fault("writing a page without rights, signal", work_try_write(page, 1), page);
	protect(page, PAGE_BYTES, RW);
	work_verify("a word after its page was protected", start, pages * PAGE_BYTES, seed);
	work_check("writing after write access came back, signal", 0,
		   (uint64_t)work_try_write(page, *page));
}

/* A hole faults; what is mapped into it again is zero; its neighbours keep their words. */
static void check_hole(uint8_t *start, size_t pages, uint64_t seed)
{
	uint8_t *hole = start + PAGE_BYTES;
	void *again;

	work_unmap(hole, PAGE_BYTES);
	must_fault("reading an unmapped page, signal", work_try_read(hole), hole);
	work_verify("a word below a hole", start, PAGE_BYTES, seed);
	work_verify("a word above a hole", hole + PAGE_BYTES, (pages - 2) * PAGE_BYTES, seed);
	again = mmap(hole, PAGE_BYTES, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	work_check("mmap into a hole, address", (uintptr_t)hole, (uintptr_t)again);
	for (size_t i = 0; i < PAGE_BYTES; i++)
		work_check("a byte of a fresh page", 0, hole[i]);
	work_fill(hole, PAGE_BYTES, seed);
}

/* Moving changes addresses, not contents: the words still carry the addresses of before. */
static uint8_t *check_move(uint8_t *start, size_t pages, uint64_t seed)
{
	size_t bytes = pages * PAGE_BYTES;
	uint8_t *moved = mremap(start, bytes, bytes * 2, MREMAP_MAYMOVE);

	if (moved == MAP_FAILED)
		work_fail("mremap, error number", 0, (uint64_t)errno);
	for (size_t at = 0; at < bytes; at += 8) {
		uint64_t word;

		(void)memcpy(&word, moved + at, sizeof(word));
		work_check("a word after mremap", work_pattern((uintptr_t)start + at, seed), word);
	}
	if (moved != start)
		must_fault("reading where a mapping was, signal", work_try_read(start), start);
	work_check("a byte that mremap added", 0, moved[bytes * 2 - 1]);
	return moved;
}

/*
 * 32-bit kernels need not forbid execution: without PAE their entries have no bit for it, and
 * Debian's with PAE leaves it clear for programs, on the bare machine as well.
 */
static bool kernel_forbids_execution(void)
{
	struct utsname names;

	return uname(&names) != 0 || strcmp(names.machine, "x86_64") == 0;
}

static bool cpu_has_no_execute(void)
{
	static char line[8192];
	bool found = false;
	FILE *file = fopen("/proc/cpuinfo", "r");

	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, "flags", 5) == 0)
			found = strstr(line, " nx ") || strstr(line, " nx\n");
	}
	if (file)
		(void)fclose(file);
	return found;
}

/* A page without the right to run is refused, or, where nothing forbids that, always runs. */
static void check_refused(const char *what, uint8_t *page, bool forbidden)
{
	static int first = -1;
	int got = work_try_call(page);

	if (first < 0)
		first = forbidden || got != 0 ? SIGSEGV : 0;
	work_check(what, (uint64_t)first, (uint64_t)got);
	if (got != 0)
		work_check("the address of a fault", (uintptr_t)page, work_fault_address());
}

/* A page that holds one return instruction, with and without the right to run it. */
static void check_execute(void)
{
	bool forbidden = cpu_has_no_execute() && kernel_forbids_execution();
	uint8_t *page = work_map(PAGE_BYTES, RW, MAP_PRIVATE);

	page[0] = 0xc3;
	check_refused("running a page without that right, signal", page, forbidden);
	protect(page, PAGE_BYTES, PROT_READ | PROT_EXEC);
	work_check("running a page, signal", 0, (uint64_t)work_try_call(page));
	must_fault("writing an executable page, signal", work_try_write(page, 0), page);
	protect(page, PAGE_BYTES, PROT_READ);
	check_refused("running a page whose right was taken, signal", page, forbidden);
	work_unmap(page, PAGE_BYTES);
}

/*
 * Where the kernel runs with five levels of page tables, memory can be asked for above 47 bits;
 * two places there differ in the topmost index alone.
 */
static void check_high_addresses(void)
{
#ifdef __x86_64__
	const uint64_t places[] = {UINT64_C(1) << 50, UINT64_C(1) << 54};
	uint8_t *pages[2];

	for (size_t i = 0; i < 2; i++) {
		void *hint = (void *)(uintptr_t)places[i];

		pages[i] = mmap(hint, BUFFER, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		work_check("mmap of high memory, failed", 0, pages[i] == MAP_FAILED);
		work_fill(pages[i], BUFFER, i);
	}
	for (size_t i = 0; i < 2; i++)
		work_verify("a word at a high address", pages[i], BUFFER, i);
	if ((uintptr_t)pages[0] == places[0] && (uintptr_t)pages[1] == places[1])
		work_say("addresses of 57 bits checked");
	for (size_t i = 0; i < 2; i++)
		work_unmap(pages[i], BUFFER);
#endif
}

void work_mappings(void)
{
	uint64_t state = 7;

	for (unsigned round = 0; round < ROUNDS; round++) {
		size_t pages = 4 + (size_t)(work_next(&state) % (PAGES_MAX - 4));
		uint64_t seed = work_next(&state);
		uint8_t *start = work_map(pages * PAGE_BYTES, RW, MAP_PRIVATE);

		work_fill(start, pages * PAGE_BYTES, seed);
		check_protection(start, pages, seed);
		check_hole(start, pages, seed);
		start = check_move(start, pages, seed);
		work_unmap(start, pages * 2 * PAGE_BYTES);
		check_execute();
	}
	check_high_addresses();
	work_say("%d rounds of mappings checked (%.1f s)", ROUNDS, work_seconds());
}
