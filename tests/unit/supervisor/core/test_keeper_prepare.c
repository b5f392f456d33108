/* Every allocation that a new plan needs is made to fail in turn: nothing changes, nothing leaks;
 * and every one that a new core needs to adopt what runs: it knows all of it, or cannot start.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "io/loop.h"
#include "supervisor/core/core.h"
#include "supervisor/core/keeper.h"
#include "supervisor/core/unit.h"
#include "tests/unit/supervisor/plan/plan_fixture.h"

#define BEFORE                                                                                     \
    "[service:a]\ncommand = sleep 1\nnumprocs = 3\n"                                               \
    "[service:b]\ncommand = sleep 1\nrequires = a\n"
#define AFTER                                                                                      \
    "[service:a]\ncommand = sleep 2\nnumprocs = 2\n"                                               \
    "[service:c]\ncommand = sleep 1\nrequires = a\nnumprocs = 4\n"                                 \
    "[service:d]\ncommand = sleep 1\nuser = no-such-user-here\n"

/* --- memory that ends --- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);

static long left = -1; /* so many go well; < 0: all */

static bool fails(void)
{
    if (left != 0) {
        left -= left > 0;
        return false;
    }
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size) { return fails() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}
void *__wrap_realloc(void *old, size_t size) { return fails() ? NULL : __real_realloc(old, size); }
void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
    return fails() ? NULL : __real_reallocarray(old, count, size);
}

/* --- a core with a keeper and nothing else --- */

static void nothing(void *context, struct slot *slot) { (void)context, (void)slot; }

struct rig {
    struct core core;
    struct keeper *keeper;
};

static void set_up(struct rig *rig)
{
    const struct keeper_hands hands = { .changed = nothing, .removed = nothing };
    struct err err = { 0 };
    bool takeover;

    memset(rig, 0, sizeof *rig);
    struct core *core = &rig->core;
    core->channel = core->poke = core->poke_logger = -1;
    store_init(&core->store);
    core->cgroup.fd = -1;
    assert_int_equal(ledger_create(NULL, &core->ledger, &takeover, &err), 0);
    core->loop = loop_new(&err);
    core->plan = fixture_plan(BEFORE, NULL);
    assert_true(core->loop && core->plan);
    rig->keeper = core->keeper = keeper_new(core, &hands, &err);
    assert_non_null(rig->keeper);
    struct keeper_next *next = keeper_prepare(rig->keeper, core->plan, &err);
    assert_non_null(next);
    keeper_configure(rig->keeper, next, NULL, NULL);
}

static void tear_down(struct rig *rig)
{
    keeper_free(rig->keeper);
    plan_free(rig->core.plan);
    loop_free(rig->core.loop);
    ledger_unmap(&rig->core.ledger);
    store_done(&rig->core.store);
}

/* Claimed ones; each has its unit. */
static size_t records(const struct rig *rig)
{
    size_t count = 0;

    for (size_t i = 0; i < LEDGER_RECORDS; i++) {
        bool claimed = atomic_load(&rig->core.ledger.records[i].kind) != LEDGER_FREE;

        assert_int_equal(claimed, rig->keeper->by_record[i] != NULL);
        count += claimed;
    }
    return count;
}

/* "a:0 a:1 a:2 b:0 ", an x behind those that are removed. */
static const char *names(const struct rig *rig, char text[static 256])
{
    text[0] = '\0';
    for (size_t i = 0; i < rig->keeper->nslots; i++) {
        strcat(text, rig->keeper->slots[i]->name);
        strcat(text, rig->keeper->slots[i]->removed ? "x " : " ");
    }
    return text;
}

static void check_unchanged(struct rig *rig)
{
    const struct keeper *keeper = rig->keeper;
    char text[256];

    assert_string_equal(names(rig, text), "a:0 a:1 a:2 b:0 ");
    assert_int_equal(records(rig), 4);
    for (size_t i = 0; i < keeper->nslots; i++) {
        const struct slot *slot = keeper->slots[i];

        assert_ptr_equal(slot->spec, &rig->core.plan->services[slot->service]);
        assert_ptr_equal(slot->user, &keeper->users[slot->service]);
        assert_true(i >= keeper->first_slot[slot->service] &&
                    i < keeper->first_slot[slot->service + 1]);
    }
    assert_int_equal(keeper->nretired, 0);
}

static void nothing_changes_without_memory(void **state)
{
    struct rig rig;
    struct err err = { 0 };
    struct keeper_next *next = NULL;
    char text[256];
    long n = 0;
    (void)state;

    set_up(&rig);
    check_unchanged(&rig);
    struct plan *after = fixture_plan(AFTER, NULL);
    assert_non_null(after);
    for (; !next; n++) {
        err.code = ERR_NONE;
        left = n;
        next = keeper_prepare(rig.keeper, after, &err);
        left = -1;
        if (next)
            break;
        assert_int_equal(err.code, ERR_MEMORY);
        check_unchanged(&rig);
    }
    assert_true(n > 20);
    keeper_discard(next); /* the plan could not be kept, say */
    check_unchanged(&rig);

    struct plan *before = rig.core.plan;
    next = keeper_prepare(rig.keeper, after, &err);
    assert_non_null(next);
    left = 0; /* from here on nothing is asked for */
    rig.core.plan = after;
    keeper_configure(rig.keeper, next, before, NULL);
    left = -1;
    assert_string_equal(names(&rig, text), "a:0 a:1 c:0 c:1 c:2 c:3 d:0 a:2x b:0x ");
    assert_int_equal(records(&rig), 9);
    assert_non_null(rig.keeper->user_problems[rig.keeper->slots[6]->service]);
    assert_int_equal(rig.keeper->nretired, 1);
    tear_down(&rig);
}

enum { TRIES_MAX = 1000 };

/* A core that knows only a part would start the rest a second time. */
static void all_or_nothing_is_adopted(void **state)
{
    const struct keeper_hands hands = { .changed = nothing, .removed = nothing };
    struct keeper *tried[TRIES_MAX];
    struct rig rig;
    struct err err = { 0 };
    char text[256];
    long n = 0;
    int rc;
    (void)state;

    set_up(&rig);
    struct keeper *before = rig.keeper;
    do {
        rig.keeper = rig.core.keeper = keeper_new(&rig.core, &hands, &err);
        assert_non_null(rig.keeper);
        tried[n] = rig.keeper;
        err.code = ERR_NONE;
        left = n;
        rc = keeper_adopt(rig.keeper, &err);
        left = -1;
        assert_int_equal(err.code, rc);
        assert_true(rc == 0 || rc == ERR_MEMORY);
    } while (rc != 0 && ++n < TRIES_MAX);
    assert_true(n > 5);
    assert_string_equal(names(&rig, text), "a:0x a:1x a:2x b:0x ");
    assert_int_equal(records(&rig), 4);
    for (long i = 0; i <= n; i++)
        keeper_free(tried[i]);
    rig.keeper = before;
    tear_down(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_changes_without_memory),
        cmocka_unit_test(all_or_nothing_is_adopted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
