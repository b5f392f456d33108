/* pin.c - the contract is in pin.h. */
#include "supervisor/release/pin.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/buf.h"
#include "base/crc32.h"
#include "io/durable.h"
#include "io/jsonx.h"

enum { PIN_VERSION = 1 };

/* clang-format off */
#define FIELD(name) offsetof(struct release_pin, name), sizeof(((struct release_pin *)0)->name)
static const struct {
    const char *key;
    size_t at, size;
    bool is_id;
} texts[] = {
    { "id",          FIELD(id),          true },
    { "from",        FIELD(from),        true },
    { "undone",      FIELD(undone),      true },
    { "token",       FIELD(token),       false },
    { "reason",      FIELD(reason),      false },
    { "last_id",     FIELD(last.id),     true },
    { "last_from",   FIELD(last.from),   true },
    { "last_token",  FIELD(last.token),  false },
    { "last_reason", FIELD(last.reason), false },
};
static const struct {
    const char *key;
    size_t at;
} numbers[] = {
    { "epoch",       offsetof(struct release_pin, epoch) },
    { "lease_ms",    offsetof(struct release_pin, lease_ms) },
    { "ready_ms",    offsetof(struct release_pin, ready_ms) },
    { "deadline_ms", offsetof(struct release_pin, deadline_ms) },
}, flags[] = {
    { "undoable", offsetof(struct release_pin, undoable) },
    { "stay",     offsetof(struct release_pin, stay) },
    { "again",    offsetof(struct release_pin, again) },
};
#undef FIELD
/* clang-format on */
#define COUNT(table) (sizeof(table) / sizeof *(table))

void pin_name(const char *path, char name[static PIN_NAME_MAX])
{
    const char *slash = strrchr(path, '/');
    char word[33];
    size_t len = 0;

    for (const char *c = slash ? slash + 1 : path; *c && len < sizeof word - 1; c++)
        word[len++] = isalnum((unsigned char)*c) || *c == '-' || *c == '_' ? *c : '_';
    word[len] = '\0';
    snprintf(name, PIN_NAME_MAX, "release-%s-%08x.json", word, crc32_of(0, path, strlen(path)));
}

static json_t *to_json(const char *path, const struct pin *pin)
{
    const struct release_pin *release = &pin->release;
    json_t *object = json_object(), *good = json_array();
    int bad = jsonx_set_int(object, "version", PIN_VERSION);

    bad |= jsonx_set_int(object, "sequence", (int64_t)pin->sequence);
    bad |= jsonx_set_text(object, "path", path);
    bad |= jsonx_set_text(object, "boot", pin->boot_id);
    bad |= jsonx_set_text(object, "phase", release_phase_name(release->phase));
    bad |= jsonx_set_text(object, "last_result", release_result_name(release->last.result));
    for (size_t i = 0; i < COUNT(texts); i++)
        bad |= jsonx_set_text(object, texts[i].key, (const char *)release + texts[i].at);
    for (size_t i = 0; i < COUNT(numbers); i++)
        bad |=
            jsonx_set_int(object, numbers[i].key,
                          *(const int64_t *)(const void *)((const char *)release + numbers[i].at));
    for (size_t i = 0; i < COUNT(flags); i++)
        bad |= jsonx_set_bool(object, flags[i].key,
                              *(const bool *)((const char *)release + flags[i].at));
    for (size_t i = 0; i < release->ngood; i++)
        bad |= json_array_append_new(good, json_string(release->good[i]));
    bad |= json_object_set_new(object, "good", good);
    if (bad) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static bool checksum(const json_t *object, char text[static 9])
{
    struct buf buf;

    buf_init(&buf, PIN_BYTES_MAX);
    bool fine = jsonx_put(object, &buf);
    snprintf(text, 9, "%08x", crc32_of(0, buf_text(&buf), buf.len));
    buf_done(&buf);
    return fine;
}

char *pin_text(const char *path, const struct pin *pin)
{
    json_t *object = to_json(path, pin), *whole = json_object();
    char crc[9], *text = NULL;
    struct buf buf;

    buf_init(&buf, PIN_BYTES_MAX);
    if (object && checksum(object, crc) && jsonx_set_text(whole, "crc32", crc) == 0 &&
        json_object_set(whole, "pin", object) == 0 && jsonx_put(whole, &buf)) {
        buf_putc(&buf, '\n');
        text = buf.failed ? NULL : buf_take(&buf);
    }
    buf_done(&buf);
    json_decref(whole);
    json_decref(object);
    return text;
}

static bool get_id(const json_t *value, char *to)
{
    const char *text = json_string_value(value);

    if (!text || (text[0] && !release_id_valid(text)))
        return false;
    snprintf(to, RELEASE_ID_MAX, "%s", text);
    return true;
}

static bool get_texts(const json_t *object, struct release_pin *release)
{
    for (size_t i = 0; i < COUNT(texts); i++) {
        const json_t *value = json_object_get(object, texts[i].key);
        char *to = (char *)release + texts[i].at;
        const char *text = json_string_value(value);

        if (!text || (texts[i].is_id && !get_id(value, to)))
            return false;
        /* A reason may have grown: bytes that were no UTF-8 became three. */
        snprintf(to, texts[i].size, "%s", text);
    }
    return true;
}

static bool get_numbers(const json_t *object, struct release_pin *release)
{
    for (size_t i = 0; i < COUNT(numbers); i++) {
        const json_t *value = json_object_get(object, numbers[i].key);
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            return false;
        *(int64_t *)(void *)((char *)release + numbers[i].at) = json_integer_value(value);
    }
    for (size_t i = 0; i < COUNT(flags); i++) {
        const json_t *value = json_object_get(object, flags[i].key);
        if (!json_is_boolean(value))
            return false;
        *(bool *)((char *)release + flags[i].at) = json_is_true(value);
    }
    return true;
}

static bool get_good(const json_t *object, struct release_pin *release)
{
    const json_t *good = json_object_get(object, "good");
    size_t count = json_array_size(good);

    if (!json_is_array(good) || count > RELEASE_GOOD_MAX)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!get_id(json_array_get(good, i), release->good[i]) || !release->good[i][0])
            return false;
    release->ngood = count;
    return true;
}

static bool get_words(const json_t *object, struct release_pin *release)
{
    const char *phase = jsonx_text(object, "phase", ""), *last;
    int found = -1, result = -1;

    last = jsonx_text(object, "last_result", "");
    for (int i = 0; i < RELEASE_NPHASES; i++)
        if (strcmp(phase, release_phase_name((enum release_phase)i)) == 0)
            found = i;
    for (int i = 0; i < RELEASE_NRESULTS; i++)
        if (strcmp(last, release_result_name((enum release_result)i)) == 0)
            result = i;
    if (found < 0 || result < 0)
        return false;
    release->phase = (enum release_phase)found;
    release->last.result = (enum release_result)result;
    /* Only an undone first release may have no id. */
    return release->id[0] || found == RELEASE_NONE || found == RELEASE_REVERTING;
}

/* As the path was written: what is no UTF-8 in it was replaced. */
static bool is_about(const json_t *object, const char *path)
{
    json_t *same = json_object();
    bool about = jsonx_set_text(same, "path", path) == 0 &&
                 json_equal(json_object_get(object, "path"), json_object_get(same, "path"));

    json_decref(same);
    return about;
}

static int from_json(const json_t *object, const char *path, struct pin *ret, struct err *err)
{
    int64_t version = jsonx_int(object, "version", 0), sequence = jsonx_int(object, "sequence", -1);
    struct pin pin = { .sequence = (uint64_t)sequence };

    if (version != PIN_VERSION)
        return err_set(err, ERR_CORRUPT, "its version is %lld, this supervisor reads %d",
                       (long long)version, PIN_VERSION);
    if (!is_about(object, path))
        return err_set(err, ERR_CORRUPT, "it is about %s", jsonx_text(object, "path", "nothing"));
    snprintf(pin.boot_id, sizeof pin.boot_id, "%s", jsonx_text(object, "boot", ""));
    if (sequence < 0 || !get_texts(object, &pin.release) || !get_numbers(object, &pin.release) ||
        !get_good(object, &pin.release) || !get_words(object, &pin.release))
        return err_set(err, ERR_CORRUPT, "a value in it is missing or impossible");
    *ret = pin;
    return 0;
}

int pin_parse(const char *text, size_t len, const char *path, struct pin *ret, struct err *err)
{
    char crc[9];
    json_t *whole = jsonx_parse(text, len, err);

    if (!whole) {
        struct err why = *err;
        return err_set(err, ERR_CORRUPT, "%s", why.text);
    }
    const json_t *object = json_object_get(whole, "pin");
    int rc;
    if (!json_is_object(object) || !checksum(object, crc))
        rc = err_set(err, ERR_CORRUPT, "there is no pin in it");
    else if (strcmp(jsonx_text(whole, "crc32", ""), crc) != 0)
        rc = err_set(err, ERR_CORRUPT, "its checksum does not fit");
    else
        rc = from_json(object, path, ret, err);
    json_decref(whole);
    return rc;
}

static int open_state_dir(const char *state_dir, struct err *err)
{
    struct stat st;
    int rc = durable_make_dirs(state_dir, 0700, err);

    if (rc < 0)
        return err_wrap(err, "state_dir");
    AUTO_CLOSE int fd = durable_open_trusted(state_dir, geteuid(), err);
    if (fd < 0)
        return err_wrap(err, "state_dir");
    if (fstat(fd, &st) < 0)
        return err_sys(err, errno, "state_dir %s", state_dir);
    if ((st.st_uid != geteuid() && st.st_uid != 0) || (st.st_mode & 022))
        return err_set(err, ERR_DENIED,
                       "state_dir %s may be written by others: it should be owned by uid %u "
                       "with mode 0700",
                       state_dir, (unsigned)geteuid());
    if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) < 0)
        return err_sys(err, errno, "state_dir %s cannot be written", state_dir);
    return take_fd(&fd);
}

/* Keeps what is open when it cannot be opened again. */
static int reopen(struct pin_place *place, struct err *err)
{
    int fd = place->state_dir ? open_state_dir(place->state_dir, err)
                              : err_set(err, ERR_MEMORY, "no memory for state_dir");

    if (fd < 0)
        return fd;
    if (place->dirfd >= 0)
        close(place->dirfd);
    place->dirfd = fd;
    return 0;
}

void pin_place_open(struct pin_place *place, const char *state_dir)
{
    pin_place_close(place);
    place->state_dir = strdup(state_dir);
    place->why = (struct err){ .code = ERR_NONE };
    reopen(place, &place->why);
}

void pin_place_close(struct pin_place *place)
{
    if (place->dirfd >= 0)
        close(place->dirfd);
    place->dirfd = -1;
    free(place->state_dir);
    place->state_dir = NULL;
}

static int write_both(int dirfd, const char *name, const char *text, struct err *err)
{
    char copy[PIN_NAME_MAX + 8];
    struct err ignored;
    int rc = durable_write(dirfd, name, text, strlen(text), 0600, err);

    if (rc < 0)
        return rc;
    /* The first one is whole and counts; without the second only a spare is missing. */
    snprintf(copy, sizeof copy, "%s.copy", name);
    durable_write(dirfd, copy, text, strlen(text), 0600, &ignored);
    return 0;
}

/* Once more with the folder opened anew: it may have been removed, or be writable by now. */
static int write_somehow(struct pin_place *place, const char *name, const char *text,
                         struct err *err)
{
    struct err again;

    if (place->dirfd >= 0 && write_both(place->dirfd, name, text, err) == 0)
        return 0;
    if (reopen(place, &again) == 0)
        return write_both(place->dirfd, name, text, err);
    if (place->dirfd < 0)
        *err = place->why = again;
    return err->code;
}

int pin_save(struct pin_place *place, const char *path, struct pin *pin, enum pin_saved *ret_saved,
             struct err *err)
{
    char name[PIN_NAME_MAX];

    pin_name(path, name);
    pin->sequence++;
    *ret_saved = PIN_LOST;
    AUTO_FREE char *text = pin_text(path, pin);
    if (!text)
        return err_set(err, ERR_MEMORY, "no memory to write the pin of %s", path);
    if (write_somehow(place, name, text, err) == 0) {
        *ret_saved = PIN_DURABLE;
        return 0;
    }
    if (place->remember && place->remember(place->context, name, text) == 0)
        *ret_saved = PIN_KEPT;
    return err_wrap(err, "writing the pin of %s", path);
}

/* The newest whole one of those offered so far. */
struct search {
    const char *path;
    struct pin *best;
    bool found;
    struct err *damage;
};

static void offer(struct search *search, const char *name, const char *text, size_t len)
{
    struct pin pin = { .sequence = 0 };
    struct err why;

    if (pin_parse(text, len, search->path, &pin, &why) < 0) {
        if (search->damage->code == ERR_NONE)
            err_set(search->damage, ERR_CORRUPT, "%s: %s", name, why.text);
    } else if (!search->found || pin.sequence > search->best->sequence) {
        *search->best = pin;
        search->found = true;
    }
}

static void offer_file(struct search *search, int dirfd, const char *name)
{
    struct buf buf;

    buf_init(&buf, PIN_BYTES_MAX);
    int rc = buf_read_file(&buf, dirfd, name);
    if (rc == 0)
        offer(search, name, buf_text(&buf), buf.len);
    else if (rc != -ENOENT && search->damage->code == ERR_NONE)
        err_set(search->damage, ERR_CORRUPT, "%s: %s", name, strerror(-rc));
    buf_done(&buf);
}

int pin_load(const struct pin_place *place, const char *path, struct pin *ret, struct err *damage,
             struct err *err)
{
    char name[PIN_NAME_MAX], copy[PIN_NAME_MAX + 8];
    struct pin best = { .sequence = 0 };
    struct search search = { .path = path, .best = &best, .damage = damage };

    *damage = (struct err){ .code = ERR_NONE };
    pin_name(path, name);
    snprintf(copy, sizeof copy, "%s.copy", name);
    if (place->dirfd >= 0) {
        offer_file(&search, place->dirfd, name);
        offer_file(&search, place->dirfd, copy);
    }
    const char *text = place->recall ? place->recall(place->context, name) : NULL;
    if (text)
        offer(&search, name, text, strlen(text));
    if (search.found) {
        *ret = best;
        return 0;
    }
    if (damage->code == ERR_NONE)
        return err_set(err, ERR_NOT_FOUND, "nothing was ever pinned for %s", path);
    return err_set(err, ERR_CORRUPT, "the pin of %s is damaged (%s)", path, damage->text);
}

int pin_open_set(const char *path, uid_t owner, struct err *err)
{
    int fd = durable_open_trusted(path, owner, err);

    return fd < 0 ? err_wrap(err, "release folder %s", path) : fd;
}

int pin_open_release(int set_fd, const char *path, const char *id, struct err *err)
{
    char name[RELEASE_ID_MAX + 16];

    if (!release_id_valid(id))
        return err_set(err, ERR_INVALID, "\"%s\" is not a release (like 000123-9f3ac1d2)", id);
    snprintf(name, sizeof name, "releases/%s", id);
    int fd = durable_open_beneath(set_fd, name, O_PATH | O_DIRECTORY, 0);
    if (fd == -ENOENT)
        return err_set(err, ERR_NOT_FOUND, "release %s is not in %s/releases", id, path);
    if (fd == -ELOOP || fd == -ENOTDIR || fd == -EXDEV)
        return err_set(err, ERR_STATE, "%s/%s must be a folder, not a link or file", path, name);
    return fd < 0 ? err_sys(err, -fd, "opening %s/%s", path, name) : fd;
}

static const char *const links[] = { "current", "previous" };

int pin_check_links(int set_fd, const char *path, struct err *err)
{
    struct stat st;

    for (size_t i = 0; i < COUNT(links); i++)
        if (fstatat(set_fd, links[i], &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISLNK(st.st_mode))
            return err_set(err, ERR_STATE,
                           "%s/%s is a %s, it must be a link or not there: move it away "
                           "(mv %s/%s %s/%s.old)",
                           path, links[i], S_ISDIR(st.st_mode) ? "folder" : "file", path, links[i],
                           path, links[i]);
    return 0;
}

static int write_link(int set_fd, const char *name, const char *id, struct err *err)
{
    char target[RELEASE_ID_MAX + 16];
    struct stat st;

    snprintf(target, sizeof target, "releases/%s", id);
    if (id[0])
        return durable_symlink(set_fd, name, target, err);
    if (fstatat(set_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISLNK(st.st_mode))
        return 0; /* nothing there, or nothing of ours */
    return durable_unlink(set_fd, name, err);
}

int pin_write_links(int set_fd, const struct release_pin *pin, struct err *err)
{
    int rc = write_link(set_fd, "previous", release_previous(pin), err);
    if (rc == 0)
        rc = write_link(set_fd, "current", pin->id, err);
    return rc;
}
