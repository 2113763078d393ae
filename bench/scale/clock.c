/* SPDX-License-Identifier: MIT */
#include "clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/explore.h"
#include "rig.h"

enum { STACK_BYTES = 128 << 10, LINES = 1 << 19, SEEN_MAX = 8, PLACES_MAX = 6, NOBODY = 255 };

#define LINE_SHIFT 6
#define EVERYBODY UINT64_MAX

struct place {
	const char *file, *function;
	int line;
};

struct line {
	uintptr_t number; /* address >> LINE_SHIFT; 0: none */
	uint64_t holders; /* CPUs that have it, as bits */
	uint64_t free_at; /* the last write is done */
	uint64_t writes;
	uint64_t sleepers; /* CPUs that poll it */
	/* for the report */
	uint64_t lost, moves;
	struct place places[PLACES_MAX];
};

struct cpu {
	void *stack_pointer; /* while another one runs */
	void *stack;
	uint64_t clock;
	bool sleeps, ended;
	const char *last_file;
	int last_line;
	/* what it has seen since it relaxed last; more than fit: seen == SEEN_MAX */
	unsigned seen;
	struct {
		struct line *line;
		uint64_t writes;
	} see[SEEN_MAX];
};

static struct line lines[LINES];
static unsigned line_count;
static struct cpu cpus[RIG_CPUS_MAX];
static unsigned cpu_count;
static struct cpu *now; /* NULL: not in clock_run() */
static void *out;       /* stack pointer of clock_run() */
static struct clock_costs costs;
static struct clock_result *result;
static void (*the_body)(unsigned cpu);
static struct place here;

static unsigned index_of(const struct cpu *cpu)
{
	return (unsigned)(cpu - cpus);
}

/* ---- who runs ---- */

/*
 * Save the registers that a call keeps, go on with another stack, take them from there. The C
 * library's swapcontext() asks the kernel for signal masks each time.
 */
void clock_switch(void **from, void *to);
__asm__(".text\n"
	".globl clock_switch\n"
	"clock_switch:\n"
	"	push %rbp\n"
	"	push %rbx\n"
	"	push %r12\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	mov %rsp, (%rdi)\n"
	"	mov %rsi, %rsp\n"
	"	pop %r15\n"
	"	pop %r14\n"
	"	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbx\n"
	"	pop %rbp\n"
	"	ret\n");
#define SWITCH_WORDS 6u

static struct cpu *furthest_behind(void)
{
	struct cpu *best = NULL;

	for (unsigned i = 0; i < cpu_count; i++) {
		struct cpu *c = &cpus[i];

		if (!c->sleeps && !c->ended && (best == NULL || c->clock < best->clock))
			best = c;
	}
	return best;
}

/* Let those that are behind go first. */
static void give_way(void)
{
	struct cpu *from = now, *to = furthest_behind();

	if (to == NULL)
		rig_fail("every CPU sleeps");
	if (to == from || (!from->sleeps && to->clock >= from->clock))
		return;
	now = to;
	rig_cpu = index_of(to);
	clock_switch(&from->stack_pointer, to->stack_pointer);
}

static void wake(uint64_t sleepers, uint64_t time)
{
	for (unsigned i = 0; sleepers; i++, sleepers >>= 1) {
		struct cpu *c = &cpus[i];

		if (!(sleepers & 1) || !c->sleeps)
			continue;
		c->sleeps = false;
		if (c->clock < time) {
			result->waited += time - c->clock;
			c->clock = time;
		}
	}
}

/* ---- lines ---- */

static struct line *line_of(const void *word)
{
	uintptr_t number = (uintptr_t)word >> LINE_SHIFT;
	uint64_t slot = number * UINT64_C(0x9E3779B97F4A7C15) >> 45;

	while (lines[slot].number != number) {
		if (lines[slot].number == 0) {
			if (++line_count > LINES / 2)
				rig_fail("more lines than there is room for");
			lines[slot] = (struct line){.number = number, .holders = EVERYBODY};
			break;
		}
		slot = (slot + 1) % LINES;
	}
	return &lines[slot];
}

static void note_place(struct line *line, struct place place)
{
	for (unsigned i = 0; i < PLACES_MAX; i++) {
		struct place *p = &line->places[i];

		if (p->function == NULL)
			*p = place;
		if (p->line == place.line && p->file == place.file)
			return;
	}
}

/* The line comes to this CPU, once the last write is done. */
static void fetch(struct line *line, bool is_write, struct place place)
{
	uint64_t bit = UINT64_C(1) << index_of(now), start = now->clock;
	bool is_there = is_write ? line->holders == bit : (line->holders & bit) != 0;

	/* Nobody wrote it yet in this run: the first one does it for nothing. */
	if (!is_there && !(is_write && line->holders == EVERYBODY)) {
		if (now->clock < line->free_at)
			now->clock = line->free_at;
		now->clock += costs.transfer;
		result->transfers++;
		result->waited += now->clock - start - costs.transfer;
		line->moves++;
		line->lost += now->clock - start;
		note_place(line, place);
	}
	if (is_write) {
		line->holders = bit;
		line->free_at = now->clock;
	} else {
		line->holders |= bit;
	}
}

static void remember(struct line *line)
{
	for (unsigned i = 0; i < now->seen; i++)
		if (now->see[i].line == line)
			return;
	if (now->seen == SEEN_MAX)
		return;
	now->see[now->seen].line = line;
	now->see[now->seen++].writes = line->writes;
}

/* Its own write is no news to a CPU, nor does it hide what others wrote before. */
static void written(struct line *line)
{
	uint64_t sleepers = line->sleepers;

	line->writes++;
	for (unsigned i = 0; i < now->seen; i++)
		if (now->see[i].line == line)
			now->see[i].writes++;
	line->sleepers = 0;
	wake(sleepers, now->clock);
}

static void point(const void *word, bool fetches_for_write, bool is_write)
{
	struct place place = here; /* others run before it is looked at again */
	struct line *line;

	if (now == NULL)
		return;
	if (place.file == now->last_file && place.line == now->last_line) {
		now->clock += costs.turn;
	} else {
		now->clock += costs.point;
		result->points++;
	}
	now->last_file = place.file;
	now->last_line = place.line;
	give_way();
	line = line_of(word);
	fetch(line, fetches_for_write, place);
	remember(line);
	if (is_write)
		written(line);
}

void vmmu_explore_access(const void *word, bool is_write)
{
	point(word, is_write, is_write);
}

void vmmu_explore_cas(const void *word, uint64_t old)
{
	uint64_t value;

	if (now == NULL)
		return;
	point(word, true, false);
	/* Nobody runs between this look and the access. */
	memcpy(&value, word, sizeof(value));
	if (value == old)
		written(line_of(word));
}

void vmmu_explore_here(const char *file, int line, const char *function, const char *what)
{
	(void)what;
	here = (struct place){file, function, line};
}

void clock_relax(void *host)
{
	(void)host;
	if (now == NULL)
		return;
	now->sleeps = now->seen > 0 && now->seen < SEEN_MAX;
	for (unsigned i = 0; i < now->seen; i++)
		if (now->see[i].line->writes != now->see[i].writes)
			now->sleeps = false; /* it missed something already */
	if (now->sleeps)
		for (unsigned i = 0; i < now->seen; i++)
			now->see[i].line->sleepers |= UINT64_C(1) << index_of(now);
	now->seen = 0;
	now->clock += costs.turn;
	give_way();
}

void clock_spend(uint64_t picoseconds)
{
	now->clock += picoseconds;
	now->seen = 0;
	give_way();
}

/* ---- a lock of the port's ---- */

void clock_lock_acquire(struct clock_lock *lock)
{
	if (now == NULL) {
		lock->held++;
		return;
	}
	now->clock += costs.point;
	give_way();
	if (lock->held) {
		lock->waiting |= UINT64_C(1) << index_of(now);
		now->sleeps = true;
		give_way(); /* whoever lets go hands it over */
		return;
	}
	lock->held = 1;
	if (lock->last != index_of(now))
		now->clock += costs.transfer;
	lock->last = index_of(now);
}

void clock_lock_release(struct clock_lock *lock)
{
	struct cpu *next = NULL;

	if (now == NULL) {
		lock->held--;
		return;
	}
	now->clock += costs.point;
	give_way();
	for (unsigned i = 0; i < cpu_count; i++)
		if ((lock->waiting >> i & 1) && (next == NULL || cpus[i].clock < next->clock))
			next = &cpus[i];
	lock->held = next != NULL;
	if (next == NULL)
		return;
	lock->waiting &= ~(UINT64_C(1) << index_of(next));
	lock->last = index_of(next);
	wake(UINT64_C(1) << index_of(next), now->clock + costs.transfer);
}

/* ---- a run ---- */

__attribute__((noreturn)) static void begin(void)
{
	struct cpu *next;

	the_body(index_of(now));
	now->ended = true;
	next = furthest_behind();
	if (next != NULL) {
		void **from = &now->stack_pointer;

		now = next;
		rig_cpu = index_of(next);
		clock_switch(from, next->stack_pointer);
		abort();
	}
	for (unsigned i = 0; i < cpu_count; i++)
		if (!cpus[i].ended)
			rig_fail("a CPU sleeps for ever");
	clock_switch(&now->stack_pointer, out);
	abort();
}

static void make_cpu(struct cpu *c)
{
	void **top, *stack = c->stack;

	if (stack == NULL)
		stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
	if (stack == MAP_FAILED)
		rig_fail("no memory for a stack");
	/* As if begin() had been called, and had called clock_switch() at once. */
	top = (void **)((uint8_t *)stack + STACK_BYTES) - 1; /* aligned as at a call */
	*--top = (void *)(uintptr_t)begin;
	*c = (struct cpu){.stack = stack, .stack_pointer = top - SWITCH_WORDS};
}

void clock_run(unsigned count, const struct clock_costs *with, void (*body)(unsigned cpu),
	       struct clock_result *into)
{
	*into = (struct clock_result){0};
	memset(lines, 0, sizeof(lines));
	line_count = 0;
	costs = *with;
	result = into;
	the_body = body;
	cpu_count = count;
	for (unsigned i = 0; i < count; i++)
		make_cpu(&cpus[i]);
	now = &cpus[0];
	rig_cpu = 0;
	clock_switch(&out, now->stack_pointer);
	now = NULL;
	rig_cpu = 0;
	for (unsigned i = 0; i < count; i++)
		if (cpus[i].clock > result->longest)
			result->longest = cpus[i].clock;
}

/* ---- the report ---- */

static int by_loss(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return (x->lost < y->lost) - (x->lost > y->lost);
}

void clock_hot(const void *vm, unsigned count)
{
	uintptr_t first = (uintptr_t)vm >> LINE_SHIFT;

	/* Ends the use of the table. */
	qsort(lines, LINES, sizeof(lines[0]), by_loss);
	for (unsigned i = 0; i < count && lines[i].moves; i++) {
		uintptr_t offset = (lines[i].number - first) << LINE_SHIFT;

		(void)printf("hot %llu ns, moved %llu times, ",
			     (unsigned long long)lines[i].lost / 1000,
			     (unsigned long long)lines[i].moves);
		if (lines[i].number >= first && offset < VMMU_PAGE_BYTES)
			(void)printf("VM + %u:\n", (unsigned)offset);
		else
			(void)printf("%#llx:\n", (unsigned long long)lines[i].number << LINE_SHIFT);
		for (unsigned p = 0; p < PLACES_MAX && lines[i].places[p].function; p++)
			(void)printf("hot     %s:%d %s\n", lines[i].places[p].file,
				     lines[i].places[p].line, lines[i].places[p].function);
	}
}
