/* report_freeze.c - the contract is in report_freeze.h. */
#include "deployctl/cli/report_freeze.h"

#include <stdio.h>
#include <string.h>

#include "deployctl/cli/report.h"
#include "io/jsonx.h"

enum { NAMES_SHOWN = 5 };

/* What hosts say of their freeze: just now, or in answer to `freeze`. */
static const json_t *freeze_of(const struct driver *driver, size_t index)
{
    struct driver_view view = driver_view(driver, index);
    const json_t *told = json_object_get(view.found, "freeze");
    if (told)
        return json_is_object(told) ? told : NULL;
    return view.glance->freeze;
}

static bool is_same(const json_t *a, const json_t *b)
{
    static const char *const members[] = { "reason", "who", "until" };
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        if (strcmp(jsonx_text(a, members[i], ""), jsonx_text(b, members[i], "")) != 0)
            return false;
    return jsonx_bool(a, "over", false) == jsonx_bool(b, "over", false);
}

static bool told_before(const struct driver *driver, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (freeze_of(driver, i) && is_same(freeze_of(driver, i), freeze_of(driver, index)))
            return true;
    return false;
}

static void put_hosts(const struct driver *driver, const json_t *freeze)
{
    size_t count = 0, total = driver_count(driver);
    for (size_t i = 0; i < total; i++)
        count += freeze_of(driver, i) && is_same(freeze_of(driver, i), freeze);
    if (count == total) {
        printf("every host");
        return;
    }
    for (size_t i = 0, shown = 0; i < total && shown < NAMES_SHOWN; i++)
        if (freeze_of(driver, i) && is_same(freeze_of(driver, i), freeze))
            printf("%s%s", shown++ ? ", " : "", driver_view(driver, i).spec->name);
    if (count > NAMES_SHOWN)
        printf(" and %zu more", count - NAMES_SHOWN);
}

static void put_freeze(const struct driver *driver, const json_t *freeze)
{
    const char *until = jsonx_text(freeze, "until", NULL);
    bool over = jsonx_bool(freeze, "over", false);
    printf("Frozen    ");
    report_text(jsonx_text(freeze, "reason", "?"));
    printf(" (by ");
    report_text(jsonx_text(freeze, "who", "?"));
    printf(" since %.19s%s%.19s, ", jsonx_text(freeze, "since", "?"),
           !until ? ""
           : over ? ", ran out "
                  : " until ",
           until ? until : "");
    put_hosts(driver, freeze);
    if (over)
        printf("): over, it stops nothing; `deployctl unfreeze` removes it\n");
    else
        printf(
            "): no new release; rollback, abort and pause work. `deployctl unfreeze` lifts it\n");
}

bool report_freeze(const struct driver *driver)
{
    bool any = false, stands = false;
    for (size_t i = 0; i < driver_count(driver); i++) {
        const json_t *freeze = freeze_of(driver, i);
        if (!freeze || told_before(driver, i))
            continue;
        printf("%s", any ? "" : "\n");
        any = true;
        stands = stands || !jsonx_bool(freeze, "over", false);
        put_freeze(driver, freeze);
    }
    return stands;
}
