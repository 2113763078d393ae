/* SPDX-License-Identifier: MIT */
/*
 * Enter against withdraw (src/flush/debt.c, vmmu_vcpu_enter()): a vCPU on its way in, and a thread
 * that withdraws a translation which the vCPU's CPU has cached. Store buffers stand for what
 * relaxed stores would allow: the protocol's stores are full barriers, so they are drained.
 *
 * -DSTAMP_EARLY: the stamp is read before in_guest is set
 * -DNO_BARRIER:  in_guest is stored without a barrier: the load of the stamp may pass it
 * -DNO_STAMP:    the stamp is not counted up
 */
byte stamp = 0, seen = 0;
bool in_guest = false, buffered = false; /* buffered: the store waits in the vCPU's buffer */
bool cached = true;                      /* the CPU may use the old translation */
bool gone = false;                       /* the page has been given away */

#ifdef NO_BARRIER
#define SET_IN_GUEST buffered = true
#else
#define SET_IN_GUEST in_guest = true
#endif

active proctype vcpu()
{
	byte now, turn = 0;

	do
	:: turn < 2 ->
#ifdef STAMP_EARLY
		now = stamp;
		SET_IN_GUEST;
#else
		SET_IN_GUEST;
		now = stamp;
#endif
		if
		:: now != seen -> cached = false; seen = now
		:: else
		fi;
		/* The guest runs, with interrupts on. */
		atomic { assert(!(cached && gone)) };
		buffered = false;
		in_guest = false;
		turn++
	:: else -> break
	od
}

/* The buffer drains whenever it likes. */
active proctype buffer()
{
end:	do
	:: atomic { buffered -> buffered = false; in_guest = true }
	od
}

active proctype withdraw()
{
	/* the entry is changed by now */
#ifndef NO_STAMP
	stamp++;
#endif
	if
	:: in_guest -> cached = false /* tlb_flush: the interrupt is acknowledged */
	:: else
	fi;
	gone = true
}
