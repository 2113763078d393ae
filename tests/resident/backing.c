/* SPDX-License-Identifier: MIT */
/* Frames that go and come back: what is in them, what is packed again, what is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../../hv/resident/backing.h"
#include "../../hv/resident/pack.h"
#include "machine.h"

enum { BLOCKS = 4, FRAMES = BLOCKS * GUEST_BLOCK_FRAMES, FIRST = 512, WORDS = 512 };

static struct guest_memory memory;

static int set_up(void **state)
{
	(void)state;
	machine = (struct machine){.frames_left = UINT64_MAX};
	memory = (struct guest_memory){.block_count = BLOCKS};
	assert_null(backing_create(&memory, FRAMES, 60));
	return 0;
}

static int tear_down(void **state)
{
	bool writable;

	(void)state;
	/* All that is packed goes when it is written, all frames go when they are zero. */
	machine.frames_left = UINT64_MAX;
	for (uint64_t gfn = 0; gfn < FRAMES; gfn++) {
		uint64_t frame = backing_frame(&memory, gfn, GUEST_WRITE, &writable);

		memset((void *)(uintptr_t)frame, 0, FRAME_BYTES);
		assert_true(backing_evict(&memory, gfn));
	}
	assert_int_equal(memory.backing->store.frames, 0);
	assert_int_equal(machine.guest_frames, 0);
	assert_int_equal(memory.frames, 0);
	for (unsigned i = 0; i < BLOCKS; i++) {
		frame_free(memory.backing->frames[i]);
		frame_free(memory.backing->copies[i]);
	}
	assert_int_equal(machine.frames, 0);
	free(memory.backing->frames);
	free(memory.backing->copies);
	free(memory.backing->used);
	return 0;
}

/* Page @gfn, version @version: from one that shrinks to almost nothing to one that does not. */
static uint64_t word_of(uint64_t gfn, unsigned version, unsigned i)
{
	uint64_t seed = (gfn * 31 + version) * 1024 + i;

	if (i >= gfn % 17 * 32)
		return gfn + version;
	seed = (seed ^ seed >> 13) * UINT64_C(0x9e3779b97f4a7c15);
	return (seed ^ seed >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
}

static uint64_t *bring(uint64_t gfn, enum guest_access access, bool *writable)
{
	uint64_t frame = backing_frame(&memory, gfn, access, writable);

	assert_int_not_equal(frame, HOST_NONE);
	return (uint64_t *)(uintptr_t)frame;
}

static void write_page(uint64_t gfn, unsigned version)
{
	bool writable = false;
	uint64_t *page = bring(gfn, GUEST_WRITE, &writable);

	assert_true(writable);
	for (unsigned i = 0; i < WORDS; i++)
		page[i] = word_of(gfn, version, i);
}

/* Return: whether it may be written now. */
static bool check_page(uint64_t gfn, unsigned version)
{
	bool writable = false;
	const uint64_t *page = bring(gfn, GUEST_READ, &writable);

	for (unsigned i = 0; i < WORDS; i++)
		assert_int_equal(page[i], word_of(gfn, version, i));
	return writable;
}

static void test_content(void **state)
{
	(void)state;
	for (uint64_t gfn = FIRST; gfn < FIRST + 100; gfn++)
		write_page(gfn, 1);
	for (uint64_t gfn = FIRST; gfn < FIRST + 100; gfn++)
		assert_true(backing_evict(&memory, gfn));
	assert_int_equal(machine.guest_frames, 0);
	assert_int_equal(memory.backing->evictions, 100);
	assert_int_equal(memory.backing->store.packed_pages, 100);
	assert_in_range(memory.backing->store.packed_bytes, 1, 100 * FRAME_BYTES - 1);
	assert_in_range(memory.backing->store.frames, 1, 99);
	for (uint64_t gfn = FIRST; gfn < FIRST + 100; gfn++)
		assert_false(check_page(gfn, 1));
	assert_int_equal(memory.backing->refaults, 100);
	assert_int_equal(machine.guest_frames, 100);
}

static void test_clean_is_packed_once(void **state)
{
	(void)state;
	write_page(FIRST, 1);
	assert_true(backing_evict(&memory, FIRST));
	for (unsigned round = 0; round < 3; round++) {
		assert_false(check_page(FIRST, 1));
		assert_true(backing_evict(&memory, FIRST));
	}
	assert_int_equal(memory.backing->store.packed_pages, 1);
	assert_int_equal(memory.backing->clean, 3);
	assert_int_equal(memory.backing->refaults, 3);
}

static void test_written_is_packed_anew(void **state)
{
	(void)state;
	write_page(FIRST, 1);
	assert_true(backing_evict(&memory, FIRST));
	assert_false(check_page(FIRST, 1));
	write_page(FIRST, 2); /* read first, then written */
	assert_int_equal(memory.backing->store.frames, 0);
	assert_true(check_page(FIRST, 2));
	assert_true(backing_evict(&memory, FIRST));
	write_page(FIRST, 3); /* written at once */
	assert_true(backing_evict(&memory, FIRST));
	assert_false(check_page(FIRST, 3));
	assert_int_equal(memory.backing->store.packed_pages, 3);
	assert_int_equal(memory.backing->clean, 0);
}

static void test_zero_costs_nothing(void **state)
{
	bool writable = false;
	uint64_t *page = bring(FIRST, GUEST_WRITE, &writable);

	(void)state;
	memset(page, 0, FRAME_BYTES);
	assert_true(backing_evict(&memory, FIRST));
	assert_int_equal(memory.backing->zero, 1);
	assert_int_equal(memory.backing->store.frames, 0);
	page = bring(FIRST, GUEST_READ, &writable);
	assert_true(writable);
	for (unsigned i = 0; i < WORDS; i++)
		assert_int_equal(page[i], 0);
	page[WORDS - 1] = 1;
	assert_true(backing_evict(&memory, FIRST));
	assert_int_equal(memory.backing->zero, 1);
	assert_int_equal(memory.backing->store.packed_pages, 1);
}

static void test_no_room(void **state)
{
	(void)state;
	write_page(FIRST, 1);
	machine.frames_left = 0;
	assert_false(backing_evict(&memory, FIRST));
	assert_int_equal(memory.backing->no_room, 1);
	assert_true(check_page(FIRST, 1));
	machine.frames_left = UINT64_MAX;
	assert_true(backing_evict(&memory, FIRST));
	assert_false(check_page(FIRST, 1));
}

static void test_used(void **state)
{
	bool writable;

	(void)state;
	write_page(FIRST, 1);
	write_page(FIRST + 5, 1);
	assert_int_equal(backing_idle(&memory, FIRST), 0);
	assert_int_equal(backing_idle(&memory, FIRST), 0x21);
	assert_int_not_equal(backing_peek(&memory, FIRST, &writable), HOST_NONE);
	assert_int_equal(backing_idle(&memory, FIRST), 0x21);
	assert_int_not_equal(backing_look(&memory, FIRST, &writable), HOST_NONE);
	assert_int_equal(backing_idle(&memory, FIRST), 0x20);
	backing_use(&memory, FIRST + 4, 2);
	assert_int_equal(backing_idle(&memory, FIRST), 0x01);
	assert_true(backing_evict(&memory, FIRST));
	assert_int_equal(backing_idle(&memory, FIRST), 0x20);
	assert_int_equal(backing_look(&memory, FIRST, &writable), HOST_NONE);
	/* Firmware's tables behind the RAM are nobody's. */
	backing_use(&memory, FRAMES - 1, 1000);
	assert_int_equal(backing_idle(&memory, FIRST + 64), 0);
}

/* Anything in any order, beside what it must give. */
static void test_random(void **state)
{
	static unsigned version[FRAMES];
	uint64_t random = 1;

	(void)state;
	memset(version, 0, sizeof(version));
	for (unsigned step = 0; step < 60000; step++) {
		uint64_t gfn;

		random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
		gfn = FIRST + (random >> 33) % 700;
		if (version[gfn] == 0 || (random >> 60) < 3)
			write_page(gfn, ++version[gfn]);
		else if ((random >> 60) < 9)
			check_page(gfn, version[gfn]);
		else if (backing_peek(&memory, gfn, &(bool){false}) != HOST_NONE)
			assert_true(backing_evict(&memory, gfn));
	}
	assert_in_range(memory.backing->clean, 1000, 60000);
	assert_in_range(memory.backing->store.packed_pages, 1000, 60000);
}

struct fpu {
	_Alignas(16) uint8_t bytes[512];
};

/* What the guest has in its registers stays there. */
static void test_registers_stay(void **state)
{
	static uint64_t registers[16];
	static uint64_t page[WORDS], packed[WORDS], back[WORDS];
	static struct fpu before, after;
	uint32_t bytes;

	(void)state;
	/* Short pieces that are new, and longer ones that were there before. */
	for (unsigned i = 0; i < WORDS; i++)
		page[i] = i % 16 < 3 ? word_of(16, 1, i) : word_of(16, 2, i % 16);
	for (unsigned i = 0; i < 8; i++)
		registers[i * 2] = registers[i * 2 + 1] = word_of(16, 3, i);
	__asm__ volatile("movdqu 0(%0), %%xmm0; movdqu 16(%0), %%xmm1; movdqu 32(%0), %%xmm2;"
			 "movdqu 48(%0), %%xmm3; movdqu 64(%0), %%xmm4; movdqu 80(%0), %%xmm5;"
			 "movdqu 96(%0), %%xmm6; movdqu 112(%0), %%xmm7"
			 :
			 : "r"(registers)
			 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
			   "memory");
	__asm__ volatile("fxsave64 %0" : "=m"(before));
	bytes = pack_page(page, packed, sizeof(packed));
	__asm__ volatile("fxsave64 %0" : "=m"(after));
	assert_memory_equal(&before.bytes[160], &after.bytes[160], 256);
	assert_in_range(bytes, 1, FRAME_BYTES - 1);
	__asm__ volatile("fxsave64 %0" : "=m"(before));
	assert_true(unpack_page(packed, bytes, back));
	__asm__ volatile("fxsave64 %0" : "=m"(after));
	assert_memory_equal(&before.bytes[160], &after.bytes[160], 256);
	assert_memory_equal(page, back, sizeof(page));
	assert_false(unpack_page(packed, bytes - 1, back));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_content, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_clean_is_packed_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_written_is_packed_anew, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_zero_costs_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_room, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_used, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_random, set_up, tear_down),
		cmocka_unit_test(test_registers_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
