/* settings.c - the contract is in settings.h. */
#include "deployctl/agent/settings.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/arena.h"
#include "base/auto.h"
#include "base/buf.h"
#include "base/ini.h"
#include "base/words.h"
#include "deployctl/wire/digest.h"
#include "io/durable.h"
#include "io/jsonx.h"

enum { KEY_BYTES = 32, SHOWN_BYTES = 4, SHOWN_MAX = SHOWN_BYTES * 2 + 1 };

/* One file of both releases. */
struct settings {
    const char *file;
    struct arena arena;
    struct ini from, to;
    unsigned char key[KEY_BYTES];
    json_t *rows;
};

/* An empty set where there is no such file, or none that can be read. */
static void read_file(const struct host *host, const char *id, const char *name,
                      struct arena *arena, struct ini *ret)
{
    char path[64];
    struct buf text;
    struct err_list ignored;
    AUTO_CLOSE int folder = durable_open_beneath(host->releases, id, O_RDONLY | O_DIRECTORY, 0);
    AUTO_CLOSE int fd =
        folder < 0 ? -1 : durable_open_beneath(folder, name, O_RDONLY | O_NONBLOCK, 0);

    *ret = (struct ini){ .count = 0 };
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    buf_init(&text, SETTINGS_FILE_MAX);
    err_list_init(&ignored);
    if (fd >= 0 && buf_read_file(&text, AT_FDCWD, path) == 0)
        ini_parse_text(name, buf_text(&text), text.len, arena, ret, &ignored);
    err_list_done(&ignored);
    buf_done(&text);
}

static const char *value_of(const struct ini *ini, const char *section, const char *key)
{
    for (size_t i = 0; i < ini->count; i++)
        if (ini->entries[i].key && strcmp(ini->entries[i].section, section) == 0 &&
            strcmp(ini->entries[i].key, key) == 0)
            return ini->entries[i].value;
    return NULL;
}

static void add(struct settings *s, const char *section, const char *what, const char *name,
                const char *from, const char *to)
{
    if (json_array_size(s->rows) >= SETTINGS_ROWS_MAX)
        return;
    json_t *row = json_object();
    jsonx_set_text(row, "file", s->file);
    jsonx_set_text(row, "section", section);
    jsonx_set_text(row, what, name);
    if (from != NULL)
        jsonx_set_text(row, "from", from);
    if (to != NULL)
        jsonx_set_text(row, "to", to);
    json_array_append_new(s->rows, row);
}

/* --- variables -------------------------------------------------------------------------------- */

static const char *shown(struct settings *s, const char *value, char text[static SHOWN_MAX])
{
    unsigned char digest[MANIFEST_DIGEST_BYTES];
    struct buf both;
    struct err err;
    if (value == NULL)
        return NULL;
    buf_init(&both, SETTINGS_FILE_MAX + KEY_BYTES);
    buf_put(&both, s->key, sizeof s->key);
    buf_puts(&both, value);
    int rc = both.failed ? ERR_LIMIT : digest_of(both.data, both.len, digest, &err);
    buf_done(&both);
    snprintf(text, SHOWN_MAX, "?");
    for (int i = 0; rc == 0 && i < SHOWN_BYTES; i++)
        snprintf(text + (size_t)i * 2, 3, "%02x", digest[i]);
    return text;
}

static char **variables_of(struct settings *s, const char *text)
{
    char **pairs = NULL;
    size_t count;
    struct err err;
    if (text == NULL || words_environment(text, &s->arena, &pairs, &count, &err) < 0)
        return NULL;
    return pairs;
}

static const char *variable(char *const *pairs, const char *name, size_t len)
{
    for (; pairs != NULL && *pairs != NULL; pairs++)
        if (strncmp(*pairs, name, len) == 0 && (*pairs)[len] == '=')
            return *pairs + len + 1;
    return NULL;
}

static void compare_variable(struct settings *s, const char *section, const char *pair,
                             char *const *from, char *const *to)
{
    size_t len = strcspn(pair, "=");
    const char *name = arena_strndup(&s->arena, pair, len);
    const char *before = variable(from, pair, len), *after = variable(to, pair, len);
    char a[SHOWN_MAX], b[SHOWN_MAX];
    if (name == NULL || (before && after && strcmp(before, after) == 0))
        return;
    add(s, section, "variable", name, shown(s, before, a), shown(s, after, b));
}

static void compare_variables(struct settings *s, const char *section, const char *from,
                              const char *to)
{
    char **before = variables_of(s, from), **after = variables_of(s, to);
    for (char **pair = before; pair != NULL && *pair != NULL; pair++)
        compare_variable(s, section, *pair, before, after);
    for (char **pair = after; pair != NULL && *pair != NULL; pair++)
        if (variable(before, *pair, strcspn(*pair, "=")) == NULL)
            compare_variable(s, section, *pair, before, after);
}

/* --- keys ------------------------------------------------------------------------------------- */

static void compare_key(struct settings *s, const struct ini_entry *entry)
{
    const char *from = value_of(&s->from, entry->section, entry->key);
    const char *to = value_of(&s->to, entry->section, entry->key);
    if (from && to && strcmp(from, to) == 0)
        return;
    if (strcmp(entry->key, "environment") == 0)
        compare_variables(s, entry->section, from, to);
    else
        add(s, entry->section, "key", entry->key, from, to);
}

static void compare_files(struct settings *s)
{
    for (size_t i = 0; i < s->from.count; i++)
        if (s->from.entries[i].key)
            compare_key(s, &s->from.entries[i]);
    for (size_t i = 0; i < s->to.count; i++) {
        const struct ini_entry *entry = &s->to.entries[i];
        if (entry->key && value_of(&s->from, entry->section, entry->key) == NULL)
            compare_key(s, entry);
    }
}

void settings_diff(const struct host *host, const char *from, const char *to, const json_t *files,
                   json_t *rows)
{
    struct settings s = { .rows = rows };
    json_t *file;
    size_t i;
    if (getrandom(s.key, sizeof s.key, 0) != (ssize_t)sizeof s.key)
        return; /* without a key nothing is told */
    json_array_foreach((json_t *)files, i, file)
    {
        s.file = json_string_value(file);
        if (s.file == NULL)
            continue;
        arena_init(&s.arena);
        read_file(host, from, s.file, &s.arena, &s.from);
        read_file(host, to, s.file, &s.arena, &s.to);
        compare_files(&s);
        arena_done(&s.arena);
    }
}
