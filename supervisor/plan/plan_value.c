/* plan_value.c - the contract is in plan_value.h. */
#include "supervisor/plan/plan_value.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/signals.h"
#include "base/words.h"
#include "supervisor/plan/instance.h"
#include "supervisor/plan/options.h"
#include "supervisor/plan/options_parse.h"
#include "supervisor/plan/sandbox_value.h"

static const void *field_of(const struct spec_service *service, const struct opt *row)
{
    size_t set = offsetof(struct spec_filling, set);

    return row->offset < set ? (const char *)service + row->offset
                             : (const char *)service->set + (row->offset - set);
}

static bool is_key(size_t row, const char *key)
{
    return strcmp(options_service.rows[row].key, key) == 0;
}

static bool is_log(size_t row)
{
    return is_key(row, "stdout_logfile") || is_key(row, "stderr_logfile");
}

/* --- one spelling --- */

struct step {
    int64_t factor;
    const char *name;
};

/* Exact, in the largest of the units (largest first, the last is 1) that divides it. */
static void put_in_units(int64_t number, const struct step *units, struct buf *out)
{
    while (units->factor > 1 && (number == 0 || number % units->factor != 0))
        units++;
    buf_printf(out, "%lld%s", (long long)(number / units->factor), units->name);
}

static void put_duration(int64_t ms, struct buf *out)
{
    static const struct step units[] = {
        { 86400000, "d" }, { 3600000, "h" }, { 60000, "m" }, { 1000, "s" }, { 1, "ms" }
    };

    put_in_units(ms, units, out);
}

static void put_size(int64_t bytes, struct buf *out)
{
    static const struct step units[] = {
        { 1LL << 40, "TB" }, { 1 << 30, "GB" }, { 1 << 20, "MB" }, { 1 << 10, "KB" }, { 1, "" }
    };

    put_in_units(bytes, units, out);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What is waited for is a set; sockets have their places. */
static void put_names(const struct opt_names *names, bool sorted, struct buf *out)
{
    const char **list = calloc(names->count + 1, sizeof(*list));

    for (size_t i = 0; list && i < names->count; i++)
        list[i] = names->names[i];
    if (list && sorted)
        qsort(list, names->count, sizeof(*list), by_text);
    for (size_t i = 0; i < names->count; i++)
        buf_printf(out, "%s%s", i ? " " : "", list ? list[i] : names->names[i]);
    free(list);
}

static void put_exits(const struct spec_exits *exits, struct buf *out)
{
    const char *between = "";

    for (int i = 0; i < 256; i++)
        if (exits->codes[i / 64] >> (i % 64) & 1) {
            buf_printf(out, "%s%d", between, i);
            between = ", ";
        }
    for (int i = 1; i < 64; i++)
        if (exits->signals >> i & 1) {
            buf_printf(out, "%s%s", between, signals_name(i));
            between = ", ";
        }
}

static void put_rules(const struct spec_rules *rules, struct buf *out)
{
    static const char *const actions[] = {
        [SPEC_RULE_NEVER] = "never",
        [SPEC_RULE_ALWAYS] = "always",
        [SPEC_RULE_NOW] = "now",
        [SPEC_RULE_BACKOFF] = "backoff ",
    };

    for (size_t i = 0; i < rules->count; i++) {
        const struct spec_rule *rule = &rules->list[i];
        buf_puts(out, i ? ", " : "");
        if (rule->signalled)
            buf_puts(out, signals_name(rule->first));
        else if (rule->first == rule->last)
            buf_printf(out, "%d", (int)rule->first);
        else
            buf_printf(out, "%d-%d", (int)rule->first, (int)rule->last);
        buf_printf(out, ": %s", actions[rule->action]);
        if (rule->action == SPEC_RULE_BACKOFF)
            put_duration(rule->delay_ms, out);
    }
}

static void put_limit(const struct opt *row, const struct spec_limit *limit, struct buf *out)
{
    int64_t value = (int64_t)limit->value;

    if (!limit->set)
        return;
    if (limit->value == RLIM_INFINITY)
        buf_puts(out, "unlimited");
    else if (row->parse == options_parse_limit_size || row->parse == options_parse_limit_memory)
        put_size(value, out);
    else if (row->parse == options_parse_limit_time)
        put_duration(value * 1000, out);
    else if (row->parse == options_parse_limit_processors) /* of 100 ms */
        buf_printf(out, "%g%%", (double)value / 1000);
    else
        buf_printf(out, "%lld", (long long)value);
}

static bool is_limit(const struct opt *row)
{
    return row->parse == options_parse_limit_count || row->parse == options_parse_limit_size ||
           row->parse == options_parse_limit_memory || row->parse == options_parse_limit_pids ||
           row->parse == options_parse_limit_processors || row->parse == options_parse_limit_time;
}

static const char *as_written(const struct spec_service *service, const struct opt *row)
{
    const char *text = spec_text(service, (size_t)(row - options_service.rows));

    return text ? text : row->initial;
}

static void put_as_written(const struct spec_service *service, const struct opt *row,
                           struct buf *out)
{
    const char *text = as_written(service, row);

    buf_puts(out, text ? text : "");
}

static void put_custom(const struct spec_service *service, const struct opt *row, const void *field,
                       struct buf *out)
{
    static const char *const autorestart[] = { "false", "true", "unexpected" };

    if (row->parse == options_parse_autorestart)
        buf_puts(out, autorestart[*(const int *)field]);
    else if (row->parse == options_parse_exits)
        put_exits(field, out);
    else if (row->parse == options_parse_rules)
        put_rules(field, out);
    else if (row->parse == options_parse_retries && *(const int64_t *)field != SPEC_UNLIMITED)
        buf_printf(out, "%lld", (long long)*(const int64_t *)field);
    else if (row->parse == options_parse_retries)
        buf_puts(out, "unlimited");
    else if (row->parse == options_parse_factor && service->set->backoff_linear)
        buf_puts(out, "linear");
    else if (row->parse == options_parse_factor)
        buf_printf(out, "%.17g", *(const double *)field);
    else if (row->parse == options_parse_jitter)
        buf_printf(out, "%g%%", *(const double *)field * 100);
    else if (is_limit(row))
        put_limit(row, field, out);
    else if (!sandbox_value_put(row, field, out))
        put_as_written(service, row, out);
}

void plan_value_plain(const struct opt *row, const void *field, struct buf *out)
{
    int64_t number = row->size == sizeof(int64_t) ? *(const int64_t *)field : 0;

    switch (row->type) {
    case OPT_BOOLEAN:
        buf_puts(out, *(const bool *)field ? "true" : "false");
        break;
    case OPT_INTEGER: /* zero is "not set" where there is no default */
        if (row->initial || number != 0)
            buf_printf(out, "%lld", (long long)number);
        break;
    case OPT_OCTAL:
        if (number >= 0)
            buf_printf(out, "%03llo", (unsigned long long)number);
        break;
    case OPT_DURATION:
        put_duration(number, out);
        break;
    case OPT_SIZE:
        put_size(number, out);
        break;
    case OPT_CHOICE:
        buf_puts(out, row->choices[*(const int *)field]);
        break;
    case OPT_SIGNAL:
        if (*(const int *)field != 0)
            buf_puts(out, signals_name(*(const int *)field));
        break;
    case OPT_TEXT:
        if (*(const char *const *)field)
            buf_puts(out, *(const char *const *)field);
        break;
    case OPT_NAMES:
        put_names(field, strcmp(row->key, "sockets") != 0, out);
        break;
    case OPT_SHARE:
    case OPT_CUSTOM:
    case OPT_NTYPES:
        break;
    }
}

static void put_names_of(const struct spec_service *service, struct buf *out);

/* Where a stream goes; of errors that go where the output goes there is nothing to say. */
static void put_log(const struct plan *plan, const struct spec_service *service, bool is_err,
                    struct buf *out)
{
    const char *path = is_err ? service->err.logfile : service->out.logfile;
    const char *dir = plan->supervisor.log_dir;

    if (is_err && service->set->redirect_stderr)
        return;
    switch (instance_log(path)) {
    case INSTANCE_LOG_DEFAULT:
        buf_printf(out, "%s/%s-N%s.log", dir ? dir : "/var/log/supervisor", service->name,
                   is_err ? ".err" : "");
        break;
    case INSTANCE_LOG_NONE:
        buf_puts(out, "none");
        break;
    case INSTANCE_LOG_INHERIT:
        buf_puts(out, "inherit");
        break;
    case INSTANCE_LOG_CAPTURED:
        buf_puts(out, path);
        break;
    }
}

void plan_value(const struct plan *plan, const struct spec_service *service, size_t index,
                struct buf *out)
{
    const struct opt *row = &options_service.rows[index];
    const void *field = field_of(service, row);

    if (is_key(index, "environment"))
        put_names_of(service, out);
    else if (is_log(index))
        put_log(plan, service, is_key(index, "stderr_logfile"), out);
    else if (is_key(index, "oom_score_adj") && service->set->set_oom_score)
        buf_printf(out, "%lld", (long long)*(const int64_t *)field);
    else if (row->type == OPT_CUSTOM)
        put_custom(service, row, field, out);
    else
        plan_value_plain(row, field, out);
}

/* --- sums --- */

/* FNV-1a: tells values apart, protects nothing. */
static const uint64_t sum_nothing = 0xcbf29ce484222325ULL;

static void add_bytes(uint64_t *sum, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;

    for (size_t i = 0; i < len; i++)
        *sum = (*sum ^ at[i]) * 0x100000001b3ULL;
}

static void add_text(uint64_t *sum, const char *text)
{
    if (text)
        add_bytes(sum, text, strlen(text) + 1);
    else
        add_bytes(sum, "\1", 2); /* no text of a file has this byte */
}

static void add_number(uint64_t *sum, int64_t number) { add_bytes(sum, &number, sizeof(number)); }

static const char *find_pair(const struct plan *plan, const char *name, size_t len)
{
    for (size_t i = 0; plan->environment[i]; i++)
        if (strncmp(plan->environment[i], name, len) == 0 && plan->environment[i][len] == '=')
            return plan->environment[i];
    return NULL;
}

static void add_variables(uint64_t *sum, const struct plan *plan, const char *text)
{
    static const char begins[] = "%(ENV_";

    while ((text = strstr(text, begins)) != NULL) {
        text += strlen(begins);
        add_text(sum, find_pair(plan, text, strcspn(text, ")")));
    }
}

/* What is filled in for all instances alike. */
static void add_meaning(uint64_t *sum, const struct plan *plan, const struct spec_service *service,
                        const char *text)
{
    if (!strchr(text, '%'))
        return;
    if (instance_mentions(text, "here"))
        add_text(sum, service->here);
    if (instance_mentions(text, "group_name"))
        add_text(sum, service->group);
    if (instance_mentions(text, "numprocs"))
        add_number(sum, service->numprocs);
    if (instance_mentions(text, "host_node_name"))
        add_text(sum, plan->host);
    add_variables(sum, plan, text);
}

static uint64_t pair_sum(const struct plan *plan, const struct spec_service *service,
                         const char *pair)
{
    uint64_t sum = sum_nothing;

    add_text(&sum, pair);
    if (service)
        add_meaning(&sum, plan, service, pair);
    return sum;
}

/* The pairs of environment = ..., as written.  supervisord's are filled in before they are split,
 * so what has something to fill in is one.  False without memory. */
static bool own_pairs(const struct spec_service *service, struct arena *arena, char ***ret)
{
    size_t count;
    struct err err;
    int rc = 0;

    *ret = NULL;
    if (!service || !service->environment)
        return true;
    if (service->kind == SPEC_SERVICE)
        rc = words_environment(service->environment, arena, ret, &count, &err);
    else if (!strchr(service->environment, '%'))
        rc = words_environment_shlex(service->environment, arena, ret, &count, &err);
    if (*ret)
        return true;
    *ret = rc == ERR_MEMORY ? NULL : arena_array(arena, 2, sizeof(**ret));
    if (*ret)
        (*ret)[0] = (char *)service->environment;
    return *ret != NULL;
}

static size_t name_len(const char *pair) { return strcspn(pair, "="); }

/* Whether a later one of the same list takes its place. */
static bool is_overridden(char *const *pairs, size_t index)
{
    size_t len = name_len(pairs[index]);

    for (size_t i = index + 1; pairs[i]; i++)
        if (name_len(pairs[i]) == len && strncmp(pairs[i], pairs[index], len) == 0)
            return true;
    return false;
}

/* Of all variables that the files give it, in whatever order. */
static bool environment_sum(const struct plan *plan, const struct spec_service *service,
                            uint64_t *ret)
{
    struct arena arena;
    char **own;
    uint64_t sum = 0;

    arena_init(&arena);
    bool made = own_pairs(service, &arena, &own);
    for (size_t i = 0; plan->environment[i]; i++)
        sum += pair_sum(plan, NULL, plan->environment[i]);
    for (size_t i = 0; own && own[i]; i++) {
        const char *outer = find_pair(plan, own[i], name_len(own[i]));
        if (is_overridden(own, i))
            continue;
        if (outer)
            sum -= pair_sum(plan, NULL, outer);
        sum += pair_sum(plan, service, own[i]);
    }
    arena_done(&arena);
    add_text(&sum, service->kind == SPEC_PROGRAM ? service->group : NULL);
    *ret = sum;
    return made;
}

static void put_names_of(const struct spec_service *service, struct buf *out)
{
    struct arena arena;
    const char *between = "";

    arena_init(&arena);
    char **own;
    own_pairs(service, &arena, &own);
    for (size_t i = 0; own && own[i]; i++) {
        buf_printf(out, "%s%.*s", between, (int)name_len(own[i]), own[i]);
        between = " ";
    }
    arena_done(&arena);
}

/* The pair of this name that the service gets; with what is filled in, in *ret_sum. */
static bool effective(const struct plan *plan, const struct spec_service *service, char *const *own,
                      const char *name, size_t len, uint64_t *ret_sum)
{
    const char *outer = find_pair(plan, name, len);

    for (size_t i = 0; own && own[i]; i++)
        if (name_len(own[i]) == len && strncmp(own[i], name, len) == 0 && !is_overridden(own, i)) {
            *ret_sum = pair_sum(plan, service, own[i]);
            return true;
        }
    if (outer)
        *ret_sum = pair_sum(plan, NULL, outer);
    return outer;
}

struct side {
    const struct plan *plan;
    const struct spec_service *service;
    char **own;
};

/* Tells of one name that `first` knows; what `second` has as well was told before when `added`. */
static void put_variable(const struct side *first, const struct side *second, const char *pair,
                         bool added, struct buf *out)
{
    size_t len = name_len(pair);
    uint64_t a = 0, b = 0;
    bool there = effective(second->plan, second->service, second->own, pair, len, &b);

    effective(first->plan, first->service, first->own, pair, len, &a);
    if (there && (added || a == b))
        return;
    buf_printf(out, "%s%s%.*s", out->len ? " " : "",
               there   ? ""
               : added ? "+"
                       : "-",
               (int)len, pair);
}

static void put_side(const struct side *first, const struct side *second, bool added,
                     struct buf *out)
{
    uint64_t sum;

    for (size_t i = 0; first->own && first->own[i]; i++)
        if (!is_overridden(first->own, i))
            put_variable(first, second, first->own[i], added, out);
    for (size_t i = 0; first->plan->environment[i]; i++) {
        const char *pair = first->plan->environment[i];
        size_t len = name_len(pair);
        bool again = false;
        for (size_t k = 0; first->own && first->own[k]; k++)
            again |= name_len(first->own[k]) == len && strncmp(first->own[k], pair, len) == 0;
        if (!again && effective(first->plan, first->service, first->own, pair, len, &sum))
            put_variable(first, second, pair, added, out);
    }
}

void plan_value_variables(const struct plan *a, const struct spec_service *of_a,
                          const struct plan *b, const struct spec_service *of_b, struct buf *out)
{
    struct arena arena;
    struct side before = { a, of_a, NULL }, after = { b, of_b, NULL };

    arena_init(&arena);
    own_pairs(of_a, &arena, &before.own);
    own_pairs(of_b, &arena, &after.own);
    put_side(&before, &after, false, out);
    put_side(&after, &before, true, out);
    arena_done(&arena);
}

static void add_sockets(uint64_t *sum, const struct plan *plan, const struct spec_service *service)
{
    for (size_t i = 0; i < service->nsockets; i++) {
        const struct spec_socket *socket = &plan->sockets[service->socket_index[i]];

        for (size_t k = 0; k < socket->listen.count; k++)
            add_text(sum, socket->listen.names[k]);
        add_number(sum, socket->type);
        add_number(sum, socket->reuse_port);
    }
}

/* Blanks between its words do not count. */
static bool add_words(uint64_t *sum, const struct spec_service *service, const char *text)
{
    struct arena arena;
    char **words = NULL;
    size_t count = 0;
    struct err err;
    int rc = 0;

    arena_init(&arena);
    if (!strchr(text, '%'))
        rc = service->kind == SPEC_PROGRAM ? words_split_shlex(text, &arena, &words, &count, &err)
                                           : words_split(text, &arena, &words, &count, &err);
    for (size_t i = 0; rc == 0 && words && i < count; i++)
        add_text(sum, words[i]);
    if (rc != 0 || !words)
        add_text(sum, text);
    arena_done(&arena);
    return rc != ERR_MEMORY;
}

static bool add_text_row(uint64_t *sum, const struct plan *plan, const struct spec_service *service,
                         const struct opt *row, const char *text)
{
    bool made = true;

    if (text && strcmp(row->key, "command") == 0)
        made = add_words(sum, service, text);
    else
        add_text(sum, text);
    if (text && row->flags & OPTIONS_INSTANCE)
        add_meaning(sum, plan, service, text);
    return made;
}

/* All spellings of "nowhere" are one; the folder of the default file counts. */
static void add_log(uint64_t *sum, const struct plan *plan, const struct spec_service *service,
                    bool is_err)
{
    const struct spec_output *output = is_err ? &service->err : &service->out;
    enum instance_log kind = instance_log(output->logfile);

    if (is_err && service->set->redirect_stderr)
        return;
    add_number(sum, kind);
    add_number(sum, output->apart);
    if (kind == INSTANCE_LOG_DEFAULT)
        add_text(sum, plan->supervisor.log_dir);
    if (kind != INSTANCE_LOG_CAPTURED)
        return;
    add_text(sum, output->logfile);
    add_meaning(sum, plan, service, output->logfile);
}

static void add_rules(uint64_t *sum, const struct spec_rules *rules)
{
    for (size_t i = 0; i < rules->count; i++) {
        add_number(sum, rules->list[i].first);
        add_number(sum, rules->list[i].last);
        add_number(sum, rules->list[i].signalled);
        add_number(sum, rules->list[i].action);
        add_number(sum, rules->list[i].delay_ms);
    }
}

/* Lines are a set: the first that comes counts. */
static void add_schedule(uint64_t *sum, const struct spec_schedule *schedule)
{
    uint64_t all = 0;

    for (size_t i = 0; i < schedule->count; i++) {
        const struct calendar_line *line = &schedule->lines[i];
        uint64_t one = sum_nothing;
        add_number(&one, (int64_t)line->minutes);
        add_number(&one, line->hours);
        add_number(&one, line->days);
        add_number(&one, line->months);
        add_number(&one, line->weekdays);
        add_number(&one,
                   line->any_day | line->any_weekday << 1 | line->wild << 2 | line->reboot << 3);
        all += one;
    }
    add_number(sum, (int64_t)all);
}

/* By its spelling; false when it is none of these. */
static bool add_sandbox(uint64_t *sum, const struct plan *plan, const struct spec_service *service,
                        const struct opt *row, const void *field, bool *ret_made)
{
    struct buf text;

    buf_init(&text, SPEC_PATHS_MAX * PATH_MAX + 1024);
    bool is_one = sandbox_value_put(row, field, &text);
    add_text(sum, is_one ? buf_text(&text) : "");
    if (row->flags & OPTIONS_INSTANCE)
        add_meaning(sum, plan, service, buf_text(&text));
    *ret_made = !text.failed;
    buf_done(&text);
    return is_one;
}

static bool add_custom(uint64_t *sum, const struct plan *plan, const struct spec_service *service,
                       const struct opt *row, const void *field)
{
    const struct spec_limit *limit = field;
    bool made = true;

    if (row->parse == options_parse_rules) {
        add_rules(sum, field);
    } else if (row->parse == options_parse_autorestart || row->parse == options_parse_exits ||
               row->parse == options_parse_retries || row->parse == options_parse_jitter) {
        add_bytes(sum, field, row->size);
    } else if (row->parse == options_parse_factor) {
        add_number(sum, service->set->backoff_linear);
        add_bytes(sum, field, service->set->backoff_linear ? 0 : row->size);
    } else if (is_limit(row)) {
        add_number(sum, limit->set);
        add_number(sum, limit->set ? (int64_t)limit->value : 0);
    } else if (row->parse == options_parse_schedule) {
        add_schedule(sum, field);
    } else if (!add_sandbox(sum, plan, service, row, field, &made)) {
        add_text(sum, as_written(service, row));
    }
    return made;
}

static void add_names(uint64_t *sum, const struct opt_names *names, bool ordered)
{
    uint64_t all = 0;

    for (size_t i = 0; i < names->count; i++) {
        uint64_t one = sum_nothing;
        add_text(ordered ? sum : &one, names->names[i]);
        all += one;
    }
    add_number(sum, (int64_t)all);
}

static bool add_field(uint64_t *sum, const struct plan *plan, const struct spec_service *service,
                      const struct opt *row, const void *field)
{
    switch (row->type) {
    case OPT_BOOLEAN:
        add_number(sum, *(const bool *)field);
        return true;
    case OPT_INTEGER:
    case OPT_OCTAL:
    case OPT_DURATION:
    case OPT_SIZE:
        add_number(sum, *(const int64_t *)field);
        return true;
    case OPT_CHOICE:
    case OPT_SIGNAL:
        add_number(sum, *(const int *)field);
        return true;
    case OPT_TEXT:
        return add_text_row(sum, plan, service, row, *(const char *const *)field);
    case OPT_NAMES:
        add_names(sum, field, strcmp(row->key, "sockets") == 0);
        return true;
    case OPT_CUSTOM:
        return add_custom(sum, plan, service, row, field);
    case OPT_SHARE:
    case OPT_NTYPES:
        break;
    }
    return true;
}

bool plan_value_sum(const struct plan *plan, const struct spec_service *service, size_t index,
                    uint64_t *ret)
{
    const struct opt *row = &options_service.rows[index];
    bool made = true;

    *ret = sum_nothing;
    if (is_key(index, "environment"))
        return environment_sum(plan, service, ret);
    if (is_log(index))
        add_log(ret, plan, service, is_key(index, "stderr_logfile"));
    else
        made = add_field(ret, plan, service, row, field_of(service, row));
    if (is_key(index, "sockets"))
        add_sockets(ret, plan, service);
    if (is_key(index, "oom_score_adj"))
        add_number(ret, service->set->set_oom_score);
    return made;
}

/* --- what a process keeps --- */

/* Its pipe, or the lack of one; whether errors share it. */
static uint64_t log_fixed(const struct spec_service *service, bool is_err)
{
    const char *out = service->out.logfile, *err = service->err.logfile;
    enum instance_log kind = instance_log(is_err ? err : out);
    uint64_t sum = sum_nothing;

    if (is_err && service->set->redirect_stderr)
        return 0;
    add_number(&sum, kind == INSTANCE_LOG_DEFAULT ? INSTANCE_LOG_CAPTURED : kind);
    add_number(&sum, is_err && out && err && strcmp(out, err) == 0);
    return sum;
}

bool plan_value_fixed(const struct plan *plan, const struct spec_service *service, size_t row,
                      bool tunes, uint64_t *ret)
{
    unsigned flags = options_service.rows[row].flags;
    bool is_err = is_key(row, "stderr_logfile");
    const char *path = is_err ? service->err.logfile : service->out.logfile;

    *ret = 0;
    if (flags & OPTIONS_LIVE || (flags & OPTIONS_TUNED && tunes))
        return true;
    if (is_key(row, "notify_access")) { /* only who may speak is told where */
        *ret = service->set->notify_access == SPEC_NOTIFY_NONE ? 1 : 2;
        return true;
    }
    if (is_key(row, "process_name") && service->kind == SPEC_SERVICE)
        return true;                                   /* a variable of programs */
    if (is_log(row) && !(path && strchr(path, '%'))) { /* that may turn out to be anything */
        *ret = log_fixed(service, is_err);
        return true;
    }
    return plan_value_sum(plan, service, row, ret);
}
