/* report.c - the contract is in report.h. */
#include "deployctl/cli/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/unit.h"
#include "base/when.h"
#include "deployctl/cli/report_order.h"
#include "deployctl/cli/report_freeze.h"
#include "deployctl/cli/table.h"
#include "deployctl/plan/rollout_name.h"
#include "io/jsonx.h"

enum { NAMES_MAX = 1024, NAMES_SHOWN = 5, SWITCH_GUESS_MS = 3000 };

void report_text(const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at; at++)
        if (*at < ' ' || *at == 0x7f)
            printf("\\%03o", *at);
        else
            putchar(*at);
}

void report_json(json_t *json)
{
    struct buf out;
    buf_init(&out, 64 * 1024 * 1024);
    if (jsonx_put(json, &out))
        printf("%s\n", buf_text(&out));
    buf_done(&out);
    json_decref(json);
}

/* "web01, web02 and 3 more". */
static const char *names_of(const struct driver *driver, enum rollout_host_state state,
                            char text[static NAMES_MAX])
{
    size_t len = 0, shown = 0, total = 0;
    text[0] = '\0';
    for (size_t i = 0; i < driver_count(driver); i++) {
        struct driver_view view = driver_view(driver, i);
        if (view.host->state != state)
            continue;
        total++;
        if (shown >= 5 || len + strlen(view.spec->name) + 32 > NAMES_MAX)
            continue;
        len += (size_t)snprintf(text + len, NAMES_MAX - len, "%s%s", shown ? ", " : "",
                                view.spec->name);
        shown++;
    }
    if (total > shown)
        snprintf(text + len, NAMES_MAX - len, " and %zu more", total - shown);
    return text;
}

/* --- the end of an order -----------------------------------------------------------------------
 */

static json_t *host_json(const struct driver_view *view)
{
    json_t *host = json_object();
    jsonx_set_text(host, "host", view->spec->name);
    jsonx_set_text(host, "state", rollout_name_host(view->host->state));
    jsonx_set_bool(host, "canary", view->host->canary);
    jsonx_set_text(host, "release", view->glance->current);
    if (*view->error)
        jsonx_set_text(host, "error", view->error);
    return host;
}

static unsigned long long all_probes(const struct driver *driver)
{
    unsigned long long probes = 0;
    for (size_t i = 0; i < driver_count(driver); i++)
        probes += driver_view(driver, i).probes;
    return probes;
}

static void end_json(const struct driver *driver, int code)
{
    json_t *end = json_object(), *hosts = json_array();
    const char *id = driver_release_id(driver);
    jsonx_set_text(end, "event", "end");
    jsonx_set_text(end, "outcome", rollout_name_outcome(driver_rollout(driver)->outcome));
    jsonx_set_int(end, "exit", code);
    jsonx_set_text(end, "release", *id ? id : NULL);
    jsonx_set_real(end, "seconds", (double)driver_elapsed_ms(driver) / 1000);
    jsonx_set_text(end, "verdict", driver_verdict(driver) ? "metrics" : "gates");
    jsonx_set_bool(end, "inconclusive", driver_rollout(driver)->inconclusive);
    if (driver_verdict(driver))
        json_object_set_new(end, "numbers", driver_verdict_numbers(driver));
    jsonx_set_int(end, "probes", (json_int_t)all_probes(driver));
    for (size_t i = 0; i < driver_count(driver); i++) {
        struct driver_view view = driver_view(driver, i);
        json_array_append_new(hosts, host_json(&view));
    }
    json_object_set_new(end, "hosts", hosts);
    report_json(end);
}

static bool same_trouble(const struct driver *driver, size_t a, size_t b)
{
    struct driver_view one = driver_view(driver, a), other = driver_view(driver, b);
    return one.host->state == other.host->state && one.host->touched == other.host->touched &&
           strcmp(one.error, other.error) == 0;
}

/* "web01, web02 and 3 more": all that have the trouble of `first`, and how many they are; 0: it was
 * told before. */
static size_t names_alike(const struct driver *driver, size_t first, char text[static NAMES_MAX])
{
    size_t len = 0, total = 0;
    text[0] = '\0';
    for (size_t i = 0; i < first; i++)
        if (same_trouble(driver, i, first))
            return 0;
    for (size_t i = first; i < driver_count(driver); i++) {
        const char *name = driver_view(driver, i).spec->name;
        if (!same_trouble(driver, i, first))
            continue;
        if (total++ < NAMES_SHOWN && len + strlen(name) + 32 < NAMES_MAX)
            len +=
                (size_t)snprintf(text + len, NAMES_MAX - len, "%s%s", total > 1 ? ", " : "", name);
    }
    if (total > NAMES_SHOWN)
        snprintf(text + len, NAMES_MAX - len, " and %zu more", total - NAMES_SHOWN);
    return total;
}

/* Hosts with the same trouble share a line: three hundred times the same says nothing. */
static void list_hosts(const struct driver *driver, enum rollout_host_state state, const char *one,
                       const char *many)
{
    char names[NAMES_MAX];
    for (size_t i = 0; i < driver_count(driver); i++) {
        struct driver_view view = driver_view(driver, i);
        bool lease = state == ROLLOUT_HOST_LOST && view.host->touched;
        size_t alike = view.host->state == state ? names_alike(driver, i, names) : 0;
        if (alike == 0)
            continue;
        fprintf(stderr, "  %s %s%s%s%s\n", names, alike > 1 ? many : one,
                lease ? "; what was switched there goes back when its lease runs out" : "",
                *view.error ? ": " : "", view.error);
    }
}

/* Was any host asked to switch? */
static bool is_touched(const struct driver *driver)
{
    for (size_t i = 0; i < driver_count(driver); i++)
        if (driver_view(driver, i).host->touched)
            return true;
    return false;
}

static const char *culprit(const struct driver *driver, char text[static NAMES_MAX])
{
    const struct rollout *rollout = driver_rollout(driver);
    text[0] = '\0';
    if (rollout->culprit < driver_count(driver)) {
        struct driver_view view = driver_view(driver, rollout->culprit);
        snprintf(text, NAMES_MAX, " (%s: %s)", view.spec->name,
                 *view.error ? view.error : "it failed");
    } else if (rollout->stalled) {
        snprintf(text, NAMES_MAX, " (no host became healthy within progress_deadline)");
    }
    return text;
}

/* The output of a service that was judged bad is kept by the supervisor of its host. */
static void where_to_look(const struct driver *driver)
{
    size_t at = driver_rollout(driver)->culprit;
    if (at < driver_count(driver))
        printf("What it printed: `deployctl logs -n 50 --hosts %s`; every number: `deployctl why`; "
               "earlier verdicts: `deployctl history`.\n",
               driver_view(driver, at).spec->name);
}

/* How much a verdict by gates is worth depends on how often somebody looked; one by counts says
 * them itself. */
static void verdict_sentence(const struct driver *driver)
{
    unsigned long long probes = all_probes(driver);
    const struct verdict *verdict = driver_verdict(driver);
    char text[VERDICT_TEXT_MAX];
    if (verdict) {
        printf(" The verdict on the canary%s: %s.",
               driver_rollout(driver)->inconclusive ? " was inconclusive, on_inconclusive = promote"
                                                    : "",
               verdict_text(verdict, text));
        return;
    }
    printf(" The verdict rests on the hard gates alone (exits, restarts, probes, readiness): ");
    if (probes > 0)
        printf("%llu probe%s seen.", probes, probes == 1 ? " was" : "s were");
    else
        printf("no probe was seen, give the service a `ready` or `live` check.");
}

static void done_sentence(const struct app *app, const struct driver *driver, const char *time)
{
    const struct rollout *rollout = driver_rollout(driver);
    const char *app_name = app->recipe.deploy.app, *id = driver_release_id(driver);
    char names[NAMES_MAX];
    size_t confirmed = rollout_counts(rollout, ROLLOUT_HOST_CONFIRMED);
    bool back = rollout->kind == ROLLOUT_ROLLBACK;
    printf("%s %s %s %s on %zu host%s in %s.", back ? "Rolled" : "Released",
           back ? "back" : app_name, back ? "to" : "as", id, confirmed, confirmed == 1 ? "" : "s",
           time);
    if (!back)
        verdict_sentence(driver);
    printf("\n");
    if (rollout_counts(rollout, ROLLOUT_HOST_LOST) > 0)
        printf("Not reached: %s. `deployctl resume` brings them up to date.\n",
               names_of(driver, ROLLOUT_HOST_LOST, names));
    if (rollout_counts(rollout, ROLLOUT_HOST_REFUSED) > 0)
        printf("Left out: %s. `deployctl resume` brings them up to date once they are well.\n",
               names_of(driver, ROLLOUT_HOST_REFUSED, names));
}

static void inconclusive_sentence(const struct driver *driver)
{
    const struct verdict *verdict = driver_verdict(driver);
    char text[VERDICT_TEXT_MAX];
    printf("The rollout of %s is paused, the verdict on the canary is inconclusive: %s.",
           driver_release_id(driver),
           verdict ? verdict_text(verdict, text) : "no counts were read");
    for (size_t i = 0; i < driver_count(driver); i++) {
        struct driver_view view = driver_view(driver, i);
        if (*view.sample_error)
            printf(" No counts from %s: %s.", view.spec->name, view.sample_error);
    }
    printf(" Next: `deployctl resume` (watches it again), `promote` or `abort`.\n");
}

static void sentence(const struct app *app, const struct driver *driver)
{
    const struct rollout *rollout = driver_rollout(driver);
    const char *id = driver_release_id(driver);
    char time[UNIT_TEXT_MAX], why[NAMES_MAX];
    bool touched = is_touched(driver);
    unit_duration_text(driver_elapsed_ms(driver), time);
    culprit(driver, why);
    switch (rollout->outcome) {
    case ROLLOUT_DONE:
        done_sentence(app, driver, time);
        break;
    case ROLLOUT_BAD:
        printf("Release %s is bad%s. Every host runs what it ran before; it took %s.\n", id, why,
               time);
        where_to_look(driver);
        break;
    case ROLLOUT_FAILED:
        if (*id)
            printf("Release %s failed%s. %s.\n", id, why,
                   touched ? "Every host runs what it ran before" : "Nothing was switched");
        else
            printf("Not every host can take part%s. Nothing was switched.\n", why);
        break;
    case ROLLOUT_UNREACHABLE:
        printf("Too many hosts are unreachable (max_unreachable is %zu). %s.\n",
               rollout->limits.unreachable,
               touched ? "Every other host runs what it ran before" : "Nothing was switched");
        break;
    case ROLLOUT_LOCKED:
        printf("Somebody else is at work%s. %s.\n", why,
               touched ? "Some hosts had switched; `deployctl status` shows where they are"
                       : "Nothing was changed");
        break;
    case ROLLOUT_PAUSED:
        if (rollout->inconclusive) {
            inconclusive_sentence(driver);
            break;
        }
        printf("The rollout of %s is paused%s. Next: `deployctl resume`, `promote` or "
               "`abort`.\n",
               id, why);
        break;
    case ROLLOUT_HELD_OPEN:
        printf("The canary of %s looks good after %s and is held. Next: `deployctl promote` or "
               "`deployctl abort`.\n",
               id, time);
        break;
    case ROLLOUT_ABORTED:
        printf("The rollout of %s was aborted; every host runs what it ran before.\n", id);
        break;
    case ROLLOUT_INTERRUPTED:
        printf("Stopped before anything was switched; nothing was changed.\n");
        break;
    case ROLLOUT_INCOMPLETE:
        printf("Not complete: the hosts below need attention; `deployctl status` shows where they "
               "are.\n");
        break;
    case ROLLOUT_RUNNING:
        printf("%s\n", touched ? "Left at once; `deployctl status` shows where the hosts are."
                               : "Nothing was switched.");
        break;
    case ROLLOUT_NOTHING:
    case ROLLOUT_CONFIG:
    case ROLLOUT_NOUTCOMES:
        break;
    }
}

void report_end(const struct app *app, const struct driver *driver, int code)
{
    if (app->json) {
        end_json(driver, code);
        return;
    }
    if (!driver_refused(driver))
        sentence(app, driver);
    fflush(stdout);
    list_hosts(driver, ROLLOUT_HOST_STRAY, "needs attention", "need attention");
    list_hosts(driver, ROLLOUT_HOST_REFUSED, "could not take part", "could not take part");
    list_hosts(driver, ROLLOUT_HOST_LOST, "is unreachable", "are unreachable");
}

/* --- plan --------------------------------------------------------------------------------------
 */

static const char *part_of(const struct driver *driver, size_t index, char text[static 32])
{
    const struct rollout_host *host = &driver_rollout(driver)->hosts[index];
    if (host->away)
        return "unreachable";
    return host->skip ? "nothing to do" : report_order_part(host, text);
}

static void plan_table(const struct driver *driver)
{
    struct table table;
    char part[32], health[80];
    bool groups = driver_rollout(driver)->limits.ngroups > 0;
    table_init(&table, groups ? 5 : 4);
    table_put(&table, "HOST");
    if (groups)
        table_put(&table, "GROUP");
    table_put(&table, "WHEN");
    table_put(&table, "RUNS NOW");
    table_put(&table, "STATE");
    for (size_t i = 0; i < driver_count(driver); i++) {
        struct driver_view view = driver_view(driver, i);
        table_put(&table, "%s", view.spec->name);
        if (groups)
            table_put(&table, "%s", view.spec->group_name);
        table_put(&table, "%s", part_of(driver, i, part));
        table_put(&table, "%s", view.glance->current ? view.glance->current : "-");
        table_put(&table, "%s",
                  *view.error            ? view.error
                  : !view.glance->answer ? "unreachable"
                  : view.glance->current ? glance_health(view.glance, health, sizeof health)
                                         : "no release yet");
    }
    table_print(&table);
    table_done(&table);
}

/* So many hosts are in the group of the canary; it is compared with them alone. */
static size_t canary_among(const struct driver *driver)
{
    const struct rollout *rollout = driver_rollout(driver);
    size_t n = 0;
    for (size_t i = 0; i < rollout->count; i++)
        n += rollout->hosts[i].group == rollout->canary_group;
    return n;
}

/* What the verdict will rest on, and how much it needs. */
static void plan_verdict(const struct driver *driver)
{
    const struct evidence *evidence = driver_evidence(driver);
    const struct rollout_limits *limits = &driver_rollout(driver)->limits;
    struct verdict_rules rules;
    if (!limits->verdict) {
        printf("Verdict   hard gates alone (exits, restarts, probes, readiness)%s\n",
               !evidence->metrics    ? ""
               : limits->canary == 0 ? ", for there is no canary"
                                     : ", for there is nothing to compare with yet");
        return;
    }
    bool alone = limits->canary >= canary_among(driver);
    evidence_rules(evidence, alone, &rules);
    printf(
        "Verdict   hard gates, and counts of requests (%s)%s; to pass with under %.3g %% errors at "
        "least %lld requests on the canary, else %s\n",
        evidence->metrics, alone ? ", without other hosts" : " compared with the other hosts",
        100 * evidence->max_error_ratio, (long long)verdict_needs(&rules, VERDICT_FAILED),
        evidence->promote ? "it goes on all the same (on_inconclusive)" : "it pauses");
    if (rules.latency)
        printf("          and under %.3g %% of at least %lld requests slower than %lldms\n",
               100 * evidence->max_slow_ratio, (long long)verdict_needs(&rules, VERDICT_SLOW),
               (long long)evidence->latency_ms);
}

/* How the hosts leave the traffic. */
static void plan_drain(const struct recipe_drain *drain)
{
    char delay[UNIT_TEXT_MAX], wait[UNIT_TEXT_MAX];
    if (!drain->on)
        return;
    unit_duration_text(drain->delay_ms, delay);
    unit_duration_text(drain->wait_ms, wait);
    printf("Traffic   each host leaves it before its restart (%s%s%s%s) and comes back when it is "
           "ready;\n          ",
           drain->command ? "command, " : "", drain->haproxy_sockets.count > 0 ? "HAProxy " : "",
           drain->haproxy_sockets.count > 0 ? drain->haproxy_backend : "",
           drain->haproxy_sockets.count > 0 ? "" : "PATH/.deploy/drained");
    if (drain->delay_ms > 0)
        printf("after %s ", delay);
    if (drain->wait_ms > 0)
        printf("at most %s for its %s to end\n", wait,
               drain->haproxy_sockets.count > 0 ? "sessions" : "connections");
    else
        printf("its connections are not waited for\n");
}

static json_t *plan_drain_json(const struct recipe_drain *drain)
{
    if (!drain->on)
        return json_null();
    json_t *out = json_object();
    jsonx_set_bool(out, "command", drain->command != NULL);
    jsonx_set_text(out, "haproxy_backend", drain->haproxy_backend);
    jsonx_set_int(out, "delay_ms", drain->delay_ms);
    jsonx_set_int(out, "wait_ms", drain->wait_ms);
    return out;
}

static json_t *plan_verdict_json(const struct driver *driver)
{
    const struct evidence *evidence = driver_evidence(driver);
    json_t *out = json_object();
    struct verdict_rules rules;
    bool counts = driver_rollout(driver)->limits.verdict;
    jsonx_set_text(out, "by", counts ? "metrics" : "gates");
    if (!counts)
        return out;
    evidence_rules(evidence, false, &rules);
    jsonx_set_text(out, "metrics", evidence->metrics);
    jsonx_set_int(out, "requests_needed", verdict_needs(&rules, VERDICT_FAILED));
    if (rules.latency)
        jsonx_set_int(out, "timed_needed", verdict_needs(&rules, VERDICT_SLOW));
    return out;
}

static void plan_json(const struct app *app, const struct driver *driver)
{
    const struct rollout *rollout = driver_rollout(driver);
    const struct manifest *manifest = driver_manifest(driver);
    json_t *plan = json_object(), *hosts = json_array();
    char part[32];
    jsonx_set_text(plan, "release", driver_release_id(driver));
    jsonx_set_text(plan, "digest", driver_release_digest(driver));
    jsonx_set_int(plan, "files", manifest ? (int64_t)manifest->count : 0);
    jsonx_set_int(plan, "bytes", manifest ? (int64_t)manifest->bytes : 0);
    jsonx_set_int(plan, "max_unavailable", (int64_t)rollout->limits.unavailable);
    jsonx_set_int(plan, "capacity_floor",
                  (int64_t)(driver_count(driver) - rollout->limits.unavailable));
    jsonx_set_real(plan, "predicted_s", (double)driver_predict_ms(driver, SWITCH_GUESS_MS) / 1000);
    if (rollout->limits.ngroups > 0)
        json_object_set_new(plan, "groups", report_order_json(rollout));
    json_object_set_new(plan, "verdict", plan_verdict_json(driver));
    json_object_set_new(plan, "drain", plan_drain_json(&app->recipe.drain));
    for (size_t i = 0; i < driver_count(driver); i++) {
        struct driver_view view = driver_view(driver, i);
        json_t *host = host_json(&view);
        jsonx_set_text(host, "part", part_of(driver, i, part));
        json_object_set_new(host, "freeze",
                            view.glance->freeze ? json_deep_copy(view.glance->freeze)
                                                : json_null());
        jsonx_set_text(host, "named_by", report_origin_of(view.spec));
        if (view.spec->group_name)
            jsonx_set_text(host, "group", view.spec->group_name);
        json_array_append_new(hosts, host);
    }
    json_object_set_new(plan, "hosts", hosts);
    report_json(plan);
}

void report_plan(const struct app *app, const struct driver *driver)
{
    const struct rollout *rollout = driver_rollout(driver);
    const struct manifest *manifest = driver_manifest(driver);
    char bytes[UNIT_TEXT_MAX], time[UNIT_TEXT_MAX];
    size_t total = driver_count(driver), behind = 0;
    if (app->json) {
        plan_json(app, driver);
        return;
    }
    for (size_t i = 0; i < total; i++)
        behind += !rollout->hosts[i].skip && !rollout->hosts[i].away;
    plan_table(driver);
    if (!manifest || !*driver_release_id(driver))
        return;
    unit_size_text((int64_t)manifest->bytes, bytes);
    unit_duration_text(driver_predict_ms(driver, SWITCH_GUESS_MS), time);
    printf("\nRelease   %s from %s: %zu entr%s, at most %s for each host (only contents that a "
           "host lacks travel, compressed)\n",
           driver_release_id(driver), app->source, manifest->count,
           manifest->count == 1 ? "y" : "ies", bytes);
    report_origin(&app->recipe);
    report_order(&app->recipe, rollout);
    printf("Capacity  at most %zu of %zu hosts out at the same time%s\n",
           rollout->limits.unavailable, total,
           total <= rollout->limits.unavailable ? " (that is all of them)" : "");
    plan_verdict(driver);
    plan_drain(&app->recipe.drain);
    printf("Time      about %s, if a host needs 3s to switch\n", time);
    if (recipe_is_static(&app->recipe))
        printf("Services  none: the link current is swapped, and nothing goes back by itself\n");
    bool frozen = report_freeze(driver);
    printf("%s\n", behind && frozen
                       ? "Nothing was changed; `deployctl release` is refused while that stands."
                   : behind ? "Nothing was changed; `deployctl release` does it."
                            : "Every host runs this release already.");
}

/* --- status ------------------------------------------------------------------------------------
 */

/* The release most hosts run. */
static const char *fleets_release(const struct driver *driver)
{
    const char *best = NULL;
    size_t most = 0;
    for (size_t i = 0; i < driver_count(driver); i++) {
        const char *id = driver_view(driver, i).glance->current;
        size_t n = 0;
        for (size_t k = 0; id && k < driver_count(driver); k++) {
            const char *other = driver_view(driver, k).glance->current;
            n += other && strcmp(other, id) == 0;
        }
        if (n > most) {
            most = n;
            best = id;
        }
    }
    return best;
}

static int status_code(const struct driver *driver)
{
    const char *fleet = fleets_release(driver);
    bool unhealthy = false, stale = false;
    for (size_t i = 0; i < driver_count(driver); i++) {
        const struct glance *glance = driver_view(driver, i).glance;
        bool same = glance->answer && (glance->current == NULL) == (fleet == NULL) &&
                    (!fleet || strcmp(glance->current, fleet) == 0);
        stale = stale || !same;
        bool refused = driver_view(driver, i).host->state == ROLLOUT_HOST_REFUSED;
        unhealthy = unhealthy || refused || (glance->answer && !glance->healthy && glance->current);
    }
    if (driver_opened(driver))
        return APP_OPEN;
    return stale ? APP_UNREACHABLE : unhealthy ? APP_BAD : APP_DONE;
}

static const char *lease_text(const struct glance *glance, char *text, size_t size)
{
    char time[UNIT_TEXT_MAX];
    if (glance->deadline_s < 0 || glance->confirmed)
        return "";
    unit_duration_text(glance->deadline_s * 1000, time);
    snprintf(text, size, ", goes back in %s unless confirmed", time);
    return text;
}

/* When it was switched to what it runs: a clock for today, else with the day. */
static const char *since_text(const struct glance *glance, char text[static WHEN_TEXT_MAX])
{
    int64_t at_us;
    const char *since = jsonx_text(glance->answer, "since", NULL);
    if (!glance->current || !since || !when_parse(since, &at_us))
        return "-";
    return when_clock(at_us, clock_wall_us(), text);
}

static void status_table(const struct driver *driver)
{
    const char *fleet = fleets_release(driver);
    struct table table;
    char health[80], lease[80], since[WHEN_TEXT_MAX];
    table_init(&table, 5);
    table_put(&table, "HOST");
    table_put(&table, "RELEASE");
    table_put(&table, "SINCE");
    table_put(&table, "BEFORE");
    table_put(&table, "STATE");
    for (size_t i = 0; i < driver_count(driver); i++) {
        struct driver_view view = driver_view(driver, i);
        const struct glance *glance = view.glance;
        table_put(&table, "%s", view.spec->name);
        if (!glance->answer) {
            table_put(&table, "?");
            table_put(&table, "?");
            table_put(&table, "?");
            table_put(&table, "unreachable: %s", view.error);
            continue;
        }
        bool stale = fleet && (!glance->current || strcmp(glance->current, fleet) != 0);
        table_put(&table, "%s", glance->current ? glance->current : "-");
        table_put(&table, "%s", since_text(glance, since));
        table_put(&table, "%s", glance->previous ? glance->previous : "-");
        table_put(&table, "%s%s%s%s%s", glance_health(glance, health, sizeof health),
                  lease_text(glance, lease, sizeof lease), stale ? ", not the fleet's release" : "",
                  *view.error ? "; " : "", view.error);
    }
    table_print(&table);
    table_done(&table);
}

static void status_rollout(const struct driver *driver)
{
    const struct opened *opened = driver_opened(driver);
    const json_t *holder = NULL;
    for (size_t i = 0; i < driver_count(driver) && !holder; i++)
        holder = driver_view(driver, i).glance->holder;
    if (opened)
        printf("Rollout   %s by %s is open since %s%s%s%s\n", opened->id, opened->who,
               opened->started, opened->message ? " (" : "", opened->message ? opened->message : "",
               opened->message ? ")" : "");
    report_order_open(driver);
    if (holder)
        printf("          %s is at work: step %s, since %s\n",
               jsonx_text(holder, "who", "Somebody"), jsonx_text(holder, "step", "?"),
               jsonx_text(holder, "since", "?"));
    else if (opened)
        printf(
            "          Nobody is at work on it. Next: `deployctl promote`, `resume` or `abort`.\n");
}

/* The whole in a line: with many hosts the table has scrolled away. */
static void status_fleet(const struct app *app, const struct driver *driver)
{
    const char *fleet = fleets_release(driver);
    size_t total = driver_count(driver), same = 0, unhealthy = 0, away = 0;
    for (size_t i = 0; i < total; i++) {
        const struct glance *glance = driver_view(driver, i).glance;
        same += fleet && glance->current && strcmp(glance->current, fleet) == 0;
        unhealthy += glance->answer && glance->current && !glance->healthy;
        away += !glance->answer;
    }
    printf("\nFleet     %s: ", app->recipe.deploy.app);
    if (fleet)
        printf("%s on %zu of %zu host%s", fleet, same, total, total == 1 ? "" : "s");
    else
        printf("no release yet");
    if (unhealthy > 0)
        printf(", %zu unhealthy", unhealthy);
    if (away > 0)
        printf(", %zu unreachable", away);
    printf("\n");
}

/* The end of the last rollout that any host knows of. */
static const json_t *newest_last(const struct driver *driver)
{
    const json_t *newest = NULL;
    int64_t newest_us = 0, at_us;
    for (size_t i = 0; i < driver_count(driver); i++) {
        const json_t *last = json_object_get(driver_view(driver, i).glance->answer, "last");
        if (!when_parse(jsonx_text(last, "at", ""), &at_us) || at_us <= newest_us)
            continue;
        newest = last;
        newest_us = at_us;
    }
    return newest;
}

/* How it ended and why, for whoever comes to a fleet that is not as expected. */
static void status_last(const struct driver *driver)
{
    const json_t *last = newest_last(driver);
    const char *reason = jsonx_text(last, "reason", NULL);
    const char *outcome = jsonx_text(last, "outcome", "?");
    char ago[WHEN_TEXT_MAX];
    int64_t at_us = 0;
    if (!last)
        return;
    when_parse(jsonx_text(last, "at", ""), &at_us);
    printf("Last      %s by ", jsonx_text(last, "release", "a release"));
    report_text(jsonx_text(last, "who", "somebody"));
    printf(": %s, %s%s", outcome, when_ago(at_us, clock_wall_us(), ago), reason ? " (" : "");
    report_text(reason ? reason : "");
    printf("%s%s\n", reason ? ")" : "",
           strcmp(outcome, "done") == 0 ? "" : "; `deployctl why` has the reasons");
}

json_t *report_status_json(const struct driver *driver, int code)
{
    json_t *status = json_object(), *hosts = json_array();
    const struct opened *opened = driver_opened(driver);
    jsonx_set_text(status, "release", fleets_release(driver));
    jsonx_set_int(status, "exit", code);
    json_object_set(status, "rollout", opened ? opened->json : json_null());
    for (size_t i = 0; i < driver_count(driver); i++) {
        struct driver_view view = driver_view(driver, i);
        json_t *host = json_object();
        jsonx_set_text(host, "host", view.spec->name);
        jsonx_set_bool(host, "reachable", view.glance->answer != NULL);
        if (*view.error)
            jsonx_set_text(host, "error", view.error);
        if (view.glance->answer)
            json_object_update_missing(host, view.glance->answer);
        json_object_del(host, "id");
        json_object_del(host, "ok");
        json_array_append_new(hosts, host);
    }
    json_object_set_new(status, "hosts", hosts);
    return status;
}

int report_status(const struct app *app, const struct driver *driver)
{
    int code = status_code(driver);
    if (app->json) {
        report_json(report_status_json(driver, code));
        return code;
    }
    status_table(driver);
    status_fleet(app, driver);
    status_rollout(driver);
    if (!driver_opened(driver))
        status_last(driver);
    report_freeze(driver);
    return code;
}
