/* SPDX-License-Identifier: MIT */
/* The user's side of a session: terminal, standard output, progress line. */
#include "session.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FULL 65536u
#define CHUNK 4096u
#define LINE_LIMIT 8192u

#define KEY_ESCAPE 0x01 /* Ctrl-A */

#define OK_LINE "vmmu-guest: ok token="
#define FAILED_LINE "vmmu-guest: FAILED "

/* Plain text, the cursor visible, below a screen of 25 lines. */
#define SCREEN_END "\033[0m\033[?25h\033[25;1H"

/* The terminal as it was, for exit() from anywhere. */
static struct console *raw_console;

static void restore_terminal(void)
{
	if (raw_console && raw_console->raw) {
		(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &raw_console->saved);
		raw_console->raw = false;
	}
}

void console_open(struct console *console, const struct run_guest *guest, bool interactive)
{
	struct termios raw;

	*console = (struct console){.token = guest->token, .at_line_start = true};
	console->goal = guest->goal;
	console->broken = guest->goal ? guest->kind->broken : NULL;
	console->draws = guest->kind && guest->kind->draws;
	if (!interactive || tcgetattr(STDIN_FILENO, &console->saved) != 0)
		return;
	raw = console->saved;
	cfmakeraw(&raw);
	/* Output stays cooked: our own lines end in \n. */
	raw.c_oflag = console->saved.c_oflag;
	console->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
	raw_console = console;
	(void)atexit(restore_terminal);
}

void console_close(struct console *console)
{
	console_clear_progress(console);
	if (console->draws && isatty(STDOUT_FILENO))
		cli_buffer_add(&console->out, SCREEN_END, strlen(SCREEN_END));
	if (!console->at_line_start)
		cli_buffer_add(&console->out, "\n", 1);
	while (console->out.used > 0 && !console->out_lost) {
		struct pollfd wait = {.fd = STDOUT_FILENO, .events = POLLOUT};

		(void)poll(&wait, 1, -1);
		console_flush(console);
	}
	restore_terminal();
	raw_console = NULL;
	cli_buffer_free(&console->out);
	cli_buffer_free(&console->line);
}

void console_clear_progress(struct console *console)
{
	if (console->progress_shown)
		(void)fputs("\r\033[K", stderr);
	console->progress_shown = false;
}

void console_progress(struct console *console, const char *text)
{
	if (!isatty(STDERR_FILENO)) {
		cli_warn("%s", text);
		return;
	}
	console_clear_progress(console);
	(void)fprintf(stderr, "vmmu: %.70s", text);
	console->progress_shown = true;
}

/* Look for our guest's last words. Lines end in \r\n on a serial port. */
static void inspect_line(struct console *console, const char *line)
{
	size_t length = strcspn(line, "\r");

	if (strncmp(line, OK_LINE, strlen(OK_LINE)) == 0) {
		const char *token = line + strlen(OK_LINE);

		length -= strlen(OK_LINE);
		if (length == strlen(console->token) && strncmp(token, console->token, length) == 0)
			console->saw_ok = true;
	} else if (strncmp(line, FAILED_LINE, strlen(FAILED_LINE)) == 0 && !console->failed) {
		console->failed = cli_format("%.*s", (int)(length - strlen(FAILED_LINE)),
					     line + strlen(FAILED_LINE));
	}
}

/* A serial line ends lines in \r\n, files and pipes in \n; a terminal adds its own \r. */
static void add_output(struct console *console, const char *data, size_t bytes)
{
	for (size_t i = 0; i < bytes && !console->out_lost; i++) {
		if (console->held_return && data[i] != '\n')
			cli_buffer_add(&console->out, "\r", 1);
		console->held_return = data[i] == '\r';
		if (!console->held_return)
			cli_buffer_add(&console->out, &data[i], 1);
	}
}

static bool ends_with(const struct console *console, const char *words)
{
	size_t length = strlen(words);

	return console->recent_used >= length &&
	       memcmp(console->recent + console->recent_used - length, words, length) == 0;
}

/* Look for the words that end the run: they may come in pieces, and without an end of line. */
static void inspect_text(struct console *console, const char *data, size_t bytes)
{
	for (size_t i = 0; i < bytes && !console->saw_ok && !console->failed; i++) {
		if (console->recent_used == RECENT - 1) {
			console->recent_used = RECENT / 2;
			(void)memmove(console->recent, console->recent + RECENT / 2 - 1,
				      RECENT / 2);
		}
		console->recent[console->recent_used++] = data[i] ? data[i] : ' ';
		console->recent[console->recent_used] = '\0';
		if (ends_with(console, console->goal))
			console->saw_ok = true;
		else if (console->broken && ends_with(console, console->broken))
			console->failed = cli_format("it said '%s'", console->broken);
	}
}

void console_guest_wrote(struct console *console, const char *data, size_t bytes)
{
	char *line;

	if (bytes == 0)
		return;
	console_clear_progress(console);
	console->at_line_start = data[bytes - 1] == '\n';
	add_output(console, data, bytes);
	if (!console->goal)
		cli_buffer_add(&console->line, data, bytes);
	if (console->goal)
		inspect_text(console, data, bytes);
	while (!console->goal &&
	       (line = cli_buffer_take_line(&console->line, LINE_LIMIT)) != NULL) {
		inspect_line(console, line);
		free(line);
	}
	console_flush(console);
}

void console_flush(struct console *console)
{
	while (console->out.used > 0 && !console->out_lost) {
		struct pollfd ready = {.fd = STDOUT_FILENO, .events = POLLOUT};
		size_t bytes = console->out.used < CHUNK ? console->out.used : CHUNK;
		ssize_t wrote;

		/* A pipe that is ready takes a chunk of this size without blocking. */
		if (poll(&ready, 1, 0) <= 0)
			return;
		wrote = write(STDOUT_FILENO, console->out.data, bytes);
		if (wrote < 0 && errno != EAGAIN && errno != EINTR) {
			console->out_lost = true;
			cli_warn("standard output: %s", strerror(errno));
			cli_buffer_free(&console->out);
		}
		if (wrote <= 0)
			return;
		cli_buffer_drop(&console->out, (size_t)wrote);
	}
}

bool console_is_full(const struct console *console)
{
	return console->out.used >= FULL;
}

size_t console_filter_keys(struct console *console, char *keys, size_t bytes)
{
	size_t kept = 0;

	if (!console->raw)
		return bytes;
	for (size_t i = 0; i < bytes; i++) {
		char key = keys[i];

		if (console->escape) {
			console->escape = false;
			if (key == 'x' || key == 'X')
				console->quit = true;
			else if (key == KEY_ESCAPE)
				keys[kept++] = key;
		} else if (key == KEY_ESCAPE) {
			console->escape = true;
		} else {
			keys[kept++] = key;
		}
	}
	return kept;
}
