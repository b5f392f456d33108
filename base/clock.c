/* clock.c - the contract is in clock.h. */
#include "base/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/auto.h"

enum { BOOT_ID_LEN = 36, MICRO_DIGITS = 6 };

static int64_t read_us(clockid_t id)
{
    struct timespec ts = { 0 };

    clock_gettime(id, &ts); /* cannot fail for the clocks used here */
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_mono_us(void) { return read_us(CLOCK_MONOTONIC); }
int64_t clock_mono_ms(void) { return read_us(CLOCK_MONOTONIC) / 1000; }
int64_t clock_boot_ms(void) { return read_us(CLOCK_BOOTTIME) / 1000; }
int64_t clock_wall_us(void) { return read_us(CLOCK_REALTIME); }

void clock_boot_id(char id[static CLOCK_BOOT_ID_MAX])
{
    AUTO_CLOSE int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

    memset(id, 0, CLOCK_BOOT_ID_MAX);
    if (fd >= 0 && read(fd, id, BOOT_ID_LEN) != BOOT_ID_LEN)
        memset(id, 0, CLOCK_BOOT_ID_MAX);
}

const char *clock_text(int64_t wall_us, char text[static CLOCK_TEXT_MAX])
{
    int64_t us = wall_us % 1000000;
    time_t seconds = (time_t)(wall_us / 1000000);
    if (us < 0) {
        us += 1000000;
        seconds--;
    }
    struct tm tm;

    if (!localtime_r(&seconds, &tm)) {
        snprintf(text, CLOCK_TEXT_MAX, "%lld.%06d", (long long)seconds, (int)us);
        return text;
    }
    long offset = tm.tm_gmtoff / 60;
    size_t len = strftime(text, CLOCK_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + len, CLOCK_TEXT_MAX - len, ".%06d%c%02ld:%02ld", (int)us,
             offset < 0 ? '-' : '+', labs(offset) / 60, labs(offset) % 60);
    return text;
}

const char *clock_text_again(int64_t wall_us, char text[static CLOCK_TEXT_MAX])
{
    char *dot = strchr(text, '.');

    if (!dot || wall_us < 0)
        return clock_text(wall_us, text);
    for (int i = MICRO_DIGITS; i > 0; i--, wall_us /= 10)
        dot[i] = (char)('0' + wall_us % 10);
    return text;
}
