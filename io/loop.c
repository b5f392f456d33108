/* loop.c - the contract is in loop.h.
 *
 * Each turn is one uv_run(UV_RUN_ONCE); then come the timers that were armed with no delay, then
 * the owner's `turn`.  Memory of a handle goes when libuv has closed it, never earlier.
 */
#include "io/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <unistd.h>
#include <uv.h>

#include "base/auto.h"
#include "base/clock.h"

enum { POOL_THREADS = 4 }; /* libuv's default */
enum { NOT_ARMED = UINT32_MAX, FIRST_TIMERS = 16, READY_MAX = 64, SET_AGAIN_MS = 50 };

/* Timers are many and mostly asleep, so they are small: one handle of libuv's rings for all. */
struct loop_timer {
    struct loop *loop;
    void (*fn)(void *context);
    void *context;
    uint64_t due; /* on libuv's clock; of one in loop->soon: the turn it was armed in */
    union {
        uint64_t order; /* of two that are due at the same time the one armed first rings first */
        TAILQ_ENTRY(loop_timer) link; /* in loop->soon */
    };
    uint32_t place; /* in loop->heap */
    bool soon;      /* is in loop->soon instead */
};
TAILQ_HEAD(timer_list, loop_timer);

SLIST_HEAD(watch_list, loop_watch);
struct loop {
    uv_loop_t uv;
    uv_prepare_t keep_alive; /* an active handle: without one uv_run() would return at once */
    uv_idle_t awake;         /* active: uv_run() does not block */
    int watches;             /* epoll of all that are watched, itself watched by libuv */
    uv_poll_t any;           /* of that */
    struct epoll_event ready[READY_MAX];
    bool called; /* a timer has fired in this uv_run() */
    struct timer_list soon;
    uv_timer_t alarm;         /* for the first of heap */
    struct loop_timer **heap; /* armed ones; room for all there are, so that arming cannot fail */
    size_t nheap, ntimers, room;
    struct watch_list unset;      /* the kernel does not know yet what is wanted of them */
    struct loop_timer *set_again; /* owned */
    uint64_t turn, armed;         /* counts */
    bool stopped, ending, have_pool;
};
struct loop_watch {
    struct loop *loop;
    void (*fn)(void *context, unsigned events);
    void *context;
    int fd;
    unsigned events; /* wanted */
    bool unset;      /* in loop->unset */
    SLIST_ENTRY(loop_watch) link;
};
struct loop_signal {
    uv_signal_t handle;
    void (*fn)(void *context, int signum);
    void *context;
};
struct loop_work {
    uv_work_t request;
    struct loop *loop;
    void (*work)(void *context);
    void (*done)(void *context);
    void (*release)(void *context);
    void *context;
    bool cancelled, ended;
};

static void do_nothing(uv_idle_t *handle) { (void)handle; }
static void free_handle(uv_handle_t *handle) { free(handle->data); }

/* UV_RUN_ONCE calls timers that are due and then blocks all the same; what they brought about would
 * wait for the owner's turn until something else happens. */
static void before_poll(uv_prepare_t *handle)
{
    struct loop *loop = handle->data;

    if (loop->called || !TAILQ_EMPTY(&loop->soon))
        uv_idle_start(&loop->awake, do_nothing);
}

static void on_ready(uv_poll_t *handle, int status, int ready);
static void set_again(void *context);

/* 0 or -errno; then nothing is left. */
static int begin(struct loop *loop)
{
    AUTO_CLOSE int watches = epoll_create1(EPOLL_CLOEXEC);
    int rc = watches < 0 ? -errno : uv_loop_init(&loop->uv);

    if (rc < 0)
        return rc;
    rc = uv_poll_init(&loop->uv, &loop->any, watches);
    if (rc == 0)
        rc = uv_poll_start(&loop->any, UV_READABLE, on_ready);
    if (rc < 0)
        uv_loop_close(&loop->uv);
    else
        loop->watches = take_fd(&watches);
    return rc;
}

struct loop *loop_new(struct err *err)
{
    struct loop *loop = calloc(1, sizeof(*loop));

    if (!loop) {
        err_set(err, ERR_MEMORY, "no memory for an event loop");
        return NULL;
    }
    TAILQ_INIT(&loop->soon);
    loop->set_again = loop_timer_new(loop, set_again, loop);
    int rc = loop->set_again ? begin(loop) : -ENOMEM;
    if (rc < 0) {
        err_sys(err, -rc, "making an event loop");
        free(loop->set_again);
        free(loop->heap);
        free(loop);
        return NULL;
    }
    /* A reader that goes away is an error of one write, not the end of the program. */
    signal(SIGPIPE, SIG_IGN);
    uv_prepare_init(&loop->uv, &loop->keep_alive);
    loop->keep_alive.data = loop;
    uv_prepare_start(&loop->keep_alive, before_poll);
    uv_idle_init(&loop->uv, &loop->awake);
    uv_timer_init(&loop->uv, &loop->alarm);
    loop->alarm.data = loop->any.data = loop;
    return loop;
}

static void unref_handle(uv_handle_t *handle, void *unused)
{
    (void)unused;
    uv_unref(handle);
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    loop->ending = true;
    uv_close((uv_handle_t *)&loop->keep_alive, NULL);
    uv_close((uv_handle_t *)&loop->awake, NULL);
    uv_close((uv_handle_t *)&loop->alarm, NULL);
    uv_close((uv_handle_t *)&loop->any, NULL);
    /* What somebody forgot to free may leak, but must not keep us here. */
    uv_walk(&loop->uv, unref_handle, NULL);
    uv_run(&loop->uv, UV_RUN_NOWAIT); /* a stop that nobody has seen yet ends here */
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    close(loop->watches);
    free(loop->set_again);
    free(loop->heap);
    if (uv_loop_close(&loop->uv) == 0)
        free(loop);
}

/* Only those that were armed before this turn: one that arms itself again must wait as well. */
static void run_soon(struct loop *loop)
{
    struct loop_timer *timer;
    uint64_t turn = loop->turn++;

    while ((timer = TAILQ_FIRST(&loop->soon)) != NULL && timer->due <= turn) {
        loop_timer_disarm(timer);
        timer->fn(timer->context);
    }
}

void loop_run(struct loop *loop, void (*turn)(void *context), void *context)
{
    if (turn && !loop->stopped)
        turn(context); /* what was put into the queue before the loop ran */
    while (!loop->stopped) {
        uv_run(&loop->uv, UV_RUN_ONCE);
        uv_idle_stop(&loop->awake);
        loop->called = false;
        run_soon(loop);
        if (turn)
            turn(context);
    }
    loop->stopped = false;
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
    uv_stop(&loop->uv);
}

int64_t loop_now_ms(const struct loop *loop)
{
    (void)loop;
    return clock_mono_ms();
}

/* --- timers: a heap, the earliest at its top --- */

static bool is_earlier(const struct loop_timer *a, const struct loop_timer *b)
{
    return a->due < b->due || (a->due == b->due && a->order < b->order);
}

static void put(struct loop *loop, struct loop_timer *timer, size_t place)
{
    loop->heap[place] = timer;
    timer->place = (uint32_t)place;
}

static void move_up(struct loop *loop, struct loop_timer *timer, size_t place)
{
    while (place > 0 && is_earlier(timer, loop->heap[(place - 1) / 2])) {
        put(loop, loop->heap[(place - 1) / 2], place);
        place = (place - 1) / 2;
    }
    put(loop, timer, place);
}

static void move_down(struct loop *loop, struct loop_timer *timer, size_t place)
{
    for (size_t child; (child = place * 2 + 1) < loop->nheap; place = child) {
        if (child + 1 < loop->nheap && is_earlier(loop->heap[child + 1], loop->heap[child]))
            child++;
        if (!is_earlier(loop->heap[child], timer))
            break;
        put(loop, loop->heap[child], place);
    }
    put(loop, timer, place);
}

static void remove_from_heap(struct loop *loop, struct loop_timer *timer)
{
    size_t place = timer->place;
    struct loop_timer *last = loop->heap[--loop->nheap];

    timer->place = NOT_ARMED;
    if (last == timer)
        return;
    if (place > 0 && is_earlier(last, loop->heap[(place - 1) / 2]))
        move_up(loop, last, place);
    else
        move_down(loop, last, place);
}

static void set_alarm(struct loop *loop);

/* Those that were due when it rang; what they arm comes later. */
static void on_alarm(uv_timer_t *handle)
{
    struct loop *loop = handle->data;
    uint64_t now = uv_now(&loop->uv);

    loop->called = true;
    while (loop->nheap > 0 && loop->heap[0]->due <= now) {
        struct loop_timer *timer = loop->heap[0];
        remove_from_heap(loop, timer);
        timer->fn(timer->context);
    }
    set_alarm(loop);
}

static void set_alarm(struct loop *loop)
{
    if (loop->nheap == 0) {
        uv_timer_stop(&loop->alarm);
        return;
    }
    uint64_t now = uv_now(&loop->uv), due = loop->heap[0]->due;
    uv_timer_start(&loop->alarm, on_alarm, due > now ? due - now : 0, 0);
}

struct loop_timer *loop_timer_new(struct loop *loop, void (*fn)(void *context), void *context)
{
    if (loop->ntimers == loop->room) {
        size_t room = loop->room ? loop->room * 2 : FIRST_TIMERS;
        struct loop_timer **heap = realloc(loop->heap, room * sizeof(*heap));
        if (!heap)
            return NULL;
        loop->heap = heap;
        loop->room = room;
    }
    struct loop_timer *timer = calloc(1, sizeof(*timer));
    if (!timer)
        return NULL;
    loop->ntimers++;
    timer->loop = loop;
    timer->fn = fn;
    timer->context = context;
    timer->place = NOT_ARMED;
    return timer;
}

void loop_timer_arm(struct loop_timer *timer, int64_t delay_ms)
{
    struct loop *loop = timer->loop;

    loop_timer_disarm(timer);
    if (delay_ms <= 0) {
        timer->soon = true;
        timer->due = loop->turn;
        TAILQ_INSERT_TAIL(&loop->soon, timer, link);
        return;
    }
    uv_update_time(&loop->uv); /* the delay counts from now, not from the beginning of the turn */
    timer->due = uv_now(&loop->uv) + (uint64_t)delay_ms;
    timer->order = loop->armed++;
    loop->nheap++;
    move_up(loop, timer, loop->nheap - 1);
    if (loop->heap[0] == timer)
        set_alarm(loop);
}

void loop_timer_disarm(struct loop_timer *timer)
{
    struct loop *loop = timer->loop;
    bool first = timer->place == 0;

    if (timer->soon)
        TAILQ_REMOVE(&loop->soon, timer, link);
    else if (timer->place != NOT_ARMED)
        remove_from_heap(loop, timer);
    timer->soon = false;
    if (first) /* nobody wakes up for it in vain */
        set_alarm(loop);
}

bool loop_timer_armed(const struct loop_timer *timer)
{
    return timer->soon || timer->place != NOT_ARMED;
}

void loop_timer_free(struct loop_timer *timer)
{
    if (!timer)
        return;
    loop_timer_disarm(timer);
    timer->loop->ntimers--;
    free(timer);
}

/* --- descriptors: libuv's handle for one takes ten system calls from birth to end --- */

/* One that is paused stays in the set, where an error can still show: edge-triggered, so once. */
static bool control(struct loop_watch *watch, int operation)
{
    static const struct {
        unsigned ours;
        uint32_t theirs;
    } bits[] = { { LOOP_READ, EPOLLIN },
                 { LOOP_WRITE, EPOLLOUT },
                 { LOOP_HANGUP, EPOLLRDHUP },
                 { LOOP_URGENT, EPOLLPRI } };
    struct epoll_event event = { .events = watch->events ? 0 : EPOLLET, .data.ptr = watch };

    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
        if (watch->events & bits[i].ours)
            event.events |= bits[i].theirs;
    return epoll_ctl(watch->loop->watches, operation, watch->fd, &event) == 0 ||
           (operation != EPOLL_CTL_ADD && (errno == ENOENT || errno == EBADF)); /* it has gone */
}

struct loop_watch *loop_watch_new(struct loop *loop, int fd,
                                  void (*fn)(void *context, unsigned events), void *context,
                                  struct err *err)
{
    struct loop_watch *watch = calloc(1, sizeof(*watch));
    int on = 1;

    if (!watch) {
        err_set(err, ERR_MEMORY, "no memory to watch a descriptor");
        return NULL;
    }
    *watch = (struct loop_watch){ .loop = loop, .fn = fn, .context = context, .fd = fd };
    if (!control(watch, EPOLL_CTL_ADD)) {
        err_sys(err, errno, "watching descriptor %d", fd);
        free(watch);
        return NULL;
    }
    (void)ioctl(fd, FIONBIO, &on); /* files of the kernel know no such thing */
    return watch;
}

/* Of what is not wanted any more, or not yet, nothing is told. */
static unsigned events_of(const struct loop_watch *watch, uint32_t ready)
{
    unsigned events = 0;

    if (ready & EPOLLIN)
        events |= LOOP_READ;
    if (ready & EPOLLOUT)
        events |= LOOP_WRITE;
    if (ready & EPOLLRDHUP)
        events |= LOOP_HANGUP;
    if (ready & EPOLLPRI)
        events |= LOOP_URGENT;
    events &= watch->events;
    if ((ready & EPOLLERR) && !(ready & EPOLLPRI))
        return watch->events | LOOP_HANGUP;
    return events == 0 && (ready & EPOLLHUP) ? watch->events : events;
}

static void on_ready(uv_poll_t *handle, int status, int ready)
{
    struct loop *loop = handle->data;

    (void)status, (void)ready;
    int count = epoll_wait(loop->watches, loop->ready, READY_MAX, 0);
    for (int i = 0; i < count; i++) {
        struct loop_watch *watch = loop->ready[i].data.ptr;
        unsigned events = watch ? events_of(watch, loop->ready[i].events) : 0;

        if (events)
            watch->fn(watch->context, events);
    }
    memset(loop->ready, 0, sizeof loop->ready);
}

void loop_watch_set(struct loop_watch *watch, unsigned events)
{
    if (watch->events == events)
        return;
    watch->events = events;
    if (control(watch, EPOLL_CTL_MOD) || watch->unset)
        return;
    watch->unset = true;
    SLIST_INSERT_HEAD(&watch->loop->unset, watch, link);
    loop_timer_arm(watch->loop->set_again, 0);
}

static void set_again(void *context)
{
    struct loop *loop = context;
    struct loop_watch *watch, *next;

    for (watch = SLIST_FIRST(&loop->unset); watch; watch = next) {
        next = SLIST_NEXT(watch, link);
        if (!control(watch, EPOLL_CTL_MOD))
            continue;
        SLIST_REMOVE(&loop->unset, watch, loop_watch, link);
        watch->unset = false;
    }
    if (!SLIST_EMPTY(&loop->unset))
        loop_timer_arm(loop->set_again, SET_AGAIN_MS);
}

static void say_nothing(void *context, unsigned events) { (void)context, (void)events; }

void loop_watch_free(struct loop_watch *watch)
{
    if (!watch)
        return;
    struct loop *loop = watch->loop;
    if (watch->unset)
        SLIST_REMOVE(&loop->unset, watch, loop_watch, link);
    bool out = control(watch, EPOLL_CTL_DEL);
    for (size_t i = 0; i < READY_MAX; i++) /* of this turn, not looked at yet */
        if (loop->ready[i].data.ptr == watch)
            loop->ready[i].data.ptr = NULL;
    if (out)
        free(watch);
    else /* the kernel still names it wherever the descriptor has a copy: better lost than freed */
        *watch = (struct loop_watch){ .loop = loop, .fn = say_nothing, .fd = -1 };
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct loop_signal *signal = handle->data;
    signal->fn(signal->context, signum);
}

struct loop_signal *loop_signal_new(struct loop *loop, int signum,
                                    void (*fn)(void *context, int signum), void *context)
{
    struct loop_signal *signal = calloc(1, sizeof(*signal));

    if (!signal)
        return NULL;
    if (uv_signal_init(&loop->uv, &signal->handle) < 0) {
        free(signal);
        return NULL;
    }
    signal->handle.data = signal;
    signal->fn = fn;
    signal->context = context;
    if (uv_signal_start(&signal->handle, on_signal, signum) < 0) {
        loop_signal_free(signal);
        return NULL;
    }
    return signal;
}

void loop_signal_free(struct loop_signal *signal)
{
    if (signal)
        uv_close((uv_handle_t *)&signal->handle, free_handle);
}

static void on_work(uv_work_t *request)
{
    struct loop_work *work = request->data;
    work->work(work->context);
}

static void on_work_done(uv_work_t *request, int status)
{
    struct loop_work *work = request->data;

    work->ended = true;
    if (status == 0 && !work->cancelled && !work->loop->ending)
        work->done(work->context);
    if (work->release)
        work->release(work->context);
    free(work);
}

static void *wait_at_gate(void *gate)
{
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/* libuv aborts when it cannot start the threads of its pool, so it is tried here first.  The
 * gate keeps all of them alive at the same time. */
static bool can_start_pool(void)
{
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_t threads[POOL_THREADS];
    unsigned count = 0;

    pthread_mutex_lock(&gate);
    while (count < POOL_THREADS && pthread_create(&threads[count], NULL, wait_at_gate, &gate) == 0)
        count++;
    pthread_mutex_unlock(&gate);
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&gate);
    return count == POOL_THREADS;
}

struct loop_work *loop_work_start(struct loop *loop, void (*work_fn)(void *context),
                                  void (*done)(void *context), void (*release)(void *context),
                                  void *context)
{
    loop->have_pool = loop->have_pool || can_start_pool();
    struct loop_work *work = loop->have_pool ? calloc(1, sizeof(*work)) : NULL;

    if (!work)
        return NULL;
    *work = (struct loop_work){
        .request = { .data = work },
        .loop = loop,
        .work = work_fn,
        .done = done,
        .release = release,
        .context = context,
    };
    if (uv_queue_work(&loop->uv, &work->request, on_work, on_work_done) < 0) {
        free(work);
        return NULL;
    }
    return work;
}

void loop_work_cancel(struct loop_work *work)
{
    if (!work || work->ended)
        return;
    work->cancelled = true;
    uv_cancel((uv_req_t *)&work->request); /* fails when it runs; then only `done` is left out */
}
