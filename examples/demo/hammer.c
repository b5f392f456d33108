/* hammer.c - asks web services for their page, all the time, and counts what went wrong.
 *
 *     hammer [-n THREADS] PORT...     until TERM or INT; then one line:
 *           REQUESTS ok, FAILED failed (N refused, N reset, N cut short, N other), VERSION=COUNT
 * ...
 *
 * THREADS (1) per port and kind: a fresh connection for each request, and one that is kept alive as
 * long as the server lets it.  A refused connection, a reset, a short or a non-200 answer is a
 * failure; nothing is tried twice.  A server may close an idle kept connection: only when not
 * a byte of the answer came and the request was never the first on it, the client asks again, as
 * RFC 9110 (9.2.2) lets it for GET; these are counted apart, closed and reset ones.
 */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum failure { REFUSED, RESET, CUT, OTHER, NFAILURES };
enum {
    PORTS_MAX = 32,
    THREADS_MAX = 64,
    VERSIONS_MAX = 16,
    PAUSE_NS = 2000000,
    TIMEOUT_S = 5,
    ANSWER_MAX = 4096
};

struct tally {
    atomic_long ok, failed[NFAILURES], closed_idle, reset_idle;
    pthread_mutex_t lock;
    struct {
        char name[48];
        long count;
    } versions[VERSIONS_MAX];
    char first_failure[160];
};

struct worker {
    struct tally *tally;
    int port;
    bool keep_alive;
    pthread_t thread;
};

static atomic_bool leaving;

static int open_connection(int port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    const struct timeval limit = { .tv_sec = TIMEOUT_S };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
        return fd;
    int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    return -1;
}

/* Bytes of a whole answer in text (Content-Length), 0 = 0 bytes or not whole yet. */
static size_t whole(const char *text, size_t len)
{
    const char *body = strstr(text, "\r\n\r\n"), *length = strcasestr(text, "Content-Length: ");

    if (!body || !length)
        return 0;
    size_t all = (size_t)(body + 4 - text) + (size_t)atol(length + 16);
    return len >= all ? all : 0;
}

/* One request on fd; the answer is in text.  Returns bytes received, 0 = closed, -1 = errno. */
static ssize_t ask(int fd, bool keep_alive, char *text)
{
    char request[128];
    size_t len = 0;

    int want = snprintf(request, sizeof request,
                        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: %s\r\n\r\n",
                        keep_alive ? "keep-alive" : "close");
    text[0] = '\0';
    if (send(fd, request, (size_t)want, MSG_NOSIGNAL) != want)
        return -1;
    while (!whole(text, len)) {
        ssize_t got = recv(fd, text + len, ANSWER_MAX - 1 - len, 0);
        if (got <= 0)
            return got < 0 && len == 0 ? -1 : (ssize_t)len;
        len += (size_t)got;
        text[len] = '\0';
    }
    return (ssize_t)len;
}

static void count_version(struct tally *tally, const char *text)
{
    const char *at = strcasestr(text, "X-Version: ");
    char name[48] = "?";

    if (at)
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at + 11, "\r\n"), at + 11);
    pthread_mutex_lock(&tally->lock);
    for (size_t i = 0; i < VERSIONS_MAX; i++) {
        if (tally->versions[i].count == 0)
            snprintf(tally->versions[i].name, sizeof tally->versions[i].name, "%s", name);
        if (strcmp(tally->versions[i].name, name) == 0) {
            tally->versions[i].count++;
            break;
        }
    }
    pthread_mutex_unlock(&tally->lock);
}

static void fail(struct tally *tally, int port, enum failure how, const char *what)
{
    atomic_fetch_add(&tally->failed[how], 1);
    pthread_mutex_lock(&tally->lock);
    if (!tally->first_failure[0])
        snprintf(tally->first_failure, sizeof tally->first_failure, "port %d: %s", port, what);
    pthread_mutex_unlock(&tally->lock);
}

static bool judge(struct worker *worker, const char *text, ssize_t len)
{
    if (len < 0 || !whole(text, (size_t)len)) {
        enum failure how = len >= 0 ? CUT : errno == ECONNRESET || errno == EPIPE ? RESET : OTHER;
        fail(worker->tally, worker->port, how, len < 0 ? strerror(errno) : "an incomplete answer");
        return false;
    }
    if (strncmp(text, "HTTP/1.1 200", 12) != 0) {
        fail(worker->tally, worker->port, OTHER, "an answer that is not 200");
        return false;
    }
    atomic_fetch_add(&worker->tally->ok, 1);
    count_version(worker->tally, text);
    return strcasestr(text, "Connection: close") == NULL;
}

static void *work(void *context)
{
    struct worker *worker = context;
    const struct timespec pause = { .tv_nsec = PAUSE_NS };
    char text[ANSWER_MAX];
    int fd = -1;

    while (!atomic_load(&leaving)) {
        bool used_before = fd >= 0;
        if (fd < 0)
            fd = open_connection(worker->port);
        if (fd < 0) {
            fail(worker->tally, worker->port,
                 errno == ECONNREFUSED ? REFUSED
                 : errno == ECONNRESET ? RESET
                                       : OTHER,
                 strerror(errno));
        } else {
            ssize_t len = ask(fd, worker->keep_alive, text);
            bool idle_close = used_before && len <= 0;
            bool keep = !idle_close && judge(worker, text, len) && worker->keep_alive;
            if (idle_close)
                atomic_fetch_add(len < 0 ? &worker->tally->reset_idle : &worker->tally->closed_idle,
                                 1);
            if (!keep) {
                close(fd);
                fd = -1;
            }
        }
        nanosleep(&pause, NULL);
    }
    if (fd >= 0)
        close(fd);
    return NULL;
}

static long report(struct tally *tally)
{
    long *const n =
        (long[]){ atomic_load(&tally->failed[REFUSED]), atomic_load(&tally->failed[RESET]),
                  atomic_load(&tally->failed[CUT]), atomic_load(&tally->failed[OTHER]) };
    long closed = atomic_load(&tally->closed_idle), reset = atomic_load(&tally->reset_idle);

    printf("%ld ok, %ld failed (%ld refused, %ld reset, %ld cut short, %ld other)",
           atomic_load(&tally->ok), n[REFUSED] + n[RESET] + n[CUT] + n[OTHER], n[REFUSED], n[RESET],
           n[CUT], n[OTHER]);
    for (size_t i = 0; i < VERSIONS_MAX && tally->versions[i].count > 0; i++)
        printf(", %s=%ld", tally->versions[i].name, tally->versions[i].count);
    if (closed + reset > 0)
        printf(", %ld asked again after an idle close (%ld of them a reset)", closed + reset,
               reset);
    if (tally->first_failure[0])
        printf(", first failure: %s", tally->first_failure);
    printf("\n");
    return n[REFUSED] + n[RESET] + n[CUT] + n[OTHER];
}

static bool start(struct worker *worker, struct tally *tally, const char *port, bool keep_alive)
{
    *worker = (struct worker){ .tally = tally, .port = atoi(port), .keep_alive = keep_alive };
    return pthread_create(&worker->thread, NULL, work, worker) == 0;
}

int main(int argc, char **argv)
{
    static struct tally tally = { .lock = PTHREAD_MUTEX_INITIALIZER };
    static struct worker workers[PORTS_MAX * THREADS_MAX * 2];
    bool counted = argc > 2 && strcmp(argv[1], "-n") == 0;
    int threads = counted ? atoi(argv[2]) : 1, first = counted ? 3 : 1;
    size_t count = 0;
    sigset_t set;
    int signum;

    if (threads < 1 || threads > THREADS_MAX || argc - first > PORTS_MAX)
        return 2;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (int i = first; i < argc; i++)
        for (int n = 0; n < threads * 2; n++)
            if (!start(&workers[count++], &tally, argv[i], n % 2))
                return 1;
    sigwait(&set, &signum);
    atomic_store(&leaving, true);
    for (size_t i = 0; i < count; i++)
        pthread_join(workers[i].thread, NULL);
    return report(&tally) > 0;
}
