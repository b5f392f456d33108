/* drain_mark.c - the contract is in drain_mark.h. */
#include "deployctl/agent/drain_mark.h"

#include <errno.h>
#include <fcntl.h>

#include "base/auto.h"
#include "base/buf.h"
#include "io/durable.h"
#include "io/jsonx.h"

enum { MARK_MODE = 0644 };

int drain_mark_write(int meta, const json_t *mark, int *ret_fd, struct err *err)
{
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    struct buf text;
    buf_init(&text, DRAIN_MARK_MAX);
    int rc = jsonx_put(mark, &text)
                 ? durable_write(meta, DRAIN_MARK_NAME, buf_text(&text), text.len, MARK_MODE, err)
                 : err_set(err, ERR_LIMIT, ".deploy/%s would be too large", DRAIN_MARK_NAME);
    buf_done(&text);
    if (rc < 0 || ret_fd == NULL)
        return rc;
    AUTO_CLOSE int fd = durable_open_beneath(meta, DRAIN_MARK_NAME, O_RDWR | O_NOFOLLOW, 0);
    if (fd < 0)
        return err_sys(err, -fd, "opening .deploy/%s", DRAIN_MARK_NAME);
    if (fcntl(fd, F_OFD_SETLK, &whole) < 0)
        return err_sys(err, errno, "locking .deploy/%s", DRAIN_MARK_NAME);
    *ret_fd = take_fd(&fd);
    return 0;
}

int drain_mark_remove(int meta, struct err *err)
{
    return durable_unlink(meta, DRAIN_MARK_NAME, err);
}

json_t *drain_mark_read(int meta, bool *ret_held)
{
    struct flock other = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
    struct buf text;
    AUTO_CLOSE int fd =
        meta < 0 ? -1 : durable_open_beneath(meta, DRAIN_MARK_NAME, O_RDONLY | O_NOFOLLOW, 0);
    *ret_held = false;
    if (fd < 0)
        return NULL;
    *ret_held = fcntl(fd, F_OFD_GETLK, &other) == 0 && other.l_type != F_UNLCK;
    buf_init(&text, DRAIN_MARK_MAX);
    json_t *mark =
        buf_read_fd(&text, fd) == 0 ? jsonx_parse(buf_text(&text), text.len, NULL) : NULL;
    buf_done(&text);
    if (mark != NULL && !json_is_object(mark)) {
        json_decref(mark);
        mark = NULL;
    }
    return mark;
}

bool drain_mark_counts(int meta)
{
    bool held;
    json_t *mark = drain_mark_read(meta, &held);
    bool counts = held || jsonx_bool(mark, "stays", false);
    json_decref(mark);
    return counts;
}
