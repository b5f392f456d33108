/* err.h - errors by value: a code for programs, a sentence for people.
 *
 * A function that can fail takes `struct err *err` last and returns 0 or a
 * negative `enum err_code`.  The struct lies on the caller's stack, so the
 * failure path allocates nothing.  Each layer on the way up puts its own
 * context in front ("reading /etc/x.ini: line 3: stopsignal: ...").
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>

enum err_code {
    ERR_NONE = 0,
    ERR_INVALID = -1,      /* input that can never be right */
    ERR_NOT_FOUND = -2,    /* the named thing is not there */
    ERR_EXISTS = -3,       /* it is there already, or held by somebody else */
    ERR_DENIED = -4,       /* no right to do this */
    ERR_SYSTEM = -5,       /* a system call failed; err->sys is its errno */
    ERR_MEMORY = -6,       /* no memory */
    ERR_LIMIT = -7,        /* a stated maximum was passed */
    ERR_PROTOCOL = -8,     /* a peer broke the rules of the conversation */
    ERR_TIMEOUT = -9,      /* a deadline passed */
    ERR_UNREACHABLE = -10, /* the peer is not there or went away */
    ERR_STALE = -11,       /* fenced off by a newer epoch */
    ERR_STATE = -12,       /* not possible in the present state */
    ERR_CORRUPT = -13,     /* stored data fails its check */
};

enum { ERR_TEXT_MAX = 512 };

struct err {
    enum err_code code;
    int sys; /* errno behind ERR_SYSTEM, else 0 */
    char text[ERR_TEXT_MAX];
};

/* Sets *err (which may be NULL) and returns `code`, so that callers can write
 * `return err_set(err, ERR_INVALID, "...")`.  A text that is too long is cut. */
int err_set(struct err *err, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* As err_set with ERR_SYSTEM, appending ": " and the text of `sys`, an errno value
 * (ERR_MEMORY for ENOMEM). */
int err_sys(struct err *err, int sys, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "context: " in front of the text that is there; returns err->code
 * (ERR_INVALID if err is NULL), for `return err_wrap(err, "reading %s", path)`. */
int err_wrap(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A short lower-case word for a code: "invalid", "not-found", ... Never NULL. */
const char *err_code_name(enum err_code code);

/* Many errors of one input, so that people see all of them at once. */
enum { ERR_LIST_MAX = 100 };
struct err_list {
    char *lines[ERR_LIST_MAX]; /* each "FILE:LINE: ..." without newline; owned */
    size_t count;              /* lines kept */
    size_t total;              /* errors seen, may exceed count */
    bool warnings_only;        /* convention of the user of the list; not touched here */
};
void err_list_init(struct err_list *list);
void err_list_done(struct err_list *list); /* twice is fine */
/* Adds one line; beyond ERR_LIST_MAX, and without memory, it is only counted. */
void err_list_add(struct err_list *list, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
