/* rotate.h - the steps of a rotation, planned without a file system.
 *
 * PATH.1 is the newest old file.  Each step may be done again after a crash as long as the steps
 * before it are not: a step's number is committed before it begins, and the next number after it is
 * done.  A file may be there compressed (".zst"), uncompressed, or not at all; the performer tries
 * both names.
 */
#ifndef SUPERVISOR_LOGGER_ROTATE_H
#define SUPERVISOR_LOGGER_ROTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ROTATE_BACKUPS_MAX = 100000, ROTATE_FIRST = 1 };

enum rotate_act {
    ROTATE_DROP,     /* remove number `from`, both names */
    ROTATE_MOVE,     /* rename number `from` to `to`; a missing one is fine (it was moved before) */
    ROTATE_TRUNCATE, /* no backups: empty the file itself */
    ROTATE_OPEN,     /* the file itself is gone: begin a new one; the rotation is over */
};
struct rotate_step {
    enum rotate_act act;
    uint32_t from, to; /* 0 = the file itself */
};

/* The step to begin with, when `gap` is the lowest number under which nothing lies: older files
 * need not move. */
uint32_t rotate_start(uint32_t backups, uint32_t gap);
/* What step number `step` (from ROTATE_FIRST) of a rotation with so many backups is.  After
 * ROTATE_OPEN or ROTATE_TRUNCATE there is no further step. */
struct rotate_step rotate_plan(uint32_t step, uint32_t backups);

/* "PATH", "PATH.N" or, compressed, "PATH.N.zst"; false if it does not fit. */
bool rotate_name(char *name, size_t size, const char *path, uint32_t number, const char *suffix);

/* Rotation by age: in which period of `age_s` seconds a moment lies, in local time (`east_s`:
 * seconds east of Greenwich), so that days begin at midnight and weeks on Monday; and when it ends.
 */
int64_t rotate_period(int64_t wall_s, int64_t east_s, int64_t age_s);
int64_t rotate_period_end(int64_t period, int64_t east_s, int64_t age_s);

#endif
