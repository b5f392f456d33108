/* lines.c - the contract is in lines.h. */
#include "supervisor/cli/lines.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/when.h"

enum { REGEX_TEXT_MAX = 256 };

int lines_filter_init(struct lines_filter *filter, int64_t since_us, const char *grep,
                      struct err *err)
{
    char text[REGEX_TEXT_MAX];

    *filter = (struct lines_filter){ .since_us = since_us };
    if (!grep)
        return 0;
    int rc = regcomp(&filter->regex, grep, REG_EXTENDED | REG_NOSUB);
    if (rc != 0) {
        regerror(rc, &filter->regex, text, sizeof text);
        return err_set(err, ERR_INVALID, "--grep: %s: %s", grep, text);
    }
    filter->has_regex = true;
    return 0;
}

void lines_filter_done(struct lines_filter *filter)
{
    if (filter->has_regex)
        regfree(&filter->regex);
    filter->has_regex = false;
}

bool lines_filter_wanted(const struct lines_filter *filter, const char *line, size_t len,
                         int64_t time_us)
{
    regmatch_t where = { .rm_so = 0, .rm_eo = (regoff_t)len };

    if (filter->since_us > 0 && time_us > 0 && time_us < filter->since_us)
        return false;
    return !filter->has_regex || regexec(&filter->regex, line, 1, &where, REG_STARTEND) == 0;
}

bool lines_time(const char *line, size_t len, int64_t *ret_us)
{
    static const char json[] = "{\"time\":\"";
    char text[CLOCK_TEXT_MAX];
    size_t from = 0, at;

    if (len > sizeof json && memcmp(line, json, sizeof json - 1) == 0)
        from = sizeof json - 1;
    if (len <= from || line[from] < '0' || line[from] > '9')
        return false;
    for (at = 0; at + 1 < sizeof text && from + at < len; at++) {
        if (line[from + at] == ' ' || line[from + at] == '"')
            break;
        text[at] = line[from + at];
    }
    text[at] = '\0';
    return when_parse(text, ret_us);
}

int lines_kept_init(struct lines_kept *kept, size_t max)
{
    *kept = (struct lines_kept){ .max = max };
    return 0;
}

void lines_kept_done(struct lines_kept *kept)
{
    while (kept->count > 0)
        free(lines_kept_take(kept).text);
    free(kept->ring);
    kept->ring = NULL;
}

bool lines_kept_add(struct lines_kept *kept, const char *line, size_t len, int64_t time_us)
{
    struct lines_one one = { .text = malloc(len + 1), .len = len, .time_us = time_us };

    if (kept->max == 0) {
        free(one.text);
        return true;
    }
    if (!kept->ring)
        kept->ring = calloc(kept->max, sizeof *kept->ring);
    if (!one.text || !kept->ring) {
        free(one.text);
        return false;
    }
    memcpy(one.text, line, len);
    one.text[len] = '\0';
    if (kept->count == kept->max)
        free(lines_kept_take(kept).text);
    kept->ring[(kept->first + kept->count++) % kept->max] = one;
    return true;
}

struct lines_one lines_kept_take(struct lines_kept *kept)
{
    struct lines_one none = { .text = NULL };

    if (kept->count == 0)
        return none;
    struct lines_one one = kept->ring[kept->first];
    kept->first = (kept->first + 1) % kept->max;
    kept->count--;
    return one;
}
