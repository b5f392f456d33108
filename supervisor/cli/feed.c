/* feed.c - the contract is in feed.h. */
#include "supervisor/cli/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/auto.h"
#include "io/child.h"
#include "io/jsonx.h"
#include "supervisor/cli/client.h"

enum { PATTERN_MAX = 160, PATH_BYTES = 4096, ACK_FD = 3 };

void feed_init(struct feed *feed, const struct cli *cli)
{
    *feed = (struct feed){
        .kinds = cli_value(cli, "only"),
        .names = cli_value(cli, "of"),
        .file = cli_value(cli, "resume"),
        .name = cli_value(cli, "as"),
        .acks = cli_flag(cli, "acks"),
    };
    if (feed->acks)
        (void)fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
}

/* --- which ones --- */

static bool matches(const char *patterns, const char *text, bool instances)
{
    char pattern[PATTERN_MAX];

    for (const char *at = patterns; *at;) {
        at += strspn(at, " ,");
        size_t len = strcspn(at, " ,");
        if (len == 0)
            break;
        snprintf(pattern, sizeof pattern, "%.*s", (int)len, at);
        if (fnmatch(pattern, text, 0) == 0)
            return true;
        snprintf(pattern, sizeof pattern, "%.*s:*", (int)len,
                 at); /* "web" is all of its instances */
        if (instances && fnmatch(pattern, text, 0) == 0)
            return true;
        at += len;
    }
    return false;
}

static bool is_about(const char *patterns, const json_t *event)
{
    const char *instance = jsonx_text(event, "instance", jsonx_text(event, "service", NULL));
    json_t *name;
    size_t i;

    if (instance && matches(patterns, instance, true))
        return true;
    json_array_foreach(json_object_get(event, "names"), i, name)
    {
        const char *text = json_string_value(name);
        if (text && (strcmp(text, "all") == 0 || matches(patterns, text, true)))
            return true;
    }
    return false;
}

bool feed_wants(const struct feed *feed, const json_t *event)
{
    const char *kind = jsonx_text(event, "event", "");

    if (strcmp(kind, "gap") == 0) /* who asked for some must know that some are missing */
        return true;
    return (!feed->kinds || matches(feed->kinds, kind, false)) &&
           (!feed->names || is_about(feed->names, event));
}

/* --- where it goes on --- */

int64_t feed_since(struct feed *feed, const char *run)
{
    char saved_run[FEED_RUN_MAX] = "";
    long long number = 0;
    FILE *file = feed->file ? fopen(feed->file, "re") : NULL;

    if (file && fscanf(file, "%63s %lld", saved_run, &number) != 2)
        number = 0;
    if (file)
        fclose(file);
    snprintf(feed->run, sizeof feed->run, "%s", run);
    if (number < 0 || strcmp(saved_run, run) != 0)
        number = 0; /* the numbers of another supervisor, or none */
    feed_begin(feed, number);
    return number + 1;
}

void feed_begin(struct feed *feed, int64_t number)
{
    feed->saved = feed->written = feed->seen = feed->acked = number;
}

/* What fails is tried again with the next event, or with the next core. */
static void save_there(struct feed *feed, int64_t number)
{
    struct err err = { 0 };
    int rc = feed->keep(feed->context, feed->name, number, &err);

    if (rc == 0)
        feed->saved = number;
    else if (rc != ERR_UNREACHABLE && !feed->told)
        client_say("the number of an event is not kept: %s", err.text);
    feed->told = rc != 0 && rc != ERR_UNREACHABLE;
}

static void save(struct feed *feed, int64_t number)
{
    char name[PATH_BYTES];

    if (number <= feed->saved)
        return;
    if (feed->name) {
        save_there(feed, number);
        return;
    }
    feed->saved = number;
    snprintf(name, sizeof name, "%s.new", feed->file);
    FILE *file = fopen(name, "we");
    bool ok = file && fprintf(file, "%s %lld\n", feed->run, (long long)number) > 0;
    if (file)
        ok = fclose(file) == 0 && ok;
    if (!ok || rename(name, feed->file) != 0)
        client_say("cannot remember the number of an event in %s: %s", feed->file, strerror(errno));
}

/* Numbers that the program wrote, one a line. */
static void read_acks(struct feed *feed)
{
    char c;

    while (read(STDIN_FILENO, &c, 1) == 1) {
        if (c != '\n') {
            if (feed->len + 1 < sizeof feed->line)
                feed->line[feed->len++] = c;
            continue;
        }
        feed->line[feed->len] = '\0';
        feed->len = 0;
        long long number = strtoll(feed->line, NULL, 10);
        if (number > feed->acked && number <= feed->written)
            feed->acked = number;
    }
}

static bool is_taken(struct feed *feed)
{
    int left = 0;

    if (feed->acks) {
        read_acks(feed);
        return feed->acked >= feed->written;
    }
    return ioctl(STDOUT_FILENO, FIONREAD, &left) != 0 || left == 0; /* no pipe: written is taken */
}

static bool remembers(const struct feed *feed) { return feed->file || feed->name; }

bool feed_waits(const struct feed *feed) { return remembers(feed) && feed->saved < feed->seen; }

void feed_settle(struct feed *feed)
{
    if (!remembers(feed))
        return;
    if (is_taken(feed))
        save(feed, feed->seen);
    else if (feed->acks)
        save(feed, feed->acked);
}

/* --- the command --- */

static int start_feeder(const struct cli *cli, int out, int acks, struct err *err)
{
    static const char *const passed[] = { "since", "only", "of", "resume", "as", "socket" };
    char *argv[4 + 2 * sizeof passed / sizeof *passed + 1];
    char options[sizeof passed / sizeof *passed][16];
    size_t n = 0;
    struct child_report report = { 0 };
    pid_t pid;

    argv[n++] = "supervisor";
    argv[n++] = "events";
    argv[n++] = "--follow";
    if (acks >= 0)
        argv[n++] = "--acks";
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) {
        const char *value = cli_value(cli, passed[i]);
        if (!value)
            continue;
        snprintf(options[i], sizeof options[i], "--%s", passed[i]);
        argv[n++] = options[i];
        argv[n++] = (char *)(uintptr_t)value;
    }
    argv[n] = NULL;
    const struct child_fd fds[] = { { acks, STDIN_FILENO },
                                    { out, STDOUT_FILENO },
                                    { STDERR_FILENO, STDERR_FILENO } };
    const struct child_spec spec = {
        .path = "/proc/self/exe",
        .argv = argv,
        .envp = environ,
        .fds = fds,
        .nfds = sizeof fds / sizeof *fds,
        .directory_fd = -1,
        .umask = -1,
        .death_signal = SIGTERM, /* it is of no use without the command */
        .report = &report,
    };
    return child_start(&spec, &pid, err);
}

int feed_become(const struct cli *cli)
{
    int events[2], acks[2] = { -1, -1 };
    struct err err = { 0 };
    AUTO_FREE char *program = child_find(cli->words[0], environ, &err);

    if (!program)
        return client_tell(&err);
    if (pipe2(events, O_CLOEXEC) != 0 || (cli_flag(cli, "acks") && pipe2(acks, O_CLOEXEC) != 0)) {
        client_say("no pipe: %s", strerror(errno));
        return CLIENT_FAILED;
    }
    if (start_feeder(cli, events[1], acks[0], &err) != 0)
        return client_tell(&err);
    close(events[1]); /* its end must be seen when the feeder ends */
    bool ok = dup2(events[0], STDIN_FILENO) >= 0;
    if (ok && acks[1] >= 0)
        ok = (acks[1] == ACK_FD ? fcntl(ACK_FD, F_SETFD, 0) : dup2(acks[1], ACK_FD)) >= 0 &&
             setenv("SUPERVISOR_ACK_FD", "3", 1) == 0;
    if (ok)
        execve(program, cli->words, environ);
    client_say("cannot run %s: %s", program, strerror(errno));
    return CLIENT_FAILED;
}
