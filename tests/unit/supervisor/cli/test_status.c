/* What status says of an instance, its exit code, and the story of why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/jsonx.h"
#include "supervisor/cli/status.h"
#include "supervisor/cli/story.h"
#include "supervisor/cli/when.h"

static json_t *parse(const char *text)
{
    struct err err = { 0 };
    json_t *value = jsonx_parse(text, strlen(text), &err);

    if (!value)
        fail_msg("%s", err.text);
    return value;
}

static void what_is_well(void **state)
{
    static const struct {
        const char *row;
        bool well;
    } rows[] = {
        { "{\"state\":\"running\",\"ready\":true,\"wanted\":true}", true },
        { "{\"state\":\"running\",\"ready\":false,\"wanted\":true}", false },
        { "{\"state\":\"starting\",\"ready\":false,\"wanted\":true}", false },
        { "{\"state\":\"waiting\",\"wanted\":true}", false },
        { "{\"state\":\"backoff\",\"wanted\":true}", false },
        { "{\"state\":\"failed\",\"wanted\":false}", false },
        { "{\"state\":\"stopped\",\"wanted\":false}", true },
        { "{\"state\":\"stopped\",\"wanted\":true}", false },
        { "{\"state\":\"exited\",\"expected\":true}", true },
        { "{\"state\":\"exited\",\"expected\":false}", false },
        { "{}", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *row = parse(rows[i].row);
        assert_int_equal(status_well(row), rows[i].well);
        json_decref(row);
    }
}

static void notes(void **state)
{
    static const struct {
        const char *row, *note;
    } rows[] = {
        { "{\"state\":\"running\",\"ready\":true,\"reason\":\"old\"}", "" },
        { "{\"state\":\"running\",\"ready\":true,\"status\":\"42 clients\"}", "42 clients" },
        { "{\"state\":\"running\",\"ready\":false,\"reason\":\"not ready: refused\"}",
          "not ready: refused" },
        { "{\"state\":\"running\",\"ready\":true,\"twin_pid\":7}", "is being replaced" },
        { "{\"state\":\"waiting\",\"waiting_for\":\"db:0 (starting)\"}",
          "waits for db:0 (starting)" },
        { "{\"state\":\"backoff\",\"reason\":\"exited with code 3\",\"next_retry_s\":12.75}",
          "exited with code 3; next try in 12s" },
        { "{\"state\":\"backoff\",\"reason\":\"x\",\"next_retry_s\":-0.1}", "x; next try in 0s" },
        { "{\"state\":\"failed\",\"detail\":\"failed\",\"reason\":\"exited with code 1\"}",
          "exited with code 1" },
        { "{\"state\":\"stopping\",\"detail\":\"cleaning\",\"reason\":\"2 processes left behind\"}",
          "cleaning: 2 processes left behind" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *row = parse(rows[i].row);
        struct buf note;
        buf_init(&note, 1024);
        status_note(row, &note);
        assert_string_equal(buf_text(&note), rows[i].note);
        buf_done(&note);
        json_decref(row);
    }
}

static const char answer[] =
    "{\"supervisor\":{\"version\":\"9.9\",\"pid\":12,\"core_restarts\":1,\"uptime_s\":61.5,"
    "\"guarantees\":{\"output\":\"inherited: the log folder cannot be written\","
    "\"pins\":\"durable\"}},"
    "\"services\":[{\"name\":\"web\",\"instances\":[{\"id\":\"web:0\",\"state\":\"running\","
    "\"ready\":true,\"health\":\"unknown\",\"pid\":99,\"uptime_s\":3600.5,\"restarts\":0,"
    "\"release\":null}]}]}";

static void the_whole_of_it(void **state)
{
    json_t *status = parse(answer);
    struct buf out;

    (void)state;
    buf_init(&out, 64 * 1024);
    status_print(status, 80, false, &out);
    assert_string_equal(buf_text(&out),
                        "NAME   STATE    READY  PID  UPTIME\n"
                        "web:0  running  yes     99      1h\n"
                        "\n"
                        "supervisor 9.9, pid 12, up 1m 1s, core restarted 1 time\n"
                        "note: output is inherited: the log folder cannot be written\n");
    assert_true(status_all_well(status));
    buf_done(&out);
    json_decref(status);
}

static const char why_row[] =
    "{\"id\":\"bad:0\",\"service\":\"bad\",\"group\":\"g\",\"state\":\"backoff\","
    "\"detail\":\"backoff\",\"ready\":false,\"reason\":\"exited with code 3\","
    "\"next_retry_s\":1.5,\"restarts\":7,\"pid\":null,"
    "\"last_exit\":{\"code\":3,\"signal\":null,\"at\":\"2026-11-24T11:59:50.000000+00:00\","
    "\"uptime_s\":2.0},"
    "\"needs\":[{\"instance\":\"db:0\",\"state\":\"running\",\"ready\":true}],"
    "\"command\":\"/bin/bad\",\"file\":\"/etc/s.ini\",\"line\":4,"
    "\"log\":\"/l/bad.log\",\"output\":\"boom \\u001b[31m!\\n\"}";
static const char history[] =
    "[{\"seq\":1,\"at\":\"2026-11-24T11:00:10.000000+00:00\",\"event\":\"order\","
    "\"order\":\"restart\",\"names\":[\"g:*\"],\"uid\":0,\"pid\":5,\"command\":\"supervisor\"},"
    "{\"seq\":2,\"at\":\"2026-11-24T11:00:20.000000+00:00\",\"event\":\"order\","
    "\"order\":\"stop\",\"names\":[\"other\"],\"uid\":0,\"pid\":5,\"command\":\"supervisor\"},"
    "{\"seq\":3,\"at\":\"2026-11-24T11:30:00.000000+00:00\",\"event\":\"exit\","
    "\"instance\":\"bad:0\",\"signal\":\"SEGV\",\"core\":true,\"uptime_s\":60},"
    "{\"seq\":4,\"at\":\"2026-11-24T11:59:50.000000+00:00\",\"event\":\"exit\","
    "\"instance\":\"bad:0\",\"code\":3,\"uptime_s\":2.0},"
    "{\"seq\":5,\"at\":\"2026-11-24T11:59:50.000000+00:00\",\"event\":\"state\","
    "\"instance\":\"bad:0\",\"from\":\"cleaning\",\"to\":\"backoff\"},"
    "{\"seq\":6,\"at\":\"2026-11-24T11:59:55.000000+00:00\",\"event\":\"exit\","
    "\"instance\":\"other:0\",\"code\":0,\"uptime_s\":2.0}]";

static void the_story(void **state)
{
    json_t *why = parse(why_row), *events = parse(history);
    struct buf out;
    int64_t noon = 0;

    (void)state;
    setenv("TZ", "UTC", 1);
    tzset();
    assert_true(when_parse("2026-11-24T12:00:00Z", &noon));
    buf_init(&out, 64 * 1024);
    story_print(why, events, noon, false, &out);
    assert_string_equal(
        buf_text(&out),
        "bad:0 is down and will be tried again\n"
        "  reason        exited with code 3\n"
        "  since         11:59:50 (10s ago)\n"
        "  next try      in 1.5s; at once with: supervisor start bad:0\n"
        "  needs         db:0: running, ready\n"
        "  last exit     code 3 after 2s, 11:59:50 (10s ago)\n"
        "  restarts      7 in all; exits: 1 in the last minute, 2 in the last hour\n"
        "  command       /bin/bad\n"
        "  set in        /etc/s.ini:4\n"
        "\n"
        "  Orders:\n"
        "    11:00:10  restart by uid 0 (supervisor, pid 5)\n"
        "\n"
        "  Ends:\n"
        "    11:30:00  signal SEGV (core dumped) after 1m\n"
        "    11:59:50  code 3 after 2s\n"
        "\n"
        "  Last lines of standard output (/l/bad.log):\n"
        "    boom ?[31m!\n");
    buf_done(&out);
    json_decref(why);
    json_decref(events);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_well),
        cmocka_unit_test(notes),
        cmocka_unit_test(the_whole_of_it),
        cmocka_unit_test(the_story),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
