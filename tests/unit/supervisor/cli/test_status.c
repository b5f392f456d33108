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
#include "supervisor/cli/story.h"
#include "base/when.h"
#include "supervisor/core/status.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_well),
        cmocka_unit_test(notes),
        cmocka_unit_test(the_whole_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
