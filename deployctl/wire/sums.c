/* sums.c - the contract is in sums.h. */
#include "deployctl/wire/sums.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/auto.h"
#include "deployctl/plan/chunker.h"

enum { READ_BYTES = 256 * 1024 };

struct summing {
    struct chunker chunker;
    struct digest *digest;
    uint64_t len; /* of the present chunk */
    size_t max;
    struct delta_list *list;
};

static int end_chunk(struct summing *s, struct err *err)
{
    unsigned char digest[MANIFEST_DIGEST_BYTES];
    int rc = digest_end(s->digest, digest, err);
    if (rc == 0)
        rc = delta_list_add(s->list, digest, s->len, s->max, err);
    s->len = 0;
    digest_begin(s->digest);
    return rc;
}

static int add(struct summing *s, const unsigned char *data, size_t len, struct err *err)
{
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < len;) {
        bool cut;
        size_t used = chunker_feed(&s->chunker, data + at, len - at, &cut);
        digest_add(s->digest, data + at, used);
        s->len += used;
        at += used;
        if (cut)
            rc = end_chunk(s, err);
    }
    return rc;
}

int sums_of(int fd, uint64_t offset, uint64_t len, uint64_t average, size_t max,
            struct digest *digest, struct delta_list *ret, struct err *err)
{
    struct summing s = { .digest = digest, .max = max, .list = ret };
    AUTO_FREE unsigned char *space = malloc(len < READ_BYTES ? (size_t)len + 1 : READ_BYTES);
    if (space == NULL)
        return err_set(err, ERR_MEMORY, "no memory to read chunks");
    int rc = 0;
    chunker_init(&s.chunker, average);
    digest_begin(digest);
    while (rc == 0 && len > 0) {
        ssize_t n = pread(fd, space, len < READ_BYTES ? (size_t)len : READ_BYTES, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, errno, "reading chunks");
        if (n == 0)
            break;
        rc = add(&s, space, (size_t)n, err);
        offset += (uint64_t)n;
        len -= (uint64_t)n;
    }
    return rc == 0 && s.len > 0 ? end_chunk(&s, err) : rc;
}
