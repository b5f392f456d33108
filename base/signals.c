/* signals.c - the contract is in signals.h. */
#include "base/signals.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/near.h"

static const struct {
    int signal;
    const char *name;
} table[] = {
    /* clang-format off */
    { SIGHUP, "HUP" },         { SIGINT, "INT" },         { SIGQUIT, "QUIT" },
    { SIGILL, "ILL" },         { SIGTRAP, "TRAP" },       { SIGABRT, "ABRT" },
    { SIGBUS, "BUS" },         { SIGFPE, "FPE" },         { SIGKILL, "KILL" },
    { SIGUSR1, "USR1" },       { SIGSEGV, "SEGV" },       { SIGUSR2, "USR2" },
    { SIGPIPE, "PIPE" },       { SIGALRM, "ALRM" },       { SIGTERM, "TERM" },
    { SIGSTKFLT, "STKFLT" },   { SIGCHLD, "CHLD" },       { SIGCONT, "CONT" },
    { SIGSTOP, "STOP" },       { SIGTSTP, "TSTP" },       { SIGTTIN, "TTIN" },
    { SIGTTOU, "TTOU" },       { SIGURG, "URG" },         { SIGXCPU, "XCPU" },
    { SIGXFSZ, "XFSZ" },       { SIGVTALRM, "VTALRM" },   { SIGPROF, "PROF" },
    { SIGWINCH, "WINCH" },     { SIGIO, "IO" },           { SIGPWR, "PWR" },
    { SIGSYS, "SYS" },
    /* Second names, never printed. */
    { SIGCHLD, "CLD" },        { SIGIO, "POLL" },         { SIGABRT, "IOT" },
    /* clang-format on */
};
enum { NTABLE = sizeof(table) / sizeof(table[0]), NUMBER_MAX = 127 };

static const char *const realtime[] = {
    /* clang-format off */
    "RTMIN", "RTMIN+1", "RTMIN+2", "RTMIN+3", "RTMIN+4", "RTMIN+5", "RTMIN+6", "RTMIN+7",
    "RTMIN+8", "RTMIN+9", "RTMIN+10", "RTMIN+11", "RTMIN+12", "RTMIN+13", "RTMIN+14", "RTMIN+15",
    "RTMIN+16", "RTMIN+17", "RTMIN+18", "RTMIN+19", "RTMIN+20", "RTMIN+21", "RTMIN+22", "RTMIN+23",
    "RTMIN+24", "RTMIN+25", "RTMIN+26", "RTMIN+27", "RTMIN+28", "RTMIN+29", "RTMIN+30", "RTMIN+31",
    "RTMIN+32",
    /* clang-format on */
};
enum { NREALTIME = sizeof(realtime) / sizeof(realtime[0]) };

/* What has no name, so that the pointer can stay valid without any state. */
static const char *const numbered[NUMBER_MAX + 1] = {
    /* clang-format off */
    "signal 0", "signal 1", "signal 2", "signal 3", "signal 4", "signal 5", "signal 6", "signal 7",
    "signal 8", "signal 9", "signal 10", "signal 11", "signal 12", "signal 13", "signal 14", "signal 15",
    "signal 16", "signal 17", "signal 18", "signal 19", "signal 20", "signal 21", "signal 22", "signal 23",
    "signal 24", "signal 25", "signal 26", "signal 27", "signal 28", "signal 29", "signal 30", "signal 31",
    "signal 32", "signal 33", "signal 34", "signal 35", "signal 36", "signal 37", "signal 38", "signal 39",
    "signal 40", "signal 41", "signal 42", "signal 43", "signal 44", "signal 45", "signal 46", "signal 47",
    "signal 48", "signal 49", "signal 50", "signal 51", "signal 52", "signal 53", "signal 54", "signal 55",
    "signal 56", "signal 57", "signal 58", "signal 59", "signal 60", "signal 61", "signal 62", "signal 63",
    "signal 64", "signal 65", "signal 66", "signal 67", "signal 68", "signal 69", "signal 70", "signal 71",
    "signal 72", "signal 73", "signal 74", "signal 75", "signal 76", "signal 77", "signal 78", "signal 79",
    "signal 80", "signal 81", "signal 82", "signal 83", "signal 84", "signal 85", "signal 86", "signal 87",
    "signal 88", "signal 89", "signal 90", "signal 91", "signal 92", "signal 93", "signal 94", "signal 95",
    "signal 96", "signal 97", "signal 98", "signal 99", "signal 100", "signal 101", "signal 102", "signal 103",
    "signal 104", "signal 105", "signal 106", "signal 107", "signal 108", "signal 109", "signal 110", "signal 111",
    "signal 112", "signal 113", "signal 114", "signal 115", "signal 116", "signal 117", "signal 118", "signal 119",
    "signal 120", "signal 121", "signal 122", "signal 123", "signal 124", "signal 125", "signal 126", "signal 127",
    /* clang-format on */
};

static const char *name_at(size_t i, const void *context)
{
    (void)context;
    return table[i].name;
}

/* The number written in `text` from 0 to `max`, or -1. */
static int small_number(const char *text, int max)
{
    char *end;

    if (!isdigit((unsigned char)*text) || strlen(text) > 3)
        return -1;
    long number = strtol(text, &end, 10);
    return *end == '\0' && number <= max ? (int)number : -1;
}

static int realtime_signal(const char *text)
{
    bool from_max = strncasecmp(text, "RTMAX", 5) == 0;
    int base = from_max ? SIGRTMAX : SIGRTMIN;

    if (!from_max && strncasecmp(text, "RTMIN", 5) != 0)
        return -1;
    if (text[5] == '\0')
        return base;
    if (text[5] != (from_max ? '-' : '+'))
        return -1;
    int offset = small_number(text + 6, SIGRTMAX - SIGRTMIN);
    if (offset < 0)
        return -1;
    return from_max ? base - offset : base + offset;
}

int signals_parse(const char *text, int *ret_signal, struct err *err)
{
    const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
    int number = small_number(text, SIGRTMAX);

    if (number <= 0)
        number = realtime_signal(name);
    for (size_t i = 0; i < NTABLE && number <= 0; i++)
        if (strcasecmp(name, table[i].name) == 0)
            number = table[i].signal;
    if (number > 0) {
        *ret_signal = number;
        return 0;
    }
    const char *nearest = near_name(name, NTABLE, name_at, NULL);
    if (nearest)
        return err_set(err, ERR_INVALID, "\"%.64s\" is not a signal (did you mean \"%s\"?)", text,
                       nearest);
    return err_set(err, ERR_INVALID, "\"%.64s\" is not a signal (try TERM, HUP, USR1, 15)", text);
}

const char *signals_name(int signal)
{
    for (size_t i = 0; i < NTABLE; i++)
        if (table[i].signal == signal)
            return table[i].name;
    if (signal >= SIGRTMIN && signal <= SIGRTMAX && signal - SIGRTMIN < NREALTIME)
        return realtime[signal - SIGRTMIN];
    return signal >= 0 && signal <= NUMBER_MAX ? numbered[signal] : "unknown signal";
}
