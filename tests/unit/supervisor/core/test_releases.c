/* test_releases.c - release sets with a keeper that only pretends, a real loop and a real folder.
 *
 * The fake keeper notes what each instance was told to run and tells how that went when it is asked
 * to (pump).  A release is good, bad (its instances exit) or silent (never ready), by its id.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "io/durable.h"
#include "io/jsonx.h"
#include "io/loop.h"
#include "supervisor/core/pin.h"
#include "supervisor/core/releases.h"

#define A      "000001-aaaaaaaa"
#define B      "000002-bbbbbbbb"
#define C      "000003-cccccccc"
#define BAD    "000004-bad0bad0"
#define SILENT "000005-51e47000"
#define BOOT_1 "11111111-1111-1111-1111-111111111111"
#define BOOT_2 "22222222-2222-2222-2222-222222222222"

enum { DB, WEB, NSERVICES, INSTANCES = 2, QUEUE = 64, PATIENCE_MS = 5000 };

struct told {
    size_t service, instance;
    char id[RELEASE_ID_MAX]; /* "" = told to stop all */
};
struct instance_state {
    char id[RELEASE_ID_MAX]; /* what it runs, "" = nothing */
    bool ready;
};
struct reply {
    int count;
    enum err_code code;
    enum release_result result;
    char id[RELEASE_ID_MAX], from[RELEASE_ID_MAX], pinned[RELEASE_ID_MAX];
    char reason[RELEASE_REASON_MAX], text[ERR_TEXT_MAX], warning[ERR_TEXT_MAX];
    bool confirmed;
    int64_t deadline_ms;
};
struct fake {
    char dir[64], set[96], state[96];
    struct loop *loop;
    struct releases *releases;
    struct spec_service services[NSERVICES];
    struct plan plan;
    struct releases_service counts[NSERVICES];
    struct told queue[QUEUE];
    size_t head, tail, replaced;
    struct instance_state running[NSERVICES][INSTANCES];
    bool faster[NSERVICES];
    char kept_name[PIN_NAME_MAX], *kept;
    char events[4096]; /* kinds, each with a blank behind it */
    bool at_once;      /* tells from within the hand */
};

static void tell(struct fake *fake, const struct told *told)
{
    struct instance_state *instance = &fake->running[told->service][told->instance];
    const char *id = told->id;

    if (!id[0]) {
        memset(fake->running[told->service], 0, sizeof fake->running[told->service]);
        releases_stopped(fake->releases, told->service);
    } else if (strcmp(id, BAD) == 0) {
        instance->ready = false;
        releases_down(fake->releases, told->service, told->instance, id, "exited with 1");
    } else if (strcmp(id, SILENT) != 0) {
        instance->ready = true;
        releases_ready(fake->releases, told->service, told->instance, id);
    }
}

static void push(struct fake *fake, size_t service, size_t instance, const char *id)
{
    struct told *told = &fake->queue[fake->tail++ % QUEUE];

    assert_true(fake->tail - fake->head <= QUEUE);
    *told = (struct told){ .service = service, .instance = instance };
    snprintf(told->id, sizeof told->id, "%s", id);
    if (fake->at_once && fake->tail - fake->head == 1) {
        fake->head++;
        struct told copy = *told;
        tell(fake, &copy);
    }
}

static void on_replace(void *context, size_t service, size_t instance, const char *id)
{
    struct fake *fake = context;

    fake->replaced++;
    snprintf(fake->running[service][instance].id, RELEASE_ID_MAX, "%s", id);
    fake->running[service][instance].ready = false;
    push(fake, service, instance, id);
}

static void on_stop_all(void *context, size_t service) { push(context, service, 0, ""); }

static void on_faster(void *context, size_t service, bool on)
{
    struct fake *fake = context;

    fake->faster[service] = on;
}

static void on_event(void *context, const char *kind, json_t *details)
{
    struct fake *fake = context;
    size_t len = strlen(fake->events);

    assert_non_null(json_object_get(details, "path"));
    snprintf(fake->events + len, sizeof fake->events - len, "%s ", kind);
    json_decref(details);
}

static int on_remember(void *context, const char *name, const char *text)
{
    struct fake *fake = context;

    free(fake->kept);
    fake->kept = strdup(text);
    snprintf(fake->kept_name, sizeof fake->kept_name, "%s", name);
    return 0;
}

static const char *on_recall(void *context, const char *name)
{
    struct fake *fake = context;

    return fake->kept && strcmp(name, fake->kept_name) == 0 ? fake->kept : NULL;
}

static void on_done(void *context, const struct releases_answer *answer, const struct err *err)
{
    struct reply *reply = context;

    reply->count++;
    if (err) {
        assert_null(answer);
        reply->code = err->code;
        snprintf(reply->text, sizeof reply->text, "%s", err->text);
        return;
    }
    reply->result = answer->result;
    reply->confirmed = answer->confirmed;
    reply->deadline_ms = answer->deadline_ms;
    snprintf(reply->id, sizeof reply->id, "%s", answer->id);
    snprintf(reply->from, sizeof reply->from, "%s", answer->from);
    snprintf(reply->pinned, sizeof reply->pinned, "%s", answer->pinned);
    snprintf(reply->reason, sizeof reply->reason, "%s", answer->reason);
    snprintf(reply->warning, sizeof reply->warning, "%s", answer->warning);
}

/* One word of the keeper; false when it has none. */
static bool pump_one(struct fake *fake)
{
    if (fake->head == fake->tail)
        return false;
    struct told told = fake->queue[fake->head++ % QUEUE];
    tell(fake, &told);
    return true;
}

static void pump(struct fake *fake)
{
    for (int i = 0; pump_one(fake); i++)
        assert_true(i < 100);
}

struct wait {
    struct fake *fake;
    const struct reply *reply;
    const char *event;
    bool late;
};

static void on_turn(void *context)
{
    struct wait *wait = context;

    pump(wait->fake);
    if ((wait->reply && wait->reply->count) ||
        (wait->event && strstr(wait->fake->events, wait->event)))
        loop_stop(wait->fake->loop);
}

static void on_late(void *context)
{
    struct wait *wait = context;

    wait->late = true;
    loop_stop(wait->fake->loop);
}

/* Lets time pass until an answer is there, or an event. */
static void run_until(struct fake *fake, const struct reply *reply, const char *event)
{
    struct wait wait = { .fake = fake, .reply = reply, .event = event };
    struct loop_timer *timer = loop_timer_new(fake->loop, on_late, &wait);

    loop_timer_arm(timer, PATIENCE_MS);
    loop_run(fake->loop, on_turn, &wait);
    loop_timer_free(timer);
    assert_false(wait.late);
}

static void make_release(const struct fake *fake, const char *id)
{
    char path[256];

    snprintf(path, sizeof path, "%s/releases/%s", fake->set, id);
    assert_int_equal(mkdir(path, 0755), 0);
}

static void make_plan(struct fake *fake)
{
    static const char *const names[] = { [DB] = "db", [WEB] = "web" };

    for (size_t i = 0; i < NSERVICES; i++) {
        fake->services[i] = (struct spec_service){
            .name = names[i],
            .release = fake->set,
            .user = "root",
            .ready_timeout_ms = 10000,
        };
        fake->counts[i] =
            (struct releases_service){ .instances = i == WEB ? 2 : 1, .owner = geteuid() };
    }
    fake->plan.services = fake->services;
    fake->plan.nservices = NSERVICES;
    fake->plan.supervisor.state_dir = fake->state;
}

/* A core starts; what the one before left running is told. */
static void start_with(struct fake *fake, enum releases_start start, const char *boot,
                       struct err_list *errors)
{
    struct releases_hands hands = {
        .context = fake,
        .replace = on_replace,
        .stop_all = on_stop_all,
        .probe_faster = on_faster,
        .event = on_event,
        .remember = on_remember,
        .recall = on_recall,
    };
    struct err err;

    fake->head = fake->tail = 0;
    fake->releases = releases_new(fake->loop, &hands, boot, &err);
    assert_non_null(fake->releases);
    assert_int_equal(
        releases_configure(fake->releases, &fake->plan, fake->counts, start, errors, &err), 0);
    for (size_t i = 0; i < NSERVICES && start == RELEASES_START_ADOPTING; i++)
        for (size_t j = 0; j < fake->counts[i].instances; j++)
            if (fake->running[i][j].ready)
                releases_ready(fake->releases, i, j, fake->running[i][j].id);
    releases_begin(fake->releases);
}

static void start(struct fake *fake, enum releases_start how, const char *boot)
{
    start_with(fake, how, boot, NULL);
}

static void stop(struct fake *fake)
{
    releases_free(fake->releases);
    fake->releases = NULL;
}

/* The whole supervisor is gone, and with it its instances and what it remembered. */
static void everything_died(struct fake *fake)
{
    stop(fake);
    memset(fake->running, 0, sizeof fake->running);
    free(fake->kept);
    fake->kept = NULL;
}

static void fresh_start_runs(struct fake *fake, const char *id)
{
    char pinned[RELEASE_ID_MAX] = "";

    for (size_t i = 0; i < NSERVICES; i++) {
        bool has = releases_pinned(fake->releases, i, pinned);
        assert_int_equal(has, id[0] != '\0');
        if (has)
            assert_string_equal(pinned, id);
        for (size_t j = 0; j < fake->counts[i].instances && has; j++) {
            snprintf(fake->running[i][j].id, RELEASE_ID_MAX, "%s", pinned);
            fake->running[i][j].ready = true;
            releases_ready(fake->releases, i, j, pinned);
        }
    }
}

static void assert_all_run(const struct fake *fake, const char *id)
{
    assert_string_equal(fake->running[DB][0].id, id);
    assert_string_equal(fake->running[WEB][0].id, id);
    assert_string_equal(fake->running[WEB][1].id, id);
}

static void assert_link(const struct fake *fake, const char *name, const char *id)
{
    char path[256], target[256] = "", want[256] = "";

    snprintf(path, sizeof path, "%s/%s", fake->set, name);
    ssize_t len = readlink(path, target, sizeof target - 1);
    if (len < 0)
        assert_int_equal(errno, ENOENT);
    if (id[0])
        snprintf(want, sizeof want, "releases/%s", id);
    assert_string_equal(target, want);
}

static struct releases_order order_of(const struct fake *fake, const char *id, const char *token)
{
    return (struct releases_order){
        .path = fake->set, .id = id, .token = token, .who = "a test", .ready_timeout_ms = 5000
    };
}

static struct reply switched(struct fake *fake, const char *id, int64_t lease_ms, const char *token)
{
    struct releases_order order = order_of(fake, id, token);
    struct reply reply = { .count = 0 };

    order.confirm_within_ms = lease_ms;
    releases_switch(fake->releases, &order, on_done, &reply);
    pump(fake);
    assert_int_equal(reply.count, 1);
    return reply;
}

static int set_up(void **state)
{
    struct fake *fake = calloc(1, sizeof *fake);
    char path[256];
    struct err err;

    snprintf(fake->dir, sizeof fake->dir, "/tmp/test_releases.XXXXXX");
    assert_non_null(mkdtemp(fake->dir));
    snprintf(fake->set, sizeof fake->set, "%s/srv", fake->dir);
    snprintf(fake->state, sizeof fake->state, "%s/state", fake->dir);
    assert_int_equal(mkdir(fake->set, 0755), 0);
    snprintf(path, sizeof path, "%s/releases", fake->set);
    assert_int_equal(mkdir(path, 0755), 0);
    make_release(fake, A);
    make_release(fake, B);
    make_release(fake, BAD);
    make_release(fake, SILENT);
    make_plan(fake);
    fake->loop = loop_new(&err);
    assert_non_null(fake->loop);
    *state = fake;
    return 0;
}

static void remove_folder(const char *path)
{
    char parent[PATH_MAX];
    struct err err;

    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    *slash = '\0';
    AUTO_CLOSE int fd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(durable_remove_tree(fd, slash + 1, &err), 0);
}

static int tear_down(void **state)
{
    struct fake *fake = *state;

    stop(fake);
    loop_free(fake->loop);
    remove_folder(fake->dir);
    free(fake->kept);
    free(fake);
    return 0;
}

static void a_first_release_then_a_second(void **state)
{
    struct fake *fake = *state;
    char id[RELEASE_ID_MAX], dir[PATH_MAX];
    struct err err;
    int fd;

    start(fake, RELEASES_START_FRESH, BOOT_1);
    assert_false(releases_pinned(fake->releases, WEB, id));
    assert_string_equal(releases_path(fake->releases, WEB), fake->set);
    struct reply reply = switched(fake, A, 0, "");
    assert_int_equal(reply.result, RELEASE_RESULT_SWITCHED);
    assert_true(reply.confirmed);
    assert_string_equal(reply.from, "");
    assert_string_equal(reply.warning, "");
    assert_all_run(fake, A);
    assert_link(fake, "current", A);
    assert_link(fake, "previous", "");
    reply = switched(fake, B, 0, "");
    assert_string_equal(reply.from, A);
    assert_string_equal(reply.pinned, B);
    assert_all_run(fake, B);
    assert_link(fake, "current", B);
    assert_link(fake, "previous", A);
    assert_int_equal(fake->replaced, 6);
    assert_int_equal(releases_open(fake->releases, WEB, B, &fd, dir, sizeof dir, &err), 0);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close(fd);
    assert_int_equal(releases_open(fake->releases, WEB, C, &fd, dir, sizeof dir, &err),
                     ERR_NOT_FOUND);
    assert_int_equal(releases_open(fake->releases, WEB, "../..", &fd, dir, sizeof dir, &err),
                     ERR_INVALID);
}

static void instances_follow_one_another_in_order(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, A, "");
    struct reply reply = { .count = 0 };

    start(fake, RELEASES_START_FRESH, BOOT_1);
    releases_switch(fake->releases, &order, on_done, &reply);
    assert_string_equal(fake->running[DB][0].id, A);
    assert_string_equal(fake->running[WEB][0].id, "");
    assert_true(pump_one(fake));
    assert_string_equal(fake->running[WEB][0].id, A);
    assert_string_equal(fake->running[WEB][1].id, "");
    pump(fake);
    assert_int_equal(reply.count, 1);
}

static void a_keeper_that_tells_at_once(void **state)
{
    struct fake *fake = *state;

    fake->at_once = true;
    start(fake, RELEASES_START_FRESH, BOOT_1);
    assert_int_equal(switched(fake, A, 0, "").result, RELEASE_RESULT_SWITCHED);
    assert_int_equal(switched(fake, BAD, 0, "").result, RELEASE_RESULT_REVERTED);
    assert_all_run(fake, A);
}

static void a_bad_release_is_undone_at_once(void **state)
{
    struct fake *fake = *state;

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    struct reply reply = switched(fake, BAD, 0, "5:x");
    assert_int_equal(reply.result, RELEASE_RESULT_REVERTED);
    assert_string_equal(reply.reason, "db:0: exited with 1");
    assert_string_equal(reply.pinned, A);
    assert_all_run(fake, A);
    assert_link(fake, "current", A);
    assert_link(fake, "previous", "");
    /* A lost answer is asked for again, and nothing happens a second time. */
    size_t before = fake->replaced;
    reply = switched(fake, BAD, 0, "5:x");
    assert_int_equal(reply.result, RELEASE_RESULT_REVERTED);
    assert_int_equal(fake->replaced, before);
}

static void a_release_that_is_never_ready_is_undone_in_time(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, SILENT, "");
    struct reply reply = { .count = 0 };

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    order.ready_timeout_ms = 30;
    releases_switch(fake->releases, &order, on_done, &reply);
    run_until(fake, &reply, NULL);
    assert_int_equal(reply.result, RELEASE_RESULT_REVERTED);
    assert_string_equal(reply.reason, "db:0 was not ready within 30ms");
    assert_all_run(fake, A);
}

static void told_to_stay_it_stays_and_says_failed(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, SILENT, "");
    struct reply reply = { .count = 0 };

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    order.ready_timeout_ms = 30;
    order.stay = true;
    releases_switch(fake->releases, &order, on_done, &reply);
    run_until(fake, &reply, NULL);
    assert_int_equal(reply.result, RELEASE_RESULT_FAILED);
    assert_all_run(fake, SILENT); /* wholly one release, though not a good one */
    assert_link(fake, "current", SILENT);
    assert_link(fake, "previous", A);
}

static void a_bad_first_release_leaves_nothing(void **state)
{
    struct fake *fake = *state;

    start(fake, RELEASES_START_FRESH, BOOT_1);
    struct reply reply = switched(fake, BAD, 0, "");
    assert_int_equal(reply.result, RELEASE_RESULT_REVERTED);
    assert_string_equal(reply.pinned, "");
    assert_all_run(fake, "");
    assert_link(fake, "current", "");
    fresh_start_runs(fake, "");
}

static void both_who_ask_get_the_answer(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, A, "5:x"), other = order_of(fake, B, "5:x");
    struct reply one = { .count = 0 }, two = { .count = 0 }, three = { .count = 0 };

    start(fake, RELEASES_START_FRESH, BOOT_1);
    releases_switch(fake->releases, &order, on_done, &one);
    releases_switch(fake->releases, &order, on_done, &two);
    releases_switch(fake->releases, &other, on_done, &three);
    assert_int_equal(three.count, 1);
    assert_int_equal(three.code, ERR_STALE);
    assert_non_null(strstr(three.text, "5:x"));
    assert_int_equal(one.count + two.count, 0);
    pump(fake);
    assert_int_equal(one.count, 1);
    assert_int_equal(two.count, 1);
    assert_int_equal(two.result, RELEASE_RESULT_SWITCHED);
    assert_int_equal(fake->replaced, 3);
}

static void a_late_command_is_fenced_off(void **state)
{
    struct fake *fake = *state;

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "6:new");
    assert_int_equal(switched(fake, B, 0, "5:old").code, ERR_STALE);
    assert_int_equal(switched(fake, B, 0, "6:other").code, ERR_STALE);
    assert_int_equal(switched(fake, B, 0, "7:newer").result, RELEASE_RESULT_SWITCHED);
    everything_died(fake); /* the fence is on disk */
    start(fake, RELEASES_START_FRESH, BOOT_2);
    assert_int_equal(switched(fake, A, 0, "6:new").code, ERR_STALE);
}

static void a_lease_is_confirmed_or_runs_out(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, B, "5:x");
    struct reply reply = { .count = 0 }, again = { .count = 0 };

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    struct reply first = switched(fake, B, 60000, "5:x");
    assert_int_equal(first.result, RELEASE_RESULT_SWITCHED);
    assert_false(first.confirmed);
    assert_in_range(first.deadline_ms, 50000, 60000);
    assert_true(fake->faster[WEB] && fake->faster[DB]);
    order.confirm_within_ms = 30;
    releases_extend(fake->releases, &order, on_done, &reply);
    assert_int_equal(reply.count, 1);
    assert_in_range(reply.deadline_ms, 0, 30);
    run_until(fake, NULL, "release.reverted");
    assert_all_run(fake, A);
    assert_false(fake->faster[WEB]);
    releases_confirm(fake->releases, &order, on_done, &again);
    assert_int_equal(again.code, ERR_STATE);
    assert_non_null(strstr(again.text, "not confirmed within 30ms"));

    switched(fake, B, 60000, "6:y");
    order.token = "6:y";
    memset(&reply, 0, sizeof reply);
    releases_confirm(fake->releases, &order, on_done, &reply);
    assert_int_equal(reply.count, 1);
    assert_true(reply.confirmed);
    assert_int_equal(reply.deadline_ms, -1);
    assert_false(fake->faster[WEB]);
}

static void an_order_undoes(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, B, "5:x");
    struct reply reply = { .count = 0 }, again = { .count = 0 };

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    switched(fake, B, 60000, "5:x");
    releases_revert(fake->releases, &order, on_done, &reply);
    pump(fake);
    assert_int_equal(reply.count, 1);
    assert_int_equal(reply.result, RELEASE_RESULT_REVERTED);
    assert_string_equal(reply.reason, "undone by order by a test");
    assert_all_run(fake, A);
    releases_revert(fake->releases, &order, on_done, &again);
    assert_int_equal(again.count, 1);
    assert_int_equal(again.result, RELEASE_RESULT_REVERTED);
}

static void rollback_goes_to_what_was_good(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, NULL, "");
    struct reply none = { .count = 0 }, reply = { .count = 0 };

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    releases_rollback(fake->releases, &order, on_done, &none);
    assert_int_equal(none.code, ERR_NOT_FOUND);
    switched(fake, B, 0, "");
    switched(fake, BAD, 0, "");
    releases_rollback(fake->releases, &order, on_done, &reply);
    pump(fake);
    assert_int_equal(reply.count, 1);
    assert_string_equal(reply.pinned, A);
    assert_all_run(fake, A);
    /* Unconfirmed: the way back is an undo. */
    memset(&reply, 0, sizeof reply);
    switched(fake, B, 60000, "5:x");
    releases_rollback(fake->releases, &order, on_done, &reply);
    pump(fake);
    assert_int_equal(reply.result, RELEASE_RESULT_REVERTED);
    assert_all_run(fake, A);
}

static void nonsense_is_refused(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, A, "");
    struct reply reply = { .count = 0 };
    json_t *state_json = NULL;
    struct err err;

    start(fake, RELEASES_START_FRESH, BOOT_1);
    assert_int_equal(switched(fake, "../../etc", 0, "").code, ERR_INVALID);
    assert_int_equal(switched(fake, A, 0, "token").code, ERR_INVALID);
    assert_int_equal(switched(fake, C, 0, "").code, ERR_NOT_FOUND);
    order.path = "/nowhere";
    releases_switch(fake->releases, &order, on_done, &reply);
    assert_int_equal(reply.code, ERR_NOT_FOUND);
    order = order_of(fake, NULL, NULL);
    releases_confirm(fake->releases, &order, on_done, &reply);
    assert_int_equal(reply.code, ERR_INVALID);
    assert_int_equal(releases_state(fake->releases, "/nowhere", &state_json, &err), ERR_NOT_FOUND);
    fresh_start_runs(fake, "");
    assert_int_equal(fake->replaced, 0);
}

static void current_that_is_a_folder_is_refused(void **state)
{
    struct fake *fake = *state;
    char path[256];

    start(fake, RELEASES_START_FRESH, BOOT_1);
    snprintf(path, sizeof path, "%s/current", fake->set);
    assert_int_equal(mkdir(path, 0755), 0);
    struct reply reply = switched(fake, A, 0, "");
    assert_int_equal(reply.code, ERR_STATE);
    assert_non_null(strstr(reply.text, "mv "));
    assert_int_equal(fake->replaced, 0);
    fresh_start_runs(fake, "");
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(switched(fake, A, 0, "").result, RELEASE_RESULT_SWITCHED);
}

static void links_are_repaired_and_never_believed(void **state)
{
    struct fake *fake = *state;
    char path[256];

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    everything_died(fake);
    snprintf(path, sizeof path, "%s/current", fake->set);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/etc", path), 0);
    start(fake, RELEASES_START_FRESH, BOOT_1);
    fresh_start_runs(fake, A);
    assert_link(fake, "current", A);
}

static void a_set_that_never_had_a_release_is_left_alone(void **state)
{
    struct fake *fake = *state;
    char path[256], target[64] = "";

    snprintf(path, sizeof path, "%s/current", fake->set);
    assert_int_equal(symlink("releases/by-another-tool", path), 0);
    start(fake, RELEASES_START_FRESH, BOOT_1);
    fresh_start_runs(fake, "");
    assert_true(readlink(path, target, sizeof target - 1) > 0);
    assert_string_equal(target, "releases/by-another-tool");
}

/* Switches from A to `id` and kills the core after `steps` words of the keeper. */
static void crash_after(struct fake *fake, const char *id, int64_t lease_ms, int steps)
{
    struct releases_order order = order_of(fake, id, "5:x");
    struct reply reply = { .count = 0 };

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    order.confirm_within_ms = lease_ms;
    releases_switch(fake->releases, &order, on_done, &reply);
    for (int i = 0; i < steps; i++)
        pump_one(fake);
    releases_free(fake->releases);
    fake->releases = NULL;
    assert_int_equal(reply.count, 1);
    if (reply.result == RELEASE_RESULT_NONE)
        assert_int_equal(reply.code, ERR_UNREACHABLE);
}

static void clean(struct fake *fake)
{
    everything_died(fake);
    remove_folder(fake->state);
}

static void a_new_core_goes_on_from_any_step(void **state)
{
    struct fake *fake = *state;

    for (int steps = 0; steps < 8; steps++) {
        crash_after(fake, B, 0, steps);
        start(fake, RELEASES_START_ADOPTING, BOOT_1);
        struct reply reply = switched(fake, B, 0, "5:x"); /* the asker comes back */
        assert_int_equal(reply.result, RELEASE_RESULT_SWITCHED);
        assert_all_run(fake, B);
        assert_link(fake, "current", B);
        clean(fake);

        crash_after(fake, BAD, 0, steps);
        start(fake, RELEASES_START_ADOPTING, BOOT_1);
        reply = switched(fake, BAD, 0, "5:x");
        assert_int_equal(reply.result, RELEASE_RESULT_REVERTED);
        assert_all_run(fake, A);
        assert_link(fake, "current", A);
        clean(fake);
    }
}

static void a_new_core_keeps_the_lease(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, B, "5:x");
    struct reply reply = { .count = 0 };

    crash_after(fake, B, 60000, 3);
    start(fake, RELEASES_START_ADOPTING, BOOT_1);
    pump(fake);
    assert_true(fake->faster[WEB]);
    struct reply now = switched(fake, B, 60000, "5:x");
    assert_false(now.confirmed);
    assert_in_range(now.deadline_ms, 50000, 60000);
    order.confirm_within_ms = 30;
    releases_extend(fake->releases, &order, on_done, &reply);
    stop(fake);
    start(fake, RELEASES_START_ADOPTING, BOOT_1);
    run_until(fake, NULL, "release.reverted");
    assert_all_run(fake, A);
}

static void a_restart_of_all_undoes_what_was_not_seen_ready(void **state)
{
    struct fake *fake = *state;

    for (int steps = 0; steps < 3; steps++) {
        crash_after(fake, B, 0, steps);
        everything_died(fake);
        start(fake, RELEASES_START_FRESH, BOOT_1);
        fresh_start_runs(fake, A);
        struct reply reply = switched(fake, B, 0, "5:x");
        assert_int_equal(reply.result, RELEASE_RESULT_REVERTED);
        assert_non_null(strstr(reply.reason, "restarted"));
        assert_link(fake, "current", A);
        clean(fake);
    }
    /* All ready and the lease still running: it holds. */
    crash_after(fake, B, 60000, 3);
    everything_died(fake);
    start(fake, RELEASES_START_FRESH, BOOT_1);
    fresh_start_runs(fake, B);
    assert_false(switched(fake, B, 60000, "5:x").confirmed);
}

static void a_reboot_undoes_what_was_not_confirmed(void **state)
{
    struct fake *fake = *state;

    crash_after(fake, B, 60000, 3);
    everything_died(fake);
    start(fake, RELEASES_START_FRESH, BOOT_2);
    fresh_start_runs(fake, A);
    assert_link(fake, "current", A);
    struct reply reply = switched(fake, B, 60000, "5:x");
    assert_int_equal(reply.result, RELEASE_RESULT_REVERTED);
    assert_non_null(strstr(reply.reason, "rebooted"));
    clean(fake);
    /* What was confirmed stays. */
    crash_after(fake, B, 0, 3);
    everything_died(fake);
    start(fake, RELEASES_START_FRESH, BOOT_2);
    fresh_start_runs(fake, B);
}

static void pin_path(const struct fake *fake, const char *suffix, char path[PATH_MAX])
{
    char name[PIN_NAME_MAX];

    pin_name(fake->set, name);
    snprintf(path, PATH_MAX, "%s/%s%s", fake->state, name, suffix);
}

static void damage(const struct fake *fake, const char *suffix)
{
    char path[PATH_MAX];

    pin_path(fake, suffix, path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "#", 1, 150), 1);
    close(fd);
}

static void a_damaged_pin_is_read_from_its_copy(void **state)
{
    struct fake *fake = *state;

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    everything_died(fake);
    damage(fake, "");
    fake->events[0] = '\0';
    start(fake, RELEASES_START_FRESH, BOOT_1);
    fresh_start_runs(fake, A);
    assert_non_null(strstr(fake->events, "release.pin_damaged"));
    everything_died(fake);
    damage(fake, ".copy"); /* the other one was mended meanwhile */
    start(fake, RELEASES_START_FRESH, BOOT_1);
    fresh_start_runs(fake, A);
}

static void a_pin_that_is_lost_starts_nothing_until_named(void **state)
{
    struct fake *fake = *state;
    struct err_list errors;

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    everything_died(fake);
    damage(fake, "");
    damage(fake, ".copy");
    err_list_init(&errors);
    start_with(fake, RELEASES_START_FRESH, BOOT_1, &errors);
    fresh_start_runs(fake, "");
    assert_int_equal(errors.count, 1);
    assert_non_null(strstr(errors.lines[0], "supervisor switch db RELEASE"));
    err_list_done(&errors);
    assert_non_null(releases_problem(fake->releases, WEB));
    assert_link(fake, "current", A); /* the last that people can see of it */
    /* What ran before is not known, so a bad one cannot be undone. */
    assert_int_equal(switched(fake, BAD, 0, "").result, RELEASE_RESULT_FAILED);
    assert_null(releases_problem(fake->releases, WEB));
    assert_int_equal(switched(fake, A, 0, "").result, RELEASE_RESULT_SWITCHED);
    assert_all_run(fake, A);
}

static void without_a_state_dir_pins_survive_the_core(void **state)
{
    struct fake *fake = *state;

    snprintf(fake->state, sizeof fake->state, "/proc/nowhere/state");
    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    struct reply reply = switched(fake, B, 60000, "5:x");
    assert_int_equal(reply.result, RELEASE_RESULT_SWITCHED);
    assert_non_null(strstr(reply.warning, "state_dir"));
    stop(fake);
    start(fake, RELEASES_START_ADOPTING, BOOT_1);
    pump(fake);
    assert_false(switched(fake, B, 60000, "5:x").confirmed);
    everything_died(fake);
    start(fake, RELEASES_START_FRESH, BOOT_1);
    fresh_start_runs(fake, "");
}

/* state_dir is a file now: nothing can be written there. */
static void break_state_dir(struct fake *fake)
{
    remove_folder(fake->state);
    int fd = open(fake->state, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void a_disk_that_fails_stops_orders_but_no_undo(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, B, "5:x");
    struct reply reply = { .count = 0 };

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    switched(fake, B, 60000, "5:x");
    break_state_dir(fake);
    releases_confirm(fake->releases, &order, on_done, &reply);
    assert_int_equal(reply.count, 1);
    assert_int_not_equal(reply.code, ERR_NONE);
    assert_non_null(strstr(reply.text, fake->set));
    assert_true(fake->faster[WEB]); /* still waiting to be confirmed */
    memset(&reply, 0, sizeof reply);
    releases_revert(fake->releases, &order, on_done, &reply);
    pump(fake);
    assert_int_equal(reply.count, 1);
    assert_int_equal(reply.result, RELEASE_RESULT_REVERTED);
    assert_all_run(fake, A);
    assert_non_null(strstr(fake->events, "release.unsaved"));
    stop(fake);
    start(fake, RELEASES_START_ADOPTING, BOOT_1); /* the guardian's store has the newest */
    assert_string_equal(switched(fake, B, 60000, "5:x").reason, "undone by order by a test");
}

static void a_state_dir_that_was_removed_is_made_again(void **state)
{
    struct fake *fake = *state;

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    remove_folder(fake->state);
    struct reply reply = switched(fake, B, 0, "");
    assert_int_equal(reply.result, RELEASE_RESULT_SWITCHED);
    assert_string_equal(reply.warning, "");
    everything_died(fake);
    start(fake, RELEASES_START_FRESH, BOOT_2);
    fresh_start_runs(fake, B);
}

static void root_must_be_spelt_out(void **state)
{
    struct fake *fake = *state;
    struct err_list errors;

    if (geteuid() != 0)
        skip();
    fake->services[WEB].user = NULL;
    err_list_init(&errors);
    start_with(fake, RELEASES_START_FRESH, BOOT_1, &errors);
    assert_int_equal(errors.count, 1);
    assert_non_null(strstr(errors.lines[0], "[service:web] user"));
    err_list_done(&errors);
    assert_non_null(releases_problem(fake->releases, WEB));
    assert_null(releases_problem(fake->releases, DB));
    assert_int_equal(switched(fake, A, 0, "").code, ERR_DENIED);
}

static void scaling_and_reloading_in_the_middle(void **state)
{
    struct fake *fake = *state;
    struct releases_order order = order_of(fake, B, "");
    struct reply reply = { .count = 0 };
    struct err err;

    fake->counts[WEB].instances = 1;
    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    releases_switch(fake->releases, &order, on_done, &reply);
    fake->counts[WEB].instances = 2;
    assert_int_equal(
        releases_configure(fake->releases, &fake->plan, fake->counts, RELEASES_RELOAD, NULL, &err),
        0);
    pump(fake);
    assert_int_equal(reply.count, 1);
    assert_all_run(fake, B);
    /* The set goes away while somebody waits for it. */
    memset(&reply, 0, sizeof reply);
    order.id = A;
    releases_switch(fake->releases, &order, on_done, &reply);
    fake->plan.nservices = 0;
    assert_int_equal(
        releases_configure(fake->releases, &fake->plan, fake->counts, RELEASES_RELOAD, NULL, &err),
        0);
    assert_int_equal(reply.count, 1);
    assert_int_equal(reply.code, ERR_STATE);
    assert_null(releases_path(fake->releases, WEB));
    fake->plan.nservices = NSERVICES;
}

static void the_state_is_told(void **state)
{
    struct fake *fake = *state;
    json_t *json = NULL;
    struct err err;

    start(fake, RELEASES_START_FRESH, BOOT_1);
    switched(fake, A, 0, "");
    switched(fake, B, 60000, "5:x");
    assert_int_equal(releases_state(fake->releases, fake->set, &json, &err), 0);
    assert_string_equal(jsonx_text(json, "pinned", ""), B);
    assert_string_equal(jsonx_text(json, "from", ""), A);
    assert_string_equal(jsonx_text(json, "token", ""), "5:x");
    assert_string_equal(jsonx_text(json, "phase", ""), "unconfirmed");
    assert_false(jsonx_bool(json, "confirmed", true));
    assert_true(jsonx_real(json, "deadline_s", 0) > 50);
    assert_int_equal(json_array_size(json_object_get(json, "good")), 1);
    json_decref(json);
}

static void a_pin_survives_its_text(void **state)
{
    struct pin pin = { .sequence = 7, .boot_id = BOOT_1 }, back;
    struct err err;

    (void)state;
    pin.release.phase = RELEASE_UNCONFIRMED;
    strcpy(pin.release.id, B);
    strcpy(pin.release.from, A);
    strcpy(pin.release.token, "5:x");
    pin.release.epoch = 5;
    pin.release.undoable = true;
    pin.release.lease_ms = 120000;
    pin.release.deadline_ms = 123456789;
    strcpy(pin.release.good[0], A);
    pin.release.ngood = 1;
    memset(pin.release.reason, 0xff, sizeof pin.release.reason - 1); /* no UTF-8 */
    AUTO_FREE char *text = pin_text("/srv/web", &pin);
    assert_int_equal(pin_parse(text, strlen(text), "/srv/web", &back, &err), 0);
    assert_int_equal(back.sequence, 7);
    assert_string_equal(back.release.from, A);
    assert_int_equal(back.release.deadline_ms, 123456789);
    assert_int_equal(pin_parse(text, strlen(text), "/srv/other", &back, &err), ERR_CORRUPT);
    for (size_t len = 0; len < strlen(text) - 1; len += 13)
        assert_int_equal(pin_parse(text, len, "/srv/web", &back, &err), ERR_CORRUPT);
    char *epoch = strstr(text, "\"epoch\":5");
    assert_non_null(epoch);
    epoch[8] = '6';
    assert_int_equal(pin_parse(text, strlen(text), "/srv/web", &back, &err), ERR_CORRUPT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_first_release_then_a_second),
        TEST(instances_follow_one_another_in_order),
        TEST(a_keeper_that_tells_at_once),
        TEST(a_bad_release_is_undone_at_once),
        TEST(a_release_that_is_never_ready_is_undone_in_time),
        TEST(told_to_stay_it_stays_and_says_failed),
        TEST(a_bad_first_release_leaves_nothing),
        TEST(both_who_ask_get_the_answer),
        TEST(a_late_command_is_fenced_off),
        TEST(a_lease_is_confirmed_or_runs_out),
        TEST(an_order_undoes),
        TEST(rollback_goes_to_what_was_good),
        TEST(nonsense_is_refused),
        TEST(current_that_is_a_folder_is_refused),
        TEST(links_are_repaired_and_never_believed),
        TEST(a_set_that_never_had_a_release_is_left_alone),
        TEST(a_new_core_goes_on_from_any_step),
        TEST(a_new_core_keeps_the_lease),
        TEST(a_restart_of_all_undoes_what_was_not_seen_ready),
        TEST(a_reboot_undoes_what_was_not_confirmed),
        TEST(a_damaged_pin_is_read_from_its_copy),
        TEST(a_pin_that_is_lost_starts_nothing_until_named),
        TEST(without_a_state_dir_pins_survive_the_core),
        TEST(a_disk_that_fails_stops_orders_but_no_undo),
        TEST(a_state_dir_that_was_removed_is_made_again),
        TEST(root_must_be_spelt_out),
        TEST(scaling_and_reloading_in_the_middle),
        TEST(the_state_is_told),
        cmocka_unit_test(a_pin_survives_its_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
