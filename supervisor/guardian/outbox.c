/* outbox.c - the contract is in outbox.h. */
#include "supervisor/guardian/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void outbox_init(struct outbox *outbox)
{
    *outbox = (struct outbox){ .first = NULL };
    outbox->last = &outbox->first;
}

static void pop(struct outbox *outbox)
{
    struct outbox_item *item = outbox->first;
    outbox->first = item->next;
    if (!outbox->first)
        outbox->last = &outbox->first;
    outbox->count--;
    free(item);
}

void outbox_clear(struct outbox *outbox)
{
    while (outbox->first)
        pop(outbox);
}

bool outbox_add(struct outbox *outbox, enum store_op op, const char *name)
{
    size_t len = strlen(name) + 1;
    struct outbox_item *item = outbox->count < OUTBOX_MAX ? malloc(sizeof(*item) + len) : NULL;
    if (!item)
        return false;
    item->next = NULL;
    item->op = op;
    memcpy(item->name, name, len);
    *outbox->last = item;
    outbox->last = &item->next;
    outbox->count++;
    return true;
}

enum outbox_state outbox_flush(struct outbox *outbox, int channel, const struct store *store)
{
    while (outbox->first) {
        const struct outbox_item *item = outbox->first;
        struct err err;
        int fd = item->op == STORE_PUT ? store_get(store, item->name) : -1;
        int rc = 0;
        if (item->op != STORE_PUT || fd >= 0) /* else it was dropped meanwhile */
            rc = store_send(channel, item->op, item->name, fd, 0, &err);
        if (rc == ERR_TIMEOUT)
            return err.sys == EAGAIN ? OUTBOX_FULL_PAIR : OUTBOX_LATER;
        if (rc < 0)
            return OUTBOX_BROKEN;
        pop(outbox);
    }
    return OUTBOX_EMPTY;
}
