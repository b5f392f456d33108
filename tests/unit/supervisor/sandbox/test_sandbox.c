/* test_sandbox.c - keys in, calls in their order out; and the words of a step that failed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/buf.h"
#include "supervisor/sandbox/sandbox.h"

static const struct ability all_of_it = { .effective = (1ULL << 41) - 1,
                                          .bounding = (1ULL << 41) - 1,
                                          .last = 40 };

struct rig {
    struct arena arena;
    struct spec_sandbox spec;
    struct ability ability;
    struct sandbox_start start;
    struct sandbox made;
};

static void set_up(struct rig *rig)
{
    memset(rig, 0, sizeof *rig);
    arena_init(&rig->arena);
    rig->ability = all_of_it;
    rig->start = (struct sandbox_start){
        .spec = &rig->spec, .ability = &rig->ability, .root_fd = -1, .beside_fd = -1
    };
}

static void make(struct rig *rig)
{
    struct err err = { 0 };

    if (sandbox_make(&rig->start, &rig->arena, &rig->made, &err) != 0)
        fail_msg("%s", err.text);
}

static void tear_down(struct rig *rig) { arena_done(&rig->arena); }

/* The words of the first calls, or the last ones, a line each. */
static const char *words(const struct rig *rig, bool first, struct buf *out)
{
    const struct child_sandbox *child = &rig->made.child;
    const struct child_call *calls = first ? child->first : child->last;
    size_t count = first ? child->nfirst : child->nlast;

    buf_init(out, 64 * 1024);
    for (size_t i = 0; i < count; i++) {
        char text[SANDBOX_TEXT_MAX];
        int32_t step = (int32_t)(CHILD_STEP_FIRST | calls[i].what << CHILD_WHAT_SHIFT);
        buf_printf(out, "%s\n", sandbox_step_text(step, &rig->made, text));
    }
    return buf_text(out);
}

static void expect_words(const struct rig *rig, bool first, const char *expected)
{
    struct buf out;

    assert_string_equal(words(rig, first, &out), expected);
    buf_done(&out);
}

static void nothing_asked_nothing_done(void **unused)
{
    struct rig rig;

    (void)unused;
    set_up(&rig);
    make(&rig);
    assert_int_equal(rig.made.ncalls, 0);
    assert_int_equal(rig.made.child.join, 0);
    tear_down(&rig);
}

static void rights_go_last_and_the_filter_after_all(void **unused)
{
    struct sock_fprog filter = { 0 };
    struct rig rig;

    (void)unused;
    set_up(&rig);
    rig.spec.no_new_privs = true;
    rig.spec.capabilities.given = true;
    rig.spec.capabilities.named = 1ULL << CAP_NET_BIND_SERVICE;
    rig.start.set_ids = true;
    rig.start.filter = &filter;
    make(&rig);
    assert_int_equal(rig.made.child.nfirst, 41); /* all but one, and they are kept */
    assert_int_equal(rig.made.child.first[40].arguments[0], PR_SET_KEEPCAPS);
    expect_words(&rig, false,
                 "capabilities: setting them\n"
                 "capabilities: handing NET_BIND_SERVICE on to its program\n"
                 "no_new_privs: setting it\n"
                 "seccomp: installing the filter\n");
    tear_down(&rig);
}

/* Of root's own program nothing is ambient, and what it is bounded to is enough. */
static void capabilities_of_the_same_user(void **unused)
{
    struct rig rig;

    (void)unused;
    set_up(&rig);
    rig.spec.capabilities.given = true;
    rig.spec.capabilities.all_but = true;
    rig.spec.capabilities.named = 1ULL << CAP_NET_RAW | 1ULL << CAP_SYS_ADMIN;
    make(&rig);
    expect_words(&rig, true,
                 "capabilities: taking NET_RAW away\ncapabilities: taking SYS_ADMIN away\n");
    expect_words(&rig, false, "capabilities: setting them\n");
    const struct __user_cap_data_struct *data = (void *)rig.made.child.last[0].arguments[1];
    assert_int_equal(data[0].permitted, ~(uint32_t)rig.spec.capabilities.named);
    assert_int_equal(data[0].inheritable, 0);
    tear_down(&rig);
}

/* What an ordinary user has not, "all but some" does not give it. */
static void all_but_some_gives_nothing(void **unused)
{
    struct rig rig;

    (void)unused;
    set_up(&rig);
    rig.start.set_ids = true;
    rig.spec.capabilities.given = true;
    rig.spec.capabilities.all_but = true;
    rig.spec.capabilities.named = 1ULL << CAP_NET_RAW;
    make(&rig);
    expect_words(&rig, false, "capabilities: setting them\n");
    const struct __user_cap_data_struct *data = (void *)rig.made.child.last[0].arguments[1];
    assert_int_equal(data[0].permitted | data[0].effective | data[0].inheritable, 0);
    tear_down(&rig);
}

static void namespaces_come_before_mounts(void **unused)
{
    struct rig rig;

    (void)unused;
    set_up(&rig);
    rig.spec.namespaces = (1u << SPEC_NNAMESPACES) - 1;
    rig.spec.private_tmp.on = true;
    rig.spec.private_tmp.bytes = 1048576;
    make(&rig);
    assert_true(rig.made.child.new_processes);
    const char *expected = "namespaces: making a network of its own\n"
                           "namespaces: switching lo on in its network\n"
                           "namespaces: switching lo on in its network\n"
                           "namespaces: switching lo on in its network\n"
                           "namespaces: making ipc of its own\n"
                           "namespaces: making a host name of its own\n"
                           "namespaces: making its control group the root of its own\n"
                           "private_tmp: making mounts of its own\n"
                           "private_tmp: parting its mounts from ours\n"
                           "namespaces: mounting the /proc of its own processes\n"
                           "private_tmp: mounting an empty /tmp\n"
                           "private_tmp: mounting an empty /var/tmp\n"
                           "entering / inside its sandbox\n";
    struct buf out;
    assert_memory_equal(words(&rig, true, &out), expected, strlen(expected));
    buf_done(&out);
    assert_string_equal((char *)rig.made.child.first[10].arguments[4], "mode=1777,size=1048576");
    tear_down(&rig);
}

/* A check beside a process makes nothing of its own, but has no more rights than it. */
static void beside_a_process(void **unused)
{
    struct child_report report = { 0 };
    struct rig rig;

    (void)unused;
    set_up(&rig);
    rig.spec.namespaces = 1u << SPEC_NAMESPACE_NET | 1u << SPEC_NAMESPACE_PID;
    rig.spec.no_new_privs = true;
    rig.spec.read_only.all = true;
    rig.start.beside_fd = 42;
    rig.start.beside_report = &report;
    make(&rig);
    assert_int_equal(rig.made.child.join, CLONE_NEWNS | CLONE_NEWNET);
    assert_int_equal(rig.made.child.join_fd, 42);
    assert_ptr_equal(rig.made.child.join_report, &report);
    assert_false(rig.made.child.new_processes);
    for (size_t i = 0; i < rig.made.child.nfirst; i++)
        assert_int_equal(rig.made.child.first[i].number, SYS_chdir);
    expect_words(&rig, false, "no_new_privs: setting it\n");
    tear_down(&rig);
}

static void a_path_that_is_missing(void **unused)
{
    static const char *const paths[] = { "/usr", "/there/is/no/such" };
    static const char *const lenient[] = { "/usr", "-/there/is/no/such" };
    struct err err = { 0 };
    struct rig rig;

    (void)unused;
    set_up(&rig);
    rig.spec.read_only = (struct spec_paths){ .list = paths, .count = 2 };
    assert_int_equal(sandbox_make(&rig.start, &rig.arena, &rig.made, &err), ERR_SYSTEM);
    assert_string_equal(err.text, "read_only: /there/is/no/such: No such file or directory");
    rig.spec.read_only.list = lenient;
    make(&rig);
    tear_down(&rig);
}

static void a_root_without_mounts_is_changed_to_only(void **unused)
{
    struct rig rig;

    (void)unused;
    set_up(&rig);
    rig.spec.root = "/usr";
    rig.ability.mounts = EPERM;
    rig.start.root_fd = 0; /* of a folder; nothing is asked of it here */
    make(&rig);
    expect_words(&rig, true, "root: changing to it\nroot: changing to it\n");
    assert_int_equal(rig.made.child.first[0].number, SYS_chroot);
    assert_int_equal(rig.made.child.root_fd, 0);
    tear_down(&rig);
}

/* --- what can be had --- */

static void expect_refused(const struct rig *rig, const char *key, const char *part)
{
    struct err err = { 0 };
    const char *named = NULL;

    assert_int_equal(ability_check(&rig->ability, &rig->spec, &named, &err), ERR_DENIED);
    assert_string_equal(named, key);
    if (!strstr(err.text, part))
        fail_msg("%s", err.text);
}

static void what_cannot_be_had_is_named(void **unused)
{
    const char *key;
    struct err err = { 0 };
    struct rig rig;

    (void)unused;
    set_up(&rig);
    rig.ability = (struct ability){ .mounts = EPERM, .no_filters = "this kernel is of wood" };
    rig.spec.no_new_privs = true;
    assert_int_equal(ability_check(&rig.ability, &rig.spec, &key, &err), 0);
    rig.spec.seccomp.profile = SPEC_SECCOMP_STRICT;
    expect_refused(&rig, "seccomp", "this kernel is of wood");
    rig.spec.capabilities.given = true;
    expect_refused(&rig, "capabilities", "CAP_SETPCAP");
    rig.spec.namespaces = 1u << SPEC_NAMESPACE_IPC;
    expect_refused(&rig, "namespaces", "CAP_SYS_ADMIN");
    rig.spec.root = "/srv";
    expect_refused(&rig, "root", "Operation not permitted");
    rig.spec.hidden.count = 1;
    expect_refused(&rig, "hidden_paths", "start the supervisor as root");
    rig.spec.read_only.all = true;
    expect_refused(&rig, "read_only", "mounts of its own");
    rig.spec.private_devices = true;
    expect_refused(&rig, "private_devices", "mounts of its own");
    rig.spec.private_tmp.on = true;
    expect_refused(&rig, "private_tmp", "mounts of its own");
    tear_down(&rig);
}

static void nobody_gives_what_he_has_not(void **unused)
{
    struct rig rig;

    (void)unused;
    set_up(&rig);
    rig.ability.effective &= ~(1ULL << CAP_SYS_TIME);
    rig.spec.capabilities.given = true;
    rig.spec.capabilities.named = 1ULL << CAP_SYS_TIME | 1ULL << CAP_KILL;
    expect_refused(&rig, "capabilities", "SYS_TIME is not ours to give");
    tear_down(&rig);
}

/* --- words --- */

static void steps_in_words(void **unused)
{
    char text[SANDBOX_TEXT_MAX];

    (void)unused;
    assert_string_equal(sandbox_step_text(CHILD_STEP_UID, NULL, text), "setting the user id");
    assert_string_equal(sandbox_step_text(-5, NULL, text), "an unknown step");
    /* From a ledger of which the list of calls is gone, or that is damaged. */
    for (int32_t what = 1; what < 400; what++) {
        const char *words_of =
            sandbox_step_text(CHILD_STEP_FIRST | what << CHILD_WHAT_SHIFT, NULL, text);
        assert_true(strlen(words_of) > 10);
        assert_null(strchr(words_of, '%'));
    }
}

static void a_summary_of_the_keys(void **unused)
{
    static const char *const paths[] = { "/var/lib/web" };
    struct spec_sandbox spec = { .no_new_privs = true, .root = "/srv/jail" };
    struct buf out;

    (void)unused;
    spec.capabilities = (struct spec_capabilities){ .given = true };
    spec.seccomp = (struct spec_seccomp){ SPEC_SECCOMP_DEFAULT, SPEC_DENIED_LOG };
    spec.read_only.all = true;
    spec.read_write = (struct spec_paths){ .list = paths, .count = 1 };
    spec.namespaces = 1u << SPEC_NAMESPACE_NET | 1u << SPEC_NAMESPACE_IPC;
    buf_init(&out, 1024);
    sandbox_summary(&spec, &out);
    assert_string_equal(buf_text(&out),
                        "no_new_privs, capabilities none, seccomp default:log, read_only, but not "
                        "/var/lib/web, root /srv/jail, its own net ipc");
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_asked_nothing_done),
        cmocka_unit_test(rights_go_last_and_the_filter_after_all),
        cmocka_unit_test(capabilities_of_the_same_user),
        cmocka_unit_test(all_but_some_gives_nothing),
        cmocka_unit_test(namespaces_come_before_mounts),
        cmocka_unit_test(beside_a_process),
        cmocka_unit_test(a_path_that_is_missing),
        cmocka_unit_test(a_root_without_mounts_is_changed_to_only),
        cmocka_unit_test(what_cannot_be_had_is_named),
        cmocka_unit_test(nobody_gives_what_he_has_not),
        cmocka_unit_test(steps_in_words),
        cmocka_unit_test(a_summary_of_the_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
