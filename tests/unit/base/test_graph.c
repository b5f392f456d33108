/* test_graph.c - orders are right for every small graph, and a cycle that is named is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/graph.h"

enum { NODES = 4, PAIRS = NODES * NODES };

static void lower_rank_then_number_goes_first(void **unused)
{
    const struct graph_edge edges[] = { { 3, 0 }, { 2, 1 }, { 3, 0 } };
    const int rank[] = { 5, 0, 9, 1, 1 };
    size_t order[5], cycle[5], len;
    struct arena scratch;

    (void)unused;
    arena_init(&scratch);
    assert_true(graph_order(5, edges, 3, NULL, &scratch, order, cycle, &len));
    assert_memory_equal(order, ((size_t[]){ 2, 1, 3, 0, 4 }), sizeof(order));
    assert_true(graph_order(5, edges, 3, rank, &scratch, order, cycle, &len));
    assert_memory_equal(order, ((size_t[]){ 3, 4, 0, 2, 1 }), sizeof(order));
    assert_true(graph_order(0, NULL, 0, NULL, &scratch, order, cycle, &len));
    arena_done(&scratch);
}

/* Enough free nodes at once for a heap of several levels. */
static void ranks_are_sorted(void **unused)
{
    enum { COUNT = 500 };
    size_t order[COUNT], cycle[COUNT], len;
    int rank[COUNT];
    struct arena scratch;

    (void)unused;
    arena_init(&scratch);
    for (size_t i = 0; i < COUNT; i++)
        rank[i] = (int)(i * 7919 % 97) - 40;
    assert_true(graph_order(COUNT, NULL, 0, rank, &scratch, order, cycle, &len));
    for (size_t i = 1; i < COUNT; i++) {
        size_t a = order[i - 1], b = order[i];
        assert_true(rank[a] < rank[b] || (rank[a] == rank[b] && a < b));
    }
    arena_done(&scratch);
}

static bool has_edge(const struct graph_edge *edges, size_t nedges, size_t before, size_t after)
{
    for (size_t i = 0; i < nedges; i++)
        if (edges[i].before == before && edges[i].after == after)
            return true;
    return false;
}

static void check_order(const struct graph_edge *edges, size_t nedges, const size_t *order)
{
    size_t place[NODES] = { 0 };
    unsigned seen = 0;

    for (size_t i = 0; i < NODES; i++) {
        place[order[i]] = i;
        seen |= 1u << order[i];
    }
    assert_int_equal(seen, (1u << NODES) - 1);
    for (size_t i = 0; i < nedges; i++)
        assert_true(place[edges[i].before] < place[edges[i].after]);
}

static void check_cycle(const struct graph_edge *edges, size_t nedges, const size_t *cycle,
                        size_t len)
{
    unsigned seen = 0;

    assert_true(len > 0 && len <= NODES);
    for (size_t i = 0; i < len; i++) {
        assert_false(seen & 1u << cycle[i]);
        seen |= 1u << cycle[i];
        assert_true(has_edge(edges, nedges, cycle[i], cycle[(i + 1) % len]));
        assert_true(cycle[0] <= cycle[i]);
    }
}

/* All 65536 graphs of four nodes, edges to oneself included. */
static void every_small_graph(void **unused)
{
    size_t cyclic = 0;

    (void)unused;
    for (unsigned graph = 0; graph < 1u << PAIRS; graph++) {
        struct graph_edge edges[PAIRS];
        size_t nedges = 0, order[NODES], cycle[NODES], len = 99;
        struct arena scratch;
        for (size_t pair = 0; pair < PAIRS; pair++)
            if (graph & 1u << pair)
                edges[nedges++] = (struct graph_edge){ pair / NODES, pair % NODES };
        arena_init(&scratch);
        if (graph_order(NODES, edges, nedges, NULL, &scratch, order, cycle, &len)) {
            check_order(edges, nedges, order);
        } else {
            check_cycle(edges, nedges, cycle, len);
            cyclic++;
        }
        arena_done(&scratch);
    }
    /* 543 of the graphs with four numbered nodes have no cycle (OEIS A003024). */
    assert_int_equal(cyclic, (1u << PAIRS) - 543);
}

static void large_graphs_are_quick(void **unused)
{
    enum { COUNT = 20000 };
    static struct graph_edge edges[COUNT * 2];
    static size_t order[COUNT], cycle[COUNT];
    struct arena scratch;
    size_t len, nedges = 0;

    (void)unused;
    arena_init(&scratch);
    for (size_t i = 1; i < COUNT; i++) {
        edges[nedges++] = (struct graph_edge){ i, i - 1 };
        edges[nedges++] = (struct graph_edge){ COUNT - 1, i - 1 };
    }
    assert_true(graph_order(COUNT, edges, nedges, NULL, &scratch, order, cycle, &len));
    assert_int_equal(order[0], COUNT - 1);
    assert_int_equal(order[COUNT - 1], 0);
    edges[nedges++] = (struct graph_edge){ 0, COUNT - 1 };
    assert_false(graph_order(COUNT, edges, nedges, NULL, &scratch, order, cycle, &len));
    assert_true(len >= 2 && cycle[0] == 0);
    arena_done(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lower_rank_then_number_goes_first),
        cmocka_unit_test(ranks_are_sorted),
        cmocka_unit_test(every_small_graph),
        cmocka_unit_test(large_graphs_are_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
