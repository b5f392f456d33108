/* instance.c - the contract is in instance.h. */
#include "supervisor/plan/instance.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/words.h"
#include "supervisor/plan/instance_file.h"
#include "supervisor/plan/options_sandbox.h"

enum { NO_NUMPROCS = -1 };
static const char no_memory[] = "out of memory";

/* One instance in the making. */
struct maker {
    const struct plan *plan;
    const struct spec_service *service;
    int64_t number;
    const struct instance_release *release;
    bool pinned; /* to a release that is there */
    struct arena *arena;
    struct instance *ret;
    char **names;       /* for expansions */
    char **own;         /* environment = ... */
    char **environment; /* what %(ENV_X)s sees: the plan's and `own` */
    instance_report *report;
    void *context;
    struct err *err;
    int rc; /* of the last error; without `report` also the first, because it stops there */
};

static void failed(struct maker *m, const char *key, struct err *err)
{
    m->rc = err->code;
    if (m->report) {
        m->report(m->context, key, err->text);
        return;
    }
    err_wrap(err, "[%s:%s] %s", m->service->kind == SPEC_PROGRAM ? "program" : "service",
             m->service->name, key);
    if (m->err)
        *m->err = *err;
}

static void out_of_memory(struct maker *m, const char *key)
{
    struct err err;

    err_set(&err, ERR_MEMORY, no_memory);
    failed(m, key, &err);
}

/* After an error only a maker that reports goes on, to find the others. */
static bool going_on(const struct maker *m) { return m->rc == 0 || m->report; }

char **instance_overlay(char *const *base, char *const *more, struct arena *arena)
{
    size_t nbase = 0, nmore = 0, count = 0;

    while (base && base[nbase])
        nbase++;
    while (more && more[nmore])
        nmore++;
    char **ret = arena_array(arena, nbase + nmore + 1, sizeof(*ret));
    if (!ret)
        return NULL;
    for (size_t i = 0; i < nbase; i++)
        ret[count++] = base[i];
    for (size_t i = 0; i < nmore; i++) {
        size_t len = strcspn(more[i], "=") + 1, at = 0;
        while (at < count && strncmp(ret[at], more[i], len) != 0)
            at++;
        ret[at] = more[i];
        count += at == count;
    }
    return ret;
}

char **instance_names(const char *here, const char *host, const char *program, const char *group,
                      int64_t numprocs, struct arena *arena)
{
    enum { NAMES_MAX = 5 };
    char **names = arena_array(arena, NAMES_MAX + 1, sizeof(*names));
    size_t count = 0;

    if (!names)
        return NULL;
    names[count++] = arena_printf(arena, "here=%s", here);
    names[count++] = arena_printf(arena, "host_node_name=%s", host);
    if (program)
        names[count++] = arena_printf(arena, "program_name=%s", program);
    if (group)
        names[count++] = arena_printf(arena, "group_name=%s", group);
    if (numprocs != NO_NUMPROCS)
        names[count++] = arena_printf(arena, "numprocs=%lld", (long long)numprocs);
    for (size_t i = 0; i < count; i++)
        if (!names[i])
            return NULL;
    return names;
}

static bool make_names(struct maker *m)
{
    enum { MORE_MAX = 4 };
    const struct spec_service *service = m->service;
    size_t count = 1;
    char *more[MORE_MAX + 1] = { NULL };

    m->names = instance_names(service->here, m->plan->host, service->name, service->group,
                              service->numprocs, m->arena);
    more[0] = arena_printf(m->arena, "process_num=%lld", (long long)m->number);
    if (m->pinned) {
        more[count++] = arena_printf(m->arena, "release_dir=%s", m->release->dir);
        more[count++] = arena_printf(m->arena, "release_id=%s", m->release->id);
    }
    int64_t first_port = service->set->port_base, port = first_port + m->number;
    if (first_port > 0)
        more[count++] = arena_printf(m->arena, "port=%lld", (long long)port);
    bool made = m->names;
    for (size_t i = 0; i < count; i++)
        made &= more[i] != NULL;
    if (made)
        m->names = instance_overlay(m->names, more, m->arena);
    if (made && m->names)
        return true;
    out_of_memory(m, "process_name");
    return false;
}

/* The text with its expansions filled in; NULL if there is none or it is wrong. */
static const char *expand(struct maker *m, const char *key, const char *text)
{
    struct err err;
    const char *ret = NULL;

    if (text && going_on(m) &&
        instance_expand(text, m->names, m->environment, m->arena, &ret, &err) < 0)
        failed(m, key, &err);
    return ret;
}

int instance_environment(const char *text, char *const *names, char *const *envp,
                         struct arena *arena, char ***ret_pairs, struct err *err)
{
    char **pairs;
    size_t count;
    int rc = words_environment(text, arena, &pairs, &count, err);

    for (size_t i = 0; rc == 0 && i < count; i++) {
        const char *value, *equals = strchr(pairs[i], '=');
        if (!equals || !strchr(equals, '%'))
            continue;
        rc = instance_expand(equals + 1, names, envp, arena, &value, err);
        if (rc < 0)
            return err_wrap(err, "%.*s", (int)(equals - pairs[i]), pairs[i]);
        pairs[i] = arena_printf(arena, "%.*s=%s", (int)(equals - pairs[i]), pairs[i], value);
        if (!pairs[i])
            return err_set(err, ERR_MEMORY, no_memory);
    }
    if (rc == 0)
        *ret_pairs = pairs;
    return rc;
}

int instance_environment_shlex(const char *text, char *const *names, char *const *envp,
                               struct arena *arena, char ***ret_pairs, struct err *err)
{
    const char *expanded;
    size_t count;
    int rc = instance_expand(text, names, envp, arena, &expanded, err);

    return rc < 0 ? rc : words_environment_shlex(expanded, arena, ret_pairs, &count, err);
}

/* PORT, unless the service says itself what that is. */
static char **add_port(struct maker *m)
{
    char *variable[2] = { NULL };
    int64_t first_port = m->service->set->port_base, port = first_port + m->number;

    if (first_port == 0)
        return m->own;
    variable[0] = arena_printf(m->arena, "PORT=%lld", (long long)port);
    return variable[0] ? instance_overlay(variable, m->own, m->arena) : NULL;
}

/* environment = ..., which the expansions of all other keys see too. */
static void make_environment(struct maker *m)
{
    char *const *outer = (char *const *)m->plan->environment;
    struct err err;

    m->environment = (char **)m->plan->environment;
    if (!m->service->environment && m->service->set->port_base == 0)
        return;
    int rc = !m->service->environment ? 0
             : m->service->kind == SPEC_PROGRAM
                 ? instance_environment_shlex(m->service->environment, m->names, outer, m->arena,
                                              &m->own, &err)
                 : instance_environment(m->service->environment, m->names, outer, m->arena, &m->own,
                                        &err);
    if (rc < 0) {
        failed(m, "environment", &err);
        return;
    }
    m->own = add_port(m);
    m->environment = m->own ? instance_overlay(outer, m->own, m->arena) : NULL;
    if (!m->environment)
        out_of_memory(m, "environment");
}

/* A command line as words; NULL if there is none or it is wrong. */
static char **make_words(struct maker *m, const char *key, const char *text)
{
    const char *expanded = expand(m, key, text);
    char **words = NULL;
    size_t count;
    struct err err;

    if (!expanded)
        return NULL;
    int rc = m->service->kind == SPEC_PROGRAM
                 ? words_split_shlex(expanded, m->arena, &words, &count, &err)
                 : words_split(expanded, m->arena, &words, &count, &err);
    if (rc == 0 && (count == 0 || !*words[0]))
        rc = err_set(&err, ERR_INVALID, "is empty, try /usr/bin/PROGRAM ARG");
    if (rc < 0) {
        failed(m, key, &err);
        return NULL;
    }
    return words;
}

static void make_directory(struct maker *m)
{
    struct err err;

    m->ret->directory = expand(m, "directory", m->service->directory);
    if (!m->ret->directory || *m->ret->directory == '/' || m->service->release ||
        m->service->kind == SPEC_PROGRAM)
        return;
    err_set(&err, ERR_INVALID, "\"%.64s\" is relative, try an absolute path (without release)",
            m->ret->directory);
    failed(m, "directory", &err);
}

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strcasecmp(text, *words) == 0)
            return true;
    return false;
}

/* "/var/log/x.log" becomes "/var/log/x-NAME-N.log". */
static const char *set_apart(struct maker *m, const char *path)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    size_t len = dot && dot > slash + 1 ? (size_t)(dot - path) : strlen(path);

    return arena_printf(m->arena, "%.*s-%s-%lld%s", (int)len, path, m->service->name,
                        (long long)m->number, path + len);
}

static const char *default_log(struct maker *m, const char *ending)
{
    const char *dir = m->plan->supervisor.log_dir;

    return arena_printf(m->arena, "%s/%s-%lld%s", dir ? dir : "/var/log/supervisor",
                        m->service->name, (long long)m->number, ending);
}

static const char *log_path(struct maker *m, const char *path, bool apart, struct err *err)
{
    if (*path != '/' && m->service->kind == SPEC_SERVICE) {
        err_set(err, ERR_INVALID,
                "\"%.64s\" is not an absolute path, none, inherit, console, syslog or journald",
                path);
        return NULL;
    }
    if (*path != '/') /* as near as can be to supervisord, which takes its own working directory */
        path = arena_printf(m->arena, "%s/%s", m->service->here, path);
    if (path && strlen(path) >= PATH_MAX - 64) {
        err_set(err, ERR_INVALID, "the path is longer than %d bytes", PATH_MAX - 64);
        return NULL;
    }
    return path && apart ? set_apart(m, path) : path;
}

/* "console", "syslog", "journald", or the last two with the path of a socket. */
static bool is_target(const char *path)
{
    static const char *const words[] = { "syslog", "journald" };

    if (strcmp(path, "console") == 0)
        return true;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t len = strlen(words[i]);
        if (strncmp(path, words[i], len) == 0 &&
            (!path[len] || (path[len] == ':' && path[len + 1] == '/')))
            return true;
    }
    return false;
}

enum instance_log instance_log(const char *logfile)
{
    static const char *const nowhere[] = { "none", "off", "/dev/null", NULL };
    static const char *const outside[] = { "inherit",         "/dev/stdout", "/dev/stderr",
                                           "/dev/fd/1",       "/dev/fd/2",   "/proc/self/fd/1",
                                           "/proc/self/fd/2", NULL };

    if (!logfile || strcasecmp(logfile, "auto") == 0)
        return INSTANCE_LOG_DEFAULT;
    if (is_one_of(logfile, nowhere))
        return INSTANCE_LOG_NONE;
    return is_one_of(logfile, outside) ? INSTANCE_LOG_INHERIT : INSTANCE_LOG_CAPTURED;
}

static const char *captured_log(struct maker *m, const char *path, const struct spec_output *output,
                                struct err *err)
{
    return is_target(path) ? path : log_path(m, path, output->apart, err);
}

/* Where one stream goes: the spellings of supervisord and containers become ours. */
static const char *make_log(struct maker *m, const char *key, const struct spec_output *output,
                            const char *ending)
{
    struct err err;
    const char *ret = NULL, *path = expand(m, key, output->logfile);

    if (output->logfile && !path)
        return NULL;
    err_set(&err, ERR_MEMORY, no_memory);
    switch (instance_log(path)) {
    case INSTANCE_LOG_DEFAULT:
        ret = default_log(m, ending);
        break;
    case INSTANCE_LOG_NONE:
        ret = "none";
        break;
    case INSTANCE_LOG_INHERIT:
        ret = "inherit";
        break;
    case INSTANCE_LOG_CAPTURED:
        ret = captured_log(m, path, output, &err);
        break;
    }
    if (!ret)
        failed(m, key, &err);
    return ret;
}

static void make_logs(struct maker *m)
{
    const struct spec_service *service = m->service;
    struct instance *ret = m->ret;

    ret->stdout_log = make_log(m, "stdout_logfile", &service->out, ".log");
    if (service->set->redirect_stderr) {
        ret->stderr_log = "stdout";
        return;
    }
    ret->stderr_log = make_log(m, "stderr_logfile", &service->err, ".err.log");
    if (ret->stdout_log && ret->stderr_log && *ret->stdout_log == '/' &&
        strcmp(ret->stdout_log, ret->stderr_log) == 0)
        ret->stderr_log = "stdout";
}

/* Only `ready` can wait for something that the service does by itself. */
static bool fits_use(const char *key, const struct instance_check *check)
{
    bool passive = check->kind == SPEC_CHECK_NOTIFY || check->kind == SPEC_CHECK_FD ||
                   check->kind == SPEC_CHECK_LOG || check->kind == SPEC_CHECK_DELAY;
    return !passive || strcmp(key, "ready") == 0;
}

/* Descriptors of sockets come first, from 3 on, then those that it left with us. */
static int first_free_fd(const struct maker *m)
{
    int fd = 3 + (int)m->service->set->fd_store_max;

    if (m->service->set->standard_input == SPEC_STDIN_SOCKET)
        return fd;
    for (size_t i = 0; i < m->service->nsockets; i++)
        fd += (int)m->plan->sockets[m->service->socket_index[i]].naddrs;
    return fd;
}

static void make_check(struct maker *m, const char *key, const struct spec_check *check,
                       struct instance_check *ret)
{
    const char *target = expand(m, key, check->target);
    struct err err;

    *ret = (struct instance_check){ .kind = SPEC_CHECK_NONE, .fd = -1 };
    if (!target)
        return;
    int rc = instance_check_parse(target, m->arena, ret, &err);
    if (rc == 0 && !fits_use(key, ret))
        rc = err_set(&err, ERR_INVALID,
                     "\"%.32s\" is only for ready, try http, grpc, tcp, unix or exec", target);
    if (rc == 0 && ret->kind == SPEC_CHECK_FD && ret->fd < first_free_fd(m))
        rc =
            err_set(&err, ERR_INVALID, "fd:%d is taken by sockets%s, try fd:%d", ret->fd,
                    m->service->set->fd_store_max > 0 ? " and fd_store_max" : "", first_free_fd(m));
    if (rc == 0 && ret->kind == SPEC_CHECK_NOTIFY &&
        m->service->set->notify_access == SPEC_NOTIFY_NONE)
        rc = err_set(&err, ERR_INVALID, "notify cannot work with notify_access = none");
    if (rc < 0)
        failed(m, key, &err);
}

/* Whose output is not ours to read, or not of one process alone, cannot be waited for. */
static void check_read(struct maker *m)
{
    const char *out = m->ret->stdout_log;
    struct err err;

    if (m->ret->ready.kind != SPEC_CHECK_LOG)
        return;
    if (m->service->set->restart_mode == SPEC_OVERLAP)
        err_set(
            &err, ERR_INVALID,
            "log: cannot tell two processes apart, restart_mode = overlap wants notify or fd:N");
    else if (out && (strcmp(out, "none") == 0 || strcmp(out, "inherit") == 0))
        err_set(&err, ERR_INVALID, "log: needs output that is captured, not stdout_logfile = %s",
                out);
    else
        return;
    failed(m, "ready", &err);
}

/* Who may not speak cannot be waited for. */
static void check_heard(struct maker *m)
{
    struct err err;

    if (m->service->set->watchdog_ms == 0 || m->service->set->notify_access != SPEC_NOTIFY_NONE)
        return;
    err_set(&err, ERR_INVALID, "a watchdog cannot work with notify_access = none");
    failed(m, "watchdog", &err);
}

static void make_process_name(struct maker *m)
{
    const char *name = expand(m, "process_name", m->service->process_name);
    struct err err;

    m->ret->process_name = name ? name : m->service->name;
    if (!name || strcmp(name, m->service->name) == 0 || (*name && !strpbrk(name, " :/\t\n")))
        return;
    err_set(&err, ERR_INVALID, "\"%.64s\" is empty or has a blank, : or / in it", name);
    failed(m, "process_name", &err);
}

/* --- the paths of its sandbox --- */

static bool has_expansions(const struct spec_paths *paths)
{
    for (size_t i = 0; i < paths->count; i++)
        if (strchr(paths->list[i], '%'))
            return true;
    return false;
}

static void expand_paths(struct maker *m, const char *key, struct spec_paths *paths)
{
    const char **list = arena_array(m->arena, paths->count + 1, sizeof(*list));
    struct err err;

    if (!list) {
        out_of_memory(m, key);
        return;
    }
    for (size_t i = 0; i < paths->count && going_on(m); i++) {
        const char *text = expand(m, key, paths->list[i]);
        if (text && options_sandbox_path(text, m->arena, &list[i], &err) < 0)
            failed(m, key, &err);
        if (!list[i])
            return; /* which was told */
    }
    paths->list = list;
}

static void make_sandbox(struct maker *m)
{
    const struct spec_sandbox *spec = &m->service->set->sandbox;

    m->ret->sandbox = spec;
    if (!has_expansions(&spec->read_only) && !has_expansions(&spec->read_write) &&
        !has_expansions(&spec->hidden))
        return;
    struct spec_sandbox *own = arena_alloc(m->arena, sizeof(*own));
    if (!own) {
        out_of_memory(m, "read_only");
        return;
    }
    *own = *spec;
    expand_paths(m, "read_only", &own->read_only);
    expand_paths(m, "read_write_paths", &own->read_write);
    expand_paths(m, "hidden_paths", &own->hidden);
    m->ret->sandbox = own;
}

static bool file_path(struct maker *m, const char **ret_path, bool *ret_optional)
{
    const char *path = expand(m, "environment_file", m->service->environment_file);
    struct err err;

    if (!path)
        return false;
    *ret_optional = *path == '-';
    *ret_path = path + *ret_optional;
    if (**ret_path == '/')
        return true;
    err_set(&err, ERR_INVALID, "\"%.64s\" is relative, try an absolute path", *ret_path);
    failed(m, "environment_file", &err);
    return false;
}

/* Pairs that name the instance or its release, over everything else. */
static char **make_marks(struct maker *m)
{
    char **marks = arena_array(m->arena, 6, sizeof(*marks));
    size_t count = 0;

    if (!marks)
        return NULL;
    if (m->pinned) {
        marks[count++] = arena_printf(m->arena, "RELEASE_ID=%s", m->release->id);
        marks[count++] = arena_printf(m->arena, "RELEASE_DIR=%s", m->release->dir);
    }
    if (m->service->kind == SPEC_PROGRAM) {
        marks[count++] = arena_strdup(m->arena, "SUPERVISOR_ENABLED=1");
        marks[count++] = arena_printf(m->arena, "SUPERVISOR_PROCESS_NAME=%s", m->ret->process_name);
        marks[count++] = arena_printf(m->arena, "SUPERVISOR_GROUP_NAME=%s", m->service->group);
    }
    for (size_t i = 0; i < count; i++)
        if (!marks[i])
            return NULL;
    return marks;
}

/* In whatever order they are; never 0. */
static uint32_t sum_of_pairs(char *const *pairs)
{
    uint32_t all = 0;

    for (; pairs && *pairs; pairs++) {
        uint32_t sum = 0x811c9dc5u; /* FNV-1a */
        for (const char *at = *pairs; *at; at++)
            sum = (sum ^ (unsigned char)*at) * 0x01000193u;
        all += sum;
    }
    return all ? all : 1;
}

/* Parts of a path that have wildcards: each is a look through folders. */
static unsigned wild_parts(const char *pattern)
{
    unsigned count = 0;

    while (*pattern) {
        size_t len = strcspn(pattern, "/");
        count += strcspn(pattern, "*?[\\") < len;
        pattern += len + strspn(pattern + len, "/");
    }
    return count;
}

static void make_reload_files(struct maker *m)
{
    struct err err;

    m->ret->reload_files = make_words(m, "reload_files", m->service->set->reload_files);
    for (char **word = m->ret->reload_files; word && *word; word++) {
        unsigned wild = wild_parts(*word);
        if (**word == '/' && wild <= INSTANCE_WILD_MAX)
            continue;
        if (**word != '/')
            err_set(&err, ERR_INVALID, "\"%.64s\" is relative, try an absolute path", *word);
        else
            err_set(&err, ERR_INVALID,
                    "\"%.64s\" has wildcards in %u parts, at most %d are allowed", *word, wild,
                    INSTANCE_WILD_MAX);
        failed(m, "reload_files", &err);
        return;
    }
}

static void make_envp(struct maker *m, char *const *user_environment, bool read_files)
{
    char *const *user = m->service->kind == SPEC_PROGRAM ? NULL : user_environment;
    char **from_file = NULL, **envp;
    const char *path;
    bool optional;
    struct err err;

    if (file_path(m, &path, &optional) && read_files &&
        instance_file_read(path, optional, m->arena, &from_file, &err) < 0)
        failed(m, "environment_file", &err);
    if (m->service->environment_file && read_files)
        m->ret->file_sum = sum_of_pairs(from_file);
    char **marks = make_marks(m);
    envp = instance_overlay((char *const *)m->plan->environment, user, m->arena);
    if (envp)
        envp = instance_overlay(envp, from_file, m->arena);
    if (envp)
        envp = instance_overlay(envp, m->own, m->arena);
    if (envp && marks)
        envp = instance_overlay(envp, marks, m->arena);
    m->ret->envp = envp;
    if (!envp || !marks)
        out_of_memory(m, "environment");
}

static int make(struct maker *m, char *const *user_environment, bool read_files)
{
    const struct spec_service *service = m->service;
    struct instance *ret = m->ret;

    *ret = (struct instance){ .service = service, .number = m->number };
    snprintf(ret->name, sizeof(ret->name), "%s:%lld", service->name, (long long)m->number);
    m->pinned = service->release && m->release && *m->release->id;
    if (!make_names(m))
        return m->rc;
    make_environment(m);
    ret->argv = make_words(m, "command", service->command);
    make_directory(m);
    make_process_name(m);
    make_logs(m);
    make_check(m, "ready", &service->set->ready, &ret->ready);
    make_check(m, "startup", &service->set->startup, &ret->startup);
    make_check(m, "live", &service->set->live, &ret->live);
    check_heard(m);
    check_read(m);
    make_sandbox(m);
    ret->pre_start = make_words(m, "pre_start", service->set->pre_start);
    ret->post_start = make_words(m, "post_start", service->set->post_start);
    ret->pre_stop = make_words(m, "pre_stop", service->set->pre_stop);
    ret->post_stop = make_words(m, "post_stop", service->set->post_stop);
    ret->on_failed = make_words(m, "on_failed", service->set->on_failed);
    make_reload_files(m);
    if (going_on(m))
        make_envp(m, user_environment, read_files);
    if (m->rc == 0 && !ret->argv)
        out_of_memory(m, "command");
    return m->rc;
}

int instance_make(const struct plan *plan, const struct spec_service *service, int64_t number,
                  const struct instance_release *release, char *const *user_environment,
                  bool read_files, struct arena *arena, struct instance *ret, struct err *err)
{
    struct maker m = { .plan = plan,
                       .service = service,
                       .number = number,
                       .release = release,
                       .arena = arena,
                       .ret = ret,
                       .err = err };
    return make(&m, user_environment, read_files);
}

int instance_try(const struct plan *plan, const struct spec_service *service, int64_t number,
                 const struct instance_release *release, struct arena *arena, struct instance *ret,
                 instance_report *report, void *context)
{
    struct maker m = { .plan = plan,
                       .service = service,
                       .number = number,
                       .release = release,
                       .arena = arena,
                       .ret = ret,
                       .report = report,
                       .context = context };
    return make(&m, NULL, false);
}
