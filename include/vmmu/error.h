/* SPDX-License-Identifier: MIT */
/*
 * Errors: the caller's or the host's doing. Whatever returned one has changed nothing,
 * unless its contract says otherwise. Outcomes of faults are not errors: see fault.h.
 */
#ifndef VMMU_ERROR_H
#define VMMU_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/* One list: the enum, vmmu_error_text() and the table in docs/porting.md come from it. */
#define VMMU_ERRORS(X)                                                                             \
	X(OK, 0, "done")                                                                           \
	X(ENOMEM, 1, "the port gave no page; nothing changed, make room and call again")           \
	X(EINVAL, 2, "an argument breaks a rule of the call's contract")                           \
	X(EEXIST, 3, "the frames or the slot number are taken")                                    \
	X(ENOENT, 4, "there is no such slot or tracker, or no slot at that frame")                 \
	X(ERANGE, 5, "a frame lies beyond what the VM's tables can map")                           \
	X(EAGAIN, 6, "the VM changed meanwhile; call again")                                       \
	X(EBUSY, 7, "still in use: there are vCPUs or tracking clients")                           \
	X(EHOST, 8, "the host could not provide the guest's page")                                 \
	X(ELIMIT, 9, "a fixed limit is reached (vCPUs of a VM, tracking)")                         \
	X(EDEAD, 10, "an internal check failed; this VM can only be destroyed")

enum vmmu_error {
#define VMMU_ERROR_ENUM(name, code, text) VMMU_##name = -(code),
	VMMU_ERRORS(VMMU_ERROR_ENUM)
#undef VMMU_ERROR_ENUM
};

/**
 * vmmu_error_text() - the sentence that belongs to an error.
 * @error: any value of the enum.
 *
 * Context: any. Return: a constant string, never NULL ("unknown error" for other values).
 */
const char *vmmu_error_text(enum vmmu_error error);

#ifdef __cplusplus
}
#endif

#endif
