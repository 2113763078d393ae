/* SPDX-License-Identifier: MIT */
/* A schedule for people: one column a thread, one row an access, and only those that matter. */
#include <stdio.h>
#include <string.h>

#include "run.h"

#define COLUMN 46
/* Of each turn so many rows at its begin and at its end. */
#define ROWS 4u

struct row {
	unsigned thread;
	char text[COLUMN];
};

static struct row turn[2 * ROWS]; /* the first ones, and a ring of the last ones */
static unsigned rows;             /* of this turn, in all */
static unsigned thread_now;
static bool any;

static void print_row(unsigned thread, const char *text)
{
	printf("#   %*s%s\n", (int)(thread * COLUMN), "", text);
}

static void print_turn(void)
{
	unsigned head = rows < ROWS ? rows : ROWS;
	unsigned tail = rows - head < ROWS ? rows - head : ROWS;
	char text[COLUMN];

	for (unsigned i = 0; i < head; i++)
		print_row(thread_now, turn[i].text);
	if (rows > head + tail) {
		snprintf(text, sizeof(text), "  ... %u more", rows - head - tail);
		print_row(thread_now, text);
	}
	for (unsigned i = rows - tail; i < rows; i++)
		print_row(thread_now, turn[ROWS + i % ROWS].text);
	rows = 0;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void note(unsigned thread, const struct explore_place *place, bool is_shared)
{
	struct row *row;

	if (any && thread != thread_now) {
		print_turn();
		printf("#   %*s--> %c\n", (int)(thread_now * COLUMN), "", 'a' + (int)thread);
	}
	any = true;
	thread_now = thread;
	if (!is_shared && place->file)
		return; /* nobody else's business */
	row = rows < ROWS ? &turn[rows] : &turn[ROWS + rows % ROWS];
	rows++;
	if (place->file)
		snprintf(row->text, sizeof(row->text), "%s:%d %s %s", base_name(place->file),
			 place->line, place->function, place->what);
	else
		snprintf(row->text, sizeof(row->text), "%s", place->what);
}

void explore_show(const struct explore_test *test, const struct explore_result *result,
		  const char *command)
{
	struct explore_run again = {
		.test = test,
		.replay = &result->shortest,
		.note = note,
	};

	printf("# %s fails: %s\n", test->name, result->failure);
	printf("#   shortest schedule found: %u turns, %u preemptions at most\n",
	       result->shortest.count, result->bound);
	for (unsigned i = 0; i < test->threads; i++)
		printf("%s%c%*s", i ? "" : "#   ", 'a' + (int)i, COLUMN - 1, "");
	printf("\n");
	rows = 0;
	any = false;
	(void)explore_once(&again);
	print_turn();
	printf("#   and there: %s\n#   again: VMMU_SCHEDULE=", again.failure);
	for (unsigned i = 0; i < result->shortest.count; i++)
		printf("%s%c%u", i ? "," : "", 'a' + result->shortest.stretch[i].thread,
		       result->shortest.stretch[i].accesses);
	printf(" %s\n", command);
}
