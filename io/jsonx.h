/* jsonx.h - jansson with our errors and limits. */
#ifndef IO_JSONX_H
#define IO_JSONX_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* For a program that talks to its own kind only: jansson seeds its tables with what the kernel gave
 * the process, instead of opening /dev/urandom. */
void jsonx_seed(void);
/* Parses exactly one JSON object or array (new reference); NULL with err (ERR_PROTOCOL: where and
 * what).  Duplicate keys and deep nesting (over 64) are refused. */
json_t *jsonx_parse(const char *text, size_t len, struct err *err);
/* Appends compact text, keys in insertion order, without newline; false = buffer full. */
bool jsonx_put(const json_t *value, struct buf *out);
/* As jsonx_put, with all that is not ASCII escaped: for files that people print on terminals. */
bool jsonx_put_ascii(const json_t *value, struct buf *out);
/* As jsonx_put, indented for people, with a newline. */
bool jsonx_put_pretty(const json_t *value, struct buf *out);

/* Members of an object, borrowed; the fallback when absent or of another type. */
const char *jsonx_text(const json_t *object, const char *key, const char *fallback);
int64_t jsonx_int(const json_t *object, const char *key, int64_t fallback);
double jsonx_real(const json_t *object, const char *key, double fallback);
bool jsonx_bool(const json_t *object, const char *key, bool fallback);
/* Required member: ERR_PROTOCOL "\"id\" is missing" or "... must be a text". */
int jsonx_need_text(const json_t *object, const char *key, const char **ret, struct err *err);
int jsonx_need_int(const json_t *object, const char *key, int64_t *ret, struct err *err);
/* Sets text that may contain invalid UTF-8 (replaced by U+FFFD); NULL text becomes null. */
int jsonx_set_text(json_t *object, const char *key, const char *text);
int jsonx_set_int(json_t *object, const char *key, int64_t value);
int jsonx_set_real(json_t *object, const char *key, double value);
int jsonx_set_bool(json_t *object, const char *key, bool value);

/* The same as text behind the members of an object that is being written: a comma, the key (plain
 * letters), the value as jsonx_put() would write it.  For what is written often: it makes no values
 * first. */
void jsonx_add_text(struct buf *out, const char *key, const char *text);
void jsonx_add_int(struct buf *out, const char *key, int64_t value);
void jsonx_add_real(struct buf *out, const char *key, double value);
void jsonx_add_bool(struct buf *out, const char *key, bool value);

#endif
