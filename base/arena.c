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

/* A hash table of what was shared; open addressing, at most half full, room a power of 2. */
struct arena_shared {
    size_t count, room;
    struct shared_copy {
        const void *at; /* NULL = free */
        size_t size;
        uint32_t hash;
    } copies[];
};
enum { FIRST_SHARED = 64 };

void arena_init(struct arena *arena) { memset(arena, 0, sizeof(*arena)); }

void arena_done(struct arena *arena)
{
    while (arena->blocks) {
        struct arena_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
    arena_settle(arena);
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

static size_t rounded(size_t size, size_t align) { return (size + align - 1) / align * align; }

static void *take(struct arena *arena, size_t size, size_t align)
{
    struct arena_block *block = size <= SIZE_MAX / 2 ? arena->blocks : NULL;
    size_t at = block ? rounded(block->used, align) : 0;

    if (block && (at > block->size || block->size - at < size))
        block = NULL;
    if (!block && size <= SIZE_MAX / 2) {
        block = add_block(arena, size);
        at = 0;
    }
    if (!block) {
        arena->failed = true;
        return NULL;
    }
    block->used = at + size;
    return (char *)block->data + at;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    return take(arena, size ? size : 1, _Alignof(max_align_t));
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
    char *copy = take(arena, len + 1, 1);

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
        text = take(arena, (size_t)len + 1, 1);
    if (text)
        vsnprintf(text, (size_t)len + 1, fmt, again);
    va_end(again);
    va_end(args);
    return text;
}

/* --- one copy of what is equal --- */

static uint32_t hash_of(const unsigned char *data, size_t size)
{
    uint32_t hash = 2166136261U; /* FNV-1a */

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * 16777619U;
    return hash;
}

/* Where an equal copy is, or where the next one goes. */
static struct shared_copy *look_up(struct arena_shared *table, const void *data, size_t size,
                                   uint32_t hash)
{
    size_t mask = table->room - 1, i = hash & mask;

    while (table->copies[i].at && (table->copies[i].hash != hash || table->copies[i].size != size ||
                                   memcmp(table->copies[i].at, data, size) != 0))
        i = (i + 1) & mask;
    return &table->copies[i];
}

/* Room for one more; false without memory: then copies are not shared. */
static bool grow_shared(struct arena *arena)
{
    struct arena_shared *old = arena->shared;

    if (old && old->count < old->room / 2)
        return true;
    size_t room = old ? old->room * 2 : FIRST_SHARED;
    struct arena_shared *table = calloc(1, sizeof(*table) + room * sizeof(table->copies[0]));
    if (!table)
        return false;
    table->room = room;
    for (size_t i = 0; old && i < old->room; i++) {
        const struct shared_copy *copy = &old->copies[i];
        if (!copy->at)
            continue;
        *look_up(table, copy->at, copy->size, copy->hash) = *copy;
        table->count++;
    }
    free(old);
    arena->shared = table;
    return true;
}

static const void *share(struct arena *arena, const void *data, size_t size, size_t align)
{
    uint32_t hash = hash_of(data, size) + (uint32_t)align; /* a text is no place for a struct */
    struct shared_copy *copy = grow_shared(arena) ? look_up(arena->shared, data, size, hash) : NULL;

    if (copy && copy->at)
        return copy->at;
    void *at = take(arena, size ? size : 1, align);
    if (!at)
        return NULL;
    memcpy(at, data, size);
    if (copy) {
        *copy = (struct shared_copy){ at, size, hash };
        arena->shared->count++;
    }
    return at;
}

const void *arena_share(struct arena *arena, const void *data, size_t size)
{
    return share(arena, data, size, _Alignof(max_align_t));
}

const char *arena_share_text(struct arena *arena, const char *text)
{
    return share(arena, text, strlen(text) + 1, 1);
}

void arena_settle(struct arena *arena)
{
    free(arena->shared);
    arena->shared = NULL;
}
