/* arena.c - the contract is in arena.h. */
#include "base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BLOCK_BYTES = 1024, BLOCK_BYTES = 8192 };

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    max_align_t data[];
};

void arena_init(struct arena *arena) { memset(arena, 0, sizeof(*arena)); }

void arena_done(struct arena *arena)
{
    while (arena->blocks) {
        struct arena_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
    arena->failed = false;
}

/* Small arenas stay small: each block is twice the one before, up to a limit. */
static size_t next_block_bytes(const struct arena *arena)
{
    size_t before = arena->blocks ? arena->blocks->size : FIRST_BLOCK_BYTES / 2;
    return before >= BLOCK_BYTES / 2 ? BLOCK_BYTES : before * 2;
}

/* A large piece gets a block of its own behind the first one, which keeps its free room. */
static struct arena_block *add_block(struct arena *arena, size_t size)
{
    bool own = size > BLOCK_BYTES / 4;
    size_t room = own ? size : next_block_bytes(arena);
    if (room < size)
        room = size;
    struct arena_block *block = calloc(1, sizeof(*block) + room);

    if (!block)
        return NULL;
    block->size = room;
    if (own && arena->blocks) {
        block->next = arena->blocks->next;
        arena->blocks->next = block;
    } else {
        block->next = arena->blocks;
        arena->blocks = block;
    }
    return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    const size_t align = _Alignof(max_align_t);

    if (size > SIZE_MAX / 2) {
        arena->failed = true;
        return NULL;
    }
    size = size ? (size + align - 1) / align * align : align;
    struct arena_block *block = arena->blocks;
    if (!block || block->size - block->used < size)
        block = add_block(arena, size);
    if (!block) {
        arena->failed = true;
        return NULL;
    }
    void *at = (char *)block->data + block->used;
    block->used += size;
    return at;
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
    size_t product;

    if (__builtin_mul_overflow(count, size, &product)) {
        arena->failed = true;
        return NULL;
    }
    return arena_alloc(arena, product);
}

char *arena_strndup(struct arena *arena, const char *text, size_t len)
{
    len = strnlen(text, len);
    char *copy = arena_alloc(arena, len + 1);

    if (copy)
        memcpy(copy, text, len);
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
    va_list args, again;

    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    char *text = NULL;
    if (len < 0)
        arena->failed = true;
    else
        text = arena_alloc(arena, (size_t)len + 1);
    if (text)
        vsnprintf(text, (size_t)len + 1, fmt, again);
    va_end(again);
    va_end(args);
    return text;
}
