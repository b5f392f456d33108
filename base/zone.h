/* zone.h - time zones as plain data: how far local time is from UTC, and until when.
 *
 * libc has one zone per process, taken from the environment; services may each be in their own.
 * Reads the files of the zone database (RFC 8536, version 1 to 4) with the rule at their end, and
 * the POSIX notation ("CET-1CEST,M3.5.0,M10.5.0/3").  Nothing is cached: a zone is what its file
 * said when it was opened.
 */
#ifndef BASE_ZONE_H
#define BASE_ZONE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { ZONE_NAME_MAX = 64, ZONE_BYTES_MAX = 256 * 1024 };

struct zone;

/* "UTC"; "local" (TZ in the environment, else /etc/localtime, else UTC); or a name of the zone
 * database ("Europe/Berlin").  NULL with err: ERR_NOT_FOUND when there is no such zone,
 * ERR_CORRUPT, ERR_MEMORY, or what reading it said. */
struct zone *zone_open(const char *name, struct err *err);
/* From the bytes of a file, or from a rule.  Any bytes will do: what is wrong is ERR_CORRUPT or
 * ERR_INVALID. */
struct zone *zone_parse(const void *data, size_t len, struct err *err);
struct zone *zone_parse_rule(const char *text, struct err *err);
void zone_free(struct zone *zone);

/* Whether a name is one that could be looked up: no path out of the database. */
int zone_check_name(const char *name, struct err *err);

/* Seconds east of Greenwich at this second since 1970, and the first second at which that may be
 * another (INT64_MAX = never).  NULL is UTC. */
int64_t zone_offset(const struct zone *zone, int64_t utc_s, int64_t *ret_until_s);

#endif
