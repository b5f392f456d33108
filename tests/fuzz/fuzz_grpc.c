/* fuzz_grpc.c - whatever a server sends, in one piece or byte by byte, gets the same verdict. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/health/grpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int fact)
{
    if (!fact)
        abort();
}

static enum grpc_verdict run(const uint8_t *data, size_t size, size_t piece,
                             char text[GRPC_TEXT_MAX])
{
    enum grpc_verdict verdict = GRPC_MORE;
    struct grpc grpc;
    struct buf out;

    buf_init(&out, 4096);
    grpc_begin(&grpc, "localhost:50051", "web", &out);
    buf_clear(&out);
    for (size_t at = 0; at < size && verdict == GRPC_MORE; at += piece)
        verdict = grpc_feed(&grpc, data + at, size - at < piece ? size - at : piece, &out, text);
    grpc_done(&grpc);
    buf_done(&out);
    return verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char whole[GRPC_TEXT_MAX] = "", pieces[GRPC_TEXT_MAX] = "";

    enum grpc_verdict verdict = run(data, size, size + 1, whole);
    require(strnlen(whole, sizeof whole) < sizeof whole);
    require((verdict == GRPC_MORE) == (whole[0] == '\0'));
    /* All at once may answer more frames than fit before it comes to the verdict. */
    if (size < 2048) {
        require(run(data, size, 1, pieces) == verdict);
        require(strcmp(whole, pieces) == 0);
    }
    return 0;
}
