/* releases_fake.h - a keeper that only pretends, a real loop and a real folder, for release sets.
 *
 * The fake keeper notes what each instance was told to run and tells how that went when it is asked
 * to (pump).  A release is good, bad (its instances exit) or silent (never ready), by its id.
 */
#ifndef TESTS_RELEASES_FAKE_H
#define TESTS_RELEASES_FAKE_H

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
#include "base/buf.h"
#include "io/durable.h"
#include "io/jsonx.h"
#include "io/loop.h"
#include "supervisor/release/pin.h"
#include "supervisor/release/releases.h"

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

static inline void tell(struct fake *fake, const struct told *told)
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

static inline void push(struct fake *fake, size_t service, size_t instance, const char *id)
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

static inline void on_replace(void *context, size_t service, size_t instance, const char *id)
{
    struct fake *fake = context;

    fake->replaced++;
    snprintf(fake->running[service][instance].id, RELEASE_ID_MAX, "%s", id);
    fake->running[service][instance].ready = false;
    push(fake, service, instance, id);
}

static inline void on_stop_all(void *context, size_t service) { push(context, service, 0, ""); }

static inline void on_faster(void *context, size_t service, bool on)
{
    struct fake *fake = context;

    fake->faster[service] = on;
}

static inline void on_event(void *context, const char *kind, json_t *details)
{
    struct fake *fake = context;
    size_t len = strlen(fake->events);

    assert_non_null(json_object_get(details, "path"));
    snprintf(fake->events + len, sizeof fake->events - len, "%s ", kind);
    json_decref(details);
}

static inline int on_remember(void *context, const char *name, const char *text)
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

static inline void on_done(void *context, const struct releases_answer *answer,
                           const struct err *err)
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
static inline bool pump_one(struct fake *fake)
{
    if (fake->head == fake->tail)
        return false;
    struct told told = fake->queue[fake->head++ % QUEUE];
    tell(fake, &told);
    return true;
}

static inline void pump(struct fake *fake)
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

static inline void on_turn(void *context)
{
    struct wait *wait = context;

    pump(wait->fake);
    if ((wait->reply && wait->reply->count) ||
        (wait->event && strstr(wait->fake->events, wait->event)))
        loop_stop(wait->fake->loop);
}

static inline void on_late(void *context)
{
    struct wait *wait = context;

    wait->late = true;
    loop_stop(wait->fake->loop);
}

/* Lets time pass until an answer is there, or an event. */
static inline void run_until(struct fake *fake, const struct reply *reply, const char *event)
{
    struct wait wait = { .fake = fake, .reply = reply, .event = event };
    struct loop_timer *timer = loop_timer_new(fake->loop, on_late, &wait);

    loop_timer_arm(timer, PATIENCE_MS);
    loop_run(fake->loop, on_turn, &wait);
    loop_timer_free(timer);
    assert_false(wait.late);
}

static inline void make_release(const struct fake *fake, const char *id)
{
    char path[256];

    snprintf(path, sizeof path, "%s/releases/%s", fake->set, id);
    assert_int_equal(mkdir(path, 0755), 0);
}

static inline void make_plan(struct fake *fake)
{
    static const char *const names[] = { [DB] = "db", [WEB] = "web" };
    static const struct spec_settings settings = { .ready_timeout_ms = 10000 };

    for (size_t i = 0; i < NSERVICES; i++) {
        fake->services[i] = (struct spec_service){
            .name = names[i],
            .release = fake->set,
            .user = "root",
            .set = &settings,
        };
        fake->counts[i] =
            (struct releases_service){ .instances = i == WEB ? 2 : 1, .owner = geteuid() };
    }
    fake->plan.services = fake->services;
    fake->plan.nservices = NSERVICES;
    fake->plan.supervisor.state_dir = fake->state;
}

/* A core starts; what the one before left running is told. */
static inline void start_with(struct fake *fake, enum releases_start start, const char *boot,
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

static inline void start(struct fake *fake, enum releases_start how, const char *boot)
{
    start_with(fake, how, boot, NULL);
}

static inline void stop(struct fake *fake)
{
    releases_free(fake->releases);
    fake->releases = NULL;
}

/* The whole supervisor is gone, and with it its instances and what it remembered. */
static inline void everything_died(struct fake *fake)
{
    stop(fake);
    memset(fake->running, 0, sizeof fake->running);
    free(fake->kept);
    fake->kept = NULL;
}

static inline void fresh_start_runs(struct fake *fake, const char *id)
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

static inline void assert_all_run(const struct fake *fake, const char *id)
{
    assert_string_equal(fake->running[DB][0].id, id);
    assert_string_equal(fake->running[WEB][0].id, id);
    assert_string_equal(fake->running[WEB][1].id, id);
}

static inline void assert_link(const struct fake *fake, const char *name, const char *id)
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

static inline struct releases_order order_of(const struct fake *fake, const char *id,
                                             const char *token)
{
    return (struct releases_order){
        .path = fake->set, .id = id, .token = token, .who = "a test", .ready_timeout_ms = 5000
    };
}

static inline struct reply switched(struct fake *fake, const char *id, int64_t lease_ms,
                                    const char *token)
{
    struct releases_order order = order_of(fake, id, token);
    struct reply reply = { .count = 0 };

    order.confirm_within_ms = lease_ms;
    releases_switch(fake->releases, &order, on_done, &reply);
    pump(fake);
    assert_int_equal(reply.count, 1);
    return reply;
}

static inline int set_up(void **state)
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

static inline void remove_folder(const char *path)
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

static inline int tear_down(void **state)
{
    struct fake *fake = *state;

    stop(fake);
    loop_free(fake->loop);
    remove_folder(fake->dir);
    free(fake->kept);
    free(fake);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
