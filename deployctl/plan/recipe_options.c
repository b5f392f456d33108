/* recipe_options.c - every key of deploy.ini, one row each; the contract is in recipe_options.h. */
#include "deployctl/plan/recipe_options.h"

#include <string.h>

#include "deployctl/plan/recipe.h"

#define ROWS(table_rows) .rows = (table_rows), .count = sizeof(table_rows) / sizeof((table_rows)[0])
enum { DAY_MS = 86400000, WEEK_MS = 7 * DAY_MS };

static const char *const links[] = { "inside", "any", NULL };
static const char *const modes[] = { "normal", "keep", NULL };
static const char *const durabilities[] = { "syncfs", "fsync", NULL };
static const char *const failures[] = { "rollback", "pause", NULL };
static const char *const inconclusives[] = { "pause", "promote", NULL };

/* clang-format off */
static const struct opt deploy_rows[] = {
    { .key = "app", .type = OPT_TEXT, OPT_FIELD(struct recipe_deploy, app), .example = "web",
      .help = "Name of what is released: letters, digits, '.', '-', '_'. Required." },
    { .key = "path", .type = OPT_TEXT, OPT_FIELD(struct recipe_deploy, path), .example = "/srv/web",
      .help = "Folder on the hosts that holds releases/ and current; the default is /srv/APP." },
    { .key = "source", .type = OPT_TEXT, OPT_FIELD(struct recipe_deploy, source), .example = "./build",
      .help = "Folder, or .tar, .tar.gz, .tar.zst, that is released when the command names none; relative to this file." },
    { .key = "service", .type = OPT_NAMES, OPT_FIELD(struct recipe_deploy, services), .example = "web",
      .help = "Services of the hosts' supervisors that run from this folder; a host switches them in the order of its "
              "supervisor (requires, after), and back in the reverse one. Empty for static files: then the "
              "link current is swapped, and nothing goes back by itself." },
    { .key = "keep_releases", .type = OPT_INTEGER, OPT_FIELD(struct recipe_deploy, keep_releases), .initial = "5", .min = 1, .max = 1000,
      .help = "How many good releases stay on each host." },
    { .key = "shared_dirs", .type = OPT_NAMES, OPT_FIELD(struct recipe_deploy, shared_dirs), .example = "uploads",
      .help = "Folders that all releases share; linked into each from PATH/shared." },
    { .key = "shared_files", .type = OPT_NAMES, OPT_FIELD(struct recipe_deploy, shared_files), .example = "config/secrets.env",
      .help = "Files that all releases share, secrets above all; they must lie in PATH/shared on each host." },
    { .key = "exclude", .type = OPT_NAMES, OPT_FIELD(struct recipe_deploy, exclude), .initial = ".git .hg .svn",
      .help = "Names and patterns that are not released; those in .deployignore are added." },
    { .key = "links", .type = OPT_CHOICE, OPT_FIELD(struct recipe_deploy, links), .initial = "inside", .choices = links,
      .help = "Whether symlinks may lead out of the release." },
    { .key = "modes", .type = OPT_CHOICE, OPT_FIELD(struct recipe_deploy, modes), .initial = "normal", .choices = modes,
      .help = "normal: files become 0444 or 0555, folders 0755. keep: as in the source." },
    { .key = "durability", .type = OPT_CHOICE, OPT_FIELD(struct recipe_deploy, durability), .initial = "syncfs", .choices = durabilities,
      .help = "How a staged release is made safe against a power cut; fsync where a busy database shares the disk." },
    { .key = "owner", .type = OPT_TEXT, OPT_FIELD(struct recipe_deploy, owner), .example = "web:web",
      .help = "Owner of the released files; the agent must be root for it." },
    { .key = "freeze_file", .type = OPT_TEXT, OPT_FIELD(struct recipe_deploy, freeze_file), .example = "./FREEZE",
      .help = "While this file is there, nothing is released from this machine; its first line is the reason. "
              "Rollback, abort, pause, promote and resume go through. Relative to this file." },
    { .key = "signing_key", .type = OPT_TEXT, OPT_FIELD(struct recipe_deploy, signing_key), .example = "./deploy.key",
      .help = "Private key that releases are signed with (`deployctl keygen` makes one); relative to this file. Hosts that "
              "have a trust.ini take nothing else." },
    { .key = "service_file", .type = OPT_TEXT, OPT_FIELD(struct recipe_deploy, service_file), .example = "./web.ini",
      .help = "Service sections that `deployctl bootstrap` puts into the hosts' /etc/supervisor/conf.d/APP.ini; relative to this file." },
};
static const struct opt fleet_rows[] = {
    { .key = "hosts", .type = OPT_TEXT, OPT_FIELD(struct recipe_fleet, hosts), .example = "web[01-20].example.net",
      .help = "The hosts, in rollout order: names and patterns separated by blanks or lines. Required, "
              "unless there is a hosts_command, or [host:] sections alone." },
    { .key = "hosts_command", .type = OPT_TEXT, OPT_FIELD(struct recipe_fleet, hosts_command), .example = "./hosts --env production",
      .help = "A command whose output names further hosts, run here by sh in the folder of this file: one a line, with KEY=VALUE "
              "as in [host:NAME] (other keys are labels), or a JSON list of names and objects. When it fails nothing is done." },
    { .key = "user", .type = OPT_TEXT, OPT_FIELD(struct recipe_fleet, user), .example = "deploy",
      .help = "User name for ssh; the default is ssh's own." },
    { .key = "port", .type = OPT_INTEGER, OPT_FIELD(struct recipe_fleet, port), .min = 1, .max = 65535, .example = "22",
      .help = "Port for ssh; the default is ssh's own." },
    { .key = "transport", .type = OPT_TEXT, OPT_FIELD(struct recipe_fleet, transport), .initial = "ssh",
      .help = "ssh, or local:SOCKET for this machine with the control socket of its supervisor (local: = the usual one)." },
    { .key = "ssh_config", .type = OPT_TEXT, OPT_FIELD(struct recipe_fleet, ssh_config), .example = "./ssh_config",
      .help = "Configuration file for ssh (its -F); relative to this file." },
    { .key = "ssh_options", .type = OPT_TEXT, OPT_FIELD(struct recipe_fleet, ssh_options), .example = "ProxyJump=bastion",
      .help = "Further options for ssh (its -o), separated by blanks." },
    { .key = "parallel", .type = OPT_INTEGER, OPT_FIELD(struct recipe_fleet, parallel), .initial = "32", .min = 1, .max = 1000,
      .help = "How many hosts are connected to, or sent bytes, at the same time." },
    { .key = "connect_timeout", .type = OPT_DURATION, OPT_FIELD(struct recipe_fleet, connect_timeout_ms), .initial = "10s", .min = 1000, .max = 600000,
      .help = "How long a host may take to answer before it counts as unreachable." },
    { .key = "remote_path", .type = OPT_TEXT, OPT_FIELD(struct recipe_fleet, remote_path), .initial = "/usr/local/bin/deployctl",
      .help = "Where deployctl is installed on the hosts; it is not looked up in PATH." },
};
static const struct opt canary_rows[] = {
    { .key = "size", .type = OPT_SHARE, OPT_FIELD(struct recipe_canary, size), .initial = "10%",
      .help = "How many hosts get the release first: a percentage (rounded up) or a number; 0 = none." },
    { .key = "hosts", .type = OPT_TEXT, OPT_FIELD(struct recipe_canary, hosts), .example = "web01.example.net",
      .help = "Which hosts these are; the default is the first ones." },
    { .key = "bake", .type = OPT_DURATION, OPT_FIELD(struct recipe_canary, bake_ms), .initial = "60s", .min = 0, .max = WEEK_MS,
      .help = "How long the canary is watched before the others follow." },
    { .key = "hold_for", .type = OPT_DURATION, OPT_FIELD(struct recipe_canary, hold_for_ms), .initial = "24h", .min = 60000, .max = 4 * (int64_t)WEEK_MS,
      .help = "How long a held or paused canary may wait before it goes back by itself." },
    { .key = "metrics", .type = OPT_TEXT, OPT_FIELD(struct recipe_canary, metrics), .example = "http://127.0.0.1:8080/metrics",
      .help = "Where each host's counts of requests and errors are read while the canary bakes: a page of the host in Prometheus' "
              "text format, log:/PATH of an access log, or probes. The canary is then compared with the rest of the fleet. "
              "Without it the verdict rests on the hard gates alone." },
    { .key = "metrics_requests", .type = OPT_TEXT, OPT_FIELD(struct recipe_canary, metrics_requests), .example = "http_requests_total",
      .help = "The counter of requests: NAME{label=\"value\", label=~\"regex\"}; of a log, the pattern of a request's line." },
    { .key = "metrics_errors", .type = OPT_TEXT, OPT_FIELD(struct recipe_canary, metrics_errors), .example = "http_requests_total{code=~\"5..\"}",
      .help = "Those of them that failed; of a log, the pattern of such a line." },
    { .key = "max_error_ratio", .type = OPT_SHARE, OPT_FIELD(struct recipe_canary, max_error_ratio), .initial = "3%",
      .help = "So many failed requests are tolerated on the canary, also when the rest has fewer; to pass, enough requests "
              "must be seen to be sure of less." },
    { .key = "latency", .type = OPT_DURATION, OPT_FIELD(struct recipe_canary, latency_ms), .min = 1, .max = DAY_MS, .example = "500ms",
      .help = "Requests that take longer are slow; their share is judged as the errors are. Choose one that few requests reach." },
    { .key = "metrics_latency", .type = OPT_TEXT, OPT_FIELD(struct recipe_canary, metrics_latency), .example = "http_request_duration_seconds",
      .help = "The histogram of durations in seconds that latency is read from." },
    { .key = "max_slow_ratio", .type = OPT_SHARE, OPT_FIELD(struct recipe_canary, max_slow_ratio), .initial = "5%",
      .help = "As max_error_ratio, of slow requests." },
    { .key = "false_abort", .type = OPT_SHARE, OPT_FIELD(struct recipe_canary, false_abort), .initial = "1%",
      .help = "How often a canary that is no worse than the rest may be stopped all the same." },
    { .key = "on_inconclusive", .type = OPT_CHOICE, OPT_FIELD(struct recipe_canary, on_inconclusive), .initial = "pause", .choices = inconclusives,
      .help = "What happens when the bake ends and there were too few requests for a verdict; only with metrics." },
    { .key = "metrics_interval", .type = OPT_DURATION, OPT_FIELD(struct recipe_canary, metrics_interval_ms), .initial = "1s", .min = 100, .max = 600000,
      .help = "How often the counts are read on every host." },
    { .key = "warm_up", .type = OPT_DURATION, OPT_FIELD(struct recipe_canary, warm_up_ms), .initial = "0s", .min = 0, .max = DAY_MS,
      .help = "How long after the switch nothing is counted, for caches to fill; a part of bake." },
};
static const struct opt rollout_rows[] = {
    { .key = "batch", .type = OPT_SHARE, OPT_FIELD(struct recipe_rollout, batch), .initial = "25%",
      .help = "How many hosts there are between two verdicts: a percentage (rounded up) or a number." },
    { .key = "max_unavailable", .type = OPT_SHARE, OPT_FIELD(struct recipe_rollout, max_unavailable), .initial = "1",
      .help = "How many healthy hosts may be out of service at the same time: a percentage (rounded down) or a number." },
    { .key = "max_failed", .type = OPT_SHARE, OPT_FIELD(struct recipe_rollout, max_failed), .initial = "0",
      .help = "How many hosts may fail before the whole rollout does." },
    { .key = "max_unreachable", .type = OPT_SHARE, OPT_FIELD(struct recipe_rollout, max_unreachable), .initial = "0",
      .help = "How many hosts may be unreachable; they are named, and brought up to date by resume." },
    { .key = "healthy_for", .type = OPT_DURATION, OPT_FIELD(struct recipe_rollout, healthy_for_ms), .initial = "10s", .min = 0, .max = DAY_MS,
      .help = "How long a host must be healthy before its release is confirmed." },
    { .key = "ready_timeout", .type = OPT_DURATION, OPT_FIELD(struct recipe_rollout, ready_timeout_ms), .initial = "60s", .min = 1000, .max = DAY_MS,
      .help = "How long the services of a host may take to become ready; then the host goes back by itself." },
    { .key = "progress_deadline", .type = OPT_DURATION, OPT_FIELD(struct recipe_rollout, progress_deadline_ms), .initial = "10m", .min = 1000, .max = WEEK_MS,
      .help = "How long the rollout may go without a single host becoming healthy." },
    { .key = "confirm_within", .type = OPT_DURATION, OPT_FIELD(struct recipe_rollout, confirm_within_ms), .initial = "120s", .min = 2000, .max = DAY_MS,
      .help = "The lease: a host that is not confirmed in time goes back by itself, also when deployctl is gone." },
    { .key = "on_failure", .type = OPT_CHOICE, OPT_FIELD(struct recipe_rollout, on_failure), .initial = "rollback", .choices = failures,
      .help = "rollback: bring back every host that was switched. pause: stop and wait for resume or abort." },
    { .key = "rate_limit", .type = OPT_SIZE, OPT_FIELD(struct recipe_rollout, rate_limit), .min = 8192, .max = (int64_t)1 << 40, .example = "5MB",
      .help = "How many bytes a second a release is sent with, to all hosts together; they take turns. The default is no limit." },
    { .key = "zone_label", .type = OPT_TEXT, OPT_FIELD(struct recipe_rollout, zone_label), .example = "zone",
      .help = "The label that says in which zone a host is: no batch has hosts of two zones, one zone follows the "
              "other, and canary hosts are spread over them." },
};
static const struct opt rollback_rows[] = {
    { .key = "max_unavailable", .type = OPT_SHARE, OPT_FIELD(struct recipe_rollback, max_unavailable), .initial = "34%",
      .help = "How many healthy hosts may be out at the same time in a rollback; unhealthy ones and those "
              "with restart_mode = overlap go all at once." },
};
static const struct opt hooks_rows[] = {
    { .key = "before_install", .type = OPT_TEXT, OPT_FIELD(struct recipe_hooks, before_install), .example = "/usr/local/bin/check-disk",
      .help = "On each host, before bytes are sent." },
    { .key = "after_install", .type = OPT_TEXT, OPT_FIELD(struct recipe_hooks, after_install), .example = "./bin/warm-cache",
      .help = "On each host, when the release is complete there." },
    { .key = "before_switch", .type = OPT_TEXT, OPT_FIELD(struct recipe_hooks, before_switch), .example = "./bin/migrate",
      .help = "On each host, just before it switches." },
    { .key = "validate", .type = OPT_TEXT, OPT_FIELD(struct recipe_hooks, validate), .example = "./bin/smoke-test",
      .help = "On each host, when it has switched; a failure is a verdict on the release." },
    { .key = "after_switch", .type = OPT_TEXT, OPT_FIELD(struct recipe_hooks, after_switch), .example = "./bin/announce",
      .help = "On each host, after validate." },
    { .key = "on_failure", .type = OPT_TEXT, OPT_FIELD(struct recipe_hooks, on_failure), .example = "./bin/collect-logs",
      .help = "On a host that goes back." },
    { .key = "before_release", .type = OPT_TEXT, OPT_FIELD(struct recipe_hooks, before_release), .example = "make check",
      .help = "On this machine, before anything else; a failure ends the release." },
    { .key = "after_release", .type = OPT_TEXT, OPT_FIELD(struct recipe_hooks, after_release), .example = "./announce done",
      .help = "On this machine, when all is done." },
    { .key = "on_rollback", .type = OPT_TEXT, OPT_FIELD(struct recipe_hooks, on_rollback), .example = "./announce failed",
      .help = "On this machine, when a release was rolled back." },
    { .key = "timeout", .type = OPT_DURATION, OPT_FIELD(struct recipe_hooks, timeout_ms), .initial = "5m", .min = 1000, .max = DAY_MS,
      .help = "How long a hook may take." },
};
static const struct opt drain_rows[] = {
    { .key = "command", .type = OPT_TEXT, OPT_FIELD(struct recipe_drain, command), .example = "/usr/local/bin/lb-remove",
      .help = "On each host, before its services are restarted: takes it out of the traffic. A failure leaves the host as it is." },
    { .key = "undrain_command", .type = OPT_TEXT, OPT_FIELD(struct recipe_drain, undrain_command), .example = "/usr/local/bin/lb-add",
      .help = "On each host, when its services are ready again, also after a failure that was undone." },
    { .key = "timeout", .type = OPT_DURATION, OPT_FIELD(struct recipe_drain, timeout_ms), .initial = "30s", .min = 1000, .max = 3600000,
      .help = "How long each of the two commands may take; undrain_command at most half of confirm_within." },
    { .key = "haproxy_socket", .type = OPT_NAMES, OPT_FIELD(struct recipe_drain, haproxy_sockets), .example = "/run/haproxy/admin.sock",
      .help = "HAProxy's runtime socket with level admin, as seen from the host: a path or ADDRESS:PORT; several for several balancers. "
              "The host is set to drain there, its sessions are waited for, and it is set to ready." },
    { .key = "haproxy_backend", .type = OPT_TEXT, OPT_FIELD(struct recipe_drain, haproxy_backend), .example = "web",
      .help = "The backend that the hosts are servers of." },
    { .key = "haproxy_server", .type = OPT_TEXT, OPT_FIELD(struct recipe_drain, haproxy_server), .initial = "%h",
      .help = "The server's name there; %h is the host's name." },
    { .key = "delay", .type = OPT_DURATION, OPT_FIELD(struct recipe_drain, delay_ms), .initial = "0s", .min = 0, .max = 600000,
      .help = "How long the load balancer may need to notice: more than its interval of checks. For deployctl agent-check, and for "
              "services that look for PATH/.deploy/drained in their readiness." },
    { .key = "wait", .type = OPT_DURATION, OPT_FIELD(struct recipe_drain, wait_ms), .initial = "30s", .min = 0, .max = 3600000,
      .help = "The longest time until the services have no established connection (with haproxy_socket: no session) any more; ends "
              "as soon as that is so, and goes on with a warning when it never is." },
    { .key = "ports", .type = OPT_NAMES, OPT_FIELD(struct recipe_drain, ports), .example = "8080",
      .help = "The TCP ports whose connections are waited for; the default is what the services listen on, which the agent can "
              "see when it is root or their user." },
};
static const struct opt host_rows[] = {
    { .key = "address", .type = OPT_TEXT, OPT_FIELD(struct recipe_host, address), .example = "192.0.2.7",
      .help = "Where ssh connects to; the default is the name." },
    { .key = "user", .type = OPT_TEXT, OPT_FIELD(struct recipe_host, user), .example = "deploy",
      .help = "User name for ssh on this host." },
    { .key = "port", .type = OPT_INTEGER, OPT_FIELD(struct recipe_host, port), .min = 1, .max = 65535, .example = "2222",
      .help = "Port for ssh on this host." },
    { .key = "transport", .type = OPT_TEXT, OPT_FIELD(struct recipe_host, transport), .example = "local:/run/supervisor/control.sock",
      .help = "As in [fleet], for this host." },
    { .key = "path", .type = OPT_TEXT, OPT_FIELD(struct recipe_host, path), .example = "/srv/web",
      .help = "As in [deploy], for this host." },
    { .key = "metrics", .type = OPT_TEXT, OPT_FIELD(struct recipe_host, metrics), .example = "http://127.0.0.1:8081/metrics",
      .help = "As in [canary], for this host." },
    { .key = "labels", .type = OPT_TEXT, OPT_FIELD(struct recipe_host, labels), .example = "zone=a",
      .help = "KEY=VALUE words, for --hosts KEY=VALUE and zone_label; shown by `hosts`." },
};
static const struct opt group_rows[] = {
    { .key = "hosts", .type = OPT_TEXT, OPT_FIELD(struct recipe_group, hosts), .example = "role=web",
      .help = "Its hosts: names and patterns, or KEY=VALUE of their labels. Required; every host is in exactly one group." },
    { .key = "after", .type = OPT_NAMES, OPT_FIELD(struct recipe_group, after), .example = "api",
      .help = "Groups that must be wholly on the release before a host of this one is switched; on the way back they wait for "
              "this one. Without it groups follow one another in the order of this file." },
    { .key = "service", .type = OPT_NAMES, OPT_FIELD(struct recipe_group, services), .example = "web",
      .help = "As in [deploy], for the hosts of this group." },
};
/* clang-format on */

const struct opt_table recipe_options_deploy = { .section = "deploy",
                                                 .help = "What is released.",
                                                 ROWS(deploy_rows) };
const struct opt_table recipe_options_fleet = { .section = "fleet",
                                                .help = "The hosts, and how to reach them.",
                                                ROWS(fleet_rows) };
const struct opt_table recipe_options_canary = {
    .section = "canary",
    .help = "The hosts that get a release first, and how long they are watched.",
    ROWS(canary_rows)
};
const struct opt_table recipe_options_rollout = { .section = "rollout",
                                                  .help = "How the other hosts follow.",
                                                  ROWS(rollout_rows) };
const struct opt_table recipe_options_rollback = { .section = "rollback",
                                                   .help = "How a fleet goes back.",
                                                   ROWS(rollback_rows) };
const struct opt_table recipe_options_hooks = {
    .section = "hooks",
    .help = "Commands at certain moments; they get DEPLOY_APP, DEPLOY_RELEASE, DEPLOY_PREVIOUS, "
            "DEPLOY_HOST and DEPLOY_STAGE.",
    ROWS(hooks_rows)
};
const struct opt_table recipe_options_drain = {
    .section = "drain",
    .help = "How a host leaves the traffic while its services restart, and comes back; any key "
            "turns it "
            "on.",
    ROWS(drain_rows)
};
const struct opt_table recipe_options_host = { .section = "host:NAME",
                                               .help = "What is different for one host.",
                                               ROWS(host_rows) };
const struct opt_table recipe_options_group = {
    .section = "group:NAME",
    .help =
        "Hosts that are released together, one group after the other: first all of the first. The "
        "canary is of the first group; batch and max_unavailable are of each group's hosts.",
    ROWS(group_rows)
};
const struct opt_table *const recipe_tables[] = {
    &recipe_options_deploy,   &recipe_options_fleet,
    &recipe_options_host,     &recipe_options_group,
    &recipe_options_canary,   &recipe_options_rollout,
    &recipe_options_rollback, &recipe_options_hooks,
    &recipe_options_drain,    NULL,
};
