/* SPDX-License-Identifier: MIT */
/*
 * linear_oracle.h - what a guest access may do on real hardware, from the guest's own tables.
 *
 * The oracle is told what the guest does: writes to memory, registers, flushes. Asked about an
 * access, it enumerates every answer that a processor could give which has cached as much, and
 * as long, as the manuals allow. A cached path is made of entry values that were in memory
 * since the last flush that covers the address, each read no earlier than the one above it, all
 * with the accessed bit set. An absent or reserved entry is never cached: such a fault needs
 * the entry's present value. A write through a leaf that is not dirty reads that leaf again.
 * Rights are judged by the registers of now. Global leaves outlive CR3, also those that were
 * found through another one.
 *
 * It knows no hypervisor, no shadow table and no host address.
 */
#ifndef SIM_MACHINE_LINEAR_ORACLE_H
#define SIM_MACHINE_LINEAR_ORACLE_H

#include "linear_types.h"

struct linear_oracle;

enum linear_memory {
	LINEAR_RAM,
	LINEAR_ROM,  /* readable; accessed and dirty cannot be set, and need not be */
	LINEAR_HOLE, /* reads as all ones, whatever *value is */
};

/* Read the aligned 8 bytes at @gpa as they are now. */
typedef enum linear_memory linear_read_fn(void *context, sim_gpa_t gpa, uint64_t *value);

/* Return: NULL if the C library is out of memory. All vCPUs start with paging off. */
struct linear_oracle *linear_oracle_new(unsigned vcpu_count, linear_read_fn *read, void *context);
void linear_oracle_free(struct linear_oracle *oracle);

/* Number of events so far: the oracle's clock. */
uint64_t linear_oracle_time(const struct linear_oracle *oracle);

/* ---- what the guest does ---- */

/* Somebody, most often a vCPU, replaced @byte_count (1..8) bytes at @gpa, little endian. Called
 * before or after memory changes, but before the next question. Accessed and dirty bits that a
 * page walk sets are not told. */
void linear_oracle_wrote(struct linear_oracle *oracle, sim_gpa_t gpa, unsigned byte_count,
			 uint64_t old, uint64_t new);
/* The host changed what lies behind [start, end): old values there no longer count, the present
 * ones count as if they had always been there. */
void linear_oracle_forget(struct linear_oracle *oracle, sim_gpa_t start, sim_gpa_t end);

enum linear_event {
	LINEAR_DONE,
	LINEAR_GP, /* the processor refuses with #GP; nothing has changed */
};

/* MOV to CR3. @value: with pcide, bit 63 means that nothing is flushed. PAE: the PDPTEs are
 * read from guest memory now. */
enum linear_event linear_oracle_mov_cr3(struct linear_oracle *oracle, unsigned vcpu,
					uint64_t value);
/* Any change of CR0, CR4, EFER, PKRU and of what CPUID says: flushes what the manual says it
 * does, reads PDPTEs where the manual says so. regs->cr3 and regs->pdpte are not looked at. */
enum linear_event linear_oracle_set_regs(struct linear_oracle *oracle, unsigned vcpu,
					 const struct linear_regs *regs);
/* Read the PDPTEs again for another reason (CR0.CD or CR0.NW changed). No flush. */
enum linear_event linear_oracle_load_pdptes(struct linear_oracle *oracle, unsigned vcpu);
/* Everything at once, as at reset or when state is restored; flushes all, refuses nothing. */
void linear_oracle_reset(struct linear_oracle *oracle, unsigned vcpu,
			 const struct linear_regs *regs);
const struct linear_regs *linear_oracle_regs(const struct linear_oracle *oracle, unsigned vcpu);

enum linear_invpcid {
	LINEAR_INVPCID_ADDRESS = 0, /* one address of one PCID, not global */
	LINEAR_INVPCID_SINGLE = 1,  /* all of one PCID, not global */
	LINEAR_INVPCID_ALL = 2,     /* everything */
	LINEAR_INVPCID_LOCAL = 3,   /* everything but global */
};

void linear_oracle_invlpg(struct linear_oracle *oracle, unsigned vcpu, sim_gva_t gva);
void linear_oracle_invpcid(struct linear_oracle *oracle, unsigned vcpu, enum linear_invpcid type,
			   uint16_t pcid, sim_gva_t gva);
void linear_oracle_flush_all(struct linear_oracle *oracle, unsigned vcpu);
/* The guest has got a #PF for this address: the processor has dropped what it cached for it. */
void linear_oracle_fault_taken(struct linear_oracle *oracle, unsigned vcpu, sim_gva_t gva);

/* ---- what the hardware may answer ---- */

struct linear_query {
	unsigned vcpu;
	struct linear_access access;
	/* 0, or linear_oracle_time() when the access began, if the guest went on in between: any
	 * moment since then counts as now, and A/D bits are not judged. */
	uint64_t begun;
};

/* Bits that the access must leave set, because this path can only have been read just now. */
struct linear_mark {
	sim_gpa_t entry;
	uint32_t bits;
};

/* One right answer. Several may differ in their marks only. */
struct linear_allowed {
	enum linear_outcome outcome;
	uint32_t error;              /* LINEAR_FAULT */
	sim_gpa_t gpa;               /* LINEAR_OK: of the byte accessed */
	uint64_t page_bytes;         /* LINEAR_OK: size of the guest's page; 0 if paging is off */
	struct linear_rights rights; /* LINEAR_OK */
	sim_gpa_t leaf;              /* LINEAR_OK, page_bytes > 0: where the leaf entry is */
	bool is_present_truth;       /* made of present values alone */
	unsigned mark_count;
	struct linear_mark mark[5];
};

struct linear_answers {
	size_t count;
	const struct linear_allowed *item;
	bool is_partial; /* too many to count: linear_oracle_allows() says yes to everything */
};

/* The whole set, asked for before the access. Valid until the next question or event. */
struct linear_answers linear_oracle_expect(struct linear_oracle *oracle,
					   const struct linear_query *query);

struct linear_answer {
	enum linear_outcome outcome;
	uint32_t error;
	sim_gpa_t gpa;
	uint64_t page_bytes; /* 0: do not compare */
	bool ignore_marks;   /* do not look at A/D bits in guest memory */
};

/*
 * Is this a right answer to the last question? Asked after the access: the guest's entries on
 * all paths are read again. Bits that one of the fitting answers must leave set are set; a
 * clear accessed bit may have become set in any present, legal entry; dirty only in the leaf of
 * a write that came through; nothing else has changed. @why, may be NULL: a sentence if not.
 */
bool linear_oracle_allows(struct linear_oracle *oracle, const struct linear_answer *answer,
			  char *why, size_t why_bytes);

/* For reports: words with a past, and past values kept in all of them. */
size_t linear_oracle_word_count(const struct linear_oracle *oracle);
size_t linear_oracle_value_count(const struct linear_oracle *oracle);

#endif
