/* config.c - the contract is in config.h. */
#include "supervisor/cli/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/zone.h"
#include "io/child.h"
#include "io/durable.h"
#include "supervisor/cli/places.h"
#include "supervisor/host/rights.h"
#include "supervisor/host/users.h"
#include "supervisor/plan/instance.h"
#include "supervisor/plan/plan_lint.h"
#include "supervisor/plan/release_keys.h"

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

/* --- with a release --- */

static const char no_release[] = "000000-00000000";

/* "/srv/web/releases/000123-9f3ac1d2" is in the set "/srv/web". */
static bool lies_in(const char *folder, const char *set)
{
    size_t len = strlen(set);
    const char *rest = folder + len;

    return strncmp(folder, set, len) == 0 && strncmp(rest, "/releases/", 10) == 0 && rest[10] &&
           !strchr(rest + 10, '/');
}

static void add_release(struct config *config, const struct spec_service *service,
                        const char *folder, int dirfd)
{
    const char *name = service->release_config + (*service->release_config == '-');
    char path[PLACES_PATH_MAX * 2], opened[64];
    struct plan_release entry = {
        .service = service->name, .id = no_release, .path = path, .problem = "", .pinned = true
    };
    struct buf text;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    buf_init(&text, RELEASE_KEYS_FILE_MAX);
    AUTO_CLOSE int fd = durable_open_beneath(dirfd, name, O_RDONLY | O_NONBLOCK, 0);
    snprintf(opened, sizeof opened, "/proc/self/fd/%d", fd);
    int rc = fd < 0 ? fd : buf_read_file(&text, AT_FDCWD, opened);
    if (rc == 0) {
        entry.text = buf_text(&text);
        entry.len = text.len;
    }
    if (rc != 0 && (rc != -ENOENT || *service->release_config != '-'))
        err_list_add(&config->errors,
                     "%s:%d: [service:%s] release_config: %s cannot be read: %s (with a leading - "
                     "it may be missing)",
                     service->file, service->line, service->name, path, strerrordesc_np(-rc));
    else if (!plan_source_release(&config->source, &entry))
        err_list_add(&config->errors, "%s: out of memory", path);
    buf_done(&text);
}

bool config_load_release(struct config *config, const char *folder, struct err *err)
{
    const struct plan *plan = config->plan;
    size_t own = 0, count = 0;
    AUTO_FREE char *real = realpath(folder, NULL);
    AUTO_CLOSE int dirfd = real ? open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (!real || dirfd < 0) {
        err_sys(err, errno, "the release %s cannot be opened", folder);
        return false;
    }
    for (size_t i = 0; i < plan->nservices; i++)
        own += plan->services[i].release && lies_in(real, plan->services[i].release);
    for (size_t i = 0; i < plan->nservices; i++) {
        const struct spec_service *service = &plan->services[i];
        bool here = service->release && lies_in(real, service->release);
        if (!service->release_config || (own && !here))
            continue;
        add_release(config, service, real, dirfd);
        count++;
    }
    if (count == 0) {
        err_set(err, ERR_NOT_FOUND, "no service of %s has a release_config%s",
                config->source.config, own ? " and this release" : "");
        return false;
    }
    plan_free(config->plan);
    err_list_done(&config->warnings);
    err_list_init(&config->warnings);
    config->plan = plan_make_with_places(&config->source, &config->errors, &config->warnings);
    return config->plan && config->errors.total == 0;
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

#define WARN(config, service, key, ...)                                                            \
    plan_lint_add(&(config)->source, (service), (key), &(config)->warnings, __VA_ARGS__)

static void look_at_user(struct config *config, const struct spec_service *service)
{
    struct users_identity identity;
    struct arena arena;
    struct err err = { 0 };

    arena_init(&arena);
    if (users_find(service->user, service->user_group, &arena, &identity, &err) != 0)
        WARN(config, service, service->user ? "user" : "group", "%s", err.text);
    arena_done(&arena);
}

/* A command inside a release is looked at when there is a release, and one inside a root there. */
static void look_at_program(struct config *config, const struct instance *made, char **argv,
                            const char *key)
{
    const char *command = argv ? argv[0] : NULL;
    struct stat st;
    struct err err = { 0 };

    if (!command || made->service->set->sandbox.root || (strchr(command, '/') && command[0] != '/'))
        return;
    if (command[0] == '/') {
        if (stat(command, &st) != 0 && errno == ENOENT)
            WARN(config, made->service, key, "%s is not there", command);
        else if (stat(command, &st) == 0 && !S_ISREG(st.st_mode))
            WARN(config, made->service, key, "%s is not a file", command);
        else if (stat(command, &st) == 0 && !(st.st_mode & 0111))
            WARN(config, made->service, key, "%s is not executable", command);
        return;
    }
    char *found = child_find(command, made->envp, &err);
    if (!found)
        WARN(config, made->service, key, "%s", err.text);
    free(found);
}

static void look_at_check(struct config *config, const struct instance *made,
                          const struct instance_check *check, const char *key)
{
    if (check->kind == SPEC_CHECK_EXEC)
        look_at_program(config, made, check->argv, key);
}

static void look_at_folder(struct config *config, const struct spec_service *service,
                           const char *key, const char *path)
{
    struct stat st;

    if (!path || *path != '/')
        return;
    if (stat(path, &st) != 0 && errno == ENOENT)
        WARN(config, service, key, "%s is not there", path);
    else if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
        WARN(config, service, key, "%s is not a folder", path);
}

static void look_at_log(struct config *config, const struct spec_service *service, const char *key,
                        const char *path)
{
    struct stat st;

    if (path && *path == '/' && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        WARN(config, service, key, "%s is a folder", path);
}

static void look_at_environment_file(struct config *config, const struct spec_service *service)
{
    const char *path = service->environment_file;

    /* "-/path" may be missing, and what has expansions in it is looked at when it starts. */
    if (path && *path == '/' && !strchr(path, '%') && access(path, R_OK) != 0)
        WARN(config, service, "environment_file", "%s: %s", path, strerror(errno));
}

/* What it is started from may lie in what something empty is put in the place of. */
static void look_at_cover(struct config *config, const struct spec_service *service,
                          const char *key, const char *path)
{
    const struct spec_sandbox *spec = &service->set->sandbox;

    if (path && spec->private_tmp.on && !spec->root &&
        (strncmp(path, "/tmp/", 5) == 0 || strncmp(path, "/var/tmp/", 9) == 0))
        WARN(config, service, key, "%s is not there for it: private_tmp covers it", path);
}

static void look_at_sandbox(struct config *config, const struct spec_service *service,
                            const struct spec_sandbox *spec)
{
    const struct spec_paths *lists[] = { &spec->read_only, &spec->read_write, &spec->hidden };
    static const char *const keys[] = { "read_only", "read_write_paths", "hidden_paths" };
    const char *key = NULL;
    struct err err = { 0 };

    if (!spec_sandbox_any(spec))
        return;
    if (!config->ability_known)
        ability_look(&config->ability);
    config->ability_known = true;
    if (ability_check(&config->ability, spec, &key, &err) != 0)
        WARN(config, service, key, "%s", err.text);
    look_at_folder(config, service, "root", spec->root);
    for (size_t i = 0; !spec->root && i < sizeof lists / sizeof *lists; i++)
        for (size_t k = 0; k < lists[i]->count; k++)
            if (*lists[i]->list[k] == '/' && access(lists[i]->list[k], F_OK) != 0)
                WARN(config, service, keys[i], "%s: %s (a leading - allows it to be missing)",
                     lists[i]->list[k], strerror(errno));
}

static void look_at_zone(struct config *config, const struct spec_service *service)
{
    struct err err = { 0 };

    if (service->set->schedule.count == 0)
        return;
    struct zone *zone = zone_open(service->set->schedule_timezone, &err);
    if (!zone)
        WARN(config, service, "schedule_timezone", "%s", err.text);
    zone_free(zone);
}

static void look_at_service(struct config *config, const struct spec_service *service)
{
    static const struct instance_release none = { .id = "", .dir = "" };
    struct instance made;
    struct arena arena;
    struct err err = { 0 };

    look_at_user(config, service);
    look_at_zone(config, service);
    look_at_environment_file(config, service);
    look_at_folder(config, service, "release", service->release);
    arena_init(&arena);
    if (instance_make(config->plan, service, service->set->numprocs_start, &none, NULL, false,
                      &arena, &made, &err) == 0) {
        look_at_sandbox(config, service, made.sandbox);
        look_at_cover(config, service, "command", made.argv[0]);
        look_at_cover(config, service, "directory", made.directory);
        look_at_cover(config, service, "release", service->release);
        look_at_program(config, &made, made.argv, "command");
        look_at_program(config, &made, made.pre_start, "pre_start");
        look_at_program(config, &made, made.post_start, "post_start");
        look_at_program(config, &made, made.pre_stop, "pre_stop");
        look_at_program(config, &made, made.post_stop, "post_stop");
        look_at_program(config, &made, made.on_failed, "on_failed");
        look_at_check(config, &made, &made.ready, "ready");
        look_at_check(config, &made, &made.startup, "startup");
        look_at_check(config, &made, &made.live, "live");
        if (!service->set->sandbox.root)
            look_at_folder(config, service, "directory", made.directory);
        look_at_log(config, service, "stdout_logfile", made.stdout_log);
        look_at_log(config, service, "stderr_logfile", made.stderr_log);
    }
    arena_done(&arena);
}

static void look_at_socket(struct config *config, const struct spec_socket *socket)
{
    struct err err = { 0 };
    uid_t uid;
    gid_t gid;

    if (socket->owner && users_owner(socket->owner, &uid, &gid, &err) != 0)
        err_list_add(&config->warnings, "%s:%d: [socket:%s] owner: %s", socket->file, socket->line,
                     socket->name, err.text);
    for (size_t i = 0; i < socket->listen.count; i++) {
        const char *path = socket->listen.names[i], *slash = strrchr(path, '/');
        struct stat st;
        if (*path != '/' || slash == path)
            continue;
        char *folder = strndup(path, (size_t)(slash - path));
        if (folder && stat(folder, &st) != 0 && errno == ENOENT)
            err_list_add(&config->warnings, "%s:%d: [socket:%s] listen: the folder %s is not there",
                         socket->file, socket->line, socket->name, folder);
        free(folder);
    }
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

/* A reload would refuse these, so they are errors, unlike other things that a host lacks. */
static void look_at_rights(struct config *config)
{
    const struct plan *plan = config->plan;
    struct rights *rights = plan ? rights_make(plan, &config->errors) : NULL;
    const int64_t open = 0006;

    rights_free(rights);
    if (plan && plan->naccess > 0 && (plan->supervisor.socket_mode & open) != open)
        err_list_add(&config->warnings,
                     "%s:%d: [%s] those who are not in control_group cannot connect: socket_mode "
                     "is %04o, try 0666",
                     plan->access[0].file, plan->access[0].line, plan->access[0].title,
                     (unsigned)plan->supervisor.socket_mode);
}

void config_look_around(struct config *config)
{
    look_at_rights(config);
    look_at_control_group(config);
    for (size_t i = 0; config->plan && i < config->plan->nservices; i++)
        look_at_service(config, &config->plan->services[i]);
    for (size_t i = 0; config->plan && i < config->plan->nsockets; i++)
        look_at_socket(config, &config->plan->sockets[i]);
    if (config->plan)
        plan_lint(config->plan, &config->source, &config->warnings);
}
