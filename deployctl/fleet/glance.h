/* glance.h - what a host said about itself when it was looked at. */
#ifndef DEPLOYCTL_FLEET_GLANCE_H
#define DEPLOYCTL_FLEET_GLANCE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "deployctl/plan/manifest.h"

struct glance {
    json_t *answer; /* owned; NULL = never answered.  All texts below lie in it */
    const char *current, *digest, *previous; /* NULL = none */
    int64_t highest, epoch, deadline_s;      /* deadline_s -1 = no lease */
    bool healthy, confirmed, overlap;        /* overlap: all instances restart that way */
    bool left_out;                           /* of the traffic, by an agent that is gone */
    bool moving;                             /* a switch or its undoing is under way */
    size_t instances, ready;
    const json_t *rollout, *holder; /* NULL = none */
    const json_t *freeze;           /* NULL = none; it may be over */
};

void glance_take(struct glance *glance, const json_t *answer); /* replaces what was there */
void glance_done(struct glance *glance);
/* The complete release with this digest: its id, or NULL. */
const char *glance_id_of(const struct glance *glance, const char *digest);
/* The complete release with this id: its digest, or NULL. */
const char *glance_digest_of(const struct glance *glance, const char *id);
/* Nothing new is released there just now. */
bool glance_frozen(const struct glance *glance);
/* Why the digest was marked bad on this host, or NULL. */
const char *glance_bad(const struct glance *glance, const char *digest);
bool glance_good(const struct glance *glance, const char *id);
/* All problems and the supervisor's, joined with "; "; "" = none.  Cut to fit. */
const char *glance_problems(const struct glance *glance, char *text, size_t size);
/* What does not keep the host from taking part, 0.. ; NULL = no more. */
const char *glance_warning(const struct glance *glance, size_t index);
/* "3 of 4 instances ready". */
const char *glance_health(const struct glance *glance, char *text, size_t size);

#endif
