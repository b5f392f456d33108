/* driver_verdict.c - counts of the canary and of the rest, read together while the canary bakes.
 *
 * In each round all hosts of both sides are asked at the same time; the round ends when all have
 * answered, or without those that take too long.  What the counts say is a fact for the machine
 * as soon as it changes; the last word goes into the journal of every host, for `why`.
 */
#include "deployctl/fleet/driver_inside.h"

#include <stdio.h>
#include <string.h>

#include "io/jsonx.h"

/* --- asking ----------------------------------------------------------------------------------- */

static void ask(struct driver_host *host, session_answer_fn *fn)
{
    const struct evidence *evidence = &host->driver->evidence;
    json_t *params = json_object();
    jsonx_set_text(params, "metrics", host->metrics);
    jsonx_set_text(params, "requests", evidence->requests);
    jsonx_set_text(params, "errors", evidence->errors);
    jsonx_set_text(params, "latency", evidence->latency);
    jsonx_set_int(params, "latency_ms", evidence->latency_ms);
    host->sampling = true;
    session_ask(host->session, "sample", params, DRIVER_QUICK_MS, fn, host);
}

/* Also what an agent says that does not know the verb yet. */
static void refused(struct driver_host *host, const struct err *err)
{
    bool old = err->code == ERR_PROTOCOL && strstr(err->text, "unknown request");
    char text[DRIVER_SAMPLE_ERROR_MAX];
    snprintf(text, sizeof text, "%.230s",
             old ? "the deployctl there is older and cannot count requests" : err->text);
    if (strcmp(text, host->sample_error) == 0)
        return;
    snprintf(host->sample_error, sizeof host->sample_error, "%s", text);
    size_t told = host->driver->uncounted++;
    if (told < DRIVER_UNCOUNTED_MAX)
        driver_tell(host->driver, DRIVER_NEWS_WARNING, host, NULL,
                    "no counts of requests from here: %s", text);
    else if (told == DRIVER_UNCOUNTED_MAX)
        driver_tell(host->driver, DRIVER_NEWS_WARNING, NULL, NULL,
                    "no counts of requests from more hosts, for this or another reason");
}

static bool read_sample(struct driver_host *host, const json_t *answer)
{
    struct rounds_sample *sample = &host->sample;
    *sample = (struct rounds_sample){ .bound = jsonx_real(answer, "bound", 0),
                                      .started = jsonx_real(answer, "started", 0) };
    const struct {
        const char *key;
        int64_t *at;
    } rows[] = { { "requests", &sample->counters.requests[VERDICT_FAILED] },
                 { "errors", &sample->counters.hits[VERDICT_FAILED] },
                 { "timed", &sample->counters.requests[VERDICT_SLOW] },
                 { "slow", &sample->counters.hits[VERDICT_SLOW] } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        *rows[i].at = jsonx_int(answer, rows[i].key, i < 2 ? -1 : 0);
        if (*rows[i].at < 0)
            return false;
    }
    return true;
}

/* True when there are counts in host->sample. */
static bool took(struct driver_host *host, const json_t *answer, const struct err *err)
{
    struct err own;
    host->sampling = false;
    if (!answer)
        return false;
    if (!err && !read_sample(host, answer)) {
        err_set(&own, ERR_PROTOCOL, "its answer is not understood");
        err = &own;
    }
    if (err)
        refused(host, err);
    else
        host->sample_error[0] = '\0';
    return !err;
}

/* --- before the release ----------------------------------------------------------------------- */

static void on_checked(void *context, const json_t *answer, const struct err *err)
{
    struct driver_host *host = context;
    struct driver *driver = host->driver;
    took(host, answer, err);
    if (--driver->polls == 0 && driver->deciding && !driver->decided)
        driver_decide(driver);
}

bool driver_verdict_check(struct driver *driver)
{
    if (!driver->rollout.limits.verdict || driver->checked)
        return false;
    driver->checked = true;
    driver->polls = 0;
    for (size_t i = 0; i < driver->count; i++) {
        struct driver_host *host = &driver->hosts[i];
        if (host->link != DRIVER_LINK_OPEN || !host->from || !host->metrics)
            continue;
        driver->polls++;
        ask(host, on_checked);
    }
    return driver->polls > 0;
}

/* --- numbers ---------------------------------------------------------------------------------- */

static json_t *side(int64_t requests, int64_t hits)
{
    json_t *out = json_object();
    jsonx_set_int(out, "requests", requests);
    jsonx_set_int(out, "hits", hits);
    return out;
}

static json_t *subject(const struct driver *driver, enum verdict_subject which)
{
    struct verdict_numbers n;
    json_t *out = json_object();
    verdict_numbers(&driver->verdict, which, &n);
    json_object_set_new(out, "canary", side(n.total.canary, n.total.canary_hits));
    json_object_set_new(out, "rest", side(n.total.rest, n.total.rest_hits));
    jsonx_set_real(out, "evidence", n.evidence);
    jsonx_set_real(out, "evidence_limit", n.limit);
    jsonx_set_real(out, "confidence", n.confidence);
    jsonx_set_real(out, "confidence_limit", n.required);
    jsonx_set_real(out, "max_ratio", n.most);
    jsonx_set_int(out, "missing", n.missing);
    jsonx_set_bool(out, "alone", n.alone);
    return out;
}

static json_t *host_numbers(const struct driver *driver)
{
    json_t *out = json_array();
    for (size_t i = 0; i < driver->count; i++) {
        const struct driver_host *host = &driver->hosts[i];
        if (!host->counted)
            continue;
        json_t *row = json_object();
        jsonx_set_text(row, "host", host->spec->name);
        jsonx_set_bool(row, "canary", driver->rollout.hosts[i].canary);
        jsonx_set_int(row, "resets", host->rounds.resets);
        if (host->sample_error[0])
            jsonx_set_text(row, "error", host->sample_error);
        json_array_append_new(out, row);
    }
    return out;
}

json_t *driver_verdict_numbers(const struct driver *driver)
{
    json_t *out = json_object();
    jsonx_set_text(out, "metrics", driver->evidence.metrics);
    jsonx_set_real(out, "false_abort", driver->evidence.false_abort);
    json_object_set_new(out, "errors", subject(driver, VERDICT_FAILED));
    if (driver->verdict.rules.latency) {
        json_t *latency = subject(driver, VERDICT_SLOW);
        jsonx_set_int(latency, "latency_ms", driver->evidence.latency_ms);
        json_object_set_new(out, "latency", latency);
    }
    json_object_set_new(out, "hosts", host_numbers(driver));
    return out;
}

/* --- rounds ----------------------------------------------------------------------------------- */

static const char *word(enum verdict_kind kind)
{
    static const char *const words[] = {
        [VERDICT_OPEN] = "open", [VERDICT_GOOD] = "good", [VERDICT_BAD] = "bad"
    };
    return words[kind];
}

static void tell_counts(struct driver *driver)
{
    char line[VERDICT_LINE_MAX];
    json_t *numbers = driver_verdict_numbers(driver);
    struct driver_news news = { .kind = DRIVER_NEWS_VERDICT,
                                .word = word(verdict_now(&driver->verdict)),
                                .text = verdict_line(&driver->verdict, line),
                                .numbers = numbers,
                                .at_ms = driver_elapsed_ms(driver) };
    driver->news(driver->context, &news);
    json_decref(numbers);
}

static void add_side(struct driver *driver, bool canary, struct rounds_sums *sums)
{
    for (size_t i = 0; i < driver->count; i++) {
        struct driver_host *host = &driver->hosts[i];
        if (host->counted && driver->rollout.hosts[i].canary == canary)
            rounds_add(&host->rounds, canary, host->sampled ? &host->sample : NULL, sums);
    }
}

static struct driver_host *first_canary(struct driver *driver)
{
    for (size_t i = 0; i < driver->count; i++)
        if (driver->hosts[i].counted && driver->rollout.hosts[i].canary)
            return &driver->hosts[i];
    return NULL;
}

static void end_round(struct driver *driver)
{
    struct rounds_sums sums = { 0 };
    char text[VERDICT_TEXT_MAX];
    driver->round_left = 0;
    add_side(driver, true, &sums);
    add_side(driver, false, &sums);
    verdict_take(&driver->verdict, &sums.canary, &sums.rest);
    enum verdict_kind kind = verdict_now(&driver->verdict);
    tell_counts(driver);
    if (kind == driver->rollout.verdict)
        return;
    struct driver_host *canary = first_canary(driver);
    if (kind == VERDICT_BAD && canary)
        driver_blame(canary, "%s", verdict_text(&driver->verdict, text));
    driver_fact(driver, &(struct rollout_event){ .kind = ROLLOUT_EV_VERDICT, .verdict = kind });
}

static void on_sample(void *context, const json_t *answer, const struct err *err)
{
    struct driver_host *host = context;
    struct driver *driver = host->driver;
    /* An answer to a round that is over (it took too long) is no part of this one. */
    bool mine = host->sampling && driver->round_left > 0 && host->act_round == driver->round_ms;
    host->sampled = took(host, answer, err) && mine;
    if (mine && driver->judging && --driver->round_left == 0)
        end_round(driver);
}

static void begin_round(struct driver *driver)
{
    driver->round_ms = loop_now_ms(driver->loop);
    for (size_t i = 0; i < driver->count; i++) {
        struct driver_host *host = &driver->hosts[i];
        host->sampled = false;
        if (!host->counted || host->link != DRIVER_LINK_OPEN || host->sampling)
            continue;
        host->act_round = driver->round_ms;
        driver->round_left++;
        ask(host, on_sample);
    }
}

void driver_verdict_round(void *context)
{
    struct driver *driver = context;
    if (!driver->judging)
        return;
    loop_timer_arm(driver->rounds, driver->evidence.interval_ms);
    if (driver->round_left > 0 && loop_now_ms(driver->loop) - driver->round_ms < DRIVER_ROUND_MS)
        return;
    if (driver->round_left > 0)
        end_round(driver);
    begin_round(driver);
}

/* --- begin and end ---------------------------------------------------------------------------- */

static void begin(struct driver *driver)
{
    struct verdict_rules rules;
    bool alone = true;
    for (size_t i = 0; i < driver->count; i++) {
        struct driver_host *host = &driver->hosts[i];
        const struct rollout_host *part = &driver->rollout.hosts[i];
        bool rest = part->state == ROLLOUT_HOST_OLD && !part->away && !part->canary &&
                    part->group == driver->rollout.canary_group && host->link == DRIVER_LINK_OPEN &&
                    host->from && host->glance.healthy;
        bool canary = part->canary && part->state == ROLLOUT_HOST_NEW && !part->skip;
        host->counted = (canary || rest) && host->metrics;
        host->rounds = (struct rounds_host){ 0 };
        alone = alone && !(rest && host->counted);
    }
    evidence_rules(&driver->evidence, alone, &rules);
    verdict_begin(&driver->verdict, &rules);
    driver->judging = driver->judged = true;
    driver->round_left = 0;
    loop_timer_arm(driver->rounds, driver->evidence.warm_up_ms);
}

/* Every host that is held gets it, so that `why` works when any of them is reachable. */
static void write_down(struct driver *driver, const char *kind)
{
    char text[VERDICT_TEXT_MAX];
    verdict_text(&driver->verdict, text);
    for (size_t i = 0; i < driver->count; i++) {
        struct driver_host *host = &driver->hosts[i];
        if (host->link != DRIVER_LINK_OPEN || !host->fence_wanted)
            continue;
        json_t *params = json_object();
        jsonx_set_text(params, "token", driver->token);
        jsonx_set_text(params, "id", driver->id);
        jsonx_set_text(params, "kind", kind);
        jsonx_set_text(params, "text", text);
        json_object_set_new(params, "numbers", driver_verdict_numbers(driver));
        session_ask(host->session, "verdict", params, DRIVER_QUICK_MS, NULL, NULL);
    }
}

void driver_verdict_stage(struct driver *driver)
{
    char text[VERDICT_TEXT_MAX];
    bool bakes = driver->rollout.stage == ROLLOUT_BAKING;
    if (bakes && !driver->judging && driver->rollout.limits.verdict) {
        begin(driver);
        return;
    }
    if (bakes || !driver->judging)
        return;
    driver->judging = false;
    loop_timer_disarm(driver->rounds);
    enum verdict_kind kind = verdict_now(&driver->verdict);
    const char *name = kind == VERDICT_OPEN ? "inconclusive" : word(kind);
    if (kind != VERDICT_BAD) /* a bad one was told as the canary's problem */
        driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL, "verdict: %s; %s", name,
                    verdict_text(&driver->verdict, text));
    write_down(driver, name);
}
