/* SPDX-License-Identifier: MIT */
/*
 * Accesses that may fault. A handler jumps back to the attempt, so that a check can say "this
 * write must not go through" and go on. Outside an attempt the signals keep their default action.
 */
#include "work.h"

#include <setjmp.h>
#include <signal.h>
#include <string.h>

static sigjmp_buf back;
static volatile uintptr_t fault_address;

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)context;
	fault_address = (uintptr_t)info->si_addr;
	siglongjmp(back, number);
}

static void catch_faults(void)
{
	struct sigaction action;

	(void)memset(&action, 0, sizeof(action));
	action.sa_flags = SA_SIGINFO;
	action.sa_sigaction = on_fault;
	(void)sigaction(SIGSEGV, &action, NULL);
	(void)sigaction(SIGBUS, &action, NULL);
}

static void release_faults(void)
{
	(void)signal(SIGSEGV, SIG_DFL);
	(void)signal(SIGBUS, SIG_DFL);
}

int work_try_read(const volatile void *at)
{
	int number;

	catch_faults();
	number = sigsetjmp(back, 1);
	if (number == 0)
		(void)*(const volatile uint8_t *)at;
	release_faults();
	return number;
}

int work_try_write(volatile void *at, uint8_t value)
{
	int number;

	catch_faults();
	number = sigsetjmp(back, 1);
	if (number == 0)
		*(volatile uint8_t *)at = value;
	release_faults();
	return number;
}

int work_try_call(void *at)
{
	void (*function)(void);
	int number;

	/* ISO C has no cast from an object to a function. */
	(void)memcpy(&function, &at, sizeof(function));
	catch_faults();
	number = sigsetjmp(back, 1);
	if (number == 0)
		function();
	release_faults();
	return number;
}

uintptr_t work_fault_address(void)
{
	return fault_address;
}
