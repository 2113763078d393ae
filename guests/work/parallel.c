/* SPDX-License-Identifier: MIT */
/*
 * All processors at once. Processes, one per processor and held there: each maps, writes, forks,
 * protects and unmaps memory of its own, and between these rounds all rewrite a shared mapping in
 * turns and compare all of it. Threads of one address space: one of them puts new pages in place
 * of old ones, and the others, which had the old ones in use, must see the new ones at once.
 */
#include "work.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define RW (PROT_READ | PROT_WRITE)
#define CPUS_MAX 64u
#define ROUNDS 12u
#define PRIVATE_BYTES ((size_t)128 * PAGE_BYTES)
#define SHARED_PAGES 96u
#define SHARED_BYTES ((size_t)SHARED_PAGES * PAGE_BYTES)
#define EXCHANGES 32u
#define EXCHANGED_PAGES 24u

/* In memory that all processes share. */
struct meeting {
	uint32_t size;
	uint32_t arrived; /* over all meetings */
};

struct team {
	unsigned size;
	unsigned cpus[CPUS_MAX];
	struct meeting *meeting;
	uint8_t *shared;
};

struct exchange {
	const struct team *team;
	pthread_barrier_t barrier;
	uint8_t *pages;
};

struct member {
	struct exchange *exchange;
	unsigned number;
	pthread_t thread;
};

static void stay_on(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		work_fail("sched_setaffinity, error number", 0, (uint64_t)errno);
	work_check("the processor that a process runs on", cpu, (uint64_t)sched_getcpu());
}

/* Until all have come as often as we have. */
static void meet(struct meeting *meeting)
{
	uint32_t mine = __atomic_add_fetch(&meeting->arrived, 1, __ATOMIC_SEQ_CST);
	uint32_t all = (mine + meeting->size - 1) / meeting->size * meeting->size;

	while ((int32_t)(__atomic_load_n(&meeting->arrived, __ATOMIC_SEQ_CST) - all) < 0)
		(void)sched_yield();
}

/* --- processes --- */

static _Noreturn void fork_child(uint8_t *pages, uint64_t seed)
{
	work_verify("a word in a forked child", pages, PRIVATE_BYTES, seed);
	work_fill(pages, PRIVATE_BYTES / 2, seed + 1);
	work_verify("a word that a forked child wrote", pages, PRIVATE_BYTES / 2, seed + 1);
	_exit(7);
}

static void private_round(uint64_t seed)
{
	uint8_t *pages = work_map(PRIVATE_BYTES, RW, MAP_PRIVATE);
	uint8_t *upper = pages + PRIVATE_BYTES / 2;
	int status = 0;
	pid_t pid;

	work_fill(pages, PRIVATE_BYTES, seed);
	pid = fork();
	if (pid < 0)
		work_fail("fork, error number", 0, (uint64_t)errno);
	if (pid == 0)
		fork_child(pages, seed);
	work_fill(upper, PRIVATE_BYTES / 2, seed + 2);
	if (waitpid(pid, &status, 0) != pid)
		work_fail("waitpid, error number", 0, (uint64_t)errno);
	work_check("status of a child forked on its own processor", 7u << 8, (uint64_t)status);
	work_verify("a word that only the child rewrote", pages, PRIVATE_BYTES / 2, seed);
	if (mprotect(upper, PRIVATE_BYTES / 2, PROT_READ) != 0)
		work_fail("mprotect, error number", 0, (uint64_t)errno);
	work_check("writing a read-only page, signal", SIGSEGV,
		   (uint64_t)work_try_write(upper + PAGE_BYTES, 1));
	work_verify("a word that the parent wrote", upper, PRIVATE_BYTES / 2, seed + 2);
	work_unmap(pages, PRIVATE_BYTES);
}

/* Each page is written by another process in each round, and compared by all. */
static void shared_round(const struct team *team, unsigned number, unsigned round)
{
	for (unsigned page = 0; page < SHARED_PAGES; page++) {
		if ((page + round) % team->size == number)
			work_fill(team->shared + (size_t)page * PAGE_BYTES, PAGE_BYTES, round);
	}
	meet(team->meeting);
	work_verify("a word of the mapping that all rewrite", team->shared, SHARED_BYTES, round);
	meet(team->meeting);
}

static _Noreturn void process(const struct team *team, unsigned number)
{
	stay_on(team->cpus[number]);
	meet(team->meeting);
	for (unsigned round = 0; round < ROUNDS; round++) {
		private_round(1000 * (number + 1) + 10 * round);
		shared_round(team, number, round);
	}
	_exit(0);
}

/* One that has failed has said so; the others would wait for it. */
static void end_process(const pid_t *pids, unsigned size)
{
	int status = 0;
	pid_t pid = waitpid(-1, &status, 0);

	if (pid > 0 && status == 0)
		return;
	for (unsigned i = 0; i < size; i++)
		(void)kill(pids[i], SIGKILL);
	if (pid > 0 && WIFEXITED(status))
		_exit(1);
	work_fail("a process of a processor, status", 0, (uint64_t)status);
}

static void processes(const struct team *team)
{
	pid_t pids[CPUS_MAX];

	for (unsigned i = 0; i < team->size; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			work_fail("fork, error number", 0, (uint64_t)errno);
		if (pids[i] == 0)
			process(team, i);
	}
	for (unsigned i = 0; i < team->size; i++)
		end_process(pids, team->size);
}

/* --- threads --- */

static void exchange_pages(uint8_t *pages, unsigned round)
{
	for (unsigned page = 0; page < EXCHANGED_PAGES; page++) {
		uint8_t *at = pages + (size_t)page * PAGE_BYTES;

		if (mmap(at, PAGE_BYTES, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != at)
			work_fail("mmap over a page, error number", 0, (uint64_t)errno);
		work_fill(at, PAGE_BYTES, round);
	}
}

static void *thread(void *context)
{
	struct member *member = context;
	struct exchange *exchange = member->exchange;
	unsigned size = exchange->team->size;

	stay_on(exchange->team->cpus[member->number]);
	for (unsigned round = 0; round < EXCHANGES; round++) {
		if (round % size == member->number)
			exchange_pages(exchange->pages, round);
		(void)pthread_barrier_wait(&exchange->barrier);
		work_verify("a word of a page that another thread put in place", exchange->pages,
			    (size_t)EXCHANGED_PAGES * PAGE_BYTES, round);
		(void)pthread_barrier_wait(&exchange->barrier);
	}
	return NULL;
}

static void threads(const struct team *team)
{
	static struct member members[CPUS_MAX];
	struct exchange exchange = {.team = team};

	exchange.pages = work_map((size_t)EXCHANGED_PAGES * PAGE_BYTES, RW, MAP_PRIVATE);
	work_check("pthread_barrier_init", 0,
		   (uint64_t)pthread_barrier_init(&exchange.barrier, NULL, team->size));
	for (unsigned i = 0; i < team->size; i++) {
		members[i] = (struct member){.exchange = &exchange, .number = i};
		work_check("pthread_create", 0,
			   (uint64_t)pthread_create(&members[i].thread, NULL, thread, &members[i]));
	}
	for (unsigned i = 0; i < team->size; i++)
		work_check("pthread_join", 0, (uint64_t)pthread_join(members[i].thread, NULL));
	(void)pthread_barrier_destroy(&exchange.barrier);
	work_unmap(exchange.pages, (size_t)EXCHANGED_PAGES * PAGE_BYTES);
}

static unsigned find_cpus(struct team *team)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		work_fail("sched_getaffinity, error number", 0, (uint64_t)errno);
	for (unsigned cpu = 0; cpu < CPU_SETSIZE && team->size < CPUS_MAX; cpu++) {
		if (CPU_ISSET(cpu, &set))
			team->cpus[team->size++] = cpu;
	}
	return team->size;
}

unsigned work_parallel(void)
{
	struct team team = {0};

	if (find_cpus(&team) == 1)
		return 1;
	team.meeting = work_map(PAGE_BYTES, RW, MAP_SHARED);
	team.meeting->size = team.size;
	team.shared = work_map(SHARED_BYTES, RW, MAP_SHARED);
	processes(&team);
	threads(&team);
	work_unmap(team.shared, SHARED_BYTES);
	work_unmap(team.meeting, PAGE_BYTES);
	work_say("%u processors at once checked (%.1f s)", team.size, work_seconds());
	return team.size;
}
