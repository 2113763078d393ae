/* SPDX-License-Identifier: MIT */
/*
 * Epochs against retire (src/base/epoch.c, src/page/table.c): two readers, one of them a vCPU, the
 * other counted; a thread that unlinks a table, retires it and frees it when the epoch is two
 * further. Anybody moves the epoch on.
 *
 * -DHASTY: freed after one move
 * -DBLIND: the epoch moves on without a look at the readers
 *
 * That a counted reader looks again whether the epoch has moved is not needed for this: of two moves
 * one meets its counter, whichever that is. It keeps the reader from being in the way for long.
 */
byte epoch = 1;
byte in = 0;             /* the vCPU's word */
byte outside[2] = 0;     /* counted readers by parity */
bool linked = true, freed = false;
bool advancing = false;

#ifdef HASTY
#define PAST(when) (epoch >= when + 1)
#else
#define PAST(when) (epoch >= when + 2)
#endif

proctype vcpu()
{
	byte e;
	bool holds;

	e = epoch;
	in = e; /* a swap: before every load of the section */
	holds = linked;
	assert(!(holds && freed));
	assert(!(holds && freed));
	in = 0
}

proctype counted()
{
	byte e;
	bool holds;

again:	e = epoch;
	outside[e % 2]++;
	if
	:: epoch != e -> outside[e % 2]--; goto again
	:: else
	fi;
	holds = linked;
	assert(!(holds && freed));
	assert(!(holds && freed));
	outside[e % 2]--
}

/* vmmu_epoch_try_advance(), under its lock; the looks are not at one moment. */
inline try_advance()
{
	atomic { !advancing -> advancing = true };
	now = epoch;
#ifdef BLIND
	epoch = now + 1
#else
	if
	:: outside[(now + 1) % 2] == 0 ->
		if
		:: (in == 0 || in == now) -> epoch = now + 1
		:: else
		fi
	:: else
	fi
#endif
	;
	advancing = false
}

/* Somebody else who happens to collect. */
active proctype other()
{
	byte now, tries = 0;

	do
	:: tries < 1 -> try_advance(); tries++
	:: tries == 1 -> break
	od
}

active proctype writer()
{
	byte when, now, tries = 0;

	run vcpu();
	run counted();
	linked = false;
	when = epoch;
	do
	:: PAST(when) -> freed = true; break
	:: !PAST(when) && tries < 5 -> try_advance(); tries++
	:: tries == 5 -> break
	od
}
