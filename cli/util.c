/* SPDX-License-Identifier: MIT */
/* Messages, memory, growing buffers, numbers. */
#include "cli.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char *format_text(const char *format, va_list args)
{
	char *text = NULL;

	if (vasprintf(&text, format, args) < 0) {
		(void)fputs("vmmu: out of memory\n", stderr);
		exit(CLI_FAILED);
	}
	return text;
}

static void print_warning(const char *format, va_list args)
{
	char *text = format_text(format, args);

	for (char *at = text; *at; at++) {
		if (iscntrl((unsigned char)*at))
			*at = '?';
	}
	(void)fprintf(stderr, "vmmu: %s\n", text);
	free(text);
}

void cli_warn(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_warning(format, args);
	va_end(args);
}

int cli_refuse(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_warning(format, args);
	va_end(args);
	return CLI_BAD_INPUT;
}

char *cli_format(const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = format_text(format, args);
	va_end(args);
	return text;
}

void *cli_allocate(size_t bytes)
{
	void *memory = calloc(1, bytes ? bytes : 1);

	if (!memory) {
		(void)fputs("vmmu: out of memory\n", stderr);
		exit(CLI_FAILED);
	}
	return memory;
}

char *cli_copy(const char *text)
{
	return cli_format("%s", text);
}

void cli_buffer_add(struct cli_buffer *buffer, const void *data, size_t bytes)
{
	if (buffer->size - buffer->used < bytes) {
		size_t size = (buffer->used + bytes) * 2;
		char *grown = realloc(buffer->data, size);

		if (!grown) {
			(void)fputs("vmmu: out of memory\n", stderr);
			exit(CLI_FAILED);
		}
		buffer->data = grown;
		buffer->size = size;
	}
	if (bytes > 0)
		(void)memcpy(buffer->data + buffer->used, data, bytes);
	buffer->used += bytes;
}

void cli_buffer_drop(struct cli_buffer *buffer, size_t bytes)
{
	if (bytes > buffer->used)
		bytes = buffer->used;
	buffer->used -= bytes;
	if (buffer->used > 0)
		(void)memmove(buffer->data, buffer->data + bytes, buffer->used);
}

void cli_buffer_free(struct cli_buffer *buffer)
{
	free(buffer->data);
	*buffer = (struct cli_buffer){0};
}

char *cli_buffer_take_line(struct cli_buffer *buffer, size_t limit)
{
	char *end = buffer->used ? memchr(buffer->data, '\n', buffer->used) : NULL;
	size_t bytes = end ? (size_t)(end - buffer->data) : buffer->used;
	bool newline = end != NULL;
	char *line;

	if (!newline && bytes < limit)
		return NULL;
	if (bytes > limit) {
		bytes = limit;
		newline = false;
	}
	line = cli_allocate(bytes + 1);
	(void)memcpy(line, buffer->data, bytes);
	cli_buffer_drop(buffer, bytes + (newline ? 1 : 0));
	return line;
}

int64_t cli_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool cli_parse_number(const char *text, uint64_t max, uint64_t *number)
{
	uint64_t value = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		uint64_t digit = (uint64_t)(*text - '0');

		if (*text < '0' || *text > '9' || digit > max || value > (max - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*number = value;
	return true;
}

bool cli_parse_size(const char *text, uint64_t *bytes)
{
	static const struct {
		char letter;
		uint64_t unit;
	} units[] = {{'K', KIB}, {'M', MIB}, {'G', GIB}, {'T', GIB * 1024}};
	size_t length = strlen(text);
	char digits[24];
	uint64_t unit = MIB;

	if (length == 0 || length >= sizeof(digits))
		return false;
	(void)memcpy(digits, text, length + 1);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (toupper((unsigned char)digits[length - 1]) == units[i].letter) {
			unit = units[i].unit;
			digits[length - 1] = '\0';
			break;
		}
	}
	if (!cli_parse_number(digits, UINT64_MAX / unit, bytes))
		return false;
	*bytes *= unit;
	return true;
}

const char *cli_size_text(uint64_t bytes, char *text, size_t size)
{
	if (bytes >= 10 * GIB)
		(void)snprintf(text, size, "%.1fG", (double)bytes / (double)GIB);
	else if (bytes >= MIB)
		(void)snprintf(text, size, "%lluM", (unsigned long long)(bytes / MIB));
	else
		(void)snprintf(text, size, "%lluK", (unsigned long long)(bytes / KIB));
	return text;
}

bool cli_exists(const char *path)
{
	struct stat info;

	return stat(path, &info) == 0;
}
