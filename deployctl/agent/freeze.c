/* freeze.c - the contract is in freeze.h, the verb in deployctl/wire/proto.h. */
#include "deployctl/agent/freeze.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/accounts.h"
#include "base/auto.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/when.h"
#include "deployctl/agent/talk.h"
#include "io/durable.h"
#include "io/jsonx.h"

#define FREEZE_NAME "freeze"
enum { FILE_MODE = 0644 };

/* --- the file -----------------------------------------------------------------------------------
 */

static void put_owner(json_t *freeze, const struct stat *st)
{
    char space[ACCOUNTS_ENTRY_BYTES], text[CLOCK_TEXT_MAX];
    struct passwd entry, *user;
    if (accounts_user(NULL, st->st_uid, &entry, space, sizeof space, &user) == 0 && user != NULL)
        snprintf(text, sizeof text, "%.39s", user->pw_name);
    else
        snprintf(text, sizeof text, "uid %u", (unsigned)st->st_uid);
    jsonx_set_text(freeze, "who", text);
    jsonx_set_text(freeze, "since", clock_text((int64_t)st->st_mtim.tv_sec * 1000000, text));
}

/* Not ours: its first line says why. */
static json_t *by_hand(const char *text)
{
    char reason[FREEZE_TEXT_MAX];
    json_t *freeze = json_object();
    snprintf(reason, sizeof reason, "%.*s", (int)strcspn(text, "\r\n"), text);
    jsonx_set_text(freeze, "reason", reason[0] != '\0' ? reason : "no reason is given");
    return freeze;
}

/* The text of it, in a `reason` when it cannot be read. */
static json_t *parse(int fd)
{
    struct buf text;
    struct err err;
    buf_init(&text, FREEZE_BYTES_MAX);
    int rc = fd < 0 ? fd : buf_read_fd(&text, fd);
    json_t *freeze = rc < 0 ? NULL : jsonx_parse(buf_text(&text), text.len, &err);
    bool ours = jsonx_text(freeze, "reason", NULL) != NULL;
    if (!ours) {
        char why[FREEZE_TEXT_MAX];
        json_decref(freeze);
        snprintf(why, sizeof why, "the file cannot be read: %s", rc < 0 ? strerror(-rc) : "");
        freeze = by_hand(rc < 0 ? why : buf_text(&text));
    }
    buf_done(&text);
    return freeze;
}

json_t *freeze_read(int meta)
{
    struct stat st;
    int64_t until_us;
    if (meta < 0 || fstatat(meta, FREEZE_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return NULL;
    AUTO_CLOSE int fd =
        durable_open_beneath(meta, FREEZE_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    json_t *freeze = parse(fd);
    if (jsonx_text(freeze, "who", NULL) == NULL || jsonx_text(freeze, "since", NULL) == NULL)
        put_owner(freeze, &st);
    const char *until = jsonx_text(freeze, "until", NULL);
    if (until == NULL)
        json_object_set_new(freeze, "until", json_null());
    bool over = until != NULL && when_parse(until, &until_us) && until_us <= clock_wall_us();
    jsonx_set_bool(freeze, "over", over);
    return freeze;
}

static int write_freeze(int meta, const json_t *request, struct err *err)
{
    struct buf text;
    char since[CLOCK_TEXT_MAX];
    json_t *freeze = json_object();
    jsonx_set_text(freeze, "reason", jsonx_text(request, "reason", "no reason is given"));
    jsonx_set_text(freeze, "who", jsonx_text(request, "who", "?"));
    jsonx_set_text(freeze, "since", clock_text(clock_wall_us(), since));
    jsonx_set_text(freeze, "until", jsonx_text(request, "until", NULL));
    buf_init(&text, FREEZE_BYTES_MAX);
    int rc = jsonx_put(freeze, &text) ? 0 : err_set(err, ERR_LIMIT, "the reason is too long");
    buf_putc(&text, '\n');
    if (rc == 0)
        rc = durable_write(meta, FREEZE_NAME, buf_text(&text), text.len, FILE_MODE, err);
    buf_done(&text);
    json_decref(freeze);
    return rc < 0 ? err_wrap(err, "writing .deploy/" FREEZE_NAME) : 0;
}

/* --- what it stops ------------------------------------------------------------------------------
 */

bool freeze_blocks(const struct freeze_facts *facts)
{
    bool stands = facts->frozen && !facts->over;
    bool back = facts->old || facts->undo || facts->good;
    return stands && !back && !facts->begun && !facts->despite;
}

static bool is_begun(int meta, const char *id)
{
    json_t *record = record_read(meta);
    bool begun = strcmp(jsonx_text(record, "id", ""), id) == 0;
    json_decref(record);
    return begun;
}

static bool was_good(struct talk *talk, const char *id)
{
    struct host_releases list = { 0 };
    struct err err;
    bool good = false;
    if (host_list(&talk->host, &list, &err) == 0) {
        const struct host_release *release = host_list_find(&list, id);
        const struct journal_mark *mark =
            release != NULL ? journal_find(&talk->journal, release->digest) : NULL;
        good = mark != NULL && !mark->bad;
    }
    host_list_done(&list);
    return good;
}

int freeze_check(struct act *act, const char *id, struct err *err)
{
    struct talk *talk = act->talk;
    json_t *freeze = freeze_read(talk->host.meta);
    if (freeze == NULL)
        return 0;
    struct freeze_facts facts = {
        .frozen = true,
        .over = jsonx_bool(freeze, "over", false),
        .old = !jsonx_bool(act->request, "new", true),
        .undo = jsonx_bool(act->request, "undo", false),
        .despite = jsonx_bool(act->request, "despite_freeze", false),
        .begun = is_begun(talk->host.meta, id),
        .good = was_good(talk, id),
    };
    int rc = 0;
    if (freeze_blocks(&facts)) {
        const char *until = jsonx_text(freeze, "until", NULL);
        rc = err_set(err, ERR_STATE,
                     "releases are frozen on this host by %.64s since %.19s%s%.19s: %.150s; wait, "
                     "`deployctl unfreeze` it, or release with --despite-freeze",
                     jsonx_text(freeze, "who", "?"), jsonx_text(freeze, "since", "?"),
                     until != NULL ? " until " : "", until != NULL ? until : "",
                     jsonx_text(freeze, "reason", "?"));
    }
    json_decref(freeze);
    return rc;
}

/* --- the verb ------------------------------------------------------------------------------------
 */

void freeze_verb(struct act *act)
{
    struct talk *talk = act->talk;
    struct err err;
    const json_t *wanted = json_object_get(act->request, "freeze");
    bool on = json_is_object(wanted);
    int64_t until_us;
    const char *until = jsonx_text(wanted, "until", NULL);
    int rc = talk_host(talk, &err);
    if (rc == 0 && until != NULL && !when_parse(until, &until_us))
        rc = err_set(&err, ERR_INVALID, "\"until\" is no time: %.64s", until);
    if (rc == 0)
        rc = host_prepare(&talk->host, &err);
    json_t *was = rc == 0 ? freeze_read(talk->host.meta) : NULL;
    if (rc == 0)
        rc = on ? write_freeze(talk->host.meta, wanted, &err)
                : durable_unlink(talk->host.meta, FREEZE_NAME, &err);
    if (rc < 0) {
        json_decref(was);
        act_fail(act, &err, NULL);
        return;
    }
    json_t *answer = json_object(), *is = freeze_read(talk->host.meta);
    json_object_set_new(answer, "was", was != NULL ? was : json_null());
    json_object_set_new(answer, "freeze", is != NULL ? is : json_null());
    act_ok(act, answer);
}
