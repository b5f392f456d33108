/* ini.c - our reader finds lines, comments and limits; inih is fed only what it cannot spoil.
 *
 * inih as built by Debian keeps 199 bytes of a line and 49 of a name without a word, strips
 * blanks and inline comments without knowing quotes, and tells no line numbers.  So each line
 * is handed to it as a short record:
 *
 *     [service:web                    a section
 *     command=K>                      a key, the beginning of the name is enough
 *     <tab>P/usr/bin/x -a >           a piece of its value between two guards
 *     <tab>N-b>                       the first piece of a continuation line
 *
 * inih takes the indented lines for continuations and calls the handler for each piece.  As it
 * asks for the next line only after the handler has returned, the reader's present line is the
 * one that the handler sees: whole names and line numbers come from there, and the handler
 * checks that inih speaks of the same thing.
 */
#include "base/ini.h"

#include <ctype.h>
#include <ini.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

enum {
    INIH_NAME = 40,      /* bytes of a name that are handed to inih, which keeps 49 */
    RECORD_OVERHEAD = 5, /* tab, kind, guard, newline, NUL */
    FIRST_ENTRIES = 64,
};

struct parser {
    const char *file;
    const char *at, *end; /* text not read yet */
    struct arena *arena;
    struct err_list *errors;
    int line; /* of the line that was read last */
    bool no_memory;
    size_t sent, received; /* lines that must reach the handler, and that did */

    /* What inih has still to get of the present line. */
    char record[INIH_NAME + 8]; /* "[name]\n" or "name=K>\n"; "" = nothing */
    const char *piece, *piece_end;
    char piece_kind; /* 'P', 'N'; 0 = no piece */

    /* The section and key that are open. */
    const char *section; /* NULL = none */
    bool lost_section;   /* its header was wrong and has been complained about */
    const char *key;     /* NULL = a continuation has nothing to continue */
    size_t key_indent;
    bool skip_continuation; /* the line before was wrong, and so is what belongs to it */
    char quote;             /* that is open at the end of the value so far, or 0 */
    struct buf value;

    struct ini_entry *entries;
    size_t count, room;
};

static void complain(struct parser *p, const char *what)
{
    err_list_add(p->errors, "%s:%d: %s", p->file, p->line, what);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

/* Moves *from and *end inwards over blanks. */
static void trim(const char **from, const char **end)
{
    while (*from < *end && is_blank(**from))
        ++*from;
    while (*end > *from && is_blank((*end)[-1]))
        --*end;
}

/* Takes the next line without its end; false at the end of the text. */
static bool next_line(struct parser *p, const char **ret_from, const char **ret_end)
{
    if (p->at == p->end)
        return false;
    const char *newline = memchr(p->at, '\n', (size_t)(p->end - p->at));
    *ret_from = p->at;
    *ret_end = newline ? newline : p->end;
    p->at = newline ? newline + 1 : p->end;
    p->line++;
    return true;
}

/* The end of the line without a comment.  `quote` is the one that is open, or 0, and is kept up
 * to date; a backslash outside '...' protects the next letter. */
static const char *before_comment(const char *from, const char *end, char *quote)
{
    for (const char *at = from; at < end; at++) {
        bool comment = (*at == ';' || *at == '#') && (at == from || is_blank(at[-1]));
        if (*quote) {
            if (*at == '\\' && *quote == '"' && at + 1 < end)
                at++;
            else if (*at == *quote)
                *quote = 0;
        } else if (comment) {
            return at;
        } else if (*at == '\\' && at + 1 < end) {
            at++;
        } else if (*at == '"' || *at == '\'') {
            *quote = *at;
        }
    }
    return end;
}

static struct ini_entry *add_entry(struct parser *p, const char *key)
{
    if (p->count == p->room) {
        size_t room = p->room ? p->room * 2 : FIRST_ENTRIES;
        struct ini_entry *entries = arena_array(p->arena, room, sizeof(*entries));
        if (!entries) {
            p->no_memory = true;
            return NULL;
        }
        if (p->count)
            memcpy(entries, p->entries, p->count * sizeof(*entries));
        p->entries = entries;
        p->room = room;
    }
    struct ini_entry *entry = &p->entries[p->count++];
    *entry = (struct ini_entry){ p->section, key, "", p->line };
    return entry;
}

/* Stores the value that was collected for the key that is open. */
static void finish_value(struct parser *p)
{
    if (p->key && p->count && p->value.len) {
        char *value = arena_strndup(p->arena, p->value.data, p->value.len);
        if (value)
            p->entries[p->count - 1].value = value;
        else
            p->no_memory = true;
    }
    p->no_memory |= p->value.failed;
    buf_clear(&p->value);
    p->key = NULL;
    p->quote = 0;
}

/* A control character, or one that means something else in this format. */
static bool is_odd(char c) { return iscntrl((unsigned char)c) || strchr("\"';#[]", c); }

/* Copies a trimmed name into the arena, or complains and returns NULL. */
static const char *take_name(struct parser *p, const char *from, const char *end, const char *what)
{
    char text[128] = "";

    trim(&from, &end);
    size_t len = (size_t)(end - from);
    if (len == 0)
        snprintf(text, sizeof(text), "a %s without a name", what);
    else if (len > INI_NAME_MAX)
        snprintf(text, sizeof(text), "the name of a %s is longer than %d bytes", what,
                 INI_NAME_MAX);
    for (const char *at = from; !*text && at < end; at++)
        if (is_odd(*at))
            snprintf(text, sizeof(text),
                     isprint((unsigned char)*at) ? "the name of a %s may not contain %c"
                                                 : "the name of a %s contains a control character",
                     what, *at);
    if (*text) {
        complain(p, text);
        return NULL;
    }
    const char *name = arena_strndup(p->arena, from, len);
    p->no_memory |= !name;
    return name;
}

/* From here on keys have no section to go to, until the next header. */
static void lose_section(struct parser *p)
{
    p->section = NULL;
    p->lost_section = true;
}

static void read_header(struct parser *p, const char *from, const char *end)
{
    char quote = 0;

    end = before_comment(from, end, &quote);
    lose_section(p);
    const char *close = memchr(from, ']', (size_t)(end - from));
    if (!close) {
        complain(p, "a section header without ]");
        return;
    }
    const char *rest = close + 1;
    trim(&rest, &end);
    if (rest < end) {
        complain(p, "unexpected text after the ] of a section header");
        return;
    }
    p->section = take_name(p, from + 1, close, "section");
    if (!p->section || !add_entry(p, NULL))
        return;
    p->lost_section = false;
    snprintf(p->record, sizeof(p->record), "[%.*s]\n", INIH_NAME, p->section);
}

/* "what" in quotes, without anything that a terminal would act upon. */
static void complain_neither(struct parser *p, const char *from, const char *end)
{
    char text[41] = "";

    for (size_t i = 0; i < sizeof(text) - 1 && from + i < end; i++)
        text[i] = from[i];
    for (char *at = text; *at; at++)
        if (iscntrl((unsigned char)*at))
            *at = '?';
    err_list_add(p->errors, "%s:%d: \"%s\" is neither KEY = VALUE nor [SECTION]", p->file, p->line,
                 text);
}

static void read_key(struct parser *p, const char *from, const char *end)
{
    end = before_comment(from, end, &p->quote);
    const char *sign = from;
    while (sign < end && *sign != '=' && *sign != ':')
        sign++;
    p->skip_continuation = true;
    if (sign == end) {
        complain_neither(p, from, end);
        return;
    }
    const char *key = take_name(p, from, sign, "key");
    if (!key)
        return;
    if (!p->section) {
        if (!p->lost_section)
            complain(p, "a key before the first [section]");
        return;
    }
    if (!add_entry(p, key))
        return;
    p->skip_continuation = false;
    p->key = key;
    snprintf(p->record, sizeof(p->record), "%.*s=K>\n", INIH_NAME, key);
    p->piece = sign + 1;
    p->piece_end = end;
    trim(&p->piece, &p->piece_end);
    p->piece_kind = 'P';
}

static bool check_line(struct parser *p, const char *from, const char *end)
{
    char text[64];

    if (end - from > INI_LINE_MAX) {
        snprintf(text, sizeof(text), "the line is longer than %d bytes", INI_LINE_MAX);
        complain(p, text);
        return false;
    }
    if (memchr(from, '\0', (size_t)(end - from))) {
        complain(p, "the line contains a NUL byte");
        return false;
    }
    return true;
}

/* "[service:web]", and not "[fe80::1]" or a piece of JSON. */
static bool looks_like_header(const char *from, const char *end)
{
    if (end - from < 3 || *from != '[' || end[-1] != ']' || !isalpha((unsigned char)from[1]))
        return false;
    for (const char *at = from + 1; at < end - 1; at++)
        if (!isalnum((unsigned char)*at) && !strchr("_-.:", *at))
            return false;
        else if (*at == ':' && at[1] == ':')
            return false;
    return true;
}

/* Whoever pasted a file with its indentation gets told, instead of a value with sections in it. */
static void complain_of_indent(struct parser *p)
{
    err_list_add(p->errors,
                 "%s:%d: this [section] is indented more than the line of \"%s\" above and would "
                 "continue its value; remove the blanks before it",
                 p->file, p->line, p->key);
}

static void read_line(struct parser *p, const char *from, const char *end)
{
    bool fine = check_line(p, from, end);
    const char *begin = from;

    trim(&from, &end);
    size_t indent = (size_t)(from - begin);
    bool more = (p->key || p->skip_continuation) && indent > p->key_indent;
    if (from == end || (more && (!fine || p->skip_continuation)))
        return;
    if (fine && (*from == ';' || *from == '#') && !(more && p->quote))
        return;
    if (more && !p->quote && looks_like_header(from, end)) {
        complain_of_indent(p);
        more = false;
    }
    if (more) {
        p->piece = from;
        p->piece_end = before_comment(from, end, &p->quote);
        trim(&p->piece, &p->piece_end);
        p->piece_kind = 'N';
        return;
    }
    finish_value(p);
    p->key_indent = indent;
    p->skip_continuation = !fine;
    if (*from == '[' && fine)
        read_header(p, from, end);
    else if (*from == '[')
        lose_section(p);
    else if (fine)
        read_key(p, from, end);
}

/* Writes the next piece of the value as an indented line of at most `size` bytes. */
static void put_piece(struct parser *p, char *into, size_t size)
{
    size_t left = (size_t)(p->piece_end - p->piece), len = size - RECORD_OVERHEAD;

    if (len > left)
        len = left;
    snprintf(into, size, "\t%c%.*s>\n", p->piece_kind, (int)len, p->piece);
    p->piece += len;
    p->piece_kind = 'P';
    p->sent++;
}

/* The fgets of inih. */
static char *feed(char *into, int size, void *stream)
{
    struct parser *p = stream;
    const char *from, *end;

    if (size < (int)sizeof(p->record))
        return NULL; /* noticed at the end, because less came back than was read */
    for (;;) {
        if (*p->record) {
            memcpy(into, p->record, sizeof(p->record));
            p->record[0] = '\0';
            p->sent += *into != '[';
            return into;
        }
        if (p->piece < p->piece_end) {
            put_piece(p, into, (size_t)size);
            return into;
        }
        if (p->no_memory || !next_line(p, &from, &end))
            return NULL;
        read_line(p, from, end);
    }
}

static bool begins_with(const char *whole, const char *part)
{
    return whole && strncmp(whole, part, strlen(part)) == 0;
}

/* What inih says: one more piece of the value of a key. */
static int receive(void *user, const char *section, const char *name, const char *value)
{
    struct parser *p = user;
    size_t len = strlen(value);

    if (len < 2 || value[len - 1] != '>' || !begins_with(p->section, section) ||
        !begins_with(p->key, name))
        return 0;
    p->received++;
    if (*value == 'N' && p->value.len)
        buf_putc(&p->value, '\n');
    buf_put(&p->value, value + 1, len - 2);
    return 1;
}

static void run(struct parser *p)
{
    int rc = ini_parse_stream(feed, p, receive, p);

    finish_value(p);
    if (p->no_memory)
        err_list_add(p->errors, "%s: out of memory", p->file);
    else if (rc != 0 || p->sent != p->received || p->at != p->end)
        err_list_add(p->errors, "%s: inih did not understand line %d", p->file, p->line);
}

int ini_parse_text(const char *file, const char *text, size_t len, struct arena *arena,
                   struct ini *ret, struct err_list *errors)
{
    struct parser p = {
        .file = file, .at = text, .end = text + len, .arena = arena, .errors = errors
    };
    size_t before = errors->total;

    buf_init(&p.value, INI_FILE_MAX);
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        p.at += 3;
    if (len > INI_FILE_MAX)
        err_list_add(errors, "%s: the file is larger than %d bytes", file, INI_FILE_MAX);
    else
        run(&p);
    buf_done(&p.value);
    *ret = (struct ini){ .file = file, .entries = p.entries, .count = p.count };
    if (p.no_memory)
        ret->count = 0;
    return errors->total > before ? ERR_INVALID : 0;
}
