/* options.c - the rows of the other sections, and what is known about keys without a row. */
#include "supervisor/plan/options.h"

#include <string.h>

#include "supervisor/plan/spec.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, DAY = 24 * 60 * MINUTE };

static const char *const readers[] = { "owner", "all", NULL };
static const char *const cgroups[] = { "auto", "off", "required", NULL };
static const char *const levels[] = { "error", "warn", "info", "debug", NULL };

#define FIELD(member) OPT_FIELD(struct spec_supervisor, member)
static const struct opt supervisor_rows[] = {
    /* clang-format off */
    { .key = "socket", .type = OPT_TEXT, FIELD(socket), .example = "/run/supervisor/control.sock",
      .help = "Path of the control socket; @NAME is an abstract one. A change takes a restart of "
              "the supervisor." },
    { .key = "socket_mode", .type = OPT_OCTAL, FIELD(socket_mode), .initial = "0660", .min = 0,
      .max = 0777, .flags = OPTIONS_LIVE,
      .help = "Mode of the control socket." },
    { .key = "control_group", .type = OPT_TEXT, FIELD(control_group), .example = "adm",
      .flags = OPTIONS_LIVE,
      .help = "Members of this group may start, stop, restart, signal, scale, switch and roll "
              "back." },
    { .key = "control_read", .type = OPT_CHOICE, FIELD(control_read), .initial = "owner",
      .choices = readers, .flags = OPTIONS_LIVE,
      .help = "Who else may read the status: owner (nobody else) or all." },
    { .key = "state_dir", .type = OPT_TEXT, FIELD(state_dir), .initial = "/var/lib/supervisor",
      .flags = OPTIONS_LIVE,
      .help = "Where pins and scales are kept; owned by the supervisor's user, mode 0700." },
    { .key = "log", .type = OPT_TEXT, FIELD(log), .initial = "-", .flags = OPTIONS_LIVE,
      .help = "The supervisor's own log; - is standard error." },
    { .key = "audit_log", .type = OPT_TEXT, FIELD(audit_log), .initial = "none",
      .example = "/var/log/supervisor/audit.json", .flags = OPTIONS_LIVE,
      .help = "Who ordered what, and what was refused, as JSON lines, each written before it is "
              "done: none, a path (appended to; it may be moved away), or syslog (authpriv; also "
              "syslog:/SOCKET). An order to a file is answered when its lines are on the disk, or "
              "the disk took more than 5 s. When it cannot be written orders go on, the lines that "
              "are lost are counted, and status, doctor and events tell it." },
    { .key = "audit_log_maxbytes", .type = OPT_SIZE, FIELD(audit_log_maxbytes), .initial = "50MB",
      .min = 0, .max = 1LL << 40, .flags = OPTIONS_LIVE,
      .help = "Size at which the audit log becomes PATH.1; 0 = never, somebody else rotates it." },
    { .key = "audit_log_backups", .type = OPT_INTEGER, FIELD(audit_log_backups), .initial = "10",
      .min = 0, .max = 10000, .flags = OPTIONS_LIVE,
      .help = "How many rotated audit logs are kept; older ones are removed." },
    { .key = "log_level", .type = OPT_CHOICE, FIELD(log_level), .initial = "info",
      .choices = levels, .flags = OPTIONS_LIVE,
      .help = "Least important messages that are logged." },
    { .key = "log_dir", .type = OPT_TEXT, FIELD(log_dir), .initial = "/var/log/supervisor",
      .flags = OPTIONS_LIVE,
      .help = "Where the output of services goes that name no file." },
    { .key = "shutdown_timeout", .type = OPT_DURATION, FIELD(shutdown_timeout_ms),
      .initial = "60s", .min = 1, .max = DAY, .flags = OPTIONS_LIVE,
      .help = "How long an orderly shutdown may take before everything is killed." },
    { .key = "environment", .type = OPT_TEXT, FIELD(environment), .example = "LANG=\"C.UTF-8\"",
      .flags = OPTIONS_LIVE,
      .help = "Variables as KEY=\"value\" pairs, for all services." },
    { .key = "include", .type = OPT_NAMES, FIELD(include), .example = "conf.d/*.ini",
      .flags = OPTIONS_PATTERNS | OPTIONS_LIVE,
      .help = "Further files, patterns relative to the file they stand in." },
    { .key = "restart_burst", .type = OPT_INTEGER, FIELD(restart_burst), .initial = "50",
      .min = 1, .max = 100000, .flags = OPTIONS_LIVE,
      .help = "Circuit breaker: more automatic restarts than this at once, over all services, are "
              "spaced out." },
    { .key = "cgroups", .type = OPT_CHOICE, FIELD(cgroups), .initial = "auto", .choices = cgroups,
      .help = "Control groups (version 2) for instances: auto (where they can be made; limits that "
              "cannot be enforced are told), off, or required (a service with a limit that cannot "
              "be enforced does not start)." },
    { .key = "identifier", .type = OPT_TEXT, FIELD(identifier), .initial = "supervisor",
      .flags = OPTIONS_LIVE,
      .help = "Name of this supervisor in its own log, where several write to one." },
    /* clang-format on */
};
#undef FIELD

static const char *const socket_types[] = { "stream", "datagram", "seqpacket", NULL };

#define FIELD(member) OPT_FIELD(struct spec_socket, member)
static const struct opt socket_rows[] = {
    /* clang-format off */
    { .key = "listen", .type = OPT_NAMES, FIELD(listen), .example = "0.0.0.0:8080 [::1]:8080",
      .help = "Addresses to listen on: HOST:PORT with a numeric host, [HOST]:PORT, :PORT, or the "
              "path of a unix socket; at most 16." },
    { .key = "type", .type = OPT_CHOICE, FIELD(type), .initial = "stream",
      .choices = socket_types,
      .help = "stream (TCP, or a unix stream socket), datagram (UDP, or unix datagrams), or "
              "seqpacket (unix only)." },
    { .key = "backlog", .type = OPT_INTEGER, FIELD(backlog), .initial = "4096", .min = 1,
      .max = 1 << 20, .help = "Connections that may wait to be accepted." },
    { .key = "mode", .type = OPT_OCTAL, FIELD(mode), .initial = "0660", .min = 0, .max = 0777,
      .help = "Mode of a unix socket." },
    { .key = "owner", .type = OPT_TEXT, FIELD(owner), .example = "www-data:www-data",
      .help = "USER or USER:GROUP that a unix socket belongs to." },
    { .key = "reuse_port", .type = OPT_BOOLEAN, FIELD(reuse_port), .initial = "false",
      .help = "Each instance gets a socket of its own (SO_REUSEPORT), and the kernel deals "
              "connections out among them; not for unix sockets." },
    /* clang-format on */
};
#undef FIELD

#define FIELD(member) OPT_FIELD(struct spec_group, member)
static const struct opt group_rows[] = {
    /* clang-format off */
    { .key = "programs", .type = OPT_NAMES, FIELD(programs), .example = "example frontend",
      .help = "Services that are addressed together, as GROUP:*." },
    { .key = "priority", .type = OPT_INTEGER, FIELD(priority), .initial = "999", .min = -1000000,
      .max = 1000000, .help = "Among groups the lower one starts first." },
    /* clang-format on */
};
#undef FIELD

#define FIELD(member) OPT_FIELD(struct spec_supervisor, member)
static const struct opt include_rows[] = {
    /* clang-format off */
    { .key = "files", .type = OPT_NAMES, FIELD(include), .example = "conf.d/*.ini",
      .flags = OPTIONS_PATTERNS,
      .help = "Further files, patterns relative to the file they stand in." },
    /* clang-format on */
};
#undef FIELD

#define FIELD(member) OPT_FIELD(struct spec_access, member)
static const struct opt access_rows[] = {
    /* clang-format off */
    { .key = "users", .type = OPT_NAMES, FIELD(users), .example = "www-data 1001",
      .help = "Users by name or number." },
    { .key = "groups", .type = OPT_NAMES, FIELD(groups), .example = "adm",
      .help = "Groups by name or number; supplementary groups count." },
    { .key = "verbs", .type = OPT_NAMES, FIELD(verbs), .example = "read start restart",
      .help = "Commands: status why events doctor logs start stop restart signal scale switch "
              "confirm rollback reload shutdown upgrade; or read (the first four), operate (all "
              "but the last three), all. Each brings status with it. Those about the whole host "
              "(doctor, reload, shutdown, upgrade) need services = all." },
    { .key = "services", .type = OPT_NAMES, FIELD(services), .example = "example site:*",
      .help = "Services by name, GROUP:*, or all. Starting one starts what it requires." },
    /* clang-format on */
};
#undef FIELD

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
const struct opt_table options_supervisor = {
    .section = "supervisor",
    .help = "The supervisor itself.",
    .rows = supervisor_rows,
    .count = COUNT(supervisor_rows),
};
const struct opt_table options_socket = {
    .section = "socket:NAME",
    .help = "Listening sockets that the supervisor opens and services inherit, so that "
            "connections wait instead of being refused while a service restarts.",
    .rows = socket_rows,
    .count = COUNT(socket_rows),
};
const struct opt_table options_group = {
    .section = "group:NAME",
    .help = "Services that are started and stopped by one name.",
    .rows = group_rows,
    .count = COUNT(group_rows),
};
const struct opt_table options_include = {
    .section = "include",
    .help = "Further files to read.",
    .rows = include_rows,
    .count = COUNT(include_rows),
};
const struct opt_table options_access = {
    .section = "access:NAME",
    .help = "What users and groups may do besides root, the supervisor's own user and "
            "control_group. Sections only add rights. With any of them, or an [events:NAME] with a "
            "user, socket_mode is 0666 unless it is given: everybody may connect, and each request "
            "is checked.",
    .rows = access_rows,
    .count = COUNT(access_rows),
};
const struct opt_table *const options_all[] = { &options_supervisor,
                                                &options_service,
                                                &options_socket,
                                                &options_group,
                                                &options_include,
                                                &options_access,
                                                NULL };

static const char no_effect[] = "has no effect here";

const char *options_supervisord_only(const char *section, const char *key)
{
    static const struct {
        const char *section, *key, *what;
    } known[] = {
        /* clang-format off */
        { "program", "stdout_capture_maxbytes", no_effect },
        { "program", "stderr_capture_maxbytes", no_effect },
        { "program", "stdout_events_enabled", no_effect },
        { "program", "stderr_events_enabled", no_effect },
        { "program", "serverurl", no_effect },
        { "supervisord", "logfile", "has no effect here, use log in [supervisor]" },
        { "supervisord", "logfile_maxbytes", no_effect },
        { "supervisord", "logfile_backups", no_effect },
        { "supervisord", "pidfile", no_effect },
        { "supervisord", "nodaemon", "has no effect here, it always stays in the foreground" },
        { "supervisord", "silent", no_effect },
        { "supervisord", "minfds", "has no effect here, the highest limit is always used" },
        { "supervisord", "minprocs", no_effect },
        { "supervisord", "nocleanup", "has no effect here, log files are never wiped" },
        { "supervisord", "strip_ansi", no_effect },
        { "supervisord", "profile_options", no_effect },
        /* clang-format on */
    };
    for (size_t i = 0; i < COUNT(known); i++)
        if (strcmp(known[i].section, section) == 0 && strcmp(known[i].key, key) == 0)
            return known[i].what;
    return NULL;
}
