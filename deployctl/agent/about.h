/* about.h - .deploy/about/ID: what is known of a release besides its contents.
 *
 * A JSON object: "app" and "signature" (wire/sign.h), "irreversible": a text (what cannot be
 * undone), "message", "who", "hooks": {name: command} that it was released with.  It comes with
 * `stage` and goes with the release, except that one with "irreversible" stays while releases
 * older than it are here.  Nothing of it is proof but what the signature covers.
 */
#ifndef DEPLOYCTL_AGENT_ABOUT_H
#define DEPLOYCTL_AGENT_ABOUT_H

#include <jansson.h>

#include "base/err.h"
#include "deployctl/agent/host.h"

enum { ABOUT_BYTES_MAX = 16 * 1024 };

/* New reference; NULL when nothing is known, or it is damaged. */
json_t *about_read(const struct host *host, const char *id);
/* Checks and writes durably; members that are there already and not in `about` stay.  NULL = {}. */
int about_write(const struct host *host, const char *id, const json_t *about, struct err *err);
/* ERR_LIMIT, ERR_PROTOCOL: not what about_write takes. */
int about_valid(const json_t *about, struct err *err);
/* Removes what belongs to no release that is here, as said above. */
void about_clean(const struct host *host, const struct host_releases *list);
/* [{"id","irreversible"}...] of releases here and of those that are gone; a new array. */
json_t *about_irreversible(const struct host *host);

#endif
