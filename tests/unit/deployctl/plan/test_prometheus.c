/* test_prometheus.c - pages as libraries write them, selectors, and what must not pass as a count.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "deployctl/plan/prometheus.h"

static const char page[] =
    "# HELP http_requests_total Requests, \"all\" of them.\n"
    "# TYPE http_requests_total counter\n"
    "http_requests_total{code=\"200\",path=\"/a\\\\b\\\"c\\nd\"} 1027 1395066363000\n"
    "http_requests_total { code = \"404\" , method=\"get\", } 3\r\n"
    "http_requests_total{code=\"500\"} 1.2e1 # {trace_id=\"abc\"} 0.67 1520879607.789\n"
    "http_requests_total{code=\"503\"} 4\n"
    "{\"http.odd\",\"a.b\"=\"x\"} 5\n"
    "\n"
    "# TYPE lazy counter\n"
    "# TYPE took histogram\n"
    "took_bucket{le=\"0.1\"} 80\n"
    "took_bucket{le=\"0.5\"} 90\n"
    "took_bucket{le=\"1\"} 95\n"
    "took_bucket{le=\"+Inf\"} 100\n"
    "took_sum 12.5\n"
    "took_count 100\n"
    "gauge NaN\n"
    "below -1\n"
    "process_start_time_seconds 1.5e9\n"
    "# EOF\n";

struct asked {
    struct prometheus_selector requests, errors, latency;
};

static int count(const char *text, size_t len, const char *requests, const char *errors,
                 const char *latency, double slower_than, struct prometheus_counts *ret,
                 struct err *err)
{
    struct asked *asked = calloc(1, sizeof *asked);
    assert_non_null(asked);
    assert_int_equal(prometheus_select(requests, &asked->requests, err), 0);
    assert_int_equal(prometheus_select(errors, &asked->errors, err), 0);
    if (latency)
        assert_int_equal(prometheus_select(latency, &asked->latency, err), 0);
    struct prometheus_query query = { &asked->requests, &asked->errors,
                                      latency ? &asked->latency : NULL, slower_than };
    int rc = prometheus_count(text, len, &query, ret, err);
    free(asked);
    return rc;
}

static void a_page_is_counted(void **unused)
{
    (void)unused;
    struct prometheus_counts counts;
    struct err err;
    assert_int_equal(count(page, sizeof page - 1, "http_requests_total",
                           "http_requests_total{code=~\"5..\"}", "took", 0.3, &counts, &err),
                     0);
    assert_int_equal(counts.requests, 1046);
    assert_int_equal(counts.errors, 16);
    assert_int_equal(counts.timed, 100);
    assert_int_equal(counts.slow, 10);
    assert_true(counts.bound == 0.5);
    assert_true(counts.started == 1.5e9);
}

static void selectors_mean_what_they_mean_elsewhere(void **unused)
{
    (void)unused;
    static const struct {
        const char *selector;
        int64_t sum;
    } cases[] = {
        { "http_requests_total{code=\"500\"}", 12 },
        { " http_requests_total { code != \"500\" } ", 1034 },
        { "http_requests_total{code!~\"[45]..\"}", 1027 },
        { "http_requests_total{code=~\"5\"}", 0 }, /* the whole value, not a part */
        { "http_requests_total{code=~\"4..|5..\", method=\"\"}", 16 },
        { "http_requests_total{path=\"/a\\\\b\\\"c\\nd\"}", 0 }, /* \n stays as it is here */
        { "lazy", 0 },
    };
    struct prometheus_counts counts;
    struct err err;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(
            count(page, sizeof page - 1, cases[i].selector, "lazy", NULL, 0, &counts, &err), 0);
        assert_int_equal(counts.requests, cases[i].sum);
    }
}

static void a_wrong_selector_is_told(void **unused)
{
    (void)unused;
    static const struct {
        const char *selector, *piece;
    } cases[] = {
        { "", "must begin with the name" },
        { "5x", "must begin with the name" },
        { "a b", "\"b\" is too much" },
        { "a{", "a label is expected" },
        { "a{b}", "=, !=, =~ or !~ is expected behind b" },
        { "a{b=c}", "double quotes" },
        { "a{b=\"c}", "double quotes" },
        { "a{b=\"c\" d=\"e\"}", "a comma or }" },
        { "a{b=~\"(\"}", "the pattern of b" },
        { "a{a=\"\",b=\"\",c=\"\",d=\"\",e=\"\",f=\"\",g=\"\",h=\"\",i=\"\"}", "more than 8" },
    };
    struct prometheus_selector *selector = malloc(sizeof *selector);
    struct err err;
    assert_non_null(selector);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(prometheus_select(cases[i].selector, selector, &err), ERR_INVALID);
        if (!strstr(err.text, cases[i].piece))
            fail_msg("%s: %s", cases[i].selector, err.text);
    }
    free(selector);
}

/* Whatever would read as "no errors" without being so is an error. */
static void what_is_no_count_is_refused(void **unused)
{
    (void)unused;
    static const struct {
        const char *page, *requests, *errors;
        enum err_code code;
        const char *piece;
    } cases[] = {
        { "a 1\n", "b", "a", ERR_NOT_FOUND, "no metric called b" },
        { "a 1\n", "a", "a{code=\"5\"}", ERR_NOT_FOUND, "no series of a has a label code" },
        { "# TYPE aa counter\n", "a", "a", ERR_NOT_FOUND, "no metric called a" },
        { "a NaN\n", "a", "a", ERR_PROTOCOL, "not a count" },
        { "a -1\n", "a", "a", ERR_PROTOCOL, "not a count" },
        { "a 5\na{x=\"1\"} -1\n", "a", "a", ERR_PROTOCOL, "not a count" },
        { "a +Inf\n", "a", "a", ERR_PROTOCOL, "not a count" },
        { "a 1e300\n", "a", "a", ERR_PROTOCOL, "not a count" },
        { "a 1\na{x=\"1\"} 12", "a", "a", ERR_PROTOCOL, "line 2 is cut off" },
        { "a\n", "a", "a", ERR_PROTOCOL, "line 1: a value is expected" },
        { "a one\n", "a", "a", ERR_PROTOCOL, "line 1: the value is not a number" },
        { "a{b=\"c} 1\n", "a", "a", ERR_PROTOCOL, "line 1: a quote is not closed" },
        { "a{b=\"c\"", "a", "a", ERR_PROTOCOL, "line 1 is cut off" },
        { "a{b=\"c\"\n", "a", "a", ERR_PROTOCOL, "line 1: a comma or }" },
        { "a{b\"c\"} 1\n", "a", "a", ERR_PROTOCOL, "line 1: \"=\" is expected" },
        { "<html>\n", "a", "a", ERR_PROTOCOL, "line 1: a name is expected" },
    };
    struct prometheus_counts counts;
    struct err err;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int rc = count(cases[i].page, strlen(cases[i].page), cases[i].requests, cases[i].errors,
                       NULL, 0, &counts, &err);
        if (rc != (int)cases[i].code || !strstr(err.text, cases[i].piece))
            fail_msg("%s: %d, %s", cases[i].page, rc, rc < 0 ? err.text : "");
    }
}

static void an_openmetrics_counter_is_promised_by_its_family(void **unused)
{
    (void)unused;
    static const char *const pages[] = { "# TYPE a counter\n", "# TYPE a_total counter\n" };
    struct prometheus_counts counts;
    struct err err;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(
            count(pages[i], strlen(pages[i]), "a_total", "a_total", NULL, 0, &counts, &err), 0);
        assert_int_equal(counts.requests, 0);
    }
}

static void buckets_must_agree(void **unused)
{
    (void)unused;
    static const struct {
        const char *page, *piece;
    } cases[] = {
        { "a 1\n", "no histogram called h" },
        { "a 1\nh_bucket{le=\"0.1\"} 1\nh_bucket{le=\"+Inf\"} 1\n", "no bucket of h reaches 0.5s" },
        { "a 1\nh_bucket{x=\"1\",le=\"1\"} 1\nh_bucket{x=\"1\",le=\"+Inf\"} 1\n"
          "h_bucket{x=\"2\",le=\"2\"} 1\nh_bucket{x=\"2\",le=\"+Inf\"} 1\n",
          "different buckets" },
        { "a 1\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\n", "not a count" },
    };
    struct prometheus_counts counts;
    struct err err;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(count(cases[i].page, strlen(cases[i].page), "a", "a", "h", 0.5, &counts, &err) <
                    0);
        assert_non_null(strstr(err.text, cases[i].piece));
    }
}

static void limits_hold(void **unused)
{
    (void)unused;
    struct prometheus_counts counts;
    struct err err;
    size_t len = PROMETHEUS_LINE_MAX + 100;
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, 'a', len);
    memcpy(text + len - 3, " 1\n", 3);
    assert_int_equal(count(text, len, "a", "a", NULL, 0, &counts, &err), ERR_PROTOCOL);
    assert_non_null(strstr(err.text, "too long"));
    char *at = text;
    at += sprintf(at, "a{");
    for (int i = 0; i <= PROMETHEUS_LABELS_MAX; i++)
        at += sprintf(at, "l%d=\"\",", i);
    at += sprintf(at, "} 1\n");
    assert_int_equal(count(text, (size_t)(at - text), "a", "a", NULL, 0, &counts, &err),
                     ERR_PROTOCOL);
    assert_non_null(strstr(err.text, "too many labels"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_is_counted),
        cmocka_unit_test(selectors_mean_what_they_mean_elsewhere),
        cmocka_unit_test(a_wrong_selector_is_told),
        cmocka_unit_test(what_is_no_count_is_refused),
        cmocka_unit_test(an_openmetrics_counter_is_promised_by_its_family),
        cmocka_unit_test(buckets_must_agree),
        cmocka_unit_test(limits_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
