/* arena.h - memory that is freed all at once; a plan lives in one. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct arena {
    struct arena_block *blocks; /* owned */
    bool failed;                /* an allocation returned NULL at some time */
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

#endif
