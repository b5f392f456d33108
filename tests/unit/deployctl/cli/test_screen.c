/* test_screen.c - the live table: pictures as they were looked at and found right, and what holds
 * for every size.  GOLDEN=write renews the pictures; look at the difference before it is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "deployctl/cli/screen.h"

enum { TEXT_MAX = 1024 * 1024, MANY = 300, NAME_MAX_ = 80 };

/* --- fleets in the middle of something ----------------------------------------------------------
 */

struct fleet {
    struct recipe recipe;
    struct recipe_host hosts[MANY];
    char names[MANY][NAME_MAX_];
    struct screen screen;
};

static void make(struct fleet *fleet, size_t count, const char *format)
{
    memset(fleet, 0, sizeof *fleet);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(fleet->names[i], NAME_MAX_, "%s%03zu%s", format, i + 1,
                       strchr(format, '-') ? ".eu-central.example.net" : "");
        fleet->hosts[i].name = fleet->names[i];
    }
    fleet->recipe.hosts = fleet->hosts;
    fleet->recipe.count = count;
    assert_int_equal(screen_init(&fleet->screen, &fleet->recipe, NULL), 0);
}

static void tell(struct fleet *fleet, int64_t at_ms, enum driver_news_kind kind, const char *host,
                 const char *word, const char *text, uint64_t done, uint64_t total)
{
    struct driver_news news = { .kind = kind,
                                .host = host,
                                .word = word,
                                .text = text,
                                .at_ms = at_ms,
                                .done = done,
                                .total = total };
    screen_take(&fleet->screen, &news);
}

static void host(struct fleet *fleet, size_t i, int64_t at_ms, const char *word, const char *text)
{
    tell(fleet, at_ms, DRIVER_NEWS_HOST, fleet->names[i], word, text, 0, 0);
}

static void stage(struct fleet *fleet, int64_t at_ms, const char *word, const char *text)
{
    tell(fleet, at_ms, DRIVER_NEWS_STAGE, NULL, word, text, 0, 0);
}

static void seen(struct fleet *fleet, size_t i)
{
    host(fleet, i, 300, "seen", "000011-0a1b2c3d, healthy, 2 of 2 ready");
    tell(fleet, 300, DRIVER_NEWS_HEALTH, fleet->names[i], NULL, NULL, 2, 2);
}

static const uint64_t megabyte = 1024 * 1024;

static void sending(struct fleet *fleet)
{
    stage(fleet, 500, "stage", "sending the release to every host; nothing is switched yet");
    for (size_t i = 0; i < fleet->screen.count; i++) {
        seen(fleet, i);
        if (i % 4 == 3)
            continue;
        tell(fleet, 1000, DRIVER_NEWS_BYTES, fleet->names[i], NULL, NULL, (1 + i % 20) * megabyte,
             20 * megabyte);
        if (i % 4 == 1)
            host(fleet, i, 4200, "staged", "812 files, 2 MB in 3.2s");
    }
    tell(fleet, 15300, DRIVER_NEWS_TICK, NULL, NULL, NULL, 0, 0);
}

static void switching(struct fleet *fleet)
{
    sending(fleet);
    stage(fleet, 20000, "batches", "switching the other hosts");
    for (size_t i = 0; i < fleet->screen.count; i++) {
        host(fleet, i, 20000, "staged", "812 files, 2 MB in 3.2s");
        if (i % 3 == 0 || fleet->screen.count - i < 150) {
            host(fleet, i, 21000, "switching", "to 000012-9f3ac1d2");
            tell(fleet, 21500, DRIVER_NEWS_HEALTH, fleet->names[i], NULL, NULL, 1, 2);
        }
        if (i % 3 == 0 && fleet->screen.count - i >= 150) {
            host(fleet, i, 22000, "switched", "runs 000012-9f3ac1d2, ready after 1s");
            host(fleet, i, 22500, "confirmed", "stays on 000012-9f3ac1d2");
        }
    }
    tell(fleet, 84000, DRIVER_NEWS_TICK, NULL, NULL, NULL, 0, 0);
}

static void going_wrong(struct fleet *fleet)
{
    switching(fleet);
    size_t bad = fleet->screen.count / 2;
    host(fleet, bad, 60000, "problem", "web:0 ended with code 1, 3 times since the switch");
    host(fleet, fleet->screen.count - 1, 61000, "problem",
         "cannot be reached: connect to host port 22: No route to host");
    stage(fleet, 62000, "unwind", "bringing every switched host back");
    host(fleet, bad, 62000, "going back", "to 000011-0a1b2c3d");
    host(fleet, bad, 63000, "back", "runs 000011-0a1b2c3d again after 1s");
    host(fleet, 0, 62000, "going back", "to 000011-0a1b2c3d");
    tell(fleet, 3723000, DRIVER_NEWS_TICK, NULL, NULL, NULL, 0, 0);
}

static void baking(struct fleet *fleet)
{
    sending(fleet);
    for (size_t i = 0; i < fleet->screen.count; i++)
        host(fleet, i, 20000, "staged", "812 files, 2 MB in 3.2s");
    host(fleet, 0, 20100, "switching", "to 000012-9f3ac1d2");
    host(fleet, 0, 21300, "switched", "runs 000012-9f3ac1d2, ready after 1s");
    stage(fleet, 21300, "bake", "watching the canary");
    tell(fleet, 36000, DRIVER_NEWS_BAKE, NULL, NULL, NULL, 15000, 60000);
    tell(fleet, 36000, DRIVER_NEWS_VERDICT, NULL, "open",
         "canary 3 of 812 failed (0.37 %), rest 11 of 6124 (0.18 %)", 0, 0);
}

/* --- pictures ----------------------------------------------------------------------------------
 */

static void compare(const char *name, const char *picture)
{
    char path[200];
    struct buf wanted;
    (void)snprintf(path, sizeof path, "tests/data/screen/%s.txt", name);
    if (getenv("GOLDEN") && strcmp(getenv("GOLDEN"), "write") == 0) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_true(fputs(picture, file) >= 0 && fclose(file) == 0);
        return;
    }
    buf_init(&wanted, TEXT_MAX);
    assert_int_equal(buf_read_file(&wanted, AT_FDCWD, path), 0);
    if (strcmp(buf_text(&wanted), picture) != 0) {
        print_message("%s is\n%s\n", path, picture);
        fail_msg("%s: another picture than the one that is kept", path);
    }
    buf_done(&wanted);
}

static void pictures_are_the_ones_that_were_approved(void **unused)
{
    static const struct {
        const char *name;
        void (*tell)(struct fleet *fleet);
        size_t count, columns, rows;
        const char *format;
        bool colour;
    } table[] = {
        { "3-sending-80x24", sending, 3, 80, 24, "web", false },
        { "3-switching-80x24", switching, 3, 80, 24, "web", false },
        { "3-wrong-80x24", going_wrong, 3, 80, 24, "web", false },
        { "3-wrong-80x24-colour", going_wrong, 3, 80, 24, "web", true },
        { "3-baking-80x24", baking, 3, 80, 24, "web", false },
        { "3-wrong-20x24", going_wrong, 3, 20, 24, "web", false },
        { "3-sending-20x5", sending, 3, 20, 5, "web", false },
        { "3-wrong-200x100", going_wrong, 3, 200, 100, "web", false },
        { "3-wrong-80x5", going_wrong, 3, 80, 5, "web", false },
        { "300-sending-80x24", sending, 300, 80, 24, "web", false },
        { "300-switching-80x24", switching, 300, 80, 24, "web", false },
        { "300-wrong-80x24", going_wrong, 300, 80, 24, "web", false },
        { "300-wrong-20x5", going_wrong, 300, 20, 5, "web", false },
        { "300-wrong-20x24", going_wrong, 300, 20, 24, "web", false },
        { "300-wrong-200x100", going_wrong, 300, 200, 100, "web", false },
        { "long-wrong-80x24", going_wrong, 3, 80, 24, "shop-frontend-", false },
        { "long-sending-80x24", sending, 3, 80, 24, "shop-frontend-", false },
        { "long-sending-200x24", sending, 3, 200, 24, "shop-frontend-", false },
    };
    static struct fleet fleet;
    (void)unused;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct buf out;
        make(&fleet, table[i].count, table[i].format);
        table[i].tell(&fleet);
        buf_init(&out, TEXT_MAX);
        screen_draw(&fleet.screen, table[i].columns, table[i].rows, table[i].colour, &out);
        compare(table[i].name, buf_text(&out));
        buf_done(&out);
        screen_done(&fleet.screen);
    }
}

/* --- what holds for every size -----------------------------------------------------------------
 */

static size_t count_lines(const char *text, size_t *ret_longest)
{
    size_t lines = 0;
    *ret_longest = 0;
    for (; *text; lines++) {
        size_t len = strcspn(text, "\n");
        *ret_longest = len > *ret_longest ? len : *ret_longest;
        text += len + 1;
    }
    return lines;
}

static void nothing_wraps_or_scrolls(void **unused)
{
    static void (*const stories[])(struct fleet *) = { sending, switching, going_wrong, baking };
    static struct fleet fleet;
    (void)unused;
    for (size_t s = 0; s < 4; s++)
        for (size_t count = 1; count <= MANY; count = count * 7 + 2) {
            make(&fleet, count, s % 2 ? "web" : "shop-frontend-");
            stories[s](&fleet);
            for (size_t columns = 1; columns < 140; columns += columns < 24 ? 1 : 13)
                for (size_t rows = 1; rows < 60; rows += rows < 8 ? 1 : 7) {
                    struct buf out;
                    size_t longest;
                    buf_init(&out, TEXT_MAX);
                    screen_draw(&fleet.screen, columns, rows, false, &out);
                    size_t lines = count_lines(buf_text(&out), &longest);
                    assert_true(lines < rows || (rows == 1 && lines == 0));
                    assert_true(longest < columns || columns == 1);
                    assert_int_equal(screen_rows(buf_text(&out), columns), lines);
                    assert_null(strchr(buf_text(&out), '\033'));
                    buf_done(&out);
                }
            screen_done(&fleet.screen);
        }
}

/* Whatever else there is no room for: a host in trouble comes before one that is at work. */
static void trouble_is_shown_first(void **unused)
{
    static struct fleet fleet;
    (void)unused;
    make(&fleet, MANY, "web");
    going_wrong(&fleet);
    for (size_t rows = 6; rows < 40; rows++) {
        struct buf out;
        buf_init(&out, TEXT_MAX);
        screen_draw(&fleet.screen, 80, rows, false, &out);
        const char *bad = strstr(buf_text(&out), "web151"),
                   *away = strstr(buf_text(&out), "web300");
        const char *busy = strstr(buf_text(&out), "switching ");
        assert_non_null(bad);
        assert_non_null(away);
        assert_true(!busy || (busy > bad && busy > away));
        assert_non_null(strstr(buf_text(&out), "300 hosts:"));
        assert_non_null(strstr(buf_text(&out), "unwind"));
        buf_done(&out);
    }
    screen_done(&fleet.screen);
}

static void words_of_hosts_do_not_act_on_the_terminal(void **unused)
{
    static struct fleet fleet;
    struct buf out;
    (void)unused;
    make(&fleet, 1, "web");
    host(&fleet, 0, 1, "problem", "\033]0;title\a bell \xc2\x9b[31m \xc3\xa4 \x7f end");
    buf_init(&out, TEXT_MAX);
    screen_draw(&fleet.screen, 80, 24, false, &out);
    assert_non_null(strstr(buf_text(&out), "?]0;title? bell ?[31m \xc3\xa4 ? end"));
    assert_null(strchr(buf_text(&out), '\033'));
    buf_done(&out);
    screen_done(&fleet.screen);
}

static void a_narrower_terminal_has_wrapped_what_stood_there(void **unused)
{
    (void)unused;
    assert_int_equal(screen_rows("", 80), 0);
    assert_int_equal(screen_rows("\n", 80), 1);
    assert_int_equal(screen_rows("0123456789\n01234\n", 80), 2);
    assert_int_equal(screen_rows("0123456789\n01234\n", 5), 3);
    assert_int_equal(screen_rows("0123456789\n01234\n", 4), 5);
    assert_int_equal(screen_rows("\033[31m0123\xc3\xa4\033[0m\n", 5), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_are_the_ones_that_were_approved),
        cmocka_unit_test(nothing_wraps_or_scrolls),
        cmocka_unit_test(trouble_is_shown_first),
        cmocka_unit_test(words_of_hosts_do_not_act_on_the_terminal),
        cmocka_unit_test(a_narrower_terminal_has_wrapped_what_stood_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
