/* window.h - how many logins may be under way at once, and when one that was turned away tries
 * again.
 *
 * An sshd, or a jump host before all of them, closes connections before its banner when too many
 * have not logged in yet (MaxStartups).  Then the window is halved, and each login lets it grow by
 * one; who was turned away comes again after a while that grows and is a matter of chance, so that
 * not all come together.  Pure.
 */
#ifndef DEPLOYCTL_PLAN_WINDOW_H
#define DEPLOYCTL_PLAN_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WINDOW_LEAST = 4,
    WINDOW_FIRST_MS = 250, /* the first wait, on average */
    WINDOW_LONGEST_MS = 4000,
    WINDOW_GIVE_UP_MS = 30000, /* after the first time it was turned away */
};

struct window {
    size_t most, now, open; /* open: logins under way */
};
struct window_guest {
    unsigned tries; /* times it was turned away */
    int64_t since_ms;
};

void window_init(struct window *window, size_t most);
bool window_free(const struct window *window); /* may one more begin? */
void window_begin(struct window *window);
/* One has come to its end: logged in, or failed for a reason of its own. */
void window_done(struct window *window, bool logged_in);
/* One was turned away: how many milliseconds to wait; -1: it has been tried for too long.  chance
 * is 0 to 1. */
int64_t window_refused(struct window *window, struct window_guest *guest, int64_t now_ms,
                       double chance);

#endif
