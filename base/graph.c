/* graph.c - Kahn's algorithm with a heap of the nodes that are free to go. */
#include "base/graph.h"

#include <stdint.h>
#include <string.h>

struct work {
    size_t count;
    const int *rank;
    size_t *blockers; /* by node: edges into it whose first node is not in the order yet */
    size_t *first;    /* by node: where its followers begin in `followers`; count + 1 of them */
    size_t *followers;
    size_t *heap, heap_len;
};

static bool goes_before(const struct work *w, size_t a, size_t b)
{
    if (w->rank && w->rank[a] != w->rank[b])
        return w->rank[a] < w->rank[b];
    return a < b;
}

static void swap(size_t *a, size_t *b)
{
    size_t c = *a;
    *a = *b;
    *b = c;
}

static void push(struct work *w, size_t node)
{
    size_t at = w->heap_len++;

    w->heap[at] = node;
    while (at > 0 && goes_before(w, w->heap[at], w->heap[(at - 1) / 2])) {
        swap(&w->heap[at], &w->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
}

static size_t pop(struct work *w)
{
    size_t top = w->heap[0], at = 0;

    w->heap[0] = w->heap[--w->heap_len];
    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= w->heap_len)
            return top;
        if (child + 1 < w->heap_len && goes_before(w, w->heap[child + 1], w->heap[child]))
            child++;
        if (!goes_before(w, w->heap[child], w->heap[at]))
            return top;
        swap(&w->heap[child], &w->heap[at]);
        at = child;
    }
}

/* Sorts the edges by their first node and counts what blocks each node. */
static bool prepare(struct work *w, const struct graph_edge *edges, size_t nedges,
                    struct arena *scratch)
{
    size_t *next = arena_array(scratch, w->count + 1, sizeof(*next));

    w->blockers = arena_array(scratch, w->count + 1, sizeof(size_t));
    w->first = arena_array(scratch, w->count + 1, sizeof(size_t));
    w->heap = arena_array(scratch, w->count + 1, sizeof(size_t));
    w->followers = arena_array(scratch, nedges, sizeof(size_t));
    if (!next || !w->blockers || !w->first || !w->heap || !w->followers)
        return false;
    for (size_t i = 0; i < nedges; i++) {
        w->blockers[edges[i].after]++;
        w->first[edges[i].before + 1]++;
    }
    for (size_t node = 0; node < w->count; node++)
        w->first[node + 1] += w->first[node];
    memcpy(next, w->first, w->count * sizeof(*next));
    for (size_t i = 0; i < nedges; i++)
        w->followers[next[edges[i].before]++] = edges[i].after;
    return true;
}

/* Every blocked node has a blocked node before it; walking back must come to one seen already. */
static void find_cycle(const struct work *w, const struct graph_edge *edges, size_t nedges,
                       struct arena *scratch, size_t *cycle, size_t *ret_len)
{
    size_t *before = arena_array(scratch, w->count, sizeof(*before));
    size_t *seen_at = arena_array(scratch, w->count, sizeof(*seen_at)); /* 1 = first step */
    size_t steps = 0, node = 0;

    if (!before || !seen_at)
        return;
    for (size_t i = 0; i < nedges; i++)
        if (w->blockers[edges[i].before] && w->blockers[edges[i].after])
            before[edges[i].after] = edges[i].before;
    while (!w->blockers[node])
        node++;
    for (; !seen_at[node]; node = before[node])
        seen_at[node] = ++steps;

    /* `node` closes the cycle.  Begin with its lowest number, so that messages are stable. */
    size_t len = steps - seen_at[node] + 1, lowest = node;
    for (size_t at = before[node]; at != node; at = before[at])
        if (at < lowest)
            lowest = at;
    for (size_t i = len, at = before[lowest]; i-- > 0; at = before[at])
        cycle[i] = at;
    *ret_len = len;
}

bool graph_order(size_t count, const struct graph_edge *edges, size_t nedges, const int *rank,
                 struct arena *scratch, size_t *order, size_t *cycle, size_t *ret_len)
{
    struct work w = { .count = count, .rank = rank };
    size_t done = 0;

    *ret_len = 0;
    if (!prepare(&w, edges, nedges, scratch))
        return false;
    for (size_t node = 0; node < count; node++)
        if (!w.blockers[node])
            push(&w, node);
    while (w.heap_len) {
        size_t node = pop(&w);
        order[done++] = node;
        for (size_t i = w.first[node]; i < w.first[node + 1]; i++)
            if (--w.blockers[w.followers[i]] == 0)
                push(&w, w.followers[i]);
    }
    if (done == count)
        return true;
    find_cycle(&w, edges, nedges, scratch, cycle, ret_len);
    return false;
}
