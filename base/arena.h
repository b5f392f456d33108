/* arena.h - memory that is freed all at once; a plan lives in one. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct arena {
    struct arena_block *blocks;  /* owned */
    struct arena_shared *shared; /* owned; finds copies that were made by arena_share */
    bool failed;                 /* an allocation returned NULL at some time */
};

void arena_init(struct arena *arena);
void arena_done(struct arena *arena); /* frees everything; twice is fine */
/* Zeroed memory aligned for any type, or NULL (then also `failed`). */
void *arena_alloc(struct arena *arena, size_t size);
/* `count` elements of `size` bytes; NULL on overflow of the product. */
void *arena_array(struct arena *arena, size_t count, size_t size);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t len);
char *arena_printf(struct arena *arena, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A copy that nobody may change: equal contents have one copy between them.  For texts and structs
 * (whose padding should be zero) that many have alike.  Aligned for any type. */
const void *arena_share(struct arena *arena, const void *data, size_t size);
const char *arena_share_text(struct arena *arena, const char *text);
/* Everything is there: frees the memory that is only needed to find equal copies. */
void arena_settle(struct arena *arena);

#endif
