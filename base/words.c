/* words.c - the contract is in words.h. */
#include "base/words.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_WORDS = 16, SHOWN_MAX = 40 };

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* The text being read and the word being built; a word is never longer than its text. */
struct reader {
    const char *at;
    char *out; /* in the arena, as long as what is left of the text when the word began */
    size_t len;
    bool shlex; /* Python's rules */
    struct err *err;
};

/* 'x': everything up to the next quote. */
static int read_single(struct reader *r)
{
    const char *end = strchr(r->at, '\'');

    if (!end)
        return err_set(r->err, ERR_INVALID, "a ' quote is not closed");
    size_t len = (size_t)(end - r->at);
    memcpy(r->out + r->len, r->at, len);
    r->len += len;
    r->at = end + 1;
    return 0;
}

/* "x": a backslash keeps its meaning only before $ ` " \ and the end of a line. */
static int read_double(struct reader *r)
{
    for (; *r->at != '"'; r->at++) {
        if (*r->at == '\0')
            return err_set(r->err, ERR_INVALID, "a \" quote is not closed");
        if (*r->at == '\\' && r->at[1] && strchr(r->shlex ? "\"\\" : "$`\"\\\n", r->at[1])) {
            r->at++;
            if (*r->at == '\n')
                continue;
        }
        r->out[r->len++] = *r->at;
    }
    r->at++;
    return 0;
}

/* One piece of a word: a quoted part, an escaped letter or a plain one. */
static int read_piece(struct reader *r)
{
    char c = *r->at++;

    if (c == '\'')
        return read_single(r);
    if (c == '"')
        return read_double(r);
    if (c == '\\') {
        c = *r->at;
        if (c == '\0')
            return err_set(r->err, ERR_INVALID, "nothing follows the last backslash");
        r->at++;
        if (c == '\n' && !r->shlex)
            return 0;
    }
    r->out[r->len++] = c;
    return 0;
}

/* A growing NULL-terminated array in the arena. */
struct list {
    char **words;
    size_t count, room;
};

static int list_add(struct list *list, char *word, struct arena *arena, struct err *err)
{
    if (word && list->count == WORDS_MAX)
        return err_set(err, ERR_LIMIT, "more than %d words", WORDS_MAX);
    if (list->count + 1 >= list->room) {
        size_t room = list->room ? list->room * 2 : FIRST_WORDS;
        char **words = arena_array(arena, room, sizeof(*words));
        if (!words)
            return err_set(err, ERR_MEMORY, "out of memory");
        if (list->count)
            memcpy(words, list->words, list->count * sizeof(*words));
        list->words = words;
        list->room = room;
    }
    list->words[list->count] = word;
    list->count += word != NULL;
    return 0;
}

/* Room for all words of a text, one behind the other, each with its NUL. */
static char *word_room(struct arena *arena, const char *text)
{
    return arena_array(arena, strlen(text) + 2, 1);
}

static int split(const char *text, bool shlex, struct arena *arena, char ***ret_argv,
                 size_t *ret_count, struct err *err)
{
    struct reader r = { .at = text, .out = word_room(arena, text), .shlex = shlex, .err = err };
    struct list list = { 0 };
    int rc = 0;

    if (!r.out)
        return err_set(err, ERR_MEMORY, "out of memory");
    while (rc == 0) {
        while (is_blank(*r.at) || (!shlex && r.at[0] == '\\' && r.at[1] == '\n'))
            r.at += *r.at == '\\' ? 2 : 1;
        if (*r.at == '\0')
            break;
        for (r.len = 0; rc == 0 && *r.at && !is_blank(*r.at);)
            rc = read_piece(&r);
        if (rc == 0)
            rc = list_add(&list, r.out, arena, err);
        r.out[r.len] = '\0';
        r.out += r.len + 1;
    }
    if (rc == 0)
        rc = list_add(&list, NULL, arena, err);
    if (rc < 0)
        return rc;
    *ret_argv = list.words;
    *ret_count = list.count;
    return 0;
}

int words_split(const char *text, struct arena *arena, char ***ret_argv, size_t *ret_count,
                struct err *err)
{
    return split(text, false, arena, ret_argv, ret_count, err);
}

int words_split_shlex(const char *text, struct arena *arena, char ***ret_argv, size_t *ret_count,
                      struct err *err)
{
    return split(text, true, arena, ret_argv, ret_count, err);
}

/* How much of the text before any of `stops` a message repeats. */
static int shown(const char *text, const char *stops)
{
    size_t len = strcspn(text, stops);

    return len < SHOWN_MAX ? (int)len : SHOWN_MAX;
}

/* Reads KEY= into the word; the key is what programs can read back with getenv. */
static int read_key(struct reader *r)
{
    size_t len = strcspn(r->at, "=,\n \t\r'\"\\");
    size_t blanks = strspn(r->at + len, " \t");

    if (len == 0 || r->at[len + blanks] != '=')
        return err_set(r->err, ERR_INVALID, "\"%.*s\" is not KEY=VALUE (try KEY=\"value\")",
                       shown(r->at, ",\n"), r->at);
    memcpy(r->out, r->at, len);
    r->out[len] = '=';
    r->len = len + 1;
    r->at += len + blanks + 1;
    r->at += strspn(r->at, " \t");
    return 0;
}

static int read_pair(struct reader *r)
{
    int rc = read_key(r);

    while (rc == 0 && *r->at && *r->at != ',' && !is_blank(*r->at))
        rc = read_piece(r);
    if (rc < 0)
        return rc;
    r->at += strspn(r->at, " \t\r");
    if (*r->at && *r->at != ',' && *r->at != '\n')
        return err_set(r->err, ERR_INVALID,
                       "unexpected \"%.*s\" after %.*s (put quotes around a value with blanks, "
                       "and a comma between pairs)",
                       shown(r->at, ",\n"), r->at, shown(r->out, "="), r->out);
    r->out[r->len] = '\0';
    return 0;
}

/* The place of an earlier pair with the same key; the last one given wins. */
static char **same_key(const struct list *list, const char *pair)
{
    size_t len = strcspn(pair, "=") + 1;

    for (size_t i = 0; i < list->count; i++)
        if (strncmp(list->words[i], pair, len) == 0)
            return &list->words[i];
    return NULL;
}

int words_environment(const char *text, struct arena *arena, char ***ret_pairs, size_t *ret_count,
                      struct err *err)
{
    struct reader r = { .at = text, .out = word_room(arena, text), .err = err };
    struct list list = { 0 };
    int rc = 0;

    if (!r.out)
        return err_set(err, ERR_MEMORY, "out of memory");
    while (rc == 0) {
        while (is_blank(*r.at) || *r.at == ',')
            r.at++;
        if (*r.at == '\0')
            break;
        rc = read_pair(&r);
        if (rc < 0)
            break;
        char **before = same_key(&list, r.out);
        if (before)
            *before = r.out;
        else
            rc = list_add(&list, r.out, arena, err);
        r.out += r.len + 1;
    }
    if (rc == 0)
        rc = list_add(&list, NULL, arena, err);
    if (rc < 0)
        return rc;
    *ret_pairs = list.words;
    *ret_count = list.count;
    return 0;
}

/* One token of shlex without POSIX rules; it lies in the text, quotes included.  Returns 0 with len
 * 0 at the end of the text. */
static int next_token(const char **at, const char **ret_token, size_t *ret_len, struct err *err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "_/.+-():\"'";
    const char *from = *at, *end;

    while (is_blank(*from) || *from == '#')
        from += *from == '#' ? strcspn(from, "\n") : 1;
    if (*from == '"' || *from == '\'') {
        end = strchr(from + 1, *from);
        if (!end)
            return err_set(err, ERR_INVALID, "a %c quote is not closed", *from);
        end++;
    } else {
        end = from + strspn(from, letters);
        if (end == from && *end) /* a sign on its own, in UTF-8 */
            for (end++; ((unsigned char)*end & 0xc0) == 0x80;)
                end++;
    }
    *ret_token = from;
    *ret_len = (size_t)(end - from);
    *at = end;
    return 0;
}

/* "KEY = value" at *at as "KEY=value" without quotes at the ends; *ret NULL at the end. */
static int next_pair(const char **at, struct reader *r, char **ret, struct err *err)
{
    const char *tokens[3] = { NULL };
    size_t lens[3];
    int rc = 0;

    for (int i = 0; i < 3 && rc == 0; i++) {
        rc = next_token(at, &tokens[i], &lens[i], err);
        if (rc == 0 && i == 0 && lens[0] == 0) {
            *ret = NULL;
            return 0;
        }
        if (rc == 0 && (lens[i] == 0 || (i == 1 && *tokens[1] != '=')))
            return err_set(err, ERR_INVALID,
                           "\"%.*s\" is not KEY=VALUE (put quotes around a value with other signs "
                           "than letters, digits and _/.+-():, and a comma between pairs)",
                           shown(tokens[0], "\n"), tokens[0]);
    }
    if (rc < 0)
        return rc;
    for (; lens[2] && strchr("\"'", *tokens[2]); lens[2]--)
        tokens[2]++;
    while (lens[2] && strchr("\"'", tokens[2][lens[2] - 1]))
        lens[2]--;
    memcpy(r->out, tokens[0], lens[0]);
    r->out[lens[0]] = '=';
    memcpy(r->out + lens[0] + 1, tokens[2], lens[2]);
    r->len = lens[0] + 1 + lens[2];
    r->out[r->len] = '\0';
    *ret = r->out;
    r->out += r->len + 1;
    return 0;
}

int words_environment_shlex(const char *text, struct arena *arena, char ***ret_pairs,
                            size_t *ret_count, struct err *err)
{
    struct reader r = { .out = word_room(arena, text), .err = err };
    struct list list = { 0 };
    const char *separator;
    size_t len;
    char *pair = NULL;
    int rc = 0;

    if (!r.out)
        return err_set(err, ERR_MEMORY, "out of memory");
    while ((rc = next_pair(&text, &r, &pair, err)) == 0 && pair) {
        char **before = same_key(&list, pair);
        if (before)
            *before = pair;
        else
            rc = list_add(&list, pair, arena, err);
        if (rc == 0) /* whatever it is, as there */
            rc = next_token(&text, &separator, &len, err);
        if (rc < 0)
            break;
    }
    if (rc == 0)
        rc = list_add(&list, NULL, arena, err);
    if (rc < 0)
        return rc;
    *ret_pairs = list.words;
    *ret_count = list.count;
    return 0;
}
