/* explain.c - the contract is in explain.h. */
#include "supervisor/cli/explain.h"

#include <stdlib.h>
#include <string.h>

#include "base/signals.h"
#include "base/unit.h"
#include "io/jsonx.h"
#include "supervisor/plan/instance.h"
#include "supervisor/plan/options.h"
#include "supervisor/plan/options_parse.h"

static json_t *text_value(const char *text)
{
    /* Through an object, because jsonx_set_text also takes what is not UTF-8. */
    json_t *holder = json_object(), *ret;

    if (!holder || jsonx_set_text(holder, "text", text) != 0) {
        json_decref(holder);
        return NULL;
    }
    ret = json_incref(json_object_get(holder, "text"));
    json_decref(holder);
    return ret;
}

static json_t *names_value(const struct opt_names *names)
{
    json_t *ret = json_array();

    for (size_t i = 0; i < names->count; i++)
        json_array_append_new(ret, text_value(names->names[i]));
    return ret;
}

static json_t *share_value(const struct unit_share *share)
{
    return share->percent >= 0 ? json_sprintf("%g%%", share->percent) : json_integer(share->count);
}

static json_t *exits_value(const struct spec_exits *exits)
{
    json_t *ret = json_array();

    for (int i = 0; i < 256; i++)
        if (exits->codes[i / 64] >> (i % 64) & 1)
            json_array_append_new(ret, json_integer(i));
    for (int i = 1; i < 64; i++)
        if (exits->signals >> i & 1)
            json_array_append_new(ret, json_string(signals_name(i)));
    return ret;
}

static json_t *limit_value(const struct spec_limit *limit)
{
    if (!limit->set)
        return json_null();
    return limit->value == RLIM_INFINITY ? json_string("unlimited")
                                         : json_integer((json_int_t)limit->value);
}

/* Values that base/opt has no type for; `text` is what was written, for those without a shape. */
static json_t *custom_value(const struct opt *row, const void *field, const char *text)
{
    static const char *const autorestart[] = { "false", "true", "unexpected" };

    if (row->parse == options_parse_autorestart)
        return json_string(autorestart[*(const int *)field]);
    if (row->parse == options_parse_exits)
        return exits_value(field);
    if (row->parse == options_parse_retries)
        return *(const int64_t *)field == SPEC_UNLIMITED ? json_string("unlimited")
                                                         : json_integer(*(const int64_t *)field);
    if (row->parse == options_parse_factor || row->parse == options_parse_jitter)
        return json_real(*(const double *)field);
    if (row->parse == options_parse_limit_count || row->parse == options_parse_limit_size ||
        row->parse == options_parse_limit_time)
        return limit_value(field);
    return text_value(text ? text : row->initial);
}

static json_t *value_of(const struct opt *row, const void *target, const char *text)
{
    const void *field = (const char *)target + row->offset;
    int64_t number = row->size == sizeof(int64_t) ? *(const int64_t *)field : 0;

    switch (row->type) {
    case OPT_BOOLEAN:
        return json_boolean(*(const bool *)field);
    case OPT_INTEGER:
    case OPT_SIZE:
        return json_integer(number);
    case OPT_OCTAL:
        return number < 0 ? json_null() : json_sprintf("0%llo", (unsigned long long)number);
    case OPT_DURATION:
        return json_real((double)number / 1000);
    case OPT_CHOICE:
        return json_string(row->choices[*(const int *)field]);
    case OPT_SIGNAL:
        return *(const int *)field ? json_string(signals_name(*(const int *)field)) : json_null();
    case OPT_TEXT:
        return text_value(*(const char *const *)field);
    case OPT_NAMES:
        return names_value(field);
    case OPT_SHARE:
        return share_value(field);
    case OPT_CUSTOM:
        return custom_value(row, field, text);
    case OPT_NTYPES:
        break;
    }
    return json_null();
}

static void set_place(json_t *object, const struct config *config, const struct spec_place *place)
{
    bool given = place && place->line > 0;

    jsonx_set_text(object, "file", given ? plan_source_path(&config->source, place->file) : NULL);
    json_object_set_new(object, "line", given ? json_integer(place->line) : json_null());
}

static json_t *keys_of(const struct config *config, const struct spec_service *service)
{
    const struct spec_filling filling = { .service = *service, .set = *service->set };
    json_t *ret = json_object();

    for (size_t i = 0; i < options_service.count; i++) {
        const struct opt *row = &options_service.rows[i];
        json_t *key = json_object();
        const char *initial =
            service->kind == SPEC_PROGRAM ? options_program_initial(row->key) : NULL;
        const char *given = spec_text(service, i), *text = given ? given : initial;
        json_object_set_new(key, "value", value_of(row, &filling, text));
        set_place(key, config, service->places ? &service->places[i] : NULL);
        json_object_set_new(ret, row->key, key);
    }
    return ret;
}

static json_t *words_value(char *const *words)
{
    json_t *ret = json_array();

    for (; words && *words; words++)
        json_array_append_new(ret, text_value(*words));
    return ret;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What is in `envp` and not the same in the environment that the files were read with. */
static json_t *environment_value(const struct config *config, char *const *envp,
                                 struct arena *arena)
{
    const char **own = config->source.environment;
    size_t count = 0;
    json_t *ret = json_object();

    while (own[count])
        count++;
    const char **sorted = arena_array(arena, count + 1, sizeof(*sorted));
    if (!sorted)
        return ret;
    memcpy(sorted, own, count * sizeof(*own));
    qsort(sorted, count, sizeof(*sorted), by_text);
    for (; envp && *envp; envp++) {
        const char *pair = *envp, *equals = strchr(pair, '=');
        if (!equals || bsearch(&pair, sorted, count, sizeof(*sorted), by_text))
            continue;
        const char *name = arena_strndup(arena, pair, (size_t)(equals - pair));
        if (name)
            jsonx_set_text(ret, name, equals + 1);
    }
    return ret;
}

static json_t *instance_value(const struct config *config, const struct spec_service *service,
                              int64_t number)
{
    static const struct instance_release none = { .id = "", .dir = "" };
    struct instance made;
    struct arena arena;
    struct err err;
    json_t *ret = json_object();

    arena_init(&arena);
    if (instance_make(config->plan, service, number, &none, NULL, false, &arena, &made, &err) < 0) {
        jsonx_set_text(ret, "error", err.text); /* %(release_dir)s, which is known at the start */
    } else {
        jsonx_set_text(ret, "id", made.name);
        jsonx_set_text(ret, "process_name", made.process_name);
        json_object_set_new(ret, "command", words_value(made.argv));
        jsonx_set_text(ret, "directory", made.directory);
        json_object_set_new(ret, "environment", environment_value(config, made.envp, &arena));
        jsonx_set_text(ret, "stdout_log", made.stdout_log);
        jsonx_set_text(ret, "stderr_log", made.stderr_log);
    }
    arena_done(&arena);
    return ret;
}

static json_t *service_value(const struct config *config, const struct spec_service *service)
{
    json_t *ret = json_object(), *instances = json_array();

    jsonx_set_text(ret, "name", service->name);
    jsonx_set_text(ret, "kind", service->kind == SPEC_PROGRAM ? "program" : "service");
    jsonx_set_text(ret, "group", service->group);
    jsonx_set_text(ret, "file", service->file);
    jsonx_set_int(ret, "line", service->line);
    json_object_set_new(ret, "keys", keys_of(config, service));
    for (int64_t i = 0; i < service->numprocs; i++)
        json_array_append_new(instances,
                              instance_value(config, service, service->set->numprocs_start + i));
    json_object_set_new(ret, "instances", instances);
    return ret;
}

/* "FILE:LINE: TEXT"; a file name may have ": " in it, so the known ones are tried. */
static json_t *note_value(const struct config *config, const char *line)
{
    json_t *ret = json_object();

    for (size_t i = 0; i < config->source.nfiles; i++) {
        const char *path = config->source.files[i].path;
        size_t len = strlen(path);
        char *end;
        if (strncmp(line, path, len) != 0 || line[len] != ':')
            continue;
        long number = strtol(line + len + 1, &end, 10);
        if (end == line + len + 1 || strncmp(end, ": ", 2) != 0)
            continue;
        jsonx_set_text(ret, "file", path);
        jsonx_set_int(ret, "line", number);
        jsonx_set_text(ret, "text", end + 2);
        return ret;
    }
    jsonx_set_text(ret, "file", NULL);
    json_object_set_new(ret, "line", json_null());
    jsonx_set_text(ret, "text", line);
    return ret;
}

static json_t *notes_value(const struct config *config, const struct err_list *list)
{
    json_t *ret = json_array();

    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(ret, note_value(config, list->lines[i]));
    return ret;
}

static json_t *supervisor_value(const struct spec_supervisor *supervisor)
{
    json_t *ret = json_object();

    for (size_t i = 0; i < options_supervisor.count; i++) {
        const struct opt *row = &options_supervisor.rows[i];
        json_object_set_new(ret, row->key, value_of(row, supervisor, supervisor->texts[i]));
    }
    return ret;
}

static json_t *socket_value(const struct spec_socket *socket)
{
    json_t *ret = json_object();

    jsonx_set_text(ret, "name", socket->name);
    jsonx_set_text(ret, "file", socket->file);
    jsonx_set_int(ret, "line", socket->line);
    json_object_set_new(ret, "listen", names_value(&socket->listen));
    return ret;
}

static json_t *group_value(const struct spec_group *group)
{
    json_t *ret = json_object();

    jsonx_set_text(ret, "name", group->name);
    jsonx_set_int(ret, "priority", group->priority);
    json_object_set_new(ret, "programs", names_value(&group->programs));
    return ret;
}

json_t *explain_config(const struct config *config)
{
    const struct plan *plan = config->plan;
    json_t *ret = json_object(), *services = json_array(), *sockets = json_array(),
           *groups = json_array();

    for (size_t i = 0; plan && i < plan->nservices; i++)
        json_array_append_new(services, service_value(config, &plan->services[i]));
    for (size_t i = 0; plan && i < plan->nsockets; i++)
        json_array_append_new(sockets, socket_value(&plan->sockets[i]));
    for (size_t i = 0; plan && i < plan->ngroups; i++)
        json_array_append_new(groups, group_value(&plan->groups[i]));
    jsonx_set_text(ret, "config", config->source.config);
    json_object_set_new(ret, "errors", notes_value(config, &config->errors));
    json_object_set_new(ret, "warnings", notes_value(config, &config->warnings));
    json_object_set_new(ret, "supervisor",
                        plan ? supervisor_value(&plan->supervisor) : json_null());
    json_object_set_new(ret, "services", services);
    json_object_set_new(ret, "sockets", sockets);
    json_object_set_new(ret, "groups", groups);
    return ret;
}
