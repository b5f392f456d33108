/* core_reload.c - the contract is in core_reload.h. */
#include "supervisor/core/core_reload.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/signals.h"
#include "io/jsonx.h"
#include "supervisor/core/core_plan.h"
#include "supervisor/core/events.h"
#include "supervisor/core/jobs.h"
#include "supervisor/core/keeper.h"
#include "supervisor/core/spawn.h"
#include "supervisor/plan/options.h"
#include "supervisor/plan/plan_fate.h"
#include "supervisor/plan/plan_lint.h"

struct reload {
    struct core *core;
    bool only_plan, undo, no_restart;
    struct plan_source *source; /* owned until they are applied */
    struct plan *plan;
    struct plan_diff diff;
    struct arena arena;
    struct err_list errors, warnings, problems;
    json_t *services; /* of the answer */
    size_t interrupts;
};

/* --- what happens to each instance --- */

/* How many there are says nothing about those that there are. */
static bool changes_instances(const struct plan_diff_row *row)
{
    for (size_t i = 0; i < row->keys.count; i++)
        if (strcmp(row->keys.list[i].key, "numprocs") != 0 &&
            strcmp(row->keys.list[i].key, "numprocs_start") != 0)
            return true;
    return false;
}

static const struct spec_service *find_service(const struct plan *plan, const char *name)
{
    ssize_t index = plan_find(plan, name);

    return index >= 0 ? &plan->services[index] : NULL;
}

static bool has_number(const struct spec_service *spec, int64_t number)
{
    return spec && number >= spec->set->numprocs_start &&
           number < spec->set->numprocs_start + spec->numprocs;
}

static void look_at_files(struct reload *reload, struct unit *unit, struct plan_fate_facts *facts)
{
    uint32_t variables = 0, own = 0;
    const char *cut;
    struct err err = { 0 };

    if (spawn_files(reload->core, unit, &variables, &own, &cut, &err) != 0)
        err_list_add(&reload->problems, "%s: %s", unit->slot->name, err.text);
    if (cut)
        err_list_add(&reload->warnings, "%s: reload_files: %s; name them more exactly",
                     unit->slot->name, cut);
    facts->files = variables != 0 && unit->body.env_sum != 0 && variables != unit->body.env_sum;
    facts->told = own != 0 && unit->body.files_sum != 0 && own != unit->body.files_sum;
}

static json_t *reasons(const struct plan_diff_row *row, const struct plan_fate_facts *facts,
                       bool older)
{
    json_t *list = json_array();

    for (size_t i = 0; facts->outdated && i < row->keys.count; i++)
        if (row->keys.list[i].takes == PLAN_RESTART)
            json_array_append_new(list, json_string(row->keys.list[i].key));
    if (facts->files)
        json_array_append_new(list, json_string("contents of environment_file"));
    if (facts->told)
        json_array_append_new(list, json_string("contents of reload_files"));
    if (older)
        json_array_append_new(list, json_string("settings of before an earlier reload"));
    return list;
}

static json_t *instance_json(const char *name, enum plan_fate fate, const char *state)
{
    json_t *row = json_object();

    jsonx_set_text(row, "id", name);
    jsonx_set_text(row, "fate", plan_fate_name(fate));
    jsonx_set_text(row, "state", state);
    return row;
}

/* The new one is there before the old one goes; as keeper_replace.c has it. */
static bool overlaps(const struct slot *slot, const struct spec_settings *after)
{
    return after->restart_mode == SPEC_OVERLAP && after->type == SPEC_TYPE_SERVICE &&
           keeper_state(slot) == LIFECYCLE_RUNNING && slot->main->body.lc.ready;
}

/* Between the clock and anything else. */
static void look_at_clock(const struct slot *slot, const struct spec_service *after,
                          struct plan_fate_facts *facts)
{
    bool was = jobs_is(slot), will = after && after->set->type == SPEC_TYPE_SCHEDULED;

    facts->scheduled = was && will;
    facts->to_clock = !was && will;
    facts->from_clock = was && after && !will;
    facts->times = was ? jobs_schedule(slot)->active : jobs_may_begin(slot);
    facts->autostart = after && after->autostart;
}

/* One that there is. */
static void look_at_slot(struct reload *reload, const struct plan_diff_row *row, struct slot *slot,
                         const struct spec_service *after, uint64_t digest, json_t *rows)
{
    struct unit *unit = slot->main;
    struct keeper *keeper = reload->core->keeper;
    struct plan_fate_facts facts = {
        .before = true,
        .after = has_number(after, slot->number),
        .wanted = unit->body.lc.wanted,
        .process = keeper_pid(keeper, unit) > 0,
        .changed = changes_instances(row),
        .outdated = after && plan_digest_differs(unit->body.settings, digest),
        .signal = after && after->set->reload_signal != 0,
        .no_restart = reload->no_restart,
    };
    bool older =
        facts.outdated && plan_digest_differs(unit->body.settings, keeper_digest(keeper, unit));

    look_at_clock(slot, after, &facts);
    if (facts.after && facts.process)
        look_at_files(reload, unit, &facts);
    slot->fate = plan_fate(&facts);
    slot->files_changed = facts.files || facts.told;
    if (slot->fate == PLAN_FATE_SAME)
        return;
    bool interrupts = plan_fate_interrupts(slot->fate) && facts.process &&
                      !(facts.after && overlaps(slot, after->set));
    reload->interrupts += interrupts;
    json_t *line = instance_json(slot->name, slot->fate,
                                 facts.scheduled ? jobs_state_name(slot)
                                                 : lifecycle_state_name(keeper_state(slot)));
    jsonx_set_bool(line, "interrupts", interrupts);
    if (slot->fate == PLAN_FATE_SIGNALLED)
        jsonx_set_text(line, "signal", signals_name(after->set->reload_signal));
    if (facts.after)
        json_object_set_new(line, "because", reasons(row, &facts, older));
    json_array_append_new(rows, line);
}

static void look_at_new(const struct spec_service *before, const struct spec_service *after,
                        json_t *rows)
{
    const struct plan_fate_facts facts = { .after = true, .autostart = after->autostart };
    char name[SLOT_NAME_MAX];

    for (int64_t n = 0; n < after->numprocs; n++) {
        int64_t number = after->set->numprocs_start + n;
        if (has_number(before, number))
            continue;
        snprintf(name, sizeof name, "%s:%lld", after->name, (long long)number);
        json_array_append_new(rows, instance_json(name, plan_fate(&facts), NULL));
    }
}

/* Of what it is started with once it is in force, by its release. */
static uint64_t digest_for(const struct reload *reload, const struct spec_service *after,
                           const struct slot *slot, uint64_t digest)
{
    const struct spec_service *spec = after ? spec_for(after, slot->main->body.release) : NULL;

    return spec == after ? digest : plan_digest(reload->plan, spec, reload->core->tunes);
}

static int look_at_service(struct reload *reload, const struct plan_diff_row *row, json_t *rows,
                           struct err *err)
{
    struct core *core = reload->core;
    ssize_t index = plan_find(core->plan, row->service);
    const struct spec_service *after = find_service(reload->plan, row->service);
    const struct spec_service *before = index >= 0 ? &core->plan->services[index] : NULL;
    uint64_t digest = after ? plan_digest(reload->plan, after, core->tunes) : 0;
    struct slot *const *slots;
    size_t count = before ? keeper_slots_of(core->keeper, (size_t)index, &slots) : 0;

    if (after && digest == 0)
        return err_set(err, ERR_MEMORY, "no memory to compare the plans");
    for (size_t i = 0; i < count; i++)
        look_at_slot(reload, row, slots[i], after, digest_for(reload, after, slots[i], digest),
                     rows);
    if (after)
        look_at_new(before, after, rows);
    return 0;
}

/* --- the answer --- */

static json_t *names_json(const struct opt_names *names)
{
    json_t *list = json_array();

    for (size_t i = 0; i < names->count; i++)
        json_array_append_new(list, json_string(names->names[i]));
    return list;
}

/* `after`: whose key it will be, NULL = none's. */
static json_t *key_json(const struct plan_diff_key *key, const struct spec_service *after)
{
    json_t *line = json_object();

    if (after && spec_says_release(after, key->key))
        jsonx_set_text(line, "release", after->release_id);

    jsonx_set_text(line, "key", key->key);
    jsonx_set_text(line, "takes", plan_change_name(key->takes));
    if (key->variables) {
        jsonx_set_text(line, "variables", key->variables);
        return line;
    }
    jsonx_set_text(line, "old", key->before[0] ? key->before : NULL);
    jsonx_set_text(line, "new", key->after[0] ? key->after : NULL);
    return line;
}

/* Names alone, and with what was and will be. */
static void set_keys(json_t *object, const char *names, const char *values,
                     const struct plan_diff_keys *keys, const struct spec_service *after)
{
    json_t *short_list = json_array(), *list = json_array();

    for (size_t i = 0; i < keys->count; i++) {
        json_array_append_new(short_list, json_string(keys->list[i].key));
        json_array_append_new(list, key_json(&keys->list[i], after));
    }
    json_object_set_new(object, names, short_list);
    json_object_set_new(object, values, list);
}

static json_t *lines_json(const struct err_list *list)
{
    json_t *lines = json_array();

    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(lines, json_string(list->lines[i]));
    return lines;
}

static json_t *errors_json(const struct err_list *errors)
{
    json_t *data = json_object();

    json_object_set_new(data, "errors", lines_json(errors));
    jsonx_set_int(data, "total", (json_int_t)errors->total);
    return data;
}

/* What the files say of numprocs does not count where an operator has scaled. */
static void put_scale(const struct reload *reload, const struct spec_service *after, json_t *line)
{
    const struct spec_service *before = find_service(reload->core->plan, after->name);
    size_t row = (size_t)(opt_find(&options_service, "numprocs") - options_service.rows);
    const char *old = before ? spec_text(before, row) : NULL, *new = spec_text(after, row);

    for (size_t i = 0; i < reload->source->nscales; i++)
        if (strcmp(reload->source->scales[i].service, after->name) == 0 && before &&
            strcmp(old ? old : "1", new ? new : "1") != 0)
            jsonx_set_int(line, "scaled", reload->source->scales[i].count);
}

/* Looks at everything before anything is done. */
static int look(struct reload *reload, struct err *err)
{
    reload->services = json_array();
    for (size_t i = 0; i < reload->diff.count; i++) {
        const struct plan_diff_row *row = &reload->diff.rows[i];
        const struct spec_service *after = find_service(reload->plan, row->service);
        json_t *line = json_object(), *instances = json_array();

        jsonx_set_text(line, "service", row->service);
        jsonx_set_text(line, "change", plan_change_name(row->change));
        set_keys(line, "keys", "changes", &row->keys, after);
        jsonx_set_int(line, "of", after ? after->numprocs : 0);
        if (after)
            put_scale(reload, after, line);
        int rc = look_at_service(reload, row, instances, err);
        json_object_set_new(line, "instances", instances);
        json_array_append_new(reload->services, line);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static json_t *answer(const struct reload *reload, bool applied)
{
    json_t *result = json_object();

    json_object_set(result, "services", reload->services);
    set_keys(result, "supervisor_keys", "supervisor_changes", &reload->diff.supervisor, NULL);
    json_object_set_new(result, "sockets", names_json(&reload->diff.sockets));
    json_object_set_new(result, "access", names_json(&reload->diff.access));
    jsonx_set_int(result, "interrupts", (json_int_t)reload->interrupts);
    jsonx_set_bool(result, "applied", applied);
    json_object_set_new(result, "warnings", lines_json(&reload->warnings));
    json_object_set_new(result, "problems", lines_json(&reload->problems));
    return result;
}

/* What the recorder keeps: without values, and without what stays the same. */
static void publish(const struct reload *reload)
{
    json_t *details = json_object(), *rows = json_array(), *row;
    size_t i;

    json_array_foreach(reload->services, i, row)
    {
        json_t *brief = json_object();

        if (strcmp(jsonx_text(row, "change", ""), "same") != 0) {
            jsonx_set_text(brief, "service", jsonx_text(row, "service", ""));
            jsonx_set_text(brief, "change", jsonx_text(row, "change", ""));
            json_object_set(brief, "keys", json_object_get(row, "keys"));
            json_array_append(rows, brief);
        }
        json_decref(brief);
    }
    json_object_set_new(details, "services", rows);
    jsonx_set_int(details, "interrupts", (json_int_t)reload->interrupts);
    jsonx_set_bool(details, "applied", true);
    json_object_set_new(details, "problems", lines_json(&reload->problems));
    events_publish(reload->core->events, "reload", details);
}

/* --- doing it --- */

static int read_both(struct reload *reload, struct err *err)
{
    struct core *core = reload->core;

    reload->source = core_plan_read(core, reload->undo, &reload->errors);
    reload->plan =
        reload->source ? core_plan_make(reload->source, &reload->errors, &reload->warnings) : NULL;
    if (reload->plan)
        plan_lint(reload->plan, reload->source, &reload->warnings);
    if (reload->plan) /* all names of [access:NAME] must be there when somebody can mend it */
        rights_free(rights_make(reload->plan, &reload->errors));
    if (!reload->plan || reload->errors.total > 0)
        return err_set(err, ERR_INVALID, "%zu error%s in the configuration, nothing was changed",
                       reload->errors.total, reload->errors.total == 1 ? "" : "s");
    /* A file cut short or an empty folder must not stop everything. */
    if (reload->plan->nservices == 0 && core->plan->nservices > 0)
        return err_set(err, ERR_INVALID,
                       "there is no service at all in %s, nothing was changed; to stop everything "
                       "use \"supervisor stop all\"",
                       core->config);
    if (plan_diff(core->plan, reload->plan, core->tunes, &reload->arena, &reload->diff) != 0)
        return err_set(err, ERR_MEMORY, "no memory to compare the plans");
    return look(reload, err);
}

static bool changes_anything(const struct plan_diff *diff)
{
    for (size_t i = 0; i < diff->count; i++)
        if (diff->rows[i].change != PLAN_SAME)
            return true;
    return diff->supervisor.count > 0 || diff->sockets.count > 0 || diff->access.count > 0;
}

/* Those that run with other variables: marked, so that a core after us carries on; or not after
 * all. */
static void mark_files(struct keeper *keeper, bool on)
{
    for (size_t i = 0; i < keeper->nslots; i++) {
        struct slot *slot = keeper->slots[i];

        if (!slot->files_changed || slot->fate != PLAN_FATE_RESTARTS)
            continue;
        if (slot->main->body.outdated == on) { /* it was to be replaced before */
            slot->files_changed = false;
            continue;
        }
        slot->main->body.outdated = on;
        keeper_save(slot->main);
    }
}

static void tell_files(struct keeper *keeper)
{
    for (size_t i = 0; i < keeper->nslots; i++) {
        struct slot *slot = keeper->slots[i];

        if (slot->files_changed && slot->fate == PLAN_FATE_SIGNALLED && !slot->removed)
            keeper_reread(keeper, slot->main);
        slot->files_changed = false;
    }
}

static int apply(struct reload *reload, struct err *err)
{
    struct core *core = reload->core;
    int rc = changes_anything(&reload->diff) ? core_plan_keep_for_undo(core, err) : 0;

    if (rc != 0)
        return rc;
    mark_files(core->keeper, true);
    rc = core_plan_apply(core, reload->source, reload->plan,
                         reload->no_restart ? CORE_PLAN_LEAVE : CORE_PLAN_RESTART,
                         &reload->problems, err);
    if (rc != 0) {
        mark_files(core->keeper, false);
        return rc;
    }
    reload->source = NULL;
    reload->plan = NULL;
    tell_files(core->keeper);
    publish(reload);
    return 0;
}

static void reload_done(struct reload *reload)
{
    plan_free(reload->plan);
    if (reload->source)
        plan_source_free(reload->source);
    free(reload->source);
    err_list_done(&reload->errors);
    err_list_done(&reload->warnings);
    err_list_done(&reload->problems);
    arena_done(&reload->arena);
    json_decref(reload->services);
}

/* The answer (new reference), or NULL with err and maybe *ret_data. */
static json_t *run(struct reload *reload, json_t **ret_data, struct err *err)
{
    json_t *result = NULL;
    int rc = 0;

    err_list_init(&reload->errors);
    err_list_init(&reload->warnings);
    err_list_init(&reload->problems);
    arena_init(&reload->arena);
    if (reload->undo && !core_plan_can_undo(reload->core))
        rc = err_set(err, ERR_NOT_FOUND, "there is no reload to undo");
    if (rc == 0)
        rc = read_both(reload, err);
    if (rc == 0 && !reload->only_plan)
        rc = apply(reload, err);
    if (rc == 0)
        result = answer(reload, !reload->only_plan);
    else if (reload->errors.total > 0)
        *ret_data = errors_json(&reload->errors);
    reload_done(reload);
    return result;
}

void core_reload(struct core *core, struct rpc_call *call, json_t *params)
{
    struct reload reload = { .core = core,
                             .only_plan = jsonx_bool(params, "plan", false),
                             .undo = jsonx_bool(params, "undo", false),
                             .no_restart = jsonx_bool(params, "no_restart", false) };
    struct err err = { 0 };
    json_t *data = NULL, *result = run(&reload, &data, &err);

    if (result)
        rpc_reply(call, result);
    else
        rpc_fail(call, &err, data);
}

void core_reload_signal(struct core *core)
{
    struct reload reload = { .core = core };
    struct err err = { 0 };
    json_t *data = NULL, *line;
    size_t i;
    json_t *result = run(&reload, &data, &err);

    json_decref(result);
    if (result)
        return;
    log_error("reload refused", "error", err.text, NULL);
    json_array_foreach(json_object_get(data, "errors"), i, line)
        log_error(json_string_value(line), NULL);
    events_publish(core->events, "reload-refused", data);
}
