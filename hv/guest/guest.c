/* SPDX-License-Identifier: MIT */
/* How a guest ends. */
#include "guest.h"

void guest_end(struct guest *guest, enum guest_outcome outcome, const char *format, ...)
{
	enum guest_outcome none = GUEST_NONE;
	va_list args;

	if (!__atomic_compare_exchange_n(&guest->outcome, &none, outcome, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_SEQ_CST))
		return;
	if (format == NULL)
		return;
	va_start(args, format);
	format_vtext(guest->reason, sizeof(guest->reason), format, args);
	va_end(args);
}

const char *guest_outcome_word(enum guest_outcome outcome)
{
	static const char *const words[] = {
#define GUEST_OUTCOME_WORD(name, word) [GUEST_##name] = (word),
		GUEST_OUTCOMES(GUEST_OUTCOME_WORD)
#undef GUEST_OUTCOME_WORD
	};

	return words[outcome];
}
