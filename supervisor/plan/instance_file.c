/* instance_file.c - the contract is in instance_file.h. */
#include "supervisor/plan/instance_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/buf.h"

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static void trim(const char **from, const char **end)
{
    while (*from < *end && is_blank(**from))
        ++*from;
    while (*end > *from && is_blank((*end)[-1]))
        --*end;
}

static bool is_key(const char *from, const char *end)
{
    if (from == end || isdigit((unsigned char)*from))
        return false;
    for (; from < end; from++)
        if (!isalnum((unsigned char)*from) && *from != '_')
            return false;
    return true;
}

/* "KEY=VALUE" in the arena, or NULL with *err set. */
static char *parse_line(const char *from, const char *end, struct arena *arena, struct err *err)
{
    static const char export[] = "export ";

    if ((size_t)(end - from) > strlen(export) && strncmp(from, export, strlen(export)) == 0)
        from += strlen(export);
    const char *equals = memchr(from, '=', (size_t)(end - from)), *key_end = equals;
    if (equals)
        trim(&from, &key_end);
    if (!equals || !is_key(from, key_end)) {
        err_set(err, ERR_INVALID, "not KEY=VALUE");
        return NULL;
    }
    const char *value = equals + 1;
    trim(&value, &end);
    if (end - value >= 2 && (*value == '"' || *value == '\'') && end[-1] == *value) {
        value++;
        end--;
    }
    char *pair =
        arena_printf(arena, "%.*s=%.*s", (int)(key_end - from), from, (int)(end - value), value);
    if (!pair)
        err_set(err, ERR_MEMORY, "out of memory");
    return pair;
}

static size_t count_lines(const char *text, size_t len)
{
    size_t lines = 1;

    for (size_t i = 0; i < len; i++)
        lines += text[i] == '\n';
    return lines;
}

int instance_file_parse(const char *path, const char *text, size_t len, struct arena *arena,
                        char ***ret_pairs, struct err *err)
{
    const char *end = text + len;
    char **pairs = arena_array(arena, count_lines(text, len) + 1, sizeof(*pairs));
    size_t count = 0;

    if (!pairs)
        return err_set(err, ERR_MEMORY, "out of memory");
    if (memchr(text, '\0', len))
        return err_set(err, ERR_INVALID, "%s: contains a NUL byte", path);
    for (int line = 1; text < end; line++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *from = text, *stop = newline ? newline : end;
        text = newline ? newline + 1 : end;
        trim(&from, &stop);
        if (from == stop || *from == '#' || *from == ';')
            continue;
        pairs[count] = parse_line(from, stop, arena, err);
        if (!pairs[count++])
            return err_wrap(err, "%s:%d", path, line);
    }
    *ret_pairs = pairs;
    return 0;
}

int instance_file_read(const char *path, bool optional, struct arena *arena, char ***ret_pairs,
                       struct err *err)
{
    struct buf text;

    buf_init(&text, INSTANCE_FILE_MAX);
    int rc = buf_read_file(&text, AT_FDCWD, path);
    if (rc == -ENOENT && optional)
        rc = 0;
    rc = rc < 0 ? err_sys(err, -rc, "reading %s", path)
                : instance_file_parse(path, buf_text(&text), text.len, arena, ret_pairs, err);
    buf_done(&text);
    return rc;
}
