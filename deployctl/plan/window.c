/* window.c - the contract is in window.h. */
#include "deployctl/plan/window.h"

void window_init(struct window *window, size_t most)
{
    *window = (struct window){ .most = most, .now = most };
}

bool window_free(const struct window *window) { return window->open < window->now; }

void window_begin(struct window *window) { window->open++; }

void window_done(struct window *window, bool logged_in)
{
    window->open -= window->open > 0;
    if (logged_in && window->now < window->most)
        window->now++;
}

int64_t window_refused(struct window *window, struct window_guest *guest, int64_t now_ms,
                       double chance)
{
    size_t least = window->most < WINDOW_LEAST ? window->most : WINDOW_LEAST;
    window_done(window, false);
    window->now = window->now / 2 > least ? window->now / 2 : least;
    if (guest->tries == 0)
        guest->since_ms = now_ms;
    if (now_ms - guest->since_ms >= WINDOW_GIVE_UP_MS)
        return -1;
    int64_t wait = WINDOW_FIRST_MS;
    for (unsigned i = 0; i < guest->tries && wait < WINDOW_LONGEST_MS; i++)
        wait *= 2;
    guest->tries++;
    if (wait > WINDOW_LONGEST_MS)
        wait = WINDOW_LONGEST_MS;
    return wait / 2 + (int64_t)((double)wait * chance);
}
