/* SPDX-License-Identifier: MIT */
/* Numbers shared by assembly, C and the link script's symbols. */
#ifndef HV_LAYOUT_H
#define HV_LAYOUT_H

#define SELECTOR_CODE64 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_CODE32 0x18
#define SELECTOR_TSS 0x20

#define GUARD_BYTES 4096
#define STACK_BYTES 65536
#define IST_STACK_BYTES 16384

#define MULTIBOOT_BOOT_MAGIC 0x2badb002

#define PORT_COM1 0x3f8
#define PORT_COM2 0x2f8
#define PORT_REPORT 0xe9
#define PORT_TRACE 0xea
#define PORT_DEBUG_EXIT 0xf4

#endif
