/* spread.h - when things that repeat come round, so that a thousand do not do it at the same time.
 *
 * Each has a number and thereby a phase within its period.  Any run of numbers, also with the same
 * step between them, fills the period evenly (multiples of the golden ratio), and nothing has to
 * be remembered: a new core finds the same phases.  There are SPREAD_PHASES in a period: to be
 * woken up costs more than most of what is done then, so those of one phase share it.
 */
#ifndef SUPERVISOR_MACHINE_SPREAD_H
#define SUPERVISOR_MACHINE_SPREAD_H

#include <stdint.h>

enum { SPREAD_BITS = 7, SPREAD_PHASES = 1 << SPREAD_BITS };

/* 0 to period_ms - 1. */
int64_t spread_phase(uint32_t number, int64_t period_ms);
/* The first time after `after_ms` that has the phase; at most a period later. */
int64_t spread_next(uint32_t number, int64_t period_ms, int64_t after_ms);

#endif
