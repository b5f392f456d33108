/* squeeze.c - the contract is in squeeze.h. */
#include "deployctl/wire/squeeze.h"

#include <stdlib.h>
#include <zstd.h>

struct squeeze {
    ZSTD_CCtx *context;
};
struct unsqueeze {
    ZSTD_DCtx *context;
    uint64_t left; /* bytes that may still come out */
    bool ended;
    size_t room; /* of the chunk behind */
    char chunk[];
};

struct squeeze *squeeze_new(struct err *err)
{
    struct squeeze *squeeze = calloc(1, sizeof *squeeze);
    if (squeeze != NULL && (squeeze->context = ZSTD_createCCtx()) == NULL) {
        free(squeeze);
        squeeze = NULL;
    }
    if (squeeze == NULL) {
        err_set(err, ERR_MEMORY, "no memory to compress");
        return NULL;
    }
    ZSTD_CCtx_setParameter(squeeze->context, ZSTD_c_compressionLevel, SQUEEZE_LEVEL);
    return squeeze;
}

void squeeze_free(struct squeeze *squeeze)
{
    if (squeeze == NULL)
        return;
    ZSTD_freeCCtx(squeeze->context);
    free(squeeze);
}

void squeeze_begin(struct squeeze *squeeze)
{
    ZSTD_CCtx_reset(squeeze->context, ZSTD_reset_session_only);
}

int squeeze_add(struct squeeze *squeeze, const void *data, size_t len, bool last, struct buf *out,
                struct err *err)
{
    ZSTD_inBuffer in = { data, len, 0 };
    size_t step = ZSTD_CStreamOutSize(), left;
    do {
        if (!buf_reserve(out, step))
            return err_set(err, ERR_LIMIT, "no room for %zu more compressed bytes", step);
        ZSTD_outBuffer to = { out->data + out->len, step, 0 };
        left =
            ZSTD_compressStream2(squeeze->context, &to, &in, last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return err_set(err, ERR_SYSTEM, "compressing: %s", ZSTD_getErrorName(left));
        out->len += to.pos;
        out->data[out->len] = '\0';
    } while (last ? left != 0 : in.pos < in.size);
    return 0;
}

struct unsqueeze *unsqueeze_new(struct err *err)
{
    size_t room = ZSTD_DStreamOutSize();
    struct unsqueeze *unsqueeze = calloc(1, sizeof *unsqueeze + room);
    if (unsqueeze != NULL && (unsqueeze->context = ZSTD_createDCtx()) == NULL) {
        free(unsqueeze);
        unsqueeze = NULL;
    }
    if (unsqueeze == NULL) {
        err_set(err, ERR_MEMORY, "no memory to decompress");
        return NULL;
    }
    unsqueeze->room = room;
    ZSTD_DCtx_setParameter(unsqueeze->context, ZSTD_d_windowLogMax, SQUEEZE_WINDOW_LOG_MAX);
    return unsqueeze;
}

void unsqueeze_free(struct unsqueeze *unsqueeze)
{
    if (unsqueeze == NULL)
        return;
    ZSTD_freeDCtx(unsqueeze->context);
    free(unsqueeze);
}

void unsqueeze_begin(struct unsqueeze *unsqueeze, uint64_t max)
{
    ZSTD_DCtx_reset(unsqueeze->context, ZSTD_reset_session_only);
    unsqueeze->left = max;
    unsqueeze->ended = false;
}

int unsqueeze_add(struct unsqueeze *unsqueeze, const void *data, size_t len, unsqueeze_sink *sink,
                  void *context, bool *ret_ended, struct err *err)
{
    ZSTD_inBuffer in = { data, len, 0 };
    bool full = false; /* the chunk was filled: more may wait inside zstd */
    while (in.pos < in.size || full) {
        if (unsqueeze->ended)
            return err_set(err, ERR_CORRUPT, "bytes behind the end of a compressed content");
        ZSTD_outBuffer out = { unsqueeze->chunk, unsqueeze->room, 0 };
        size_t hint = ZSTD_decompressStream(unsqueeze->context, &out, &in);
        if (ZSTD_isError(hint))
            return err_set(err, ERR_CORRUPT, "compressed data is damaged: %s",
                           ZSTD_getErrorName(hint));
        if (out.pos > unsqueeze->left)
            return err_set(err, ERR_LIMIT,
                           "more bytes come out of a compressed content than were "
                           "announced");
        unsqueeze->left -= out.pos;
        int rc = out.pos > 0 ? sink(context, unsqueeze->chunk, out.pos, err) : 0;
        if (rc < 0)
            return rc;
        unsqueeze->ended = hint == 0;
        full = out.pos == out.size && !unsqueeze->ended;
    }
    *ret_ended = unsqueeze->ended;
    return 0;
}

int squeeze_all(const void *data, size_t len, struct buf *out, struct err *err)
{
    struct squeeze *squeeze = squeeze_new(err);
    if (squeeze == NULL)
        return ERR_MEMORY;
    squeeze_begin(squeeze);
    int rc = squeeze_add(squeeze, data, len, true, out, err);
    squeeze_free(squeeze);
    return rc;
}

static int put_in_buf(void *context, const void *data, size_t len, struct err *err)
{
    struct buf *out = context;
    buf_put(out, data, len);
    return out->failed ? err_set(err, ERR_LIMIT, "more than %zu bytes come out", out->max) : 0;
}

int unsqueeze_all(const void *data, size_t len, struct buf *out, struct err *err)
{
    struct unsqueeze *unsqueeze = unsqueeze_new(err);
    if (unsqueeze == NULL)
        return ERR_MEMORY;
    bool ended = false;
    unsqueeze_begin(unsqueeze, UINT64_MAX);
    int rc = unsqueeze_add(unsqueeze, data, len, put_in_buf, out, &ended, err);
    if (rc == 0 && !ended)
        rc = err_set(err, ERR_CORRUPT, "compressed data is cut off");
    unsqueeze_free(unsqueeze);
    return rc;
}
