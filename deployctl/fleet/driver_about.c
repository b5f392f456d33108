/* driver_about.c - what is known of a release besides its contents: signature, who, hooks. */
#include <stdio.h>
#include <string.h>

#include "deployctl/fleet/driver_inside.h"
#include "io/jsonx.h"

/* What any host was told when it got the release; NULL = no host has it. */
static const json_t *known_already(const struct driver *driver)
{
    for (size_t i = 0; i < driver->count; i++) {
        const json_t *releases = json_object_get(driver->hosts[i].glance.answer, "releases");
        const json_t *release;
        size_t k;
        json_array_foreach((json_t *)releases, k, release)
        {
            const json_t *about = json_object_get(release, "about");
            if (json_is_object(about) &&
                strcmp(jsonx_text(release, "digest", ""), driver->digest) == 0)
                return about;
        }
    }
    return NULL;
}

json_t *driver_hooks(const struct recipe *recipe)
{
    const struct recipe_hooks *hooks = &recipe->hooks;
    const struct {
        const char *name, *command;
    } rows[] = {
        { "before_install", hooks->before_install }, { "after_install", hooks->after_install },
        { "before_switch", hooks->before_switch },   { "validate", hooks->validate },
        { "after_switch", hooks->after_switch },     { "on_failure", hooks->on_failure },
    };
    json_t *all = json_object();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].command)
            jsonx_set_text(all, rows[i].name, rows[i].command);
    return all;
}

json_t *driver_about(const struct driver *driver)
{
    const struct driver_order *order = &driver->order;
    const char *app = driver->recipe->deploy.app;
    const json_t *known = known_already(driver);
    char signature[SIGN_TEXT_MAX];
    json_t *about = known ? json_deep_copy(known) : json_object();
    if (driver->sign_key &&
        sign_make(driver->sign_key, app, driver->digest, signature, NULL) == 0) {
        jsonx_set_text(about, "app", app);
        jsonx_set_text(about, "signature", signature);
    }
    if (order->verb != DRIVER_RELEASE)
        return about;
    json_object_set_new(about, "hooks", driver_hooks(driver->recipe));
    jsonx_set_text(about, "who", order->who);
    if (order->irreversible)
        jsonx_set_text(about, "irreversible", order->irreversible);
    if (order->message)
        jsonx_set_text(about, "message", order->message);
    return about;
}

/* --- what cannot be undone -------------------------------------------------------------------- */

enum { WHERE_MAX = 512 };

static void say_irreversible(struct driver *driver, const char *id, const char *what)
{
    bool yes = driver->order.yes;
    driver_tell(
        driver, yes ? DRIVER_NEWS_WARNING : DRIVER_NEWS_ERROR, NULL, NULL,
        "%s was released as irreversible (%.300s): its code can be taken back, that cannot%s", id,
        what, yes ? "" : "; with --yes it is done all the same");
}

/* The highest number that runs on any host. */
static uint64_t highest_current(const struct driver *driver)
{
    uint64_t highest = 0, number;
    for (size_t i = 0; i < driver->count; i++) {
        const char *id = driver->hosts[i].glance.current;
        if (id && manifest_id_parse(id, &number) && number > highest)
            highest = number;
    }
    return highest;
}

/* Was it said of this id before, by a host with a lower index? */
static bool is_told(const struct driver *driver, size_t host, const char *id)
{
    for (size_t i = 0; i < host; i++) {
        const json_t *list = json_object_get(driver->hosts[i].glance.answer, "irreversible");
        const json_t *one;
        size_t k;
        json_array_foreach((json_t *)list, k, one)
        {
            if (strcmp(jsonx_text(one, "id", ""), id) == 0)
                return true;
        }
    }
    return false;
}

/* Tells each release with a number over `from` and up to `to` that is marked; how many there are.
 */
static size_t say_between(struct driver *driver, uint64_t from, uint64_t to)
{
    size_t found = 0;
    for (size_t i = 0; i < driver->count; i++) {
        const json_t *list = json_object_get(driver->hosts[i].glance.answer, "irreversible");
        const json_t *one;
        size_t k;
        json_array_foreach((json_t *)list, k, one)
        {
            const char *id = jsonx_text(one, "id", "");
            uint64_t number;
            if (!manifest_id_parse(id, &number) || number <= from || number > to ||
                is_told(driver, i, id))
                continue;
            found++;
            say_irreversible(driver, id, jsonx_text(one, "irreversible", ""));
        }
    }
    return found;
}

bool driver_about_blocks(struct driver *driver)
{
    uint64_t target;
    if (!manifest_id_parse(driver->id, &target))
        return false;
    return say_between(driver, target, highest_current(driver)) > 0 && !driver->order.yes;
}

bool driver_about_blocks_undo(struct driver *driver)
{
    uint64_t number;
    bool runs = false;
    for (size_t i = 0; i < driver->count; i++) {
        const char *id = driver->hosts[i].glance.current;
        runs = runs || (id && strcmp(id, driver->opened.id) == 0);
    }
    if (!runs || !manifest_id_parse(driver->opened.id, &number))
        return false;
    return say_between(driver, number - 1, number) > 0 && !driver->order.yes;
}

/* --- what a rollback is ----------------------------------------------------------------------- */

static void join(char text[static WHERE_MAX], const char *name)
{
    size_t len = strlen(text);
    if (len + strlen(name) + sizeof ", ..." < WHERE_MAX)
        snprintf(text + len, WHERE_MAX - len, "%s%s", len > 0 ? ", " : "", name);
}

/* The first host's answer counts: they run the same services. */
static void join_configs(const struct driver *driver, char text[static WHERE_MAX])
{
    size_t k;
    json_t *name;
    for (size_t i = 0; i < driver->count && text[0] == '\0'; i++)
        json_array_foreach(json_object_get(driver->hosts[i].glance.answer, "configs"), k, name)
        {
            if (json_is_string(name))
                join(text, json_string_value(name));
        }
}

void driver_about_rollback(struct driver *driver)
{
    const struct recipe_deploy *deploy = &driver->recipe->deploy;
    char hosts[WHERE_MAX] = "", away[WHERE_MAX] = "", shared[WHERE_MAX] = "";
    char configs[WHERE_MAX] = "";
    join_configs(driver, configs);
    for (size_t i = 0; i < driver->count; i++) {
        if (!driver_decide_reached(driver, i))
            join(away, driver->hosts[i].spec->name);
        else if (!driver->rollout.hosts[i].skip)
            join(hosts, driver->hosts[i].spec->name);
    }
    for (size_t i = 0; i < deploy->shared_dirs.count; i++)
        join(shared, deploy->shared_dirs.names[i]);
    for (size_t i = 0; i < deploy->shared_files.count; i++)
        join(shared, deploy->shared_files.names[i]);
    driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL,
                "brings back everything in release %s (code, files, links, permissions%s%s) on %s",
                driver->id, *configs ? ", and the settings of its services: " : "", configs, hosts);
    driver_tell(driver, DRIVER_NEWS_NOTE, NULL, NULL,
                "does not bring back: what is shared%s%s%s, databases and what else services and "
                "hooks have changed, environment files and the supervisor's own files%s%s",
                *shared ? " (" : "", shared, *shared ? ")" : "",
                *away ? "; hosts not reached: " : "", away);
}
