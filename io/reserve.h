/* reserve.h - memory that is there when no other is.
 *
 * An event is told with jansson, in a hundred small pieces; without memory it would be told in
 * part, or as nothing, and what it tells would be lost.  So the core has jansson take from a
 * reserve when malloc() gives nothing: enough for some hundred events at a time, and each is given
 * back as soon as it is recorded.  The reserve costs address space only, until it is needed.
 *
 * One thread only.  jansson's functions know no context, so this is the one object of its kind.
 */
#ifndef IO_RESERVE_H
#define IO_RESERVE_H

#include <stdbool.h>
#include <stddef.h>

enum { RESERVE_BYTES = 256 * 1024 };

/* From here on jansson uses it.  Before the first value is made. */
void reserve_for_json(void);

/* malloc() and free() that fall back on the reserve. */
void *reserve_take(size_t size);
void reserve_give(void *at); /* NULL is fine */
bool reserve_holds(const void *at);

#endif
