/* plan_events.c - [events:NAME], made of what we have: a service whose command is our own feeder.
 *
 *     [events:tell]                      [service:tell]
 *     command = /usr/local/bin/page      command = /proc/self/exe events --only "exit" --of "web"
 *     events = exit                  ->              --as "tell" --acks -- /usr/local/bin/page
 *     services = web                     user = nobody
 *     acknowledge = number
 *     user = nobody
 *
 * All other keys are those of a service.  With a user, that user gets the right to these events,
 * as by an [access:NAME] (plan_access.c).
 */
#include <string.h>

#include "supervisor/plan/plan_build.h"

static bool is_own(const char *key)
{
    static const char *const own[] = { "command", "events", "services", "acknowledge" };

    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(own[i], key) == 0)
            return true;
    return false;
}

/* Patterns go between quotes into a command line. */
static const char *patterns(struct plan_build *build, const struct plan_section *section,
                            const char *name, const char *option)
{
    const struct plan_key *key = plan_sections_key(section, name);

    if (!key)
        return "";
    if (!*key->value || strpbrk(key->value, "\"'\\%")) {
        plan_build_error(build, key->file, key->line, section->title, name,
                         "\"%.64s\" are no patterns, try names with blanks between them",
                         key->value);
        return "";
    }
    return arena_printf(&build->scratch, " --%s \"%s\"", option, key->value);
}

static const char *acks(struct plan_build *build, const struct plan_section *section)
{
    const struct plan_key *key = plan_sections_key(section, "acknowledge");

    if (!key || strcmp(key->value, "read") == 0)
        return "";
    if (strcmp(key->value, "number") == 0)
        return " --acks";
    plan_build_error(build, key->file, key->line, section->title, key->key,
                     "\"%.64s\" is unknown, try read or number", key->value);
    return "";
}

static void become_service(struct plan_build *build, struct plan_section *section)
{
    const struct plan_key *command = plan_sections_key(section, "command"), *old = section->keys;
    struct plan_key *keys = plan_build_scratch(build, section->nkeys + 1, sizeof(*keys));
    const char *only = patterns(build, section, "events", "only");
    const char *of = patterns(build, section, "services", "of");
    const char *number = acks(build, section);
    size_t count = section->nkeys;

    section->kind = PLAN_KIND_SERVICE;
    section->helper = true;
    section->about = plan_sections_key(section, "services");
    if (!keys || !only || !of)
        return;
    section->keys = keys;
    section->nkeys = 0;
    for (size_t i = 0; i < count; i++)
        if (!is_own(old[i].key))
            section->keys[section->nkeys++] = old[i];
    if (!command) /* what follows tells that it is missing */
        return;
    const char *text = arena_printf(&build->scratch, "%s events%s%s --as \"%s\"%s -- %s", PLAN_SELF,
                                    only, of, section->name, number, command->value);
    build->no_memory |= !text;
    section->keys[section->nkeys++] =
        (struct plan_key){ "command", text, command->file, command->line };
}

void plan_events_become_services(struct plan_build *build)
{
    for (size_t i = 0; i < build->nsections && !build->no_memory; i++)
        if (build->sections[i].kind == PLAN_KIND_EVENTS)
            become_service(build, &build->sections[i]);
}
