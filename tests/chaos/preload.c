/* preload.c - for LD_PRELOAD: memory that is not to be had, and a wall clock that jumps.
 *
 * CHAOS_MEMORY names a file that tests/chaos/faults.py maps, too: which process of the supervisor
 * is refused memory (the word that it was started with), which of its requests fail, how many there
 * were; and how far all of its processes are from the true time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct orders {
    char role[16];         /* "core", "logger", "run"; empty = nobody */
    uint64_t first, times; /* the first one that fails (0 = none), how many (0 = all) */
    _Atomic uint64_t seen, hits;
    _Atomic int64_t ahead_s; /* of the true time */
};

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *before, size_t size);
extern void *__libc_memalign(size_t align, size_t size);

void *reallocarray(void *before, size_t count, size_t size);
void *memalign(size_t align, size_t size);

static struct orders *orders;
static char role[16];

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("CHAOS_MEMORY");
    char words[256] = { 0 };
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, words, sizeof(words) - 2);
    close(fd);
    const char *second = words + strlen(words) + 1;
    if (!path || n <= 0 || !strstr(words, "supervisor"))
        return;
    snprintf(role, sizeof(role), "%s", strcmp(second, "guardian") == 0 ? "run" : second);
    fd = open(path, O_RDWR | O_CLOEXEC);
    void *at = mmap(NULL, sizeof(*orders), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED)
        orders = at;
}

static int refused(void)
{
    if (!orders || strcmp(orders->role, role) != 0)
        return 0;
    uint64_t n = atomic_fetch_add(&orders->seen, 1) + 1, first = orders->first;
    if (first == 0 || n < first || (orders->times > 0 && n >= first + orders->times))
        return 0;
    atomic_fetch_add(&orders->hits, 1);
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size) { return refused() ? NULL : __libc_malloc(size); }

void *calloc(size_t count, size_t size) { return refused() ? NULL : __libc_calloc(count, size); }

void *realloc(void *before, size_t size) { return refused() ? NULL : __libc_realloc(before, size); }

void *memalign(size_t align, size_t size)
{
    return refused() ? NULL : __libc_memalign(align, size);
}

void *aligned_alloc(size_t align, size_t size) { return memalign(align, size); }

int posix_memalign(void **ret, size_t align, size_t size)
{
    void *at = memalign(align, size);
    if (!at)
        return ENOMEM;
    *ret = at;
    return 0;
}

void *reallocarray(void *before, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(before, bytes);
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    int rc = (int)syscall(SYS_clock_gettime, clock, ret);
    if (rc == 0 && orders && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        ret->tv_sec += atomic_load(&orders->ahead_s);
    return rc;
}

/* Only what is to be told when the clock is set cares for it. */
int timerfd_settime(int fd, int flags, const struct itimerspec *spec, struct itimerspec *before)
{
    struct itimerspec moved = *spec;
    if (orders && flags & TFD_TIMER_CANCEL_ON_SET && moved.it_value.tv_sec > 0)
        moved.it_value.tv_sec -= atomic_load(&orders->ahead_s);
    return (int)syscall(SYS_timerfd_settime, fd, flags, &moved, before);
}

time_t time(time_t *ret)
{
    struct timespec now = { 0 };
    clock_gettime(CLOCK_REALTIME, &now);
    if (ret)
        *ret = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
    struct timespec now = { 0 };
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *ret = (struct timeval){ .tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000 };
    return 0;
}
