/* SPDX-License-Identifier: MIT */
/*
 * Three quarters of the machine's memory: written with a pattern by address, compared, rewritten
 * from the far end page by page with another pattern, and compared again. Two frames that are one
 * in truth, a lost write or a page that came back as zeros all show.
 */
#include "work.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

/* What must stay free for the kernel's own use while the pages are held, in bytes. */
#define RESERVE (24 * MIB)

/* All memory that the firmware reported, in bytes; what Linux calls total when it hides it. */
static uint64_t installed_bytes(void)
{
	static char line[256];
	uint64_t sum = 0;
	struct sysinfo info;
	FILE *file = fopen("/proc/iomem", "r");

	while (file && fgets(line, sizeof(line), file)) {
		uint64_t first;
		uint64_t last;

		if (line[0] != ' ' && strstr(line, "System RAM") &&
		    sscanf(line, "%" SCNx64 "-%" SCNx64, &first, &last) == 2 && last > first)
			sum += last - first + 1;
	}
	if (file)
		(void)fclose(file);
	if (sum == 0 && sysinfo(&info) == 0)
		sum = (uint64_t)info.totalram * info.mem_unit;
	return sum;
}

static uint64_t available_bytes(void)
{
	static char line[256];
	uint64_t kib = 0;
	FILE *file = fopen("/proc/meminfo", "r");

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
			break;
	}
	if (file)
		(void)fclose(file);
	return kib * 1024;
}

static void rewrite_backwards(uint8_t *start, size_t bytes, uint64_t seed)
{
	for (size_t at = bytes; at > 0; at -= PAGE_BYTES)
		work_fill(start + at - PAGE_BYTES, PAGE_BYTES, seed);
}

void work_memory(void)
{
	uint64_t installed = installed_bytes();
	uint64_t available = available_bytes();
	uint64_t bytes = installed / 4 * 3;
	unsigned installed_mib = (unsigned)((installed + MIB - 1) / MIB);
	uint8_t *start;

	if (bytes + RESERVE > available)
		bytes = available > 2 * RESERVE ? available - RESERVE : available / 2;
	if (bytes > SIZE_MAX / 2)
		bytes = SIZE_MAX / 2;
	bytes &= ~(uint64_t)(PAGE_BYTES - 1);
	work_check("memory to work on, free bytes", 1, bytes > 0);
	start = work_map((size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE);

	work_fill(start, (size_t)bytes, 1);
	work_say("memory written once (%.1f s)", work_seconds());
	work_verify("a word of memory after the first write", start, (size_t)bytes, 1);
	work_say("memory compared once (%.1f s)", work_seconds());
	rewrite_backwards(start, (size_t)bytes, 2);
	work_verify("a word of memory after the second write", start, (size_t)bytes, 2);
	work_unmap(start, (size_t)bytes);
	if (bytes == (installed / 4 * 3 & ~(uint64_t)(PAGE_BYTES - 1)))
		work_say("memory 3/4 of %u MiB checked (%.1f s)", installed_mib, work_seconds());
	else
		work_say("memory %u of %u MiB checked, all that is free (%.1f s)",
			 (unsigned)(bytes / MIB), installed_mib, work_seconds());
}
