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

bool driver_decide_reached(const struct driver *driver, size_t i)
{
    return driver->hosts[i].once && !driver->rollout.hosts[i].away;
}

void driver_decide_fault(struct driver *driver, enum rollout_outcome outcome, const char *text)
{
    driver_tell(driver, DRIVER_NEWS_ERROR, NULL, NULL, "%s", text);
    driver_stop(driver, outcome);
}

/* --- what the machine must know of each host ---------------------------------------------------
 */

void driver_decide_describe(struct driver *driver)
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

bool driver_decide_asks(const struct driver *driver)
{
    return !driver->order.yes && isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

void driver_decide_ask(struct driver *driver, const char *question)
{
    struct err err;
    if (!driver_decide_asks(driver)) {
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

bool driver_decide_idle(const struct driver *driver)
{
    for (size_t i = 0; i < driver->count; i++)
        if (driver_decide_reached(driver, i) && !driver->rollout.hosts[i].skip)
            return false;
    return true;
}

/* Another rollout is open: who, and what to do. */
void driver_decide_open(struct driver *driver)
{
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
}

static bool open_elsewhere(struct driver *driver)
{
    struct err err;
    bool open = driver_resume_find(driver, &err);
    if (open)
        driver_decide_open(driver);
    else if (err.code != ERR_NONE)
        driver_tell(driver, DRIVER_NEWS_WARNING, NULL, NULL, "%s", err.text);
    return open;
}

/* A host that died or hung while others were undone still has its lease running, and its supervisor
 * lets nobody switch it meanwhile: better known now than in the middle of the batches. */
bool driver_decide_unconfirmed(struct driver *driver)
{
    char time[UNIT_TEXT_MAX];
    for (size_t i = 0; i < driver->count; i++) {
        const struct glance *glance = &driver->hosts[i].glance;
        if (!driver_decide_reached(driver, i) || glance->confirmed || glance->deadline_s < 0)
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
        driver_decide_fault(driver, ROLLOUT_CONFIG, driver->source_err.text);
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
        hosts += driver_decide_reached(driver, i) && !driver->rollout.hosts[i].skip;
    snprintf(question, sizeof question, "Release %s as %s to %zu host%s?",
             driver->recipe->deploy.app, driver->id, hosts, hosts == 1 ? "" : "s");
    driver_decide_ask(driver, question);
}

static void say_canary(struct driver *driver)
{
    if (driver->rollout.limits.canary == 0)
        driver_tell(driver, DRIVER_NEWS_WARNING, NULL, NULL,
                    "no canary, as asked: the first batch is the test");
    if (recipe_is_static(driver->recipe))
        driver_tell(driver, DRIVER_NEWS_WARNING, NULL, NULL,
                    "no service is named: only the link current is swapped, and "
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
    driver_decide_describe(driver);
    expect_verdict(driver);
    if (driver_verdict_check(driver))
        return;
    warn_secrets(driver);
    if (driver->order.verb == DRIVER_PLAN) {
        rollout_foresee(&driver->rollout);
        driver_resume_find(driver, NULL);
        driver_stop(driver, ROLLOUT_NOTHING);
        return;
    }
    if (open_elsewhere(driver) || driver_decide_unconfirmed(driver))
        return;
    if (driver_decide_idle(driver)) {
        driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL,
                    "every host runs %s already, which is this very release; nothing to do",
                    driver->id);
        driver_stop(driver, ROLLOUT_NOTHING);
        return;
    }
    if (driver_freeze_stands(driver))
        return;
    if (refused_as_bad(driver)) {
        driver_stop(driver, ROLLOUT_BAD);
        return;
    }
    say_canary(driver);
    if (driver->order.irreversible)
        driver_tell(driver, DRIVER_NEWS_WARNING, NULL, NULL,
                    "marked as irreversible (%s): going back to before it will want --yes. Should "
                    "this rollout be judged bad, the code goes back by itself, and that does not",
                    driver->order.irreversible);
    ask_release(driver);
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
        driver_decide_rollback(driver);
        return;
    case DRIVER_HISTORY:
        decide_history(driver);
        return;
    case DRIVER_VERIFY:
        driver_inspect_verify(driver);
        return;
    case DRIVER_DIFF:
        driver_inspect_diff(driver);
        return;
    case DRIVER_FREEZE:
    case DRIVER_UNFREEZE:
        driver_freeze_order(driver);
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
