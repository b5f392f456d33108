/* driver.h - takes one order of the operator through the fleet: rollout's acts over sessions.
 *
 * The driver owns the connections; plan/rollout decides.  What happens is told as news while it
 * happens; when driver_run returns, the outcome and what each host said can be read.
 */
#ifndef DEPLOYCTL_FLEET_DRIVER_H
#define DEPLOYCTL_FLEET_DRIVER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "deployctl/fleet/glance.h"
#include "deployctl/fleet/opened.h"
#include "deployctl/plan/recipe.h"
#include "deployctl/plan/rollout.h"

enum driver_verb {
    DRIVER_RELEASE,
    DRIVER_PLAN,
    DRIVER_STATUS,
    DRIVER_HISTORY,
    DRIVER_VERIFY,
    DRIVER_DIFF,
    DRIVER_ROLLBACK,
    DRIVER_PROMOTE,
    DRIVER_RESUME,
    DRIVER_ABORT,
    DRIVER_PAUSE,
    DRIVER_FREEZE,
    DRIVER_UNFREEZE,
};
struct driver_order {
    enum driver_verb verb;
    const char *source;       /* folder, for RELEASE, PLAN and RESUME */
    const char *signing_key;  /* its file; NULL = releases are not signed */
    const char *irreversible; /* RELEASE: what of it cannot be undone; NULL = nothing */
    bool stage;               /* ROLLBACK: send the release to hosts that do not have it any more */
    const char *message;      /* or NULL */
    const char *to;           /* ROLLBACK: id, beginning of one, number or digest; NULL = choose.
                               * VERIFY: the same; NULL = what each host runs */
    const char *from;  /* DIFF: as `to`, which is NULL for SOURCE; NULL = what the fleet runs */
    int64_t listed;    /* DIFF: how many rows */
    const char *who;   /* "ann@laptop" */
    bool despite, yes; /* yes: ask nothing */
    bool despite_freeze;
    const char *freeze_reason, *freeze_until; /* FREEZE; until: RFC 3339, NULL = open end */
    bool partial;                             /* the recipe's hosts are only a part of the fleet */
    bool hold, now;
    bool limits_given;               /* the operator named a canary or batch on the command line */
    const char *canary_hosts;        /* pattern; NULL = the first ones */
    struct unit_share canary, batch; /* as they are to be used */
    int64_t bake_ms, history_lines;
};

enum driver_news_kind {
    DRIVER_NEWS_STAGE,   /* word: the stage's name; text: what it means */
    DRIVER_NEWS_HOST,    /* host, word: its state, text: what happened */
    DRIVER_NEWS_BYTES,   /* host, done, total */
    DRIVER_NEWS_BAKE,    /* done, total: milliseconds */
    DRIVER_NEWS_VERDICT, /* word: good, bad, open; text: the counts; numbers: all of them */
    DRIVER_NEWS_HEALTH,  /* host, done: instances that are ready, total: all; only changes */
    DRIVER_NEWS_TICK,    /* nothing new; soon after news, and each second */
    DRIVER_NEWS_NOTE,
    DRIVER_NEWS_WARNING,
    DRIVER_NEWS_ERROR,    /* the thing, the cause, the remedy */
    DRIVER_NEWS_QUESTION, /* answered with driver_answer */
};
struct driver_news {
    enum driver_news_kind kind;
    const char *host, *word, *text; /* may be NULL */
    int64_t at_ms;                  /* since the beginning */
    uint64_t done, total;
    const json_t *numbers; /* NULL = none */
};
struct driver;
typedef void driver_news_fn(void *context, const struct driver_news *news);

/* Everything passed in must outlive the driver. */
struct driver *driver_new(const struct recipe *recipe, const struct driver_order *order,
                          driver_news_fn *news, void *context, struct err *err);
void driver_free(struct driver *driver);
/* Returns CONTRACT.md's exit code. */
int driver_run(struct driver *driver);
void driver_answer(struct driver *driver, bool yes);

/* What is known, during and after the run. */
const struct rollout *driver_rollout(const struct driver *driver);
struct driver_view {
    const struct recipe_host *spec;
    const struct glance *glance;     /* glance->answer NULL: it was not reached */
    const struct rollout_host *host; /* its part in the rollout */
    const char *error;               /* why it could not do something; "" = nothing */
    bool lacks_agent;                /* the login worked, and there is no deployctl */
    int64_t skew_ms;                 /* its clock less ours */
    const json_t *history;           /* HISTORY: its lines, newest first; NULL = none */
    int64_t damaged;
    const json_t
        *found; /* VERIFY, DIFF, FREEZE: its answer (proto.h); NULL = none, error may say why */
    uint64_t bytes_sent;
    uint64_t probes;          /* seen by its gates since it switched */
    const char *sample_error; /* why its counts cannot be read; "" = nothing */
};
struct driver_view driver_view(const struct driver *driver, size_t host);
/* {name: command} of the hooks that run on hosts; new reference. */
json_t *driver_hooks(const struct recipe *recipe);
size_t driver_count(const struct driver *driver);
bool driver_refused(const struct driver *driver); /* the order was not begun; news told why */
const char *driver_release_id(const struct driver *driver);          /* "" = not decided */
const char *driver_release_digest(const struct driver *driver);      /* "" = not decided */
const struct opened *driver_opened(const struct driver *driver);     /* NULL = no open rollout */
const struct manifest *driver_manifest(const struct driver *driver); /* NULL = no source */
/* What counts said of the canary; NULL: there are none, the gates decide alone. */
const struct verdict *driver_verdict(const struct driver *driver);
json_t *driver_verdict_numbers(const struct driver *driver); /* new reference */
const struct evidence *driver_evidence(const struct driver *driver);
int64_t driver_elapsed_ms(const struct driver *driver);
/* Milliseconds a release with these limits should take when `switch_ms` is what a host needs. */
int64_t driver_predict_ms(const struct driver *driver, int64_t switch_ms);

#endif
