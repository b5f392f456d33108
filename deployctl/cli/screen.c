/* screen.c - the contract is in screen.h. */
#include "deployctl/cli/screen.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/unit.h"

enum {
    WORDS_MAX = 16,
    LINE_BYTES = 2048,
    BAR_WIDTH = 24,
    BAR_SHORT = 10, /* beside counts, which need the room */
    NARROW = 40,    /* columns: no bar any more, and one blank between cells */
    STATE_WIDTH = 10,
    TIME_WIDTH = 7,
    BYTES_WIDTH = 13,
    NOTE_LEAST = 16, /* less of a note tells nothing */
    NAME_LEAST = 6,
    HEAD_ROWS = 8, /* of the terminal: with fewer a host is worth more than the heads */
    THOUSAND = 1000,
};

static const struct word {
    const char *word;
    enum screen_rank rank;
    const char *colour;
} words[] = {
    /* clang-format off */
    { "problem",    SCREEN_TROUBLE, "\033[31m" },
    { "sending",    SCREEN_AT_WORK, "\033[33m" },
    { "switching",  SCREEN_AT_WORK, "\033[33m" },
    { "going back", SCREEN_AT_WORK, "\033[33m" },
    { "waiting",    SCREEN_AT_WORK, "\033[33m" },
    { "drained",    SCREEN_AT_WORK, "\033[33m" },
    { "lost",       SCREEN_AT_WORK, "\033[33m" },
    { "moving",     SCREEN_AT_WORK, "\033[33m" },
    { "switched",   SCREEN_WATCHED, "\033[32m" }, /* until it is confirmed */
    { "confirmed",  SCREEN_QUIET,   "\033[32m" },
    /* clang-format on */
};
enum { NWORDS = sizeof words / sizeof words[0] };

static const struct word *find_word(const char *text)
{
    static const struct word quiet = { "", SCREEN_QUIET, "" };
    for (size_t i = 0; i < NWORDS; i++)
        if (strcmp(words[i].word, text) == 0)
            return &words[i];
    return &quiet;
}

static bool is(const struct screen_host *host, const char *word)
{
    return strcmp(host->word, word) == 0;
}

/* One that was brought back because of its trouble is still the one to look at. */
enum screen_rank screen_rank(const struct screen_host *host)
{
    bool hurt = host->hurt[0] && (is(host, "going back") || is(host, "back"));
    return hurt ? SCREEN_TROUBLE : find_word(host->word)->rank;
}

/* --- what is known ------------------------------------------------------------------------------
 */

int screen_init(struct screen *screen, const struct recipe *recipe, struct err *err)
{
    *screen = (struct screen){ .hosts = calloc(recipe->count + 1, sizeof *screen->hosts) };
    if (!screen->hosts)
        return err_set(err, ERR_MEMORY, "no memory for %zu hosts", recipe->count);
    screen->count = recipe->count;
    for (size_t i = 0; i < recipe->count; i++) {
        screen->hosts[i].name = recipe->hosts[i].name;
        screen->hosts[i].began_ms = screen->hosts[i].took_ms = -1;
    }
    return 0;
}

void screen_done(struct screen *screen)
{
    free(screen->hosts);
    screen->hosts = NULL;
    screen->count = 0;
}

static struct screen_host *find_host(struct screen *screen, const char *name)
{
    for (size_t i = 0; i < screen->count; i++) {
        size_t at = (screen->hint + i) % screen->count; /* news come in the order of the hosts */
        if (strcmp(screen->hosts[at].name, name) != 0)
            continue;
        screen->hint = at;
        return &screen->hosts[at];
    }
    return NULL;
}

static void set_word(struct screen_host *host, const char *word, int64_t at_ms)
{
    if (is(host, word))
        return;
    snprintf(host->word, sizeof host->word, "%s", word);
    host->since_ms = at_ms;
    if (find_word(word)->rank >= SCREEN_WATCHED && host->began_ms < 0) {
        host->began_ms = at_ms;
    } else if (find_word(word)->rank == SCREEN_QUIET && host->began_ms >= 0) {
        host->took_ms = at_ms - host->began_ms;
        host->began_ms = -1;
    }
}

static void take_host(struct screen_host *host, const struct driver_news *news)
{
    const char *word = news->word ? news->word : "", *text = news->text ? news->text : "";
    set_word(host, word, news->at_ms);
    snprintf(host->note, sizeof host->note, "%s", text);
    if (find_word(word)->rank == SCREEN_TROUBLE)
        snprintf(host->hurt, sizeof host->hurt, "%s", text);
    else if (strcmp(word, "going back") != 0 && strcmp(word, "back") != 0)
        host->hurt[0] = '\0';
}

static void take_bytes(struct screen_host *host, const struct driver_news *news)
{
    set_word(host, "sending", news->at_ms);
    host->note[0] = '\0';
    host->done = news->done;
    host->total = news->total;
}

static void take_health(struct screen_host *host, const struct driver_news *news)
{
    if (news->total == 0)
        host->health[0] = '\0';
    else if (news->done == news->total)
        snprintf(host->health, sizeof host->health, "ready");
    else
        snprintf(host->health, sizeof host->health, "%llu/%llu ready",
                 (unsigned long long)news->done, (unsigned long long)news->total);
}

void screen_take(struct screen *screen, const struct driver_news *news)
{
    struct screen_host *host = news->host ? find_host(screen, news->host) : NULL;
    screen->at_ms = news->at_ms;
    switch (news->kind) {
    case DRIVER_NEWS_STAGE:
        snprintf(screen->stage, sizeof screen->stage, "%s", news->word);
        snprintf(screen->what, sizeof screen->what, "%s", news->text);
        return;
    case DRIVER_NEWS_VERDICT:
        snprintf(screen->counts, sizeof screen->counts, "%s", news->text);
        return;
    case DRIVER_NEWS_BAKE:
        screen->bake_done = news->done;
        screen->bake_total = news->total;
        return;
    case DRIVER_NEWS_HOST:
        if (host)
            take_host(host, news);
        return;
    case DRIVER_NEWS_BYTES:
        if (host)
            take_bytes(host, news);
        return;
    case DRIVER_NEWS_HEALTH:
        if (host)
            take_health(host, news);
        return;
    case DRIVER_NEWS_TICK:
    case DRIVER_NEWS_NOTE:
    case DRIVER_NEWS_WARNING:
    case DRIVER_NEWS_ERROR:
    case DRIVER_NEWS_QUESTION:
        return;
    }
}

/* --- cells --------------------------------------------------------------------------------------
 */

/* A line that is filled from the left and never gets longer than `room` characters. */
struct line {
    char text[LINE_BYTES];
    size_t len, cells, room;
};

static size_t cells_of(const char *text)
{
    size_t cells = 0;
    for (; *text; text++)
        cells += ((unsigned char)*text & 0xc0) != 0x80;
    return cells;
}

/* Bytes that may act on a terminal (C0, DEL, C1 in UTF-8) are shown as '?'. */
static bool acts(const char *at)
{
    unsigned char c = (unsigned char)at[0], next = (unsigned char)at[1];
    return c < ' ' || c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0);
}

static void put(struct line *line, const char *text)
{
    while (*text && line->cells < line->room && line->len + 8 < sizeof line->text) {
        size_t len = 1;
        while (len < 4 && ((unsigned char)text[len] & 0xc0) == 0x80)
            len++;
        if (acts(text)) {
            line->text[line->len++] = '?';
        } else {
            memcpy(line->text + line->len, text, len);
            line->len += len;
        }
        line->cells++;
        text += len;
    }
    line->text[line->len] = '\0';
}

static void pad_to(struct line *line, size_t cells)
{
    while (line->cells < cells && line->cells < line->room)
        put(line, " ");
}

static void put_fmt(struct line *line, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put_fmt(struct line *line, const char *fmt, ...)
{
    char text[LINE_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    put(line, text);
}

/* Names differ at both ends: what is left out is in the middle. */
static void put_name(struct line *line, const char *name, size_t len, size_t width)
{
    if (len <= width) {
        put_fmt(line, "%.*s", (int)len, name);
        return;
    }
    size_t tail = (width - 1) / 2, head = width - 1 - tail;
    put_fmt(line, "%.*s~%.*s", (int)head, name, (int)tail, name + len - tail);
}

static void emit(struct buf *out, const struct line *line, const char *colour)
{
    size_t len = line->len;
    while (len > 0 && line->text[len - 1] == ' ')
        len--;
    buf_printf(out, "%s%.*s%s\n", colour, (int)len, line->text, *colour ? "\033[0m" : "");
}

/* --- layout -------------------------------------------------------------------------------------
 */

struct layout {
    size_t room, gap, name, time, bytes, health; /* widths; 0 = the column is left out */
    size_t domain; /* bytes at the end of every name that are not shown */
    bool note, colour;
};

/* ".example.net", when all names end so. */
static size_t common_domain(const struct screen *screen)
{
    const char *first = screen->count > 1 ? screen->hosts[0].name : "";
    const char *domain = strchr(first, '.');
    for (size_t i = 1; domain && i < screen->count; i++) {
        const char *name = screen->hosts[i].name;
        size_t len = strlen(name);
        while (domain &&
               (strlen(domain) >= len || strcmp(name + len - strlen(domain), domain) != 0))
            domain = strchr(domain + 1, '.');
    }
    return domain ? strlen(domain) : 0;
}

/* Columns that nobody has anything for are left out, too. */
static void choose_columns(const struct screen *screen, struct layout *layout)
{
    size_t longest = 4;
    for (size_t i = 0; i < screen->count; i++) {
        const struct screen_host *host = &screen->hosts[i];
        size_t name = strlen(host->name), health = cells_of(host->health);
        longest = name > longest ? name : longest;
        layout->bytes = host->total > 0 ? BYTES_WIDTH : layout->bytes;
        layout->health = health > layout->health ? health : layout->health;
    }
    if (layout->health > 0 && layout->health < strlen("HEALTH"))
        layout->health = strlen("HEALTH");
    layout->time = TIME_WIDTH;
    if (longest > layout->room / 3) {
        layout->domain = common_domain(screen);
        longest -= layout->domain;
    }
    layout->name = longest < layout->room / 3 ? longest : layout->room / 3;
}

static size_t width_of(const struct layout *layout)
{
    size_t width = layout->name + layout->gap + STATE_WIDTH;
    width += layout->time ? layout->gap + layout->time : 0;
    width += layout->bytes ? layout->gap + layout->bytes : 0;
    width += layout->health ? layout->gap + layout->health : 0;
    return width;
}

static struct layout lay_out(const struct screen *screen, size_t columns, bool colour)
{
    struct layout layout = { .colour = colour };
    columns = columns > SCREEN_COLUMNS_MAX ? SCREEN_COLUMNS_MAX : columns;
    layout.room = columns > 1 ? columns - 1 : 1;
    layout.gap = columns < NARROW ? 1 : 2;
    choose_columns(screen, &layout);
    if (width_of(&layout) + layout.gap + NOTE_LEAST > layout.room && layout.bytes > 0 &&
        strcmp(screen->stage, "stage") != 0)
        layout.bytes = 0; /* they are there: what happens now says more */
    if (width_of(&layout) > layout.room)
        layout.health = 0;
    if (width_of(&layout) > layout.room)
        layout.bytes = 0;
    if (width_of(&layout) > layout.room)
        layout.time = 0;
    if (layout.name < NAME_LEAST)
        layout.name = NAME_LEAST;
    layout.note = width_of(&layout) + layout.gap + NOTE_LEAST / 2 <= layout.room;
    return layout;
}

/* --- rows ---------------------------------------------------------------------------------------
 */

static const char *time_text(int64_t ms, char text[static UNIT_TEXT_MAX])
{
    if (ms < 0)
        return "";
    return unit_duration_text(ms >= THOUSAND ? ms - ms % THOUSAND : 0, text);
}

/* At rest: how long its work took; else for how long it is in this state. */
static int64_t time_of(const struct screen *screen, const struct screen_host *host)
{
    if (find_word(host->word)->rank == SCREEN_QUIET)
        return host->took_ms;
    return screen->at_ms > host->since_ms ? screen->at_ms - host->since_ms : 0;
}

static void put_bytes(struct line *line, const struct screen_host *host)
{
    char text[UNIT_TEXT_MAX];
    if (host->total == 0)
        return;
    unit_size_text((int64_t)host->done, text);
    if (is(host, "sending"))
        put_fmt(line, "%s %3llu%%", text, (unsigned long long)(100 * host->done / host->total));
    else
        put(line, text);
}

static void put_host(const struct screen *screen, const struct layout *layout,
                     const struct screen_host *host, struct buf *out)
{
    struct line line = { .room = layout->room };
    char time[UNIT_TEXT_MAX];
    const char *word = host->word[0] ? host->word : "-";
    bool trouble = screen_rank(host) == SCREEN_TROUBLE;
    put_name(&line, host->name, strlen(host->name) - layout->domain, layout->name);
    size_t at = layout->name + layout->gap;
    pad_to(&line, at);
    put(&line, word);
    at += STATE_WIDTH + layout->gap;
    if (layout->time) {
        pad_to(&line, at);
        put(&line, time_text(time_of(screen, host), time));
        at += layout->time + layout->gap;
    }
    if (trouble) { /* the reason is worth more than two columns */
        pad_to(&line, at);
        if (at + NOTE_LEAST / 2 <= layout->room)
            put(&line, host->hurt);
        emit(out, &line, layout->colour ? "\033[31m" : "");
        return;
    }
    if (layout->bytes) {
        pad_to(&line, at);
        put_bytes(&line, host);
        at += layout->bytes + layout->gap;
    }
    if (layout->health) {
        pad_to(&line, at);
        put(&line, host->health);
        at += layout->health + layout->gap;
    }
    if (layout->note) {
        pad_to(&line, at);
        put(&line, host->note);
    }
    emit(out, &line, layout->colour ? find_word(host->word)->colour : "");
}

static void put_head(const struct layout *layout, struct buf *out)
{
    struct line line = { .room = layout->room };
    size_t at = layout->name + layout->gap;
    put(&line, "HOST");
    pad_to(&line, at);
    put(&line, "STATE");
    at += STATE_WIDTH + layout->gap;
    if (layout->time) {
        pad_to(&line, at);
        put(&line, "TIME");
        at += layout->time + layout->gap;
    }
    if (layout->bytes) {
        pad_to(&line, at);
        put(&line, "BYTES");
        at += layout->bytes + layout->gap;
    }
    if (layout->health) {
        pad_to(&line, at);
        put(&line, "HEALTH");
    }
    emit(out, &line, layout->colour ? "\033[2m" : "");
}

/* "300 hosts: 2 problem, 8 switching, 290 staged": what matters first, then the most. */
static void put_summary(const struct screen *screen, const struct layout *layout, struct buf *out)
{
    struct line line = { .room = layout->room };
    struct tally {
        const char *word;
        size_t count;
    } tallies[WORDS_MAX] = { 0 };
    size_t kinds = 0;
    for (size_t i = 0; i < screen->count; i++) {
        const char *word = screen->hosts[i].word[0] ? screen->hosts[i].word : "not seen";
        size_t k = 0;
        while (k < kinds && strcmp(tallies[k].word, word) != 0)
            k++;
        if (k == WORDS_MAX)
            continue;
        tallies[k].word = word;
        tallies[k].count++;
        kinds = k == kinds ? k + 1 : kinds;
    }
    put_fmt(&line, "%zu host%s:", screen->count, screen->count == 1 ? "" : "s");
    for (int rank = SCREEN_NRANKS; rank-- > 0;)
        for (size_t k = 0; k < kinds; k++)
            if (find_word(tallies[k].word)->rank == (enum screen_rank)rank)
                put_fmt(&line, "%s%zu %s", line.text[line.len - 1] == ':' ? " " : ", ",
                        tallies[k].count, tallies[k].word);
    emit(out, &line, "");
}

/* --- the bar ------------------------------------------------------------------------------------
 */

/* How far one host is in this stage, in thousandths; -1 = it does not count. */
static int host_share(const struct screen *screen, const struct screen_host *host)
{
    bool settled = is(host, "confirmed") || is(host, "problem");
    if (strcmp(screen->stage, "preflight") == 0 || strcmp(screen->stage, "lock") == 0)
        return host->word[0] ? THOUSAND : 0;
    if (strcmp(screen->stage, "stage") == 0 && is(host, "sending"))
        return host->total ? (int)(THOUSAND * host->done / host->total) : 0;
    if (strcmp(screen->stage, "stage") == 0)
        return settled || is(host, "staged") ? THOUSAND : 0;
    if (strcmp(screen->stage, "pause") == 0 || strcmp(screen->stage, "close") == 0)
        return settled || find_word(host->word)->rank < SCREEN_AT_WORK ? THOUSAND : 0;
    if (strcmp(screen->stage, "unwind") != 0)
        return settled ? THOUSAND : 0;
    if (is(host, "back"))
        return THOUSAND;
    return is(host, "going back") || is(host, "switched") || is(host, "confirmed") ? 0 : -1;
}

static void shares(const struct screen *screen, uint64_t *ret_done, uint64_t *ret_total)
{
    *ret_done = screen->bake_done;
    *ret_total = screen->bake_total;
    if (strcmp(screen->stage, "bake") == 0)
        return;
    *ret_done = *ret_total = 0;
    for (size_t i = 0; i < screen->count; i++) {
        int share = host_share(screen, &screen->hosts[i]);
        *ret_total += share < 0 ? 0 : THOUSAND;
        *ret_done += share < 0 ? 0 : (uint64_t)share;
    }
}

static void put_bar(const struct screen *screen, const struct layout *layout, struct buf *out)
{
    struct line line = { .room = layout->room };
    char time[UNIT_TEXT_MAX];
    uint64_t done, total;
    bool counts = strcmp(screen->stage, "bake") == 0 && screen->counts[0];
    shares(screen, &done, &total);
    size_t width = layout->room + 1 < NARROW ? 0 : counts ? BAR_SHORT : BAR_WIDTH;
    size_t full = total ? (size_t)(width * done / total) : 0;
    for (size_t i = 0; i < width; i++)
        put(&line, i == 0 ? (full ? "[#" : "[.") : i < full ? "#" : ".");
    put_fmt(&line, "%s%3llu%%%s%s%s%s%s%s", width ? "] " : "",
            (unsigned long long)(total ? 100 * done / total : 0), layout->gap > 1 ? "  " : " ",
            screen->stage, layout->gap > 1 ? "  " : " ", time_text(screen->at_ms, time),
            layout->gap > 1 ? "  " : " ", counts ? screen->counts : screen->what);
    emit(out, &line, "");
}

/* --- all ----------------------------------------------------------------------------------------
 */

/* The highest rank first, until the rows are used. */
static void put_some(const struct screen *screen, const struct layout *layout, size_t rows,
                     struct buf *out)
{
    for (int rank = SCREEN_TROUBLE; rank >= SCREEN_WATCHED; rank--)
        for (size_t i = 0; i < screen->count && rows > 0; i++) {
            if (screen_rank(&screen->hosts[i]) != (enum screen_rank)rank)
                continue;
            put_host(screen, layout, &screen->hosts[i], out);
            rows--;
        }
}

static bool any_to_show(const struct screen *screen)
{
    for (size_t i = 0; i < screen->count; i++)
        if (screen_rank(&screen->hosts[i]) > SCREEN_QUIET)
            return true;
    return false;
}

void screen_draw(const struct screen *screen, size_t columns, size_t rows, bool colour,
                 struct buf *out)
{
    struct layout layout = lay_out(screen, columns, colour);
    size_t left = rows > 2 ? rows - 2 : 0; /* the cursor's own row, and the bar */
    bool all = screen->count + (rows >= HEAD_ROWS) <= left;
    if (rows >= HEAD_ROWS && (all || any_to_show(screen))) {
        put_head(&layout, out);
        left--;
    }
    for (size_t i = 0; all && i < screen->count; i++)
        put_host(screen, &layout, &screen->hosts[i], out);
    if (!all && left > 0) {
        put_some(screen, &layout, left - 1, out);
        put_summary(screen, &layout, out);
    }
    if (rows > 1)
        put_bar(screen, &layout, out);
}

size_t screen_rows(const char *lines, size_t columns)
{
    size_t rows = 0, cells = 0;
    for (const char *at = lines; *at; at++) {
        if (*at == '\033') { /* a colour takes no room */
            at += strcspn(at, "m");
            if (!*at)
                break;
        } else if (*at == '\n') {
            rows += cells > columns && columns > 0 ? (cells + columns - 1) / columns : 1;
            cells = 0;
        } else {
            cells += ((unsigned char)*at & 0xc0) != 0x80;
        }
    }
    return rows;
}
