/* fuzz_prometheus.c - the first line is a selector, the rest a page: counted whole or refused.
 *
 * Beside what the sanitizers see: names and labels end inside the reader's words, counts are never
 * negative, and more samples of other names change nothing.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "deployctl/plan/prometheus.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int fact)
{
    if (!fact)
        abort();
}

static void walk(const char *page, size_t size)
{
    static struct prometheus_reader reader;
    struct prometheus_sample sample;
    struct err err;
    prometheus_begin(&reader, page, size);
    while (prometheus_next(&reader, &sample, &err) > 0) {
        require(sample.count <= PROMETHEUS_LABELS_MAX && sample.name[0] != '\0');
        for (size_t i = 0; i < sample.count; i++) {
            size_t len = strlen(sample.labels[i].value);
            require(sample.labels[i].value + len < reader.words + sizeof reader.words);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct prometheus_selector selector;
    struct prometheus_counts one = { 0 }, more = { 0 };
    struct err err;
    char text[600] = "";
    const char *end = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t len = end ? (size_t)(end - (const char *)data) : 0;

    if (!end || len >= sizeof text)
        return 0;
    memcpy(text, data, len);
    const char *page = end + 1;
    size -= len + 1;
    walk(page, size);
    if (prometheus_select(text, &selector, &err) < 0)
        return 0;
    require(selector.count <= PROMETHEUS_MATCHERS_MAX && selector.name[0] != '\0');
    struct prometheus_query query = { &selector, &selector, &selector, 0.5 };
    if (prometheus_count(page, size, &query, &one, &err) < 0)
        query.latency = NULL;
    if (!query.latency && prometheus_count(page, size, &query, &one, &err) < 0)
        return 0;
    require(one.requests >= 0 && one.requests == one.errors);
    require(one.timed >= 0 && one.slow >= 0 && one.slow <= one.timed);
    static const char other[] = "another_name_that_nobody_asks_for 7\n";
    char *longer = malloc(size + sizeof other);
    require(longer != NULL);
    memcpy(longer, page, size);
    memcpy(longer + size, other, sizeof other - 1);
    require(prometheus_count(longer, size + sizeof other - 1, &query, &more, &err) == 0);
    require(strcmp(selector.name, "another_name_that_nobody_asks_for") == 0 ||
            (more.requests == one.requests && more.slow == one.slow));
    free(longer);
    return 0;
}
