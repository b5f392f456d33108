/* transport_main.c - opens one transport, says hello, prints what happens; for tests.
 *
 * transport_main local SOCKET PATH | ssh HOST PATH REMOTE [OPTION...]; as its own agent:
 * transport_main agent PATH [--socket SOCKET].
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deployctl/agent/agent.h"
#include "deployctl/wire/children.h"
#include "deployctl/wire/transport.h"

struct test {
    struct loop *loop;
    struct transport *transport;
    unsigned frames;
};

static void say(struct test *test, const char *text)
{
    if (!transport_send(test->transport, FRAME_CONTROL, text, strlen(text)))
        printf("queue full\n");
}

static void on_open(void *context)
{
    printf("open\n");
    say(context, "{\"hello\":{\"lowest\":1,\"highest\":1}}");
    say(context, "{\"n\":1,\"do\":\"ping\"}");
}

static void on_frame(void *context, const struct frame *frame)
{
    struct test *test = context;
    printf("frame %.*s\n", (int)frame->len, frame->payload);
    if (++test->frames < 2) /* hello, then the answer to ping */
        return;
    transport_free(test->transport);
    test->transport = NULL;
    loop_stop(test->loop);
}

static void on_close(void *context, const struct err *err)
{
    struct test *test = context;
    printf("close %s: %s\n", err_code_name(err->code), err->text);
    loop_stop(test->loop);
}

static int run(struct test *test, struct transport_target *target)
{
    static const struct transport_events events = { on_open, on_frame, NULL, on_close };
    struct err err;
    test->loop = loop_new(&err);
    struct children *children = test->loop == NULL ? NULL : children_new(test->loop, &err);
    if (children == NULL)
        return 3;
    target->children = children;
    test->transport = transport_open(test->loop, target, &events, test, &err);
    if (test->transport == NULL)
        printf("refused %s: %s\n", err_code_name(err.code), err.text);
    else
        loop_run(test->loop, NULL, NULL);
    transport_free(test->transport);
    children_free(children);
    loop_free(test->loop);
    return 0;
}

int main(int argc, char **argv)
{
    struct test test = { 0 };
    if (argc >= 3 && strcmp(argv[1], "agent") == 0)
        return agent_run(argv[2], argc >= 5 ? argv[4] : NULL);
    if (argc < 4)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    bool local = strcmp(argv[1], "local") == 0;
    const char *wait = getenv("TEST_TIMEOUT_MS");
    struct transport_target target = {
        .host = local ? "here" : argv[2],
        .local = local,
        .local_socket = local ? argv[2] : NULL,
        .address = local ? NULL : argv[2],
        .ssh_options = argc > 5 ? (const char *const *)argv + 5 : NULL,
        .connect_timeout_ms = wait != NULL ? atoi(wait) : 10000,
        .remote_path = local || argc < 5 ? NULL : argv[4],
        .path = argv[3],
    };
    return run(&test, &target);
}
