/* orders_names.c - the contract is in orders_names.h. */
#include "supervisor/core/orders_names.h"

#include <stdlib.h>
#include <string.h>

#include "base/near.h"

struct selection {
    const struct core *core;
    bool *chosen; /* per slot index */
    size_t matches;
};

static void choose(struct selection *selection, const char *name)
{
    const struct keeper *keeper = selection->core->keeper;
    size_t len = strlen(name);
    bool all = strcmp(name, "all") == 0;
    bool group = len > 2 && strcmp(name + len - 2, ":*") == 0;

    for (size_t i = 0; i < keeper->nslots; i++) {
        const struct slot *slot = keeper->slots[i];
        if (slot->removed)
            continue;
        bool match = all || strcmp(slot->name, name) == 0 || strcmp(slot->spec->name, name) == 0;
        if (group)
            match = strlen(slot->spec->group) == len - 2 &&
                    strncmp(slot->spec->group, name, len - 2) == 0;
        if (match) {
            selection->chosen[i] = true;
            selection->matches++;
        }
    }
}

static const char *service_name_at(size_t index, const void *context)
{
    const struct plan *plan = context;

    return plan->services[index].name;
}

static int unknown(const struct core *core, const char *name, struct err *err)
{
    const struct plan *plan = core->plan;
    const char *near = near_name(name, plan->nservices, service_name_at, plan);

    if (near)
        return err_set(err, ERR_NOT_FOUND,
                       "no service or instance is called \"%s\" (did you "
                       "mean \"%s\"?)",
                       name, near);
    return err_set(err, ERR_NOT_FOUND,
                   "no service or instance is called \"%s\" (see "
                   "'supervisor status')",
                   name);
}

static int choose_all(struct selection *selection, json_t *names, struct err *err)
{
    json_t *name;
    size_t i;

    json_array_foreach(names, i, name)
    {
        size_t before = selection->matches;
        const char *text = json_string_value(name);

        if (!text)
            return err_set(err, ERR_INVALID, "names must be texts");
        choose(selection, text);
        if (selection->matches == before && strcmp(text, "all") != 0)
            return unknown(selection->core, text, err);
    }
    return 0;
}

int orders_names_select(const struct core *core, json_t *names, struct slot ***ret,
                        size_t *ret_count, struct err *err)
{
    const struct keeper *keeper = core->keeper;
    struct selection selection = { .core = core,
                                   .chosen = calloc(keeper->nslots + 1, sizeof(bool)) };
    struct slot **slots = calloc(keeper->nslots + 1, sizeof *slots);
    size_t count = 0;
    int rc = 0;

    if (!selection.chosen || !slots)
        rc = err_set(err, ERR_MEMORY, "no memory for the names");
    else if (!json_is_array(names) || json_array_size(names) == 0)
        rc = err_set(err, ERR_INVALID, "which service? Give a name, NAME:N, GROUP:* or all");
    else
        rc = choose_all(&selection, names, err);
    for (size_t i = 0; rc == 0 && i < keeper->nslots; i++)
        if (selection.chosen[i])
            slots[count++] = keeper->slots[i];
    free(selection.chosen);
    if (rc != 0) {
        free(slots);
        return rc;
    }
    *ret = slots;
    *ret_count = count;
    return 0;
}

bool orders_names_has(json_t *names, const struct slot *slot)
{
    json_t *name;
    size_t i;

    json_array_foreach(names, i, name)
    {
        const char *text = json_string_value(name);
        if (text && (strcmp(text, slot->name) == 0 || strcmp(text, slot->spec->name) == 0))
            return true;
    }
    return false;
}
