/* cmd_top.c - supervisor top: a live table on a terminal, one look elsewhere. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/unit.h"
#include "supervisor/cli/client.h"
#include "supervisor/cli/commands.h"
#include "supervisor/core/table.h"
#include "supervisor/cli/top.h"

enum { OUT_MAX = 4 * 1024 * 1024, INTERVAL_MS = 2000, INTERVAL_MIN_MS = 100, FIRST_MS = 500 };

#define SCREEN_ENTER "\033[?1049h\033[?25l"
#define SCREEN_LEAVE "\033[?25h\033[?1049l"

struct screen {
    struct cli *cli;
    struct rpc_client *client;
    struct top top; /* the latest look */
    enum top_order order;
    int64_t interval_ms;
    struct termios before;
};

static volatile sig_atomic_t told_to_leave;

static void on_signal(int signum)
{
    (void)signum;
    told_to_leave = 1;
}

/* Asks the core, or the one that takes over from it; an exit code. */
static int ask(struct screen *screen, json_t **ret_status)
{
    struct err err = { 0 };

    for (int tries = 0; tries < 2; tries++) {
        if (rpc_client_call(screen->client, "status", json_pack("{s:[]}", "names"), CLIENT_READ_MS,
                            ret_status, NULL, &err) == 0)
            return CLIENT_OK;
        if (err.code != ERR_UNREACHABLE || tries > 0)
            break;
        rpc_client_close(screen->client);
        screen->client = client_reopen(screen->cli);
        if (!screen->client)
            return CLIENT_UNKNOWN;
    }
    return client_tell(&err);
}

/* Looks once more; an exit code. */
static int look(struct screen *screen)
{
    json_t *status;
    struct usage usage;
    struct top top;
    int code = ask(screen, &status);

    if (code != CLIENT_OK)
        return code;
    if (!usage_take(&usage)) {
        json_decref(status);
        client_say("cannot read /proc");
        return CLIENT_FAILED;
    }
    bool fine =
        top_look(status, &usage, screen->top.rows ? &screen->top : NULL, clock_mono_ms(), &top);
    usage_done(&usage);
    if (!fine) {
        client_say("no memory");
        return CLIENT_FAILED;
    }
    top_done(&screen->top);
    screen->top = top;
    return CLIENT_OK;
}

static int print_once(struct screen *screen)
{
    struct buf out;
    int code = look(screen);

    if (code == CLIENT_OK) {
        client_pause(FIRST_MS); /* what is used is what changes */
        code = look(screen);
    }
    if (code != CLIENT_OK)
        return code;
    if (cli_flag(screen->cli, "json")) {
        json_t *json = top_json(&screen->top);
        code = client_print_json(json);
        json_decref(json);
        return code;
    }
    buf_init(&out, OUT_MAX);
    top_print(&screen->top, screen->order, 0, table_width(STDOUT_FILENO),
              table_colour(STDOUT_FILENO), &out);
    code = client_print(buf_text(&out));
    buf_done(&out);
    return code;
}

/* Line by line over what is there: nothing flickers. */
static int draw(const struct screen *screen)
{
    struct winsize size = { .ws_row = 24, .ws_col = 80 };
    struct buf text, out;

    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    buf_init(&text, OUT_MAX);
    buf_init(&out, OUT_MAX);
    top_print(&screen->top, screen->order, size.ws_row > 1 ? size.ws_row - 1u : 1, size.ws_col,
              table_colour(STDOUT_FILENO), &text);
    buf_puts(&out, "\033[H");
    for (const char *at = buf_text(&text); *at; at++) {
        if (*at == '\n')
            buf_puts(&out, "\033[K\r");
        buf_putc(&out, *at);
    }
    buf_puts(&out, "\033[J");
    table_put(&out, "q quit  c cpu  m memory  r restarts  n name", TABLE_DIM, true);
    int code = client_print(buf_text(&out));
    buf_done(&text);
    buf_done(&out);
    return code;
}

/* False: time to leave. */
static bool take_key(struct screen *screen)
{
    char key;

    if (read(STDIN_FILENO, &key, 1) != 1)
        return false;
    switch (key) {
    case 'c':
        screen->order = TOP_BY_CPU;
        break;
    case 'm':
        screen->order = TOP_BY_MEMORY;
        break;
    case 'r':
        screen->order = TOP_BY_RESTARTS;
        break;
    case 'n':
        screen->order = TOP_BY_NAME;
        break;
    case 'q':
    case '\003': /* Ctrl-C, which is no signal here */
    case '\004':
    case '\033':
        return false;
    }
    return true;
}

static int live(struct screen *screen)
{
    int code = look(screen);
    int64_t due_ms = clock_mono_ms() + FIRST_MS;

    while (code == CLIENT_OK && !told_to_leave) {
        code = draw(screen);
        struct pollfd keys = { .fd = STDIN_FILENO, .events = POLLIN };
        int64_t left_ms = due_ms - clock_mono_ms();
        int ready = poll(&keys, 1, left_ms > 0 ? (int)left_ms : 0);
        if (ready > 0 && !take_key(screen))
            break;
        if (ready < 0 && errno != EINTR)
            break;
        if (clock_mono_ms() < due_ms)
            continue;
        code = look(screen);
        due_ms = clock_mono_ms() + screen->interval_ms;
    }
    return code;
}

static int run_live(struct screen *screen)
{
    struct termios raw;
    const struct sigaction leave = { .sa_handler = on_signal };

    if (tcgetattr(STDIN_FILENO, &screen->before) != 0)
        return print_once(screen);
    sigaction(SIGTERM, &leave, NULL);
    sigaction(SIGHUP, &leave, NULL);
    raw = screen->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
    client_print(SCREEN_ENTER);
    int code = live(screen);
    client_print(SCREEN_LEAVE);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &screen->before);
    return code;
}

static bool read_options(struct screen *screen)
{
    const char *interval = cli_value(screen->cli, "interval");
    struct err err;

    screen->interval_ms = INTERVAL_MS;
    if (interval && unit_duration(interval, &screen->interval_ms, &err) != 0) {
        client_say("--interval %s: %s", interval, err.text);
        return false;
    }
    if (screen->interval_ms < INTERVAL_MIN_MS)
        screen->interval_ms = INTERVAL_MIN_MS;
    return true;
}

int cmd_top(struct cli *cli)
{
    struct screen screen = { .cli = cli };
    char path[PLACES_PATH_MAX];
    bool live_here = !cli_flag(cli, "once") && !cli_flag(cli, "json") && isatty(STDIN_FILENO) &&
                     isatty(STDOUT_FILENO);

    if (!read_options(&screen))
        return CLIENT_USAGE;
    screen.client = client_open(cli, path);
    if (!screen.client)
        return CLIENT_UNKNOWN;
    int code = live_here ? run_live(&screen) : print_once(&screen);
    rpc_client_close(screen.client);
    top_done(&screen.top);
    return code;
}
