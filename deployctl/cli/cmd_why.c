/* cmd_why.c - deployctl why: a rollout as the journals of the hosts tell it, the newest one or that
 * of a release.
 *
 * First one object is made of all lines that belong to it, then that is printed, for programs or
 * for people; so both are told the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "deployctl/cli/app.h"
#include "deployctl/cli/commands.h"
#include "deployctl/cli/report.h"
#include "deployctl/plan/manifest.h"
#include "io/jsonx.h"

enum { LINES_MAX = 5000, LABEL_WIDTH = 9 };

static const char *act_of(const json_t *line) { return jsonx_text(line, "act", ""); }

/* The rollout of a line's token "EPOCH:ROLLOUT". */
static const char *rollout_of(const json_t *line)
{
    const char *colon = strchr(jsonx_text(line, "token", ""), ':');
    return colon ? colon + 1 : "";
}

/* Whether the line is about the release that is asked for: its id, the beginning of it, or its
 * number; NULL is any. */
static bool is_about(const json_t *line, const char *wanted)
{
    const char *id = jsonx_text(line, "id", jsonx_text(line, "release", NULL));
    uint64_t number;
    char *end;
    if (!wanted)
        return true;
    if (!id || !manifest_id_parse(id, &number))
        return false;
    unsigned long long asked = strtoull(wanted, &end, 10);
    return strncmp(id, wanted, strlen(wanted)) == 0 || (*end == '\0' && asked == number);
}

/* The rollout that was at work last, by epoch: hosts have clocks of their own. */
static const char *newest(const struct driver *driver, const char *wanted)
{
    const char *best = NULL;
    long long highest = -1;
    for (size_t i = 0; i < driver_count(driver); i++) {
        const json_t *history = driver_view(driver, i).history, *line;
        size_t k;
        json_array_foreach((json_t *)history, k, line)
        {
            long long epoch = strtoll(jsonx_text(line, "token", "0"), NULL, 10);
            if (epoch <= highest || !*rollout_of(line) || !is_about(line, wanted))
                continue;
            highest = epoch;
            best = rollout_of(line);
        }
    }
    return best;
}

/* --- gathering -------------------------------------------------------------------------------- */

static void keep_text(json_t *why, const char *key, const char *text)
{
    if (text && *text && !jsonx_text(why, key, NULL))
        jsonx_set_text(why, key, text);
}

/* Every host has the same verdict; a rollout that was resumed has several. */
static void add_verdict(json_t *why, const json_t *line)
{
    json_t *verdicts = json_object_get(why, "verdicts"), *other;
    size_t i;
    json_array_foreach(verdicts, i, other)
    {
        if (json_equal(json_object_get(other, "numbers"), json_object_get(line, "numbers")))
            return;
    }
    json_t *verdict = json_object();
    static const char *const members[] = { "at", "kind", "text", "numbers" };
    for (i = 0; i < sizeof members / sizeof members[0]; i++)
        json_object_set(verdict, members[i], json_object_get(line, members[i]));
    json_array_insert_new(verdicts, 0, verdict); /* lines come newest first */
}

static void add_reason(json_t *why, const char *host, const json_t *line)
{
    json_t *reason = json_object();
    jsonx_set_text(reason, "host", host);
    static const char *const members[] = { "at", "act", "result", "reason" };
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        if (json_object_get(line, members[i]))
            json_object_set(reason, members[i], json_object_get(line, members[i]));
    json_array_insert_new(json_object_get(why, "reasons"), 0, reason);
}

static void add_line(json_t *why, const char *host, const json_t *line)
{
    const char *act = act_of(line), *at = jsonx_text(line, "at", NULL);
    if (at && strcmp(at, jsonx_text(why, "began", "~")) < 0)
        jsonx_set_text(why, "began", at);
    if (at && strcmp(at, jsonx_text(why, "ended", "")) > 0)
        jsonx_set_text(why, "ended", at);
    keep_text(why, "who", jsonx_text(line, "who", NULL));
    if (strcmp(act, "verdict") == 0)
        add_verdict(why, line);
    if (strcmp(act, "close") == 0)
        keep_text(why, "outcome", jsonx_text(line, "outcome", NULL));
    if (strcmp(act, "close") == 0)
        keep_text(why, "release", jsonx_text(line, "release", NULL));
    else if (strcmp(act, "verdict") == 0 || strcmp(act, "seal") == 0)
        keep_text(why, "release", jsonx_text(line, "id", NULL));
    if (strcmp(act, "mark") == 0 && strcmp(jsonx_text(line, "verdict", ""), "bad") == 0)
        keep_text(why, "bad", jsonx_text(line, "reason", NULL));
    bool moved = strcmp(act, "switch") == 0 || strcmp(act, "revert") == 0;
    if (moved && jsonx_text(line, "reason", NULL))
        add_reason(why, host, line);
}

/* New reference; NULL: no host remembers such a rollout. */
static json_t *gather(const struct driver *driver, const char *wanted)
{
    const char *rollout = newest(driver, wanted);
    if (!rollout)
        return NULL;
    json_t *why = json_object();
    jsonx_set_text(why, "rollout", rollout);
    json_object_set_new(why, "verdicts", json_array());
    json_object_set_new(why, "reasons", json_array());
    for (size_t i = 0; i < driver_count(driver); i++) {
        struct driver_view view = driver_view(driver, i);
        const json_t *line;
        size_t k;
        json_array_foreach((json_t *)view.history, k, line)
        {
            if (strcmp(rollout_of(line), rollout) == 0)
                add_line(why, view.spec->name, line);
        }
    }
    return why;
}

/* --- for people ------------------------------------------------------------------------------- */

static void put(const char *label, const char *text)
{
    printf("%-*s %s\n", LABEL_WIDTH, label, text);
}

static void put_side(const char *label, const json_t *side, const char *what)
{
    int64_t requests = jsonx_int(side, "requests", 0), hits = jsonx_int(side, "hits", 0);
    printf("    %-10s %lld of %lld requests %s (%.3g %%)\n", label, (long long)hits,
           (long long)requests, what, requests ? 100.0 * (double)hits / (double)requests : 0.0);
}

static void put_subject(const json_t *numbers, const char *key, const char *what)
{
    const json_t *subject = json_object_get(numbers, key);
    if (!json_is_object(subject))
        return;
    bool alone = jsonx_bool(subject, "alone", false);
    printf("  %s\n", key);
    put_side("canary", json_object_get(subject, "canary"), what);
    put_side("rest", json_object_get(subject, "rest"), what);
    printf("    %-10s %.3g against the canary, compared with %s; bad from %.4g on "
           "(false_abort %.3g %%)\n",
           "evidence", jsonx_real(subject, "evidence", 0),
           alone ? "the most that is allowed (no requests on the rest)" : "the rest",
           jsonx_real(subject, "evidence_limit", 0), 100 * jsonx_real(numbers, "false_abort", 0));
    printf("    %-10s %.3g that fewer than %.3g %% %s; good from %.3g on (wrong at most 5 %%)\n",
           "confidence", jsonx_real(subject, "confidence", 0),
           100 * jsonx_real(subject, "max_ratio", 0), what,
           jsonx_real(subject, "confidence_limit", 0));
    int64_t missing = jsonx_int(subject, "missing", 0);
    if (missing > 0)
        printf("    %-10s %lld more requests without one to be good\n", "missing",
               (long long)missing);
    if (json_object_get(subject, "latency_ms"))
        printf("    %-10s slower than %lldms\n", "slow is",
               (long long)jsonx_int(subject, "latency_ms", 0));
}

static void put_hosts(const json_t *numbers)
{
    const json_t *hosts = json_object_get(numbers, "hosts"), *host;
    size_t i;
    printf("  counted on");
    json_array_foreach((json_t *)hosts, i, host)
    {
        int64_t resets = jsonx_int(host, "resets", 0);
        printf("%s %s%s", i ? "," : "", jsonx_text(host, "host", "?"),
               jsonx_bool(host, "canary", false) ? " (canary)" : "");
        if (resets > 0)
            printf(" (restarted %lld time%s)", (long long)resets, resets == 1 ? "" : "s");
        if (jsonx_text(host, "error", NULL))
            printf(" (not any more: %s)", jsonx_text(host, "error", ""));
    }
    printf("; from %s\n", jsonx_text(numbers, "metrics", "?"));
}

static void put_verdict(const json_t *verdict)
{
    const json_t *numbers = json_object_get(verdict, "numbers");
    printf("%-*s %s, %.19s\n", LABEL_WIDTH, "Verdict", jsonx_text(verdict, "kind", "?"),
           jsonx_text(verdict, "at", ""));
    printf("  %s\n", jsonx_text(verdict, "text", ""));
    put_subject(numbers, "errors", "failed");
    put_subject(numbers, "latency", "were slow");
    put_hosts(numbers);
}

/* What was printed there says more than any gate. */
static void put_next(const json_t *why)
{
    const json_t *reason = json_array_get(json_object_get(why, "reasons"), 0);
    if (!jsonx_text(why, "bad", NULL))
        return;
    printf("%-*s ", LABEL_WIDTH, "Next");
    if (reason)
        printf("`deployctl logs -n 50 --hosts %s`; ", jsonx_text(reason, "host", "HOST"));
    printf("other contents can be released at once, the same ones with --despite\n");
}

static void put_why(const json_t *why)
{
    const json_t *verdicts = json_object_get(why, "verdicts"), *one;
    const char *bad = jsonx_text(why, "bad", NULL);
    size_t i;
    printf("%-*s %s by %s (rollout %s)\n", LABEL_WIDTH, "Release", jsonx_text(why, "release", "?"),
           jsonx_text(why, "who", "somebody"), jsonx_text(why, "rollout", "?"));
    printf("%-*s %.19s to %.19s\n", LABEL_WIDTH, "When", jsonx_text(why, "began", "?"),
           jsonx_text(why, "ended", "?"));
    json_array_foreach((json_t *)verdicts, i, one) { put_verdict(one); }
    if (json_array_size(verdicts) == 0)
        put("Verdict", "by the hard gates alone (exits, restarts, probes, readiness)");
    if (bad)
        put("Bad", bad);
    json_array_foreach((json_t *)json_object_get(why, "reasons"), i, one)
    {
        printf("%-*s %s %s: %s\n", LABEL_WIDTH, "Host", jsonx_text(one, "host", "?"),
               jsonx_text(one, "result", jsonx_text(one, "act", "?")),
               jsonx_text(one, "reason", ""));
    }
    put("Outcome", jsonx_text(why, "outcome", "open: `deployctl promote`, `resume` or `abort`"));
    put_next(why);
}

int cmd_why_run(struct cli *cli)
{
    struct app app;
    struct driver *driver = NULL;
    int code;
    if (app_open(&app, cli, DRIVER_HISTORY, &code)) {
        app.order.source = NULL;
        app.order.history_lines = LINES_MAX;
        code = app_run(&app, true, &driver);
    }
    const char *wanted = cli->nwords > 0 ? cli->words[0] : NULL;
    if (driver)
        report_absent(driver);
    json_t *why = driver ? gather(driver, wanted) : NULL;
    if (why && app.json) {
        report_json(json_incref(why));
    } else if (why) {
        put_why(why);
    } else if (driver && code == APP_DONE && wanted) {
        app_fail(&app, "no host remembers a release %s; `deployctl history` shows what there was",
                 wanted);
        code = APP_CONFIG;
    } else if (driver && code == APP_DONE) {
        if (app.json)
            report_json(json_null());
        else
            printf("No host remembers a release.\n");
    }
    json_decref(why);
    driver_free(driver);
    app_done(&app);
    return code;
}
