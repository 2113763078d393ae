/* SPDX-License-Identifier: MIT */
/*
 * Host invalidation against faults (src/api/invalidate.c, src/fault/fault.c): two hosts' threads
 * take the page away one after another or at once; a vCPU looks it up without a lock and installs
 * what it found under the shared lock.
 *
 * A page is a number; what the host gave back is below `oldest`.
 *
 * -DNO_SEQUENCE: the sequence number is not compared
 * -DNO_ACTIVE:   ranges under way are not looked at
 * -DEND_ENDS_ALL: the end of one invalidation ends both
 * -DSEQUENCE_LATE: the fault reads the sequence number after the page
 */
byte page = 1, oldest = 1; /* the host's page now; pages below oldest are somebody else's */
byte mapped = 0;           /* 0: no entry */
byte sequence = 0, under_way = 0;
bool lock = false, memory = false;

#define ACQUIRE atomic { !lock -> lock = true }
#define RELEASE lock = false

active [2] proctype host()
{
	ACQUIRE;
	under_way++;
	mapped = 0;
	RELEASE;
	/* begin has returned: nothing refers to the page */
	atomic { !memory -> memory = true };
	assert(mapped == 0 || mapped >= oldest);
	page++;
	oldest = page;
	assert(mapped == 0 || mapped >= oldest);
	memory = false;
	ACQUIRE;
	sequence++;
#ifdef END_ENDS_ALL
	under_way = 0;
#else
	under_way--;
#endif
	RELEASE
}

active proctype vcpu()
{
	byte s, p, turn = 0;

	do
	:: turn < 2 ->
#ifdef SEQUENCE_LATE
		p = page;
		s = sequence;
#else
		s = sequence;
		p = page;
#endif
		ACQUIRE;
		if
#ifndef NO_SEQUENCE
		:: s != sequence -> skip
#endif
#ifndef NO_ACTIVE
		:: under_way > 0 -> skip
#endif
		:: else -> mapped = p; assert(mapped >= oldest)
		fi;
		RELEASE;
		turn++
	:: else -> break
	od
}
