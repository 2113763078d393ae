/* SPDX-License-Identifier: MIT */
#include "slot/dirty.h"

#include "vm.h"

#define CELL_FRAMES 64u

/* Bits of a cell, given its first frame, that stand for frames of the range. */
static uint64_t bits_of(uint64_t first, struct vmmu_gfn_range range)
{
	uint64_t from = range.start.n > first ? range.start.n - first : 0;
	uint64_t to = range.end.n - first;

	return (UINT64_MAX << from) & (to < CELL_FRAMES ? VMMU_BIT(to) - 1 : UINT64_MAX);
}

static uint64_t first_cell(struct vmmu_gfn_range range)
{
	return range.start.n / CELL_FRAMES * CELL_FRAMES;
}

static vmmu_atomic_t *cell_of(const struct vmmu_vm *vm, unsigned space, uint64_t gfn)
{
	return (vmmu_atomic_t *)(void *)vmmu_framemap_look_slow(&vm->logs[space],
								gfn / CELL_FRAMES);
}

/* First frame of the first cell from there on that may have been made; beyond @end: none. */
static uint64_t next_cell(const struct vmmu_vm *vm, unsigned space, uint64_t gfn, uint64_t end)
{
	uint64_t last = (end - 1) / CELL_FRAMES + 1;

	return vmmu_framemap_next(&vm->logs[space], gfn / CELL_FRAMES, last) * CELL_FRAMES;
}

void vmmu_dirty_set(const struct vmmu_vm *vm, unsigned space, struct vmmu_gfn_range range)
{
	for (uint64_t n = first_cell(range); n < range.end.n; n += CELL_FRAMES) {
		vmmu_atomic_t *cell = cell_of(vm, space, n);
		uint64_t bits;

		if (!cell) { /* ranges may reach over most of the address space */
			n = next_cell(vm, space, n, range.end.n);
			cell = n < range.end.n ? cell_of(vm, space, n) : NULL;
		}
		if (!cell)
			return;
		bits = bits_of(n, range);
		/* Most writes are to frames that were written before. */
		if ((atomic_get_ordered(cell) & bits) != bits)
			(void)atomic_set(cell, bits);
	}
}

void vmmu_dirty_told(const struct vmmu_vm *vm, unsigned space, struct vmmu_gfn_range range,
		     vmmu_pfn_t pfn)
{
	if (vm->port->page_dirty)
		vm->port->page_dirty(vm->host, range.start, range.end.n - range.start.n, pfn);
	if (atomic_get(&vm->logging))
		vmmu_dirty_set(vm, space, range);
}

vmmu_gfn_t vmmu_dirty_make(struct vmmu_task *task, unsigned space, struct vmmu_gfn_range range)
{
	uint64_t step = (uint64_t)CELL_FRAMES * VMMU_FRAMEMAP_ENTRIES;
	uint64_t n = range.start.n;

	while (n < range.end.n && vmmu_framemap_grow(task, &task->vm->logs[space], n / CELL_FRAMES))
		n = n / step * step + step;
	return (vmmu_gfn_t){n < range.end.n ? n : range.end.n};
}

/* Bits of a cell to where they belong in a bitmap that begins at @start. */
static void bits_out(uint64_t *bitmap, uint64_t start, uint64_t first, uint64_t bits)
{
	if (first < start) {
		bitmap[0] |= bits >> (start - first);
		return;
	}
	first -= start;
	bitmap[first / 64] |= bits << (first % 64);
	if (first % 64 && bits >> (64 - first % 64))
		bitmap[first / 64 + 1] |= bits >> (64 - first % 64);
}

/* Bits of a cell are taken, and those that come meanwhile are not lost. */
static uint64_t take_bits(vmmu_atomic_t *cell, uint64_t bits)
{
	uint64_t seen;

	if (!VMMU_MUTANT(LOG_DROPS))
		return atomic_clear(cell, bits);
	seen = atomic_get(cell);
	atomic_put(cell, seen & ~bits);
	return seen;
}

/* Without the instruction, which older CPUs lack, and without the compiler's own function. */
static unsigned count_bits(uint64_t bits)
{
	bits -= bits >> 1 & UINT64_C(0x5555555555555555);
	bits = (bits & UINT64_C(0x3333333333333333)) + (bits >> 2 & UINT64_C(0x3333333333333333));
	bits = (bits + (bits >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	return (unsigned)(bits * UINT64_C(0x0101010101010101) >> 56);
}

/* Cells that lie side by side, up to the end of the range or of their page. NULL: none are there.
 */
static vmmu_atomic_t *cells_from(const struct vmmu_vm *vm, unsigned space, uint64_t first,
				 struct vmmu_gfn_range range, uint64_t *count)
{
	uint64_t cell = first / CELL_FRAMES;
	uint64_t end = (range.end.n + CELL_FRAMES - 1) / CELL_FRAMES;
	uint64_t page = VMMU_FRAMEMAP_ENTRIES - cell % VMMU_FRAMEMAP_ENTRIES;

	*count = end - cell < page ? end - cell : page;
	return cell_of(vm, space, first);
}

/* Take what a cell holds for frames of the range; @first is the cell's. Most hold nothing: a call
 * of its own. */
static __attribute__((noinline)) uint64_t take_cell(vmmu_atomic_t *cell, uint64_t first,
						    struct vmmu_gfn_range range, uint64_t *bitmap)
{
	uint64_t bits = bits_of(first, range);

	bits &= take_bits(cell, VMMU_MUTANT(LOG_WHOLE_CELLS) ? UINT64_MAX : bits);
	if (bitmap && bits)
		bits_out(bitmap, range.start.n, first, bits);
	return count_bits(bits);
}

uint64_t vmmu_dirty_take(const struct vmmu_vm *vm, unsigned space, struct vmmu_gfn_range range,
			 uint64_t *bitmap)
{
	uint64_t first = first_cell(range), found = 0, count;

	for (; first < range.end.n; first += count * CELL_FRAMES) {
		vmmu_atomic_t *cells = cells_from(vm, space, first, range, &count);

		for (uint64_t i = 0; cells && i < count; i++)
			if (atomic_get(&cells[i]))
				found += take_cell(&cells[i], first + i * CELL_FRAMES, range,
						   bitmap);
	}
	return found;
}
