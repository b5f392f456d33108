/* driver_decide.c - what an order means for the fleet as it was found: release, plan, rollback and
 * the views.  Orders that concern an open rollout are in driver_resume.c.
 */
#include "deployctl/fleet/driver_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/unit.h"
#include "deployctl/plan/hosts.h"
#include "io/jsonx.h"

enum { LINE_MAX = 64 };

static bool reached(const struct driver *driver, size_t i)
{
    return driver->hosts[i].once && !driver->rollout.hosts[i].away;
}

static void fault(struct driver *driver, enum rollout_outcome outcome, const char *text)
{
    driver_tell(driver, DRIVER_NEWS_ERROR, NULL, NULL, "%s", text);
    driver_stop(driver, outcome);
}

/* --- what the machine must know of each host ---------------------------------------------------
 */

static void describe_hosts(struct driver *driver)
{
    driver->epoch = 0;
    for (size_t i = 0; i < driver->count; i++) {
        struct driver_host *host = &driver->hosts[i];
        struct rollout_host *part = &driver->rollout.hosts[i];
        const struct glance *glance = &host->glance;
        if (!host->once)
            continue;
        if (glance->epoch > driver->epoch)
            driver->epoch = glance->epoch;
        host->from = glance->current ? arena_strdup(&driver->arena, glance->current) : NULL;
        part->was_healthy = glance->current != NULL && glance->healthy && glance->instances > 0;
        part->overlap = glance->overlap && !driver_drain_on(driver);
        part->skip = false;
        if (glance->digest && strcmp(glance->digest, driver->digest) == 0 && glance->confirmed) {
            part->skip = true;
            part->state = ROLLOUT_HOST_CONFIRMED;
        }
    }
    driver->epoch++;
    snprintf(driver->token, sizeof driver->token, "%lld:%s", (long long)driver->epoch,
             driver->name);
}

/* A question on the terminal, or straight on. */
static void on_input(void *context, unsigned events)
{
    struct driver *driver = context;
    char line[LINE_MAX];
    (void)events;
    ssize_t n = read(STDIN_FILENO, line, sizeof line);
    driver_answer(driver, n > 0 && (line[0] == 'y' || line[0] == 'Y'));
}

static void confirm_with(struct driver *driver, const char *question)
{
    struct err err;
    bool people = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
    if (driver->order.yes || !people) {
        driver_go(driver);
        return;
    }
    driver->input = loop_watch_new(driver->loop, STDIN_FILENO, on_input, driver, &err);
    if (!driver->input) {
        driver_go(driver);
        return;
    }
    loop_watch_set(driver->input, LOOP_READ);
    driver->question_open = true;
    driver_tell(driver, DRIVER_NEWS_QUESTION, NULL, NULL, "%s [y/N] ", question);
}

/* --- release and plan --------------------------------------------------------------------------
 */

/* A digest that is on a host already keeps its id; else the next number. */
static void name_release(struct driver *driver)
{
    int64_t highest = 0;
    unsigned char digest[MANIFEST_DIGEST_BYTES];
    for (size_t i = 0; i < driver->count; i++) {
        const struct glance *glance = &driver->hosts[i].glance;
        const char *id = glance->answer ? glance_id_of(glance, driver->digest) : NULL;
        if (id) {
            snprintf(driver->id, sizeof driver->id, "%s", id);
            return;
        }
        if (glance->highest > highest)
            highest = glance->highest;
    }
    manifest_unhex(driver->digest, digest);
    manifest_id((uint64_t)highest + 1, digest, driver->id);
}

static bool refused_as_bad(struct driver *driver)
{
    for (size_t i = 0; i < driver->count; i++) {
        const struct driver_host *host = &driver->hosts[i];
        const char *why = host->once ? glance_bad(&host->glance, driver->digest) : NULL;
        if (!why)
            continue;
        driver_tell(driver, driver->order.despite ? DRIVER_NEWS_WARNING : DRIVER_NEWS_ERROR, NULL,
                    NULL, "release %s was judged bad before (%s)%s", driver->id, why,
                    driver->order.despite ? "; released despite that, as asked"
                                          : "; release other contents, or the same with --despite");
        return !driver->order.despite;
    }
    return false;
}

static bool nothing_to_do(const struct driver *driver)
{
    for (size_t i = 0; i < driver->count; i++)
        if (reached(driver, i) && !driver->rollout.hosts[i].skip)
            return false;
    return true;
}

/* Another rollout is open: who, and what to do. */
static bool open_elsewhere(struct driver *driver)
{
    struct err err;
    if (!driver_resume_find(driver, &err)) {
        if (err.code != ERR_NONE)
            driver_tell(driver, DRIVER_NEWS_WARNING, NULL, NULL, "%s", err.text);
        return false;
    }
    const struct driver_host *holder = driver_resume_holder(driver);
    if (holder) {
        const json_t *who = holder->glance.holder;
        driver_tell(driver, DRIVER_NEWS_ERROR, NULL, NULL,
                    "%s is releasing %s right now (since %s, step %s, seen on %s); wait for it, or "
                    "stop it with `deployctl pause` or `deployctl abort`",
                    jsonx_text(who, "who", "somebody"), driver->opened.id,
                    jsonx_text(who, "since", "?"), jsonx_text(who, "step", "?"),
                    holder->spec->name);
        driver_stop(driver, ROLLOUT_LOCKED);
    } else {
        driver_tell(driver, DRIVER_NEWS_ERROR, NULL, NULL,
                    "the rollout of %s by %s is still open (begun %s); `deployctl promote` or "
                    "`resume` goes on with it, `deployctl abort` undoes it",
                    driver->opened.id, driver->opened.who, driver->opened.started);
        driver_stop(driver, ROLLOUT_PAUSED);
    }
    return true;
}

/* A host that died or hung while others were undone still has its lease running, and its supervisor
 * lets nobody switch it meanwhile: better known now than in the middle of the batches. */
static bool left_unconfirmed(struct driver *driver)
{
    char time[UNIT_TEXT_MAX];
    for (size_t i = 0; i < driver->count; i++) {
        const struct glance *glance = &driver->hosts[i].glance;
        if (!reached(driver, i) || glance->confirmed || glance->deadline_s < 0)
            continue;
        unit_duration_text(glance->deadline_s * 1000, time);
        driver_tell(driver, DRIVER_NEWS_ERROR, NULL, NULL,
                    "%s runs %s, which nobody has confirmed and no open rollout knows of; it goes "
                    "back by itself in %s, try again then",
                    driver->hosts[i].spec->name, glance->current ? glance->current : "no release",
                    time);
        driver_stop(driver, ROLLOUT_LOCKED);
        return true;
    }
    return false;
}

static void warn_secrets(struct driver *driver)
{
    const struct err_list *secrets = source_warnings(driver->source);
    for (size_t i = 0; i < secrets->count; i++)
        driver_tell(driver, DRIVER_NEWS_WARNING, NULL, NULL, "%s", secrets->lines[i]);
}

/* False: the source is not there (yet). */
static bool source_ready(struct driver *driver)
{
    if (!driver->source_done)
        return false;
    if (driver->source_failed) {
        fault(driver, ROLLOUT_CONFIG, driver->source_err.text);
        return false;
    }
    snprintf(driver->digest, sizeof driver->digest, "%s", source_digest(driver->source));
    return true;
}

static void ask_release(struct driver *driver)
{
    char question[256];
    size_t hosts = 0;
    for (size_t i = 0; i < driver->count; i++)
        hosts += reached(driver, i) && !driver->rollout.hosts[i].skip;
    snprintf(question, sizeof question, "Release %s as %s to %zu host%s?",
             driver->recipe->deploy.app, driver->id, hosts, hosts == 1 ? "" : "s");
    confirm_with(driver, question);
}

static void say_canary(struct driver *driver)
{
    if (driver->rollout.limits.canary == 0)
        driver_tell(driver, DRIVER_NEWS_WARNING, NULL, NULL,
                    "no canary, as asked: the first batch is the test");
    if (driver->recipe->deploy.services.count == 0)
        driver_tell(driver, DRIVER_NEWS_WARNING, NULL, NULL,
                    "no service is named in [deploy]: only the link current is swapped, and "
                    "nothing goes back by itself");
}

/* On a first release there is nothing to compare with, and the gates decide. */
static void expect_verdict(struct driver *driver)
{
    struct rollout_limits *limits = &driver->rollout.limits;
    bool first = true;
    for (size_t i = 0; i < driver->count; i++)
        first = first && !driver->hosts[i].from;
    limits->verdict = driver->evidence.metrics && !first && limits->canary > 0;
    limits->promote_open = driver->evidence.promote;
}

static void decide_release(struct driver *driver)
{
    if (!source_ready(driver))
        return;
    name_release(driver);
    describe_hosts(driver);
    expect_verdict(driver);
    if (driver_verdict_check(driver))
        return;
    warn_secrets(driver);
    if (driver->order.verb == DRIVER_PLAN) {
        driver_resume_find(driver, NULL);
        driver_stop(driver, ROLLOUT_NOTHING);
        return;
    }
    if (open_elsewhere(driver) || left_unconfirmed(driver))
        return;
    if (nothing_to_do(driver)) {
        driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL,
                    "every host runs %s already, which is this very release; nothing to do",
                    driver->id);
        driver_stop(driver, ROLLOUT_NOTHING);
        return;
    }
    if (refused_as_bad(driver)) {
        driver_stop(driver, ROLLOUT_BAD);
        return;
    }
    say_canary(driver);
    ask_release(driver);
}

/* --- rollback ----------------------------------------------------------------------------------
 */

/* The release most hosts run. */
static const char *fleets_release(const struct driver *driver)
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

static bool on_every_host(const struct driver *driver, const char *id, bool *ret_good)
{
    bool good = false;
    const char *digest = NULL;
    for (size_t i = 0; i < driver->count; i++) {
        const struct glance *glance = &driver->hosts[i].glance;
        if (!reached(driver, i))
            continue;
        const char *here = glance_digest_of(glance, id);
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
 * that is named, good or not. */
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
                !on_every_host(driver, id, &good))
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

static void decide_rollback(struct driver *driver)
{
    char question[256];
    struct err err = { 0 };
    if (driver_resume_find(driver, &err) && !driver->order.to) {
        driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL,
                    "a rollout is open, so rolling back means undoing it (as `abort` does)");
        driver->rollout.kind = ROLLOUT_ABORT;
        driver->order.verb = DRIVER_ABORT;
        driver_resume_decide(driver);
        return;
    }
    if (driver->opened.json) {
        open_elsewhere(driver);
        return;
    }
    if (left_unconfirmed(driver))
        return;
    if (!choose_target(driver, fleets_release(driver))) {
        list_candidates(driver);
        if (driver->order.to)
            snprintf(question, sizeof question,
                     "no release called %s is complete on every reachable host; `deployctl "
                     "history` shows what was there",
                     driver->order.to);
        else
            snprintf(question, sizeof question,
                     "there is no other good release that every reachable host has; name one with "
                     "--to");
        fault(driver, ROLLOUT_CONFIG, question);
        return;
    }
    describe_hosts(driver);
    if (nothing_to_do(driver)) {
        driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL, "every host runs %s already", driver->id);
        driver_stop(driver, ROLLOUT_NOTHING);
        return;
    }
    snprintf(question, sizeof question, "Roll back %s to %s?", driver->recipe->deploy.app,
             driver->id);
    confirm_with(driver, question);
}

/* --- views -------------------------------------------------------------------------------------
 */

static void on_history(void *context, const json_t *answer, const struct err *err)
{
    struct driver_host *host = context;
    struct driver *driver = host->driver;
    if (!answer)
        return;
    if (err) {
        driver_blame(host, "%s", err->text);
    } else {
        host->history = json_incref(json_object_get(answer, "lines"));
        host->damaged = jsonx_int(answer, "damaged", 0);
    }
    if (--driver->polls == 0)
        driver_stop(driver, ROLLOUT_NOTHING);
}

static void decide_history(struct driver *driver)
{
    driver->polls = 0;
    for (size_t i = 0; i < driver->count; i++)
        if (driver->hosts[i].link == DRIVER_LINK_OPEN) {
            json_t *params = json_object();
            jsonx_set_int(params, "limit", driver->order.history_lines);
            driver->polls++;
            session_ask(driver->hosts[i].session, "history", params, DRIVER_QUICK_MS, on_history,
                        &driver->hosts[i]);
        }
    if (driver->polls == 0)
        driver_stop(driver, ROLLOUT_NOTHING);
}

void driver_decide(struct driver *driver)
{
    switch (driver->order.verb) {
    case DRIVER_RELEASE:
    case DRIVER_PLAN:
        decide_release(driver);
        return;
    case DRIVER_ROLLBACK:
        decide_rollback(driver);
        return;
    case DRIVER_HISTORY:
        decide_history(driver);
        return;
    case DRIVER_VERIFY:
        driver_inspect_verify(driver);
        return;
    case DRIVER_STATUS:
        driver_resume_find(driver, NULL);
        driver_stop(driver, ROLLOUT_NOTHING);
        return;
    case DRIVER_PROMOTE:
    case DRIVER_RESUME:
    case DRIVER_ABORT:
    case DRIVER_PAUSE:
        driver_resume_decide(driver);
        return;
    }
}
