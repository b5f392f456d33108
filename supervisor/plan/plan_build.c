/* plan_build.c - the contract is in plan_build.h. */
#include "supervisor/plan/plan_build.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/plan/options.h"

enum { NOTES_MAX = 4096, NOTE_TEXT_MAX = 1024 };

void *plan_build_scratch(struct plan_build *build, size_t count, size_t size)
{
    void *ret = arena_array(&build->scratch, count ? count : 1, size);
    build->no_memory |= !ret;
    return ret;
}

void *plan_build_keep(struct plan_build *build, size_t count, size_t size)
{
    void *ret = arena_array(&build->plan->arena, count ? count : 1, size);
    build->no_memory |= !ret;
    return ret;
}

const char *plan_build_path(const struct plan_build *build, size_t file)
{
    return build->paths[file];
}

const char *plan_build_here(struct plan_build *build, size_t file)
{
    const char *path = plan_build_path(build, file), *slash = strrchr(path, '/');
    size_t len = !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
    const char *folder = arena_strndup(&build->scratch, len ? path : ".", len ? len : 1);
    const char *here = folder ? plan_build_text(build, folder) : NULL;

    build->no_memory |= !here;
    return here ? here : "";
}

const char *plan_build_text(struct plan_build *build, const char *text)
{
    const char *ret = arena_share_text(&build->plan->arena, text);
    build->no_memory |= !ret;
    return ret;
}

/* Values are quoted in messages; what a terminal would act upon is not passed on. */
static void make_plain(char *text)
{
    for (; *text; text++)
        if (iscntrl((unsigned char)*text))
            *text = '?';
}

static void add(struct plan_build *build, struct plan_notes *notes, size_t file, int line,
                const char *text)
{
    if (notes->count == notes->room) {
        size_t room = notes->room ? notes->room * 2 : 32;
        struct plan_note *more =
            room <= NOTES_MAX ? plan_build_scratch(build, room, sizeof(*more)) : NULL;
        if (!more) {
            notes->lost++;
            return;
        }
        if (notes->count)
            memcpy(more, notes->notes, notes->count * sizeof(*more));
        notes->notes = more;
        notes->room = room;
    }
    const char *copy = arena_strdup(&build->scratch, text);
    if (!copy) {
        notes->lost++;
        return;
    }
    notes->notes[notes->count] = (struct plan_note){ file, line, notes->count, copy };
    notes->count++;
}

static void __attribute__((format(printf, 6, 0)))
note(struct plan_build *build, struct plan_notes *notes, struct spec_place place, const char *title,
     const char *key, const char *fmt, va_list args)
{
    char text[NOTE_TEXT_MAX], where[256] = "";

    if (vsnprintf(text, sizeof(text), fmt, args) < 0)
        text[0] = '\0';
    make_plain(text);
    if (title)
        snprintf(where, sizeof(where), " [%.80s]%s%.80s%s", title, key ? " " : "", key ? key : "",
                 key ? ":" : "");
    char number[16] = "";
    if (place.line)
        snprintf(number, sizeof(number), "%d:", place.line);
    char *line = arena_printf(&build->scratch, "%s:%s%s %s", plan_build_path(build, place.file),
                              number, where, text);
    if (line)
        add(build, notes, place.file, place.line, line);
    else
        notes->lost++;
}

void plan_build_error(struct plan_build *build, size_t file, int line, const char *title,
                      const char *key, const char *fmt, ...)
{
    struct spec_place place = { file, line };
    va_list args;

    va_start(args, fmt);
    note(build, &build->errors, place, title, key, fmt, args);
    va_end(args);
}

void plan_build_warn(struct plan_build *build, size_t file, int line, const char *title,
                     const char *key, const char *fmt, ...)
{
    struct spec_place place = { file, line };
    va_list args;

    va_start(args, fmt);
    note(build, &build->warnings, place, title, key, fmt, args);
    va_end(args);
}

static struct spec_place place_of(const struct plan_lines *lines, const char *key)
{
    const struct opt *row = key ? opt_find(&options_service, key) : NULL;

    if (row && lines->places[row - options_service.rows].line)
        return lines->places[row - options_service.rows];
    return (struct spec_place){ lines->section->file, lines->section->line };
}

void plan_build_service_error(struct plan_build *build, size_t index, const char *key,
                              const char *fmt, ...)
{
    const struct plan_lines *lines = &build->lines[index];
    va_list args;

    va_start(args, fmt);
    note(build, &build->errors, place_of(lines, key), lines->section->title, key, fmt, args);
    va_end(args);
}

void plan_build_service_warn(struct plan_build *build, size_t index, const char *key,
                             const char *fmt, ...)
{
    const struct plan_lines *lines = &build->lines[index];
    va_list args;

    va_start(args, fmt);
    note(build, &build->warnings, place_of(lines, key), lines->section->title, key, fmt, args);
    va_end(args);
}

static int by_place(const void *a, const void *b)
{
    const struct plan_note *x = a, *y = b;

    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

void plan_build_deliver(struct plan_build *build, struct plan_notes *notes, struct err_list *list)
{
    if (notes->count)
        qsort(notes->notes, notes->count, sizeof(*notes->notes), by_place);
    for (size_t i = 0; i < notes->count; i++)
        err_list_add(list, "%s", notes->notes[i].text);
    for (size_t i = 0; i < notes->lost; i++)
        err_list_add(list, "%s: further errors", build->source->config);
}
