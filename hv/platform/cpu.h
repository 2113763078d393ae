/* SPDX-License-Identifier: MIT */
/*
 * Instructions as inline functions: ports, control registers, MSRs, CPUID, TSC.
 * No state and no policy; what can fault safely is in platform.h.
 */
#ifndef HV_CPU_H
#define HV_CPU_H

#include <stddef.h>
#include <stdint.h>

/* Control register and EFER bits that the platform itself uses. */
#define CR0_PE (UINT64_C(1) << 0)
#define CR0_WP (UINT64_C(1) << 16)
#define CR0_CD (UINT64_C(1) << 30)
#define CR0_PG (UINT64_C(1) << 31)
#define CR4_PSE (UINT64_C(1) << 4)
#define CR4_PAE (UINT64_C(1) << 5)
#define CR4_MCE (UINT64_C(1) << 6)
#define CR4_PGE (UINT64_C(1) << 7)
#define CR4_LA57 (UINT64_C(1) << 12)
#define CR4_PCIDE (UINT64_C(1) << 17)
#define CR4_SMEP (UINT64_C(1) << 20)
#define CR4_SMAP (UINT64_C(1) << 21)
#define CR4_PKE (UINT64_C(1) << 22)

#define EFER_LME (UINT64_C(1) << 8)
#define EFER_LMA (UINT64_C(1) << 10)
#define EFER_NXE (UINT64_C(1) << 11)
#define EFER_SVME (UINT64_C(1) << 12)

#define MSR_PAT 0x00000277u
#define MSR_EFER 0xc0000080u
#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u
#define MSR_VM_CR 0xc0010114u
#define MSR_VM_HSAVE_PA 0xc0010117u

#define VM_CR_SVMDIS (UINT64_C(1) << 4)

static inline void io_out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void io_out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void io_out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t io_in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint16_t io_in16(uint16_t port)
{
	uint16_t value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint32_t io_in32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

/* @bytes bytes to one port. */
static inline void io_out8_many(uint16_t port, const void *data, size_t bytes)
{
	__asm__ volatile("rep outsb" : "+S"(data), "+c"(bytes) : "d"(port) : "memory");
}

static inline uint64_t cr0_read(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr0, %0" : "=r"(value) : : "memory");
	return value;
}

static inline void cr0_write(uint64_t value)
{
	__asm__ volatile("movq %0, %%cr0" : : "r"(value) : "memory");
}

static inline uint64_t cr2_read(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr2, %0" : "=r"(value) : : "memory");
	return value;
}

static inline void cr2_write(uint64_t value)
{
	__asm__ volatile("movq %0, %%cr2" : : "r"(value) : "memory");
}

static inline uint64_t cr3_read(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr3, %0" : "=r"(value) : : "memory");
	return value;
}

static inline void cr3_write(uint64_t value)
{
	__asm__ volatile("movq %0, %%cr3" : : "r"(value) : "memory");
}

static inline uint64_t cr4_read(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr4, %0" : "=r"(value) : : "memory");
	return value;
}

/* Never probe bits here: QEMU answers a reserved one with a bogus #VMEXIT, not #GP. */
static inline void cr4_write(uint64_t value)
{
	__asm__ volatile("movq %0, %%cr4" : : "r"(value) : "memory");
}

static inline uint64_t cr8_read(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr8, %0" : "=r"(value) : : "memory");
	return value;
}

/* An MSR known to exist; otherwise rdmsr_safe(). */
static inline uint64_t msr_read(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
	return (uint64_t)high << 32 | low;
}

static inline void msr_write(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			 : "memory");
}

struct cpuid_regs {
	uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid_regs cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_regs regs;

	__asm__ volatile("cpuid"
			 : "=a"(regs.eax), "=b"(regs.ebx), "=c"(regs.ecx), "=d"(regs.edx)
			 : "a"(leaf), "c"(subleaf));
	return regs;
}

/* Under -icount shift=0 one tick is one instruction. Not ordered against its neighbours. */
static inline uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

/* For every turn of every spin loop: under icount the other CPUs run only then. */
static inline void cpu_relax(void)
{
	__asm__ volatile("pause" : : : "memory");
}

static inline void invlpg(const void *address)
{
	__asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

#endif
