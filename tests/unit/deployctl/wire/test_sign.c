/* test_sign.c - keys, signatures, and everything that is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deployctl/wire/sign.h"

#define DIGEST "9f3ac1d29f3ac1d29f3ac1d29f3ac1d29f3ac1d29f3ac1d29f3ac1d29f3ac1d2"

static char folder[] = "/tmp/test_sign.XXXXXX";

static const char *in_folder(const char *name, char path[static 128])
{
    snprintf(path, 128, "%s/%s", folder, name);
    return path;
}

static void a_signature_is_for_one_app_and_digest(void **unused)
{
    (void)unused;
    char path[128], public[SIGN_PUBLIC_MAX], again[SIGN_PUBLIC_MAX], text[SIGN_TEXT_MAX];
    struct err err;
    struct sign_key *key = sign_key_make(in_folder("key", path), &err);
    assert_non_null(key);
    assert_int_equal(sign_public(key, public, &err), 0);
    assert_int_equal(sign_make(key, "web", DIGEST, text, &err), 0);
    assert_true(sign_public_valid(public));
    assert_true(sign_check(public, "web", DIGEST, text));
    assert_false(sign_check(public, "api", DIGEST, text));
    assert_false(sign_check(public, "web", DIGEST "0", text));
    assert_false(sign_check(public, "web", "8" DIGEST, text));
    sign_key_free(key);

    key = sign_key_load(path, &err); /* the same from its file */
    assert_non_null(key);
    assert_int_equal(sign_public(key, again, &err), 0);
    assert_string_equal(again, public);
    sign_key_free(key);

    char other[128], foreign[SIGN_PUBLIC_MAX];
    key = sign_key_make(in_folder("other", other), &err);
    assert_int_equal(sign_public(key, foreign, &err), 0);
    assert_false(sign_check(foreign, "web", DIGEST, text));
    sign_key_free(key);
    assert_null(sign_key_make(path, &err));
    assert_int_equal(err.code, ERR_EXISTS);
}

/* No single changed character passes, nor what is too short, too long, or written otherwise. */
static void what_is_malformed_is_no_signature(void **unused)
{
    (void)unused;
    char path[128], public[SIGN_PUBLIC_MAX], text[SIGN_TEXT_MAX], bad[2 * SIGN_TEXT_MAX];
    struct err err;
    struct sign_key *key = sign_key_load(in_folder("key", path), &err);
    assert_int_equal(sign_public(key, public, &err), 0);
    assert_int_equal(sign_make(key, "web", DIGEST, text, &err), 0);
    for (size_t i = 0; i < strlen(text); i++) {
        snprintf(bad, sizeof bad, "%s", text);
        bad[i] = bad[i] == 'A' ? 'B' : 'A';
        assert_false(sign_check(public, "web", DIGEST, bad));
    }
    for (size_t len = 0; len < strlen(text); len++) {
        snprintf(bad, sizeof bad, "%.*s", (int)len, text);
        assert_false(sign_check(public, "web", DIGEST, bad));
    }
    snprintf(bad, sizeof bad, "%s\n", text);
    assert_false(sign_check(public, "web", DIGEST, bad));
    snprintf(bad, sizeof bad, "%s====", text);
    assert_false(sign_check(public, "web", DIGEST, bad));
    assert_false(sign_check(public, "web", DIGEST, NULL));
    assert_false(sign_check(public, NULL, DIGEST, text));
    assert_false(sign_check("", "web", DIGEST, text));
    assert_false(sign_public_valid(text));
    assert_false(sign_public_valid("ssh-ed25519 AAAA"));
    memset(bad, 'a', sizeof bad - 1);
    bad[sizeof bad - 1] = '\0';
    assert_int_equal(sign_make(key, bad, DIGEST, text, &err), ERR_SYSTEM); /* app too long */
    sign_key_free(key);
}

static void what_is_no_key_is_refused(void **unused)
{
    (void)unused;
    char path[128];
    struct err err;
    assert_null(sign_key_load(in_folder("nothing", path), &err));
    assert_non_null(strstr(err.text, "opening"));
    int fd = open(in_folder("text", path), O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "x\n", 2), 2);
    close(fd);
    assert_null(sign_key_load(path, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(chmod(in_folder("key", path), 0640), 0);
    assert_null(sign_key_load(path, &err));
    assert_int_equal(err.code, ERR_DENIED);
    assert_non_null(strstr(err.text, "chmod 600"));
    assert_null(sign_key_load(folder, &err));
}

static int end(void **unused)
{
    static const char *const names[] = { "key", "other", "text" };
    char path[128];
    (void)unused;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unlink(in_folder(names[i], path));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signature_is_for_one_app_and_digest),
        cmocka_unit_test(what_is_malformed_is_no_signature),
        cmocka_unit_test(what_is_no_key_is_refused),
    };
    if (mkdtemp(folder) == NULL)
        return 1;
    return cmocka_run_group_tests(tests, NULL, end);
}
