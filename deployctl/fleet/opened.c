/* opened.c - the contract is in opened.h. */
#include "deployctl/fleet/opened.h"

#include <stdlib.h>
#include <string.h>

#include "deployctl/plan/recipe.h"
#include "io/jsonx.h"

enum { HOSTS_MOST = 10000 };

/* The limits by name, so that writing and reading cannot differ. */
static const struct {
    const char *key;
    size_t offset;
} sizes[] = {
    { "canary", offsetof(struct rollout_limits, canary) },
    { "batch", offsetof(struct rollout_limits, batch) },
    { "max_unavailable", offsetof(struct rollout_limits, unavailable) },
    { "undo_unavailable", offsetof(struct rollout_limits, undo_unavailable) },
    { "max_failed", offsetof(struct rollout_limits, failed) },
    { "max_unreachable", offsetof(struct rollout_limits, unreachable) },
}, times[] = {
    { "bake_ms", offsetof(struct rollout_limits, bake_ms) },
    { "healthy_for_ms", offsetof(struct rollout_limits, healthy_for_ms) },
    { "progress_deadline_ms", offsetof(struct rollout_limits, progress_deadline_ms) },
    { "confirm_within_ms", offsetof(struct rollout_limits, confirm_within_ms) },
};

/* What the verdict rests on, by name. */
static const struct {
    const char *key;
    size_t offset;
} sources[] = {
    { "metrics", offsetof(struct evidence, metrics) },
    { "requests", offsetof(struct evidence, requests) },
    { "errors", offsetof(struct evidence, errors) },
    { "latency", offsetof(struct evidence, latency) },
}, ratios[] = {
    { "max_error_ratio", offsetof(struct evidence, max_error_ratio) },
    { "max_slow_ratio", offsetof(struct evidence, max_slow_ratio) },
    { "false_abort", offsetof(struct evidence, false_abort) },
};

/* Absent in records of before, and where the gates decide alone. */
static int read_evidence(const json_t *json, struct opened *ret, struct err *err)
{
    const json_t *from = json_object_get(json, "verdict");
    struct evidence *evidence = &ret->evidence;
    if (!json_is_object(from))
        return 0;
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++)
        *(const char **)((char *)evidence + sources[i].offset) =
            jsonx_text(from, sources[i].key, NULL);
    for (size_t i = 0; i < sizeof ratios / sizeof ratios[0]; i++) {
        double value = jsonx_real(from, ratios[i].key, 0);
        if (!(value > 0 && value < 1))
            return err_set(err, ERR_CORRUPT, "\"%s\" is missing or out of range", ratios[i].key);
        memcpy((char *)evidence + ratios[i].offset, &value, sizeof value);
    }
    evidence->latency_ms = jsonx_int(from, "latency_ms", 0);
    evidence->interval_ms = jsonx_int(from, "interval_ms", 1000);
    evidence->warm_up_ms = jsonx_int(from, "warm_up_ms", 0);
    evidence->promote = jsonx_bool(from, "promote", false);
    if (!evidence->metrics || evidence->interval_ms < 1 || evidence->warm_up_ms < 0)
        return err_set(err, ERR_CORRUPT, "what its verdict rests on is not understood");
    return evidence_check(evidence, err);
}

static json_t *make_evidence(const struct evidence *evidence)
{
    json_t *out = json_object();
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++)
        jsonx_set_text(out, sources[i].key,
                       *(const char *const *)((const char *)evidence + sources[i].offset));
    for (size_t i = 0; i < sizeof ratios / sizeof ratios[0]; i++) {
        double value;
        memcpy(&value, (const char *)evidence + ratios[i].offset, sizeof value);
        jsonx_set_real(out, ratios[i].key, value);
    }
    jsonx_set_int(out, "latency_ms", evidence->latency_ms);
    jsonx_set_int(out, "interval_ms", evidence->interval_ms);
    jsonx_set_int(out, "warm_up_ms", evidence->warm_up_ms);
    jsonx_set_bool(out, "promote", evidence->promote);
    return out;
}

static int read_limits(const json_t *json, struct opened *ret, struct err *err)
{
    const json_t *limits = json_object_get(json, "limits");
    if (!json_is_object(limits))
        return err_set(err, ERR_CORRUPT, "\"limits\" is missing");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int64_t value = jsonx_int(limits, sizes[i].key, -1);
        if (value < 0 || value > HOSTS_MOST)
            return err_set(err, ERR_CORRUPT, "\"%s\" is missing or out of range", sizes[i].key);
        *(size_t *)((char *)&ret->limits + sizes[i].offset) = (size_t)value;
    }
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        int64_t value = jsonx_int(limits, times[i].key, -1);
        if (value < 0)
            return err_set(err, ERR_CORRUPT, "\"%s\" is missing", times[i].key);
        *(int64_t *)((char *)&ret->limits + times[i].offset) = value;
    }
    if (ret->limits.confirm_within_ms < 1000)
        return err_set(err, ERR_CORRUPT, "\"confirm_within_ms\" is too small");
    ret->limits.pause_on_failure = jsonx_bool(limits, "pause_on_failure", false);
    ret->limits.by_zone = jsonx_bool(limits, "by_zone", false);
    ret->hold_for_ms = jsonx_int(limits, "hold_for_ms", 86400000);
    ret->ready_timeout_ms = jsonx_int(limits, "ready_timeout_ms", 60000);
    return 0;
}

/* Absent where there are none, and in records of before. */
static int read_groups(const json_t *json, struct opened *ret, struct err *err)
{
    const json_t *groups = json_object_get(json, "groups");
    size_t count = json_array_size(groups);
    if (count > ROLLOUT_GROUPS_MAX)
        return err_set(err, ERR_CORRUPT, "more than %d groups", ROLLOUT_GROUPS_MAX);
    for (size_t i = 0; i < count; i++) {
        const json_t *from = json_array_get(groups, i);
        struct rollout_group *group = &ret->limits.groups[i];
        int64_t batch = jsonx_int(from, "batch", 0);
        int64_t most = jsonx_int(from, "max_unavailable", 0);
        int64_t undo = jsonx_int(from, "undo_unavailable", 0);
        bool fits = batch > 0 && most > 0 && undo > 0 && batch <= HOSTS_MOST &&
                    most <= HOSTS_MOST && undo <= HOSTS_MOST;
        *group = (struct rollout_group){ jsonx_text(from, "name", NULL), (size_t)batch,
                                         (size_t)most, (size_t)undo };
        if (!group->name || !recipe_group_name_ok(group->name) || !fits)
            return err_set(err, ERR_CORRUPT, "group %zu of it is not understood", i + 1);
    }
    ret->limits.ngroups = count;
    ret->limits.last_first = strcmp(ret->kind, "rollback") == 0;
    return 0;
}

static json_t *make_groups(const struct rollout_limits *limits)
{
    json_t *groups = json_array();
    for (size_t i = 0; i < limits->ngroups; i++) {
        const struct rollout_group *group = &limits->groups[i];
        json_t *out = json_object();
        jsonx_set_text(out, "name", group->name);
        jsonx_set_int(out, "batch", (int64_t)group->batch);
        jsonx_set_int(out, "max_unavailable", (int64_t)group->unavailable);
        jsonx_set_int(out, "undo_unavailable", (int64_t)group->undo_unavailable);
        json_array_append_new(groups, out);
    }
    return groups;
}

static int read_hosts(const json_t *json, struct opened *ret, struct err *err)
{
    const json_t *hosts = json_object_get(json, "hosts");
    size_t count = json_array_size(hosts);
    if (count == 0 || count > HOSTS_MOST)
        return err_set(err, ERR_CORRUPT, "\"hosts\" is missing or too long");
    ret->hosts = calloc(count, sizeof *ret->hosts);
    if (!ret->hosts)
        return err_set(err, ERR_MEMORY, "no memory for the record");
    for (size_t i = 0; i < count; i++) {
        const json_t *host = json_array_get(hosts, i);
        ret->hosts[i] = (struct opened_host){
            .name = jsonx_text(host, "name", NULL),
            .from = jsonx_text(host, "from", NULL),
            .metrics = jsonx_text(host, "metrics", NULL),
            .zone = jsonx_text(host, "zone", NULL),
            .canary = jsonx_bool(host, "canary", false),
            .absent = jsonx_bool(host, "absent", false),
        };
        uint64_t number;
        size_t groups = ret->limits.ngroups ? ret->limits.ngroups : 1;
        int64_t group = jsonx_int(host, "group", 0);
        ret->hosts[i].group = (size_t)group;
        if (!ret->hosts[i].name || group < 0 || (size_t)group >= groups ||
            (ret->hosts[i].from && !manifest_id_parse(ret->hosts[i].from, &number)))
            return err_set(err, ERR_CORRUPT, "host %zu of it is not understood", i + 1);
    }
    ret->count = count;
    return 0;
}

static int parse(struct opened *opened, struct err *err)
{
    const json_t *json = opened->json;
    uint64_t number;
    int rc = jsonx_need_text(json, "rollout", &opened->rollout, err);
    if (rc == 0)
        rc = jsonx_need_text(json, "id", &opened->id, err);
    if (rc == 0)
        rc = jsonx_need_text(json, "digest", &opened->digest, err);
    if (rc == 0)
        rc = jsonx_need_int(json, "epoch", &opened->epoch, err);
    if (rc == 0 && !manifest_id_parse(opened->id, &number))
        rc = err_set(err, ERR_CORRUPT, "\"id\" is not a release");
    if (rc == 0 && strlen(opened->rollout) >= OPENED_NAME_MAX)
        rc = err_set(err, ERR_CORRUPT, "\"rollout\" is too long");
    opened->app = jsonx_text(json, "app", "");
    opened->kind = jsonx_text(json, "kind", "release");
    opened->who = jsonx_text(json, "who", "somebody");
    opened->started = jsonx_text(json, "started", "some time ago");
    opened->message = jsonx_text(json, "message", NULL);
    opened->partial = jsonx_bool(json, "partial", false);
    if (rc == 0)
        rc = read_limits(json, opened, err);
    if (rc == 0)
        rc = read_evidence(json, opened, err);
    if (rc == 0)
        rc = read_groups(json, opened, err);
    return rc == 0 ? read_hosts(json, opened, err) : rc;
}

int opened_parse(const json_t *json, struct opened *ret, struct err *err)
{
    struct err own = { 0 };
    struct opened opened = { .json = json_deep_copy(json) };
    const char *damaged = jsonx_text(json, "damaged", NULL);
    int rc = damaged ? err_set(&own, ERR_CORRUPT, "%s", damaged) : parse(&opened, &own);
    if (rc < 0) {
        opened_done(&opened);
        return err_set(err, ERR_CORRUPT, "the rollout record is damaged: %.300s", own.text);
    }
    *ret = opened;
    return 0;
}

void opened_done(struct opened *opened)
{
    json_decref(opened->json);
    free(opened->hosts);
    memset(opened, 0, sizeof *opened);
}

static json_t *make_limits(const struct opened *opened)
{
    json_t *limits = json_object();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        jsonx_set_int(limits, sizes[i].key,
                      (int64_t) *
                          (const size_t *)((const char *)&opened->limits + sizes[i].offset));
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        jsonx_set_int(limits, times[i].key,
                      *(const int64_t *)((const char *)&opened->limits + times[i].offset));
    jsonx_set_bool(limits, "pause_on_failure", opened->limits.pause_on_failure);
    jsonx_set_bool(limits, "by_zone", opened->limits.by_zone);
    jsonx_set_int(limits, "hold_for_ms", opened->hold_for_ms);
    jsonx_set_int(limits, "ready_timeout_ms", opened->ready_timeout_ms);
    return limits;
}

json_t *opened_make(const struct opened *opened)
{
    json_t *json = json_object();
    json_t *hosts = json_array();
    const struct {
        const char *key, *text;
    } texts[] = {
        { "rollout", opened->rollout }, { "id", opened->id },
        { "digest", opened->digest },   { "app", opened->app },
        { "kind", opened->kind },       { "who", opened->who },
        { "started", opened->started }, { "message", opened->message },
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        jsonx_set_text(json, texts[i].key, texts[i].text);
    jsonx_set_int(json, "epoch", opened->epoch);
    jsonx_set_bool(json, "partial", opened->partial);
    json_object_set_new(json, "limits", make_limits(opened));
    if (opened->evidence.metrics)
        json_object_set_new(json, "verdict", make_evidence(&opened->evidence));
    if (opened->limits.ngroups > 0)
        json_object_set_new(json, "groups", make_groups(&opened->limits));
    for (size_t i = 0; i < opened->count; i++) {
        json_t *host = json_object();
        jsonx_set_text(host, "name", opened->hosts[i].name);
        jsonx_set_text(host, "from", opened->hosts[i].from);
        if (opened->hosts[i].metrics)
            jsonx_set_text(host, "metrics", opened->hosts[i].metrics);
        if (opened->hosts[i].zone)
            jsonx_set_text(host, "zone", opened->hosts[i].zone);
        if (opened->limits.ngroups > 0)
            jsonx_set_int(host, "group", (int64_t)opened->hosts[i].group);
        jsonx_set_bool(host, "canary", opened->hosts[i].canary);
        jsonx_set_bool(host, "absent", opened->hosts[i].absent);
        json_array_append_new(hosts, host);
    }
    json_object_set_new(json, "hosts", hosts);
    return json;
}

const struct opened_host *opened_host(const struct opened *opened, const char *name)
{
    for (size_t i = 0; i < opened->count; i++)
        if (strcmp(opened->hosts[i].name, name) == 0)
            return &opened->hosts[i];
    return NULL;
}
