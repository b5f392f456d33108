/* test_scan.c - what of a folder is released, and which contents are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "deployctl/fleet/pack.h"
#include "deployctl/fleet/scan.h"
#include "deployctl/wire/digest.h"
#include "io/durable.h"

struct folder {
    char path[64];
    int fd;
};

static void folder_make(struct folder *folder)
{
    snprintf(folder->path, sizeof folder->path, "/tmp/test-scan-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    folder->fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(folder->fd >= 0);
}

static void folder_drop(struct folder *folder)
{
    struct err err;
    int parent = openat(folder->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(folder->fd);
    assert_int_equal(durable_remove_tree(parent, strrchr(folder->path, '/') + 1, &err), 0);
    close(parent);
}

static void put(const struct folder *folder, const char *name, const char *text, mode_t mode)
{
    int fd = openat(folder->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static int scan(const struct folder *folder, const char *const *patterns, struct manifest *ret,
                struct err_list *secrets, struct err *err)
{
    struct scan_options options = { .root = "src", .patterns = patterns };
    manifest_init(ret);
    err_list_init(secrets);
    return scan_folder(folder->fd, &options, ret, secrets, err);
}

static void patterns_leave_out(void **unused)
{
    (void)unused;
    static const struct {
        const char *pattern, *path;
        bool folder, out;
    } rows[] = {
        { ".git", ".git", true, true },          { ".git", "a/.git", true, true },
        { "*.o", "a/b.o", false, true },         { "*.o", "a/b.oo", false, false },
        { "/build", "build", true, true },       { "/build", "a/build", true, false },
        { "doc/*.md", "doc/x.md", false, true }, { "doc/*.md", "a/doc/x.md", false, false },
        { "tmp/", "tmp", true, true },           { "tmp/", "tmp", false, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *const patterns[] = { rows[i].pattern, NULL };
        assert_int_equal(scan_excluded(patterns, rows[i].path, rows[i].folder), rows[i].out);
    }
    assert_true(scan_looks_secret(".env") && scan_looks_secret("id_rsa"));
    assert_false(scan_looks_secret("environment"));
}

static void a_folder_becomes_a_sorted_manifest(void **unused)
{
    (void)unused;
    static const char *const patterns[] = { "*.tmp", NULL };
    struct folder folder;
    struct manifest manifest;
    struct err_list secrets;
    struct err err = { 0 };
    folder_make(&folder);
    put(&folder, "b", "text", 0640);
    put(&folder, "a.sh", "#!", 0755);
    put(&folder, "x.tmp", "no", 0644);
    put(&folder, ".env", "KEY=1", 0600);
    assert_int_equal(mkdirat(folder.fd, "empty", 0700), 0);
    assert_int_equal(symlinkat("b", folder.fd, "link"), 0);
    assert_int_equal(scan(&folder, patterns, &manifest, &secrets, &err), 0);
    assert_int_equal(manifest.count, 5);
    assert_string_equal(manifest.entries[0].path, ".env");
    assert_string_equal(manifest.entries[1].path, "a.sh");
    assert_int_equal(manifest.entries[1].mode, 0555);
    assert_int_equal(manifest.entries[2].mode, 0444);
    assert_int_equal(manifest.entries[3].kind, MANIFEST_FOLDER);
    assert_string_equal(manifest.entries[4].target, "b");
    assert_int_equal(manifest.bytes, 11);
    assert_int_equal(secrets.total, 1);
    manifest_done(&manifest);
    err_list_done(&secrets);
    folder_drop(&folder);
}

static void what_cannot_be_released_is_named(void **unused)
{
    (void)unused;
    struct folder folder;
    struct manifest manifest;
    struct err_list secrets;
    struct err err = { 0 };
    folder_make(&folder);
    assert_int_equal(scan(&folder, NULL, &manifest, &secrets, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "nothing in it"));
    manifest_done(&manifest);
    assert_int_equal(mkfifoat(folder.fd, "pipe", 0600), 0);
    assert_int_equal(scan(&folder, NULL, &manifest, &secrets, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "src/pipe"));
    manifest_done(&manifest);
    assert_int_equal(unlinkat(folder.fd, "pipe", 0), 0);
    assert_int_equal(symlinkat("../../etc/passwd", folder.fd, "out"), 0);
    assert_true(scan(&folder, NULL, &manifest, &secrets, &err) < 0);
    assert_non_null(strstr(err.text, "out"));
    manifest_done(&manifest);
    err_list_done(&secrets);
    folder_drop(&folder);
}

static void a_content_that_changed_is_noticed(void **unused)
{
    (void)unused;
    struct folder folder;
    struct err err = { 0 };
    struct pack_item item;
    struct manifest_entry entry = { .kind = MANIFEST_FILE, .path = "f", .size = 5 };
    char data[64];
    size_t len;
    folder_make(&folder);
    put(&folder, "f", "hello", 0644);
    assert_int_equal(digest_of("hello", 5, entry.digest, &err), 0);
    struct pack *pack = pack_new(&err);
    assert_int_equal(pack_make(pack, folder.fd, &entry, &item, &err), 0);
    assert_int_equal(pack_read(pack, &item, 0, data, sizeof data, &len, &err), 0);
    assert_int_equal(len, item.len);
    pack_item_done(&item);
    static const char *const others[] = { "hellO", "hell", "hello!" };
    for (size_t i = 0; i < 3; i++) {
        put(&folder, "f", others[i], 0644);
        assert_int_equal(pack_make(pack, folder.fd, &entry, &item, &err), ERR_STATE);
        assert_non_null(strstr(err.text, "f changed while"));
    }
    pack_free(pack);
    folder_drop(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_leave_out),
        cmocka_unit_test(a_folder_becomes_a_sorted_manifest),
        cmocka_unit_test(what_cannot_be_released_is_named),
        cmocka_unit_test(a_content_that_changed_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
