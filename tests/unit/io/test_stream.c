/* test_stream.c - bytes in, bytes out, and the limits on both. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/stream.h"

enum { MAX_IN = 64, MAX_OUT = 1024 * 1024, DEADLINE_MS = 10 * 1000 };

struct fixture {
    struct loop *loop;
    struct loop_timer *guard, *step;
    struct stream *stream;
    int peer;
    struct buf seen; /* all that was consumed */
    char reason[128];
    int drains, closes;
    bool consume, free_on_data, pause_on_data, late;
    size_t to_drain; /* what the peer reads, step by step */
};

static void on_data(void *context, struct buf *in)
{
    struct fixture *f = context;
    if (f->consume) {
        buf_put(&f->seen, in->data, in->len);
        buf_consume(in, in->len);
        if (memchr(f->seen.data, '!', f->seen.len))
            loop_stop(f->loop);
    }
    if (f->pause_on_data) {
        stream_pause(f->stream, true);
        loop_stop(f->loop);
    }
    if (f->free_on_data) {
        stream_free(f->stream);
        f->stream = NULL;
        assert_true(in->len > 0); /* still there until we return */
        loop_stop(f->loop);
    }
}

static void on_drain(void *context)
{
    struct fixture *f = context;
    f->drains++;
    loop_stop(f->loop);
}

static void on_close(void *context, const char *reason)
{
    struct fixture *f = context;
    f->closes++;
    strncpy(f->reason, reason, sizeof(f->reason) - 1);
    assert_int_equal(stream_fd(f->stream), -1);
    assert_false(stream_write(f->stream, "x", 1));
    stream_free(f->stream);
    f->stream = NULL;
    loop_stop(f->loop);
}

static const struct stream_events events = { on_data, on_drain, on_close };

static void on_guard(void *context)
{
    struct fixture *f = context;
    f->late = true;
    loop_stop(f->loop);
}

/* Reads as the peer, until nothing is left. */
static size_t peer_read(struct fixture *f)
{
    static char bytes[MAX_OUT];
    size_t len = 0;
    ssize_t got;
    while ((got = recv(f->peer, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
        len += (size_t)got;
    return len;
}

static void on_step(void *context)
{
    struct fixture *f = context;
    f->to_drain -= peer_read(f);
    if (f->to_drain > 0)
        loop_timer_arm(f->step, 0);
}

static int set_up(void **state)
{
    static struct fixture f;
    int pair[2];
    memset(&f, 0, sizeof(f));
    buf_init(&f.seen, MAX_OUT);
    f.consume = true;
    f.loop = loop_new(NULL);
    f.guard = loop_timer_new(f.loop, on_guard, &f);
    f.step = loop_timer_new(f.loop, on_step, &f);
    loop_timer_arm(f.guard, DEADLINE_MS);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return -1;
    f.peer = pair[1];
    f.stream = stream_new(f.loop, pair[0], pair[0], MAX_IN, MAX_OUT, &events, &f, NULL);
    *state = &f;
    return f.stream ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    stream_free(f->stream);
    loop_timer_free(f->guard);
    loop_timer_free(f->step);
    loop_free(f->loop);
    buf_done(&f->seen);
    if (f->peer >= 0)
        close(f->peer);
    return f->late ? -1 : 0;
}

static void run(struct fixture *f)
{
    loop_run(f->loop, NULL, NULL);
    assert_false(f->late);
}

static void close_peer(struct fixture *f)
{
    close(f->peer);
    f->peer = -1;
}

static void bytes_arrive_then_the_end(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(write(f->peer, "hello", 5), 5);
    close_peer(f);
    run(f);
    assert_string_equal(buf_text(&f->seen), "hello");
    assert_string_equal(f->reason, "end of file");
    assert_int_equal(f->closes, 1);
}

static void full_input_that_nobody_uses_closes(void **state)
{
    struct fixture *f = *state;
    char bytes[MAX_IN] = { 'x' };
    f->consume = false;
    assert_int_equal(write(f->peer, bytes, MAX_IN), MAX_IN);
    run(f);
    assert_string_equal(f->reason, "limit");
    assert_int_equal(read(f->peer, bytes, 1), 0); /* the descriptor is closed too */
}

static void owner_may_free_the_stream_from_its_callback(void **state)
{
    struct fixture *f = *state;
    f->consume = false;
    f->free_on_data = true;
    assert_int_equal(write(f->peer, "x", 1), 1);
    run(f);
    assert_int_equal(f->closes, 0);
}

static void pause_holds_and_going_on_delivers_what_was_left(void **state)
{
    struct fixture *f = *state;
    char bytes[MAX_IN];
    memset(bytes, '.', sizeof(bytes));
    f->consume = false;
    f->pause_on_data = true;
    assert_int_equal(write(f->peer, bytes, MAX_IN), MAX_IN);
    assert_int_equal(write(f->peer, "more!", 5), 5);
    run(f); /* full, but paused: no reason to close */
    assert_int_equal(f->closes, 0);
    f->consume = true;
    f->pause_on_data = false;
    stream_pause(f->stream, false);
    run(f);
    assert_int_equal(f->seen.len, MAX_IN + 5);
}

static void going_on_delivers_what_was_left_though_nothing_follows(void **state)
{
    struct fixture *f = *state;
    f->consume = false;
    f->pause_on_data = true;
    assert_int_equal(write(f->peer, "last!", 5), 5);
    run(f);
    f->consume = true;
    f->pause_on_data = false;
    stream_pause(f->stream, false);
    run(f);
    assert_string_equal(buf_text(&f->seen), "last!");
}

static void slow_reader_gets_everything_and_then_we_hear(void **state)
{
    struct fixture *f = *state;
    static char bytes[MAX_OUT];
    size_t total = 0;
    while (total <= MAX_OUT - sizeof(bytes) / 8) {
        assert_true(stream_write(f->stream, bytes, sizeof(bytes) / 8));
        total += sizeof(bytes) / 8;
    }
    assert_true(stream_queued(f->stream) > 0);
    f->to_drain = total;
    loop_timer_arm(f->step, 0);
    run(f);
    assert_int_equal(f->drains, 1);
    assert_int_equal(stream_queued(f->stream), 0);
    f->to_drain -= peer_read(f);
    assert_int_equal(f->to_drain, 0);
}

static void order_is_kept_when_the_queue_is_moved(void **state)
{
    struct fixture *f = *state;
    static unsigned char bytes[MAX_OUT], got[MAX_OUT];
    size_t sent = 0, seen = 0;
    /* Up to the limit again and again, while the peer takes uneven pieces. */
    for (int i = 0; i < 40; i++) {
        size_t room = MAX_OUT - stream_queued(f->stream);
        for (size_t j = 0; j < room; j++)
            bytes[j] = (unsigned char)((sent + j) * 2654435761u >> 24);
        assert_true(stream_write(f->stream, bytes, room));
        sent += room;
        ssize_t len = recv(f->peer, got, 77777, MSG_DONTWAIT);
        for (ssize_t j = 0; j < len; j++, seen++)
            assert_int_equal(got[j], (unsigned char)(seen * 2654435761u >> 24));
        loop_timer_arm(f->guard, 1);
        loop_run(f->loop, NULL, NULL); /* a millisecond for the queue to move on */
        f->late = false;
    }
    assert_true(seen > 0);
    loop_timer_arm(f->guard, DEADLINE_MS);
}

static void write_beyond_the_limit_writes_nothing(void **state)
{
    struct fixture *f = *state;
    static char bytes[MAX_OUT + 1];
    assert_false(stream_write(f->stream, bytes, sizeof(bytes)));
    assert_int_equal(stream_queued(f->stream), 0);
    assert_int_equal(peer_read(f), 0);
    assert_true(stream_write(f->stream, "ok", 2));
    assert_int_equal(peer_read(f), 2);
}

static void last_words_of_the_peer_are_read_after_a_failed_write(void **state)
{
    struct fixture *f = *state;
    char words[MAX_IN * 8]; /* more than is read in one turn */
    memset(words, '.', sizeof(words));
    assert_int_equal(write(f->peer, words, sizeof(words)), sizeof(words));
    close_peer(f);
    assert_true(stream_write(f->stream, "x", 1)); /* fails, but is told later */
    assert_int_equal(f->closes, 0);
    run(f);
    assert_int_equal(f->seen.len, sizeof(words));
    assert_int_equal(f->closes, 1);
}

static void finish_writes_what_is_queued(void **state)
{
    struct fixture *f = *state;
    static char bytes[MAX_OUT];
    assert_true(stream_write(f->stream, bytes, sizeof(bytes)));
    stream_finish(f->stream, DEADLINE_MS);
    assert_false(stream_write(f->stream, "x", 1));
    f->to_drain = sizeof(bytes);
    loop_timer_arm(f->step, 0);
    run(f);
    assert_int_equal(f->closes, 1);
    assert_string_equal(f->reason, "end of file");
    f->to_drain -= peer_read(f);
    assert_int_equal(f->to_drain, 0);
}

static void finish_ends_at_the_deadline(void **state)
{
    struct fixture *f = *state;
    static char bytes[MAX_OUT];
    assert_true(stream_write(f->stream, bytes, sizeof(bytes)));
    stream_finish(f->stream, 5);
    run(f);
    assert_string_equal(f->reason, strerror(ETIMEDOUT));
}

static void finish_with_nothing_queued_is_told_a_turn_later(void **state)
{
    struct fixture *f = *state;
    stream_finish(f->stream, DEADLINE_MS);
    assert_int_equal(f->closes, 0);
    run(f);
    assert_int_equal(f->closes, 1);
}

static void two_pipes_make_one_stream(void **state)
{
    struct fixture *f = *state;
    static char bytes[MAX_OUT];
    int in[2], out[2];
    stream_free(f->stream);
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    f->stream = stream_new(f->loop, in[0], out[1], MAX_IN, MAX_OUT, &events, f, NULL);
    assert_true(stream_write(f->stream, "out", 3));
    assert_int_equal(read(out[0], bytes, sizeof(bytes)), 3);
    assert_int_equal(write(in[1], "in!", 3), 3);
    run(f);
    assert_string_equal(buf_text(&f->seen), "in!");
    assert_true(stream_write(f->stream, bytes, sizeof(bytes))); /* the pipe is full now */
    close(out[0]);
    run(f);
    assert_string_equal(f->reason, strerror(EPIPE));
    assert_int_equal(write(in[1], "x", 1), -1); /* both are closed */
    close(in[1]);
}

static void failure_to_make_one_closes_the_descriptors(void **state)
{
    struct fixture *f = *state;
    struct err err;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_null(stream_new(f->loop, fd, -1, MAX_IN, MAX_OUT, &events, f, &err));
    assert_int_equal(err.sys, EPERM);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(bytes_arrive_then_the_end),
        TEST(full_input_that_nobody_uses_closes),
        TEST(owner_may_free_the_stream_from_its_callback),
        TEST(pause_holds_and_going_on_delivers_what_was_left),
        TEST(going_on_delivers_what_was_left_though_nothing_follows),
        TEST(slow_reader_gets_everything_and_then_we_hear),
        TEST(order_is_kept_when_the_queue_is_moved),
        TEST(write_beyond_the_limit_writes_nothing),
        TEST(last_words_of_the_peer_are_read_after_a_failed_write),
        TEST(finish_writes_what_is_queued),
        TEST(finish_ends_at_the_deadline),
        TEST(finish_with_nothing_queued_is_told_a_turn_later),
        TEST(two_pipes_make_one_stream),
        TEST(failure_to_make_one_closes_the_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
