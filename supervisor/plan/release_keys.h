/* release_keys.h - what a release may say about the service that runs it, and what it may not.
 *
 * A release comes from whoever may release; the host's own files come from whoever may administer
 * the host.  So a release brings what belongs to its code (what is started, with which variables,
 * how it shows that it is well, how long that takes, in how many processes), and never what gives
 * it rights, takes limits or a sandbox away, or has the supervisor itself open or run something.
 * Pure.
 */
#ifndef SUPERVISOR_PLAN_RELEASE_KEYS_H
#define SUPERVISOR_PLAN_RELEASE_KEYS_H

#include "base/err.h"

enum { RELEASE_KEYS_FILE_MAX = 64 * 1024 /* bytes of a release's service file */ };

/* Why a release may not set this key of [service:NAME] ("with which rights it runs is ..."); NULL =
 * it may, or there is no such key. */
const char *release_keys_refusal(const char *key);
/* Whether a release may give a key that it may set this value.  0 or ERR_INVALID. */
int release_keys_value(const char *key, const char *value, struct err *err);
/* Whether `name` (a release_config, with or without its leading -) names a file inside of a
 * release.  0 or ERR_INVALID. */
int release_keys_name(const char *name, struct err *err);

#endif
