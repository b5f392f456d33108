/* instance_expand.c - the contract is in instance.h. */
#include "supervisor/plan/instance.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/near.h"
#include "base/unit.h"

enum { EXPANDED_MAX = 1024 * 1024, NAME_LEN_MAX = 128, WIDTH_MAX = 64, KNOWN_MAX = 16 };

/* One "%(name)05d". */
struct reference {
    char name[NAME_LEN_MAX];
    bool left, zero, sign, blank;
    int width, precision; /* -1 = none */
    char kind;            /* 's', 'd', 'x', 'X' or 'o' */
};

static const char *lookup(char *const *pairs, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; pairs && pairs[i]; i++)
        if (strncmp(pairs[i], name, len) == 0 && pairs[i][len] == '=')
            return pairs[i] + len + 1;
    return NULL;
}

static int malformed(const char *at, struct err *err)
{
    if (at[1] != '(')
        return err_set(err, ERR_INVALID, "a lone %% at \"%.24s\", write %%%% for a percent sign",
                       at);
    return err_set(err, ERR_INVALID, "cannot read \"%.40s\", try %%(NAME)s or %%(process_num)02d",
                   at);
}

static int read_width(const char **at)
{
    int width = 0;

    for (; isdigit((unsigned char)**at) && width <= WIDTH_MAX; ++*at)
        width = width * 10 + (**at - '0');
    return width;
}

/* Reads the reference at `at` ("%("); the first letter behind it goes to *ret_end. */
static int read_reference(const char *at, struct reference *ret, const char **ret_end,
                          struct err *err)
{
    const char *name = at + 2, *close = at[1] == '(' ? strchr(name, ')') : NULL;

    *ret = (struct reference){ 0 };
    if (!close || close == name || close - name >= NAME_LEN_MAX)
        return malformed(at, err);
    memcpy(ret->name, name, (size_t)(close - name));
    const char *p = close + 1;
    for (; *p && strchr("-0 +#", *p); p++) {
        ret->left |= *p == '-';
        ret->zero |= *p == '0';
        ret->sign |= *p == '+';
        ret->blank |= *p == ' ';
    }
    ret->width = read_width(&p);
    ret->precision = *p == '.' ? (p++, read_width(&p)) : -1;
    if (ret->width > WIDTH_MAX || ret->precision > WIDTH_MAX || !*p || !strchr("sdiuxXo", *p))
        return malformed(at, err);
    ret->kind = *p == 'i' || *p == 'u' ? 'd' : *p;
    *ret_end = p + 1;
    return 0;
}

/* Names of pairs, without values: the distance of whole pairs would mean nothing. */
struct known {
    char names[KNOWN_MAX][NAME_LEN_MAX];
    size_t count;
};

static const char *name_at(size_t i, const void *context)
{
    return ((const struct known *)context)->names[i];
}

static int unknown(const char *name, char *const *names, struct err *err)
{
    struct known known = { .count = 0 };
    struct buf list;

    if (strncmp(name, "ENV_", 4) == 0)
        return err_set(err, ERR_INVALID, "%%(%.64s)s: there is no %.64s in the environment", name,
                       name + 4);
    if (strncmp(name, "release_", strlen("release_")) == 0)
        return err_set(err, ERR_INVALID, "%%(%.64s)s is only known for services with release",
                       name);
    buf_init(&list, ERR_TEXT_MAX);
    for (size_t i = 0; names && names[i] && i < KNOWN_MAX; i++, known.count++) {
        snprintf(known.names[i], NAME_LEN_MAX, "%.*s", (int)strcspn(names[i], "="), names[i]);
        buf_printf(&list, "%%(%s)s, ", known.names[i]);
    }
    const char *nearest = near_name(name, known.count, name_at, &known);
    if (nearest)
        err_set(err, ERR_INVALID, "%%(%.64s)s is not known here, did you mean %%(%s)s?", name,
                nearest);
    else
        err_set(err, ERR_INVALID, "%%(%.64s)s is not known here, try %s%%(ENV_X)s or %%%%", name,
                buf_text(&list));
    buf_done(&list);
    return ERR_INVALID;
}

/* A number as Python's formats print it: sign, zeros up to the width, the digits. */
static void put_number(struct buf *out, const struct reference *ref, int64_t number)
{
    unsigned long long size =
        number < 0 ? 0 - (unsigned long long)number : (unsigned long long)number;
    const char *sign = number < 0 ? "-" : ref->sign ? "+" : ref->blank ? " " : "";
    int least = ref->precision > 1 ? ref->precision : 1;
    unsigned base = ref->kind == 'o' ? 8 : ref->kind == 'd' ? 10 : 16;
    const char *digits = ref->kind == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    char text[WIDTH_MAX + 32], *at = text + sizeof(text) - 1;

    if (ref->zero && !ref->left && ref->width - (int)strlen(sign) > least)
        least = ref->width - (int)strlen(sign);
    *at = '\0';
    for (; size || least > 0; size /= base, least--)
        *--at = digits[size % base];
    if (*sign)
        *--at = *sign;
    buf_printf(out, ref->left ? "%-*s" : "%*s", ref->width, at);
}

static int put_reference(struct buf *out, const struct reference *ref, const char *value,
                         struct err *err)
{
    int64_t number;

    if (ref->kind == 's') {
        int most = ref->precision < 0 ? (int)strlen(value) : ref->precision;
        buf_printf(out, ref->left ? "%-*.*s" : "%*.*s", ref->width, most, value);
        return 0;
    }
    if (unit_integer(value, 10, &number, NULL) < 0)
        return err_set(err, ERR_INVALID, "%%(%s)d: \"%.64s\" is not a number, try %%(%s)s",
                       ref->name, value, ref->name);
    put_number(out, ref, number);
    return 0;
}

static int expand_one(const char *at, char *const *names, char *const *envp, struct buf *out,
                      const char **ret_end, struct err *err)
{
    struct reference ref;

    if (at[1] == '%') {
        buf_putc(out, '%');
        *ret_end = at + 2;
        return 0;
    }
    int rc = read_reference(at, &ref, ret_end, err);
    if (rc < 0)
        return rc;
    const char *value = lookup(names, ref.name);
    if (!value && strncmp(ref.name, "ENV_", 4) == 0)
        value = lookup(envp, ref.name + 4);
    if (!value)
        return unknown(ref.name, names, err);
    return put_reference(out, &ref, value, err);
}

static int expand_into(const char *text, char *const *names, char *const *envp, struct buf *out,
                       struct err *err)
{
    int rc = 0;

    while (rc == 0 && *text) {
        size_t plain = strcspn(text, "%");
        buf_put(out, text, plain);
        text += plain;
        if (*text)
            rc = expand_one(text, names, envp, out, &text, err);
    }
    if (rc == 0 && out->failed)
        rc = err_set(err, ERR_LIMIT, "longer than %d bytes when expanded", EXPANDED_MAX);
    return rc;
}

int instance_expand(const char *text, char *const *names, char *const *envp, struct arena *arena,
                    const char **ret, struct err *err)
{
    struct buf out;
    int rc = 0;
    const char *copy = NULL;

    if (!strchr(text, '%')) {
        copy = arena_strdup(arena, text);
    } else {
        buf_init(&out, EXPANDED_MAX);
        rc = expand_into(text, names, envp, &out, err);
        if (rc == 0)
            copy = arena_strdup(arena, buf_text(&out));
        buf_done(&out);
    }
    if (rc < 0)
        return rc;
    if (!copy)
        return err_set(err, ERR_MEMORY, "out of memory");
    *ret = copy;
    return 0;
}

bool instance_mentions(const char *text, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = text; at && (at = strchr(at, '%'));) {
        if (at[1] == '(' && strncmp(at + 2, name, len) == 0 && at[2 + len] == ')')
            return true;
        at += at[1] ? 2 : 1;
    }
    return false;
}
