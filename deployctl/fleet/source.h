/* source.h - the folder that is to be released: scanned, hashed, named by its digest.
 *
 * An archive (unpack.h) is unpacked into a folder of our own first, which goes with the source.
 * The work is done on the loop's threads.  Errors name the file: unreadable, a device, a link that
 * leads out, changed while it was read.  Contents are compressed once, when the first host asks
 * for them, and sent to all (pack.h); that reads the file again and refuses another digest.
 */
#ifndef DEPLOYCTL_FLEET_SOURCE_H
#define DEPLOYCTL_FLEET_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/opt.h"
#include "deployctl/plan/manifest.h"
#include "io/loop.h"

enum {
    SOURCE_BUNDLES_MAX = 1024,
    SOURCE_IGNORE_MAX = 1024 * 1024, /* bytes of .deployignore */
};

struct source;
struct deltas; /* deltas.h */
struct source_options {
    const char *path;
    const struct opt_names *exclude;
    bool any_links, keep_modes;
};
/* fn is called once, from the loop: err NULL = the source is complete. */
struct source *source_open(struct loop *loop, const struct source_options *options,
                           void (*fn)(void *context, const struct err *err), void *context,
                           struct err *err);
void source_free(struct source *source); /* fn is not called afterwards */

/* Once complete: */
const struct manifest *source_manifest(const struct source *source);
const char *source_digest(const struct source *source); /* hex */
/* The manifest's short form, compressed, as it goes over the wire. */
const struct buf *source_packed(const struct source *source);
/* Names of files that look like secrets. */
const struct err_list *source_warnings(const struct source *source);

/* These entries' contents as one (bundle.h): what to ask for in the place of an entry below;
 * negative: there are too many different ones, or no memory. */
int64_t source_bundle(struct source *source, const size_t *entries, size_t count);
uint64_t source_bytes(const struct source *source, size_t entry); /* before compression */

/* Asks for the compressed content of an entry.  1: it is ready; 0: it is being made, `fn` will be
 * called from the loop for each context that asked (ask again then); negative: it failed. */
int source_want(struct source *source, size_t entry, void (*fn)(void *context), void *context,
                struct err *err);
void source_forget(struct source *source, void *context); /* its fn is not called any more */
/* Copies at most `max` bytes at `offset` of a ready content; *ret_last: none are behind them. */
int source_piece(struct source *source, size_t entry, uint64_t offset, void *data, size_t max,
                 size_t *ret_len, bool *ret_last, struct err *err);
/* Its large contents as programs; the source's own. */
struct deltas *source_deltas(const struct source *source);
/* The file of an entry, opened for reading; the caller's.  It may have changed since. */
int source_open_entry(const struct source *source, size_t entry, struct err *err);
uint64_t source_packed_bytes(const struct source *source, size_t entry);

#endif
