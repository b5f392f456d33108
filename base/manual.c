/* manual.c - the contract is in manual.h. */
#include "base/manual.h"

#include <string.h>

#include "base/cli_inside.h"

/* Of the texts; a page that is made twice is the same to the byte. */
static const char date[] = "November 28, 2026";

enum { RANGE_MAX = 4096, WIDTH = 72 };

/* What mdoc would take for its own is escaped. */
static void put_char(struct buf *out, char c, bool first)
{
    if (first && (c == '.' || c == '\''))
        buf_puts(out, "\\&");
    if (c == '\\')
        buf_puts(out, "\\e");
    else
        buf_putc(out, c);
}

static void put_literal(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        put_char(out, text[i], i == 0);
    buf_putc(out, '\n');
}

/* In lines of readable length; a sentence ends a line, as mdoc wants it. */
static void put_text(struct buf *out, const char *text, size_t len)
{
    size_t column = 0;

    for (size_t i = 0; i < len; i++) {
        bool sentence = i > 0 && text[i] == ' ' && text[i - 1] == '.' && i + 1 < len &&
                        text[i + 1] >= 'A' && text[i + 1] <= 'Z';
        if (text[i] == ' ' && (sentence || column >= WIDTH)) {
            buf_putc(out, '\n');
            column = 0;
            continue;
        }
        put_char(out, text[i], column++ == 0);
    }
    buf_putc(out, '\n');
}

static bool is_example(const char *line, size_t len) { return len > 0 && line[0] == ' '; }

/* Paragraphs with empty lines between them; lines that begin with a blank stay as they are. */
static void put_paragraphs(struct buf *out, const char *text)
{
    bool literal = false, gap = false, any = false;

    while (*text) {
        size_t len = strcspn(text, "\n");
        bool example = is_example(text, len);

        if (example && !literal)
            buf_puts(out, ".Bd -literal -offset indent\n");
        if (!example && literal && len > 0)
            buf_puts(out, ".Ed\n");
        if (len > 0) {
            if (gap && any && !example)
                buf_puts(out, ".Pp\n");
            literal = example;
            (example ? put_literal : put_text)(out, text, len);
            any = true;
        }
        gap = len == 0;
        text += len + (text[len] == '\n');
    }
    if (literal)
        buf_puts(out, ".Ed\n");
}

/* Words on a macro line; what could be a macro itself is not taken for one. */
static void put_words(struct buf *out, const char *words)
{
    while (*words) {
        size_t len = strcspn(words, " ");

        buf_puts(out, " \\&");
        for (size_t i = 0; i < len; i++)
            if (words[i] == '\\')
                buf_puts(out, "\\e");
            else
                buf_putc(out, words[i]);
        words += len + strspn(words + len, " ");
    }
}

static void put_head(struct buf *out, const struct manual *manual)
{
    buf_printf(out, ".Dd %s\n.Dt ", date);
    for (const char *at = manual->name; *at; at++)
        buf_putc(out, *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at);
    buf_printf(out, " %s\n.Os\n.Sh NAME\n.Nm %s\n.Nd %s\n", manual->section, manual->name,
               manual->summary);
}

static void put_parts(struct buf *out, const struct manual_part *part)
{
    for (; part && part->heading; part++)
        buf_printf(out, ".Sh %s\n%s", part->heading, part->mdoc);
}

static void put_option_list(struct buf *out, const struct cli_option *option)
{
    if (!option || !option->name)
        return;
    buf_puts(out, ".Bl -tag -width Ds\n");
    for (; option->name; option++) {
        buf_puts(out, ".It");
        if (option->letter)
            buf_printf(out, " Fl %c ,", option->letter);
        buf_printf(out, " Fl -%s", option->name);
        if (option->value)
            buf_printf(out, " Ar %s", option->value);
        buf_putc(out, '\n');
        put_paragraphs(out, option->help);
    }
    buf_puts(out, ".El\n");
}

static void put_command_list(struct buf *out, const struct cli_command *commands, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct cli_command *command = &commands[i];

        if (command->hidden)
            continue;
        buf_printf(out, ".It Cm %s", command->name);
        if (command->options && command->options->name)
            buf_puts(out, " Op Ar option ...");
        if (*command->words)
            buf_puts(out, " Ar");
        put_words(out, command->words);
        buf_putc(out, '\n');
        put_paragraphs(out, command->help);
        put_option_list(out, command->options);
    }
}

void manual_commands(const struct manual *manual, const struct cli_program *program,
                     struct buf *out)
{
    put_head(out, manual);
    buf_printf(out, ".Sh SYNOPSIS\n.Nm\n.Op Ar option ...\n.Ar command\n.Op Ar word ...\n"
                    ".Sh DESCRIPTION\n");
    put_paragraphs(out, manual->description);
    put_parts(out, manual->before);
    buf_puts(out, ".Sh COMMANDS\n.Bl -tag -width Ds\n");
    put_command_list(out, program->commands, program->ncommands);
    put_command_list(out, cli_built_in_commands, cli_nbuilt_in_commands);
    buf_puts(out, ".El\n.Pp\nOptions of every command:\n");
    put_option_list(out, program->globals);
    put_option_list(out, cli_built_in_options);
    put_parts(out, manual->after);
}

static void put_value(struct buf *out, const struct opt *row)
{
    struct buf range;

    buf_init(&range, RANGE_MAX);
    opt_range_text(row, &range);
    buf_printf(out, ".br\nType: %s%s%s", opt_type_name(row->type), range.len ? ", " : "",
               buf_text(&range));
    if (row->initial)
        buf_printf(out, "; default: %s", row->initial);
    buf_putc(out, '\n');
    buf_done(&range);
}

static void put_key(struct buf *out, const struct opt_table *table, const struct opt *row,
                    manual_note_fn *note)
{
    buf_printf(out, ".It Ic %s\n", row->key);
    put_paragraphs(out, row->help);
    put_value(out, row);
    if (note)
        note(table, row, out);
    if (row->example) {
        buf_puts(out, ".br\nExample: ");
        put_text(out, row->example, strlen(row->example));
    }
}

void manual_options(const struct manual *manual, const struct opt_table *const *tables,
                    manual_note_fn *note, struct buf *out)
{
    put_head(out, manual);
    buf_puts(out, ".Sh DESCRIPTION\n");
    put_paragraphs(out, manual->description);
    put_parts(out, manual->before);
    buf_puts(out, ".Sh SECTIONS\n");
    for (size_t t = 0; tables[t]; t++) {
        buf_printf(out, ".Ss [%s]\n", tables[t]->section);
        put_paragraphs(out, tables[t]->help);
        buf_puts(out, ".Bl -tag -width Ds\n");
        for (size_t i = 0; i < tables[t]->count; i++)
            put_key(out, tables[t], &tables[t]->rows[i], note);
        buf_puts(out, ".El\n");
    }
    put_parts(out, manual->after);
}
