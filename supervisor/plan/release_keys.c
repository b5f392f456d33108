/* release_keys.c - the contract is in release_keys.h. */
#include "supervisor/plan/release_keys.h"

#include <stdbool.h>
#include <string.h>

static const char rights[] = "with which rights it runs is the host's to say";
static const char sandbox[] = "its sandbox is the host's to say";
static const char limits[] = "what it may take of the host is the host's to say";
static const char files[] = "files outside of a release are the host's to name";
static const char hooks[] = "commands around its life are the host's to name";
static const char others[] = "what it shares with other services is the host's to say";
static const char policy[] = "when it is started, stopped and given up is the host's to say";
static const char itself[] = "which release it runs is the host's to say";

static const struct {
    const char *key, *why; /* NULL = a release may set it */
} rows[] = {
    /* clang-format off */
    { "command",             NULL },
    { "environment",         NULL },
    { "numprocs",            NULL },
    { "startsecs",           NULL },
    { "stopwaitsecs",        NULL },
    { "ready",               NULL },
    { "ready_timeout",       NULL },
    { "ready_interval",      NULL },
    { "ready_check_timeout", NULL },
    { "ready_delay",         NULL },
    { "ready_threshold",     NULL },
    { "ready_successes",     NULL },
    { "startup",             NULL },
    { "startup_interval",    NULL },
    { "startup_timeout",     NULL },
    { "startup_threshold",   NULL },
    { "startup_delay",       NULL },
    { "live",                NULL },
    { "live_interval",       NULL },
    { "live_timeout",        NULL },
    { "live_threshold",      NULL },
    { "live_delay",          NULL },

    { "user",         rights },
    { "group",        rights },
    { "umask",        rights },
    { "capabilities", rights },
    { "no_new_privs", rights },

    { "root",             sandbox },
    { "namespaces",       sandbox },
    { "seccomp",          sandbox },
    { "private_tmp",      sandbox },
    { "private_devices",  sandbox },
    { "read_only",        sandbox },
    { "read_write_paths", sandbox },
    { "hidden_paths",     sandbox },

    { "nice",           limits },
    { "oom_score_adj",  limits },
    { "rlimit_nofile",  limits },
    { "rlimit_core",    limits },
    { "rlimit_nproc",   limits },
    { "rlimit_as",      limits },
    { "rlimit_memlock", limits },
    { "rlimit_stack",   limits },
    { "rlimit_fsize",   limits },
    { "rlimit_cpu",     limits },
    { "memory_max",     limits },
    { "memory_high",    limits },
    { "cpu_max",        limits },
    { "cpu_weight",     limits },
    { "pids_max",       limits },
    { "io_weight",      limits },
    { "fd_store_max",   limits },

    { "directory",               files },
    { "environment_file",        files },
    { "reload_files",            files },
    { "stdout_logfile",          files },
    { "stderr_logfile",          files },
    { "redirect_stderr",         files },
    { "stdout_logfile_maxbytes", files },
    { "stdout_logfile_maxage",   files },
    { "stdout_logfile_backups",  files },
    { "stderr_logfile_maxbytes", files },
    { "stderr_logfile_maxage",   files },
    { "stderr_logfile_backups",  files },
    { "logfile_compress",        files },
    { "log_format",              files },
    { "log_overflow",            files },

    { "pre_start",    hooks },
    { "post_start",   hooks },
    { "pre_stop",     hooks },
    { "post_stop",    hooks },
    { "on_failed",    hooks },
    { "hook_timeout", hooks },

    { "requires",       others },
    { "wants",          others },
    { "after",          others },
    { "before",         others },
    { "priority",       others },
    { "sockets",        others },
    { "stdin",          others },
    { "port_base",      others },
    { "process_name",   others },
    { "numprocs_start", others },
    { "on_exit",        others },

    { "type",               policy },
    { "autostart",          policy },
    { "start_on",           policy },
    { "schedule",           policy },
    { "every",              policy },
    { "schedule_timezone",  policy },
    { "schedule_jitter",    policy },
    { "concurrency_policy", policy },
    { "catch_up",           policy },
    { "starting_deadline",  policy },
    { "run_timeout",        policy },
    { "autorestart",        policy },
    { "exitcodes",          policy },
    { "restart_on",         policy },
    { "startretries",       policy },
    { "backoff_min",        policy },
    { "backoff_max",        policy },
    { "backoff_factor",     policy },
    { "backoff_jitter",     policy },
    { "backoff_reset",      policy },
    { "stopsignal",         policy },
    { "kill_mode",          policy },
    { "stopasgroup",        policy },
    { "killasgroup",        policy },
    { "reload_signal",      policy },
    { "on_live_failure",    policy },
    { "watchdog",           policy },
    { "watchdog_signal",    policy },
    { "notify_access",      policy },
    { "restart_mode",       policy },

    { "release",        itself },
    { "release_config", itself },
    /* clang-format on */
};

const char *release_keys_refusal(const char *key)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(rows[i].key, key) == 0)
            return rows[i].why;
    return NULL;
}

/* --- values --- */

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* "127.0.0.1", "[::1]", "localhost", or none. */
static bool is_own_host(const char *host, size_t len)
{
    static const char *const own[] = { "", "localhost", "[::1]" };

    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (strlen(own[i]) == len && strncmp(own[i], host, len) == 0)
            return true;
    return len > strlen("127.") && begins(host, "127.") && strspn(host, "0123456789.") == len;
}

/* The supervisor itself connects, from where it is and with its own rights. */
static int check_target(const char *value, struct err *err)
{
    static const char *const schemes[] = { "http://", "tcp://", "grpc://" };

    if (begins(value, "unix:"))
        return err_set(err, ERR_INVALID,
                       "\"%.64s\" is outside of the release, where a release may have nothing "
                       "looked at; try http://127.0.0.1:PORT/, exec: or notify",
                       value);
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (!begins(value, schemes[i]))
            continue;
        const char *host = value + strlen(schemes[i]);
        size_t len =
            *host == '[' ? strcspn(host, "]") + (strchr(host, ']') != NULL) : strcspn(host, ":/");
        if (!is_own_host(host, len))
            return err_set(err, ERR_INVALID,
                           "\"%.64s\" is another host, and a release may have only its own looked "
                           "at; try %s127.0.0.1:PORT",
                           value, schemes[i]);
    }
    return 0;
}

int release_keys_value(const char *key, const char *value, struct err *err)
{
    if (strstr(value, "%(here)"))
        return err_set(err, ERR_INVALID, "%%(here)s is a folder of the host, try %%(release_dir)s");
    if (strcmp(key, "ready") == 0 || strcmp(key, "startup") == 0 || strcmp(key, "live") == 0)
        return check_target(value, err);
    return 0;
}

int release_keys_name(const char *name, struct err *err)
{
    const char *at = name + (*name == '-');

    if (*at == '/' || *at == '\0')
        return err_set(err, ERR_INVALID,
                       "\"%.64s\" must be a file inside the release, try deploy/service.ini", name);
    while (*at) {
        size_t len = strcspn(at, "/");
        if (len == 2 && at[0] == '.' && at[1] == '.')
            return err_set(err, ERR_INVALID, "\"%.64s\" has .. in it, try the path without", name);
        at += len + strspn(at + len, "/");
    }
    return 0;
}
