/* test_window.c - hosts behind an sshd that turns logins away as MaxStartups says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "deployctl/plan/window.h"

enum { HOSTS_MAX = 1000, LOGIN_MS = 300, TURN_AWAY_MS = 20 };

/* MaxStartups 10:30:100, Debian's default: from 10 that have not logged in, 30 % are turned away,
 * and the more there are the more, up to all at 100. */
static bool turned_away(size_t waiting, double chance)
{
    if (waiting < 10)
        return false;
    return chance < 0.3 + 0.7 * (double)(waiting - 10) / 90;
}

struct guest {
    enum { OUTSIDE, KNOCKING, REFUSED, INSIDE, LOST } state;
    int64_t next_ms;
    struct window_guest guest;
};
struct story {
    struct window window;
    struct guest guests[HOSTS_MAX];
    size_t count, knocking, refused, lost;
    uint32_t seed;
};

static double chance(struct story *s)
{
    s->seed = s->seed * 1664525 + 1013904223;
    return (double)(s->seed >> 8) / (1 << 24);
}

static void knock(struct story *s, struct guest *guest, int64_t now)
{
    window_begin(&s->window);
    bool away = turned_away(s->knocking, chance(s));
    guest->state = away ? REFUSED : KNOCKING;
    guest->next_ms = now + (away ? TURN_AWAY_MS : LOGIN_MS);
    s->knocking += !away;
}

static void go_on(struct story *s, struct guest *guest, int64_t now)
{
    if (guest->state == OUTSIDE && now >= guest->next_ms && window_free(&s->window)) {
        knock(s, guest, now);
    } else if (guest->state == KNOCKING && now >= guest->next_ms) {
        s->knocking--;
        guest->state = INSIDE;
        window_done(&s->window, true);
    } else if (guest->state == REFUSED && now >= guest->next_ms) {
        int64_t wait = window_refused(&s->window, &guest->guest, now, chance(s));
        guest->state = wait < 0 ? LOST : OUTSIDE;
        guest->next_ms = now + wait;
        s->refused++;
        s->lost += wait < 0;
    }
    assert_true(s->window.open <= s->window.most);
    assert_true(s->window.now >= 1 && s->window.now <= s->window.most);
}

/* Milliseconds until all are inside. */
static int64_t play(struct story *s, size_t hosts, size_t parallel, uint32_t seed)
{
    *s = (struct story){ .count = hosts, .seed = seed };
    window_init(&s->window, parallel);
    for (int64_t now = 0;; now += 5) {
        size_t inside = 0;
        for (size_t i = 0; i < hosts; i++) {
            go_on(s, &s->guests[i], now);
            inside += s->guests[i].state == INSIDE;
        }
        if (inside + s->lost == hosts)
            return now;
        assert_true(now < 600000);
    }
}

static void none_is_lost_behind_one_jump_host(void **unused)
{
    static struct story s;
    (void)unused;
    static const size_t hosts[] = { 1, 11, 33, 100, 300, 1000 }, parallel[] = { 1, 4, 32, 1000 };
    for (size_t h = 0; h < sizeof hosts / sizeof *hosts; h++)
        for (size_t p = 0; p < sizeof parallel / sizeof *parallel; p++)
            for (uint32_t seed = 1; seed <= 5; seed++) {
                int64_t took = play(&s, hosts[h], parallel[p], seed);
                assert_int_equal(s.lost, 0);
                assert_int_equal(s.window.open, 0);
                /* Ten at a time could be had without a refusal. */
                assert_true(took <=
                            5000 + (int64_t)hosts[h] * LOGIN_MS / (parallel[p] < 4 ? 1 : 2));
            }
}

static void a_window_that_is_never_refused_stays_wide(void **unused)
{
    static struct story s;
    (void)unused;
    play(&s, 9, 32, 1);
    assert_int_equal(s.refused, 0);
    assert_int_equal(s.window.now, 32);
}

static void who_is_always_turned_away_is_given_up(void **unused)
{
    (void)unused;
    struct window window;
    struct window_guest guest = { 0 };
    int64_t now = 1000, wait = 0;
    unsigned tries = 0;
    window_init(&window, 32);
    for (; wait >= 0; tries++) {
        assert_true(tries < 100);
        window_begin(&window);
        wait = window_refused(&window, &guest, now, 0.5);
        assert_true(wait <= 2 * WINDOW_LONGEST_MS);
        now += wait > 0 ? wait : 0;
    }
    assert_true(now >= 1000 + WINDOW_GIVE_UP_MS);
    assert_int_equal(window.now, WINDOW_LEAST);
    assert_int_equal(window.open, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_is_lost_behind_one_jump_host),
        cmocka_unit_test(a_window_that_is_never_refused_stays_wide),
        cmocka_unit_test(who_is_always_turned_away_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
