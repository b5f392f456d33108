/* sandbox_value.c - the contract is in sandbox_value.h. */
#include "supervisor/plan/sandbox_value.h"

#include <stdlib.h>
#include <string.h>

#include "supervisor/plan/capability.h"
#include "supervisor/plan/options_sandbox.h"
#include "supervisor/plan/spec.h"

static void put_capabilities(const void *field, struct buf *out)
{
    const struct spec_capabilities *set = field;

    if (!set->given)
        return;
    buf_puts(out, set->all_but ? "all but " : "");
    capability_put(set->named, out);
}

static void put_tmp(const void *field, struct buf *out)
{
    const struct spec_private_tmp *tmp = field;

    if (tmp->on && tmp->bytes > 0 && tmp->bytes % (1 << 20) == 0)
        buf_printf(out, "%lldMB", (long long)(tmp->bytes >> 20));
    else if (tmp->on && tmp->bytes > 0)
        buf_printf(out, "%lld", (long long)tmp->bytes);
    else
        buf_puts(out, tmp->on ? "true" : "false");
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Their order means nothing. */
static void put_paths(const void *field, struct buf *out)
{
    const struct spec_paths *paths = field;
    const char *sorted[SPEC_PATHS_MAX];

    if (paths->count == 0)
        return;
    memcpy(sorted, paths->list, paths->count * sizeof(*sorted));
    qsort(sorted, paths->count, sizeof(*sorted), by_text);
    for (size_t i = 0; i < paths->count; i++)
        buf_printf(out, "%s%s", i ? " " : "", sorted[i]);
}

static void put_read_only(const void *field, struct buf *out)
{
    const struct spec_paths *paths = field;

    if (paths->count > 0)
        put_paths(field, out);
    else
        buf_puts(out, paths->all ? "true" : "false");
}

static void put_namespaces(const void *field, struct buf *out)
{
    const char *between = "";

    for (int i = 0; i < SPEC_NNAMESPACES; i++)
        if (*(const unsigned *)field >> i & 1) {
            buf_printf(out, "%s%s", between, spec_namespace_name(i));
            between = " ";
        }
}

static void put_seccomp(const void *field, struct buf *out)
{
    const struct spec_seccomp *seccomp = field;

    buf_puts(out, spec_seccomp_name(seccomp->profile));
    if (seccomp->denied != SPEC_DENIED_ERROR)
        buf_printf(out, ":%s", spec_denied_name(seccomp->denied));
}

bool sandbox_value_put(const struct opt *row, const void *field, struct buf *out)
{
    static const struct {
        int (*parse)(const char *, struct arena *, void *, struct err *);
        void (*put)(const void *, struct buf *);
    } kinds[] = {
        { options_sandbox_capabilities, put_capabilities },
        { options_sandbox_tmp, put_tmp },
        { options_sandbox_read_only, put_read_only },
        { options_sandbox_paths, put_paths },
        { options_sandbox_namespaces, put_namespaces },
        { options_sandbox_seccomp, put_seccomp },
    };

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (row->parse == kinds[i].parse) {
            kinds[i].put(field, out);
            return true;
        }
    return false;
}
