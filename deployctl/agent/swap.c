/* swap.c - the contract is in swap.h. */
#include "deployctl/agent/swap.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/auto.h"
#include "base/buf.h"
#include "io/durable.h"
#include "io/jsonx.h"

#define SWITCHED_NAME "switched"
enum { FILE_MODE = 0644, FILE_MAX = 4096 };

static void keep_id(char to[static MANIFEST_ID_MAX], const char *id)
{
    to[0] = '\0';
    if (id != NULL && manifest_id_parse(id, NULL))
        snprintf(to, MANIFEST_ID_MAX, "%s", id);
}

int swap_read(const struct host *host, struct swap_state *ret, struct err *err)
{
    *ret = (struct swap_state){ .confirmed = true };
    if (host_link(host, "current", ret->id, err) < 0)
        return err->code;
    struct buf text;
    buf_init(&text, FILE_MAX);
    AUTO_CLOSE int fd =
        host->meta < 0 ? -1
                       : durable_open_beneath(host->meta, SWITCHED_NAME, O_RDONLY | O_NOFOLLOW, 0);
    json_t *state = fd >= 0 && buf_read_fd(&text, fd) == 0
                        ? jsonx_parse(buf_text(&text), text.len, NULL)
                        : NULL;
    /* Written just before the links: after a crash in between it may be about another one. */
    if (state != NULL && strcmp(jsonx_text(state, "id", ""), ret->id) == 0) {
        keep_id(ret->from, jsonx_text(state, "from", NULL));
        snprintf(ret->token, sizeof ret->token, "%s", jsonx_text(state, "token", ""));
        ret->confirmed = jsonx_bool(state, "confirmed", true);
    }
    json_decref(state);
    buf_done(&text);
    return 0;
}

static int write_state(const struct host *host, const struct swap_state *state, struct err *err)
{
    struct buf text;
    buf_init(&text, FILE_MAX);
    json_t *value = json_object();
    jsonx_set_text(value, "id", state->id);
    jsonx_set_text(value, "from", state->from[0] != '\0' ? state->from : NULL);
    jsonx_set_text(value, "token", state->token);
    jsonx_set_bool(value, "confirmed", state->confirmed);
    jsonx_put(value, &text);
    json_decref(value);
    int rc = durable_write(host->meta, SWITCHED_NAME, buf_text(&text), text.len, FILE_MODE, err);
    buf_done(&text);
    return rc;
}

static int set_link(const struct host *host, const char *link, const char *id, struct err *err)
{
    char target[16 + MANIFEST_ID_MAX];
    if (id[0] == '\0')
        return durable_unlink(host->root, link, err);
    snprintf(target, sizeof target, "releases/%s", id);
    return durable_symlink(host->root, link, target, err);
}

int swap_switch(const struct host *host, const char *id, const char *token, struct swap_state *ret,
                struct err *err)
{
    struct swap_state now;
    int rc = swap_read(host, &now, err);
    if (rc < 0)
        return rc;
    if (strcmp(now.id, id) == 0 && strcmp(now.token, token) == 0) {
        *ret = now;
        return 0;
    }
    struct swap_state next = { .confirmed = false };
    keep_id(next.id, id);
    if (strcmp(now.id, id) != 0)
        keep_id(next.from, now.id);
    snprintf(next.token, sizeof next.token, "%s", token);
    rc = write_state(host, &next, err);
    if (rc == 0 && next.from[0] != '\0')
        rc = set_link(host, "previous", next.from, err);
    if (rc == 0)
        rc = set_link(host, "current", id, err);
    if (rc == 0)
        *ret = next;
    return rc;
}

int swap_confirm(const struct host *host, const char *id, const char *token, struct err *err)
{
    struct swap_state now;
    int rc = swap_read(host, &now, err);
    if (rc < 0)
        return rc;
    if (strcmp(now.id, id) != 0)
        return err_set(err, ERR_STATE, "%s is current, not %s", now.id[0] ? now.id : "nothing", id);
    now.confirmed = true;
    snprintf(now.token, sizeof now.token, "%s", token);
    return write_state(host, &now, err);
}

int swap_revert(const struct host *host, const char *id, struct swap_state *ret, struct err *err)
{
    struct swap_state now;
    int rc = swap_read(host, &now, err);
    if (rc < 0)
        return rc;
    if (strcmp(now.id, id) != 0) { /* undone already, or never done */
        *ret = now;
        return 0;
    }
    if (now.token[0] == '\0')
        return err_set(err, ERR_STATE, "it is not known what was current before %s; use rollback",
                       id);
    rc = set_link(host, "current", now.from, err);
    if (rc == 0)
        rc = durable_unlink(host->meta, SWITCHED_NAME, err);
    return rc < 0 ? rc : swap_read(host, ret, err);
}
