/* plan_fixture.h - plans from texts in memory, for the tests of this folder. */
#ifndef TESTS_UNIT_SUPERVISOR_PLAN_PLAN_FIXTURE_H
#define TESTS_UNIT_SUPERVISOR_PLAN_PLAN_FIXTURE_H

#include <stdio.h>
#include <string.h>

#include "supervisor/plan/plan.h"

/* A source of one file "/etc/t/main.ini" on host "host1". */
static inline struct plan_source fixture_source(const char *text, const char **environment)
{
    static struct plan_file file;
    static const char *none[] = { NULL };
    struct plan_source source = { .config = "/etc/t/main.ini",
                                  .host = "host1",
                                  .files = &file,
                                  .nfiles = 1,
                                  .environment = environment ? environment : none };

    file = (struct plan_file){ "/etc/t/main.ini", text, strlen(text) };
    return source;
}

/* The plan of `text`, or NULL after printing what is wrong with it. */
static inline struct plan *fixture_plan(const char *text, const char **environment)
{
    struct plan_source source = fixture_source(text, environment);
    struct err_list errors, warnings;

    err_list_init(&errors);
    err_list_init(&warnings);
    struct plan *plan = plan_make(&source, &errors, &warnings);
    for (size_t i = 0; i < errors.count; i++)
        fprintf(stderr, "%s\n", errors.lines[i]);
    err_list_done(&errors);
    err_list_done(&warnings);
    return plan;
}

static inline const struct spec_service *fixture_service(const struct plan *plan, const char *name)
{
    ssize_t index = plan_find(plan, name);
    return index < 0 ? NULL : &plan->services[index];
}

#endif
