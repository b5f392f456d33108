/* fuzz_calendar.c - any zone and any line is refused, or says when it comes next: later, and not
 * before another look says the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/calendar.h"
#include "base/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int64_t offset(const void *context, int64_t utc_s, int64_t *ret_until_s)
{
    int64_t ret = zone_offset(context, utc_s, ret_until_s);

    if (*ret_until_s <= utc_s || ret > 26 * 3600 || ret < -26 * 3600)
        abort();
    return ret;
}

/* One byte: how long the line is; the line; then a file of the zone database, or a rule. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct calendar_line line;
    struct err err = { 0 };

    size_t len = size > 0 ? data[0] : 0;
    if (size < 1 + len || calendar_parse((const char *)data + 1, len, &line, &err) != 0)
        return 0;
    data += 1 + len;
    size -= 1 + len;
    struct zone *zone = zone_parse(data, size, &err);
    char *rule = zone ? NULL : strndup((const char *)data, size);
    if (rule)
        zone = zone_parse_rule(rule, &err);
    free(rule);
    if (!zone)
        return 0;
    const struct calendar_zone hand = { offset, zone };
    int64_t at = 1700000000;
    for (int i = 0; i < 20; i++) {
        int64_t next = calendar_next(&line, 1, &hand, at);
        if (next <= at)
            abort();
        if (next == CALENDAR_NEVER)
            break;
        if (calendar_next(&line, 1, &hand, next - 1) != next)
            abort();
        at = next;
    }
    zone_free(zone);
    return 0;
}
