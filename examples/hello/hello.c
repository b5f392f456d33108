/* hello.c - a small HTTP service, the one that the examples and the tests deploy.
 *
 *     hello [PORT]          without systemd-style sockets it listens on 127.0.0.1:PORT (8080)
 *
 * It is made as a service should be made for releases without a gap: it takes its listening socket
 * from LISTEN_FDS when there is one, says READY=1 to NOTIFY_SOCKET, and on TERM stops accepting,
 * answers what it has begun with "Connection: close", and leaves when nobody is left.
 *
 *     GET /          "hello from VERSION, process PID"       VERSION: the file VERSION beside it
 *     GET /health    200, or 503 when this release is sick
 *     GET /crash     the process ends with code 7
 *     GET /fail      500, as if something that it needs were down
 *     GET /metrics   how many requests there were of / and /fail and how long they took, in
 *                    Prometheus' text format
 *
 * A release can be bad on purpose: a file `crash` makes it exit at once, `never-ready` makes it
 * never say that it is ready and /health say 503, and `sick-after` holds a number: so many health
 * checks are answered well, then 503.  With `deaf` it never accepts a connection.  `fails-every`
 * holds a number: so many requests, and the last of them is answered with 500; with `slow-every`
 * the last of them takes 30 ms.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    LISTEN_FD = 3, /* sd_listen_fds(3): the first passed descriptor */
    CLIENTS_MAX = 1024,
    REQUEST_MAX = 4096,
    DEFAULT_PORT = 8080,
    SLOW_MS = 30,
    DRAIN_MS = 3000, /* how long an idle connection may still bring a request */
};

struct client {
    int fd;
    size_t len;
    char request[REQUEST_MAX];
};

struct hello {
    int listener; /* -1 once we drain */
    struct client clients[CLIENTS_MAX];
    size_t count;
    char version[64];
    long sick_after, health_checks;
    long fails_every, well, failed; /* requests of / and /fail */
    long slow_every, slow;          /* of them, over 10 ms */
    long long started;              /* seconds since 1970 */
    bool draining, deaf;
    long long drain_until_ms;
};

static volatile sig_atomic_t term_seen;

static void on_term(int signum)
{
    (void)signum;
    term_seen = 1;
}

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* First line of a file beside us; false when there is no such file. */
static bool read_line(const char *name, char *text, size_t size)
{
    FILE *file = fopen(name, "re");

    if (!file)
        return false;
    if (!fgets(text, (int)size, file))
        text[0] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    fclose(file);
    return true;
}

static int own_listener(int port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 1024) != 0) {
        fprintf(stderr, "cannot listen on 127.0.0.1:%d: %s\n", port, strerror(errno));
        exit(1);
    }
    return fd;
}

static int find_listener(int port)
{
    const char *count = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");

    if (count && atoi(count) > 0 && pid && atoi(pid) == (int)getpid())
        return LISTEN_FD;
    return own_listener(port);
}

static void say_ready(void)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = name ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;

    if (fd < 0 || strlen(name) >= sizeof at.sun_path)
        return;
    size_t len = strlen(name);
    memcpy(at.sun_path, name, len);
    if (at.sun_path[0] == '@')
        at.sun_path[0] = '\0';
    sendto(fd, "READY=1", 7, MSG_NOSIGNAL, (struct sockaddr *)&at,
           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
    close(fd);
}

static bool is_healthy(struct hello *hello)
{
    hello->health_checks++;
    if (access("never-ready", F_OK) == 0)
        return false;
    return hello->sick_after < 0 || hello->health_checks <= hello->sick_after;
}

static bool is_due(long number, long every) { return every > 0 && number % every == 0; }

/* True when the request is answered well. */
static bool count(struct hello *hello, const char *request)
{
    const struct timespec pause = { .tv_nsec = SLOW_MS * 1000000L };
    long number = hello->well + hello->failed + 1;
    bool well = strncmp(request, "GET /fail", 9) != 0 && !is_due(number, hello->fails_every);

    if (is_due(number, hello->slow_every)) {
        nanosleep(&pause, NULL);
        hello->slow++;
    }
    *(well ? &hello->well : &hello->failed) += 1;
    return well;
}

static void metrics(const struct hello *hello, char *body, size_t size)
{
    snprintf(body, size,
             "# HELP http_requests_total Requests by code of the answer.\n"
             "# TYPE http_requests_total counter\n"
             "http_requests_total{code=\"200\"} %ld\n"
             "http_requests_total{code=\"500\"} %ld\n"
             "# TYPE http_request_duration_seconds histogram\n"
             "http_request_duration_seconds_bucket{le=\"0.01\"} %ld\n"
             "http_request_duration_seconds_bucket{le=\"+Inf\"} %ld\n"
             "# TYPE process_start_time_seconds gauge\n"
             "process_start_time_seconds %lld\n",
             hello->well, hello->failed, hello->well + hello->failed - hello->slow,
             hello->well + hello->failed, hello->started);
}

/* Answers one request; false when the connection is to be closed. */
static bool answer(struct hello *hello, struct client *client)
{
    char body[768], head[1024];
    const char *trouble = "503 Service Unavailable";
    bool healthy = true, close_it = hello->draining || strstr(client->request, "onnection: close");

    if (strncmp(client->request, "GET /crash", 10) == 0)
        _exit(7);
    if (strncmp(client->request, "GET /health", 11) == 0) {
        healthy = is_healthy(hello);
        snprintf(body, sizeof body, "%s\n", healthy ? "ok" : "sick");
    } else if (strncmp(client->request, "GET /metrics", 12) == 0) {
        metrics(hello, body, sizeof body);
    } else {
        healthy = count(hello, client->request);
        trouble = "500 Internal Server Error";
        snprintf(body, sizeof body, "hello from %s, process %d\n", hello->version, (int)getpid());
    }
    snprintf(head, sizeof head,
             "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nX-Version: %s\r\nContent-Length: %zu\r\n"
             "Connection: %s\r\n\r\n",
             healthy ? "200 OK" : trouble, hello->version, strlen(body),
             close_it ? "close" : "keep-alive");
    strncat(head, body, sizeof head - strlen(head) - 1);
    ssize_t sent = send(client->fd, head, strlen(head), MSG_NOSIGNAL);
    return sent == (ssize_t)strlen(head) && !close_it;
}

static void drop(struct hello *hello, size_t index)
{
    close(hello->clients[index].fd);
    hello->clients[index] = hello->clients[--hello->count];
}

/* Reads what is there and answers every whole request; false when the client is gone. */
static bool serve(struct hello *hello, struct client *client)
{
    ssize_t got = recv(client->fd, client->request + client->len, REQUEST_MAX - 1 - client->len, 0);
    char *end;

    if (got <= 0)
        return got < 0 && (errno == EAGAIN || errno == EINTR);
    client->len += (size_t)got;
    client->request[client->len] = '\0';
    while ((end = strstr(client->request, "\r\n\r\n")) != NULL) {
        size_t used = (size_t)(end + 4 - client->request);
        if (!answer(hello, client))
            return false;
        client->len -= used;
        memmove(client->request, client->request + used, client->len + 1);
    }
    return client->len < REQUEST_MAX - 1;
}

static void welcome(struct hello *hello)
{
    int on = 1, fd = accept4(hello->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    hello->clients[hello->count++] = (struct client){ .fd = fd };
}

static void begin_drain(struct hello *hello)
{
    printf("asked to leave, %zu connections to finish\n", hello->count);
    hello->draining = true;
    hello->drain_until_ms = now_ms() + DRAIN_MS;
    close(hello->listener);
    hello->listener = -1;
}

static void turn(struct hello *hello, const sigset_t *unblocked)
{
    struct pollfd polled[CLIENTS_MAX + 1];
    const struct timespec tick = { .tv_nsec = 100000000 };
    size_t count = hello->count;

    for (size_t i = 0; i < count; i++)
        polled[i] = (struct pollfd){ hello->clients[i].fd, POLLIN, 0 };
    bool room = hello->listener >= 0 && count < CLIENTS_MAX && !hello->deaf;
    polled[count] = (struct pollfd){ room ? hello->listener : -1, POLLIN, 0 };
    if (ppoll(polled, count + 1, hello->draining ? &tick : NULL, unblocked) <= 0)
        return;
    for (size_t i = count; i > 0; i--)
        if (polled[i - 1].revents && !serve(hello, &hello->clients[i - 1]))
            drop(hello, i - 1);
    if (polled[count].revents)
        welcome(hello);
}

int main(int argc, char **argv)
{
    static struct hello hello;
    const struct sigaction action = { .sa_handler = on_term };
    char text[64];
    sigset_t blocked, unblocked;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!read_line("VERSION", hello.version, sizeof hello.version))
        strcpy(hello.version, "an unnamed version");
    hello.sick_after = read_line("sick-after", text, sizeof text) ? atol(text) : -1;
    hello.fails_every = read_line("fails-every", text, sizeof text) ? atol(text) : 0;
    hello.slow_every = read_line("slow-every", text, sizeof text) ? atol(text) : 0;
    hello.started = time(NULL);
    if (access("crash", F_OK) == 0) {
        fprintf(stderr, "version %s cannot start: this release is broken on purpose\n",
                hello.version);
        return 1;
    }
    hello.deaf = access("deaf", F_OK) == 0;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &unblocked);
    sigdelset(&unblocked, SIGTERM);
    sigaction(SIGTERM, &action, NULL);
    hello.listener = find_listener(argc > 1 ? atoi(argv[1]) : DEFAULT_PORT);
    fcntl(hello.listener, F_SETFL, O_NONBLOCK);
    printf("version %s serves as process %d\n", hello.version, (int)getpid());
    if (access("never-ready", F_OK) != 0)
        say_ready();
    while (!hello.draining || (hello.count > 0 && now_ms() < hello.drain_until_ms)) {
        turn(&hello, &unblocked);
        if (term_seen && !hello.draining)
            begin_drain(&hello);
    }
    printf("version %s has left\n", hello.version);
    return 0;
}
