/* links.c - the contract is in links.h. */
#include "supervisor/cli/links.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/jsonx.h"
#include "supervisor/cli/client.h"
#include "supervisor/cli/commands.h"
#include "supervisor/guardian/early.h"
#include "supervisor/guardian/rescue.h"
#include "supervisor/guardian/utmp.h"

static const char *const actions[LEAVE_NHOWS] = {
    [LEAVE_REBOOT] = "reboot",
    [LEAVE_POWEROFF] = "poweroff",
    [LEAVE_HALT] = "halt",
};

/* --- options --- */

static const struct links_option *find(const struct links_option *rows, const char *name, char one)
{
    for (; rows->help; rows++)
        if (name ? rows->name && strcmp(rows->name, name) == 0 : rows->letter == one)
            return rows;
    return NULL;
}

static void print_help(const struct links_option *rows, const char *usage)
{
    printf("usage: %s\n\n", usage);
    for (; rows->help; rows++)
        if (rows->bit)
            printf("  -%c  --%-10s %s\n", rows->letter, rows->name, rows->help);
    puts("\nA name of `supervisor`, the init of this host; see supervisor(8).");
}

static bool take(const struct links_option *rows, const char *usage, const char *name, char letter,
                 unsigned *bits)
{
    const struct links_option *row = find(rows, name, letter);
    char given[3] = { '-', letter, '\0' };

    if (row && row->bit) {
        *bits |= row->bit;
        return true;
    }
    if (row)
        client_say("%s%s is refused: %s", name ? "--" : given, name ? name : "", row->help);
    else
        client_say("no option %s%s; usage: %s", name ? "--" : given, name ? name : "", usage);
    return false;
}

bool links_options(const struct links_option *rows, const char *usage, int argc, char **argv,
                   unsigned *ret_bits, char ***ret_words, int *ret_code)
{
    int nwords = 1;

    *ret_bits = 0;
    *ret_code = CLIENT_USAGE;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--help") == 0) {
            print_help(rows, usage);
            *ret_code = CLIENT_OK;
            return false;
        }
        if (word[0] != '-' || word[1] == '\0') {
            argv[nwords++] = argv[i];
        } else if (word[1] == '-') {
            if (!take(rows, usage, word + 2, 0, ret_bits))
                return false;
        } else {
            for (const char *letter = word + 1; *letter; letter++)
                if (!take(rows, usage, NULL, *letter, ret_bits))
                    return false;
        }
    }
    argv[nwords] = NULL;
    *ret_words = argv + 1;
    return true;
}

/* --- poweroff, reboot, halt --- */

static int signal_init(enum leave_how how)
{
    static const int beyond_min[LEAVE_NHOWS] = {
        [LEAVE_REBOOT] = 5, [LEAVE_POWEROFF] = 4, [LEAVE_HALT] = 3
    };

    if (kill(1, SIGRTMIN + beyond_min[how]) == 0)
        return CLIENT_OK;
    client_say("no supervisor answers, and process 1 cannot be told to %s: %s", actions[how],
               strerror(errno));
    return CLIENT_FAILED;
}

int links_ask(enum leave_how how)
{
    char path[PLACES_PATH_MAX];
    struct places places;
    struct err err = { 0 };
    json_t *answer = NULL;

    places_init(&places, NULL);
    struct rpc_client *client = client_connect(&places, path, &err);
    if (!client)
        return signal_init(how);
    int code = client_ask(client, "shutdown", json_pack("{s:s}", "action", actions[how]),
                          CLIENT_READ_MS, &answer);
    rpc_client_close(client);
    json_decref(answer);
    return code;
}

enum { AT_ONCE = 1, NO_SYNC = 2, POWER = 4, RECORD = 8, NO_RECORD = 16, QUIET = 32 };

static const struct links_option leave_options[] = {
    /* clang-format off */
    { 'f', "force",     AT_ONCE,   "At once: no service is stopped, nothing is unmounted." },
    { 'n', "no-sync",   NO_SYNC,   "With -f: without writing what is in memory to the disks." },
    { 'p', "poweroff",  POWER,     "Switch off (halt and poweroff)." },
    { 'w', "wtmp-only", RECORD,    "Only write the record of a shutdown (wtmp)." },
    { 'd', "no-wtmp",   NO_RECORD, "With -f: without that record." },
    { 'q', "no-wall",   QUIET,     "Nobody is told; this name never tells anybody." },
    { 'h', "halt",      0,         "disks are not put to rest by hand; use halt or poweroff" },
    { 'i', "interfaces",0,         "the network is an ordinary service, which is stopped" },
    { 0, NULL, 0, NULL },
    /* clang-format on */
};

static int leave_at_once(enum leave_how how, unsigned bits)
{
    if (!(bits & NO_RECORD))
        utmp_record(UTMP_SHUTDOWN);
    if (!(bits & NO_SYNC))
        sync();
    int rc = leave_now(how);
    client_say("%s -f: %s", actions[how], strerror(-rc));
    return CLIENT_FAILED;
}

static int run_leave(enum leave_how how, int argc, char **argv)
{
    char usage[64], **words;
    unsigned bits;
    int code;

    snprintf(usage, sizeof usage, "%s [-f] [-n] [-p] [-w] [-d]", actions[how]);
    if (!links_options(leave_options, usage, argc, argv, &bits, &words, &code))
        return code;
    if (words[0]) {
        client_say("%s takes no words; usage: %s", actions[how], usage);
        return CLIENT_USAGE;
    }
    if (bits & POWER && how == LEAVE_HALT)
        how = LEAVE_POWEROFF;
    if (bits & RECORD) {
        utmp_record(UTMP_SHUTDOWN);
        return CLIENT_OK;
    }
    return bits & AT_ONCE ? leave_at_once(how, bits) : links_ask(how);
}

static int run_poweroff(int argc, char **argv) { return run_leave(LEAVE_POWEROFF, argc, argv); }
static int run_reboot(int argc, char **argv) { return run_leave(LEAVE_REBOOT, argc, argv); }
static int run_halt(int argc, char **argv) { return run_leave(LEAVE_HALT, argc, argv); }

/* --- telinit --- */

static int run_upgrade(void)
{
    char program[] = "supervisor", word[] = "upgrade";
    char *argv[] = { program, word, NULL };

    return commands_main(2, argv);
}

static int run_reload(void)
{
    if (kill(1, SIGHUP) == 0)
        return CLIENT_OK;
    client_say("process 1 cannot be told: %s", strerror(errno));
    return CLIENT_FAILED;
}

static int run_telinit(int argc, char **argv)
{
    const char *level = argc == 2 && strlen(argv[1]) == 1 ? argv[1] : "?";

    switch (*level) {
    case '0':
        return links_ask(LEAVE_POWEROFF);
    case '6':
        return links_ask(LEAVE_REBOOT);
    case 'q':
    case 'Q':
        return run_reload();
    case 'u':
    case 'U':
        return run_upgrade();
    }
    client_say(
        "usage: telinit 0 (power off), 6 (reboot), q (reload) or u (execute the new binary); "
        "there are no other runlevels: services are started and stopped by name, with "
        "\"supervisor start NAME\"");
    return CLIENT_USAGE;
}

/* --- init of a host --- */

/* The kernel hands on the words of its command line that it does not know itself. */
static bool wants_shell(int argc, char **argv)
{
    static const char *const words[] = { "single", "s", "S", "1", "rescue", "emergency", "-b" };

    for (int i = 1; i < argc; i++)
        for (size_t j = 0; j < sizeof words / sizeof *words; j++)
            if (strcmp(argv[i], words[j]) == 0)
                return true;
    return false;
}

enum { WORDS_MAX = 16 };

/* `init=/sbin/supervisor run -c PATH` is heard, any other word is not ours. */
static int run_once(int argc, char **argv)
{
    char program[] = "supervisor", word[] = "run";
    char *copy[WORDS_MAX + 1] = { program, word };
    bool ours = argc > 1 && argc <= WORDS_MAX && strcmp(argv[1], "run") == 0;

    for (int i = 1; ours && i < argc; i++)
        copy[i] = argv[i];
    return commands_main(ours ? argc : 2, copy);
}

/* A host without an init is a kernel panic, so a start that fails ends in a shell on the console,
 * and is tried again after it. */
static void run_host(int argc, char **argv)
{
    if (wants_shell(argc, argv)) {
        client_say("the shell that was asked for; at its end the services are started");
        rescue_shell();
    }
    for (;;) {
        run_once(argc, argv);
        client_say("this host has no services; here is a shell to mend that, and at its end they "
                   "are tried again");
        rescue_shell();
    }
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} links[] = {
    { "init", run_telinit },  { "telinit", run_telinit }, { "poweroff", run_poweroff },
    { "reboot", run_reboot }, { "halt", run_halt },       { "shutdown", links_shutdown },
};

bool links_run(int argc, char **argv, int *ret_code)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = argc == 0 ? "" : slash ? slash + 1 : argv[0];

    early_prepare();
    if (early_is_host_init())
        run_host(argc, argv);
    for (size_t i = 0; getpid() != 1 && i < sizeof links / sizeof *links; i++) {
        if (strcmp(name, links[i].name) == 0) {
            *ret_code = links[i].run(argc, argv);
            return true;
        }
    }
    return false;
}
