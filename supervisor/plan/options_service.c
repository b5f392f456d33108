/* options_service.c - the rows of [service:NAME] and [program:NAME]. */
#include "supervisor/plan/options.h"

#include <string.h>

#include "supervisor/plan/options_parse.h"
#include "supervisor/plan/options_sandbox.h"
#include "supervisor/plan/spec.h"

enum {
    SECOND = 1000,
    MINUTE = 60 * SECOND,
    HOUR = 60 * MINUTE,
    DAY = 24 * HOUR,
    YEARS = 36500, /* days: what people write for "for ever" */
    LIVE = OPTIONS_LIVE,
    PER_RELEASE = OPTIONS_PER_RELEASE,
    INSTANCE = OPTIONS_INSTANCE,
    TUNED = OPTIONS_TUNED,
    PARTLY = OPTIONS_PARTLY,
    DERIVED = OPTIONS_DERIVED,
};

static const char *const types[] = { "service", "oneshot", "scheduled", NULL };
static const char *const kill_modes[] = { "mixed", "control-group", "process", NULL };
static const char *const start_ons[] = { "boot", "socket", NULL };
static const char *const concurrencies[] = { "forbid", "queue", "replace", NULL };
static const char *const catch_ups[] = { "none", "once", "all", NULL };
static const char *const restart_modes[] = { "stop-first", "overlap", NULL };
static const char *const stdins[] = { "none", "open", "socket", NULL };
static const char *const live_failures[] = { "restart", "none", NULL };
static const char *const on_exits[] = { "none", "shutdown", NULL };
static const char *const accesses[] = { "none", "main", "all", NULL };
static const char *const log_formats[] = { "raw", "plain", "json", NULL };
static const char *const overflows[] = { "block", "drop-old", NULL };
static const char *const compressions[] = { "none", "zstd", NULL };

#define FIELD(member) OPT_FIELD(struct spec_filling, service.member)
#define SET(member)   OPT_FIELD(struct spec_filling, set.member)
#define LIMIT(index)  SET(limits[index])
#define GROUP(member) SET(cgroup.member)
#define BOX(member)   SET(sandbox.member)
#define FILE_MAX      (1LL << 50)

static const struct opt rows[] = {
    /* clang-format off */
    { .key = "command", .type = OPT_TEXT, FIELD(command), .flags = INSTANCE | PER_RELEASE,
      .example = "/usr/bin/python3 -m http.server 8080",
      .help = "The program and its arguments, split into words as a shell would, without a shell; "
              "found through PATH. A relative name with a / is inside the release." },
    { .key = "type", .type = OPT_CHOICE, SET(type), .initial = "service", .choices = types,
      .help = "service keeps running; oneshot is done when it exits 0; scheduled is a oneshot that "
              "runs whenever schedule or every says." },
    { .key = "directory", .type = OPT_TEXT, FIELD(directory), .flags = INSTANCE,
      .example = "/var/lib/web",
      .help = "Working directory; a relative one is inside the release." },
    { .key = "umask", .type = OPT_OCTAL, SET(umask), .min = 0, .max = 0777, .example = "022",
      .help = "File mode creation mask; without it the supervisor's own is kept." },
    { .key = "user", .type = OPT_TEXT, FIELD(user), .example = "www-data",
      .help = "User name or number to run as; sets HOME, USER, LOGNAME, SHELL and the "
              "supplementary groups ([program:] leaves the environment alone)." },
    { .key = "group", .type = OPT_TEXT, FIELD(user_group), .example = "www-data",
      .help = "Group name or number to run as, instead of the user's own group." },
    { .key = "environment", .type = OPT_TEXT, FIELD(environment),
      .flags = INSTANCE | PER_RELEASE | DERIVED,
      .example = "PORT=\"8080\",MODE='production'",
      .help = "Variables as KEY=\"value\" pairs with commas between them, added to the "
              "supervisor's own." },
    { .key = "environment_file", .type = OPT_TEXT, FIELD(environment_file), .flags = INSTANCE,
      .example = "-/etc/default/web",
      .help = "A file of KEY=VALUE lines, read before each start; a leading - allows it to be "
              "missing. environment wins over it. A reload restarts those that were started with "
              "other contents." },
    { .key = "numprocs", .type = OPT_INTEGER, FIELD(numprocs), .initial = "1", .min = 0,
      .max = SPEC_NUMPROCS_MAX, .flags = LIVE | PER_RELEASE | DERIVED,
      .help = "How many instances run; supervisor scale changes it at once." },
    { .key = "numprocs_start", .type = OPT_INTEGER, SET(numprocs_start), .initial = "0",
      .min = 0, .max = 1000000, .flags = LIVE,
      .help = "Number of the first instance." },
    { .key = "port_base", .type = OPT_INTEGER, SET(port_base), .min = 1, .max = 65535,
      .example = "8000",
      .help = "Each instance gets a port of its own, port_base plus its number: as PORT in its "
              "environment, and as %(port)d in values, checks too. No two services may share one." },
    { .key = "process_name", .type = OPT_TEXT, FIELD(process_name), .flags = PARTLY | INSTANCE,
      .initial = "%(program_name)s",
      .help = "Name that supervisord's tools know an instance by." },
    { .key = "autostart", .type = OPT_BOOLEAN, FIELD(autostart), .initial = "true", .flags = LIVE,
      .help = "Whether it is started when the supervisor starts." },
    { .key = "start_on", .type = OPT_CHOICE, SET(start_on), .initial = "boot",
      .choices = start_ons, .flags = LIVE,
      .help = "boot: autostart decides. socket: it then waits for the first connection (or datagram) "
              "on one of its sockets, and again whenever it has ended; one that leaves when it "
              "is idle (exit 0) costs nothing until it is called." },
    { .key = "schedule", .type = OPT_CUSTOM, SET(schedule), .parse = options_parse_schedule,
      .flags = LIVE, .example = "0 3 * * 1-5",
      .help = "When a scheduled service runs: five fields as in cron (minute, hour, day of the month, "
              "month, day of the week; names, lists, ranges and steps), @hourly, @daily, @weekly, "
              "@monthly, @yearly, or @reboot (each time the supervisor starts); several with | "
              "between them. When clocks are put forward, a time of day that is left out comes right "
              "after; one that comes twice counts once. A line whose minute or hour begins with * "
              "goes by the clock as it runs." },
    { .key = "every", .type = OPT_DURATION, SET(every_ms), .min = 100, .max = (int64_t)YEARS * DAY,
      .flags = LIVE, .example = "15m",
      .help = "Instead of schedule: the time from one start to the next, however long a run takes. The "
              "first is so long after the supervisor began to count, a restart of it does not begin "
              "again (but for less than 1m)." },
    { .key = "schedule_timezone", .type = OPT_CUSTOM, SET(schedule_timezone), .initial = "local",
      .parse = options_parse_zone, .flags = LIVE, .example = "Europe/Berlin",
      .help = "The time zone of schedule: a name of the zone database, UTC, or local." },
    { .key = "schedule_jitter", .type = OPT_DURATION, SET(schedule_jitter_ms), .initial = "0s",
      .min = 0, .max = 7 * DAY, .flags = LIVE, .example = "10m",
      .help = "Each time comes later by a part of this, so that a fleet does not start at once: "
              "always the same one on one host, from its name and that of the instance." },
    { .key = "concurrency_policy", .type = OPT_CHOICE, SET(concurrency_policy), .initial = "forbid",
      .choices = concurrencies, .flags = LIVE,
      .help = "What becomes of a time that comes while the run before is under way: forbid: it is "
              "skipped, counted and told; queue: one waits for the end of that run; replace: that run "
              "is stopped." },
    { .key = "catch_up", .type = OPT_CHOICE, SET(catch_up), .initial = "none", .choices = catch_ups,
      .flags = LIVE,
      .help = "What becomes of times that passed while the supervisor was not running: none are made "
              "up for, the latest once, or all of them one after another (the latest 100)." },
    { .key = "starting_deadline", .type = OPT_DURATION, SET(starting_deadline_ms), .initial = "0s",
      .min = 0, .max = (int64_t)YEARS * DAY, .flags = LIVE, .example = "1h",
      .help = "A run that could only begin later than this after its time is missed; 0 = any is still "
              "begun." },
    { .key = "run_timeout", .type = OPT_DURATION, SET(run_timeout_ms), .initial = "0s",
      .min = 0, .max = (int64_t)YEARS * DAY, .flags = LIVE, .example = "2h",
      .help = "How long a oneshot, or a run of a scheduled service (each try of it), may take before "
              "it is stopped and has failed; 0 = as long as it takes." },
    { .key = "autorestart", .type = OPT_CUSTOM, SET(autorestart), .initial = "true",
      .parse = options_parse_autorestart, .flags = LIVE,
      .help = "Whether it is started again when it ends: true, false, or unexpected (also spelt "
              "on-failure): only after an exit that exitcodes does not name." },
    { .key = "exitcodes", .type = OPT_CUSTOM, SET(exitcodes), .initial = "0",
      .parse = options_parse_exits, .flags = LIVE, .example = "0, 2, TERM",
      .help = "Exits that are expected: codes, and signals by name." },
    { .key = "restart_on", .type = OPT_CUSTOM, SET(restart_on), .parse = options_parse_rules,
      .flags = LIVE, .example = "75: backoff 5m, 78: never, SEGV: always",
      .help = "What follows an exit of its own accord, before autorestart is asked: exit codes "
              "(75, 64-78) or signals, and never, always, now (at once and uncounted, when it had "
              "been running) or backoff TIME (the next try after this long)." },
    { .key = "startsecs", .type = OPT_DURATION, SET(startsecs_ms), .initial = "1s", .min = 0,
      .max = (int64_t)YEARS * DAY, .flags = LIVE | PER_RELEASE,
      .help = "When no readiness check is given: up this long counts as started." },
    { .key = "startretries", .type = OPT_CUSTOM, SET(startretries), .initial = "unlimited",
      .parse = options_parse_retries, .flags = LIVE,
      .help = "Retries after the first failed start (3 = 4 launches), then it is failed and waits "
              "for an order; a number or unlimited. A scheduled service has none unless it says so, "
              "and its next time comes all the same." },
    { .key = "backoff_min", .type = OPT_DURATION, SET(backoff_min_ms), .initial = "100ms",
      .min = 1, .max = DAY, .flags = LIVE, .help = "Delay before the first delayed restart." },
    { .key = "backoff_max", .type = OPT_DURATION, SET(backoff_max_ms), .initial = "30s",
      .min = 1, .max = DAY, .flags = LIVE, .help = "Longest delay before a restart." },
    { .key = "backoff_factor", .type = OPT_CUSTOM, SET(backoff_factor), .initial = "2",
      .parse = options_parse_factor, .flags = LIVE,
      .help = "How much longer each further delay is, 1 to 100. A [program:] without it waits n "
              "times backoff_min before restart n." },
    { .key = "backoff_jitter", .type = OPT_CUSTOM, SET(backoff_jitter), .initial = "10%",
      .parse = options_parse_jitter, .flags = LIVE,
      .help = "Random part of each delay, so that many services do not restart in step." },
    { .key = "backoff_reset", .type = OPT_DURATION, SET(backoff_reset_ms), .initial = "10s",
      .min = 0, .max = DAY, .flags = LIVE,
      .help = "Healthy this long: the delays begin again from the first." },
    { .key = "stopsignal", .type = OPT_SIGNAL, SET(stopsignal), .initial = "TERM",
      .flags = LIVE, .help = "Signal that asks it to leave." },
    { .key = "stopwaitsecs", .type = OPT_DURATION, SET(stopwaitsecs_ms), .initial = "10s",
      .min = 0, .max = (int64_t)YEARS * DAY, .flags = LIVE | PER_RELEASE,
      .help = "How long it may take to leave after stopsignal, before KILL." },
    { .key = "kill_mode", .type = OPT_CHOICE, SET(kill_mode), .initial = "mixed",
      .choices = kill_modes, .flags = LIVE,
      .help = "mixed: stopsignal to the main process, KILL to all of the instance; control-group: "
              "both to all; process: both to the main process only." },
    { .key = "stopasgroup", .type = OPT_BOOLEAN, SET(stopasgroup), .initial = "false",
      .flags = LIVE, .help = "As in supervisord: stopsignal goes to the process group." },
    { .key = "killasgroup", .type = OPT_BOOLEAN, SET(killasgroup), .initial = "false",
      .flags = LIVE | DERIVED,
      .help = "As in supervisord: KILL goes to the process group; on when stopasgroup is." },
    { .key = "pre_start", .type = OPT_TEXT, SET(pre_start), .flags = LIVE | INSTANCE,
      .example = "/usr/bin/install -d /run/web",
      .help = "Command that must succeed before each start." },
    { .key = "post_start", .type = OPT_TEXT, SET(post_start), .flags = LIVE | INSTANCE,
      .example = "/usr/local/bin/register web",
      .help = "Command that is run whenever it has become ready; nothing waits for it." },
    { .key = "pre_stop", .type = OPT_TEXT, SET(pre_stop), .flags = LIVE | INSTANCE,
      .example = "/usr/local/bin/unregister web",
      .help = "Command that is run before it is told to stop; stopsignal is sent, and stopwaitsecs "
              "begins, when it has ended in whatever way." },
    { .key = "post_stop", .type = OPT_TEXT, SET(post_stop), .flags = LIVE | INSTANCE,
      .example = "/bin/rm -f /run/web/web.pid", .help = "Command that is run after each stop." },
    { .key = "on_failed", .type = OPT_TEXT, SET(on_failed), .flags = LIVE | INSTANCE,
      .example = "/usr/local/bin/page web",
      .help = "Command that is run when it is given up (state failed); nothing waits for it." },
    { .key = "hook_timeout", .type = OPT_DURATION, SET(hook_timeout_ms), .initial = "30s",
      .min = 1, .max = DAY, .flags = LIVE,
      .help = "How long each of these commands may take before it is killed. They know "
              "SUPERVISOR_HOOK, SUPERVISOR_SERVICE, SUPERVISOR_INSTANCE, and of the last end "
              "SUPERVISOR_EXIT_CODE or SUPERVISOR_EXIT_SIGNAL, and SUPERVISOR_REASON." },
    { .key = "reload_signal", .type = OPT_SIGNAL, SET(reload_signal), .flags = LIVE,
      .example = "HUP",
      .help = "Signal upon which it reads its own files again while it runs: sent by supervisor "
              "reload NAME, and by supervisor reload when its reload_files have changed. With ready "
              "= notify the end is waited for (RELOADING=1, then READY=1)." },
    { .key = "reload_files", .type = OPT_TEXT, SET(reload_files), .flags = LIVE | INSTANCE,
      .example = "/etc/nginx/nginx.conf /etc/nginx/conf.d/*.conf",
      .help = "Files of its own, patterns too: when their contents have changed, supervisor reload "
              "sends reload_signal, or restarts it if there is none. At most 1024 files, 16 MiB of "
              "them, found among 65536 names; more is told." },
    { .key = "requires", .type = OPT_NAMES, SET(requires), .flags = LIVE, .example = "database",
      .help = "Services that must be ready before this one starts; while one of them has failed "
              "this one waits." },
    { .key = "wants", .type = OPT_NAMES, SET(wants), .flags = LIVE, .example = "cache",
      .help = "Services to wait for until they are ready, or have failed." },
    { .key = "after", .type = OPT_NAMES, SET(after), .flags = LIVE, .example = "migrate",
      .help = "Services that are started before this one and stopped after it." },
    { .key = "before", .type = OPT_NAMES, SET(before), .flags = LIVE, .example = "frontend",
      .help = "Services that are started after this one and stopped before it." },
    { .key = "priority", .type = OPT_INTEGER, FIELD(priority), .initial = "999", .min = -1000000,
      .max = 1000000, .flags = LIVE,
      .help = "Among services that do not depend on each other the lower one starts first." },
    { .key = "ready", .type = OPT_TEXT, SET(ready.target), .flags = LIVE | INSTANCE | PER_RELEASE,
      .example = "http://127.0.0.1:8080/health",
      .help = "When it counts as ready: http://HOST:PORT/PATH, grpc://HOST:PORT/SERVICE (the gRPC "
              "health protocol; SERVICE may be left out), tcp://HOST:PORT, unix:/PATH, "
              "exec:COMMAND, notify (READY=1 by sd_notify), fd:N (a newline on descriptor N), "
              "log:REGEX (a line of its output; extended syntax), or "
              "delay (up for startsecs, the default)." },
    { .key = "ready_timeout", .type = OPT_DURATION, SET(ready_timeout_ms), .initial = "60s",
      .min = 1, .max = DAY, .flags = LIVE | PER_RELEASE,
      .help = "Not ready for this long after its start: the start has failed." },
    { .key = "ready_interval", .type = OPT_DURATION, SET(ready.interval_ms), .initial = "1s",
      .min = 10, .max = HOUR, .flags = LIVE | PER_RELEASE,
      .help = "Time between two readiness checks." },
    { .key = "ready_check_timeout", .type = OPT_DURATION, SET(ready.timeout_ms),
      .initial = "1s", .min = 1, .max = HOUR, .flags = LIVE | PER_RELEASE,
      .help = "How long one readiness check may take." },
    { .key = "ready_delay", .type = OPT_DURATION, SET(ready.delay_ms), .initial = "0s",
      .min = 0, .max = HOUR, .flags = LIVE | PER_RELEASE,
      .help = "Time from the start to the first readiness check." },
    { .key = "ready_threshold", .type = OPT_INTEGER, SET(ready.threshold), .initial = "3",
      .min = 1, .max = 1000, .flags = LIVE | PER_RELEASE,
      .help = "Failures in a row after which it is no longer ready." },
    { .key = "ready_successes", .type = OPT_INTEGER, SET(ready.successes), .initial = "1",
      .min = 1, .max = 1000, .flags = LIVE | PER_RELEASE,
      .help = "Successes in a row after which it is ready." },
    { .key = "startup", .type = OPT_TEXT, SET(startup.target),
      .flags = LIVE | INSTANCE | PER_RELEASE, .example = "tcp://127.0.0.1:8080",
      .help = "Check that must pass once before the other two begin: http, grpc, tcp, "
              "unix or exec." },
    { .key = "startup_interval", .type = OPT_DURATION, SET(startup.interval_ms),
      .initial = "10s", .min = 10, .max = HOUR, .flags = LIVE | PER_RELEASE,
      .help = "Time between two startup checks." },
    { .key = "startup_timeout", .type = OPT_DURATION, SET(startup.timeout_ms), .initial = "1s",
      .min = 1, .max = HOUR, .flags = LIVE | PER_RELEASE,
      .help = "How long one startup check may take." },
    { .key = "startup_threshold", .type = OPT_INTEGER, SET(startup.threshold), .initial = "3",
      .min = 1, .max = 1000, .flags = LIVE | PER_RELEASE,
      .help = "Failures in a row after which the start has failed." },
    { .key = "startup_delay", .type = OPT_DURATION, SET(startup.delay_ms), .initial = "0s",
      .min = 0, .max = HOUR, .flags = LIVE | PER_RELEASE,
      .help = "Time from the start to the first startup check." },
    { .key = "live", .type = OPT_TEXT, SET(live.target), .flags = LIVE | INSTANCE | PER_RELEASE,
      .example = "http://127.0.0.1:8080/health",
      .help = "Check that restarts the instance when it fails: http, grpc, tcp, unix or exec." },
    { .key = "live_interval", .type = OPT_DURATION, SET(live.interval_ms), .initial = "10s",
      .min = 10, .max = HOUR, .flags = LIVE | PER_RELEASE,
      .help = "Time between two liveness checks." },
    { .key = "live_timeout", .type = OPT_DURATION, SET(live.timeout_ms), .initial = "1s",
      .min = 1, .max = HOUR, .flags = LIVE | PER_RELEASE,
      .help = "How long one liveness check may take." },
    { .key = "live_threshold", .type = OPT_INTEGER, SET(live.threshold), .initial = "3",
      .min = 1, .max = 1000, .flags = LIVE | PER_RELEASE,
      .help = "Failures in a row after which on_live_failure applies." },
    { .key = "live_delay", .type = OPT_DURATION, SET(live.delay_ms), .initial = "0s",
      .min = 0, .max = HOUR, .flags = LIVE | PER_RELEASE,
      .help = "Time from the start to the first liveness check." },
    { .key = "on_live_failure", .type = OPT_CHOICE, SET(on_live_failure), .initial = "restart",
      .choices = live_failures, .flags = LIVE,
      .help = "What follows when live fails: restart, or none (it is only shown)." },
    { .key = "watchdog", .type = OPT_DURATION, SET(watchdog_ms), .initial = "0s", .min = 0,
      .max = DAY,
      .help = "While it runs it must say WATCHDOG=1 (sd_notify) at least this often, else it is "
              "ended by watchdog_signal and restarted; it finds the time in WATCHDOG_USEC. 0 = no "
              "watchdog." },
    { .key = "watchdog_signal", .type = OPT_SIGNAL, SET(watchdog_signal), .initial = "ABRT",
      .flags = LIVE,
      .help = "Signal that ends a process whose watchdog has run out, so that it leaves a core "
              "file." },
    { .key = "notify_access", .type = OPT_CHOICE, SET(notify_access), .initial = "all",
      .choices = accesses, .flags = PARTLY,
      .help = "Whose sd_notify messages count: none, those of the main process, or those of all "
              "processes of the instance." },
    { .key = "fd_store_max", .type = OPT_INTEGER, SET(fd_store_max), .initial = "0", .min = 0,
      .max = SPEC_FD_STORE_MAX, .flags = LIVE,
      .help = "How many descriptors each instance may leave with the supervisor (FDSTORE=1 of "
              "sd_notify): they are handed back behind the sockets at its next start, until it "
              "is stopped." },
    { .key = "restart_mode", .type = OPT_CHOICE, SET(restart_mode), .initial = "stop-first",
      .choices = restart_modes, .flags = LIVE,
      .help = "overlap: the new process is ready before the old one is asked to leave. Behind a "
              "[socket:NAME] best with ready = notify or fd:N; a check by address is made once "
              "more when the old one, which may have answered it, has left." },
    { .key = "sockets", .type = OPT_NAMES, SET(sockets), .example = "web", .flags = DERIVED,
      .help = "Names of [socket:NAME] sections, passed as LISTEN_FDS from descriptor 3 on." },
    { .key = "stdin", .type = OPT_CHOICE, SET(standard_input), .initial = "none",
      .choices = stdins,
      .help = "Its standard input. none: /dev/null; open: a pipe that never ends and never has "
              "anything in it, as supervisord's programs have; socket: its only socket, as "
              "FastCGI wants." },
    { .key = "stdout_logfile", .type = OPT_TEXT, FIELD(out.logfile),
      .flags = PARTLY | INSTANCE | DERIVED,
      .example = "/var/log/web-%(process_num)d.log",
      .help = "Where its output goes: an absolute path, none, inherit (the supervisor's own), "
              "console (the same, line by line in log_format, with the name), syslog (/dev/log) or journald, both also with another socket (syslog:/run/other/log); "
              "without it LOG_DIR/NAME-N.log." },
    { .key = "stderr_logfile", .type = OPT_TEXT, FIELD(err.logfile),
      .flags = PARTLY | INSTANCE | DERIVED,
      .example = "/var/log/web-%(process_num)d.err.log",
      .help = "Where its errors go when redirect_stderr is false; without it "
              "LOG_DIR/NAME-N.err.log." },
    { .key = "redirect_stderr", .type = OPT_BOOLEAN, SET(redirect_stderr), .initial = "true",
      .example = "false", .flags = DERIVED,
      .help = "Whether errors go where the output goes; giving stderr_logfile means false." },
    { .key = "stdout_logfile_maxbytes", .type = OPT_SIZE, SET(out_rotation.maxbytes), .initial = "50MB",
      .min = 0, .max = FILE_MAX, .flags = LIVE,
      .help = "Size at which the output file is rotated; 0 = never." },
    { .key = "stdout_logfile_maxage", .type = OPT_DURATION, SET(out_rotation.maxage_ms), .initial = "0s",
      .min = 0, .max = 3650LL * DAY, .flags = LIVE, .example = "1d",
      .help = "Age at which the output file is rotated, in steps of local time: 1d at midnight, 7d "
              "when Monday begins, 1h on the hour; by the first line after it. 0 = never." },
    { .key = "stdout_logfile_backups", .type = OPT_INTEGER, SET(out_rotation.backups), .initial = "10",
      .min = 0, .max = 10000, .flags = LIVE, .help = "How many rotated output files are kept." },
    { .key = "stderr_logfile_maxbytes", .type = OPT_SIZE, SET(err_rotation.maxbytes), .initial = "50MB",
      .min = 0, .max = FILE_MAX, .flags = LIVE,
      .help = "Size at which the error file is rotated; 0 = never." },
    { .key = "stderr_logfile_maxage", .type = OPT_DURATION, SET(err_rotation.maxage_ms), .initial = "0s",
      .min = 0, .max = 3650LL * DAY, .flags = LIVE, .example = "1d",
      .help = "Age at which the error file is rotated, in steps of local time: 1d at midnight, 7d "
              "when Monday begins, 1h on the hour; by the first line after it. 0 = never." },
    { .key = "stderr_logfile_backups", .type = OPT_INTEGER, SET(err_rotation.backups), .initial = "10",
      .min = 0, .max = 10000, .flags = LIVE, .help = "How many rotated error files are kept." },
    { .key = "logfile_compress", .type = OPT_CHOICE, SET(logfile_compress), .initial = "none",
      .choices = compressions, .flags = LIVE, .help = "How rotated files are compressed." },
    { .key = "log_format", .type = OPT_CHOICE, SET(log_format), .initial = "plain",
      .choices = log_formats, .flags = LIVE,
      .help = "raw: bytes as they come; plain: time, then the line; json: one object per line." },
    { .key = "log_overflow", .type = OPT_CHOICE, SET(log_overflow), .initial = "block",
      .choices = overflows, .flags = LIVE,
      .help = "When the disk (or syslog, journald) is slower than the service, or away: block the "
              "service, or drop the oldest output (counted and reported)." },
    { .key = "nice", .type = OPT_INTEGER, SET(nice), .initial = "0", .min = -20, .max = 19,
      .flags = TUNED,
      .help = "Scheduling priority, -20 to 19; 0 = as the supervisor." },
    { .key = "oom_score_adj", .type = OPT_INTEGER, SET(oom_score_adj), .min = -1000,
      .max = 1000, .example = "500", .flags = TUNED,
      .help = "How early the kernel kills it when memory is short, -1000 to 1000." },
    { .key = "rlimit_nofile", .type = OPT_CUSTOM, LIMIT(SPEC_LIMIT_NOFILE),
      .parse = options_parse_limit_count, .example = "65536", .flags = TUNED,
      .help = "Open descriptors, a number or unlimited." },
    { .key = "rlimit_core", .type = OPT_CUSTOM, LIMIT(SPEC_LIMIT_CORE),
      .parse = options_parse_limit_size, .example = "unlimited", .flags = TUNED,
      .help = "Size of a core file, or unlimited." },
    { .key = "rlimit_nproc", .type = OPT_CUSTOM, LIMIT(SPEC_LIMIT_NPROC),
      .parse = options_parse_limit_count, .example = "4096", .flags = TUNED,
      .help = "Processes of its user, a number or unlimited." },
    { .key = "rlimit_as", .type = OPT_CUSTOM, LIMIT(SPEC_LIMIT_AS),
      .parse = options_parse_limit_size, .example = "4GB", .flags = TUNED,
      .help = "Address space, a size or unlimited." },
    { .key = "rlimit_memlock", .type = OPT_CUSTOM, LIMIT(SPEC_LIMIT_MEMLOCK),
      .parse = options_parse_limit_size, .example = "64MB", .flags = TUNED,
      .help = "Locked memory, a size or unlimited." },
    { .key = "rlimit_stack", .type = OPT_CUSTOM, LIMIT(SPEC_LIMIT_STACK),
      .parse = options_parse_limit_size, .example = "8MB",
      .help = "Stack, a size or unlimited." },
    { .key = "rlimit_fsize", .type = OPT_CUSTOM, LIMIT(SPEC_LIMIT_FSIZE),
      .parse = options_parse_limit_size, .example = "10GB", .flags = TUNED,
      .help = "Size of a file that it writes, or unlimited." },
    { .key = "rlimit_cpu", .type = OPT_CUSTOM, LIMIT(SPEC_LIMIT_CPU),
      .parse = options_parse_limit_time, .example = "1h", .flags = TUNED,
      .help = "Processor time, a duration or unlimited." },
    { .key = "memory_max", .type = OPT_CUSTOM, GROUP(memory_max),
      .parse = options_parse_limit_memory, .flags = LIVE, .example = "512MB",
      .help = "Memory of the whole instance, a size or unlimited; over it the kernel kills one of "
              "its processes." },
    { .key = "memory_high", .type = OPT_CUSTOM, GROUP(memory_high),
      .parse = options_parse_limit_memory, .flags = LIVE, .example = "400MB",
      .help = "Memory above which the instance is slowed down and made to give some back." },
    { .key = "cpu_max", .type = OPT_CUSTOM, GROUP(cpu_max),
      .parse = options_parse_limit_processors, .flags = LIVE, .example = "150%",
      .help = "Processor time of the whole instance: 150% or 1.5 is one and a half processors." },
    { .key = "cpu_weight", .type = OPT_INTEGER, GROUP(cpu_weight), .min = 1, .max = 10000,
      .flags = LIVE, .example = "200",
      .help = "Share of the processors when they are short; the others have 100." },
    { .key = "pids_max", .type = OPT_CUSTOM, GROUP(pids_max), .parse = options_parse_limit_pids,
      .flags = LIVE, .example = "512",
      .help = "Processes and threads of the whole instance, a number or unlimited." },
    { .key = "io_weight", .type = OPT_INTEGER, GROUP(io_weight), .min = 1, .max = 10000,
      .flags = LIVE, .example = "50",
      .help = "Share of the disks when they are busy; the others have 100." },
    { .key = "no_new_privs", .type = OPT_BOOLEAN, BOX(no_new_privs), .initial = "false",
      .example = "true",
      .help = "Whether nothing that it executes can give it more rights (setuid programs, file "
              "capabilities)." },
    { .key = "capabilities", .type = OPT_CUSTOM, BOX(capabilities),
      .parse = options_sandbox_capabilities, .example = "NET_BIND_SERVICE",
      .help = "The capabilities that it and what it starts can have at most: names, none, or all "
              "but some (-NET_RAW -SYS_ADMIN). With user it really has the ones that are named." },
    { .key = "seccomp", .type = OPT_CUSTOM, BOX(seccomp), .initial = "none",
      .parse = options_sandbox_seccomp, .example = "default",
      .help = "Filter of system calls, by name: default (denies what containers are denied), "
              "service (allows what services need), strict (the same without changing ids, "
              "priorities, limits), none. A denied call fails; PROFILE:kill ends the process, "
              "PROFILE:log lets it pass and tells the kernel's log. Brings no_new_privs." },
    { .key = "private_tmp", .type = OPT_CUSTOM, BOX(private_tmp), .initial = "false",
      .parse = options_sandbox_tmp, .example = "true",
      .help = "Its own empty /tmp and /var/tmp, in memory, gone when its process ends: true, or the "
              "size each may grow to, as 512MB." },
    { .key = "private_devices", .type = OPT_BOOLEAN, BOX(private_devices), .initial = "false",
      .example = "true",
      .help = "Its own /dev with null, zero, full, random, urandom, tty, terminals and shm, and no "
              "hardware." },
    { .key = "read_only", .type = OPT_CUSTOM, BOX(read_only), .initial = "false",
      .parse = options_sandbox_read_only, .flags = INSTANCE, .example = "true",
      .help = "What it cannot write to: true (everything but /dev, /proc and /sys), or paths. A "
              "leading - allows a path to be missing." },
    { .key = "read_write_paths", .type = OPT_CUSTOM, BOX(read_write),
      .parse = options_sandbox_paths, .flags = INSTANCE,
      .example = "/var/lib/web-%(process_num)d -/var/cache/web",
      .help = "Paths that stay as they are inside of what is read_only." },
    { .key = "hidden_paths", .type = OPT_CUSTOM, BOX(hidden), .parse = options_sandbox_paths,
      .flags = INSTANCE, .example = "/home /root",
      .help = "Folders and files that are empty for it, with no access." },
    { .key = "root", .type = OPT_TEXT, BOX(root), .example = "rootfs",
      .help = "A folder that is its root, as /srv/jail; command and directory are inside. A "
              "relative one is inside the release (. is the release)." },
    { .key = "namespaces", .type = OPT_CUSTOM, BOX(namespaces),
      .parse = options_sandbox_namespaces, .example = "net ipc",
      .help = "Of what it has its own: net (only lo; sockets that are passed work), ipc, uts, "
              "cgroup, pid (it is process 1 there: it must handle its stop signal itself)." },
    { .key = "on_exit", .type = OPT_CHOICE, SET(on_exit), .initial = "none",
      .choices = on_exits, .flags = LIVE,
      .help = "shutdown: when it ends for good the supervisor leaves, with its exit code." },
    { .key = "release", .type = OPT_TEXT, FIELD(release), .example = "/srv/web",
      .help = "Folder with releases/ and current; services with the same folder are switched and "
              "reverted together. A supervisor that is root wants an explicit user with it." },
    { .key = "release_config", .type = OPT_TEXT, FIELD(release_config), .flags = LIVE,
      .example = "deploy/service.ini",
      .help = "A file inside the release with a [service:] section of this name. What it says goes "
              "over what is said here, and comes and goes with the release: command, environment "
              "(variable by variable), checks, timeouts, numprocs. Rights, sandbox, limits, hooks, "
              "sockets, logs and all the rest are this host's alone. A leading - allows it to be "
              "missing." },
    /* clang-format on */
};

const struct opt_table options_service = {
    .section = "service:NAME",
    .help = "A service: a command that is kept running.",
    .rows = rows,
    .count = sizeof(rows) / sizeof(rows[0]),
};

const char *options_program_initial(const char *key)
{
    static const struct {
        const char *key, *initial;
    } differing[] = {
        /* clang-format off */
        { "autorestart",     "unexpected" },
        { "startretries",    "3" },
        { "backoff_min",     "1s" },
        { "backoff_max",     "1h" },
        { "backoff_jitter",  "0%" },
        { "backoff_reset",   "0s" },
        { "kill_mode",       "process" },
        { "redirect_stderr", "false" },
        { "stdin",           "open" },
        { "log_format",      "raw" },
        /* clang-format on */
    };
    for (size_t i = 0; i < sizeof(differing) / sizeof(differing[0]); i++)
        if (strcmp(differing[i].key, key) == 0)
            return differing[i].initial;
    return NULL;
}

const char *options_takes(const struct opt *row)
{
    if (row->flags & OPTIONS_LIVE)
        return "A reload applies it to what runs.";
    if (row->flags & OPTIONS_TUNED)
        return "A reload applies it to what runs; a supervisor that has neither root's rights nor "
               "CAP_SYS_RESOURCE and CAP_SYS_NICE restarts the service.";
    if (strcmp(row->key, "notify_access") == 0)
        return "A reload applies it to what runs; none to others, and back, takes a restart.";
    if (strcmp(row->key, "process_name") == 0)
        return "A reload applies it to what runs, and restarts a [program:].";
    if (row->flags & OPTIONS_PARTLY)
        return "A reload applies it to what runs; none and inherit to others, and back, takes a "
               "restart.";
    return "A reload restarts the service when it changes.";
}
