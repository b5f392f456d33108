#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/heap.h"

enum { NODES = 200, STEPS = 20000 };

static void check(const struct heap *heap, const struct heap_node *nodes)
{
    const struct heap_node *least = NULL;
    size_t count = 0;

    for (size_t i = 0; i < NODES; i++) {
        if (nodes[i].place == 0)
            continue;
        count++;
        assert_ptr_equal(heap->nodes[nodes[i].place - 1], &nodes[i]);
        least = !least || nodes[i].key < least->key ? &nodes[i] : least;
    }
    assert_int_equal(count, heap->count);
    const struct heap_node *first = heap_first(heap);
    assert_true(!first == !least);
    if (first)
        assert_int_equal(first->key, least->key);
}

/* The least is always first, whatever is added, moved and taken out. */
static void the_least_comes_first(void **unused)
{
    struct heap_node nodes[NODES] = { 0 };
    struct heap heap = { 0 };
    uint64_t random = 88172645463325252ULL;

    (void)unused;
    assert_true(heap_reserve(&heap, NODES));
    check(&heap, nodes);
    for (int i = 0; i < STEPS; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        struct heap_node *node = &nodes[random % NODES];
        if (random >> 32 & 1)
            heap_set(&heap, node, (int64_t)(random >> 40) - 1000);
        else
            heap_remove(&heap, node);
        check(&heap, nodes);
    }
    int64_t before = INT64_MIN;
    while (heap_first(&heap)) {
        assert_true(heap_first(&heap)->key >= before);
        before = heap_first(&heap)->key;
        heap_remove(&heap, heap_first(&heap));
    }
    heap_done(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_least_comes_first) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
