/* driver_rollback.c - which release a rollback goes to, and whether it may. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deployctl/fleet/driver_inside.h"
#include "io/jsonx.h"

/* The release most hosts run. */
const char *driver_decide_fleets(const struct driver *driver)
{
    const char *best = NULL;
    size_t most = 0;
    for (size_t i = 0; i < driver->count; i++) {
        const char *id = driver->hosts[i].glance.current;
        size_t n = 0;
        for (size_t k = 0; id && k < driver->count; k++) {
            const char *other = driver->hosts[k].glance.current;
            n += other && strcmp(other, id) == 0;
        }
        if (n > most) {
            most = n;
            best = id;
        }
    }
    return best;
}

/* The same contents on every reachable host, or with `any` on all that have it. */
static bool on_hosts(const struct driver *driver, const char *id, bool any, bool *ret_good)
{
    bool good = false;
    const char *digest = NULL;
    for (size_t i = 0; i < driver->count; i++) {
        const struct glance *glance = &driver->hosts[i].glance;
        if (!driver_decide_reached(driver, i))
            continue;
        const char *here = glance_digest_of(glance, id);
        if (!here && any)
            continue;
        if (!here || (digest && strcmp(here, digest) != 0))
            return false;
        digest = here;
        good = good || glance_good(glance, id);
    }
    for (size_t i = 0; digest && i < driver->count; i++)
        if (driver->hosts[i].once && glance_bad(&driver->hosts[i].glance, digest))
            good = false;
    *ret_good = good;
    return digest != NULL;
}

bool driver_named_so(const char *id, const char *wanted)
{
    uint64_t number;
    char *end;
    if (strncmp(id, wanted, strlen(wanted)) == 0)
        return true;
    const char *dash = strchr(id, '-');
    if (dash && strlen(wanted) >= 4 && strncmp(dash + 1, wanted, strlen(wanted)) == 0)
        return true;
    unsigned long long asked = strtoull(wanted, &end, 10);
    return *end == '\0' && manifest_id_parse(id, &number) && number == asked;
}

/* The newest release that fits: good, not what runs, on every reachable host; with --to the one
 * that is named, good or not, and with --stage one that any of them has. */
static bool choose_target(struct driver *driver, const char *current)
{
    uint64_t best = 0, number;
    const char *to = driver->order.to;
    for (size_t i = 0; i < driver->count; i++) {
        const json_t *releases = json_object_get(driver->hosts[i].glance.answer, "releases");
        const json_t *release;
        size_t k;
        json_array_foreach((json_t *)releases, k, release)
        {
            const char *id = jsonx_text(release, "id", "");
            bool good;
            if (!manifest_id_parse(id, &number) || number < best ||
                !on_hosts(driver, id, driver->order.stage, &good))
                continue;
            bool fits =
                to ? driver_named_so(id, to) : good && (!current || strcmp(id, current) != 0);
            if (!fits)
                continue;
            best = number;
            snprintf(driver->id, sizeof driver->id, "%s", id);
            snprintf(driver->digest, sizeof driver->digest, "%s",
                     jsonx_text(release, "digest", ""));
        }
    }
    return driver->id[0] != '\0';
}

static void list_candidates(struct driver *driver)
{
    for (size_t i = 0; i < driver->count; i++) {
        const json_t *releases = json_object_get(driver->hosts[i].glance.answer, "releases");
        const json_t *release;
        char text[512] = "";
        size_t k, len = 0;
        json_array_foreach((json_t *)releases, k, release)
        {
            if (len < sizeof text)
                len += (size_t)snprintf(text + len, sizeof text - len, "%s%s%s", len ? ", " : "",
                                        jsonx_text(release, "id", "?"),
                                        jsonx_bool(release, "bad", false)    ? " (bad)"
                                        : jsonx_bool(release, "good", false) ? " (good)"
                                                                             : "");
        }
        driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL, "%s has %s", driver->hosts[i].spec->name,
                    len ? text : "no release");
    }
}

/* --stage: hosts that lack the release get it from SOURCE, which must be that very release.  False:
 * it is still being read, or it is another, which has been told. */
static bool source_fits(struct driver *driver)
{
    const char *lacks = NULL;
    char text[DRIVER_SAY_MAX];
    for (size_t i = 0; i < driver->count && !lacks; i++)
        if (driver_decide_reached(driver, i) &&
            !glance_digest_of(&driver->hosts[i].glance, driver->id))
            lacks = driver->hosts[i].spec->name;
    if (lacks && driver->source && !driver->source_done)
        return false;
    bool read = driver->source && driver->source_done && !driver->source_failed;
    driver->rollout.limits.stage_first = lacks != NULL;
    if (lacks && read && strcmp(source_digest(driver->source), driver->digest) == 0)
        return true;
    if (!lacks) {
        source_free(driver->source); /* else it would be sent */
        driver->source = NULL;
        return true;
    }
    snprintf(text, sizeof text,
             "%s does not have %s any more, and SOURCE (%s) %s%.200s; check out what it was made "
             "of and name it: deployctl rollback --to %s --stage SOURCE",
             lacks, driver->id, driver->order.source ? driver->order.source : "not named",
             driver->source_failed ? "cannot be read: " : "is not it: its digest is ",
             driver->source_failed ? driver->source_err.text
             : read                ? source_digest(driver->source)
                                   : "not known",
             driver->id);
    driver_decide_fault(driver, ROLLOUT_CONFIG, text);
    return false;
}

void driver_decide_rollback(struct driver *driver)
{
    char question[256];
    struct err err = { 0 };
    if (driver_resume_find(driver, &err) && !driver->order.to) {
        if (driver_about_blocks_undo(driver)) {
            driver_stop(driver, ROLLOUT_CONFIG);
            return;
        }
        driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL,
                    "a rollout is open, so rolling back means undoing it (as `abort` does)");
        driver->rollout.kind = ROLLOUT_ABORT;
        driver->order.verb = DRIVER_ABORT;
        driver_resume_decide(driver);
        return;
    }
    if (driver->opened.json) {
        driver_decide_open(driver);
        return;
    }
    if (driver_decide_unconfirmed(driver))
        return;
    if (!choose_target(driver, driver_decide_fleets(driver))) {
        list_candidates(driver);
        if (driver->order.to)
            snprintf(question, sizeof question,
                     "no release called %.64s is complete on %s reachable host; `deployctl "
                     "history` shows what was there%s",
                     driver->order.to, driver->order.stage ? "any" : "every",
                     driver->order.stage ? "" : ", and --stage sends it to hosts without it");
        else
            snprintf(question, sizeof question,
                     "there is no other good release that every reachable host has; name one with "
                     "--to");
        driver_decide_fault(driver, ROLLOUT_CONFIG, question);
        return;
    }
    if (!source_fits(driver))
        return;
    driver_decide_describe(driver);
    if (driver_decide_idle(driver)) {
        driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL, "every host runs %s already", driver->id);
        driver_stop(driver, ROLLOUT_NOTHING);
        return;
    }
    if (driver_about_blocks(driver)) {
        driver_stop(driver, ROLLOUT_CONFIG);
        return;
    }
    driver_about_rollback(driver);
    snprintf(question, sizeof question, "Roll back %s to %s?", driver->recipe->deploy.app,
             driver->id);
    driver_decide_ask(driver, question);
}
