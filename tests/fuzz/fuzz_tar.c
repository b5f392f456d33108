/* fuzz_tar.c - any bytes as an archive: names stay inside, contents are as long as announced, and
 * how the bytes are cut into pieces makes no difference.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32.h"
#include "deployctl/plan/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint32_t sum;
    uint64_t left;
    bool open;
};

static void require(int fact)
{
    if (!fact)
        abort();
}

static void check_path(const char *path)
{
    require(*path && *path != '/' && path[strlen(path) - 1] != '/');
    require(strlen(path) <= TAR_NAME_MAX);
    for (const char *at = path; *at;) {
        size_t len = strcspn(at, "/");
        require(len > 0 && !(len == 1 && at[0] == '.'));
        require(!(len == 2 && at[0] == '.' && at[1] == '.'));
        at += len + (at[len] == '/');
    }
}

static int on_entry(void *context, const struct tar_entry *entry, struct err *err)
{
    struct seen *seen = context;
    (void)err;
    require(!seen->open);
    check_path(entry->path);
    if (entry->kind == TAR_HARD_LINK && *entry->target)
        check_path(entry->target);
    seen->open = entry->kind == TAR_FILE;
    seen->left = entry->size;
    seen->sum = crc32_of(seen->sum, entry->path, strlen(entry->path));
    return 0;
}

static int on_data(void *context, const void *data, size_t len, struct err *err)
{
    struct seen *seen = context;
    (void)err;
    require(seen->open && len <= seen->left);
    seen->left -= len;
    seen->sum = crc32_of(seen->sum, data, len);
    return 0;
}

static int on_end(void *context, struct err *err)
{
    struct seen *seen = context;
    (void)err;
    require(seen->open && seen->left == 0);
    seen->open = false;
    return 0;
}

static int read_all(const uint8_t *data, size_t size, size_t piece, struct seen *seen)
{
    static const struct tar_events events = { on_entry, on_data, on_end };
    struct tar tar;
    struct err err;
    int rc = 0;
    tar_init(&tar, &events, seen);
    for (size_t at = 0; rc == 0 && at < size; at += piece)
        rc = tar_add(&tar, data + at, size - at < piece ? size - at : piece, &err);
    if (rc == 0)
        rc = tar_finish(&tar, &err);
    tar_done(&tar);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole = { 0 }, cut = { 0 };
    int rc = read_all(data, size, size ? size : 1, &whole);
    require(read_all(data, size, 1 + size % 700, &cut) == rc);
    require(rc != 0 || (whole.sum == cut.sum && !whole.open));
    return 0;
}
