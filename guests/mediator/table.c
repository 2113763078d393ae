/* SPDX-License-Identifier: MIT */
/* The table, commands, and the model of both. */
#include "mediator.h"

#include <string.h>

/* Frames that no slot holds: between the guest's memory and its devices. */
#define NOWHERE_FRAME UINT64_C(0xe0000)

unsigned table_random(struct mediator_work *work, unsigned below)
{
	return (unsigned)(work_next(&work->random) % below);
}

static volatile uint64_t *entry_at(const struct mediator_work *work, unsigned index)
{
	return &work->table[index / PAGE_ENTRIES][index % PAGE_ENTRIES];
}

uint64_t entry_make(const struct mediator_work *work, int to, bool writable)
{
	uint64_t flags = ENTRY_PRESENT | (writable ? ENTRY_WRITABLE : 0u);

	if (to == TO_NOTHING)
		return 0;
	if (to == TO_NOWHERE)
		return NOWHERE_FRAME << 12 | flags;
	return work->pool[to].frame << 12 | flags;
}

/* --- ways to write an entry: what one instruction does, the hypervisor must emulate --- */

static void write_plain(volatile uint64_t *at, uint64_t value)
{
	*at = value;
}

static void write_halves(volatile uint64_t *at, uint64_t value)
{
	volatile uint32_t *half = (volatile uint32_t *)at;

	half[1] = (uint32_t)(value >> 32);
	half[0] = (uint32_t)value;
}

static void write_bytes(volatile uint64_t *at, uint64_t value)
{
	volatile uint8_t *byte = (volatile uint8_t *)at;

	for (unsigned i = 0; i < 8; i++)
		byte[i] = (uint8_t)(value >> 8 * i);
}

static void write_exchange(volatile uint64_t *at, uint64_t value)
{
	(void)__atomic_exchange_n(at, value, __ATOMIC_SEQ_CST);
}

static void write_compare(volatile uint64_t *at, uint64_t value)
{
	uint64_t old = *at;

	(void)__atomic_compare_exchange_n(at, &old, value, false, __ATOMIC_SEQ_CST,
					  __ATOMIC_SEQ_CST);
}

static void write_xor(volatile uint64_t *at, uint64_t value)
{
	__asm__ volatile("lock xorq %1, %0" : "+m"(*at) : "r"(*at ^ value) : "memory", "cc");
}

static void write_string(volatile uint64_t *at, uint64_t value)
{
	const uint64_t *from = &value;
	uint64_t words = 1;

	__asm__ volatile("rep movsq" : "+D"(at), "+S"(from), "+c"(words) : : "memory");
}

/* No emulator of a few instructions knows the one that stores what the x87 unit holds. */
static void write_x87(volatile uint64_t *at, uint64_t value)
{
	__asm__ volatile("fildll %1\n\tfistpll %0" : "=m"(*at) : "m"(value) : "memory");
}

/* The entry and the one behind it in one store, across the border of two frames if need be. */
static void write_pair(volatile uint64_t *at, uint64_t value)
{
	const uint64_t both[2] = {value, at[1]};

	__asm__ volatile("movdqu %1, %%xmm0\n\tmovdqu %%xmm0, (%0)"
			 :
			 : "r"(at), "m"(both)
			 : "memory", "xmm0");
}

typedef void write_fn(volatile uint64_t *at, uint64_t value);

static write_fn *const ways[] = {write_plain,   write_halves, write_bytes,  write_exchange,
				 write_compare, write_xor,    write_string, write_pair};

enum { WAYS = sizeof(ways) / sizeof(ways[0]), X87_ONE_IN = 512 };

static bool has_neighbour(const struct mediator_work *work, unsigned index)
{
	return index % PAGE_ENTRIES != PAGE_ENTRIES - 1 ||
	       (index < ENTRIES - 1 && entry_at(work, index) + 1 == entry_at(work, index + 1));
}

void table_write(struct mediator_work *work, unsigned index, struct entry entry)
{
	write_fn *way = ways[table_random(work, WAYS)];

	if (way == write_pair && !has_neighbour(work, index))
		way = write_plain;
	if (table_random(work, X87_ONE_IN) == 0)
		way = write_x87;
	way(entry_at(work, index), entry.raw);
	work->model[index] = entry;
	work->changes++;
}

void table_set_page(struct mediator_work *work, unsigned index, uint64_t *page, uint64_t frame)
{
	for (unsigned i = 0; i < PAGE_ENTRIES; i++)
		page[i] = work->model[index * PAGE_ENTRIES + i].raw;
	work->table[index] = page;
	work->set[index] = true;
	device_set(DEVICE_TABLE + 8 * index, frame << 12 | 1);
	work_check("the status after setting a page of the table", STATUS_OK,
		   device_get(DEVICE_STATUS));
}

void table_clear_page(struct mediator_work *work, unsigned index)
{
	device_set(DEVICE_TABLE + 8 * index, 0);
	work->set[index] = false;
}

static struct entry random_entry(struct mediator_work *work)
{
	unsigned kind = table_random(work, 16);
	struct entry entry = {.to = (int)table_random(work, POOL_PAGES)};

	if (kind < 2)
		entry.to = TO_NOTHING;
	else if (kind == 2)
		entry.to = TO_NOWHERE;
	entry.raw = entry_make(work, entry.to, kind != 3);
	return entry;
}

void table_change(struct mediator_work *work, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		table_write(work, table_random(work, ENTRIES), random_entry(work));
}

void table_verify(const struct mediator_work *work)
{
	for (unsigned i = 0; i < ENTRIES; i++) {
		if (work->set[i / PAGE_ENTRIES])
			work_check("an entry, read back", work->model[i].raw, *entry_at(work, i));
	}
}

/* --- memory --- */

static bool is_there(const struct mediator_work *work, int page)
{
	return page >= 0 && (page < OWN_PAGES || work->slot_there);
}

void pool_fill(struct mediator_work *work, unsigned page)
{
	struct pool_page *pool = &work->pool[page];

	pool->seed = ++work->seeds;
	for (unsigned i = 0; i < PAGE_ENTRIES; i++)
		pool->at[i] = work_pattern(8u * i, pool->seed);
}

static unsigned bytes_unlike(uint64_t a, uint64_t b)
{
	unsigned count = 0;

	for (uint64_t rest = a ^ b; rest != 0; rest >>= 8)
		count += (rest & 0xff) != 0;
	return count;
}

static void page_verify(struct mediator_work *work, unsigned page)
{
	const struct pool_page *pool = &work->pool[page];

	for (unsigned i = 0; i < PAGE_ENTRIES; i++)
		work->mismatches += bytes_unlike(pool->at[i], work_pattern(8u * i, pool->seed));
}

void pool_verify(struct mediator_work *work)
{
	for (unsigned i = 0; i < POOL_PAGES; i++) {
		if (is_there(work, (int)i))
			page_verify(work, i);
	}
}

/* --- commands --- */

static bool is_mapped(const struct mediator_work *work, unsigned index)
{
	return work->set[index / PAGE_ENTRIES] && is_there(work, work->model[index].to);
}

/* Pages that the device must copy; *@fault is where it must stop then. */
static unsigned expect(struct mediator_work *work, unsigned from, unsigned to, unsigned count,
		       unsigned *fault)
{
	for (unsigned i = 0; i < count; i++) {
		if (!is_mapped(work, from + i) || !is_mapped(work, to + i) ||
		    (work->model[to + i].raw & ENTRY_WRITABLE) == 0) {
			*fault = is_mapped(work, from + i) ? to + i : from + i;
			return i;
		}
		work->pool[work->model[to + i].to].seed = work->pool[work->model[from + i].to].seed;
	}
	return count;
}

void command_run(struct mediator_work *work, unsigned from, unsigned to, unsigned count)
{
	unsigned fault = 0;
	unsigned done = expect(work, from, to, count, &fault);

	device_set(DEVICE_SOURCE, (uint64_t)from * PAGE_BYTES);
	device_set(DEVICE_TARGET, (uint64_t)to * PAGE_BYTES);
	device_set(DEVICE_COPY, count);
	work->commands++;
	work->faults += done < count;
	/* A device that does too much or too little is wrong, too. */
	if (device_get(DEVICE_STATUS) != (done < count ? STATUS_FAULT : STATUS_OK) ||
	    (done < count && device_get(DEVICE_FAULT) != fault))
		work->mismatches++;
	for (unsigned i = 0; i < done; i++) {
		page_verify(work, (unsigned)work->model[to + i].to);
		work->checked++;
	}
}

enum { ROUND_CHANGES = 24, ROUND_COMMANDS = 12, COMMAND_PAGES = 8 };

void round_run(struct mediator_work *work)
{
	table_change(work, ROUND_CHANGES);
	for (unsigned i = 0; i < 4; i++) {
		unsigned page = table_random(work, POOL_PAGES);

		if (is_there(work, (int)page))
			pool_fill(work, page);
	}
	for (unsigned i = 0; i < ROUND_COMMANDS; i++) {
		unsigned count = 1 + table_random(work, COMMAND_PAGES);

		command_run(work, table_random(work, ENTRIES - count),
			    table_random(work, ENTRIES - count), count);
	}
	table_verify(work);
	pool_verify(work);
}
