/* SPDX-License-Identifier: MIT */
/* The formatter under every printing function: text goes character by character to a sink. */
#ifndef HV_FORMAT_H
#define HV_FORMAT_H

#include <stdarg.h>

struct text_sink {
	void (*put)(struct text_sink *sink, char c);
};

__attribute__((format(printf, 2, 0))) void format_to_sink(struct text_sink *sink,
							  const char *format, va_list args);

#endif
