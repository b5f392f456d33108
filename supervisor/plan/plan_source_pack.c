/* plan_source_pack.c - a source as bytes: "SPL1", a CRC-32 of the rest, then the rest: counts
 * and texts with their length in front, in the order of struct plan_source, as this machine
 * writes numbers (the bytes never leave it). */
#include <string.h>

#include "base/crc32.h"
#include "supervisor/plan/plan.h"

enum { HEADER = 8, ENVIRONMENT_MAX = 1 << 20, SCALES_MAX = 1 << 20 };
static const char magic[4] = { 'S', 'P', 'L', '1' };

static void put_number(struct buf *out, uint64_t number) { buf_put(out, &number, sizeof(number)); }

static void put_bytes(struct buf *out, const char *bytes, size_t len)
{
    put_number(out, len);
    buf_put(out, bytes, len);
}

static void put_text(struct buf *out, const char *text) { put_bytes(out, text, strlen(text)); }

/* At the end and only where there are some: a version before this knows nothing of them. */
static void put_releases(const struct plan_source *source, struct buf *out)
{
    if (source->nreleases)
        put_number(out, source->nreleases);
    for (size_t i = 0; i < source->nreleases; i++) {
        const struct plan_release *release = &source->releases[i];
        put_text(out, release->service);
        put_text(out, release->id);
        put_text(out, release->path);
        put_text(out, release->problem);
        put_number(out, (uint64_t)release->pinned | (uint64_t)(release->text != NULL) << 1);
        put_bytes(out, release->text, release->text ? release->len : 0);
    }
}

bool plan_source_pack(const struct plan_source *source, struct buf *out)
{
    size_t begin = out->len, count = 0;
    uint32_t sum = 0;

    buf_put(out, magic, sizeof(magic));
    buf_put(out, &sum, sizeof(sum));
    put_text(out, source->config);
    put_text(out, source->host);
    while (source->environment && source->environment[count])
        count++;
    put_number(out, count);
    for (size_t i = 0; i < count; i++)
        put_text(out, source->environment[i]);
    put_number(out, source->nfiles);
    for (size_t i = 0; i < source->nfiles; i++) {
        put_text(out, source->files[i].path);
        put_bytes(out, source->files[i].text, source->files[i].len);
    }
    put_number(out, source->nscales);
    for (size_t i = 0; i < source->nscales; i++) {
        put_text(out, source->scales[i].service);
        put_number(out, (uint64_t)source->scales[i].count);
    }
    put_releases(source, out);
    if (out->failed)
        return false;
    sum = crc32_of(0, out->data + begin + HEADER, out->len - begin - HEADER);
    memcpy(out->data + begin + sizeof(magic), &sum, sizeof(sum));
    return true;
}

struct unpacking {
    const char *at, *end;
    struct arena *arena;
    bool bad;
};

static uint64_t get_number(struct unpacking *u, uint64_t max)
{
    uint64_t number;

    if (u->bad || (size_t)(u->end - u->at) < sizeof(number)) {
        u->bad = true;
        return 0;
    }
    memcpy(&number, u->at, sizeof(number));
    u->at += sizeof(number);
    u->bad |= number > max;
    return u->bad ? 0 : number;
}

static const char *get_bytes(struct unpacking *u, size_t *ret_len)
{
    size_t len = (size_t)get_number(u, (uint64_t)(u->end - u->at));
    char *ret = NULL;

    if (!u->bad && len <= (size_t)(u->end - u->at))
        ret = arena_alloc(u->arena, len + 1);
    if (!ret) {
        u->bad = true;
        return "";
    }
    memcpy(ret, u->at, len);
    ret[len] = '\0';
    u->at += len;
    *ret_len = len;
    return ret;
}

static const char *get_text(struct unpacking *u)
{
    size_t len = 0;
    const char *ret = get_bytes(u, &len);

    u->bad |= strlen(ret) != len;
    return ret;
}

/* `count` elements, of which each takes at least one number's bytes. */
static void *get_array(struct unpacking *u, size_t count, size_t size)
{
    void *ret = NULL;

    if (!u->bad && count <= (size_t)(u->end - u->at) / sizeof(uint64_t) + 1)
        ret = arena_array(u->arena, count, size);
    u->bad |= !ret;
    return ret;
}

static void get_releases(struct unpacking *u, struct plan_source *ret)
{
    ret->nreleases = (size_t)get_number(u, PLAN_RELEASES_MAX);
    ret->releases = get_array(u, ret->nreleases + 1, sizeof(*ret->releases));
    for (size_t i = 0; !u->bad && i < ret->nreleases; i++) {
        struct plan_release *release = &ret->releases[i];
        release->service = get_text(u);
        release->id = get_text(u);
        release->path = get_text(u);
        release->problem = get_text(u);
        uint64_t bits = get_number(u, 3);
        const char *text = get_bytes(u, &release->len);
        release->pinned = bits & 1;
        release->text = bits & 2 ? text : NULL;
    }
}

static void get_all(struct unpacking *u, struct plan_source *ret)
{
    ret->config = get_text(u);
    ret->host = get_text(u);
    size_t count = (size_t)get_number(u, ENVIRONMENT_MAX);
    ret->environment = get_array(u, count + 1, sizeof(*ret->environment));
    for (size_t i = 0; !u->bad && i < count; i++)
        ret->environment[i] = get_text(u);
    ret->nfiles = (size_t)get_number(u, PLAN_FILES_MAX);
    ret->files = get_array(u, ret->nfiles + 1, sizeof(*ret->files));
    for (size_t i = 0; !u->bad && i < ret->nfiles; i++) {
        ret->files[i].path = get_text(u);
        ret->files[i].text = get_bytes(u, &ret->files[i].len);
    }
    ret->nscales = (size_t)get_number(u, SCALES_MAX);
    ret->scales = get_array(u, ret->nscales + 1, sizeof(*ret->scales));
    for (size_t i = 0; !u->bad && i < ret->nscales; i++) {
        ret->scales[i].service = get_text(u);
        ret->scales[i].count = (int64_t)get_number(u, UINT64_MAX);
    }
    if (!u->bad && u->at != u->end)
        get_releases(u, ret);
    u->bad |= u->at != u->end;
}

int plan_source_unpack(const char *bytes, size_t len, struct plan_source *ret, struct err *err)
{
    struct unpacking u = { .end = bytes + len, .arena = &ret->arena };
    uint32_t sum;

    *ret = (struct plan_source){ 0 };
    arena_init(&ret->arena);
    if (len < HEADER || memcmp(bytes, magic, sizeof(magic)) != 0)
        return err_set(err, ERR_CORRUPT, "the loaded plan is not one of this version");
    memcpy(&sum, bytes + sizeof(magic), sizeof(sum));
    if (sum != crc32_of(0, bytes + HEADER, len - HEADER))
        return err_set(err, ERR_CORRUPT, "the loaded plan has a wrong checksum");
    u.at = bytes + HEADER;
    get_all(&u, ret);
    if (!u.bad)
        return 0;
    bool no_memory = ret->arena.failed;
    plan_source_free(ret);
    if (no_memory)
        return err_set(err, ERR_MEMORY, "out of memory");
    return err_set(err, ERR_CORRUPT, "the loaded plan is cut short or damaged");
}
