/* An answer of `reload` as JSON, and the words that people get. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "supervisor/cli/reload_view.h"

/* \' stands for ". */
static void words(const char *json, size_t width, const char *expected)
{
    char text[8192];
    json_error_t error;
    struct buf out;

    snprintf(text, sizeof text, "%s", json);
    for (char *at = text; *at; at++)
        *at = *at == '\'' ? '"' : *at;
    json_t *answer = json_loads(text, 0, &error);
    if (!answer)
        fail_msg("%s at %d in %s", error.text, error.position, text);
    buf_init(&out, 65536);
    reload_view(answer, width, false, &out);
    assert_string_equal(buf_text(&out), expected);
    buf_done(&out);
    json_decref(answer);
}

#define SERVICE(name, change, of, changes, instances)                                              \
    "{'service': '" name "', 'change': '" change "', 'of': " of ", 'changes': [" changes           \
    "], 'instances': [" instances "]}"
#define SAME                 SERVICE("same", "same", "1", "", "")
#define ONE(id, fate, state) "{'id': '" id "', 'fate': '" fate "', 'state': '" state "'}"
#define ENDS(id, fate, because)                                                                    \
    "{'id': '" id "', 'fate': '" fate                                                              \
    "', 'state': 'running', 'interrupts': true, 'because': [" because "]}"
#define COMMAND "{'key': 'command', 'takes': 'restart', 'old': 'a', 'new': 'b'}"
#define WAIT    "{'key': 'stopwaitsecs', 'takes': 'live', 'old': '10s', 'new': '3s'}"

static void nothing(void **state)
{
    (void)state;
    words("{'services': [" SAME "], 'applied': false}", 80, "nothing has changed (1 service)\n");
    words("{'services': []}", 80, "nothing has changed (0 services)\n");
}

static void who_is_interrupted_comes_first(void **state)
{
    (void)state;
    words(
        "{'applied': false, 'services': [" SERVICE("api", "live", "1", WAIT, ONE("api:0", "live", "running")) "," SERVICE(
            "old", "removed", "0", "",
            ENDS("old:0", "stops",
                 "")) "," SERVICE("web", "restart", "3", WAIT "," COMMAND,
                                  ENDS("web:0", "restarts", "'command'") "," ENDS(
                                      "web:1", "restarts",
                                      "'command'") "," ONE("web:2", "later",
                                                           "stopped") "," ENDS("web:3", "stops",
                                                                               "")) "," SAME "]}",
        80,
        "would be interrupted:\n"
        "  old  is stopped and removed\n"
        "  web  restarts (2 of 3 instances); stops web:3; applies when they are started: web:2\n"
        "    command: a -> b\n"
        "    stopwaitsecs: 10s -> 3s\n"
        "would not be interrupted:\n"
        "  api  changes while it runs\n"
        "    stopwaitsecs: 10s -> 3s\n"
        "1 service unchanged\n");
}

static void every_fate_has_its_words(void **state)
{
    (void)state;
    words(
        "{'applied': true, 'services': [" SERVICE(
            "a", "added", "2", "",
            ONE("a:0", "starts", "") "," ONE(
                "a:1",
                "starts", "")) "," SERVICE("b", "added", "1", "",
                                           ONE("b:0", "added",
                                               "")) "," SERVICE("c", "removed", "0", "",
                                                                ONE("c:0", "removed",
                                                                    "stopped")) "," SERVICE("d", "live", "3", "", ONE("d:2", "starts", "")) "," SERVICE("e", "restart", "1", COMMAND, ONE("e:0", "restarts", "running")) "," SERVICE("f", "restart", "1", COMMAND, ONE("f:0", "restarts", "backoff")) "," SERVICE("g",
                                                                                                                                                                                                                                                                                                                  "restart", "1", COMMAND, ONE("g:0", "left", "running")) "," SERVICE("h",
                                                                                                                                                                                                                                                                                                                                                                                      "restart",
                                                                                                                                                                                                                                                                                                                                                                                      "1",
                                                                                                                                                                                                                                                                                                                                                                                      COMMAND,
                                                                                                                                                                                                                                                                                                                                                                                      ONE("h:0", "later", "stopped")) "," SERVICE("i",
                                                                                                                                                                                                                                                                                                                                                                                                                                  "live",
                                                                                                                                                                                                                                                                                                                                                                                                                                  "1",
                                                                                                                                                                                                                                                                                                                                                                                                                                  WAIT,
                                                                                                                                                                                                                                                                                                                                                                                                                                  ONE("i:0", "later", "waiting")) "," SERVICE("j",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                              "same",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                              "3",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                              "",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                              "{'id': 'j:0', 'fate': 'signalled', 'signal': 'HUP', 'state': 'running',"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                              " 'because': ['contents of reload_files']}") "], 'supervisor_changes': [{'key': 'socket', 'takes': 'restart', 'old': null, 'new': '/s'}],"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                           " 'sockets': ['x', 'y'], 'access': ['ops']}",
        80,
        "not interrupted:\n"
        "  a  is new, and starts (2 instances)\n"
        "  b  is new, and is not started\n"
        "  c  is removed (it did not run)\n"
        "  d  starts d:2\n"
        "  e  is replaced, the new one first\n"
        "    command: a -> b\n"
        "  f  is started again (backoff)\n"
        "    command: a -> b\n"
        "  g  goes on with what it was started with\n"
        "    command: a -> b\n"
        "  h  is stopped: applies at its next start\n"
        "    command: a -> b\n"
        "  i  is waiting: applies at once\n"
        "    stopwaitsecs: 10s -> 3s\n"
        "  j  is sent HUP (1 of 3 instances)\n"
        "    what its reload_files say has changed\n"
        "[supervisor]\n"
        "    socket: (none) -> /s (when the supervisor starts again)\n"
        "sockets that change: x, y\n"
        "rights that change: ops\n"
        "0 services unchanged\n");
}

static void a_scheduled_one_has_runs(void **state)
{
    (void)state;
    words("{'applied': true, 'services': [" SERVICE(
              "job", "live", "1", "{'key': 'schedule', 'takes': 'live', 'new': '@daily'}",
              ONE("job:0", "later", "scheduled")) "]}",
          80,
          "not interrupted:\n"
          "  job  is scheduled: applies from its next run on\n"
          "    schedule: (none) -> @daily\n"
          "0 services unchanged\n");
}

static void values_are_cut_where_lines_end(void **state)
{
    (void)state;
    words("{'applied': false, 'services': [" SERVICE(
              "w", "restart", "1",
              "{'key': 'command', 'takes': 'restart', 'old': 'short', 'new':"
              " 'one that is longer than the line\\nand another'},"
              "{'key': 'environment', 'takes': 'restart', 'variables': 'A -B +C'},"
              "{'key': 'directory', 'takes': 'restart', 'old': '%(here)s', 'new': '%(here)s'}",
              ENDS("w:0", "restarts", "'settings of before an earlier reload'")) "]}",
          30,
          "would be interrupted:\n"
          "  w  restarts\n"
          "    command: short\n"
          "      -> one that is longer...\n"
          "    environment: A -B +C\n"
          "    directory: what it is f...\n"
          "    runs with settings of b...\n"
          "0 services unchanged\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing),
        cmocka_unit_test(who_is_interrupted_comes_first),
        cmocka_unit_test(every_fate_has_its_words),
        cmocka_unit_test(a_scheduled_one_has_runs),
        cmocka_unit_test(values_are_cut_where_lines_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
