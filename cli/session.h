/* SPDX-License-Identifier: MIT */
/*
 * One session: everything that happens while QEMU lives. session.c waits and keeps the times;
 * console.c has the user's side (terminal, standard output, progress line).
 */
#ifndef VMMU_CLI_SESSION_H
#define VMMU_CLI_SESSION_H

#include "run.h"

#include <termios.h>

/* What the guest wrote last is kept, for words that come in pieces, in characters. */
#define RECENT 256

/* The user's terminal and standard output. */
struct console {
	struct cli_buffer out;  /* for standard output, not written yet */
	struct cli_buffer line; /* the guest's line so far */
	struct termios saved;
	const char *token; /* what the ok line must carry */
	bool raw;          /* the terminal must be restored */
	bool escape;       /* Ctrl-A came, its letter is next */
	bool quit;         /* Ctrl-A x */
	bool progress_shown;
	bool out_lost; /* standard output went away */
	bool at_line_start;
	bool held_return; /* a \r came; it is dropped when \n follows */
	bool saw_ok;
	bool draws;         /* the guest moves the cursor about */
	const char *goal;   /* words that it is run for, wherever they stand; NULL: none */
	const char *broken; /* words that say it found a fault; NULL: none */
	char recent[RECENT];
	size_t recent_used;
	char *failed; /* what the guest says that failed, NULL when nothing did */
};

void console_open(struct console *console, const struct run_guest *guest, bool interactive);

/* Restore the terminal, write out what is left. */
void console_close(struct console *console);

/* Show what is being done; on a terminal the line is overwritten by what comes next. */
void console_progress(struct console *console, const char *text);
void console_clear_progress(struct console *console);

/* The guest wrote @bytes at @data. */
void console_guest_wrote(struct console *console, const char *data, size_t bytes);

/* Write as much as standard output takes now. */
void console_flush(struct console *console);

/* Enough is waiting for standard output: read no more from the guest for now. */
bool console_is_full(const struct console *console);

/* What the user typed, on its way to the guest. Return: bytes left in @keys after escapes. */
size_t console_filter_keys(struct console *console, char *keys, size_t bytes);

#endif
