/* SPDX-License-Identifier: MIT */
/*
 * A small printf without buffers: parse one conversion, turn it into a piece of text, pad.
 * Knows integers, characters, strings and pointers; the list is in platform.h.
 */
#include "format.h"

#include "platform.h"

enum length {
	LENGTH_CHAR,
	LENGTH_SHORT,
	LENGTH_INT,
	LENGTH_LONG,
};

/* One parsed conversion. */
struct conversion {
	bool left;
	bool zero;
	bool has_precision;
	size_t width;
	size_t precision;
	enum length length;
	char kind;
};

/* A piece of text to be padded; digits live in the caller's buffer. */
struct piece {
	const char *sign;
	const char *text;
	size_t length;
	size_t zeros; /* between sign and text */
};

static void put_many(struct text_sink *sink, char c, size_t count)
{
	while (count-- > 0)
		sink->put(sink, c);
}

static void put_piece(struct text_sink *sink, const struct conversion *conv, struct piece piece)
{
	size_t body = strlen(piece.sign) + piece.zeros + piece.length;
	size_t pad = conv->width > body ? conv->width - body : 0;

	if (conv->zero && !conv->left) {
		piece.zeros += pad;
		pad = 0;
	}
	if (!conv->left)
		put_many(sink, ' ', pad);
	for (const char *c = piece.sign; *c != '\0'; c++)
		sink->put(sink, *c);
	put_many(sink, '0', piece.zeros);
	for (size_t i = 0; i < piece.length; i++)
		sink->put(sink, piece.text[i]);
	if (conv->left)
		put_many(sink, ' ', pad);
}

static void put_number(struct text_sink *sink, const struct conversion *conv, uint64_t value,
		       uint64_t base, const char *sign)
{
	const char *alphabet = conv->kind == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
	struct conversion padded = *conv;
	char digits[20];
	size_t start = sizeof(digits);
	struct piece piece = {.sign = sign};

	do {
		digits[--start] = alphabet[value % base];
		value /= base;
	} while (value != 0);
	piece.text = digits + start;
	piece.length = sizeof(digits) - start;
	if (conv->has_precision) {
		padded.zero = false;
		if (conv->precision > piece.length)
			piece.zeros = conv->precision - piece.length;
	}
	put_piece(sink, &padded, piece);
}

static void put_string(struct text_sink *sink, const struct conversion *conv, const char *text)
{
	struct conversion padded = *conv;
	struct piece piece = {.sign = ""};

	padded.zero = false;
	piece.text = text != NULL ? text : "(null)";
	piece.length = strnlen(piece.text, conv->has_precision ? conv->precision : SIZE_MAX);
	put_piece(sink, &padded, piece);
}

static const char *parse_flags(const char *at, struct conversion *conv)
{
	for (;; at++) {
		if (*at == '-')
			conv->left = true;
		else if (*at == '0')
			conv->zero = true;
		else
			return at;
	}
}

/* A decimal number in the format text; saturates far above any sensible width. */
static const char *parse_count(const char *at, size_t *count)
{
	size_t value = 0;

	for (; *at >= '0' && *at <= '9'; at++)
		value = value < 10000 ? value * 10 + (size_t)(*at - '0') : value;
	*count = value;
	return at;
}

static const char *parse_length(const char *at, struct conversion *conv)
{
	conv->length = LENGTH_INT;
	for (;; at++) {
		switch (*at) {
		case 'h':
			conv->length = conv->length == LENGTH_SHORT ? LENGTH_CHAR : LENGTH_SHORT;
			break;
		case 'l':
		case 'z':
		case 'j':
		case 't':
			conv->length = LENGTH_LONG;
			break;
		default:
			return at;
		}
	}
}

static int64_t narrow_signed(int64_t value, enum length length)
{
	switch (length) {
	case LENGTH_CHAR:
		return (signed char)value;
	case LENGTH_SHORT:
		return (short)value;
	case LENGTH_INT:
		return (int)value;
	case LENGTH_LONG:
		break;
	}
	return value;
}

static uint64_t narrow_unsigned(uint64_t value, enum length length)
{
	switch (length) {
	case LENGTH_CHAR:
		return (uint8_t)value;
	case LENGTH_SHORT:
		return (uint16_t)value;
	case LENGTH_INT:
		return (uint32_t)value;
	case LENGTH_LONG:
		break;
	}
	return value;
}

static void put_signed(struct text_sink *sink, const struct conversion *conv, int64_t value)
{
	uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

	put_number(sink, conv, magnitude, 10, value < 0 ? "-" : "");
}

/* Takes the conversion's argument; variadic arguments travel as int or as 64-bit words. */
static void put_conversion(struct text_sink *sink, const struct conversion *conv, va_list *args)
{
	bool wide = conv->length == LENGTH_LONG;
	char c;

	switch (conv->kind) {
	case 'd':
	case 'i':
		put_signed(sink, conv,
			   narrow_signed(wide ? va_arg(*args, long) : va_arg(*args, int),
					 conv->length));
		break;
	case 'u':
	case 'x':
	case 'X':
		put_number(sink, conv,
			   narrow_unsigned(wide ? va_arg(*args, unsigned long)
						: va_arg(*args, unsigned int),
					   conv->length),
			   conv->kind == 'u' ? 10 : 16, "");
		break;
	case 'p':
		put_number(sink, conv, (uintptr_t)va_arg(*args, void *), 16, "0x");
		break;
	case 's':
		put_string(sink, conv, va_arg(*args, const char *));
		break;
	case 'c':
		c = (char)va_arg(*args, int);
		put_piece(sink, conv, (struct piece){.sign = "", .text = &c, .length = 1});
		break;
	case '%':
		sink->put(sink, '%');
		break;
	default: /* unknown: shown as written, so that the mistake is seen */
		sink->put(sink, '%');
		sink->put(sink, conv->kind);
		break;
	}
}

static const char *parse_star_or_count(const char *at, size_t *count, bool *left, va_list *args)
{
	int value;

	if (*at != '*')
		return parse_count(at, count);
	value = va_arg(*args, int);
	if (value < 0)
		*left = true;
	*count = (size_t)(value < 0 ? -(int64_t)value : value);
	return at + 1;
}

void format_to_sink(struct text_sink *sink, const char *format, va_list args)
{
	va_list list;

	va_copy(list, args);
	for (const char *at = format; *at != '\0'; at++) {
		struct conversion conv = {0};
		bool negative = false;

		if (*at != '%') {
			sink->put(sink, *at);
			continue;
		}
		at = parse_flags(at + 1, &conv);
		at = parse_star_or_count(at, &conv.width, &conv.left, &list);
		if (*at == '.') {
			at = parse_star_or_count(at + 1, &conv.precision, &negative, &list);
			conv.has_precision = !negative;
		}
		at = parse_length(at, &conv);
		if (*at == '\0')
			break;
		conv.kind = *at;
		put_conversion(sink, &conv, &list);
	}
	va_end(list);
}

/* --- into memory --- */

struct memory_sink {
	struct text_sink sink; /* first: the sink is the whole */
	char *text;
	size_t bytes;
	size_t length;
};

static void memory_put(struct text_sink *sink, char c)
{
	struct memory_sink *memory = (struct memory_sink *)(void *)sink;

	if (memory->length + 1 < memory->bytes)
		memory->text[memory->length] = c;
	memory->length++;
}

size_t format_vtext(char *text, size_t bytes, const char *format, va_list args)
{
	struct memory_sink memory = {.sink.put = memory_put, .text = text, .bytes = bytes};

	format_to_sink(&memory.sink, format, args);
	if (bytes > 0)
		text[memory.length < bytes ? memory.length : bytes - 1] = '\0';
	return memory.length;
}

size_t format_text(char *text, size_t bytes, const char *format, ...)
{
	va_list args;
	size_t length;

	va_start(args, format);
	length = format_vtext(text, bytes, format, args);
	va_end(args);
	return length;
}
