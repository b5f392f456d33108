/* options.h - every key of every section, one row each. */
#ifndef SUPERVISOR_PLAN_OPTIONS_H
#define SUPERVISOR_PLAN_OPTIONS_H

#include "base/opt.h"

enum {
    OPTIONS_LIVE = 1 << 0,        /* a change applies to what runs, at once */
    OPTIONS_PER_RELEASE = 1 << 1, /* may be set by release_config */
    OPTIONS_INSTANCE = 1 << 2,    /* kept as written, %(...)s is filled in for each instance */
    OPTIONS_PATTERNS = 1 << 3,    /* file name patterns, filled in where the files are read */
};

extern const struct opt_table options_supervisor;
extern const struct opt_table options_service; /* [service:]; also the rows of [program:] */
extern const struct opt_table options_socket;
extern const struct opt_table options_group;
extern const struct opt_table options_include;
/* All of the above, NULL-terminated, for listings. */
extern const struct opt_table *const options_all[];

/* The default of a [program:] key where it differs from [service:], else NULL. */
const char *options_program_initial(const char *key);
/* A key of supervisord that means nothing here yet ("stdout_capture_maxbytes"): what to say, or
 * NULL if it is not such a key. */
const char *options_supervisord_only(const char *section, const char *key);

/* A key of a later version ("seccomp"): true means that it must be refused as "not supported by
 * this version yet". */
bool options_not_yet(const char *key);

#endif
