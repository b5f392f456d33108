/* heap.h - which of many is next: the least key first, O(log n) for each change.
 *
 * A node is part of what it stands for (the heap owns none) and knows its place, so that it can be
 * moved and taken out.  Room is made before, so that adding cannot fail.
 */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    int64_t key;
    size_t place; /* 1 + index; 0 = in no heap */
};

struct heap {
    struct heap_node **nodes; /* owned */
    size_t count, cap;
};

/* Room for `count` nodes in all; false without memory. */
bool heap_reserve(struct heap *heap, size_t count);
void heap_done(struct heap *heap); /* the nodes must not be used with it any more */
/* Adds the node, or moves it to its new key.  There must be room. */
void heap_set(struct heap *heap, struct heap_node *node, int64_t key);
void heap_remove(struct heap *heap, struct heap_node *node); /* one that is not in it: nothing */
struct heap_node *heap_first(const struct heap *heap);       /* or NULL */

#endif
