/* test_mounts.c - what is mounted and what is asked for in, binds and remounts out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/mount.h>

#include "base/buf.h"
#include "supervisor/sandbox/mounts.h"

static const char host[] =
    "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    "23 22 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:2 - proc proc rw\n"
    "24 22 0:22 / /sys ro,nosuid - sysfs sysfs rw\n"
    "25 22 0:6 / /dev rw,nosuid - devtmpfs udev rw\n"
    "26 22 8:1 / /srv rw,nosuid,noexec,noatime - xfs /dev/sda1 rw\n"
    "27 26 8:2 / /srv/my\\040disk rw,nodev - xfs /dev/sda2 rw\n"
    "28 22 0:30 / /mnt/later rw - autofs systemd-1 rw,fd=1\n"
    "29 22 0:31 / /tmp rw - tmpfs one rw\n"
    "30 29 0:32 / /tmp rw,nosuid - tmpfs two rw\n";

struct rig {
    struct arena arena;
    struct mounts mounts;
    struct mounts_plan plan;
};

static void set_up(struct rig *rig, const char *text, const char *root)
{
    struct err err;

    arena_init(&rig->arena);
    assert_int_equal(mounts_parse(text, root, &rig->arena, &rig->mounts, &err), 0);
}

/* "bind /x" and "ro /x FLAGS", in their order. */
static const char *words(const struct mounts_plan *plan, struct buf *out)
{
    buf_init(out, 64 * 1024);
    for (size_t i = 0; i < plan->nbinds; i++)
        buf_printf(out, "bind %s\n", plan->binds[i]);
    for (size_t i = 0; i < plan->nremounts; i++) {
        unsigned long flags = plan->remounts[i].flags;
        assert_true(flags & MS_RDONLY);
        buf_printf(out, "ro %s%s%s%s%s\n", plan->remounts[i].path,
                   flags & MS_NOSUID ? " nosuid" : "", flags & MS_NODEV ? " nodev" : "",
                   flags & MS_NOEXEC ? " noexec" : "", flags & MS_NOATIME ? " noatime" : "");
    }
    return buf_text(out);
}

static void expect(const char *text, const char *root, struct mounts_rule *rules, size_t nrules,
                   const char *expected)
{
    struct rig rig;
    struct buf out;
    struct err err;

    set_up(&rig, text, root);
    assert_int_equal(mounts_read_only(&rig.mounts, rules, nrules, &rig.arena, &rig.plan, &err), 0);
    assert_string_equal(words(&rig.plan, &out), expected);
    buf_done(&out);
    arena_done(&rig.arena);
}

static void everything_but_what_the_kernel_fills(void **unused)
{
    struct mounts_rule rules[] = {
        { "/", true }, { "/dev", false }, { "/proc", false }, { "/var/lib/web", false }
    };

    (void)unused;
    /* /sys is so already, /mnt/later would be mounted by a touch. */
    expect(host, "/", rules, 4,
           "bind /var/lib/web\n"
           "ro /\n"
           "ro /srv nosuid noexec noatime\n"
           "ro /srv/my disk nodev\n"
           "ro /tmp nosuid\n");
}

/* A folder gets the flags of what it lies in, and so does what is mounted below it. */
static void a_folder_and_what_is_below(void **unused)
{
    struct mounts_rule rules[] = { { "/srv/web", true },
                                   { "/usr", true },
                                   { "/srv/web/data", false },
                                   { "/srv/web/data/keys", true } };

    (void)unused;
    expect(host, "/", rules, 4,
           "bind /srv/web\n"
           "bind /srv/web/data\n"
           "bind /srv/web/data/keys\n"
           "bind /usr\n"
           "ro /srv/web nosuid noexec noatime\n"
           "ro /srv/web/data/keys nosuid noexec noatime\n"
           "ro /usr\n");
}

static void names_that_only_begin_alike(void **unused)
{
    struct mounts_rule rules[] = { { "/sr", true } };

    (void)unused;
    expect(host, "/", rules, 1, "bind /sr\nro /sr\n");
}

static void said_twice(void **unused)
{
    struct mounts_rule rules[] = {
        { "/srv", true }, { "/srv", false }, { "/opt", true }, { "/opt", true }
    };

    (void)unused;
    expect(host, "/", rules, 4, "bind /opt\nro /opt\n");
}

static void as_seen_from_a_root(void **unused)
{
    struct mounts_rule rules[] = { { "/", true }, { "/my disk/x", false } };

    (void)unused;
    expect(host, "/srv", rules, 2,
           "bind /my disk/x\nro / nosuid noexec noatime\nro /my disk nodev\n");
    struct mounts_rule whole[] = { { "/", true } };
    expect(host, "/srv/jail", whole, 1, "ro / nosuid noexec noatime\n");
}

static void lines_that_are_none(void **unused)
{
    struct rig rig;

    (void)unused;
    set_up(&rig, "", "/");
    assert_int_equal(rig.mounts.count, 1);
    assert_string_equal(rig.mounts.list[0].path, "/");
    arena_done(&rig.arena);
    set_up(&rig, "1 2 3\n\n  \n1 2 3 / /x rw - a b c", "/");
    assert_int_equal(rig.mounts.count, 2);
    assert_string_equal(rig.mounts.list[1].path, "/x");
    arena_done(&rig.arena);
}

static void more_mounts_than_any_host_has(void **unused)
{
    struct arena arena;
    struct mounts mounts;
    struct err err = { 0 };
    struct buf text;

    (void)unused;
    arena_init(&arena);
    buf_init(&text, 1024 * 1024);
    for (int i = 0; i <= MOUNTS_MAX; i++)
        buf_puts(&text, "1 2 3 / /x rw\n");
    assert_int_equal(mounts_parse(buf_text(&text), "/", &arena, &mounts, &err), ERR_LIMIT);
    buf_done(&text);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_but_what_the_kernel_fills),
        cmocka_unit_test(a_folder_and_what_is_below),
        cmocka_unit_test(names_that_only_begin_alike),
        cmocka_unit_test(said_twice),
        cmocka_unit_test(as_seen_from_a_root),
        cmocka_unit_test(lines_that_are_none),
        cmocka_unit_test(more_mounts_than_any_host_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
