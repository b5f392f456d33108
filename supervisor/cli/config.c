/* config.c - the contract is in config.h. */
#include "supervisor/cli/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/child.h"
#include "supervisor/core/users.h"
#include "supervisor/plan/instance.h"

bool config_load(const char *path, struct config *config)
{
    memset(config, 0, sizeof *config);
    err_list_init(&config->errors);
    err_list_init(&config->warnings);
    if (plan_source_read(path, environ, &config->source, &config->errors) != 0)
        return false;
    config->plan = plan_make_with_places(&config->source, &config->errors, &config->warnings);
    return config->plan != NULL;
}

void config_done(struct config *config)
{
    plan_free(config->plan);
    plan_source_free(&config->source);
    err_list_done(&config->errors);
    err_list_done(&config->warnings);
}

void config_print_errors(const struct config *config, FILE *to)
{
    const struct err_list *errors = &config->errors;

    for (size_t i = 0; i < errors->count; i++)
        fprintf(to, "%s\n", errors->lines[i]);
    if (errors->total > errors->count)
        fprintf(to, "... and %zu more\n", errors->total - errors->count);
    fprintf(to, "%zu error%s\n", errors->total, errors->total == 1 ? "" : "s");
}

/* --- what only this host knows --- */

static void warn_of(struct config *config, const struct spec_service *service, const char *key,
                    const char *what)
{
    err_list_add(&config->warnings, "%s:%d: [%s:%s] %s: %s", service->file, service->line,
                 service->kind == SPEC_PROGRAM ? "program" : "service", service->name, key, what);
}

static void look_at_user(struct config *config, const struct spec_service *service)
{
    struct users_identity identity;
    struct arena arena;
    struct err err = { 0 };

    arena_init(&arena);
    if (users_find(service->user, service->user_group, &arena, &identity, &err) != 0)
        warn_of(config, service, service->user ? "user" : "group", err.text);
    arena_done(&arena);
}

/* A command inside a release is looked at when there is a release. */
static void look_at_program(struct config *config, const struct instance *made, char **argv,
                            const char *key)
{
    const struct spec_service *service = made->service;
    const char *command = argv ? argv[0] : NULL;
    struct err err = { 0 };

    if (!command || (strchr(command, '/') && command[0] != '/'))
        return;
    if (command[0] == '/') {
        if (access(command, F_OK) != 0 && errno == ENOENT) {
            err_set(&err, ERR_NOT_FOUND, "%s is not there", command);
            warn_of(config, service, key, err.text);
        }
        return;
    }
    char *found = child_find(command, made->envp, &err);
    if (!found)
        warn_of(config, service, key, err.text);
    free(found);
}

static void look_at_service(struct config *config, const struct spec_service *service)
{
    static const struct instance_release none = { .id = "", .dir = "" };
    struct instance made;
    struct arena arena;
    struct err err = { 0 };

    look_at_user(config, service);
    arena_init(&arena);
    if (instance_make(config->plan, service, service->numprocs_start, &none, NULL, false, &arena,
                      &made, &err) == 0) {
        look_at_program(config, &made, made.argv, "command");
        look_at_program(config, &made, made.pre_start, "pre_start");
        look_at_program(config, &made, made.post_start, "post_start");
        look_at_program(config, &made, made.pre_stop, "pre_stop");
        look_at_program(config, &made, made.post_stop, "post_stop");
        look_at_program(config, &made, made.on_failed, "on_failed");
    }
    arena_done(&arena);
}

static void look_at_control_group(struct config *config)
{
    const char *group = config->plan ? config->plan->supervisor.control_group : NULL;
    struct err err = { 0 };
    gid_t gid;

    if (group && users_group(group, &gid, &err) != 0)
        err_list_add(&config->warnings, "%s: [supervisor] control_group: %s", config->source.config,
                     err.text);
}

void config_look_around(struct config *config)
{
    look_at_control_group(config);
    for (size_t i = 0; config->plan && i < config->plan->nservices; i++)
        look_at_service(config, &config->plan->services[i]);
}
