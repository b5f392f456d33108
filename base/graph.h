/* graph.h - order and cycles of a graph of numbered nodes. */
#ifndef BASE_GRAPH_H
#define BASE_GRAPH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

struct graph_edge {
    size_t before, after; /* `before` must come first */
};

/* Writes a topological order of nodes 0..count-1 into order[count]; among nodes that are free
 * to go, lower `rank[node]` first (rank may be NULL), then lower number.  Returns true; or
 * false with one cycle in cycle[0..*ret_len) (cycle has room for count nodes), each node
 * before the next and the last before the first; *ret_len is 0 if it was memory that was out.
 * Edges name nodes below count.  O((nodes + edges) log nodes). */
bool graph_order(size_t count, const struct graph_edge *edges, size_t nedges, const int *rank,
                 struct arena *scratch, size_t *order, size_t *cycle, size_t *ret_len);

#endif
