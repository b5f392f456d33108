/* pin.h - what a release set must not forget, on disk; and the set's folder, safely opened.
 *
 * A pin is a small JSON file in state_dir with a checksum and a sequence number, written durably,
 * and then once more as NAME.copy (another file, so that one damaged sector does not take both).
 * The newest whole one counts.  Where state_dir cannot be written, the text is given to a keeper of
 * the caller's instead (it survives the core, not the supervisor).
 *
 * The set's folder may belong to somebody else: it is opened without following links, everything is
 * relative to that descriptor, `current` and `previous` are written and never read back.
 */
#ifndef SUPERVISOR_RELEASE_PIN_H
#define SUPERVISOR_RELEASE_PIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/err.h"
#include "supervisor/machine/release.h"

enum { PIN_NAME_MAX = 96, PIN_BYTES_MAX = 64 * 1024 };

/* Where pins are kept. */
struct pin_place {
    int dirfd; /* state_dir; -1 when it cannot be used, `why` says so */
    struct err why;
    char *state_dir;                                                    /* owned */
    int (*remember)(void *context, const char *name, const char *text); /* may be NULL */
    const char *(*recall)(void *context, const char *name);             /* may be NULL */
    void *context;
};
/* Makes state_dir (0700) if need be and opens it.  Never fails: what is wrong is in `why`: it
 * cannot be made or written, or others than its owner, root or us, may write to it. */
void pin_place_open(struct pin_place *place, const char *state_dir);
void pin_place_close(struct pin_place *place); /* twice is fine */

struct pin {
    struct release_pin release;
    char boot_id[CLOCK_BOOT_ID_MAX]; /* deadlines are of this boot */
    uint64_t sequence;               /* grows with each save */
};
enum pin_saved {
    PIN_DURABLE, /* on disk */
    PIN_KEPT,    /* only remembered */
    PIN_LOST     /* nowhere but in our memory */
};
/* Name of the file for the set with this folder. */
void pin_name(const char *path, char name[static PIN_NAME_MAX]);
/* Saves (sequence + 1).  A state_dir that is gone or was not there is made and opened again.  What
 * was reached is in *ret_saved, with the reason in err unless durable; returns 0 if durable, else a
 * negative code. */
int pin_save(struct pin_place *place, const char *path, struct pin *pin, enum pin_saved *ret_saved,
             struct err *err);
/* Loads the newest whole one.  ERR_NOT_FOUND: there is none.  ERR_CORRUPT: there is, but none that
 * is whole (err names file and damage).  `damage` (its code ERR_NONE if there was none) tells what
 * was passed over for another copy. */
int pin_load(const struct pin_place *place, const char *path, struct pin *ret, struct err *damage,
             struct err *err);
/* Text form, for the above and for tests.  0 or ERR_CORRUPT. */
char *pin_text(const char *path, const struct pin *pin); /* malloc'ed; NULL without memory */
int pin_parse(const char *text, size_t len, const char *path, struct pin *ret, struct err *err);

/* The folder of a set, trusted for `owner`; a descriptor or a negative err_code. */
int pin_open_set(const char *path, uid_t owner, struct err *err);
/* releases/ID in it, a folder: a descriptor (O_PATH) or ERR_NOT_FOUND, ... */
int pin_open_release(int set_fd, const char *path, const char *id, struct err *err);
/* ERR_STATE, with the remedy, when `current` or `previous` is there and no link. */
int pin_check_links(int set_fd, const char *path, struct err *err);
/* Makes `current` and `previous` say what is pinned.  A set that never had a release is left alone.
 */
int pin_write_links(int set_fd, const struct release_pin *pin, struct err *err);

#endif
