/* boot_report.c - the contract is in boot_report.h. */
#include "deployctl/cli/boot_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/jsonx.h"

enum { ACT_WIDTH = 14 };

static void put_json(json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII);
    printf("%s\n", text != NULL ? text : "{}");
    fflush(stdout);
    free(text);
    json_decref(value);
}

/* --- before --------------------------------------------------------------------------------- */

static json_t *texts(const char lists[][BOOTSTRAP_TEXT_MAX], size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_string(lists[i]));
    return array;
}

static void plan_json(const struct boot_view *view)
{
    json_t *line = json_object(), *steps = json_array();
    jsonx_set_text(line, "event", "plan");
    jsonx_set_text(line, "host", view->spec->name);
    if (*view->error)
        jsonx_set_text(line, "error", view->error);
    for (size_t i = 0; view->plan != NULL && i < view->plan->nsteps; i++) {
        json_t *step = json_object();
        jsonx_set_text(step, "step", bootstrap_act_name(view->plan->steps[i].act));
        jsonx_set_text(step, "text", view->plan->steps[i].text);
        json_array_append_new(steps, step);
    }
    json_object_set_new(line, "steps", steps);
    if (view->plan != NULL) {
        json_object_set_new(line, "problems", texts(view->plan->problems, view->plan->nproblems));
        json_object_set_new(line, "notes", texts(view->plan->notes, view->plan->nnotes));
    }
    put_json(line);
}

static void plan_text(const struct boot_view *view)
{
    const struct bootstrap_plan *plan = view->plan;
    if (plan == NULL) {
        printf("%s: %s\n", view->spec->name, view->error);
        return;
    }
    if (plan->nproblems == 0 && plan->nsteps == 0) {
        printf("%s: has everything\n", view->spec->name);
        return;
    }
    printf("%s\n", view->spec->name);
    for (size_t i = 0; i < plan->nproblems; i++)
        printf("  %-*s %s\n", ACT_WIDTH, "cannot:", plan->problems[i]);
    for (size_t i = 0; plan->nproblems == 0 && i < plan->nsteps; i++)
        printf("  %-*s %s\n", ACT_WIDTH, bootstrap_act_name(plan->steps[i].act),
               plan->steps[i].text);
}

size_t boot_report_plan(const struct app *app, const struct boot *boot)
{
    size_t hosts = 0;
    for (size_t i = 0; i < boot_count(boot); i++) {
        struct boot_view view = boot_view(boot, i);
        if (app->json)
            plan_json(&view);
        else
            plan_text(&view);
        hosts += view.plan != NULL && view.plan->nproblems == 0 && view.plan->nsteps > 0;
    }
    fflush(stdout);
    return hosts;
}

/* --- meanwhile ------------------------------------------------------------------------------ */

void boot_report_news(void *context, const struct boot_news *news)
{
    const struct app *app = context;
    const char *step = news->step != NULL ? bootstrap_act_name(news->step->act) : "connect";
    bool failed = news->kind == BOOT_NEWS_FAILED;
    if (news->kind == BOOT_NEWS_DONE)
        step = "ready";
    if (app->json) {
        json_t *line = json_object();
        jsonx_set_text(line, "event", news->kind == BOOT_NEWS_DONE ? "ready" : "step");
        jsonx_set_text(line, "host", news->host);
        jsonx_set_text(line, "step", step);
        jsonx_set_bool(line, "ok", !failed);
        if (failed)
            jsonx_set_text(line, "error", news->text);
        put_json(line);
    } else if (failed) {
        fprintf(stderr, "%s  %-*s failed: %s\n", news->host, ACT_WIDTH, step, news->text);
    } else {
        printf("%s  %-*s %s\n", news->host, ACT_WIDTH, step,
               news->kind == BOOT_NEWS_DONE ? "all steps are done" : "done");
        fflush(stdout);
    }
}

/* --- after ---------------------------------------------------------------------------------- */

static bool is_ready(const struct boot_view *view)
{
    return *view->error == '\0' && view->plan != NULL && view->plan->nproblems == 0 &&
           view->done == view->plan->nsteps;
}

static void end_text(const struct boot *boot, size_t ready, bool begun)
{
    bool notes = false;
    for (size_t i = 0; i < boot_count(boot); i++) {
        struct boot_view view = boot_view(boot, i);
        for (size_t k = 0; view.plan != NULL && k < view.plan->nnotes; k++) {
            printf("%s%s: %s\n", notes ? "" : "\n", view.spec->name, view.plan->notes[k]);
            notes = true;
        }
    }
    if (!begun && ready < boot_count(boot))
        printf("\nNothing was changed.\n");
    else if (ready == boot_count(boot))
        printf("\n%s `deployctl hosts` checks it.\n", notes        ? "The rest is left to you, then"
                                                      : ready == 1 ? "The host is ready."
                                                                   : "All hosts are ready.");
    else
        printf("\n%zu of %zu hosts are ready; correct the others and run it again, what is done "
               "stays.\n",
               ready, boot_count(boot));
}

int boot_report_end(const struct app *app, const struct boot *boot, bool begun)
{
    size_t ready = 0;
    int code = APP_DONE;
    for (size_t i = 0; i < boot_count(boot); i++) {
        struct boot_view view = boot_view(boot, i);
        bool stopped = *view.error != '\0' || (view.plan != NULL && view.plan->nproblems > 0);
        ready += is_ready(&view);
        if (view.unreachable)
            code = APP_UNREACHABLE;
        else if (stopped && code == APP_DONE)
            code = APP_CONFIG;
    }
    if (app->json) {
        json_t *line = json_object();
        jsonx_set_text(line, "event", "end");
        jsonx_set_int(line, "ready", (int64_t)ready);
        jsonx_set_int(line, "hosts", (int64_t)boot_count(boot));
        jsonx_set_int(line, "exit", code);
        put_json(line);
    } else {
        end_text(boot, ready, begun);
    }
    return code;
}
