/* fuzz_delta.c - programs of a strange deployctl, and sums of a strange agent. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "deployctl/plan/chunker.h"
#include "deployctl/plan/delta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct counts {
    size_t bytes, fed;
};

static int on_bytes(void *context, const void *data, size_t len, struct err *err)
{
    struct counts *counts = context;
    (void)data, (void)err;
    counts->bytes += len;
    if (len == 0 || counts->bytes > counts->fed)
        abort();
    return 0;
}

static int on_copy(void *context, uint64_t index, uint64_t count, struct err *err)
{
    (void)context, (void)err;
    if (count == 0 || index > DELTA_INDEX_MAX || count > DELTA_INDEX_MAX)
        abort();
    return 0;
}

static void read_program(const uint8_t *data, size_t size, size_t piece, int *ret_rc)
{
    static const struct delta_sink sink = { on_bytes, on_copy };
    struct delta_reader reader = { 0 };
    struct counts counts = { .fed = size };
    struct err err;
    *ret_rc = 0;
    for (size_t at = 0; *ret_rc == 0 && at < size; at += piece)
        *ret_rc = delta_read(&reader, data + at, size - at < piece ? size - at : piece, &sink,
                             &counts, &err);
}

static void read_sums(const uint8_t *data, size_t size)
{
    struct delta_list list = { 0 };
    struct buf back;
    char *text = strndup((const char *)data, size);
    buf_init(&back, size + 1);
    if (delta_list_parse(text, 100, &list, NULL) == 0) {
        struct delta_index index;
        int64_t match[100];
        delta_list_text(&list, &back);
        if (strcmp(buf_text(&back), text) != 0 || delta_index_init(&index, &list, NULL) != 0)
            abort();
        delta_match(&list, &index, match);
        delta_index_done(&index);
    }
    delta_list_done(&list);
    buf_done(&back);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chunker chunker;
    int whole, pieces;
    bool cut;
    read_program(data, size, size + 1, &whole);
    read_program(data, size, 1, &pieces);
    if (whole != pieces)
        abort();
    read_sums(data, size);
    chunker_init(&chunker, CHUNKER_AVERAGE_MIN);
    for (size_t at = 0, used; at < size; at += used)
        if ((used = chunker_feed(&chunker, data + at, size - at, &cut)) == 0 || used > size - at)
            abort();
    return 0;
}
