/* recipe.h - deploy.ini: what is released, to which hosts, how carefully.
 *
 * One option table per section drives parsing, defaults, `deployctl options` and the file that
 * `deployctl init` writes.  All errors are reported at once as "FILE:LINE: [section] key: what".
 */
#ifndef DEPLOYCTL_PLAN_RECIPE_H
#define DEPLOYCTL_PLAN_RECIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/opt.h"
#include "base/unit.h"
#include "deployctl/plan/evidence.h"
#include "deployctl/plan/inventory.h"

enum recipe_links { RECIPE_LINKS_INSIDE, RECIPE_LINKS_ANY };
enum recipe_modes { RECIPE_MODES_NORMAL, RECIPE_MODES_KEEP };
enum recipe_durability { RECIPE_SYNCFS, RECIPE_FSYNC };
enum recipe_failure { RECIPE_ROLLBACK, RECIPE_PAUSE };
enum recipe_inconclusive { RECIPE_INCONCLUSIVE_PAUSE, RECIPE_INCONCLUSIVE_PROMOTE };

struct recipe_deploy {
    const char *app, *path, *source, *owner, *freeze_file; /* the last two may be NULL */
    const char *signing_key;                               /* NULL = releases are not signed */
    const char *service_file;                              /* NULL = none */
    struct opt_names services, shared_dirs, shared_files, exclude;
    int64_t keep_releases;
    int links, modes, durability;
};
struct recipe_fleet {
    const char *hosts, *hosts_command, *user, *transport, *ssh_config, *ssh_options, *remote_path;
    int64_t port; /* 0 = ssh's own */
    int64_t parallel, connect_timeout_ms;
};
struct recipe_canary {
    struct unit_share size;
    const char *hosts; /* pattern, or NULL */
    int64_t bake_ms, hold_for_ms;
    const char *metrics, *metrics_requests, *metrics_errors, *metrics_latency; /* may be NULL */
    int64_t metrics_interval_ms, warm_up_ms, latency_ms;                       /* latency 0 = not */
    struct unit_share max_error_ratio, max_slow_ratio, false_abort;            /* percentages */
    int on_inconclusive;
};
struct recipe_rollout {
    struct unit_share batch, max_unavailable, max_failed, max_unreachable;
    int64_t healthy_for_ms, ready_timeout_ms, progress_deadline_ms, confirm_within_ms;
    int on_failure;
    int64_t rate_limit;     /* bytes a second; 0 = none */
    const char *zone_label; /* NULL = no zones */
};
struct recipe_rollback {
    struct unit_share max_unavailable;
};
struct recipe_hooks {
    const char *before_install, *after_install, *before_switch, *validate, *after_switch,
        *on_failure;                                          /* on the host */
    const char *before_release, *after_release, *on_rollback; /* on the operator's side */
    int64_t timeout_ms;
};
enum { RECIPE_HAPROXY_MAX = 8 };
struct recipe_drain {
    bool on; /* the section is there */
    const char *command, *undrain_command, *haproxy_backend, *haproxy_server; /* may be NULL */
    struct opt_names haproxy_sockets, ports;
    int64_t wait_ms, delay_ms, timeout_ms;
};
enum { RECIPE_GROUPS_MAX = 32, RECIPE_GROUP_NAME_MAX = 60 };
struct recipe_group {
    const char *name, *hosts; /* pattern */
    struct opt_names after, services;
};
struct recipe_host {
    const char *name;
    const char *address, *user, *transport, *path, *labels; /* NULL = as the fleet's */
    int64_t port;
    bool from_command;        /* hosts_command has named it */
    bool local;               /* transport is local: */
    const char *local_socket; /* "" = the supervisor's usual places */
    const char *metrics;      /* NULL = none, also not the fleet's */
    struct opt_names services;
    size_t group;           /* among the recipe's; 0 where there are none */
    const char *group_name; /* NULL where there are none */
};

struct recipe {
    struct arena arena;
    const char *file;
    /* Runs hosts_command; set before recipe_parse().  NULL = it names nobody. */
    int (*ask)(void *context, const char *command, struct inventory *ret, struct err *err);
    void *ask_context;
    struct recipe_deploy deploy;
    struct recipe_fleet fleet;
    struct recipe_canary canary;
    struct recipe_rollout rollout;
    struct recipe_rollback rollback;
    struct recipe_hooks hooks;
    struct recipe_drain drain;
    struct recipe_group groups[RECIPE_GROUPS_MAX]; /* in the order in which they are released */
    size_t ngroups;
    struct evidence evidence;  /* of [canary], in the verdict's terms */
    const char **ssh_options;  /* NULL-terminated -o values */
    struct recipe_host *hosts; /* everything filled in from the fleet's values */
    size_t count;
};

void recipe_init(struct recipe *recipe);
void recipe_done(struct recipe *recipe);
/* Parses the text of `file`.  Adds every error to `errors`; returns 0 or ERR_INVALID. */
int recipe_parse(struct recipe *recipe, const char *file, const char *text, size_t len,
                 struct err_list *errors);
/* `pattern`: words separated by commas or blanks, any of which may match: a name as in hosts.h, or
 * KEY=VALUE, which is looked for among the labels (VALUE may have '*' and '?'); group=NAME is one
 * where the host has no other label of that name. */
bool recipe_host_matches(const struct recipe_host *host, const char *pattern);
/* The value of a label; "" when the host has it not.  Not terminated: *ret_len bytes. */
const char *recipe_label(const struct recipe_host *host, const char *key, size_t *ret_len);
/* At most RECIPE_GROUP_NAME_MAX letters, digits and _ . - ; it is shown and recorded. */
bool recipe_group_name_ok(const char *name);
/* True when no host has a service: static files. */
bool recipe_is_static(const struct recipe *recipe);
/* Keeps only the hosts that match; ERR_NOT_FOUND names the pattern and the hosts there are. */
int recipe_select(struct recipe *recipe, const char *pattern, struct err *err);

extern const struct opt_table *const recipe_tables[]; /* NULL-terminated, in the file's order */
/* The commented deploy.ini that `init` writes. */
void recipe_sample(const char *app, struct buf *out);

#endif
