/* fuzz_ini.c - any bytes are either read or complained about, and never change on the way.
 *
 * Beside what the sanitizers see, three properties are checked: an error code comes with an
 * error line; every entry is whole and in order; what was read, written out plainly and read
 * again is the same.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/ini.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int fact)
{
    if (!fact)
        abort();
}

static void check_entries(const struct ini *ini)
{
    int line = 0;

    for (size_t i = 0; i < ini->count; i++) {
        const struct ini_entry *entry = &ini->entries[i];
        require(entry->line > line);
        line = entry->line;
        require(entry->section && *entry->section && strlen(entry->section) <= INI_NAME_MAX);
        require(entry->value != NULL);
        require(!entry->key || (*entry->key && strlen(entry->key) <= INI_NAME_MAX));
        require(i > 0 || !entry->key);
    }
}

/* Comments have gone, so writing keys at the margin and the lines of values indented must give
 * the same entries again. */
static void write_out(const struct ini *ini, struct buf *out)
{
    for (size_t i = 0; i < ini->count; i++) {
        const struct ini_entry *entry = &ini->entries[i];
        if (!entry->key) {
            buf_printf(out, "[%s]\n", entry->section);
            continue;
        }
        buf_printf(out, "%s=", entry->key); /* a blank would make a comment of "=;" */
        for (const char *at = entry->value; *at; at++) {
            buf_putc(out, *at);
            if (*at == '\n')
                buf_puts(out, "  ");
        }
        buf_putc(out, '\n');
    }
}

static void check_again(const struct ini *ini)
{
    struct buf text;
    struct arena arena;
    struct err_list errors;
    struct ini again;

    buf_init(&text, INI_FILE_MAX);
    arena_init(&arena);
    err_list_init(&errors);
    write_out(ini, &text);
    if (!text.failed) {
        require(ini_parse_text("again", buf_text(&text), text.len, &arena, &again, &errors) == 0);
        require(again.count == ini->count);
        for (size_t i = 0; i < again.count; i++) {
            require(strcmp(again.entries[i].section, ini->entries[i].section) == 0);
            require(!again.entries[i].key == !ini->entries[i].key);
            require(strcmp(again.entries[i].value, ini->entries[i].value) == 0);
        }
    }
    err_list_done(&errors);
    arena_done(&arena);
    buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct err_list errors;
    struct ini ini;

    arena_init(&arena);
    err_list_init(&errors);
    int rc = ini_parse_text("fuzz", (const char *)data, size, &arena, &ini, &errors);
    require((rc < 0) == (errors.total > 0));
    for (size_t i = 0; i < errors.count; i++)
        require(strncmp(errors.lines[i], "fuzz: inih", 10) != 0);
    check_entries(&ini);
    if (rc == 0)
        check_again(&ini);
    err_list_done(&errors);
    arena_done(&arena);
    return 0;
}
