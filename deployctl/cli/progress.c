/* progress.c - the contract is in progress.h. */
#include "deployctl/cli/progress.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/buf.h"
#include "deployctl/cli/screen.h"
#include "io/jsonx.h"

enum {
    COLUMNS_DEFAULT = 80,
    ROWS_DEFAULT = 24,
    NAME_MOST = 30,
    STAGE_WIDTH = 9,
    COUNTS_EVERY_MS = 15000,
    STUCK_MS = 1000, /* a terminal that takes nothing misses this picture */
};

struct progress {
    enum progress_style style;
    bool verbose, colour;
    struct screen screen;
    size_t width;      /* of the names, in plain lines */
    struct buf frame;  /* what stands on the screen; empty = nothing of ours */
    bool refused;      /* an error has ended it: what stood there before says nothing more */
    bool asking;       /* a question stands there: nothing is drawn until it is answered */
    int64_t counts_ms; /* when the verdict's counts were printed, in plain lines */
};

bool progress_colour(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

enum progress_style progress_choose(bool json)
{
    const char *term = getenv("TERM"), *ci = getenv("CI");
    if (json)
        return PROGRESS_JSON;
    bool dumb = !term || strcmp(term, "dumb") == 0;
    bool kept = ci && *ci && strcmp(ci, "false") != 0; /* its terminal is a log for later */
    return isatty(STDOUT_FILENO) && !dumb && !kept ? PROGRESS_LIVE : PROGRESS_PLAIN;
}

struct progress *progress_new(enum progress_style style, const struct recipe *recipe, bool verbose,
                              struct err *err)
{
    struct progress *p = calloc(1, sizeof *p);
    if (!p) {
        err_set(err, ERR_MEMORY, "no memory");
        return NULL;
    }
    if (screen_init(&p->screen, recipe, err) < 0) {
        free(p);
        return NULL;
    }
    buf_init(&p->frame, SCREEN_BYTES_MAX);
    p->style = style;
    p->verbose = verbose;
    p->colour = progress_colour();
    for (size_t i = 0; i < recipe->count; i++) {
        size_t len = strlen(recipe->hosts[i].name);
        p->width = len > p->width ? len : p->width;
    }
    if (p->width > NAME_MOST)
        p->width = NAME_MOST;
    return p;
}

/* --- live ------------------------------------------------------------------------------------- */

static void size_of_terminal(size_t *ret_columns, size_t *ret_rows)
{
    struct winsize size = { 0 };
    (void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    *ret_columns = size.ws_col > 0 ? size.ws_col : COLUMNS_DEFAULT;
    *ret_rows = size.ws_row > 0 ? size.ws_row : ROWS_DEFAULT;
}

/* One picture is one write, so that nobody sees half of it. */
static void show(const struct buf *picture)
{
    const char *at = buf_text(picture), *end = at + picture->len;
    fflush(stdout);
    while (at < end) {
        struct pollfd fd = { .fd = STDOUT_FILENO, .events = POLLOUT };
        ssize_t n = write(STDOUT_FILENO, at, (size_t)(end - at));
        if (n > 0)
            at += n;
        else if (errno == EAGAIN ? poll(&fd, 1, STUCK_MS) < 1 : errno != EINTR)
            return;
    }
}

/* To where the picture that stands there begins. */
static void go_up(const struct progress *p, size_t columns, size_t rows, struct buf *out)
{
    size_t up = screen_rows(buf_text(&p->frame), columns);
    if (up >= rows)
        up = rows - 1;
    if (up > 0)
        buf_printf(out, "\r\033[%zuA", up);
}

static void erase(struct progress *p)
{
    struct buf out;
    size_t columns, rows;
    if (p->frame.len == 0)
        return;
    size_of_terminal(&columns, &rows);
    buf_init(&out, SCREEN_BYTES_MAX);
    go_up(p, columns, rows, &out);
    buf_puts(&out, "\033[J");
    show(&out);
    buf_done(&out);
    buf_clear(&p->frame);
}

/* Lines are written over the ones that stand there and cleared behind their ends, never before. */
static void draw(struct progress *p)
{
    struct buf frame, out;
    size_t columns, rows;
    size_of_terminal(&columns, &rows);
    buf_init(&frame, SCREEN_BYTES_MAX);
    screen_draw(&p->screen, columns, rows, p->colour, &frame);
    if (frame.failed || strcmp(buf_text(&frame), buf_text(&p->frame)) == 0) {
        buf_done(&frame);
        return;
    }
    buf_init(&out, SCREEN_BYTES_MAX);
    go_up(p, columns, rows, &out);
    for (const char *at = buf_text(&frame); *at;) {
        size_t len = strcspn(at, "\n");
        buf_put(&out, at, len);
        buf_puts(&out, "\033[K\n");
        at += len + 1;
    }
    buf_puts(&out, "\033[J");
    show(&out);
    buf_done(&out);
    buf_done(&p->frame);
    p->frame = frame;
}

/* --- plain ------------------------------------------------------------------------------------ */

static void plain_host(const struct progress *p, const struct driver_news *news)
{
    printf("%7.1fs  %-*s  %-*s  %s\n", (double)news->at_ms / 1000, STAGE_WIDTH, p->screen.stage,
           (int)p->width, news->host, news->text);
}

/* A bake may last for hours: now and then is enough, with -v each time. */
static void plain_counts(struct progress *p, const struct driver_news *news)
{
    if (p->counts_ms > 0 && !p->verbose && news->at_ms - p->counts_ms < COUNTS_EVERY_MS)
        return;
    if (p->counts_ms > 0) /* the first one has nothing yet */
        printf("%7.1fs  %-*s  %s\n", (double)news->at_ms / 1000, STAGE_WIDTH, p->screen.stage,
               news->text);
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
        [DRIVER_NEWS_QUESTION] = "question", [DRIVER_NEWS_HEALTH] = "health",
        [DRIVER_NEWS_TICK] = "tick",
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
    if (news->kind == DRIVER_NEWS_HEALTH) {
        jsonx_set_int(line, "ready", (int64_t)news->done);
        jsonx_set_int(line, "instances", (int64_t)news->total);
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
    if ((p->style == PROGRESS_QUIET || p->style == PROGRESS_QUIET_JSON) && !loud)
        return;
    if (p->style == PROGRESS_LIVE && news->kind == DRIVER_NEWS_QUESTION) {
        draw(p); /* what the question is about stays readable above it */
        buf_clear(&p->frame);
        p->asking = true;
    } else if (p->style == PROGRESS_LIVE) {
        erase(p); /* the next tick draws it again, below */
    }
    FILE *out = loud ? stderr : stdout;
    bool paints = p->colour && *colour && (!loud || isatty(STDERR_FILENO));
    fprintf(out, "%s%s%s%s%s%s%s", paints ? colour : "", label, news->host ? news->host : "",
            news->host ? ": " : "", news->text, paints ? "\033[0m" : "",
            news->kind == DRIVER_NEWS_QUESTION ? "" : "\n");
    fflush(out);
}

/* The clock and the like, which are no line. */
static bool is_tick(const struct driver_news *news)
{
    return news->kind == DRIVER_NEWS_TICK || news->kind == DRIVER_NEWS_BAKE;
}

void progress_news(void *progress, const struct driver_news *news)
{
    struct progress *p = progress;
    bool side = news->kind == DRIVER_NEWS_NOTE || news->kind == DRIVER_NEWS_WARNING ||
                news->kind == DRIVER_NEWS_ERROR || news->kind == DRIVER_NEWS_QUESTION;
    screen_take(&p->screen, news);
    if (p->style == PROGRESS_QUIET_JSON && news->kind == DRIVER_NEWS_ERROR)
        json_line(news);
    if (p->style == PROGRESS_JSON) {
        if (!is_tick(news))
            json_line(news);
        return;
    }
    if (news->kind == DRIVER_NEWS_STAGE) /* answered: it goes on */
        p->asking = p->refused = false;
    if (news->kind == DRIVER_NEWS_ERROR)
        p->refused = true;
    if (side)
        aside(p, news);
    else if (p->style == PROGRESS_LIVE && news->kind == DRIVER_NEWS_TICK && !p->asking &&
             !p->refused)
        draw(p);
    else if (p->style == PROGRESS_PLAIN)
        plain(p, news);
}

void progress_free(struct progress *p)
{
    if (!p)
        return;
    if (p->style == PROGRESS_LIVE && !p->asking && !p->refused)
        draw(p);
    fflush(stdout);
    buf_done(&p->frame);
    screen_done(&p->screen);
    free(p);
}
