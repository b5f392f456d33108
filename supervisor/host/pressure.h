/* pressure.h - is a service, or the host, short of CPU?  Then a probe that was not answered in time
 * says little about the service.
 *
 * Read only when somebody asks, from the cpu.pressure of a control group or from /proc/pressure/cpu
 * ("some": the share of the time in which at least one task that could run had to wait).
 */
#ifndef SUPERVISOR_HOST_PRESSURE_H
#define SUPERVISOR_HOST_PRESSURE_H

#include <stdbool.h>
#include <stdint.h>

#define PRESSURE_PATH "/proc/pressure/cpu"
enum {
    PRESSURE_STARVED_PERCENT = 75,
    PRESSURE_NEAR_MS = 200,  /* two looks that are closer tell nothing, */
    PRESSURE_FAR_MS = 10000, /* and those that are further apart tell of the past */
};

enum pressure {
    PRESSURE_UNKNOWN, /* the kernel does not tell (no PSI) */
    PRESSURE_FINE,
    PRESSURE_STARVED,
};
/* All zeros at first: the last look. */
struct pressure_seen {
    int64_t at_ms;
    uint64_t total_us;
    bool any;
};
/* Since the last look, when that is a fitting time ago, else by the kernel's 10 s average. */
enum pressure pressure_ask(struct pressure_seen *seen, const char *path, int64_t now_ms);
/* The same of an open file, which is closed; -1 = it is not there. */
enum pressure pressure_ask_fd(struct pressure_seen *seen, int fd, int64_t now_ms);
/* Pure: the "some" line; false: it is not there. */
bool pressure_parse(const char *text, double *ret_avg10, uint64_t *ret_total_us);

#endif
