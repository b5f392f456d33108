/* heap.c - the contract is in heap.h. */
#include "base/heap.h"

#include <stdlib.h>

bool heap_reserve(struct heap *heap, size_t count)
{
    size_t cap = heap->cap ? heap->cap : 16;

    while (cap < count)
        cap *= 2;
    if (cap == heap->cap)
        return true;
    struct heap_node **nodes = reallocarray(heap->nodes, cap, sizeof(struct heap_node *));
    if (!nodes)
        return false;
    heap->nodes = nodes;
    heap->cap = cap;
    return true;
}

void heap_done(struct heap *heap)
{
    free(heap->nodes);
    *heap = (struct heap){ 0 };
}

static void put(struct heap *heap, size_t index, struct heap_node *node)
{
    heap->nodes[index] = node;
    node->place = index + 1;
}

/* The place at `index` is free: where does the node belong, from there up or down? */
static void settle(struct heap *heap, size_t index, struct heap_node *node)
{
    for (; index > 0 && heap->nodes[(index - 1) / 2]->key > node->key; index = (index - 1) / 2)
        put(heap, index, heap->nodes[(index - 1) / 2]);
    for (size_t child; (child = 2 * index + 1) < heap->count; index = child) {
        if (child + 1 < heap->count && heap->nodes[child + 1]->key < heap->nodes[child]->key)
            child++;
        if (heap->nodes[child]->key >= node->key)
            break;
        put(heap, index, heap->nodes[child]);
    }
    put(heap, index, node);
}

void heap_set(struct heap *heap, struct heap_node *node, int64_t key)
{
    node->key = key;
    if (node->place == 0)
        node->place = ++heap->count;
    settle(heap, node->place - 1, node);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    if (node->place == 0)
        return;
    size_t index = node->place - 1;
    struct heap_node *last = heap->nodes[--heap->count];
    node->place = 0;
    if (last != node)
        settle(heap, index, last);
}

struct heap_node *heap_first(const struct heap *heap)
{
    return heap->count > 0 ? heap->nodes[0] : NULL;
}
