/* plan_python.c - numbers as supervisord's language reads them. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "supervisor/plan/options_parse.h"
#include "supervisor/plan/plan_build.h"

/* "+5", "007", "1_000", "-3" and blanks around; what is too large becomes the largest. */
static bool python_integer(const char *text, int64_t *ret)
{
    const char *at = text + strspn(text, " \t\r\n");
    bool negative = *at == '-', digits = false;
    int64_t value = 0;

    at += *at == '-' || *at == '+';
    for (; isdigit((unsigned char)*at); at++) {
        digits = true;
        if (value > (INT64_MAX - 9) / 10)
            value = (INT64_MAX - 9) / 10;
        else
            value = value * 10 + (*at - '0');
        if (at[1] == '_' && isdigit((unsigned char)at[2]))
            at++;
    }
    if (!digits || at[strspn(at, " \t\r\n")])
        return false;
    *ret = negative ? -value : value;
    return true;
}

/* The range of the row in the unit that supervisord writes; false: it has none to bring into. */
static bool range_of(const struct opt *row, int64_t *ret_min, int64_t *ret_max)
{
    /* Which processes there are is not ours to change. */
    if (strcmp(row->key, "numprocs") == 0 || strcmp(row->key, "numprocs_start") == 0)
        return false;
    *ret_min = row->type == OPT_INTEGER ? row->min : 0;
    *ret_max = row->max;
    if (row->type == OPT_DURATION)
        *ret_max = row->max / 1000;
    else if (row->type == OPT_CUSTOM || row->max == 0)
        *ret_max = INT64_MAX; /* of startretries */
    return row->type != OPT_INTEGER || row->min != 0 || row->max != 0;
}

const char *plan_python_number(struct plan_build *build, const struct plan_section *section,
                               const struct plan_key *key, const struct opt *row, const char *value)
{
    bool numeric = row->type == OPT_INTEGER || row->type == OPT_DURATION || row->type == OPT_SIZE ||
                   (row->type == OPT_CUSTOM && row->parse == options_parse_retries);
    int64_t number, min, max;

    if (!numeric || !python_integer(value, &number))
        return value;
    int64_t fitting = number;
    if (range_of(row, &min, &max))
        fitting = number < min ? min : number > max ? max : number;
    if (fitting != number)
        plan_build_warn(build, key->file, key->line, section->title, key->key,
                        "\"%.40s\" is out of range here, %" PRId64 " is used", value, fitting);
    const char *ret = arena_printf(&build->scratch, "%" PRId64, fitting);
    build->no_memory |= !ret;
    return ret ? ret : value;
}
