/* test_probe.c - servers of every kind, in the same loop as the probe that asks them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "supervisor/health/probe.h"

enum { DEADLINE_MS = 10000, RESULTS_MAX = 16, CONNECTIONS_MAX = 16, HUGE_BYTES = 300000 };

enum manner {
    ANSWERS,      /* sends the text, then closes when the request is complete */
    BYTE_BY_BYTE, /* one a turn */
    HANGS,        /* accepts, reads, says nothing */
    CLOSES,       /* at once */
    RESETS,       /* after the request came */
    STALLS_US,    /* answers while this thread is kept busy beyond the time-out */
    SENDS_BODY,   /* a large one, and watches how the other side leaves */
    NEVER_CLOSES, /* answers, keeps the connection open */
};

struct connection {
    struct rig *rig;
    int fd;
    struct loop_watch *watch;
    struct loop_timer *timer;
    size_t sent;
    char request[1024];
    size_t got;
    bool gone;
    int end; /* errno of the last read, 0 = orderly */
};

struct rig {
    struct loop *loop;
    struct loop_timer *deadline, *soon;
    struct loop_watch *watch;
    int listener;
    enum manner manner;
    const char *text;
    size_t text_len;
    struct connection connections[CONNECTIONS_MAX];
    size_t nconnections;

    struct instance_check check;
    struct spec_check timing;
    struct probe *probe;
    struct probe_result results[RESULTS_MAX];
    int64_t at_ms[RESULTS_MAX];
    size_t count, want;
    bool free_inside, patient_inside, stop_at_end;

    int exec_rc;
    struct err exec_err;
    size_t started, killed, token, killed_token;
    bool gone;
    const char *unstarted;
    bool end_soon, end_signalled, end_on_kill;
    int end_status;
};

/* --- the server --- */

static void drop(struct connection *connection)
{
    loop_watch_free(connection->watch);
    loop_timer_free(connection->timer);
    connection->watch = NULL;
    connection->timer = NULL;
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
    connection->gone = true;
}

static void send_byte(void *context)
{
    struct connection *connection = context;
    const struct rig *rig = connection->rig;

    if (connection->sent == rig->text_len ||
        send(connection->fd, rig->text + connection->sent, 1, MSG_NOSIGNAL) != 1) {
        drop(connection);
        return;
    }
    connection->sent++;
    loop_timer_arm(connection->timer, 0);
}

static void stall(int64_t ms)
{
    for (int64_t until = clock_mono_ms() + ms; clock_mono_ms() < until;)
        continue;
}

static void send_body(struct connection *connection)
{
    static char body[HUGE_BYTES];
    int size = HUGE_BYTES * 2;

    setsockopt(connection->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    assert_true(
        send(connection->fd, connection->rig->text, connection->rig->text_len, MSG_NOSIGNAL) > 0);
    send(connection->fd, body, sizeof body, MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(connection->fd, SHUT_WR);
}

static void answer(struct connection *connection)
{
    struct rig *rig = connection->rig;

    switch (rig->manner) {
    case ANSWERS:
    case NEVER_CLOSES:
    case STALLS_US:
        assert_int_equal(send(connection->fd, rig->text, rig->text_len, MSG_NOSIGNAL),
                         rig->text_len);
        if (rig->manner == STALLS_US)
            stall(rig->timing.timeout_ms + 20);
        if (rig->manner == ANSWERS)
            drop(connection);
        break;
    case BYTE_BY_BYTE:
        loop_timer_arm(connection->timer, 0);
        break;
    case RESETS:
        setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 },
                   sizeof(struct linger));
        drop(connection);
        break;
    case SENDS_BODY:
        send_body(connection);
        break;
    case HANGS:
    case CLOSES:
        break;
    }
}

static void on_request(void *context, unsigned events)
{
    struct connection *connection = context;
    ssize_t n = read(connection->fd, connection->request + connection->got,
                     sizeof connection->request - connection->got - 1);

    (void)events;
    if (n <= 0) {
        connection->end = n < 0 ? errno : 0;
        drop(connection);
        if (connection->rig->stop_at_end)
            loop_stop(connection->rig->loop);
        return;
    }
    connection->got += (size_t)n;
    if (strstr(connection->request, "\r\n\r\n"))
        answer(connection);
}

static void on_connection(void *context, unsigned events)
{
    struct rig *rig = context;
    struct connection *connection = &rig->connections[rig->nconnections];

    (void)events;
    int fd = accept4(rig->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    assert_true(rig->nconnections < CONNECTIONS_MAX);
    rig->nconnections++;
    *connection = (struct connection){ .rig = rig, .fd = fd, .end = -1 };
    if (rig->manner == CLOSES) {
        drop(connection);
        return;
    }
    connection->timer = loop_timer_new(rig->loop, send_byte, connection);
    connection->watch = loop_watch_new(rig->loop, fd, on_request, connection, NULL);
    loop_watch_set(connection->watch, LOOP_READ);
}

static void serve(struct rig *rig, enum manner manner, const char *text)
{
    rig->manner = manner;
    rig->text = text;
    rig->text_len = text ? strlen(text) : 0;
}

static void listen_tcp(struct rig *rig)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;

    rig->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(rig->listener, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(rig->listener, 16), 0);
    assert_int_equal(getsockname(rig->listener, (struct sockaddr *)&at, &len), 0);
    memcpy(&rig->check.addr.at, &at, len);
    rig->check.addr.len = len;
    rig->watch = loop_watch_new(rig->loop, rig->listener, on_connection, rig, NULL);
    loop_watch_set(rig->watch, LOOP_READ);
}

static void stop_listening(struct rig *rig)
{
    loop_watch_free(rig->watch);
    rig->watch = NULL;
    if (rig->listener >= 0)
        close(rig->listener);
    rig->listener = -1;
}

/* --- the other side --- */

static void too_late(void *context)
{
    (void)context;
    fail_msg("nothing came in time");
}

static void on_done(void *context, const struct probe_result *result)
{
    struct rig *rig = context;

    assert_true(rig->count < RESULTS_MAX);
    rig->at_ms[rig->count] = clock_mono_ms();
    rig->results[rig->count++] = *result;
    if (rig->patient_inside)
        probe_set_eager(rig->probe, false);
    if (rig->free_inside) {
        probe_free(rig->probe);
        rig->probe = NULL;
    }
    if (rig->count >= rig->want)
        loop_stop(rig->loop);
}

static void end_exec(void *context)
{
    struct rig *rig = context;

    probe_exec_ended(rig->probe, rig->token + 1, NULL, false, 0); /* somebody else's */
    probe_exec_ended(rig->probe, rig->token, rig->unstarted, rig->end_signalled, rig->end_status);
}

static int on_exec_start(void *context, char *const *argv, size_t *ret_token, struct err *err)
{
    struct rig *rig = context;

    assert_string_equal(argv[0], "check");
    rig->started++;
    if (rig->exec_rc != 0) {
        *err = rig->exec_err;
        return rig->exec_rc;
    }
    *ret_token = ++rig->token;
    if (rig->end_soon)
        loop_timer_arm(rig->soon, 0);
    return 0;
}

static void on_exec_kill(void *context, size_t token, bool gone)
{
    struct rig *rig = context;

    assert_int_equal(token, rig->token);
    rig->killed += token != rig->killed_token; /* again, when it is freed meanwhile */
    rig->killed_token = token;
    rig->gone = gone;
    if (rig->end_on_kill)
        loop_timer_arm(rig->soon, 0);
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    struct err err = { 0 };

    rig->loop = loop_new(&err);
    rig->deadline = loop_timer_new(rig->loop, too_late, NULL);
    rig->soon = loop_timer_new(rig->loop, end_exec, rig);
    loop_timer_arm(rig->deadline, DEADLINE_MS);
    rig->listener = -1;
    rig->want = 1;
    rig->check = (struct instance_check){ .kind = SPEC_CHECK_HTTP,
                                          .path = "/health?x=1",
                                          .authority = "example.net:8080" };
    rig->timing = (struct spec_check){ .target = "test", .interval_ms = 10, .timeout_ms = 2000 };
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;

    probe_free(rig->probe);
    for (size_t i = 0; i < rig->nconnections; i++)
        if (!rig->connections[i].gone)
            drop(&rig->connections[i]);
    stop_listening(rig);
    loop_timer_free(rig->soon);
    loop_timer_free(rig->deadline);
    loop_free(rig->loop);
    free(rig);
    return 0;
}

static void begin(struct rig *rig, bool eager)
{
    const struct probe_hands hands = {
        .context = rig, .done = on_done, .exec_start = on_exec_start, .exec_kill = on_exec_kill
    };
    struct err err = { 0 };

    rig->probe = probe_new(rig->loop, &rig->check, &rig->timing, &hands, 0, eager, &err);
    if (!rig->probe)
        fail_msg("%s", err.text);
}

static const struct probe_result *ask(struct rig *rig)
{
    rig->count = 0;
    probe_free(rig->probe);
    begin(rig, true);
    loop_run(rig->loop, NULL, NULL);
    return &rig->results[0];
}

static void expect(struct rig *rig, bool ok, const char *beginning)
{
    const struct probe_result *result = ask(rig);

    if (result->ok != ok || strncmp(result->text, beginning, strlen(beginning)) != 0)
        fail_msg("%s: %s", result->ok ? "ok" : "bad", result->text);
}

/* --- http --- */

static void answers_are_judged(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        const char *said;
    } rows[] = {
        { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true, "200 in " },
        { "HTTP/1.0 204 No Content\r\n\r\n", true, "204 in " },
        { "HTTP/1.1 200\n\n", true, "200 in " },
        { "HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n", true, "301 in " },
        { "HTTP/1.1 399 x\r\n\r\n", true, "399 in " },
        { "HTTP/1.1 400 Bad Request\r\n\r\n", false, "400 Bad Request" },
        { "HTTP/1.1 503 Service Unavailable\r\n\r\n", false, "503 Service Unavailable" },
        { "HTTP/1.1 500\r\n\r\n", false, "500" },
        { "HTTP/1.1 500 a\033[2Jb\r\n\r\n", false, "500 a?[2Jb" },
        { "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", true, "200 in " },
        { "HTTP/1.1 100 Continue\n\nHTTP/1.1 502 Bad Gateway\n\n", false, "502 Bad Gateway" },
        { "HTTP/1.1 103 Early Hints\r\n\r\n", false, "closed before answering" },
        { "HTTP/2 200\r\n\r\n", false, "not an HTTP answer: \"HTTP/2 200\"" },
        { "SSH-2.0-OpenSSH_9.2\r\n", false, "not an HTTP answer: \"SSH-2.0-OpenSSH_9.2\"" },
        { "\001\002\003", false, "not an HTTP answer: \"???\"" },
        { "HTTP/1.1 2000 OK\r\n\r\n", false, "not an HTTP answer" },
        { "HTTP/1.1 20", false, "closed in the middle of its answer" },
    };
    struct rig *rig = *state;

    listen_tcp(rig);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rig->nconnections = 0;
        for (int slow = 0; slow < 2; slow++) {
            serve(rig, slow ? BYTE_BY_BYTE : ANSWERS, rows[i].text);
            /* What is no HTTP is known from the first byte, and only that is told. */
            bool alien = strncmp(rows[i].said, "not an HTTP", 11) == 0;
            expect(rig, rows[i].ok, slow && alien ? "not an HTTP answer" : rows[i].said);
            if (slow)
                while (!rig->connections[rig->nconnections - 1].gone)
                    drop(&rig->connections[rig->nconnections - 1]);
        }
    }
}

static void the_request_is_plain(void **state)
{
    struct rig *rig = *state;

    listen_tcp(rig);
    serve(rig, ANSWERS, "HTTP/1.1 200 OK\r\n\r\n");
    expect(rig, true, "200");
    assert_string_equal(rig->connections[0].request,
                        "GET /health?x=1 HTTP/1.1\r\nHost: example.net:8080\r\n"
                        "User-Agent: supervisor-probe\r\nConnection: close\r\n\r\n");
    rig->check.path = "/a\r\nX: y";
    assert_null(
        probe_new(rig->loop, &rig->check, &rig->timing, &(struct probe_hands){ 0 }, 0, true, NULL));
}

static void bad_servers(void **state)
{
    struct rig *rig = *state;
    static char endless[20000];

    listen_tcp(rig);
    serve(rig, CLOSES, NULL);
    expect(rig, false, "c"); /* "closed before answering", or "connection reset by peer" */
    serve(rig, RESETS, NULL);
    expect(rig, false, "connection reset by peer");
    memset(endless, 'x', sizeof endless - 1);
    memcpy(endless, "HTTP/1.1 200 ", 13);
    serve(rig, ANSWERS, endless);
    expect(rig, false, "over 8192 bytes without an end of the status line");
    rig->timing.timeout_ms = 30;
    serve(rig, HANGS, NULL);
    expect(rig, false, "no answer within 30ms");
    serve(rig, NEVER_CLOSES, "HTTP/1.1 20");
    expect(rig, false, "only part of an answer within 30ms");
    stop_listening(rig);
    expect(rig, false, "connection refused");
}

static void huge_headers_are_not_waited_for(void **state)
{
    struct rig *rig = *state;
    static char huge[100000] = "HTTP/1.1 200 OK\r\nX: ";

    memset(huge + 20, 'x', sizeof huge - 21);
    listen_tcp(rig);
    serve(rig, NEVER_CLOSES, huge);
    expect(rig, true, "200 in ");
}

/* Reset connections fill the logs of servers. */
static void a_server_sees_an_orderly_end(void **state)
{
    struct rig *rig = *state;

    listen_tcp(rig);
    rig->timing.interval_ms = 60000;
    rig->want = 100;
    rig->stop_at_end = true;
    serve(rig, SENDS_BODY, "HTTP/1.1 200 OK\r\n\r\n");
    ask(rig);
    assert_int_equal(rig->count, 1);
    assert_int_equal(rig->connections[0].end, 0);
    /* One that never closes is not waited for long. */
    rig->timing.timeout_ms = 50;
    serve(rig, NEVER_CLOSES, "HTTP/1.1 200 OK\r\n\r\n");
    ask(rig);
    assert_int_equal(rig->connections[1].end, 0);
    rig->check.kind = SPEC_CHECK_TCP;
    ask(rig);
    assert_true(rig->results[0].ok);
    assert_int_equal(rig->connections[2].end, 0);
}

static void an_answer_that_came_while_we_did_not_run_counts(void **state)
{
    struct rig *rig = *state;

    listen_tcp(rig);
    rig->timing.timeout_ms = 30;
    serve(rig, STALLS_US, "HTTP/1.1 200 OK\r\n\r\n");
    expect(rig, true, "200 in ");
}

/* --- tcp, unix, names --- */

static void tcp(void **state)
{
    struct rig *rig = *state;

    rig->check.kind = SPEC_CHECK_TCP;
    listen_tcp(rig);
    serve(rig, HANGS, NULL);
    expect(rig, true, "connected in ");
    stop_listening(rig);
    expect(rig, false, "connection refused");
}

static void unix_sockets(void **state)
{
    struct rig *rig = *state;
    struct sockaddr_un *at = (struct sockaddr_un *)&rig->check.addr.at;
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    rig->check.kind = SPEC_CHECK_UNIX;
    at->sun_family = AF_UNIX;
    snprintf(at->sun_path, sizeof at->sun_path, "/tmp/test_probe.%d", (int)getpid());
    rig->check.addr.len = sizeof *at;
    unlink(at->sun_path);
    expect(rig, false, "no such file or directory");
    assert_int_equal(bind(listener, (struct sockaddr *)at, sizeof *at), 0);
    expect(rig, false, "connection refused");
    assert_int_equal(listen(listener, 0), 0);
    expect(rig, true, "connected in ");
    expect(rig, false, "its queue of connections is full");
    unlink(at->sun_path);
    close(listener);
}

static void names_are_looked_up(void **state)
{
    struct rig *rig = *state;
    char port[16], longest[80];
    struct addrinfo *known = NULL;

    if (getaddrinfo("localhost", NULL, NULL, &known) != 0) {
        print_message("SKIPPED: this machine does not know localhost (no /etc/hosts)\n");
        skip();
    }
    freeaddrinfo(known);
    listen_tcp(rig);
    serve(rig, ANSWERS, "HTTP/1.1 200 OK\r\n\r\n");
    snprintf(port, sizeof port, "%d", ntohs(((struct sockaddr_in *)&rig->check.addr.at)->sin_port));
    rig->check.addr.len = 0;
    rig->check.host = "localhost"; /* perhaps ::1 first, where nobody listens */
    rig->check.port = port;
    rig->want = 3;
    expect(rig, true, "200 in ");
    assert_true(rig->results[2].ok);
    rig->want = 1;
    memset(longest, 'x', sizeof longest - 1); /* more than a label may have: never sent out */
    longest[sizeof longest - 1] = '\0';
    rig->check.host = longest;
    rig->timing.timeout_ms = DEADLINE_MS;
    expect(rig, false, "cannot look up xxxxxxxx");
    /* Freed while a thread is looking. */
    probe_free(rig->probe);
    begin(rig, true);
    probe_free(rig->probe);
    rig->probe = NULL;
}

/* --- exec --- */

static void exec_checks(void **state)
{
    struct rig *rig = *state;
    char *argv[] = { (char *)"check", NULL };

    rig->check = (struct instance_check){ .kind = SPEC_CHECK_EXEC, .argv = argv };
    rig->end_soon = true;
    expect(rig, true, "exited with code 0 in ");
    rig->end_status = 3;
    expect(rig, false, "exited with code 3");
    rig->end_signalled = true;
    rig->end_status = SIGSEGV;
    expect(rig, false, "killed by SIGSEGV");
    rig->end_signalled = false;
    rig->end_status = 127;
    rig->unstarted = "setting the user id: Operation not permitted";
    expect(rig, false, "could not be started: setting the user id: Operation not permitted");
    rig->unstarted = NULL;
    assert_int_equal(rig->killed, 0);
    rig->exec_rc = ERR_NOT_FOUND;
    err_set(&rig->exec_err, ERR_NOT_FOUND, "no such program");
    expect(rig, false, "cannot be started: no such program");
}

static void an_exec_that_hangs_is_killed(void **state)
{
    struct rig *rig = *state;
    char *argv[] = { (char *)"check", NULL };

    rig->check = (struct instance_check){ .kind = SPEC_CHECK_EXEC, .argv = argv };
    rig->timing.timeout_ms = 20;
    expect(rig, false, "still running after 20ms, killed");
    assert_int_equal(rig->killed, 1);
    assert_false(rig->gone); /* its end is waited for */
    /* It does not go: no second one is started beside it. */
    rig->want = 2;
    loop_run(rig->loop, NULL, NULL);
    assert_string_equal(rig->results[1].text, "the run before was killed and has not ended yet");
    assert_int_equal(rig->started, 1);
    probe_exec_ended(rig->probe, rig->token, NULL, true, SIGKILL);
    assert_int_equal(rig->count, 2);
    rig->want = 3;
    loop_run(rig->loop, NULL, NULL);
    assert_int_equal(rig->started, 2);
    assert_int_equal(rig->killed, 2);
    probe_free(rig->probe);
    rig->probe = NULL;
    assert_int_equal(rig->killed, 2);
    assert_true(rig->gone);
}

static void a_running_exec_dies_with_its_probe(void **state)
{
    struct rig *rig = *state;
    char *argv[] = { (char *)"check", NULL };

    rig->check = (struct instance_check){ .kind = SPEC_CHECK_EXEC, .argv = argv };
    rig->free_inside = true;
    rig->timing.timeout_ms = 10;
    expect(rig, false, "still running after 10ms, killed");
    assert_int_equal(rig->killed, 1);
    rig->free_inside = false;
    rig->timing.timeout_ms = 60000;
    assert_null(rig->probe);
    begin(rig, true);
    loop_timer_free(rig->soon);
    rig->soon = loop_timer_new(rig->loop, (void (*)(void *))loop_stop, rig->loop);
    rig->end_soon = true; /* stops the loop as soon as it runs */
    loop_run(rig->loop, NULL, NULL);
    assert_int_equal(rig->started, 2);
    probe_free(rig->probe);
    rig->probe = NULL;
    assert_int_equal(rig->killed, 2);
    assert_true(rig->gone);
}

/* --- when --- */

static void eager_attempts_spread_out(void **state)
{
    struct rig *rig = *state;
    int64_t begun = clock_mono_ms();

    listen_tcp(rig);
    stop_listening(rig);
    rig->timing.interval_ms = 60000;
    rig->want = 4;
    ask(rig);
    assert_true(rig->at_ms[0] - begun < 5000); /* 4 of them within less than one interval */
    for (int i = 1; i < 4; i++)
        assert_true(rig->at_ms[i] - rig->at_ms[i - 1] >= (PROBE_EAGER_MS << (i - 1)) - 2);
}

static void patience_comes_with_success(void **state)
{
    struct rig *rig = *state;

    listen_tcp(rig);
    serve(rig, ANSWERS, "HTTP/1.1 200 OK\r\n\r\n");
    rig->timing.interval_ms = 400; /* on a busy machine the first answer is seen late */
    rig->patient_inside = true;
    rig->want = 2;
    ask(rig);
    assert_true(rig->at_ms[1] - rig->at_ms[0] >= 150);
    /* A release is watched: 4 s become 400 ms. */
    rig->timing.interval_ms = 4000;
    rig->want = 1;
    ask(rig);
    probe_set_faster(rig->probe, true);
    rig->want = 2;
    loop_run(rig->loop, NULL, NULL);
    assert_true(rig->at_ms[1] - rig->at_ms[0] >= 150);
    assert_true(rig->at_ms[1] - rig->at_ms[0] < 1500);
}

static void a_delay_is_waited_for(void **state)
{
    struct rig *rig = *state;
    int64_t begun = clock_mono_ms();

    listen_tcp(rig);
    serve(rig, ANSWERS, "HTTP/1.1 200 OK\r\n\r\n");
    rig->timing.delay_ms = 60;
    expect(rig, true, "200");
    assert_true(rig->at_ms[0] - begun >= 58);
    /* Changing the pace does not shorten it. */
    begun = clock_mono_ms();
    rig->count = 0;
    probe_free(rig->probe);
    begin(rig, false);
    probe_set_faster(rig->probe, true);
    probe_set_eager(rig->probe, true);
    loop_run(rig->loop, NULL, NULL);
    assert_true(rig->at_ms[0] - begun >= 58);
}

static void it_may_be_freed_inside(void **state)
{
    struct rig *rig = *state;

    listen_tcp(rig);
    rig->free_inside = true;
    serve(rig, ANSWERS, "HTTP/1.1 200 OK\r\n\r\n");
    expect(rig, true, "200");
    serve(rig, BYTE_BY_BYTE, "HTTP/1.1 500 No\r\n\r\n");
    expect(rig, false, "500");
    rig->timing.timeout_ms = 10;
    serve(rig, HANGS, NULL);
    expect(rig, false, "no answer");
    rig->check.kind = SPEC_CHECK_TCP;
    expect(rig, true, "connected");
    stop_listening(rig);
    expect(rig, false, "connection refused");
}

static struct rlimit before_limit;
static int told_warnings;

static void lift_limit(void *context)
{
    (void)context;
    setrlimit(RLIMIT_NOFILE, &before_limit);
    told_warnings++;
}

/* That we have no descriptor says nothing about the service. */
static void our_own_want_is_no_result(void **state)
{
    struct rig *rig = *state;
    struct loop_timer *lift = loop_timer_new(rig->loop, lift_limit, rig);

    listen_tcp(rig);
    serve(rig, ANSWERS, "HTTP/1.1 200 OK\r\n\r\n");
    getrlimit(RLIMIT_NOFILE, &before_limit);
    begin(rig, true);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 3, before_limit.rlim_max });
    loop_timer_arm(lift, 60);
    loop_run(rig->loop, NULL, NULL);
    assert_int_equal(told_warnings, 1); /* no result came before */
    assert_true(rig->results[0].ok);
    loop_timer_free(lift);
}

/* --- pure --- */

static void status_lines(void **unused)
{
    static const struct {
        const char *text;
        int rc, code;
    } rows[] = {
        { "HTTP/1.1 200 OK\r\n", 1, 200 }, { "HTTP/1.0 399", 1, 399 },
        { "HTTP/1.1 400\n", 0, 400 },      { "HTTP/1.1 199 x", 0, 199 },
        { "HTTP/1.1 999 x", 0, 999 },      { "HTTP/1.1 100", 0, 100 },
        { "HTTP/1.1 099 x", -1, -5 },      { "HTTP/1.1 20", -1, -5 },
        { "HTTP/1.1  200", -1, -5 },       { "HTTP/1.x 200", -1, -5 },
        { "http/1.1 200", -1, -5 },        { "", -1, -5 },
        { "HTTP/1.1 200x", -1, -5 },       { "HTTP/1.1 2x0", -1, -5 },
        { "HTTP/1.11 200", -1, -5 },
    };

    (void)unused;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int code = -5;
        assert_int_equal(probe_http_status(rows[i].text, strlen(rows[i].text), &code), rows[i].rc);
        assert_int_equal(code, rows[i].code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_are_judged, setup, teardown),
        cmocka_unit_test_setup_teardown(the_request_is_plain, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_servers, setup, teardown),
        cmocka_unit_test_setup_teardown(huge_headers_are_not_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(a_server_sees_an_orderly_end, setup, teardown),
        cmocka_unit_test_setup_teardown(an_answer_that_came_while_we_did_not_run_counts, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(tcp, setup, teardown),
        cmocka_unit_test_setup_teardown(unix_sockets, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_looked_up, setup, teardown),
        cmocka_unit_test_setup_teardown(exec_checks, setup, teardown),
        cmocka_unit_test_setup_teardown(an_exec_that_hangs_is_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_running_exec_dies_with_its_probe, setup, teardown),
        cmocka_unit_test_setup_teardown(eager_attempts_spread_out, setup, teardown),
        cmocka_unit_test_setup_teardown(patience_comes_with_success, setup, teardown),
        cmocka_unit_test_setup_teardown(a_delay_is_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(it_may_be_freed_inside, setup, teardown),
        cmocka_unit_test_setup_teardown(our_own_want_is_no_result, setup, teardown),
        cmocka_unit_test(status_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
