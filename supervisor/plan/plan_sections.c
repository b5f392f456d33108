/* plan_sections.c - the contract is in plan_build.h. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/ini.h"
#include "base/near.h"
#include "supervisor/plan/options.h"
#include "supervisor/plan/plan_build.h"

enum { NAMED = 1, LAST_WINS = 2 };

static const struct {
    const char *prefix;
    enum plan_kind kind;
    int rules;
} kinds[] = {
    /* clang-format off */
    { "supervisor",       PLAN_KIND_SUPERVISOR,  0 },
    { "service",          PLAN_KIND_SERVICE,     NAMED },
    { "events",           PLAN_KIND_EVENTS,      NAMED },
    { "program",          PLAN_KIND_PROGRAM,     NAMED | LAST_WINS },
    { "socket",           PLAN_KIND_SOCKET,      NAMED },
    { "group",            PLAN_KIND_GROUP,       NAMED | LAST_WINS },
    { "access",           PLAN_KIND_ACCESS,      NAMED },
    { "include",          PLAN_KIND_INCLUDE,     0 },
    { "supervisord",      PLAN_KIND_SUPERVISORD, LAST_WINS },
    { "supervisorctl",    PLAN_KIND_FOREIGN,     LAST_WINS },
    { "unix_http_server", PLAN_KIND_FOREIGN,     LAST_WINS },
    { "inet_http_server", PLAN_KIND_FOREIGN,     LAST_WINS },
    { "eventlistener",    PLAN_KIND_FOREIGN,     NAMED | LAST_WINS },
    { "fcgi-program",     PLAN_KIND_FASTCGI,     NAMED | LAST_WINS },
    { "rpcinterface",     PLAN_KIND_FOREIGN,     NAMED | LAST_WINS },
    { "ctlplugin",        PLAN_KIND_FOREIGN,     NAMED | LAST_WINS },
    { "DEFAULT",          PLAN_KIND_DEFAULT,     LAST_WINS },
    /* clang-format on */
};
enum { NROWS = sizeof(kinds) / sizeof(kinds[0]) };

/* One header as it stands in a file, with the entries up to the next. */
struct opening {
    const char *title, *name;
    enum plan_kind kind;
    int rules;
    size_t file, number;
    int line;
    bool unknown;                    /* told when all are known */
    const struct ini_entry *entries; /* without the header */
    size_t count;
};
struct openings {
    struct opening *list;
    size_t count, room;
};

static int compare_numbers(size_t a, size_t b) { return a < b ? -1 : a > b; }

static int row_of(const char *title, size_t len)
{
    for (int i = 0; i < NROWS; i++)
        if (strlen(kinds[i].prefix) == len && strncmp(kinds[i].prefix, title, len) == 0)
            return i;
    return -1;
}

static const char *prefix_at(size_t i, const void *context)
{
    (void)context;
    return kinds[i].prefix;
}

/* supervisord leaves sections alone that it does not know, and so do we where every other section
 * is one of its own. */
static bool only_supervisord(const struct openings *all)
{
    bool theirs = false;

    for (size_t i = 0; i < all->count; i++) {
        enum plan_kind kind = all->list[i].kind;
        if (kind == PLAN_KIND_SUPERVISOR || kind == PLAN_KIND_SERVICE || kind == PLAN_KIND_SOCKET ||
            kind == PLAN_KIND_EVENTS || kind == PLAN_KIND_ACCESS)
            return false;
        theirs |= kind != PLAN_KIND_UNKNOWN && all->list[i].rules & LAST_WINS;
    }
    return theirs;
}

static void refuse_unknown(struct plan_build *build, const struct opening *at, bool lenient)
{
    size_t len = strcspn(at->title, ":");
    char prefix[64] = "";

    if (lenient) {
        plan_build_warn(build, at->file, at->line, at->title, NULL, "unknown section, ignored");
        return;
    }

    if (len < sizeof(prefix))
        memcpy(prefix, at->title, len);
    const char *nearest = near_name(prefix, NROWS, prefix_at, NULL);
    if (at->title[len] && nearest && kinds[row_of(nearest, strlen(nearest))].rules & NAMED)
        plan_build_error(build, at->file, at->line, at->title, NULL,
                         "unknown section, did you mean [%s:%.64s]?", nearest, at->title + len + 1);
    else if (nearest)
        plan_build_error(build, at->file, at->line, at->title, NULL,
                         "unknown section, did you mean [%s]?", nearest);
    else
        plan_build_error(build, at->file, at->line, at->title, NULL,
                         "unknown section, try [service:%.64s]",
                         at->title[len] ? at->title + len + 1 : at->title);
}

/* Finds out what the title names. */
static void classify(struct plan_build *build, struct opening *at)
{
    size_t len = strcspn(at->title, ":");
    const char *rest = at->title + len;
    int row = row_of(at->title, len);

    at->kind = PLAN_KIND_UNKNOWN;
    at->name = "";
    at->unknown = row < 0;
    if (at->unknown)
        return;
    at->rules = kinds[row].rules;
    if (*rest)
        at->name = rest + 1 + strspn(rest + 1, " \t");
    if (kinds[row].kind != PLAN_KIND_FOREIGN && !(at->rules & NAMED) && *rest)
        plan_build_error(build, at->file, at->line, at->title, NULL, "takes no name, try [%s]",
                         kinds[row].prefix);
    else if (at->rules & NAMED && !*at->name)
        plan_build_error(build, at->file, at->line, at->title, NULL, "has no name, try [%s:NAME]",
                         kinds[row].prefix);
    else
        at->kind = kinds[row].kind;
}

static struct opening *add_opening(struct plan_build *build, struct openings *all)
{
    if (all->count == all->room) {
        size_t room = all->room ? all->room * 2 : 64;
        struct opening *list = plan_build_scratch(build, room, sizeof(*list));
        if (!list)
            return NULL;
        if (all->count)
            memcpy(list, all->list, all->count * sizeof(*list));
        all->list = list;
        all->room = room;
    }
    struct opening *ret = &all->list[all->count];
    *ret = (struct opening){ .number = all->count };
    all->count++;
    return ret;
}

void plan_sections_adopt_errors(struct plan_build *build, size_t file, const struct err_list *list)
{
    size_t len = strlen(plan_build_path(build, file));

    for (size_t i = 0; i < list->count; i++) {
        const char *rest = strlen(list->lines[i]) > len ? list->lines[i] + len : "";
        char *end = NULL;
        long line = *rest == ':' ? strtol(rest + 1, &end, 10) : 0;
        bool placed = end && end > rest + 1 && *end == ':';
        const char *what = placed ? end + 1 : *rest == ':' ? rest + 1 : list->lines[i];
        plan_build_error(build, file, placed ? (int)line : 0, NULL, NULL, "%s",
                         what + strspn(what, " "));
    }
    build->errors.lost += list->total - list->count;
}

static void read_file(struct plan_build *build, size_t file, struct openings *all)
{
    const struct plan_file *from = &build->source->files[file];
    struct err_list list;
    struct opening *open = NULL;
    struct ini ini;

    err_list_init(&list);
    ini_parse_text(from->path, from->text, from->len, &build->scratch, &ini, &list);
    plan_sections_adopt_errors(build, file, &list);
    err_list_done(&list);
    for (size_t i = 0; i < ini.count; i++) {
        if (ini.entries[i].key) {
            if (open)
                open->count++;
            continue;
        }
        open = add_opening(build, all);
        if (!open)
            return;
        open->title = ini.entries[i].section;
        open->file = file;
        open->line = ini.entries[i].line;
        open->entries = &ini.entries[i + 1];
        classify(build, open);
    }
}

static int by_title(const void *a, const void *b)
{
    const struct opening *x = a, *y = b;

    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    int order = strcmp(x->name, y->name);
    if (order == 0 && x->kind == PLAN_KIND_FOREIGN)
        order = strcmp(x->title, y->title);
    return order ? order : compare_numbers(x->number, y->number);
}

static bool same_section(const struct opening *a, const struct opening *b)
{
    return a->kind == b->kind && strcmp(a->name, b->name) == 0 &&
           (a->kind != PLAN_KIND_FOREIGN || strcmp(a->title, b->title) == 0);
}

struct sortable {
    struct plan_key key;
    size_t number;
};

static int by_key(const void *a, const void *b)
{
    const struct sortable *x = a, *y = b;
    int order = strcmp(x->key.key, y->key.key);

    return order ? order : compare_numbers(x->number, y->number);
}

static int by_number(const void *a, const void *b)
{
    return compare_numbers(((const struct sortable *)a)->number,
                           ((const struct sortable *)b)->number);
}

/* The next of the same key: refused in our sections, takes the place in supervisord's. */
static void repeat(struct plan_build *build, const struct plan_section *section,
                   struct sortable *first, const struct sortable *next, int rules)
{
    if (rules & LAST_WINS) {
        first->key = next->key;
        return;
    }
    if (section->kind == PLAN_KIND_INCLUDE && first->key.file != next->key.file)
        return;
    plan_build_error(build, next->key.file, next->key.line, section->title, next->key.key,
                     "given twice, first given at %s:%d", plan_build_path(build, first->key.file),
                     first->key.line);
}

/* supervisord knows keys in any case. */
static const char *lower_case(struct plan_build *build, const char *key)
{
    const char *at = key;

    while (*at && !isupper((unsigned char)*at))
        at++;
    if (!*at)
        return key;
    char *ret = arena_strdup(&build->scratch, key);
    build->no_memory |= !ret;
    for (char *c = ret; c && *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return ret ? ret : key;
}

/* The keys of [DEFAULT] that stand behind this section: those that a program knows. */
static size_t put_defaults(const struct plan_build *build, enum plan_kind kind,
                           struct sortable *keys)
{
    const struct plan_section *defaults = build->defaults;
    size_t count = 0;

    if (!defaults || (kind != PLAN_KIND_PROGRAM && kind != PLAN_KIND_FASTCGI))
        return 0;
    for (size_t i = 0; i < defaults->nkeys; i++)
        if (opt_find(&options_service, defaults->keys[i].key)) {
            keys[count] = (struct sortable){ defaults->keys[i], count };
            count++;
        }
    return count;
}

/* Gathers the keys of openings[0..count), each once. */
static void gather(struct plan_build *build, const struct opening *openings, size_t count,
                   struct plan_section *section)
{
    size_t total = build->defaults ? build->defaults->nkeys : 0, kept = 0;

    for (size_t i = 0; i < count; i++)
        total += openings[i].count;
    struct sortable *keys = plan_build_scratch(build, total, sizeof(*keys));
    section->keys = plan_build_scratch(build, total, sizeof(*section->keys));
    if (!keys || !section->keys)
        return;
    total = put_defaults(build, openings->kind, keys);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < openings[i].count; k++, total++) {
            const struct ini_entry *entry = &openings[i].entries[k];
            bool any_case = openings->rules & LAST_WINS || openings->kind == PLAN_KIND_INCLUDE;
            const char *key = any_case ? lower_case(build, entry->key) : entry->key;
            keys[total] =
                (struct sortable){ { key, entry->value, openings[i].file, entry->line }, total };
        }
    qsort(keys, total, sizeof(*keys), by_key);
    for (size_t i = 0; i < total; i++) {
        if (kept && strcmp(keys[kept - 1].key.key, keys[i].key.key) == 0)
            repeat(build, section, &keys[kept - 1], &keys[i], openings->rules);
        else
            keys[kept++] = keys[i];
    }
    qsort(keys, kept, sizeof(*keys), by_number);
    for (size_t i = 0; i < kept; i++)
        section->keys[i] = keys[i].key;
    section->nkeys = kept;
}

static void add_section(struct plan_build *build, const struct opening *openings, size_t count)
{
    struct plan_section *section = &build->sections[build->nsections++];

    *section = (struct plan_section){ .kind = openings->kind,
                                      .title = openings->title,
                                      .name = openings->name,
                                      .file = openings->file,
                                      .line = openings->line };
    gather(build, openings, count, section);
}

/* Sections of one name: merged, or for services and sockets refused from the second on. */
static void add_same(struct plan_build *build, const struct opening *openings, size_t count)
{
    bool once = openings->kind == PLAN_KIND_SERVICE || openings->kind == PLAN_KIND_SOCKET ||
                openings->kind == PLAN_KIND_EVENTS || openings->kind == PLAN_KIND_ACCESS;

    if (openings->kind == PLAN_KIND_DEFAULT) {
        struct plan_section *defaults = plan_build_scratch(build, 1, sizeof(*defaults));
        if (defaults)
            gather(build, openings, count, defaults);
        build->defaults = defaults;
        return;
    }
    if (!once) {
        add_section(build, openings, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        add_section(build, &openings[i], 1);
        if (i == 0)
            continue;
        build->sections[build->nsections - 1].again = true;
        plan_build_error(build, openings[i].file, openings[i].line, openings[i].title, NULL,
                         "given twice, first given at %s:%d",
                         plan_build_path(build, openings->file), openings->line);
    }
}

static int by_position(const void *a, const void *b)
{
    const struct plan_section *x = a, *y = b;

    if (x->file != y->file)
        return compare_numbers(x->file, y->file);
    return x->line < y->line ? -1 : x->line > y->line;
}

void plan_sections_collect(struct plan_build *build)
{
    struct openings all = { 0 };

    for (size_t i = 0; i < build->source->nfiles && !build->no_memory; i++)
        read_file(build, i, &all);
    bool lenient = only_supervisord(&all);
    for (size_t i = 0; i < all.count; i++)
        if (all.list[i].unknown)
            refuse_unknown(build, &all.list[i], lenient);
    /* Twice the room: a FastCGI program becomes two. */
    build->sections = plan_build_scratch(build, all.count * 2, sizeof(*build->sections));
    if (!build->sections || !all.count)
        return;
    qsort(all.list, all.count, sizeof(*all.list), by_title);
    for (size_t i = 0, next; i < all.count; i = next) {
        for (next = i + 1; next < all.count && same_section(&all.list[i], &all.list[next]);)
            next++;
        if (all.list[i].kind != PLAN_KIND_UNKNOWN)
            add_same(build, &all.list[i], next - i);
    }
    qsort(build->sections, build->nsections, sizeof(*build->sections), by_position);
}

const struct plan_key *plan_sections_key(const struct plan_section *section, const char *key)
{
    for (size_t i = 0; i < section->nkeys; i++)
        if (strcmp(section->keys[i].key, key) == 0)
            return &section->keys[i];
    return NULL;
}

size_t plan_sections_count(const struct plan_build *build, enum plan_kind kind)
{
    size_t count = 0;

    for (size_t i = 0; i < build->nsections; i++)
        count += build->sections[i].kind == kind;
    return count;
}
