/* cmd_simulate.c - deployctl simulate: the machine of a release on this inventory, without a host.
 *
 * Times are those of the recipe; a switch takes SWITCH_MS.  The lines are those of `release`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/near.h"
#include "base/unit.h"
#include "deployctl/cli/app.h"
#include "deployctl/cli/cmd_release.h"
#include "deployctl/cli/commands.h"
#include "deployctl/cli/progress.h"
#include "deployctl/cli/report.h"
#include "deployctl/cli/report_order.h"
#include "deployctl/cli/table.h"
#include "deployctl/plan/limits.h"
#include "deployctl/plan/rollout_name.h"
#include "deployctl/plan/story.h"
#include "io/jsonx.h"

enum {
    SWITCH_MS = 3000,
    ROUNDS_MAX = 10000000,
    FAULTS_MAX = 100000,
    SHOWN = 30,
    WORD_BYTES = 1024
};

const struct cli_option cmd_simulate_options[] = {
    { "fail", 0, "HOST=STEP,...", "What goes wrong; `--fail help` lists the steps." },
    { "rounds", 0, "N", "So many random stories, and what came of them." },
    { "seed", 0, "S", "The first of them; the same seed is the same story." },
    { "canary", 0, "10%|N|HOSTS|0", "How many hosts, or which, get it first; 0 = none." },
    { "no-canary", 0, NULL, "The same as --canary 0." },
    { "bake", 0, "TIME", "How long the canary is watched." },
    { "hold", 0, NULL, "Stop after the canary and wait for `promote`." },
    { "batch", 0, "25%|N", "How many hosts between two verdicts." },
    { NULL, 0, NULL, NULL },
};

struct simulation {
    struct app *app;
    struct progress *progress;
    struct rollout_limits limits;
    struct limits_asked asked;
    const char **names; /* in the recipe's arena */
    struct sim_fault *faults;
    const struct story_step **steps; /* of each fault */
    size_t nfaults, cap;
};

/* --- --fail ------------------------------------------------------------------------------------
 */

static const char *step_name(size_t i, const void *context)
{
    (void)context;
    return story_steps[i].name;
}

static const struct story_step *find_step(const char *name)
{
    for (size_t i = 0; i < story_nsteps; i++)
        if (strcmp(story_steps[i].name, name) == 0)
            return &story_steps[i];
    const char *near = near_name(name, story_nsteps, step_name, NULL);
    app_error("--fail: there is no step \"%s\"%s%s%s; `--fail help` lists them", name,
              near ? ", did you mean " : "", near ? near : "", near ? "?" : "");
    return NULL;
}

static bool list_steps(void)
{
    struct table table;
    table_init(&table, 2);
    table_put(&table, "STEP");
    table_put(&table, "THE HOST");
    for (size_t i = 0; i < story_nsteps; i++) {
        table_put(&table, "%s", story_steps[i].name);
        table_put(&table, "%s", story_steps[i].help);
    }
    table_print(&table);
    table_done(&table);
    return true;
}

static bool add_fault(struct simulation *s, size_t host, const struct story_step *step)
{
    if (s->nfaults == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 16;
        struct sim_fault *faults = reallocarray(s->faults, cap, sizeof *faults);
        s->faults = faults ? faults : s->faults;
        const struct story_step **steps = reallocarray(s->steps, cap, sizeof *steps);
        s->steps = steps ? steps : s->steps;
        if (!faults || !steps || cap > FAULTS_MAX) {
            app_error("--fail: more than %d faults", FAULTS_MAX);
            return false;
        }
        s->cap = cap;
    }
    s->faults[s->nfaults] = (struct sim_fault){
        .kind = step->kind, .host = host, .act = step->act, .delay_ms = step->delay_ms
    };
    s->steps[s->nfaults++] = step;
    return true;
}

static bool read_fault(struct simulation *s, char *word)
{
    const struct recipe *recipe = &s->app->recipe;
    char *equals = strrchr(word, '=');
    bool any = false;
    if (!equals || equals == word) {
        app_error("--fail: \"%s\" is not HOST=STEP", word);
        return false;
    }
    *equals = '\0';
    const struct story_step *step = find_step(equals + 1);
    for (size_t i = 0; step && i < recipe->count; i++)
        if (recipe_host_matches(&recipe->hosts[i], word)) {
            any = true;
            if (!add_fault(s, i, step))
                return false;
        }
    if (step && !any)
        app_error("--fail: %s is none of the %zu hosts (the first is %s)", word, recipe->count,
                  recipe->hosts[0].name);
    return step && any;
}

/* A comma inside brackets belongs to the pattern. */
static bool read_faults(struct simulation *s, const char *text)
{
    bool ok = true;
    for (size_t len; *text; text += len + (text[len] == ',')) {
        char word[WORD_BYTES];
        int depth = 0;
        for (len = 0; text[len] && (depth > 0 || text[len] != ','); len++)
            depth += (text[len] == '[') - (text[len] == ']');
        if (len >= sizeof word) {
            app_error("--fail: a word is longer than %d bytes", WORD_BYTES);
            return false;
        }
        memcpy(word, text, len);
        word[len] = '\0';
        ok = read_fault(s, word) && ok;
    }
    return ok;
}

/* --- one story ----------------------------------------------------------------------------------
 */

static const char *problem(const struct simulation *s, const struct sim_news *news)
{
    for (size_t i = 0; i < s->nfaults; i++)
        if (s->faults[i].used && s->faults[i].host == news->host && s->faults[i].act == news->act)
            return s->steps[i]->help;
    return "could not do it";
}

static void say(struct simulation *s, const struct sim *sim, const char *host, const char *word,
                const char *text)
{
    struct driver_news news = {
        .kind = host ? DRIVER_NEWS_HOST : DRIVER_NEWS_STAGE,
        .host = host,
        .word = word,
        .text = text,
        .at_ms = sim->now_ms,
    };
    progress_news(s->progress, &news);
}

static void say_answer(struct simulation *s, const struct sim *sim, const struct sim_news *news)
{
    const char *host = s->names[news->host];
    static const struct {
        const char *word, *text;
    } good[ROLLOUT_NACTS] = {
        [ROLLOUT_ACT_STAGE] = { "staged", "has the release" },
        [ROLLOUT_ACT_SWITCH] = { "switched", "runs the release, ready" },
        [ROLLOUT_ACT_HOLD] = { "held", "waits with the release for hold_for" },
        [ROLLOUT_ACT_CONFIRM] = { "confirmed", "stays on the release" },
        [ROLLOUT_ACT_UNDO] = { "back", "runs what it ran before again" },
    };
    if (news->answer != ROLLOUT_OK)
        say(s, sim, host, "problem", problem(s, news));
    else if (good[news->act].word)
        say(s, sim, host, good[news->act].word, good[news->act].text);
}

static void on_news(void *context, const struct sim *sim, const struct sim_news *news)
{
    struct simulation *s = context;
    const char *host = s->names[news->host];
    char text[ROLLOUT_NAME_DOING];
    const char *doing = rollout_name_doing(&sim->rollout, text);
    switch (news->kind) {
    case SIM_NEWS_STAGE:
        if (doing)
            say(s, sim, NULL, rollout_name_stage(sim->rollout.stage), doing);
        return;
    case SIM_NEWS_ASKED:
        if (news->act == ROLLOUT_ACT_SWITCH)
            say(s, sim, host, "switching", "to the release");
        else if (news->act == ROLLOUT_ACT_UNDO)
            say(s, sim, host, "going back", "to what it ran before");
        return;
    case SIM_NEWS_ANSWERED:
        say_answer(s, sim, news);
        return;
    case SIM_NEWS_LOST:
        say(s, sim, host, "problem", "cannot be reached any more");
        return;
    case SIM_NEWS_GATE:
        say(s, sim, host, "problem", "is unhealthy: a hard gate fired");
        return;
    case SIM_NEWS_BACK:
        say(s, sim, host, "back", "its lease ran out: it runs what it ran before again");
        return;
    }
}

static json_t *hosts_json(const struct sim *sim)
{
    json_t *hosts = json_array();
    char text[32];
    for (size_t i = 0; i < sim->count; i++) {
        json_t *host = json_object();
        size_t group = sim->rollout.hosts[i].group;
        jsonx_set_text(host, "host", sim->names[i]);
        if (sim->rollout.limits.ngroups > 0)
            jsonx_set_text(host, "group", sim->rollout.limits.groups[group].name);
        jsonx_set_text(host, "part", report_order_part(&sim->rollout.hosts[i], text));
        jsonx_set_text(host, "state", rollout_name_host(sim->rollout.hosts[i].state));
        jsonx_set_text(host, "runs", sim->hosts[i].new ? "new" : "old");
        json_array_append_new(hosts, host);
    }
    return hosts;
}

static void end_json(const struct sim *sim, int64_t took_ms, const char *wrong)
{
    json_t *end = json_object();
    jsonx_set_text(end, "event", "end");
    jsonx_set_text(end, "outcome", rollout_name_outcome(sim->rollout.outcome));
    jsonx_set_int(end, "exit", rollout_exit_code(&sim->rollout));
    jsonx_set_real(end, "seconds", (double)took_ms / 1000);
    jsonx_set_int(end, "most_out", (int64_t)sim->most_out);
    jsonx_set_int(end, "max_unavailable", (int64_t)sim->rollout.limits.unavailable);
    jsonx_set_int(end, "batches", (int64_t)sim->rollout.batch);
    if (sim->rollout.limits.ngroups > 0)
        json_object_set_new(end, "groups", report_order_json(&sim->rollout));
    if (wrong)
        jsonx_set_text(end, "wrong", wrong);
    json_object_set_new(end, "hosts", hosts_json(sim));
    report_json(end);
}

static void end_table(const struct simulation *s, const struct sim *sim)
{
    struct table table;
    char text[32];
    bool groups = s->limits.ngroups > 0;
    table_init(&table, groups ? 5 : 4);
    table_put(&table, "HOST");
    if (groups)
        table_put(&table, "GROUP");
    table_put(&table, "WHEN");
    table_put(&table, "IN THE END");
    table_put(&table, "RUNS");
    for (size_t i = 0; i < sim->count; i++) {
        table_put(&table, "%s", sim->names[i]);
        if (groups)
            table_put(&table, "%s", s->app->recipe.hosts[i].group_name);
        table_put(&table, "%s", report_order_part(&sim->rollout.hosts[i], text));
        table_put(&table, "%s", rollout_name_host(sim->rollout.hosts[i].state));
        table_put(&table, "%s", sim->hosts[i].new ? "the release" : "what it ran before");
    }
    printf("\n");
    table_print(&table);
    table_done(&table);
}

static void end_text(const struct simulation *s, const struct sim *sim, int64_t took_ms)
{
    const struct rollout *rollout = &sim->rollout;
    char time[UNIT_TEXT_MAX];
    unit_duration_text(took_ms, time);
    end_table(s, sim);
    printf("\n");
    report_order(&s->app->recipe, rollout);
    printf("Capacity  at most %zu of %zu hosts were out at the same time, %zu may be\n",
           sim->most_out, sim->count, s->limits.unavailable);
    printf("Time      %s, if a host needs 3s to switch and bytes need none\n", time);
    bool culprit = rollout->culprit < sim->count;
    printf("Outcome   %s%s%s; release would leave with exit code %d\n",
           rollout_name_outcome(rollout->outcome), culprit ? ", because of " : "",
           culprit ? sim->names[rollout->culprit] : "", rollout_exit_code(rollout));
    printf("Nothing was contacted or changed.\n");
}

static void broken(const char *wrong, const char *host)
{
    app_error("a promise was broken: %s (%s); this is a fault of deployctl, please report it with "
              "this command and deploy.ini",
              wrong, host);
}

static int one_story(struct simulation *s)
{
    struct sim sim;
    struct err err;
    bool many = s->app->recipe.count > SHOWN && !s->app->verbose && s->nfaults == 0;
    s->progress = progress_new(s->app->json ? PROGRESS_JSON
                               : many       ? PROGRESS_QUIET
                                            : PROGRESS_PLAIN,
                               &s->app->recipe, s->app->verbose, &err);
    if (!s->progress ||
        sim_init(&sim, ROLLOUT_RELEASE, s->app->recipe.count, s->names, &s->limits, &err) < 0) {
        app_error("%s", err.text);
        progress_free(s->progress);
        return APP_CONFIG;
    }
    limits_describe(&s->app->recipe, &s->asked, &sim.rollout);
    sim.faults = s->faults;
    sim.nfaults = s->nfaults;
    sim.switch_ms = SWITCH_MS;
    sim.tell = on_news;
    sim.context = s;
    sim_run(&sim);
    int64_t took_ms = sim.now_ms;
    progress_free(s->progress);
    if (sim.rollout.outcome != ROLLOUT_HELD_OPEN && sim.rollout.outcome != ROLLOUT_PAUSED)
        sim_settle(&sim); /* an open one is shown as it is left */
    const char *wrong = sim_wrong(&sim);
    if (s->app->json)
        end_json(&sim, took_ms, wrong);
    else
        end_text(s, &sim, took_ms);
    fflush(stdout);
    if (wrong)
        broken(wrong, s->names[sim.wrong_host]);
    sim_done(&sim);
    return wrong ? APP_BAD : APP_DONE;
}

/* --- --rounds
 * ------------------------------------------------------------------------------------- */

struct tally {
    uint64_t stories[ROLLOUT_NOUTCOMES], taken_over, wrong;
    size_t most_out;
};

static bool one_round(struct simulation *s, uint64_t seed, struct tally *tally)
{
    uint64_t state = seed;
    struct story story;
    struct sim sim;
    struct err err;
    if (sim_init(&sim, ROLLOUT_RELEASE, s->app->recipe.count, s->names, &s->limits, &err) < 0) {
        app_error("%s", err.text);
        return false;
    }
    limits_describe(&s->app->recipe, &s->asked, &sim.rollout);
    sim.switch_ms = SWITCH_MS;
    story_make(&state, sim.count, &story);
    const char *wrong = story_tell(&story, &sim);
    if (wrong && tally->wrong++ == 0) {
        char command[64];
        snprintf(command, sizeof command, "--rounds 1 --seed %llu", (unsigned long long)seed);
        broken(wrong, command);
    }
    tally->stories[sim.died ? ROLLOUT_RUNNING : sim.rollout.outcome]++;
    tally->taken_over += sim.taken_over;
    tally->most_out = sim.most_out > tally->most_out ? sim.most_out : tally->most_out;
    sim_done(&sim);
    return true;
}

/* RUNNING: deployctl died, and there was nothing to take over. */
static const char *outcome_word(int outcome)
{
    return outcome == ROLLOUT_RUNNING ? "died"
                                      : rollout_name_outcome((enum rollout_outcome)outcome);
}

static const char *meaning(int outcome)
{
    static const char *const texts[ROLLOUT_NOUTCOMES] = {
        [ROLLOUT_RUNNING] = "deployctl died before the first switch, or when all was over",
        [ROLLOUT_DONE] = "all hosts on the release, but those within the budgets",
        [ROLLOUT_BAD] = "judged bad, everything is back",
        [ROLLOUT_FAILED] = "failed for another reason, everything is back or still open",
        [ROLLOUT_UNREACHABLE] = "too many hosts away, everything is back or still open",
        [ROLLOUT_LOCKED] = "somebody else held the lock, nothing was changed",
        [ROLLOUT_PAUSED] = "paused, open",
        [ROLLOUT_HELD_OPEN] = "the canary waits for promote",
        [ROLLOUT_ABORTED] = "aborted, everything is back",
        [ROLLOUT_INTERRUPTED] = "interrupted before the first switch",
        [ROLLOUT_INCOMPLETE] = "hosts need attention and are named",
    };
    return texts[outcome] ? texts[outcome] : "";
}

static void rounds_json(const struct tally *tally, uint64_t rounds, uint64_t seed)
{
    json_t *end = json_object(), *outcomes = json_object();
    jsonx_set_text(end, "event", "end");
    jsonx_set_int(end, "stories", (int64_t)rounds);
    jsonx_set_int(end, "seed", (int64_t)seed);
    for (int i = 0; i < ROLLOUT_NOUTCOMES; i++)
        if (tally->stories[i])
            jsonx_set_int(outcomes, outcome_word(i), (int64_t)tally->stories[i]);
    json_object_set_new(end, "outcomes", outcomes);
    jsonx_set_int(end, "taken_over", (int64_t)tally->taken_over);
    jsonx_set_int(end, "most_out", (int64_t)tally->most_out);
    jsonx_set_int(end, "wrong", (int64_t)tally->wrong);
    report_json(end);
}

static void rounds_text(const struct simulation *s, const struct tally *tally, uint64_t rounds,
                        uint64_t seed)
{
    struct table table;
    table_init(&table, 3);
    table_put(&table, "OUTCOME");
    table_put(&table, "STORIES");
    table_put(&table, "MEANS");
    for (int i = 0; i < ROLLOUT_NOUTCOMES; i++) {
        if (tally->stories[i] == 0)
            continue;
        table_put(&table, "%s", outcome_word(i));
        table_put(&table, "%llu", (unsigned long long)tally->stories[i]);
        table_put(&table, "%s", meaning(i));
    }
    table_print(&table);
    table_done(&table);
    printf(
        "\n%llu stories of %zu hosts from seed %llu; in %llu deployctl died and was taken over\n",
        (unsigned long long)rounds, s->app->recipe.count, (unsigned long long)seed,
        (unsigned long long)tally->taken_over);
    printf("Capacity  at most %zu hosts were switching at the same time, %zu may be\n",
           tally->most_out, s->limits.unavailable);
    printf("Promises  %llu broken%s\n", (unsigned long long)tally->wrong,
           tally->wrong ? ""
                        : ": each host ran wholly one release, every budget was kept, and every "
                          "host on the wrong side was named");
}

static bool number(const struct cli *cli, const char *name, uint64_t most, uint64_t *value)
{
    const char *text = cli_value(cli, name);
    char *end;
    if (!text)
        return true;
    unsigned long long parsed = strtoull(text, &end, 10);
    bool ok = text[0] >= '0' && text[0] <= '9' && *end == '\0' && parsed <= most;
    if (!ok)
        app_error("--%s: \"%s\" is not a number up to %llu", name, text, (unsigned long long)most);
    *value = parsed;
    return ok;
}

static int many_stories(struct simulation *s, uint64_t rounds, uint64_t seed)
{
    struct tally tally = { 0 };
    for (uint64_t i = 0; i < rounds; i++)
        if (!one_round(s, seed + i, &tally))
            return APP_CONFIG;
    if (s->app->json)
        rounds_json(&tally, rounds, seed);
    else
        rounds_text(s, &tally, rounds, seed);
    return tally.wrong ? APP_BAD : APP_DONE;
}

/* --- the command
 * ----------------------------------------------------------------------------------- */

static bool prepare(struct simulation *s)
{
    struct app *app = s->app;
    const struct driver_order *order = &app->order;
    if (!cmd_release_limits(app))
        return false;
    s->asked = (struct limits_asked){ .canary_hosts = order->canary_hosts,
                                      .canary = order->canary,
                                      .batch = order->batch,
                                      .bake_ms = order->bake_ms,
                                      .hold = order->hold };
    limits_make(&app->recipe, &s->asked, &s->limits);
    s->names = arena_array(&app->recipe.arena, app->recipe.count, sizeof *s->names);
    for (size_t i = 0; s->names && i < app->recipe.count; i++)
        s->names[i] = app->recipe.hosts[i].name;
    bool ok = s->names != NULL;
    for (size_t i = 0; i < app->cli->nvalues; i++)
        if (strcmp(app->cli->values[i].name, "fail") == 0)
            ok = read_faults(s, app->cli->values[i].text) && ok;
    return ok;
}

static int simulate(struct app *app)
{
    struct simulation s = { .app = app };
    uint64_t rounds = 0, seed = 1;
    int code = APP_USAGE;
    bool ok = prepare(&s) && number(app->cli, "rounds", ROUNDS_MAX, &rounds) &&
              number(app->cli, "seed", INT64_MAX, &seed);
    if (ok && rounds > 0 && s.nfaults > 0)
        app_error("--rounds makes its own faults up; --fail cannot be given with it");
    else if (ok)
        code = rounds > 0 ? many_stories(&s, rounds, seed) : one_story(&s);
    free(s.faults);
    free(s.steps);
    return code;
}

int cmd_simulate_run(struct cli *cli)
{
    struct app app;
    const char *fail = cli_value(cli, "fail");
    int code;
    if (fail && strcmp(fail, "help") == 0)
        return list_steps() ? APP_DONE : APP_USAGE;
    if (app_open(&app, cli, DRIVER_RELEASE, &code))
        code = simulate(&app);
    app_done(&app);
    return code;
}
