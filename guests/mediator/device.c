/* SPDX-License-Identifier: MIT */
/* The device's registers and memory, and which guest frame a page of this program is. */
#include "mediator.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define ID_EXPECTED UINT64_C(0x0001000074746776)

#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_FRAME ((UINT64_C(1) << 55) - 1)

static volatile uint64_t *registers;
static uint8_t *spare;

static void *map(int fd, size_t bytes, off_t at)
{
	void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);

	if (start == MAP_FAILED)
		work_fail("mmap of /dev/mem, error number", 0, (uint64_t)errno);
	return start;
}

void device_open(void)
{
	int fd = open("/dev/mem", O_RDWR | O_SYNC | O_CLOEXEC);

	if (fd < 0)
		work_fail("open of /dev/mem, error number", 0, (uint64_t)errno);
	registers = map(fd, PAGE_BYTES, DEVICE_REGISTERS);
	spare = map(fd, (size_t)(SPARE_PAGES + 1) * PAGE_BYTES, DEVICE_SPARE);
	(void)close(fd);
	work_check("the device's ID", ID_EXPECTED, device_get(DEVICE_ID));
}

uint64_t device_get(unsigned reg)
{
	return registers[reg / 8];
}

void device_set(unsigned reg, uint64_t value)
{
	registers[reg / 8] = value;
}

void *device_spare_page(unsigned index)
{
	return spare + (size_t)index * PAGE_BYTES;
}

uint64_t frame_of(const void *page)
{
	static int fd = -1;
	uint64_t entry = 0;

	if (fd < 0)
		fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)page / PAGE_BYTES * 8)) !=
			      (ssize_t)sizeof(entry))
		work_fail("read of /proc/self/pagemap, error number", 0, (uint64_t)errno);
	if ((entry & PAGEMAP_PRESENT) == 0 || (entry & PAGEMAP_FRAME) == 0)
		work_fail("a page's guest frame in /proc/self/pagemap", 1, 0);
	return entry & PAGEMAP_FRAME;
}
