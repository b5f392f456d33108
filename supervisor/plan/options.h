/* options.h - every key of every section, one row each. */
#ifndef SUPERVISOR_PLAN_OPTIONS_H
#define SUPERVISOR_PLAN_OPTIONS_H

#include "base/opt.h"

enum {
    /* What a change takes.  None of the three: a restart, because a process is started with it. */
    OPTIONS_LIVE = 1 << 0,   /* it applies to what runs, at once */
    OPTIONS_TUNED = 1 << 4,  /* the same where we may change the limits of others, else a restart */
    OPTIONS_PARTLY = 1 << 5, /* live but for some values, see plan_value_fixed() */

    OPTIONS_PER_RELEASE = 1 << 1, /* may be set by a release, see release_keys.h */
    OPTIONS_INSTANCE = 1 << 2,    /* kept as written, %(...)s is filled in for each instance */
    OPTIONS_PATTERNS = 1 << 3,    /* file name patterns, filled in where the files are read */
    OPTIONS_DERIVED = 1 << 6,     /* its value may change without its text */
};

extern const struct opt_table options_supervisor;
extern const struct opt_table options_service; /* [service:]; also the rows of [program:] */
extern const struct opt_table options_socket;
extern const struct opt_table options_group;
extern const struct opt_table options_include;
extern const struct opt_table options_access;
/* All of the above, NULL-terminated, for listings. */
extern const struct opt_table *const options_all[];

/* The default of a [program:] key where it differs from [service:], else NULL. */
const char *options_program_initial(const char *key);
/* What a reload does when a key of options_service changes: "It is applied to what runs." */
const char *options_takes(const struct opt *row);
/* A key of supervisord that means nothing here yet ("stdout_capture_maxbytes"): what to say, or
 * NULL if it is not such a key. */
const char *options_supervisord_only(const char *section, const char *key);

#endif
