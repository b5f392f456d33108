/* loop.c - the contract is in loop.h.
 *
 * Each turn is one uv_run(UV_RUN_ONCE); then come the timers that were armed with no delay, then
 * the owner's `turn`.  Memory of a handle goes when libuv has closed it, never earlier.
 */
#include "io/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <uv.h>

#include "base/clock.h"

enum { POOL_THREADS = 4 }; /* libuv's default */
enum { NOT_ARMED = UINT32_MAX, FIRST_TIMERS = 16 };

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

struct loop {
    uv_loop_t uv;
    uv_prepare_t keep_alive; /* an active handle: without one uv_run() would return at once */
    uv_idle_t awake;         /* active: uv_run() does not block */
    bool called;             /* a timer has fired in this uv_run() */
    struct timer_list soon;
    uv_timer_t alarm;         /* for the first of heap */
    struct loop_timer **heap; /* armed ones; room for all there are, so that arming cannot fail */
    size_t nheap, ntimers, room;
    uint64_t turn, armed; /* counts */
    bool stopped, ending, have_pool;
};
struct loop_watch {
    uv_poll_t handle;
    void (*fn)(void *context, unsigned events);
    void *context;
    unsigned events; /* wanted */
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

struct loop *loop_new(struct err *err)
{
    struct loop *loop = calloc(1, sizeof(*loop));

    if (!loop) {
        err_set(err, ERR_MEMORY, "no memory for an event loop");
        return NULL;
    }
    int rc = uv_loop_init(&loop->uv);
    if (rc < 0) {
        err_sys(err, -rc, "making an event loop");
        free(loop);
        return NULL;
    }
    /* A reader that goes away is an error of one write, not the end of the program. */
    signal(SIGPIPE, SIG_IGN);
    TAILQ_INIT(&loop->soon);
    uv_prepare_init(&loop->uv, &loop->keep_alive);
    loop->keep_alive.data = loop;
    uv_prepare_start(&loop->keep_alive, before_poll);
    uv_idle_init(&loop->uv, &loop->awake);
    uv_timer_init(&loop->uv, &loop->alarm);
    loop->alarm.data = loop;
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
    /* What somebody forgot to free may leak, but must not keep us here. */
    uv_walk(&loop->uv, unref_handle, NULL);
    uv_run(&loop->uv, UV_RUN_NOWAIT); /* a stop that nobody has seen yet ends here */
    uv_run(&loop->uv, UV_RUN_DEFAULT);
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

struct loop_watch *loop_watch_new(struct loop *loop, int fd,
                                  void (*fn)(void *context, unsigned events), void *context,
                                  struct err *err)
{
    struct loop_watch *watch = calloc(1, sizeof(*watch));

    if (!watch) {
        err_set(err, ERR_MEMORY, "no memory to watch a descriptor");
        return NULL;
    }
    int rc = fd < 0 ? UV_EBADF : uv_poll_init(&loop->uv, &watch->handle, fd);
    if (rc < 0) {
        err_sys(err, -rc, "watching descriptor %d", fd);
        free(watch);
        return NULL;
    }
    watch->handle.data = watch;
    watch->fn = fn;
    watch->context = context;
    return watch;
}

static void on_poll(uv_poll_t *handle, int status, int ready)
{
    struct loop_watch *watch = handle->data;
    unsigned events = 0;

    /* libuv takes EPOLLERR for a bad descriptor and gives up.  There may be something to read
     * all the same, and read() or write() tell best what it is: go on as poll(2) would. */
    if (status < 0) {
        events = watch->events | LOOP_HANGUP;
        loop_watch_set(watch, watch->events);
    }
    if (ready & UV_READABLE)
        events |= LOOP_READ;
    if (ready & UV_WRITABLE)
        events |= LOOP_WRITE;
    if (ready & UV_DISCONNECT)
        events |= LOOP_HANGUP;
    if (ready & UV_PRIORITIZED)
        events |= LOOP_URGENT;
    watch->fn(watch->context, events);
}

void loop_watch_set(struct loop_watch *watch, unsigned events)
{
    int wanted = 0;

    watch->events = events;
    if (events & LOOP_READ)
        wanted |= UV_READABLE;
    if (events & LOOP_WRITE)
        wanted |= UV_WRITABLE;
    if (events & LOOP_HANGUP)
        wanted |= UV_DISCONNECT;
    if (events & LOOP_URGENT)
        wanted |= UV_PRIORITIZED;
    if (wanted != 0)
        uv_poll_start(&watch->handle, wanted, on_poll);
    else
        uv_poll_stop(&watch->handle);
}

void loop_watch_free(struct loop_watch *watch)
{
    if (watch)
        uv_close((uv_handle_t *)&watch->handle, free_handle);
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
