/* record.h - what a rollout leaves on a host: its record, the fencing epoch, requests to it. */
#ifndef DEPLOYCTL_AGENT_RECORD_H
#define DEPLOYCTL_AGENT_RECORD_H

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"
#include "io/loop.h"

enum { RECORD_ROLLOUT_MAX = 128, RECORD_BYTES_MAX = 4 * 1024 * 1024 };

/* .deploy/rollout, the open rollout.  read: a new reference, NULL when there is none; one that is
 * damaged is {"damaged": TEXT}, for it keeps others out all the same. */
int record_write(int meta, const json_t *record, struct err *err);
json_t *record_read(int meta);
int record_remove(int meta, struct err *err);

/* .deploy/epoch: the highest epoch that was ever fenced here, and whose. */
struct record_epoch {
    int64_t epoch; /* 0 = never */
    char rollout[RECORD_ROLLOUT_MAX];
};
int record_epoch_read(int meta, struct record_epoch *ret, struct err *err);
int record_epoch_write(int meta, const struct record_epoch *epoch, struct err *err);

/* .deploy/request: {"what","who","rollout"} for the live holder. */
int record_request_write(int meta, const json_t *request, struct err *err);
json_t *record_request_read(int meta); /* new reference or NULL */
int record_request_remove(int meta, struct err *err);

/* Calls fn when the request may have changed; each second where inotify is not to be had. */
struct record_watch;
struct record_watch *record_watch_new(struct loop *loop, int meta, void (*fn)(void *context),
                                      void *context, struct err *err);
void record_watch_free(struct record_watch *watch);

#endif
