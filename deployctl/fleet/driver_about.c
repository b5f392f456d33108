/* driver_about.c - what is known of a release besides its contents: signature, who, hooks. */
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

static void add_hooks(const struct driver *driver, json_t *about)
{
    const struct recipe_hooks *hooks = &driver->recipe->hooks;
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
    json_object_set_new(about, "hooks", all);
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
    add_hooks(driver, about);
    jsonx_set_text(about, "who", order->who);
    if (order->message)
        jsonx_set_text(about, "message", order->message);
    return about;
}
