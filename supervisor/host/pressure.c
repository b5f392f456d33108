/* pressure.c - the contract is in pressure.h. */
#include "supervisor/host/pressure.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"

bool pressure_parse(const char *text, double *ret_avg10, uint64_t *ret_total_us)
{
    return sscanf(text, "some avg10=%lf avg60=%*f avg300=%*f total=%" SCNu64, ret_avg10,
                  ret_total_us) == 2;
}

enum pressure pressure_ask(struct pressure_seen *seen, const char *path, int64_t now_ms)
{
    return pressure_ask_fd(seen, open(path, O_RDONLY | O_CLOEXEC), now_ms);
}

enum pressure pressure_ask_fd(struct pressure_seen *seen, int file, int64_t now_ms)
{
    AUTO_CLOSE int fd = file;
    struct pressure_seen before = *seen;
    char text[256];
    double percent;
    uint64_t total;

    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    text[n > 0 ? n : 0] = '\0';
    if (!pressure_parse(text, &percent, &total))
        return PRESSURE_UNKNOWN;
    int64_t since = now_ms - before.at_ms;
    if (before.any && since < PRESSURE_NEAR_MS && since >= 0)
        return percent >= PRESSURE_STARVED_PERCENT ? PRESSURE_STARVED : PRESSURE_FINE;
    *seen = (struct pressure_seen){ .at_ms = now_ms, .total_us = total, .any = true };
    if (before.any && since <= PRESSURE_FAR_MS && since > 0 && total >= before.total_us)
        percent = (double)(total - before.total_us) / 10.0 / (double)since;
    return percent >= PRESSURE_STARVED_PERCENT ? PRESSURE_STARVED : PRESSURE_FINE;
}
