/* look_order.c - the contract is in look_order.h. */
#include "deployctl/agent/look_order.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "io/jsonx.h"

/* Is "api:0" an instance of this service? */
static bool is_of(const char *instance, const char *service)
{
    const char *colon = strrchr(instance, ':');
    size_t len = colon ? (size_t)(colon - instance) : strlen(instance);
    return strlen(service) == len && strncmp(service, instance, len) == 0;
}

/* The place of a service among the instances, in the order in which they are replaced; their number
 * when it is not there. */
static size_t place(const json_t *instances, const char *service)
{
    size_t i = 0, count = json_array_size(instances);
    while (i < count && !is_of(jsonx_text(json_array_get(instances, i), "id", ""), service))
        i++;
    return i;
}

static const char *name_at(const json_t *services, size_t i)
{
    const char *name = json_string_value(json_array_get(services, i));
    return name ? name : "";
}

/* The first service that is written before one that is replaced earlier; NULL = none. */
static const char *too_late(const json_t *instances, const json_t *services, const char **ret_other)
{
    size_t count = json_array_size(instances), last = 0;
    const char *before = NULL;
    for (size_t i = 0; i < json_array_size(services); i++) {
        size_t at = place(instances, name_at(services, i));
        if (at >= count)
            continue; /* told as what it is */
        if (at < last) {
            *ret_other = name_at(services, i);
            return before;
        }
        last = at;
        before = name_at(services, i);
    }
    return NULL;
}

static const char *not_named(const json_t *instances, const json_t *services)
{
    for (size_t i = 0; i < json_array_size(instances); i++) {
        const char *id = jsonx_text(json_array_get(instances, i), "id", "");
        bool named = false;
        for (size_t k = 0; k < json_array_size(services) && !named; k++)
            named = is_of(id, name_at(services, k));
        if (!named)
            return id;
    }
    return NULL;
}

const char *look_order_warning(const json_t *state, const json_t *services, char *text, size_t size)
{
    const json_t *instances = json_object_get(state, "instances");
    const char *other = NULL, *late = too_late(instances, services, &other);
    const char *extra = late ? NULL : not_named(instances, services);
    text[0] = '\0';
    if (late)
        snprintf(text, size,
                 "the supervisor here switches %.80s before %.80s, other than `service` in "
                 "deploy.ini says; add after = %.80s to [service:%.80s] here, or write them the "
                 "other way round there",
                 other, late, late, other);
    else if (extra)
        snprintf(text, size,
                 "%.80s runs from this folder and switches with the others, but nobody watches it: "
                 "add it to `service` in deploy.ini",
                 extra);
    return text;
}
