/* The pipe of an output, wherever a core was killed while it was made or let go of: what a process
 * writes to is read by the logger.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "supervisor/core/core.h"
#include "supervisor/core/outputs.h"
#include "tests/unit/supervisor/plan/plan_fixture.h"

#define SERVICE "[service:a]\ncommand = sleep 1\n"

/* A core, and the other ends: what the guardian keeps, and what the logger has from it. */
struct rig {
    struct core core;
    struct store guardian;
    int channel, streams;
    int logger; /* the pipe that the logger was given last, -1 = none */
    struct plan *plan;
};

static int setup(void **state)
{
    static struct rig rig;
    struct err err = { 0 };
    int ends[2];

    memset(&rig, 0, sizeof rig);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    rig.core.channel = ends[0];
    rig.channel = ends[1];
    rig.core.poke_logger = rig.logger = -1;
    store_init(&rig.core.store);
    store_init(&rig.guardian);
    assert_int_equal(streams_create(&rig.streams, &err), 0);
    rig.core.streams = streams_map(rig.streams, &err);
    rig.plan = fixture_plan(SERVICE, NULL);
    assert_true(rig.core.streams && rig.plan);
    *state = &rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;

    plan_free(rig->plan);
    streams_unmap(rig->core.streams);
    store_done(&rig->core.store);
    store_done(&rig->guardian);
    close(rig->core.channel);
    close(rig->channel);
    close(rig->streams);
    return 0;
}

/* The guardian reads so many messages, all that there are for -1, and hands read ends on. */
static void guardian_reads(struct rig *rig, int count)
{
    struct store_message message;
    struct err err = { 0 };

    while (count-- != 0 && store_receive(rig->channel, &message, &err) == 1) {
        if (message.op == STORE_DROP)
            store_drop(&rig->guardian, message.name);
        if (message.op != STORE_PUT)
            continue;
        assert_int_equal(store_put(&rig->guardian, message.name, message.fd, &err), 0);
        if (strcmp(message.name, "log.0.r") == 0)
            rig->logger = store_get(&rig->guardian, message.name);
    }
}

/* Only `count` of the core's messages were sent when it was killed: the next core has what the
 * guardian has. */
static void core_killed_after(struct rig *rig, int count)
{
    struct store_message message;
    struct err err = { 0 };

    guardian_reads(rig, count);
    while (store_receive(rig->channel, &message, &err) == 1)
        if (message.fd >= 0)
            close(message.fd);
    store_done(&rig->core.store);
    store_init(&rig->core.store);
    for (size_t i = 0; i < rig->guardian.count; i++) {
        int fd = dup(rig->guardian.entries[i].fd);
        assert_true(fd >= 0);
        assert_int_equal(store_put(&rig->core.store, rig->guardian.entries[i].name, fd, &err), 0);
    }
}

/* The output of a process of this instance that is started now. */
static int opened(struct rig *rig, const char *name)
{
    struct instance instance = { .service = &rig->plan->services[0],
                                 .stdout_log = "/some/file",
                                 .stderr_log = "stdout" };
    struct err err = { 0 };
    int out = -1, errors = -1;

    snprintf(instance.name, sizeof instance.name, "%s", name);
    assert_int_equal(outputs_open(&rig->core, &instance, false, &out, &errors, &err), 0);
    assert_int_equal(out, errors);
    return out;
}

static void expect_read(struct rig *rig, int out)
{
    char text[8] = "";

    guardian_reads(rig, -1);
    assert_true(out >= 0 && rig->logger >= 0);
    assert_int_equal(write(out, "line", 4), 4); /* or SIGPIPE */
    assert_int_equal(read(rig->logger, text, sizeof text), 4);
    assert_string_equal(text, "line");
}

static void a_core_is_killed_while_it_makes_the_pipe(void **state)
{
    for (int sent = 0; sent <= 2; sent++) {
        struct rig *rig = *state;

        opened(rig, "a:0");
        core_killed_after(rig, sent);
        expect_read(rig, opened(rig, "a:0"));
        teardown(state);
        setup(state);
    }
}

/* It lets go of one pipe, and makes another one of the same number. */
static void a_core_is_killed_while_a_pipe_follows_another(void **state)
{
    for (int sent = 0; sent <= 4; sent++) {
        struct rig *rig = *state;

        opened(rig, "a:0");
        guardian_reads(rig, -1);
        outputs_close(&rig->core, "a:0");
        streams_release(rig->core.streams, 0); /* as the logger does, which closes its end */
        rig->logger = -1;
        opened(rig, "b:0");
        core_killed_after(rig, sent);
        if (sent == 0) /* the slot was not claimed yet when nothing was sent */
            streams_release(rig->core.streams, 0);
        expect_read(rig, opened(rig, "b:0"));
        teardown(state);
        setup(state);
    }
}

/* The guardian knows the old write end and the new read end: its dropping was not told. */
static void ends_of_two_pipes_are_not_taken_for_one(void **state)
{
    struct rig *rig = *state;
    struct err err = { 0 };

    opened(rig, "a:0");
    guardian_reads(rig, -1);
    int old = dup(store_get(&rig->guardian, "log.0.w"));
    store_drop(&rig->core.store, "log.0.w");
    opened(rig, "a:0");
    guardian_reads(rig, -1);
    assert_int_equal(store_put(&rig->guardian, "log.0.w", old, &err), 0);
    core_killed_after(rig, 0);
    expect_read(rig, opened(rig, "a:0"));
}

static void a_whole_pipe_is_used_again(void **state)
{
    struct rig *rig = *state;

    int first = opened(rig, "a:0");
    expect_read(rig, first);
    assert_int_equal(opened(rig, "a:0"), first);
    rig->logger = -1;
    guardian_reads(rig, -1);
    assert_int_equal(rig->logger, -1);
    core_killed_after(rig, 0);
    rig->logger = store_get(&rig->guardian, "log.0.r");
    expect_read(rig, opened(rig, "a:0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_core_is_killed_while_it_makes_the_pipe, setup, teardown),
        cmocka_unit_test_setup_teardown(a_core_is_killed_while_a_pipe_follows_another, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(ends_of_two_pipes_are_not_taken_for_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_whole_pipe_is_used_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
