/* SPDX-License-Identifier: MIT */
/* One run: coroutines, and who goes on at each point. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <ucontext.h>

#include "base/explore.h"
#include "objects.h"
#include "run.h"

#define STACK_BYTES (256u << 10)
#define ACCESSES_MAX 60000u
/* What a thread did since its last turn of a loop; beyond this, anybody's write ends a wait. */
#define READS_MAX 512u
#define WRITES_MAX 48u

enum thread_state { READY, WAITING, SPINNING, ENDED };

struct thread {
	ucontext_t context;
	void *stack;
	enum thread_state state;
	bool (*ready)(void *);
	void *ready_context;
	uint32_t accesses;              /* since it was switched to */
	bool arrived, acted;            /* nothing yet since then; something that concerns others */
	const struct object *last_also; /* of its last access */
	uint64_t past;                  /* hash of all its accesses */
	uint64_t loop_past;             /* as of its last turn of a loop */
	/* since then: */
	unsigned reads, writes;
	uint64_t turn;         /* number of it, over all runs */
	uint64_t others_wrote; /* so often, as it began */
	uint64_t wrote;        /* in this run */
	struct {
		struct object *object;
		uint64_t seen;
	} read[READS_MAX];
	struct {
		const uint64_t *word;
		uint64_t before;
	} write[WRITES_MAX];
};

const struct explore_memory *explore_memory;

static struct thread threads[EXPLORE_THREADS_MAX];
static ucontext_t out;
static struct thread *now; /* NULL: no thread is running */
static struct explore_run *run;
static enum explore_end how;
static uint32_t run_number;
static uint64_t write_number, access_number, turns;
static unsigned stretch; /* of run->replay */
static struct explore_place place;

static unsigned index_of(const struct thread *t)
{
	return (unsigned)(t - threads);
}

unsigned explore_self(void)
{
	return now ? index_of(now) : EXPLORE_THREADS_MAX;
}

/* ---- the end of a run ---- */

static void stop(enum explore_end end)
{
	how = end;
	now = NULL;
	setcontext(&out);
	abort();
}

static void stop_in_the_middle(enum explore_end end)
{
	struct explore_schedule *s = &run->schedule;

	if (s->count < EXPLORE_STRETCHES_MAX)
		s->stretch[s->count++] =
			(struct explore_stretch){(uint8_t)index_of(now), now->accesses};
	stop(end);
}

void explore_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(run->failure, sizeof(run->failure), format, args);
	va_end(args);
	if (now)
		stop_in_the_middle(EXPLORE_FAILED);
}

/* Out of wherever the run is. */
static void break_off(const char *why)
{
	snprintf(run->failure, sizeof(run->failure), "%s", why);
	if (now)
		stop_in_the_middle(EXPLORE_BROKEN);
	stop(EXPLORE_BROKEN);
}

/* A loop without an access in it, as along a list that bites its tail: nobody else ends it. */
static void tick(int number)
{
	static uint32_t last;

	(void)number;
	if (run && last == run_number)
		break_off("a loop has no end");
	last = run_number;
}

static void crash(int number)
{
	if (run)
		break_off("an access to no memory");
	(void)signal(number, SIG_DFL); /* not a test's doing */
}

/* The time is that which the program has used, so that others on the machine do not matter. */
void explore_watch_for_breaks(void)
{
	const struct timeval tenths = {.tv_usec = 300000};
	struct itimerval often = {.it_interval = tenths, .it_value = tenths};
	struct sigaction ticks = {.sa_handler = tick}, crashes = {.sa_handler = crash};

	if (sigaction(SIGVTALRM, &ticks, NULL) || sigaction(SIGSEGV, &crashes, NULL) ||
	    setitimer(ITIMER_VIRTUAL, &often, NULL))
		abort();
}

/* ---- who can go on ---- */

static bool has_news(const struct thread *t)
{
	if (t->reads == READS_MAX && write_number - t->wrote > t->others_wrote)
		return true;
	for (unsigned i = 0; i < t->reads; i++) {
		const struct object *o = t->read[i].object;

		if (o->written > t->read[i].seen && o->last_writer != index_of(t))
			return true;
	}
	return false;
}

static bool can_go_on(const struct thread *t)
{
	switch (t->state) {
	case READY:
		return true;
	case WAITING:
		return t->ready(t->ready_context);
	case SPINNING:
		return has_news(t);
	case ENDED:
		break;
	}
	return false;
}

static void switch_to(struct thread *to)
{
	struct thread *from = now;
	struct explore_schedule *s = &run->schedule;

	if (from == to)
		return;
	if (s->count == EXPLORE_STRETCHES_MAX)
		explore_fail("more than %u switches: no end?", EXPLORE_STRETCHES_MAX);
	s->stretch[s->count++] = (struct explore_stretch){(uint8_t)index_of(from), from->accesses};
	from->accesses = 0;
	to->arrived = true;
	to->acted = false;
	now = to;
	swapcontext(&from->context, &to->context);
}

static struct explore_options options_of(bool is_free)
{
	struct explore_options o = {.count = 0};
	uint64_t print = explore_mix(index_of(now), is_free);
	/* Who came and did nothing yet is not sent away: the other one could have come at once. */
	bool stays = can_go_on(now) && !is_free && !now->acted;

	if (can_go_on(now)) {
		o.thread[0] = (uint8_t)index_of(now);
		o.preempts[0] = false;
		o.count = 1;
	} else {
		is_free = true;
	}
	for (unsigned i = 0; i < run->test->threads; i++) {
		bool can = can_go_on(&threads[i]);

		print = explore_mix(print, threads[i].past + can);
		if (&threads[i] == now || !can || stays)
			continue;
		o.thread[o.count] = (uint8_t)i;
		o.preempts[o.count++] = !is_free;
	}
	o.arrived = now->arrived;
	o.fingerprint = print;
	now->arrived = false;
	return o;
}

static void nobody_can(void)
{
	char text[EXPLORE_TEXT_BYTES] = "";
	size_t length = 0;

	for (unsigned i = 0; i < run->test->threads && length < sizeof(text) - 100; i++)
		if (threads[i].state != ENDED)
			length += (size_t)snprintf(text + length, sizeof(text) - length, " %c (%s)",
						   'a' + (int)i,
						   threads[i].state == WAITING ? "lock" : "spins");
	explore_fail("deadlock: nobody can go on; waiting:%s", text);
}

/* Replays: the turn of the schedule ends here, or cannot go on. */
static void follow(bool blocked)
{
	const struct explore_schedule *s = run->replay;
	struct thread *to;

	if (!blocked && (stretch + 1 >= s->count || now->accesses < s->stretch[stretch].accesses))
		return;
	if (++stretch >= s->count)
		explore_fail("the schedule ends before the threads do");
	to = &threads[s->stretch[stretch].thread];
	if (!can_go_on(to))
		explore_fail("the schedule does not fit: thread %c cannot go on",
			     'a' + (int)index_of(to));
	switch_to(to);
}

/* @is_free: a switch is no preemption. */
static void decide(bool is_free)
{
	struct explore_options options;
	unsigned choice = 0;

	if (run->replay) {
		follow(!can_go_on(now));
		return;
	}
	options = options_of(is_free);
	if (!options.count)
		nobody_can();
	choice = run->choose(&options);
	if (choice == EXPLORE_CUT)
		stop(EXPLORE_CUT_SHORT);
	switch_to(&threads[options.thread[choice]]);
}

/* ---- what a thread does ---- */

static void turn_begins(struct thread *t)
{
	t->reads = t->writes = 0;
	t->turn = ++turns;
	t->others_wrote = write_number - t->wrote;
	t->loop_past = t->past;
}

static void remember_write(struct thread *t, const uint64_t *word)
{
	for (unsigned i = 0; i < t->writes; i++)
		if (t->write[i].word == word)
			return;
	if (t->writes == WRITES_MAX)
		return;
	t->write[t->writes].word = word;
	t->write[t->writes++].before = *word;
}

/* As it was when it was read first: what changes after that is news. */
static void remember_read(struct thread *t, struct object *o)
{
	unsigned i = index_of(t);

	if (o->turn[i] == t->turn || t->reads == READS_MAX)
		return;
	o->turn[i] = t->turn;
	t->read[t->reads].object = o;
	t->read[t->reads++].seen = o->written;
}

static void happen(struct object *o, bool is_write, const uint64_t *word)
{
	struct thread *t = now;
	uint8_t bit = (uint8_t)(1u << index_of(t));

	if (is_write)
		o->writers |= bit;
	else
		o->readers |= bit;
	remember_read(t, o);
	if (o->is_shared) {
		t->past = explore_mix(t->past, o->past + is_write);
		t->acted = true;
	}
	if (!is_write)
		return;
	if (word)
		remember_write(t, word);
	o->written = ++write_number;
	t->wrote++;
	o->last_writer = (uint8_t)index_of(t);
	if (o->is_shared)
		o->past = t->past;
}

static void watch(void)
{
	const char *wrong = run->test->watch ? run->test->watch() : NULL;

	if (wrong)
		explore_fail("%s", wrong);
}

/* The access is made: by the caller, as soon as this returns. */
static void done(struct object *o, struct object *also, bool is_write, const uint64_t *word)
{
	now->accesses++;
	now->last_also = also;
	if (++access_number > ACCESSES_MAX)
		explore_fail("no end after %u accesses", ACCESSES_MAX);
	if (also)
		happen(also, false, NULL);
	happen(o, is_write, word);
}

/* Let others go first. Return: with what follows, the access happens. */
static void arrive(const struct object *o, const struct object *also)
{
	struct explore_place mine = place;
	/* What could happen to the whole between two accesses to it can happen before both. */
	bool is_shared = o->is_shared || (also && also->is_shared && also != now->last_also);

	watch();
	if (run->replay || is_shared)
		decide(false);
	if (run->note)
		run->note(index_of(now), &mine, is_shared);
}

struct named {
	struct object *object, *also;
};

static struct named name_of(const void *word)
{
	const void *also = NULL;
	const void *name = explore_memory ? explore_memory->name(word, &also) : word;

	return (struct named){
		.object = name ? object_of(name, run_number) : NULL,
		.also = also ? object_of(also, run_number) : NULL,
	};
}

void vmmu_explore_here(const char *file, int line, const char *function, const char *what)
{
	place = (struct explore_place){file, function, what, line};
}

static void touch(const void *word)
{
	if (explore_memory)
		explore_memory->touch(word);
}

void vmmu_explore_access(const void *word, bool is_write)
{
	struct named n;

	if (!now)
		return;
	n = name_of(word);
	if (!n.object)
		return;
	arrive(n.object, n.also);
	touch(word);
	done(n.object, n.also, is_write, word);
}

void vmmu_explore_cas(const void *word, uint64_t old)
{
	struct named n;

	if (!now)
		return;
	n = name_of(word);
	if (!n.object)
		return;
	arrive(n.object, n.also);
	touch(word);
	done(n.object, n.also, *(const uint64_t *)word == old, word);
}

void explore_point(const void *object, bool is_write, const char *what)
{
	struct object *o;

	if (!now)
		return;
	vmmu_explore_here(NULL, 0, NULL, what);
	o = object_of(object, run_number);
	arrive(o, NULL);
	done(o, NULL, is_write, NULL);
}

void explore_access(const void *word, bool is_write, const void *object, bool changes,
		    const char *what)
{
	struct named n;
	struct object *o;

	if (!now)
		return;
	vmmu_explore_here(NULL, 0, NULL, what);
	n = name_of(word);
	o = object_of(object, run_number);
	arrive(n.object->is_shared ? n.object : o, n.also);
	touch(word);
	done(n.object, n.also, is_write, word);
	happen(o, changes, NULL);
}

void explore_wait(const void *object, bool is_write, bool (*ready)(void *), void *context,
		  const char *what)
{
	struct object *o;

	if (!now)
		return;
	vmmu_explore_here(NULL, 0, NULL, what);
	o = object_of(object, run_number);
	arrive(o, NULL);
	while (!ready(context)) {
		now->state = WAITING;
		now->ready = ready;
		now->ready_context = context;
		decide(true);
		now->state = READY;
	}
	done(o, NULL, is_write, NULL);
}

/* Is some word not as it was when the turn began? */
bool explore_has_written(void)
{
	if (!now || now->writes == WRITES_MAX)
		return true;
	for (unsigned i = 0; i < now->writes; i++)
		if (*now->write[i].word != now->write[i].before)
			return true;
	return false;
}

void explore_turn(void)
{
	if (now)
		turn_begins(now);
}

void explore_spin(void)
{
	if (!now)
		return;
	watch();
	if (!explore_has_written() && !has_news(now)) {
		if (!now->writes)
			now->past = now->loop_past; /* as if it had not looked */
		now->state = SPINNING;
		decide(true);
		now->state = READY;
	}
	turn_begins(now);
}

void explore_pause(void)
{
	if (!now)
		return;
	watch();
	turn_begins(now);
	decide(true);
}

/* ---- a run ---- */

static void body(unsigned i)
{
	run->test->thread[i]();
	watch();
	now->state = ENDED;
	for (unsigned k = 0; k < run->test->threads; k++)
		if (threads[k].state != ENDED)
			decide(true); /* never comes back */
	run->schedule.stretch[run->schedule.count++] =
		(struct explore_stretch){(uint8_t)i, now->accesses};
	stop(EXPLORE_DONE);
}

/* Makes the first decision and is never seen again. */
static void make(unsigned i)
{
	struct thread *t = &threads[i];

	if (!t->stack)
		t->stack = malloc(STACK_BYTES);
	if (!t->stack || getcontext(&t->context))
		abort();
	t->context.uc_stack.ss_sp = t->stack;
	t->context.uc_stack.ss_size = STACK_BYTES;
	t->context.uc_link = NULL;
	t->state = READY;
	t->accesses = 0;
	t->arrived = t->acted = false;
	t->past = i + 1;
	t->wrote = 0;
	t->last_also = NULL;
	turn_begins(t);
	makecontext(&t->context, (void (*)(void))(void *)body, 1, i);
}

/* The first thread may be any. */
static void first(void)
{
	struct explore_options o = {.count = run->test->threads};
	unsigned choice = 0;

	for (unsigned i = 0; i < o.count; i++)
		o.thread[i] = (uint8_t)i;
	o.fingerprint = 1;
	stretch = 0;
	if (run->replay)
		choice = run->replay->stretch[0].thread;
	else
		choice = run->choose(&o);
	if (choice == EXPLORE_CUT)
		return;
	now = &threads[choice];
	setcontext(&now->context);
}

enum explore_end explore_once(struct explore_run *r)
{
	const char *wrong;
	static volatile bool returned;

	run = r;
	run->schedule.count = 0;
	run->failure[0] = '\0';
	run_number++;
	write_number = access_number = 0;
	run->test->setup();
	for (unsigned i = 0; i < run->test->threads; i++)
		make(i);
	how = EXPLORE_CUT_SHORT;
	returned = false;
	if (getcontext(&out))
		abort();
	if (!returned) {
		returned = true;
		first();
	}
	now = NULL;
	if (how == EXPLORE_DONE && run->test->check) {
		wrong = run->test->check();
		if (wrong) {
			snprintf(run->failure, sizeof(run->failure), "%s", wrong);
			how = EXPLORE_FAILED;
		}
	}
	run = NULL;
	if (r->test->teardown)
		r->test->teardown();
	return how;
}
