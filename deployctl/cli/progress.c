/* progress.c - the contract is in progress.h. */
#include "deployctl/cli/progress.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/unit.h"
#include "io/jsonx.h"

enum {
    COLUMNS_DEFAULT = 80,
    COLUMNS_MAX = 200,
    ROWS_DEFAULT = 24,
    ROWS_KEPT = 4, /* of the terminal, for the bar and the prompt */
    NAME_MOST = 30,
    BAR_WIDTH = 24,
    BAR_SHORT = 10, /* beside counts, which need the room */
    LINE_BYTES = 1024,
    STAGE_WIDTH = 9,
    COUNTS_EVERY_MS = 15000,
};

struct line {
    const char *name;
    char word[24], text[160];
    bool trouble, busy;
    uint64_t done, total;
};
struct progress {
    enum progress_style style;
    bool verbose, colour;
    struct line *lines;  /* one per host; owned */
    size_t count, width; /* of the names */
    size_t drawn;        /* lines of the live block on the screen */
    bool asking;         /* a question stands there: nothing is drawn until it is answered */
    char stage[24], what[120];
    char counts[VERDICT_LINE_MAX]; /* of the verdict, while it bakes */
    int64_t counts_ms;             /* when they were printed, in plain lines */
    uint64_t bake_done, bake_total;
    int64_t at_ms;
};

bool progress_colour(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

enum progress_style progress_choose(bool json)
{
    const char *term = getenv("TERM");
    if (json)
        return PROGRESS_JSON;
    bool dumb = !term || strcmp(term, "dumb") == 0;
    return isatty(STDOUT_FILENO) && !dumb ? PROGRESS_LIVE : PROGRESS_PLAIN;
}

struct progress *progress_new(enum progress_style style, const struct recipe *recipe, bool verbose,
                              struct err *err)
{
    struct progress *p = calloc(1, sizeof *p);
    struct line *lines = calloc(recipe->count, sizeof *lines);
    if (!p || !lines) {
        free(p);
        free(lines);
        err_set(err, ERR_MEMORY, "no memory");
        return NULL;
    }
    p->style = style;
    p->verbose = verbose;
    p->colour = progress_colour();
    p->lines = lines;
    p->count = recipe->count;
    for (size_t i = 0; i < p->count; i++) {
        lines[i].name = recipe->hosts[i].name;
        size_t len = strlen(lines[i].name);
        p->width = len > p->width ? len : p->width;
    }
    if (p->width > NAME_MOST)
        p->width = NAME_MOST;
    return p;
}

/* --- live ------------------------------------------------------------------------------------- */

static void screen(size_t *ret_columns, size_t *ret_rows)
{
    struct winsize size = { 0 };
    *ret_columns = COLUMNS_DEFAULT;
    *ret_rows = ROWS_DEFAULT;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20) {
        *ret_columns = size.ws_col < COLUMNS_MAX ? size.ws_col : COLUMNS_MAX;
        *ret_rows = size.ws_row > ROWS_KEPT ? size.ws_row : ROWS_DEFAULT;
    }
}

static const char *paint(const struct progress *p, const char *code)
{
    return p->colour ? code : "";
}

static const char *colour_of(const struct line *line)
{
    if (line->trouble)
        return "\033[31m";
    if (strcmp(line->word, "confirmed") == 0 || strcmp(line->word, "switched") == 0)
        return "\033[32m";
    return line->busy ? "\033[33m" : "";
}

static void erase(struct progress *p)
{
    if (p->drawn > 0)
        printf("\033[%zuA\r\033[J", p->drawn);
    p->drawn = 0;
}

/* One line of at most `columns` characters; the colour costs none. */
static void put_line(struct progress *p, const char *colour, const char *text, size_t columns)
{
    size_t len = 0, bytes = 0;
    for (; text[bytes] && len < columns - 1; bytes++)
        len += ((unsigned char)text[bytes] & 0xc0) != 0x80;
    printf("%s%.*s%s\n", paint(p, colour), (int)bytes, text, *colour ? paint(p, "\033[0m") : "");
    p->drawn++;
}

static void draw_bar(struct progress *p, size_t columns)
{
    char text[LINE_BYTES], bar[BAR_WIDTH + 1] = "", time[UNIT_TEXT_MAX];
    uint64_t done = p->bake_done, total = p->bake_total;
    bool baking = strcmp(p->stage, "bake") == 0;
    if (!baking) {
        done = total = 0;
        for (size_t i = 0; i < p->count; i++) {
            bool settled = !p->lines[i].busy && strcmp(p->lines[i].word, "") != 0;
            total += 1000;
            done += settled ? 1000
                            : (p->lines[i].total ? 1000 * p->lines[i].done / p->lines[i].total : 0);
        }
    }
    bool counts = baking && p->counts[0];
    size_t width = counts ? BAR_SHORT : BAR_WIDTH;
    size_t full = total ? (size_t)(width * done / total) : 0;
    for (size_t i = 0; i < width; i++)
        bar[i] = i < full ? '#' : '.';
    unit_duration_text(p->at_ms, time);
    snprintf(text, sizeof text, "[%s] %3llu%%  %-*s %s  %s", bar,
             (unsigned long long)(total ? 100 * done / total : 0), STAGE_WIDTH, p->stage, time,
             counts ? p->counts : p->what);
    put_line(p, "", text, columns);
}

static void draw(struct progress *p)
{
    size_t columns, rows, shown = 0, hidden = 0;
    screen(&columns, &rows);
    bool all = p->count + ROWS_KEPT <= rows;
    erase(p);
    for (int pass = 0; pass < 2; pass++) /* those in trouble first when not all fit */
        for (size_t i = 0; i < p->count; i++) {
            const struct line *line = &p->lines[i];
            char text[LINE_BYTES];
            bool mine =
                all ? pass == 0 : (pass == 0 ? line->trouble : line->busy && !line->trouble);
            if (!mine)
                continue;
            if (shown + ROWS_KEPT >= rows) {
                hidden++;
                continue;
            }
            snprintf(text, sizeof text, "%-*.*s  %-10s %s", (int)p->width, (int)p->width,
                     line->name, line->word, line->text);
            put_line(p, colour_of(line), text, columns);
            shown++;
        }
    if (!all) {
        char text[LINE_BYTES];
        snprintf(text, sizeof text, "%zu hosts, %zu of them shown (busy or in trouble)%s", p->count,
                 shown, hidden ? ", more are busy" : "");
        put_line(p, "", text, columns);
    }
    draw_bar(p, columns);
    fflush(stdout);
}

/* --- plain ------------------------------------------------------------------------------------ */

static void plain_host(const struct progress *p, const struct driver_news *news)
{
    printf("%7.1fs  %-*s  %-*s  %s\n", (double)news->at_ms / 1000, STAGE_WIDTH, p->stage,
           (int)p->width, news->host, news->text);
}

/* A bake may last for hours: now and then is enough, with -v each time. */
static void plain_counts(struct progress *p, const struct driver_news *news)
{
    if (p->counts_ms > 0 && !p->verbose && news->at_ms - p->counts_ms < COUNTS_EVERY_MS)
        return;
    if (p->counts_ms > 0) /* the first one has nothing yet */
        printf("%7.1fs  %-*s  %s\n", (double)news->at_ms / 1000, STAGE_WIDTH, p->stage, news->text);
    p->counts_ms = news->at_ms > 0 ? news->at_ms : 1;
}

/* Words of the plain output that need no line each. */
static bool minor(const struct progress *p, const struct driver_news *news)
{
    return !p->verbose && (strcmp(news->word, "switching") == 0);
}

static void plain(struct progress *p, const struct driver_news *news)
{
    if (news->kind == DRIVER_NEWS_STAGE)
        printf("%7.1fs  %-*s  %s\n", (double)news->at_ms / 1000, STAGE_WIDTH, news->word,
               news->text);
    else if (news->kind == DRIVER_NEWS_VERDICT)
        plain_counts(p, news);
    else if (news->kind == DRIVER_NEWS_HOST && !minor(p, news))
        plain_host(p, news);
    fflush(stdout);
}

/* --- json ------------------------------------------------------------------------------------- */

static void json_line(const struct driver_news *news)
{
    static const char *const names[] = {
        [DRIVER_NEWS_STAGE] = "stage",       [DRIVER_NEWS_HOST] = "host",
        [DRIVER_NEWS_BYTES] = "bytes",       [DRIVER_NEWS_BAKE] = "bake",
        [DRIVER_NEWS_VERDICT] = "verdict",   [DRIVER_NEWS_NOTE] = "note",
        [DRIVER_NEWS_WARNING] = "warning",   [DRIVER_NEWS_ERROR] = "error",
        [DRIVER_NEWS_QUESTION] = "question",
    };
    struct buf out;
    json_t *line = json_object();
    jsonx_set_text(line, "event", names[news->kind]);
    jsonx_set_real(line, "at_s", (double)news->at_ms / 1000);
    if (news->host)
        jsonx_set_text(line, "host", news->host);
    if (news->word)
        jsonx_set_text(line, news->kind == DRIVER_NEWS_STAGE ? "stage" : "state", news->word);
    if (news->text)
        jsonx_set_text(line, "text", news->text);
    if (news->kind == DRIVER_NEWS_BYTES) {
        jsonx_set_int(line, "done", (int64_t)news->done);
        jsonx_set_int(line, "total", (int64_t)news->total);
    }
    if (news->numbers)
        json_object_set(line, "numbers", (json_t *)news->numbers);
    buf_init(&out, 256 * 1024);
    if (jsonx_put(line, &out))
        printf("%s\n", buf_text(&out));
    fflush(stdout);
    buf_done(&out);
    json_decref(line);
}

/* --- all -------------------------------------------------------------------------------------- */

/* Warnings and errors stand on stderr, above the live block. */
static void aside(struct progress *p, const struct driver_news *news)
{
    const char *label = news->kind == DRIVER_NEWS_ERROR     ? "error: "
                        : news->kind == DRIVER_NEWS_WARNING ? "warning: "
                                                            : "";
    const char *colour = news->kind == DRIVER_NEWS_ERROR     ? "\033[31m"
                         : news->kind == DRIVER_NEWS_WARNING ? "\033[33m"
                                                             : "";
    bool loud = *label || news->kind == DRIVER_NEWS_QUESTION;
    if (p->style == PROGRESS_QUIET && !loud)
        return;
    if (p->style == PROGRESS_LIVE && news->kind == DRIVER_NEWS_QUESTION) {
        draw(p); /* what the question is about stays readable above it */
        p->drawn = 0;
        p->asking = true;
    } else if (p->style == PROGRESS_LIVE) {
        erase(p);
        fflush(stdout);
    }
    FILE *out = loud ? stderr : stdout;
    bool paints = p->colour && *colour && (!loud || isatty(STDERR_FILENO));
    fprintf(out, "%s%s%s%s%s%s%s", paints ? colour : "", label, news->host ? news->host : "",
            news->host ? ": " : "", news->text, paints ? "\033[0m" : "",
            news->kind == DRIVER_NEWS_QUESTION ? "" : "\n");
    fflush(out);
}

static bool busy_word(const char *word)
{
    static const char *const busy[] = { "switching", "going back", "lost", "sending", NULL };
    for (size_t i = 0; busy[i]; i++)
        if (strcmp(busy[i], word) == 0)
            return true;
    return false;
}

static void remember(struct progress *p, const struct driver_news *news)
{
    p->at_ms = news->at_ms;
    if (news->kind == DRIVER_NEWS_STAGE) {
        snprintf(p->stage, sizeof p->stage, "%s", news->word);
        snprintf(p->what, sizeof p->what, "%s", news->text);
    }
    if (news->kind == DRIVER_NEWS_VERDICT)
        snprintf(p->counts, sizeof p->counts, "%s", news->text);
    if (news->kind == DRIVER_NEWS_BAKE) {
        p->bake_done = news->done;
        p->bake_total = news->total;
    }
    bool shown = p->style == PROGRESS_LIVE && news->host;
    for (size_t i = 0; shown && i < p->count; i++) {
        struct line *line = &p->lines[i];
        char done[UNIT_TEXT_MAX], total[UNIT_TEXT_MAX];
        if (strcmp(line->name, news->host) != 0)
            continue;
        if (news->kind == DRIVER_NEWS_BYTES) {
            line->done = news->done;
            line->total = news->total;
            line->busy = true;
            snprintf(line->word, sizeof line->word, "sending");
            unit_size_text((int64_t)news->done, done);
            unit_size_text((int64_t)news->total, total);
            snprintf(line->text, sizeof line->text, "%s of %s", done, total);
        } else if (news->kind == DRIVER_NEWS_HOST) {
            line->trouble = strcmp(news->word, "problem") == 0;
            line->busy = busy_word(news->word);
            snprintf(line->word, sizeof line->word, "%s", news->word);
            snprintf(line->text, sizeof line->text, "%s", news->text);
        }
        break;
    }
}

void progress_news(void *progress, const struct driver_news *news)
{
    struct progress *p = progress;
    bool tick = news->kind == DRIVER_NEWS_BYTES || news->kind == DRIVER_NEWS_BAKE ||
                news->kind == DRIVER_NEWS_VERDICT;
    bool side = news->kind == DRIVER_NEWS_NOTE || news->kind == DRIVER_NEWS_WARNING ||
                news->kind == DRIVER_NEWS_ERROR || news->kind == DRIVER_NEWS_QUESTION;
    remember(p, news);
    if (p->style == PROGRESS_JSON) {
        if (news->kind != DRIVER_NEWS_BAKE)
            json_line(news);
        return;
    }
    if (news->kind == DRIVER_NEWS_STAGE) /* answered: it goes on */
        p->asking = false;
    if (side)
        aside(p, news);
    if (p->style == PROGRESS_LIVE && !p->asking)
        draw(p);
    else if (p->style == PROGRESS_PLAIN && !side && (!tick || news->kind == DRIVER_NEWS_VERDICT))
        plain(p, news);
}

void progress_free(struct progress *p)
{
    if (!p)
        return;
    fflush(stdout);
    free(p->lines);
    free(p);
}
