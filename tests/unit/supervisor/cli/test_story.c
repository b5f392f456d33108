/* What why tells. */
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

static const char down[] =
    "{\"id\":\"bad:0\",\"service\":\"bad\",\"group\":\"g\",\"state\":\"backoff\","
    "\"detail\":\"backoff\",\"ready\":false,\"reason\":\"exited with code 3\","
    "\"next_retry_s\":1.5,\"restarts\":7,\"pid\":null,"
    "\"last_exit\":{\"code\":3,\"signal\":null,\"at\":\"2026-11-24T11:59:50.000000+00:00\","
    "\"uptime_s\":2.0},"
    "\"needs\":[{\"instance\":\"db:0\",\"state\":\"running\",\"ready\":true}],\"waits_for\":[],"
    "\"command\":\"/bin/bad\",\"file\":\"/etc/s.ini\",\"line\":4,"
    "\"exits\":{\"minutes\":[1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,"
    "1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,9,12],"
    "\"hours\":[2,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,23]},"
    "\"events\":["
    "{\"seq\":9,\"at\":\"2026-11-24T11:59:50.000000+00:00\",\"event\":\"state\","
    "\"instance\":\"bad:0\",\"from\":\"cleaning\",\"to\":\"backoff\"},"
    "{\"seq\":8,\"at\":\"2026-11-24T11:59:50.000000+00:00\",\"event\":\"exit\","
    "\"instance\":\"bad:0\",\"code\":3,\"uptime_s\":2.0},"
    "{\"seq\":7,\"at\":\"2026-11-24T11:59:40.000000+00:00\",\"event\":\"state\","
    "\"instance\":\"bad:0\",\"from\":\"backoff\",\"to\":\"starting\"},"
    "{\"seq\":6,\"at\":\"2026-11-24T11:59:30.000000+00:00\",\"event\":\"exit\","
    "\"instance\":\"bad:0\",\"code\":3,\"uptime_s\":0.5},"
    "{\"seq\":5,\"at\":\"2026-11-24T11:59:20.000000+00:00\",\"event\":\"strange\","
    "\"instance\":\"bad:0\",\"number\":4,\"list\":[1]},"
    "{\"seq\":4,\"at\":\"2026-11-24T11:58:00.000000+00:00\",\"event\":\"exit\","
    "\"instance\":\"bad:0\",\"signal\":\"KILL\",\"oom\":true,\"uptime_s\":60,"
    "\"why\":\"live check failed\"},"
    "{\"seq\":3,\"at\":\"2026-11-24T11:30:00.000000+00:00\",\"event\":\"exit\","
    "\"instance\":\"bad:0\",\"signal\":\"SEGV\",\"core\":true,\"uptime_s\":60},"
    "{\"seq\":1,\"at\":\"2026-11-24T11:00:10.000000+00:00\",\"event\":\"order\","
    "\"order\":\"restart\",\"names\":[\"g:*\",\"x\"],\"uid\":0,\"pid\":5,"
    "\"command\":\"supervisor\"}],"
    "\"log_troubles\":[{\"output\":\"stdout\",\"error\":\"No space left on device\","
    "\"lost_bytes\":2048}],"
    "\"log\":\"/l/bad.log\","
    "\"output\":\"1\\n2\\n3\\n4\\n5\\n6\\n7\\n8\\nboom \\u001b[31m!\\n\"}";

static void expect(const char *row, const char *text)
{
    struct err err = { 0 };
    json_t *why = jsonx_parse(row, strlen(row), &err);
    int64_t noon = 0;
    struct buf out;

    assert_non_null(why);
    assert_true(when_parse("2026-11-24T12:00:00Z", &noon));
    buf_init(&out, 64 * 1024);
    story_print(why, noon, false, &out);
    assert_string_equal(buf_text(&out), text);
    buf_done(&out);
    json_decref(why);
}

static void why_it_is_down(void **state)
{
    (void)state;
    setenv("LC_ALL", "C", 1);
    expect(down, "bad:0 is down and will be tried again\n"
                 "  reason        exited with code 3\n"
                 "  since         11:59:50 (10s ago)\n"
                 "  next try      in 1.5s; at once with: supervisor start bad:0\n"
                 "  needs         db:0: running, ready\n"
                 "  last exit     code 3 after 2s, 11:59:50 (10s ago)\n"
                 "  restarts      7 in all; ends: 21 in 5 minutes, 23 in an hour, 25 in a day\n"
                 "  last hour     1..............1.............# now\n"
                 "  last day      2......................# now\n"
                 "  its log       stdout cannot be written: No space left on device; 2 KB of\n"
                 "                output were dropped\n"
                 "  command       /bin/bad\n"
                 "  set in        /etc/s.ini:4\n"
                 "\n"
                 "  What happened:\n"
                 "    11:00:10  restart g:* and others by root (supervisor, pid 5)\n"
                 "    11:30:00  ended after 1m: signal SEGV (core dumped)\n"
                 "    11:58:00  ended after 1m: signal KILL, killed by the kernel: out of memory;\n"
                 "              live check failed\n"
                 "    11:59:20  strange: number 4, list [1]\n"
                 "    11:59:30  ended after 500ms to 2s: code 3 (2 times, until 11:59:50)\n"
                 "\n"
                 "  Last lines of standard output (/l/bad.log):\n"
                 "    2\n    3\n    4\n    5\n    6\n    7\n    8\n"
                 "    boom ?[31m!\n");
}

static void it_is_drawn_where_that_can_be_shown(void **state)
{
    (void)state;
    setenv("LC_ALL", "en_US.UTF-8", 1);
    expect("{\"id\":\"a:0\",\"state\":\"stopped\",\"detail\":\"stopped\",\"restarts\":3,"
           "\"command\":\"/bin/a\",\"file\":\"/f\",\"line\":1,"
           "\"exits\":{\"minutes\":[0,4,8],\"hours\":[12]},\"events\":[]}",
           "a:0 is stopped\n"
           "  next try      none by itself; start it with: supervisor start a:0\n"
           "  restarts      3 in all; ends: 12 in 5 minutes, 12 in an hour, 12 in a day\n"
           "  last hour     \u2584\u2588 now\n"
           "  command       /bin/a\n"
           "  set in        /f:1\n");
}

static void whom_it_waits_for(void **state)
{
    (void)state;
    expect("{\"id\":\"web:0\",\"state\":\"waiting\",\"detail\":\"waiting\",\"restarts\":0,"
           "\"waiting_for\":\"api:0\",\"reason\":\"api:0\",\"needs\":[],"
           "\"waits_for\":[{\"id\":\"api:0\",\"state\":\"waiting\",\"waiting_for\":\"db:0\","
           "\"reason\":\"db:0\"},"
           "{\"id\":\"db:0\",\"state\":\"backoff\",\"next_retry_s\":4.2,"
           "\"reason\":\"exited with code 3\"}],"
           "\"command\":\"/bin/a\",\"file\":\"/f\",\"line\":1,\"events\":[],"
           "\"stdout\":\"journald\"}",
           "web:0 waits, it is not started yet\n"
           "  waits for     api:0, which waits as well\n"
           "  which needs   db:0, which is down and will be tried again in 4.2s (exited with\n"
           "                code 3)\n"
           "  command       /bin/a\n"
           "  set in        /f:1\n"
           "\n"
           "  Its output is in the journal: journalctl SUPERVISOR_INSTANCE=web:0\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(why_it_is_down),
        cmocka_unit_test(it_is_drawn_where_that_can_be_shown),
        cmocka_unit_test(whom_it_waits_for),
    };

    setenv("TZ", "UTC", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
