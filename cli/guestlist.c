/* SPDX-License-Identifier: MIT */
/*
 * The guests that `vmmu run --guest` knows. All words that their kernels get, and the words of
 * theirs that end a run, are here and nowhere else. guests/guest.sh fetches their files.
 */
#include "run.h"

#include <stdlib.h>
#include <string.h>

/*
 * console: the serial port that the command shows. panic, reboot: a crash ends the run, by triple
 * fault, instead of waiting. The others leave out what only costs time in an emulator: self tests,
 * mitigations, the timer check, clock and lock-up watchdogs. loglevel keeps the boot to a page.
 */
#define LINUX_WORDS                                                                                \
	"console=ttyS0 panic=-1 reboot=t cryptomgr.notests mitigations=off no_timer_check "        \
	"tsc=reliable nowatchdog loglevel=6"

/* The processor that platform notes are about: SVM with nested paging, four levels, no RDRAND. */
#define CPU_USUAL "EPYC,+svm,+npt,+vgif,-rdrand"

/* The same with all that QEMU can emulate, five levels among it. */
#define CPU_MOST "max,+svm,+npt,+vgif,-rdrand"

static const struct guest_kind guests[] = {
	{
		.name = "linux",
		.kernel = "vmlinuz",
		.initrd = "initrd.cpio",
		.words = LINUX_WORDS,
		.cpu = CPU_USUAL,
		.memory_bytes = 512 * MIB,
	},
	{
		.name = "linux-la57",
		.kernel = "vmlinuz",
		.initrd = "initrd.cpio",
		.words = LINUX_WORDS,
		.cpu = CPU_MOST,
		.memory_bytes = 512 * MIB,
	},
	{
		.name = "linux-pae",
		.kernel = "vmlinuz-pae",
		.initrd = "initrd-i386.cpio",
		.words = LINUX_WORDS,
		.cpu = CPU_USUAL,
		.memory_bytes = 512 * MIB,
	},
	{
		.name = "linux-i386",
		.kernel = "vmlinuz-i386",
		.initrd = "initrd-i386.cpio",
		.words = LINUX_WORDS,
		.cpu = CPU_USUAL,
		.memory_bytes = 512 * MIB,
	},
	/* The word tells the initramfs which work is to be done. */
	{
		.name = "mediator",
		.kernel = "vmlinuz",
		.initrd = "initrd.cpio",
		.words = LINUX_WORDS " vmmu.work=mediator",
		.cpu = CPU_USUAL,
		.memory_bytes = 512 * MIB,
		.vgtt = true,
	},
	/* The line of its screen that counts passes, as it is sent again every few seconds. */
	{
		.name = "memtest",
		.kernel = "memtest.bin",
		.words = "console=ttyS0,115200",
		.cpu = CPU_USUAL,
		.goal = "Pass:  1        Errors: 0 ",
		.broken = "Status: Failed",
		.memory_bytes = 32 * MIB,
		.draws = true,
	},
	/* Its drivers have come up and it has nothing to run: that is as far as a kernel alone
	   gets. */
	{
		.name = "mach",
		.kernel = "gnumach.elf",
		.words = "console=com0",
		.cpu = CPU_USUAL,
		.goal = "No bootstrap code loaded with the kernel!",
		.memory_bytes = 128 * MIB,
	},
};

#define GUEST_COUNT (sizeof(guests) / sizeof(guests[0]))

const struct guest_kind *guest_at(size_t index)
{
	return index < GUEST_COUNT ? &guests[index] : NULL;
}

const struct guest_kind *guest_find(const char *name)
{
	for (size_t i = 0; i < GUEST_COUNT; i++) {
		if (strcmp(guests[i].name, name) == 0)
			return &guests[i];
	}
	return NULL;
}

char *guest_names(void)
{
	char *names = cli_copy("");

	for (size_t i = 0; i < GUEST_COUNT; i++) {
		char *longer = cli_format("%s%s%s", names, i ? ", " : "", guests[i].name);

		free(names);
		names = longer;
	}
	return names;
}
