/*
 * sc_fault.h -- named points where a test build fails or dies on purpose.
 *
 * In the shipped program SC_FAULT(name) is always 0 and SC_STEP(name) is
 * nothing.  In fcgi-sidecar-faults, which make check builds, the variable
 * SIDECAR_FAULT chooses, as [ARM>]POINT:COUNT:ACTION separated by commas, the
 * COUNTth pass (1 is the first) of a point, counted from the first pass of the
 * point ARM on; ACTION is kill (SIGKILL of the own process), stop (SIGSTOP), a time
 * (2s: this thread waits so long, and goes on) or the name of an errno (EIO, ENOSPC, ENOMEM,
 * EBUSY, EINVAL, ECONNRESET, ETIMEDOUT).  Several for one pass happen one after the other.  A POINT
 * "*" counts all of them, so that a test can walk through every step of a hand-over.
 */
#ifndef SC_FAULT_H
#define SC_FAULT_H

#ifdef SC_FAULTS
/* 1 with errno set when this pass is to fail; does not return when it is to die. */
int sc_fault_hit(const char *point);
#define SC_FAULT(point) sc_fault_hit(point)
#define SC_STEP(point)  ((void)sc_fault_hit(point))
#else
#define SC_FAULT(point) ((void)(point), 0)
#define SC_STEP(point)  ((void)0)
#endif

#endif /* SC_FAULT_H */
