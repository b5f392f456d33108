/* freeze_file.c - the contract is in freeze_file.h. */
#include "deployctl/cli/freeze_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/accounts.h"
#include "base/buf.h"
#include "base/clock.h"

enum { REASON_MAX = 200, FREEZE_BYTES_MAX = 64 * 1024, SINCE_MAX = 20 };

/* The first line, without what a terminal might obey. */
static void read_reason(const char *path, char reason[static REASON_MAX])
{
    struct buf text;
    buf_init(&text, FREEZE_BYTES_MAX);
    int rc = buf_read_file(&text, AT_FDCWD, path);
    size_t len = rc < 0 ? 0 : strcspn(buf_text(&text), "\r\n");
    if (rc < 0)
        snprintf(reason, REASON_MAX, "the file cannot be read: %s", strerror(-rc));
    else if (len == 0)
        snprintf(reason, REASON_MAX, "no reason is given");
    else
        snprintf(reason, REASON_MAX, "%.*s", (int)len, buf_text(&text));
    for (char *at = reason; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    buf_done(&text);
}

static const char *owner_of(const struct stat *st, char text[static REASON_MAX])
{
    char space[ACCOUNTS_ENTRY_BYTES];
    struct passwd entry, *user;
    if (accounts_user(NULL, st->st_uid, &entry, space, sizeof space, &user) == 0 && user)
        snprintf(text, REASON_MAX, "%s", user->pw_name);
    else
        snprintf(text, REASON_MAX, "uid %u", (unsigned)st->st_uid);
    return text;
}

bool freeze_file_allows(const struct app *app, bool despite)
{
    const char *path = app->recipe.deploy.freeze_file;
    struct stat st;
    char reason[REASON_MAX], owner[REASON_MAX], since[CLOCK_TEXT_MAX];
    if (!path || (stat(path, &st) < 0 && errno == ENOENT))
        return true;
    if (stat(path, &st) < 0) {
        app_fail(app, "%s (freeze_file): %s; whether releases are frozen is not known", path,
                 strerror(errno));
        return despite;
    }
    read_reason(path, reason);
    clock_text((int64_t)st.st_mtim.tv_sec * 1000000, since);
    app_fail(app, "releases of %s are frozen by %s since %.*s: %s (%s)%s", app->recipe.deploy.app,
             owner_of(&st, owner), SINCE_MAX - 1, since, reason, path,
             despite ? "; released despite that, as asked"
                     : "; wait until the file is gone, or release with --despite-freeze");
    return despite;
}
