/* test_durable.c - whole files or the old ones, and paths that somebody tries to bend. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "io/durable.h"

enum { DEEP = 300, FEW_DESCRIPTORS = 160, SKIPPED = 77 };

static char root[64];
static int dir = -1;

static int set_up(void **unused)
{
    (void)unused;
    strcpy(root, "/tmp/test_durable_XXXXXX");
    if (!mkdtemp(root))
        return -1;
    dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dir < 0 ? -1 : 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    struct err err;
    int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = durable_remove_tree(tmp, root + strlen("/tmp/"), &err);
    close(tmp);
    close(dir);
    return rc;
}

static void assert_file(const char *name, const char *expected)
{
    struct buf buf;
    buf_init(&buf, 1000);
    assert_int_equal(buf_read_file(&buf, dir, name), 0);
    assert_string_equal(buf_text(&buf), expected);
    buf_done(&buf);
}

static int count_entries(int fd)
{
    DIR *stream = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    int count = 0;
    assert_non_null(stream);
    while (readdir(stream))
        count++;
    closedir(stream);
    return count - 2;
}

static void file_is_replaced_with_the_mode_asked_for(void **unused)
{
    (void)unused;
    struct err err;
    struct stat st;
    mode_t before = umask(0077);
    assert_int_equal(durable_write(dir, "a", "one", 3, 0644, &err), 0);
    umask(before);
    assert_file("a", "one");
    assert_int_equal(fstatat(dir, "a", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_int_equal(durable_write(dir, "a", "", 0, 0600, &err), 0);
    assert_file("a", "");
    assert_int_equal(count_entries(dir), 1);
    assert_int_equal(durable_unlink(dir, "a", &err), 0);
    assert_int_equal(durable_unlink(dir, "a", &err), 0); /* a missing one is fine */
    assert_int_equal(count_entries(dir), 0);
}

static void full_disk_leaves_the_old_file(void **unused)
{
    (void)unused;
    struct rlimit old, small;
    struct err err;
    assert_int_equal(durable_write(dir, "a", "old", 3, 0600, &err), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){ 2, old.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = durable_write(dir, "a", "newer", 5, 0600, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(rc, ERR_SYSTEM);
    assert_int_equal(err.sys, EFBIG);
    assert_non_null(strstr(err.text, "writing a: "));
    assert_file("a", "old");
    assert_int_equal(count_entries(dir), 1); /* no temporary */
    assert_int_equal(durable_write(dir, "missing/a", "x", 1, 0600, &err), ERR_SYSTEM);
    assert_int_equal(durable_unlink(dir, "a", &err), 0);
}

/* In a mount namespace of its own, so nothing is left whatever happens. */
static int fill_a_small_disk(void)
{
    struct err err;
    static char large[128 * 1024];
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", root, "tmpfs", 0, "size=64k") != 0)
        return SKIPPED;
    int fd = open(root, O_RDONLY | O_DIRECTORY);
    if (durable_write(fd, "a", "old", 3, 0600, &err) != 0)
        return 1;
    if (durable_write(fd, "a", large, sizeof(large), 0600, &err) != ERR_SYSTEM || err.sys != ENOSPC)
        return 2;
    if (count_entries(fd) != 1)
        return 3;
    if (mount("none", root, NULL, MS_REMOUNT | MS_RDONLY, NULL) != 0)
        return SKIPPED;
    if (durable_write(fd, "a", "new", 3, 0600, &err) != ERR_SYSTEM || err.sys != EROFS)
        return 4;
    if (durable_symlink(fd, "l", "a", &err) != ERR_SYSTEM ||
        durable_mkdir(fd, "d", 0700, &err) != ERR_SYSTEM ||
        durable_unlink(fd, "a", &err) != ERR_SYSTEM)
        return 5;
    /* What is mounted inside a tree is not ours to empty. */
    int tmp = open("/tmp", O_RDONLY | O_DIRECTORY);
    if (durable_remove_tree(tmp, root + strlen("/tmp/"), &err) != ERR_STATE)
        return 6;
    return 0;
}

static void in_a_process(int (*fn)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(fn());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        skip();
    assert_int_equal(status, 0);
}

static void small_disk_and_mounts(void **unused)
{
    (void)unused;
    in_a_process(fill_a_small_disk);
}

static void assert_link(const char *name, const char *expected)
{
    char target[256] = "";
    assert_true(readlinkat(dir, name, target, sizeof(target) - 1) > 0);
    assert_string_equal(target, expected);
}

static void link_is_swapped_but_never_over_a_folder(void **unused)
{
    (void)unused;
    struct err err;
    struct stat before, after;
    assert_int_equal(durable_symlink(dir, "current", "releases/1", &err), 0);
    assert_link("current", "releases/1");
    assert_int_equal(fstatat(dir, "current", &before, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(durable_symlink(dir, "current", "releases/1", &err), 0);
    assert_int_equal(fstatat(dir, "current", &after, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(before.st_ino == after.st_ino); /* nothing was done */
    assert_int_equal(durable_symlink(dir, "current", "releases/12", &err), 0);
    assert_link("current", "releases/12");
    assert_int_equal(durable_mkdir(dir, "folder", 0700, &err), 0);
    assert_int_equal(durable_symlink(dir, "folder", "x", &err), ERR_STATE);
    assert_int_equal(count_entries(dir), 2);
    assert_int_equal(durable_mkdir(dir, "folder", 0700, &err), 0); /* again is fine */
    assert_int_equal(durable_mkdir(dir, "current", 0700, &err), ERR_EXISTS);
    assert_int_equal(durable_remove_tree(dir, "folder", &err), 0);
    assert_int_equal(durable_unlink(dir, "current", &err), 0);
}

static void rename_replaces_only_when_told(void **unused)
{
    (void)unused;
    struct err err;
    assert_int_equal(durable_mkdir(dir, "sub", 0700, &err), 0);
    int sub = openat(dir, "sub", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(durable_write(dir, "a", "A", 1, 0600, &err), 0);
    assert_int_equal(durable_write(sub, "b", "B", 1, 0600, &err), 0);
    assert_int_equal(durable_rename(dir, "a", sub, "b", false, &err), ERR_EXISTS);
    assert_file("sub/b", "B");
    assert_int_equal(durable_rename(dir, "a", sub, "b", true, &err), 0);
    assert_file("sub/b", "A");
    assert_int_equal(durable_rename(sub, "b", dir, "c", false, &err), 0);
    assert_file("c", "A");
    assert_int_equal(durable_rename(dir, "none", dir, "c", true, &err), ERR_SYSTEM);
    assert_int_equal(err.sys, ENOENT);
    close(sub);
    assert_int_equal(durable_remove_tree(dir, "sub", &err), 0);
    assert_int_equal(durable_remove_tree(dir, "c", &err), 0); /* a file, too */
    assert_int_equal(durable_remove_tree(dir, "c", &err), 0);
}

static void make_tricks(void)
{
    struct err err;
    assert_int_equal(durable_mkdir(dir, "in", 0755, &err), 0);
    assert_int_equal(durable_mkdir(dir, "in/deep", 0755, &err), 0);
    assert_int_equal(symlinkat("/etc", dir, "in/away"), 0);
    assert_int_equal(symlinkat("deep", dir, "in/near"), 0);
    assert_int_equal(symlinkat("/etc/passwd", dir, "in/file"), 0);
    int in = openat(dir, "in/deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(durable_write(in, "x", "X", 1, 0600, &err), 0);
    close(in);
}

/* The number of the first expectation that does not hold; also run without openat2. */
static int try_beneath(void)
{
    const struct {
        const char *path;
        int flags, expected;
    } cases[] = {
        { "in/deep/x", O_RDONLY, 0 },
        { "in//deep/./x", O_RDONLY, 0 },
        { "in/deep", O_RDONLY | O_DIRECTORY, 0 },
        { "in/deep/", O_PATH, 0 },
        { "in/deep/x/", O_RDONLY, -ENOTDIR },
        { "in/deep/new", O_WRONLY | O_CREAT | O_EXCL, 0 },
        { "in/deep/new", O_WRONLY | O_CREAT | O_EXCL, -EEXIST },
        { "in/away/passwd", O_RDONLY, -ELOOP },
        { "in/near/x", O_RDONLY, -ELOOP },
        { "in/file", O_RDONLY, -ELOOP },
        { "in/file", O_PATH, -ELOOP },
        { "in/missing", O_RDONLY, -ENOENT },
        { "", O_RDONLY, -ENOENT },
        { "/etc/passwd", O_RDONLY, -EXDEV },
        { "../../etc/passwd", O_RDONLY, -EXDEV },
        { "in/../../etc", O_RDONLY, -EXDEV },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int fd = durable_open_beneath(dir, cases[i].path, cases[i].flags, 0640);
        if (fd >= 0 && !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
            return (int)i + 1;
        if (fd >= 0 ? cases[i].expected != 0 : cases[i].expected != fd)
            return (int)i + 1;
        if (fd >= 0)
            close(fd);
    }
    return unlinkat(dir, "in/deep/new", 0) == 0 ? 0 : SKIPPED - 1;
}

static int try_without_openat2(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };
    struct err err;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return SKIPPED;
    int rc = try_beneath();
    if (rc != 0)
        return rc;
    return durable_remove_tree(dir, "in", &err) == 0 ? 0 : 50;
}

static void tricks_do_not_lead_outside(void **unused)
{
    (void)unused;
    struct err err;
    make_tricks();
    assert_int_equal(try_beneath(), 0);
    in_a_process(try_without_openat2);
    assert_int_equal(durable_remove_tree(dir, "in", &err), 0);
}

static int open_trusted(const char *below, struct err *err)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, below);
    int fd = durable_open_trusted(path, geteuid(), err);
    if (fd >= 0)
        close(fd);
    return fd;
}

static void trusted_folder_has_parents_nobody_else_can_write(void **unused)
{
    (void)unused;
    struct err err;
    assert_int_equal(durable_mkdir(dir, "a", 0755, &err), 0);
    assert_int_equal(durable_mkdir(dir, "a/b", 0755, &err), 0);
    assert_int_equal(symlinkat("a", dir, "l"), 0);
    assert_true(open_trusted("a/b", &err) >= 0);
    assert_true(open_trusted("a//./b/", &err) >= 0);
    assert_int_equal(open_trusted("l/b", &err), ERR_DENIED);
    assert_non_null(strstr(err.text, "/l is a symbolic link"));
    assert_int_equal(open_trusted("a/../a/b", &err), ERR_INVALID);
    assert_int_equal(open_trusted("a/none/x", &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "/a/none"));
    assert_int_equal(durable_open_trusted("a", geteuid(), &err), ERR_INVALID);
    assert_int_equal(fchmodat(dir, "a/b", 0777, 0), 0); /* the folder itself is excepted */
    assert_true(open_trusted("a/b", &err) >= 0);
    assert_int_equal(fchmodat(dir, "a", 0775, 0), 0);
    assert_int_equal(open_trusted("a/b", &err), ERR_DENIED);
    assert_non_null(strstr(err.text, "chmod go-w"));
    assert_int_equal(fchmodat(dir, "a", 01777, 0), 0); /* like /tmp */
    assert_true(open_trusted("a/b", &err) >= 0);
    assert_int_equal(fchmodat(dir, "a", 0755, 0), 0);
    if (geteuid() == 0) {
        assert_int_equal(fchownat(dir, "a", 12345, 12345, 0), 0);
        assert_int_equal(open_trusted("a/b", &err), ERR_DENIED);
        assert_non_null(strstr(err.text, "12345"));
    }
    assert_int_equal(durable_remove_tree(dir, "a", &err), 0);
    assert_int_equal(durable_remove_tree(dir, "l", &err), 0);
}

static void make_deep_tree(void)
{
    int at = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct err err;
    for (int i = 0; i < DEEP; i++) {
        assert_int_equal(mkdirat(at, "tree", 0700), 0);
        int below = openat(at, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(below >= 0);
        close(at);
        at = below;
        assert_int_equal(symlinkat("/tmp", at, "away"), 0);
        if (i % 100 == 99)
            assert_int_equal(durable_write(at, "file", "x", 1, 0400, &err), 0);
    }
    assert_int_equal(fchmod(at, 0500), 0);
    close(at);
}

static void whole_tree_goes_but_nothing_behind_links(void **unused)
{
    (void)unused;
    struct rlimit old, few;
    struct err err;
    make_deep_tree();
    assert_int_equal(durable_write(dir, "kept", "x", 1, 0600, &err), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = (struct rlimit){ FEW_DESCRIPTORS, old.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    int rc = durable_remove_tree(dir, "tree", &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(rc, 0);
    assert_int_equal(count_entries(dir), 1);
    assert_int_equal(access(root, F_OK), 0); /* it is in /tmp, where all the links pointed */
    assert_int_equal(durable_remove_tree(dir, "..", &err), ERR_INVALID);
    assert_int_equal(durable_remove_tree(dir, "a/b", &err), ERR_INVALID);
    assert_int_equal(durable_unlink(dir, "kept", &err), 0);
}

static void folders_are_made_on_the_way(void **unused)
{
    (void)unused;
    char path[128];
    struct err err;
    struct stat st;
    snprintf(path, sizeof(path), "%s/p/q//r/", root);
    assert_int_equal(durable_make_dirs(path, 0700, &err), 0);
    assert_int_equal(durable_make_dirs(path, 0700, &err), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(durable_make_dirs("relative", 0700, &err), ERR_INVALID);
    assert_int_equal(durable_write(dir, "file", "x", 1, 0600, &err), 0);
    snprintf(path, sizeof(path), "%s/file/q", root);
    assert_int_equal(durable_make_dirs(path, 0700, &err), ERR_SYSTEM);
    assert_int_equal(err.sys, ENOTDIR);
    assert_non_null(strstr(err.text, "/file"));
    assert_int_equal(durable_remove_tree(dir, "p", &err), 0);
    assert_int_equal(durable_unlink(dir, "file", &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_is_replaced_with_the_mode_asked_for),
        cmocka_unit_test(full_disk_leaves_the_old_file),
        cmocka_unit_test(small_disk_and_mounts),
        cmocka_unit_test(link_is_swapped_but_never_over_a_folder),
        cmocka_unit_test(rename_replaces_only_when_told),
        cmocka_unit_test(tricks_do_not_lead_outside),
        cmocka_unit_test(trusted_folder_has_parents_nobody_else_can_write),
        cmocka_unit_test(whole_tree_goes_but_nothing_behind_links),
        cmocka_unit_test(folders_are_made_on_the_way),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
