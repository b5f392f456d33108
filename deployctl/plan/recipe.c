/* recipe.c - the contract is in recipe.h. */
#include "deployctl/plan/recipe.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/ini.h"
#include "base/near.h"
#include "base/unit.h"
#include "base/words.h"
#include "deployctl/plan/hosts.h"
#include "deployctl/plan/recipe_groups.h"
#include "deployctl/plan/recipe_options.h"

#define LOCAL_PREFIX "local:"
#define HOST_PREFIX  "host:"
#define LABEL_ENDS   ", \t\r\n"

enum { LABEL_MAX = 4096 };

/* What is being read, and where errors go. */
struct reader {
    struct recipe *recipe;
    struct ini ini;
    struct err_list *errors;
    struct hosts names;
    const struct ini_entry **seen; /* key entries, to find repeated ones */
    size_t nseen;
};

void recipe_init(struct recipe *recipe)
{
    memset(recipe, 0, sizeof *recipe);
    arena_init(&recipe->arena);
}

void recipe_done(struct recipe *recipe)
{
    arena_done(&recipe->arena);
    recipe->count = 0;
}

static const char *section_at(size_t i, const void *context)
{
    const struct opt_table *const *tables = context;
    return tables[i]->section;
}

static const struct opt_table *table_of(const char *section)
{
    if (strncmp(section, HOST_PREFIX, strlen(HOST_PREFIX)) == 0)
        return &recipe_options_host;
    if (strncmp(section, RECIPE_GROUPS_PREFIX, strlen(RECIPE_GROUPS_PREFIX)) == 0)
        return &recipe_options_group;
    for (size_t i = 0; recipe_tables[i]; i++)
        if (strcmp(recipe_tables[i]->section, section) == 0)
            return recipe_tables[i];
    return NULL;
}

/* The group of that name; a new one where there is room, else NULL. */
static struct recipe_group *group_of(struct recipe *recipe, const char *name)
{
    for (size_t i = 0; i < recipe->ngroups; i++)
        if (strcmp(recipe->groups[i].name, name) == 0)
            return &recipe->groups[i];
    if (recipe->ngroups == RECIPE_GROUPS_MAX)
        return NULL;
    recipe->groups[recipe->ngroups].name = name;
    return &recipe->groups[recipe->ngroups++];
}

static void *target_of(struct recipe *recipe, const struct opt_table *table, const char *section)
{
    if (table == &recipe_options_host) {
        for (size_t i = 0; i < recipe->count; i++)
            if (strcmp(recipe->hosts[i].name, section + strlen(HOST_PREFIX)) == 0)
                return &recipe->hosts[i];
        return NULL;
    }
    if (table == &recipe_options_group)
        return group_of(recipe, section + strlen(RECIPE_GROUPS_PREFIX));
    const struct {
        const struct opt_table *table;
        void *target;
    } rows[] = {
        { &recipe_options_deploy, &recipe->deploy },
        { &recipe_options_fleet, &recipe->fleet },
        { &recipe_options_canary, &recipe->canary },
        { &recipe_options_rollout, &recipe->rollout },
        { &recipe_options_rollback, &recipe->rollback },
        { &recipe_options_hooks, &recipe->hooks },
        { &recipe_options_drain, &recipe->drain },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].table == table)
            return rows[i].target;
    return NULL;
}

static void complain(struct reader *reader, const struct ini_entry *entry, const char *what)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a recipe is there, always */
    err_list_add(reader->errors, "%s:%d: [%s] %s%s%s", reader->recipe->file, entry->line,
                 entry->section, entry->key ? entry->key : "", entry->key ? ": " : "", what);
}

static void unknown_section(struct reader *reader, const struct ini_entry *entry)
{
    size_t count = 0;
    struct err err;
    while (recipe_tables[count])
        count++;
    char text[HOSTS_NAME_MAX + 8];
    const char *colon = strchr(entry->section, ':'); /* [hots:web1] is near to [host:NAME] */
    if (colon)
        snprintf(text, sizeof text, "%.*s:NAME", (int)(colon - entry->section), entry->section);
    else
        snprintf(text, sizeof text, "%s", entry->section);
    const char *nearest = near_name(text, count, section_at, recipe_tables);
    if (nearest)
        err_set(&err, ERR_NOT_FOUND, "unknown section, did you mean [%s]?", nearest);
    else
        err_set(&err, ERR_NOT_FOUND, "unknown section; `deployctl options` lists them");
    complain(reader, entry, err.text);
}

static bool repeated(struct reader *reader, const struct ini_entry *entry)
{
    struct err err;
    for (size_t i = 0; i < reader->nseen; i++) {
        const struct ini_entry *other = reader->seen[i];
        if (strcmp(other->section, entry->section) != 0 || strcmp(other->key, entry->key) != 0)
            continue;
        err_set(&err, ERR_EXISTS, "given twice, first on line %d", other->line);
        complain(reader, entry, err.text);
        return true;
    }
    reader->seen[reader->nseen++] = entry;
    return false;
}

static void set_key(struct reader *reader, const struct ini_entry *entry,
                    const struct opt_table *table, void *target)
{
    struct err err;
    if (repeated(reader, entry))
        return;
    if (opt_set(table, entry->key, entry->value, &reader->recipe->arena, target, &err) < 0)
        complain(reader, entry, err.text);
}

/* First everything but [host:], which needs to know the hosts. */
static void read_entries(struct reader *reader, bool hosts)
{
    for (size_t i = 0; i < reader->ini.count; i++) {
        const struct ini_entry *entry = &reader->ini.entries[i];
        const struct opt_table *table = table_of(entry->section);
        bool is_host = table == &recipe_options_host;
        if (is_host != hosts)
            continue;
        if (!table) {
            if (!entry->key)
                unknown_section(reader, entry);
            continue;
        }
        void *target = target_of(reader->recipe, table, entry->section);
        if (entry->key && target)
            set_key(reader, entry, table, target);
        else if (!target && !entry->key && table == &recipe_options_group)
            complain(reader, entry, "more than 32 groups");
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a recipe is there, always */
        else if (!target && !entry->key && reader->recipe->count > 0)
            complain(reader, entry,
                     reader->recipe->fleet.hosts_command
                         ? "no such host in [fleet] hosts, nor does hosts_command name it"
                         : "no such host in [fleet] hosts");
    }
}

static const struct ini_entry *find_entry(const struct reader *reader, const char *section,
                                          const char *key)
{
    for (size_t i = 0; i < reader->ini.count; i++) {
        const struct ini_entry *entry = &reader->ini.entries[i];
        if (entry->key && strcmp(entry->section, section) == 0 && strcmp(entry->key, key) == 0)
            return entry;
    }
    return NULL;
}

/* An error about a key that may be absent. */
static void wrong(struct reader *reader, const char *section, const char *key, const char *what)
{
    const struct ini_entry *entry = find_entry(reader, section, key);
    if (entry)
        complain(reader, entry, what);
    else
        err_list_add(reader->errors, "%s:1: [%s] %s: %s", reader->recipe->file, section, key, what);
}

/* The same of a section (key NULL) or a key, for those who do not know the reader. */
static void wrong_there(void *context, const char *section, const char *key, const char *what)
{
    struct reader *reader = context;
    const struct ini_entry *entry = key ? find_entry(reader, section, key) : NULL;
    for (size_t i = 0; !entry && i < reader->ini.count; i++)
        if (!reader->ini.entries[i].key && strcmp(reader->ini.entries[i].section, section) == 0)
            entry = &reader->ini.entries[i];
    err_list_add(reader->errors, "%s:%d: [%s] %s%s%s", reader->recipe->file,
                 entry ? entry->line : 1, section, key ? key : "", key ? ": " : "", what);
}

/* Without a `hosts` key the [host:NAME] sections say who there is, in their order; NULL = none. */
static const char *hosts_of_sections(struct reader *reader)
{
    const char *names = NULL;
    for (size_t i = 0; i < reader->ini.count; i++) {
        const struct ini_entry *entry = &reader->ini.entries[i];
        if (entry->key || strncmp(entry->section, HOST_PREFIX, strlen(HOST_PREFIX)) != 0)
            continue;
        const char *name = entry->section + strlen(HOST_PREFIX);
        names = names ? arena_printf(&reader->recipe->arena, "%s %s", names, name) : name;
    }
    return names;
}

/* What hosts_command tells; false after an error. */
static bool ask_inventory(struct reader *reader, struct inventory *inventory)
{
    struct recipe *recipe = reader->recipe;
    const char *command = recipe->fleet.hosts_command;
    struct err err;
    *inventory = (struct inventory){ .arena = &recipe->arena };
    if (!command || !recipe->ask)
        return true;
    int rc = recipe->ask(recipe->ask_context, command, inventory, &err);
    for (size_t i = 0; rc == 0 && i < inventory->count; i++) {
        const struct inventory_host *host = &inventory->hosts[i];
        if (hosts_find(&reader->names, host->name) < reader->names.count)
            rc = err_set(&err, ERR_EXISTS, "%s %zu: host %s is named twice%s", inventory->place_is,
                         host->place, host->name,
                         hosts_match(recipe->fleet.hosts ? recipe->fleet.hosts : "", host->name)
                             ? ", first in hosts"
                             : "");
        else
            rc = hosts_add(&reader->names, host->name, &recipe->arena, &err);
    }
    if (rc == 0 && reader->names.count == 0)
        rc = err_set(&err, ERR_NOT_FOUND, "it names no host");
    if (rc < 0)
        wrong(reader, "fleet", "hosts_command", err.text);
    return rc == 0;
}

static void take_inventory(struct reader *reader, const struct inventory *inventory)
{
    struct recipe *recipe = reader->recipe;
    size_t before = recipe->count - inventory->count;
    struct err err;
    for (size_t i = 0; i < inventory->count; i++) {
        const struct inventory_host *host = &inventory->hosts[i];
        recipe->hosts[before + i].from_command = true;
        if (inventory_apply(host, &recipe->hosts[before + i], &recipe->arena, &err) == 0)
            continue;
        err_wrap(&err, "%s %zu: %s", inventory->place_is, host->place, host->name);
        wrong(reader, "fleet", "hosts_command", err.text);
        return;
    }
}

static void make_hosts(struct reader *reader)
{
    struct recipe *recipe = reader->recipe;
    struct inventory inventory;
    struct err err;
    if (!recipe->fleet.hosts && !recipe->fleet.hosts_command)
        recipe->fleet.hosts = hosts_of_sections(reader);
    if (!recipe->fleet.hosts && !recipe->fleet.hosts_command) {
        wrong(reader, "fleet", "hosts", "missing; name at least one host");
        return;
    }
    const char *hosts = recipe->fleet.hosts ? recipe->fleet.hosts : "";
    if (*hosts && hosts_add_all(&reader->names, hosts, false, &recipe->arena, &err) < 0) {
        wrong(reader, "fleet", "hosts", err.text);
        return;
    }
    if (!ask_inventory(reader, &inventory))
        return;
    recipe->hosts = arena_array(&recipe->arena, reader->names.count + 1, sizeof *recipe->hosts);
    if (!recipe->hosts)
        return;
    recipe->count = reader->names.count;
    for (size_t i = 0; i < recipe->count; i++) {
        recipe->hosts[i].name = reader->names.names[i];
        opt_defaults(&recipe_options_host, &recipe->arena, &recipe->hosts[i], NULL);
    }
    take_inventory(reader, &inventory);
}

static bool plain_word(const char *text)
{
    for (const char *at = text; *at; at++)
        if (!isalnum((unsigned char)*at) && !strchr("_./-", *at))
            return false;
    return true;
}

static bool good_path(const char *text)
{
    return text[0] == '/' && text[1] != '\0' && plain_word(text) && !strstr(text, "/../") &&
           !strstr(text, "//");
}

static const char *const path_rule =
    "must be an absolute path of letters, digits and _ . / - (every shell reads it the same)";

static const char *const haproxy_rule = "must be a name of letters, digits and _ . : -";

static void check_deploy(struct reader *reader)
{
    struct recipe_deploy *deploy = &reader->recipe->deploy;
    if (!deploy->app)
        wrong(reader, "deploy", "app", "missing; name what is released");
    else if (!plain_word(deploy->app) || strchr(deploy->app, '/') || deploy->app[0] == '.')
        wrong(reader, "deploy", "app", "only letters, digits, '.', '-' and '_'");
    if (!deploy->path && deploy->app)
        deploy->path = arena_printf(&reader->recipe->arena, "/srv/%s", deploy->app);
    if (deploy->path && !good_path(deploy->path))
        wrong(reader, "deploy", "path", path_rule);
    if (!good_path(reader->recipe->fleet.remote_path ? reader->recipe->fleet.remote_path : ""))
        wrong(reader, "fleet", "remote_path", path_rule);
}

static void check_transport(struct reader *reader, struct recipe_host *host)
{
    const char *transport = host->transport;
    char section[HOSTS_NAME_MAX + 8];
    snprintf(section, sizeof section, HOST_PREFIX "%s", host->name);
    if (strcmp(transport, "ssh") == 0)
        return;
    if (strncmp(transport, LOCAL_PREFIX, strlen(LOCAL_PREFIX)) == 0) {
        host->local = true;
        host->local_socket = transport + strlen(LOCAL_PREFIX);
        return;
    }
    bool own = find_entry(reader, section, "transport") != NULL;
    wrong(reader, own ? section : "fleet", "transport", "must be ssh, local: or local:SOCKET");
}

static void fill_hosts(struct reader *reader)
{
    struct recipe *recipe = reader->recipe;
    for (size_t i = 0; i < recipe->count; i++) {
        struct recipe_host *host = &recipe->hosts[i];
        host->address = host->address ? host->address : host->name;
        host->user = host->user ? host->user : recipe->fleet.user;
        host->port = host->port ? host->port : recipe->fleet.port;
        host->path = host->path ? host->path : recipe->deploy.path;
        host->transport = host->transport ? host->transport : recipe->fleet.transport;
        if (host->path && !good_path(host->path)) {
            char section[HOSTS_NAME_MAX + 8];
            snprintf(section, sizeof section, HOST_PREFIX "%s", host->name);
            wrong(reader, section, "path", path_rule);
        }
        if (host->transport)
            check_transport(reader, host);
        if (host->address[0] == '-')
            wrong(reader, "fleet", "hosts", "an address may not begin with '-'");
    }
}

static double part(struct reader *reader, const char *key, const struct unit_share *share)
{
    if (!(share->percent > 0 && share->percent < 100))
        wrong(reader, "canary", key, "must be a percentage over 0% and under 100%");
    return share->percent / 100;
}

/* The message of evidence_check begins with the key. */
static void wrong_evidence(struct reader *reader, const char *section, const struct err *err)
{
    char key[32];
    size_t len = strcspn(err->text, ":");
    snprintf(key, sizeof key, "%.*s", (int)len, err->text);
    wrong(reader, section, key, err->text + len + 2);
}

static void check_host_evidence(struct reader *reader, struct recipe_host *host)
{
    struct evidence evidence = reader->recipe->evidence;
    enum evidence_source here, fleet;
    char section[HOSTS_NAME_MAX + 8];
    struct err err;
    if (!host->metrics) {
        host->metrics = evidence.metrics;
        return;
    }
    snprintf(section, sizeof section, HOST_PREFIX "%s", host->name);
    evidence_source(evidence.metrics, &fleet, NULL);
    evidence.metrics = host->metrics;
    if (evidence_check(&evidence, &err) < 0)
        wrong_evidence(reader, section, &err);
    else if (evidence_source(host->metrics, &here, NULL) < 0 || here != fleet)
        wrong(reader, section, "metrics", "must be of the same kind as metrics in [canary]");
}

/* Keys that promise a verdict that nobody can give. */
static void check_idle_keys(struct reader *reader)
{
    static const char *const keys[] = { "metrics_requests", "metrics_errors",  "metrics_latency",
                                        "max_error_ratio",  "max_slow_ratio",  "latency",
                                        "false_abort",      "on_inconclusive", "warm_up",
                                        "metrics_interval" };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (find_entry(reader, "canary", keys[i]))
            wrong(reader, "canary", keys[i], "means nothing without metrics");
}

static void make_evidence(struct reader *reader)
{
    struct recipe *recipe = reader->recipe;
    const struct recipe_canary *canary = &recipe->canary;
    struct err err;
    recipe->evidence = (struct evidence){
        .metrics = canary->metrics,
        .requests = canary->metrics_requests,
        .errors = canary->metrics_errors,
        .latency = canary->metrics_latency,
        .latency_ms = canary->metrics ? canary->latency_ms : 0,
        .max_error_ratio = part(reader, "max_error_ratio", &canary->max_error_ratio),
        .max_slow_ratio = part(reader, "max_slow_ratio", &canary->max_slow_ratio),
        .false_abort = part(reader, "false_abort", &canary->false_abort),
        .interval_ms = canary->metrics_interval_ms,
        .warm_up_ms = canary->warm_up_ms,
        .promote = canary->on_inconclusive == RECIPE_INCONCLUSIVE_PROMOTE,
    };
    if (!canary->metrics)
        check_idle_keys(reader);
    else if (canary->warm_up_ms > 0 && canary->warm_up_ms >= canary->bake_ms)
        wrong(reader, "canary", "warm_up", "must be shorter than bake, or nothing is counted");
    if (evidence_check(&recipe->evidence, &err) < 0) {
        wrong_evidence(reader, "canary", &err);
        return;
    }
    for (size_t i = 0; i < recipe->count; i++)
        check_host_evidence(reader, &recipe->hosts[i]);
}

/* Names that go into a line for HAProxy. */
static bool haproxy_name(const char *text)
{
    for (const char *at = text; *at; at++)
        if (!isalnum((unsigned char)*at) && !strchr("_.-:%", *at))
            return false;
    return *text && strlen(text) <= HOSTS_NAME_MAX;
}

static void check_haproxy(struct reader *reader)
{
    const struct recipe_drain *drain = &reader->recipe->drain;
    struct addr addr;
    struct err err;
    bool on = drain->haproxy_sockets.count > 0;
    for (size_t i = 0; i < drain->haproxy_sockets.count; i++)
        if (addr_parse(drain->haproxy_sockets.names[i], &addr, &err) < 0)
            wrong(reader, "drain", "haproxy_socket", err.text);
    if (drain->haproxy_sockets.count > RECIPE_HAPROXY_MAX)
        wrong(reader, "drain", "haproxy_socket", "at most 8 sockets");
    if (on && !drain->haproxy_backend)
        wrong(reader, "drain", "haproxy_backend", "missing; name the backend of the hosts");
    if (!on && drain->haproxy_backend)
        wrong(reader, "drain", "haproxy_backend", "means nothing without haproxy_socket");
    if (!on && find_entry(reader, "drain", "haproxy_server"))
        wrong(reader, "drain", "haproxy_server", "means nothing without haproxy_socket");
    if (drain->haproxy_backend && !haproxy_name(drain->haproxy_backend))
        wrong(reader, "drain", "haproxy_backend", haproxy_rule);
    if (drain->haproxy_server && !haproxy_name(drain->haproxy_server))
        wrong(reader, "drain", "haproxy_server", haproxy_rule);
}

static void check_drain(struct reader *reader)
{
    struct recipe_drain *drain = &reader->recipe->drain;
    struct err err;
    int64_t port;
    for (size_t i = 0; i < recipe_options_drain.count && !drain->on; i++)
        drain->on = find_entry(reader, "drain", recipe_options_drain.rows[i].key) != NULL;
    if (!drain->on)
        return;
    if (recipe_is_static(reader->recipe))
        wrong(reader, "deploy", "service", "[drain] means nothing without one: nothing restarts");
    for (size_t i = 0; i < drain->ports.count; i++)
        if (unit_integer(drain->ports.names[i], 10, &port, &err) < 0 || port < 1 || port > 65535)
            wrong(reader, "drain", "ports", "must be ports, 1 to 65535");
    check_haproxy(reader);
}

static void check_rest(struct reader *reader)
{
    struct recipe *recipe = reader->recipe;
    struct err err;
    size_t count;
    char **words;
    const char *options = recipe->fleet.ssh_options ? recipe->fleet.ssh_options : "";
    if (words_split(options, &recipe->arena, &words, &count, &err) < 0)
        wrong(reader, "fleet", "ssh_options", err.text);
    else
        recipe->ssh_options = (const char **)words;
    if (!recipe->canary.hosts)
        return;
    for (size_t i = 0; i < recipe->count; i++)
        if (recipe_host_matches(&recipe->hosts[i], recipe->canary.hosts))
            return;
    if (recipe->count > 0)
        wrong(reader, "canary", "hosts", "none of these is in [fleet] hosts");
}

int recipe_parse(struct recipe *recipe, const char *file, const char *text, size_t len,
                 struct err_list *errors)
{
    size_t before = errors->total;
    struct reader reader = { .recipe = recipe, .errors = errors };
    recipe->file = arena_strdup(&recipe->arena, file);
    ini_parse_text(recipe->file, text, len, &recipe->arena, &reader.ini, errors);
    reader.seen = arena_array(&recipe->arena, reader.ini.count + 1, sizeof *reader.seen);
    for (size_t i = 0; recipe_tables[i]; i++) {
        bool many = strchr(recipe_tables[i]->section, ':') != NULL; /* each has its own */
        void *target = many ? NULL : target_of(recipe, recipe_tables[i], HOST_PREFIX);
        if (target)
            opt_defaults(recipe_tables[i], &recipe->arena, target, NULL);
    }
    if (reader.seen) {
        read_entries(&reader, false);
        make_hosts(&reader);
        read_entries(&reader, true);
        check_deploy(&reader);
        fill_hosts(&reader);
        recipe_groups_place(recipe, wrong_there, &reader);
        make_evidence(&reader);
        check_drain(&reader);
        check_rest(&reader);
    }
    if (recipe->arena.failed)
        err_list_add(errors, "%s:1: not enough memory", file);
    return errors->total > before ? ERR_INVALID : 0;
}

const char *recipe_label(const struct recipe_host *host, const char *key, size_t *ret_len)
{
    size_t len = strlen(key);
    for (const char *at = host->labels ? host->labels : ""; *at; at += strcspn(at, LABEL_ENDS)) {
        at += strspn(at, LABEL_ENDS);
        if (strncmp(at, key, len) != 0 || at[len] != '=')
            continue;
        *ret_len = strcspn(at + len + 1, LABEL_ENDS);
        return at + len + 1;
    }
    *ret_len = 0;
    return "";
}

/* word: KEY=VALUE */
static bool label_matches(const struct recipe_host *host, char *word, char *equals)
{
    char value[LABEL_MAX];
    size_t len;
    *equals = '\0';
    const char *found = recipe_label(host, word, &len);
    if (len == 0 && host->group_name && strcmp(word, "group") == 0) {
        found = host->group_name;
        len = strlen(found);
    }
    *equals = '=';
    if (len == 0 || len >= sizeof value)
        return false;
    memcpy(value, found, len);
    value[len] = '\0';
    return fnmatch(equals + 1, value, 0) == 0;
}

bool recipe_host_matches(const struct recipe_host *host, const char *pattern)
{
    if (!strchr(pattern, '='))
        return hosts_match(pattern, host->name);
    for (size_t len; *pattern; pattern += len) {
        char word[LABEL_MAX];
        int depth = 0;
        pattern += strspn(pattern, LABEL_ENDS);
        for (len = 0; pattern[len] && (depth > 0 || !strchr(LABEL_ENDS, pattern[len])); len++)
            depth += (pattern[len] == '[') - (pattern[len] == ']');
        if (len == 0 || len >= sizeof word)
            continue;
        memcpy(word, pattern, len);
        word[len] = '\0';
        char *equals = strchr(word, '=');
        if (equals ? label_matches(host, word, equals) : hosts_match(word, host->name))
            return true;
    }
    return false;
}

bool recipe_is_static(const struct recipe *recipe)
{
    for (size_t i = 0; i < recipe->count; i++)
        if (recipe->hosts[i].services.count > 0)
            return false;
    return true;
}

int recipe_select(struct recipe *recipe, const char *pattern, struct err *err)
{
    size_t kept = 0;
    const char *first = recipe->count ? recipe->hosts[0].name : "none";
    for (size_t i = 0; i < recipe->count; i++)
        if (recipe_host_matches(&recipe->hosts[i], pattern))
            kept++;
    if (kept == 0)
        return err_set(err, ERR_NOT_FOUND,
                       "--hosts %s matches none of the %zu hosts in %s (the first is %s)", pattern,
                       recipe->count, recipe->file, first);
    kept = 0;
    for (size_t i = 0; i < recipe->count; i++)
        if (recipe_host_matches(&recipe->hosts[i], pattern))
            recipe->hosts[kept++] = recipe->hosts[i];
    recipe->count = kept;
    return 0;
}

void recipe_sample(const char *app, struct buf *out)
{
    buf_puts(out,
             "# deploy.ini - what is released, to which hosts, how carefully.\n"
             "# Durations: 500ms 10s 5m 2h 1d.  Shares: 25% or 3.  A # or ; begins a comment.\n"
             "# `deployctl plan` shows what a release would do; `deployctl options` explains.\n\n");
    for (size_t i = 0; recipe_tables[i]; i++) {
        struct buf section;
        buf_init(&section, 64 * 1024);
        opt_sample(recipe_tables[i], &section);
        const char *text = buf_text(&section);
        const char *at;
        if (recipe_tables[i] == &recipe_options_deploy && (at = strstr(text, ";app = ")) != NULL)
            buf_printf(out, "%.*sapp = %s%s", (int)(at - text), text, app, strchr(at, '\n'));
        else
            buf_puts(out, text);
        buf_puts(out, "\n");
        buf_done(&section);
    }
}
