/* spec.h - what the configuration says, typed.  Filled from the option tables (options.h).
 *
 * Texts that may contain expansions ("%(process_num)d", "%(release_dir)s") are kept as written;
 * instance.h turns a service and a number into what is really run.  Everything here lives in
 * the arena of its plan and never changes after loading.
 */
#ifndef SUPERVISOR_PLAN_SPEC_H
#define SUPERVISOR_PLAN_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/addr.h"
#include "base/calendar.h"
#include "base/opt.h"

enum { SPEC_UNLIMITED = -1, SPEC_NAME_MAX = 64, SPEC_NUMPROCS_MAX = 1000 };

enum spec_check_kind {
    SPEC_CHECK_NONE,
    SPEC_CHECK_DELAY, /* ready only: up for startsecs */
    SPEC_CHECK_HTTP,
    SPEC_CHECK_TCP,
    SPEC_CHECK_UNIX,
    SPEC_CHECK_EXEC,
    SPEC_CHECK_GRPC,
    SPEC_CHECK_NOTIFY, /* ready only: sd_notify READY=1 */
    SPEC_CHECK_FD,     /* ready only: a newline on descriptor N */
    SPEC_CHECK_LOG,    /* ready only: a line of its output */
    SPEC_NCHECKS
};
/* One of ready, startup, live.  `target` may hold expansions and is parsed per instance. */
struct spec_check {
    const char *target; /* as written, NULL = none */
    int64_t interval_ms, timeout_ms, delay_ms;
    int64_t threshold; /* failures in a row that count */
    int64_t successes; /* successes in a row that count */
};

enum spec_kind { SPEC_SERVICE, SPEC_PROGRAM }; /* [service:] or supervisord's [program:] */
enum spec_type { SPEC_TYPE_SERVICE, SPEC_TYPE_ONESHOT, SPEC_TYPE_SCHEDULED };
enum spec_concurrency { SPEC_FORBID, SPEC_QUEUE, SPEC_REPLACE };
enum spec_catch_up { SPEC_CATCH_UP_NONE, SPEC_CATCH_UP_ONCE, SPEC_CATCH_UP_ALL };
enum spec_autorestart { SPEC_RESTART_FALSE, SPEC_RESTART_TRUE, SPEC_RESTART_UNEXPECTED };
enum spec_kill_mode { SPEC_KILL_MIXED, SPEC_KILL_GROUP, SPEC_KILL_PROCESS };
enum spec_restart_mode { SPEC_STOP_FIRST, SPEC_OVERLAP };
enum spec_live_failure { SPEC_LIVE_RESTART, SPEC_LIVE_NONE };
enum spec_notify_access { SPEC_NOTIFY_NONE, SPEC_NOTIFY_MAIN, SPEC_NOTIFY_ALL };
enum { SPEC_FD_STORE_MAX = 512 };
enum spec_start { SPEC_START_BOOT, SPEC_START_SOCKET };
enum spec_on_exit { SPEC_EXIT_NONE, SPEC_EXIT_SHUTDOWN };
enum spec_log_format { SPEC_LOG_RAW, SPEC_LOG_PLAIN, SPEC_LOG_JSON };
enum spec_overflow { SPEC_OVERFLOW_BLOCK, SPEC_OVERFLOW_DROP_OLD };
enum spec_stdin { SPEC_STDIN_NONE, SPEC_STDIN_OPEN, SPEC_STDIN_SOCKET };
enum spec_compress { SPEC_COMPRESS_NONE, SPEC_COMPRESS_ZSTD };

/* Where a key was given. */
struct spec_place {
    size_t file; /* index in the source */
    int line;    /* 0 = not given */
};

/* Expected exits: codes 0-255 as bits, signals as bits. */
struct spec_exits {
    uint64_t codes[4];
    uint64_t signals;
};
bool spec_exit_expected(const struct spec_exits *exits, bool signalled, int status);

/* restart_on: what follows an exit, in the order given; the first that fits counts. */
enum spec_rule_action { SPEC_RULE_NEVER, SPEC_RULE_ALWAYS, SPEC_RULE_NOW, SPEC_RULE_BACKOFF };
struct spec_rule {
    int32_t first, last; /* exit codes; of a signal both are its number */
    uint32_t signalled;  /* 1: a signal */
    uint32_t action;     /* enum spec_rule_action */
    int64_t delay_ms;    /* of SPEC_RULE_BACKOFF */
};
struct spec_rules {
    const struct spec_rule *list;
    size_t count;
};
/* NULL: no rule says anything about this end. */
const struct spec_rule *spec_rule_for(const struct spec_rules *rules, bool signalled, int status);

/* schedule: lines of cron, in the order given. */
enum { SPEC_SCHEDULE_MAX = 32 };
struct spec_schedule {
    const struct calendar_line *lines;
    size_t count;
};

struct spec_limit {
    bool set;
    rlim_t value; /* soft and hard */
};
enum spec_limit_name {
    SPEC_LIMIT_NOFILE,
    SPEC_LIMIT_CORE,
    SPEC_LIMIT_NPROC,
    SPEC_LIMIT_AS,
    SPEC_LIMIT_MEMLOCK,
    SPEC_LIMIT_STACK,
    SPEC_LIMIT_FSIZE,
    SPEC_LIMIT_CPU,
    SPEC_NLIMITS
};
int spec_limit_resource(enum spec_limit_name name); /* RLIMIT_... */

/* What the control group of an instance is held to. */
struct spec_cgroup {
    struct spec_limit memory_max, memory_high; /* bytes */
    struct spec_limit cpu_max;                 /* microseconds of a processor in 100 ms */
    struct spec_limit pids_max;
    int64_t cpu_weight, io_weight; /* 0 = not set */
};

/* --- the sandbox --- */

enum spec_seccomp_profile {
    SPEC_SECCOMP_NONE,
    SPEC_SECCOMP_DEFAULT,
    SPEC_SECCOMP_SERVICE,
    SPEC_SECCOMP_STRICT,
    SPEC_NSECCOMP
};
enum spec_denied { SPEC_DENIED_ERROR, SPEC_DENIED_KILL, SPEC_DENIED_LOG, SPEC_NDENIED };
enum spec_namespace {
    SPEC_NAMESPACE_NET,
    SPEC_NAMESPACE_IPC,
    SPEC_NAMESPACE_UTS,
    SPEC_NAMESPACE_PID,
    SPEC_NAMESPACE_CGROUP,
    SPEC_NNAMESPACES
};
enum { SPEC_PATHS_MAX = 64 };
const char *spec_seccomp_name(int profile);  /* "default" */
const char *spec_denied_name(int denied);    /* "kill" */
const char *spec_namespace_name(int number); /* "net" */

struct spec_capabilities {
    uint64_t named; /* bits by number */
    bool given;     /* else it has what its user has */
    bool all_but;   /* all of ours but `named`; else these alone */
};
struct spec_private_tmp {
    int64_t bytes; /* 0 = as the kernel sees fit (half of the memory) */
    bool on;
};
struct spec_paths {
    const char *const *list; /* absolute; a leading - allows one to be missing */
    size_t count;
    bool all; /* read_only = true */
};
struct spec_seccomp {
    int profile, denied; /* enum spec_seccomp_profile, enum spec_denied */
};
struct spec_sandbox {
    bool no_new_privs, private_devices;
    unsigned namespaces; /* 1 << enum spec_namespace */
    struct spec_capabilities capabilities;
    struct spec_private_tmp private_tmp;
    struct spec_paths read_only, read_write, hidden;
    const char *root; /* absolute, or inside the release; NULL = ours */
    struct spec_seccomp seccomp;
};
/* Anything of it is asked for. */
bool spec_sandbox_any(const struct spec_sandbox *sandbox);
/* Something that wants mounts of its own. */
bool spec_sandbox_mounts(const struct spec_sandbox *sandbox);

struct spec_output {
    const char *logfile; /* as written; NULL = default; "none", "inherit", a path */
    bool apart;          /* [program:]s that share this file: "-NAME-N" goes into the name */
};
struct spec_rotation {
    int64_t maxbytes;  /* 0 = no rotation by size */
    int64_t maxage_ms; /* 0 = no rotation by age */
    int64_t backups;
};

/* A key that was given, as written. */
struct spec_text {
    const char *text;
    size_t row; /* of the option table */
};

/* What many services have alike: equal ones share one copy. */
struct spec_settings {
    int type;      /* enum spec_type, etc: OPT_CHOICE fields are ints */
    int64_t umask; /* -1 = inherit */
    int autorestart;
    struct spec_exits exitcodes;
    struct spec_rules restart_on;
    int64_t startsecs_ms, startretries; /* SPEC_UNLIMITED */
    int64_t backoff_min_ms, backoff_max_ms, backoff_reset_ms;
    double backoff_factor, backoff_jitter; /* jitter 0.1 = 10 % */
    bool backoff_linear;                   /* supervisord: n seconds before retry n */
    int stopsignal;
    int64_t stopwaitsecs_ms;
    int kill_mode;
    bool stopasgroup, killasgroup, killasgroup_given;
    int standard_input; /* enum spec_stdin */
    const char *pre_start, *post_start, *pre_stop, *post_stop, *on_failed;
    int64_t hook_timeout_ms;
    int reload_signal; /* 0 = none */
    const char *reload_files;
    struct opt_names requires, wants, after, before, sockets;
    struct spec_check ready, startup, live;
    int64_t ready_timeout_ms;
    int on_live_failure, restart_mode;
    bool redirect_stderr;
    struct spec_rotation out_rotation, err_rotation;
    int log_format, log_overflow, logfile_compress;
    int64_t nice;
    bool set_oom_score;
    int64_t oom_score_adj;
    struct spec_limit limits[SPEC_NLIMITS];
    struct spec_cgroup cgroup;
    struct spec_sandbox sandbox;
    int on_exit;
    int64_t watchdog_ms; /* 0 = none */
    int watchdog_signal, notify_access;
    int64_t fd_store_max;
    int start_on;
    int64_t numprocs_start;
    int64_t port_base;                                /* 0 = none */
    struct spec_schedule schedule;                    /* type = scheduled: either this ... */
    int64_t every_ms;                                 /* ... or this; 0 = not given */
    const char *schedule_timezone;                    /* zone_open() takes it */
    int64_t schedule_jitter_ms, starting_deadline_ms; /* 0 = none */
    int concurrency_policy, catch_up;
    int64_t run_timeout_ms; /* 0 = none */
};

struct spec_service {
    const struct spec_settings *set;
    const char *name, *group; /* group: of [group:], else the name */
    enum spec_kind kind;
    int line;         /* where the section began, in */
    const char *file; /* this file, */
    const char *here; /* which is in this folder, for %(here)s */
    /* All keys that were given, in the order of the option table; for the diff. */
    const struct spec_text *texts;
    size_t ntexts;
    /* Where all keys were given, by row; NULL unless the plan was made with places. */
    const struct spec_place *places;

    const char *command; /* as written */
    const char *directory, *user, *user_group, *environment, *environment_file, *process_name;
    int64_t numprocs, priority;
    bool autostart;
    struct spec_output out, err;
    const char *release;
    const char *release_config; /* as written: a leading - allows it to be missing; NULL = none */
    /* With whose service file this was made; NULL = with none. */
    const char *release_id, *release_file;
    const char *release_problem;         /* why it could not be, "" = it was */
    struct opt_names release_keys;       /* those that it has given */
    const struct spec_service *variants; /* this service with other releases */
    size_t nvariants;

    /* Resolved after loading. */
    size_t *needs; /* services that must be ready (requires, wants) or started (after) before */
    size_t nneeds;
    bool *need_hard;  /* per need: `requires` (a failed one keeps us waiting) */
    bool *need_ready; /* per need: wait until ready; false = only order (after/before) */
    size_t *socket_index;
    size_t nsockets;
};
/* The text of a row of the option table; NULL = default. */
const char *spec_text(const struct spec_service *service, size_t row);
/* This service as that release ("" = none) has it.  Where no service file of it is known: as it is
 * here, and spec_knows() is false. */
const struct spec_service *spec_for(const struct spec_service *service, const char *release);
bool spec_says_release(const struct spec_service *service, const char *key);
bool spec_knows(const struct spec_service *service, const char *release);

/* What the option table fills; service.set is put to a shared copy of set when it is complete. */
struct spec_filling {
    struct spec_service service;
    struct spec_settings set;
};

enum { SPEC_LISTEN_MAX = 16 };
enum spec_socket_type { SPEC_SOCKET_STREAM, SPEC_SOCKET_DATAGRAM, SPEC_SOCKET_SEQPACKET };
struct spec_socket {
    const char *name, *file;
    int line;
    int type;
    struct opt_names listen; /* as written */
    struct addr addrs[SPEC_LISTEN_MAX];
    size_t naddrs;
    int64_t backlog, mode;
    const char *owner; /* user or user:group */
    bool reuse_port;
};

struct spec_group {
    const char *name;
    struct opt_names programs;
    int64_t priority;
};

/* [access:NAME]: what some users and groups may do, see access.h. */
struct spec_access {
    const char *name, *title, *file;
    int line, users_line, groups_line; /* of the section, of keys that the host is asked about */
    struct opt_names users, groups;    /* as written: names or numbers */
    struct opt_names verbs, services;
    uint32_t verb_bits;
    bool helper; /* of an [events:NAME] with a user, whose service tells when it is unknown */
    const bool *covers; /* by index of the plan's services; NULL = all */
};

enum spec_cgroups { SPEC_CGROUPS_AUTO, SPEC_CGROUPS_OFF, SPEC_CGROUPS_REQUIRED };
enum spec_control_read { SPEC_READ_OWNER, SPEC_READ_ALL };
struct spec_supervisor {
    const char *socket; /* NULL = by the rule of CONTRACT.md */
    int64_t socket_mode;
    const char *control_group;
    int control_read;
    const char *state_dir, *log, *log_dir, *environment, *identifier;
    const char *audit_log; /* "none", a path, "syslog", "syslog:/SOCKET" */
    int64_t audit_log_maxbytes, audit_log_backups;
    int log_level; /* enum log_level */
    int64_t shutdown_timeout_ms;
    int64_t restart_burst;
    int cgroups; /* enum spec_cgroups */
    struct opt_names include;
    /* Texts of all keys as written, by row of options_supervisor; NULL = default. */
    const char **texts;
};

#endif
