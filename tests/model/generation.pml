/* SPDX-License-Identifier: MIT */
/*
 * Slot generations against remembered device frames (src/fault/fault.c, src/api/slot_change.c): a
 * slot is created over a frame that was a device. A vCPU faults on it, may remember it as a device
 * with the generation it saw, and believes that later only under the same generation.
 *
 * Generation: the set's number times 2, plus 1 while the change is in progress.
 *
 * -DNUMBER_FIRST: the generation is stored before its set
 * -DBELIEVE: what is remembered is believed under any generation
 */
byte set = 0;          /* 0: a device; 1: memory */
byte generation = 2;
bool lock = false;     /* the mmu lock */
bool created = false;  /* the call has returned */
byte remembered = 0;   /* generation of the vCPU's cache, 0: empty */

#define ACQUIRE atomic { !lock -> lock = true }
#define RELEASE lock = false

active proctype vcpu()
{
	byte turn = 0, number;
	bool began_after;

	do
	:: turn < 3 ->
		began_after = created;
#ifdef BELIEVE
		if
		:: remembered != 0 -> assert(!began_after); goto next
		:: else
		fi;
#else
		if
		:: remembered != 0 && remembered == generation -> assert(!began_after); goto next
		:: else
		fi;
#endif
		number = generation; /* before the set */
		if
		:: set == 1 -> goto next
		:: else
		fi;
		/* no slot: a device */
		assert(!began_after);
		if
		:: number % 2 == 0 -> remembered = number
		:: else
		fi;
next:		turn++
	:: else -> break
	od
}

active proctype create()
{
	ACQUIRE;
#ifdef NUMBER_FIRST
	generation = 4;
	set = 1;
#else
	set = 1;
	generation = 5; /* in progress */
	/* what the old set allowed is withdrawn */
	generation = 4;
#endif
	RELEASE;
	created = true
}
