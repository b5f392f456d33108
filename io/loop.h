/* loop.h - the event loop: libuv wrapped once, so that a handle can be dropped at any time.
 *
 * Every handle is created on the heap and freed by its _free function, which may be called from
 * any callback, also its own; after it no callback of that handle runs.  NULL is fine.
 * Creation fails (NULL) only without memory or descriptors; nobody aborts.
 * Callbacks never nest: libuv calls them one after another from loop_run().
 */
#ifndef IO_LOOP_H
#define IO_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct loop;
struct loop_timer;
struct loop_watch;
struct loop_signal;
struct loop_work;

/* From then on the process ignores SIGPIPE. */
struct loop *loop_new(struct err *err);
/* All handles must have been freed before; runs their pending closes. */
void loop_free(struct loop *loop);
/* Runs until loop_stop(), which may have been called before.  `turn` (may be NULL) is called before
 * the first turn and at the end of each, after all callbacks and before the loop sleeps again:
 * the place to drain a queue of facts. */
void loop_run(struct loop *loop, void (*turn)(void *context), void *context);
void loop_stop(struct loop *loop);
/* Milliseconds of CLOCK_MONOTONIC, read anew (not the loop's cached time). */
int64_t loop_now_ms(const struct loop *loop);

/* One-shot timer.  arm() replaces an earlier deadline; delay 0 = next turn. */
struct loop_timer *loop_timer_new(struct loop *loop, void (*fn)(void *context), void *context);
void loop_timer_arm(struct loop_timer *timer, int64_t delay_ms);
void loop_timer_disarm(struct loop_timer *timer);
bool loop_timer_armed(const struct loop_timer *timer);
void loop_timer_free(struct loop_timer *timer);

/* Readiness of a descriptor, which stays the caller's and is made non-blocking.  Free the watch
 * before closing the descriptor, and have only one at a time.  A new watch is paused.  `events` in
 * the callback: bits of what is ready; it is called again as long as they are.  An error of the
 * descriptor shows as all wanted bits and LOOP_HANGUP, wanted or not: read() or write() tell what
 * it is.  Regular files cannot be watched.  URGENT is for files of the kernel that tell a change so
 * ("cgroup.events"): read from the start to be told of the next one. */
enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HANGUP = 4, LOOP_URGENT = 8 };
struct loop_watch *loop_watch_new(struct loop *loop, int fd,
                                  void (*fn)(void *context, unsigned events), void *context,
                                  struct err *err);
void loop_watch_set(struct loop_watch *watch, unsigned events); /* 0 pauses */
void loop_watch_free(struct loop_watch *watch);

/* A signal, delivered as an ordinary callback. */
struct loop_signal *loop_signal_new(struct loop *loop, int signum,
                                    void (*fn)(void *context, int signum), void *context);
void loop_signal_free(struct loop_signal *signal);

/* Runs `work` on a thread of the pool, then `done` on the loop.  cancel() makes `done` not run
 * (work may still be running: `context` must live until `release(context)` is called, which
 * happens in every case, last; release may be NULL). */
struct loop_work *loop_work_start(struct loop *loop, void (*work)(void *context),
                                  void (*done)(void *context), void (*release)(void *context),
                                  void *context);
void loop_work_cancel(struct loop_work *work);

#endif
