/* about.c - the contract is in about.h. */
#include "deployctl/agent/about.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/buf.h"
#include "io/durable.h"
#include "io/jsonx.h"

#define ABOUT_FOLDER "about"
enum { FOLDER_MODE = 0755, FILE_MODE = 0644, IRREVERSIBLE_MAX = 1000 };

static int open_folder(const struct host *host)
{
    return host->meta < 0
               ? -ENOENT
               : durable_open_beneath(host->meta, ABOUT_FOLDER, O_RDONLY | O_DIRECTORY, 0);
}

static json_t *read_at(int folder, const char *id)
{
    struct buf text;
    struct err err;
    AUTO_CLOSE int fd = durable_open_beneath(folder, id, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0)
        return NULL;
    buf_init(&text, ABOUT_BYTES_MAX);
    json_t *about =
        buf_read_fd(&text, fd) < 0 ? NULL : jsonx_parse(buf_text(&text), text.len, &err);
    buf_done(&text);
    if (json_is_object(about))
        return about;
    json_decref(about);
    return NULL;
}

json_t *about_read(const struct host *host, const char *id)
{
    AUTO_CLOSE int folder = open_folder(host);
    return folder < 0 ? NULL : read_at(folder, id);
}

static int put(const json_t *about, struct buf *text, struct err *err)
{
    buf_init(text, ABOUT_BYTES_MAX);
    return jsonx_put(about, text)
               ? 0
               : err_set(err, ERR_LIMIT, "what is said about the release has more than %d bytes",
                         ABOUT_BYTES_MAX);
}

int about_valid(const json_t *about, struct err *err)
{
    struct buf text;
    if (about == NULL)
        return 0;
    if (!json_is_object(about))
        return err_set(err, ERR_PROTOCOL, "\"about\" must be an object");
    int rc = put(about, &text, err);
    buf_done(&text);
    return rc;
}

int about_write(const struct host *host, const char *id, const json_t *about, struct err *err)
{
    struct buf text;
    int rc = durable_mkdir(host->meta, ABOUT_FOLDER, FOLDER_MODE, err);
    AUTO_CLOSE int folder = rc < 0 ? -1 : open_folder(host);
    if (rc == 0 && folder < 0)
        rc = err_sys(err, -folder, "opening .deploy/" ABOUT_FOLDER);
    if (rc < 0)
        return err_wrap(err, "what is known of %s", id);
    json_t *all = read_at(folder, id);
    if (all == NULL)
        all = json_object();
    json_object_update(all, (json_t *)about);
    rc = put(all, &text, err);
    if (rc == 0)
        rc = durable_write(folder, id, buf_text(&text), text.len, FILE_MODE, err);
    buf_done(&text);
    json_decref(all);
    return rc < 0 ? err_wrap(err, "what is known of %s", id) : 0;
}

/* Calls fn for each file that is named as a release. */
static void each(const struct host *host, void (*fn)(void *context, int folder, const char *id),
                 void *context)
{
    int fd = open_folder(host);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        auto_close_(&fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (manifest_id_parse(entry->d_name, NULL))
            fn(context, fd, entry->d_name);
    closedir(dir);
}

static void clean_one(void *context, int folder, const char *id)
{
    const struct host_releases *list = context;
    uint64_t number;
    if (host_list_find(list, id) != NULL)
        return;
    bool older = list->count > 0 && manifest_id_parse(id, &number) &&
                 list->at[list->count - 1].number < number;
    json_t *about = older ? read_at(folder, id) : NULL;
    if (jsonx_text(about, "irreversible", NULL) == NULL)
        unlinkat(folder, id, 0);
    json_decref(about);
}

void about_clean(const struct host *host, const struct host_releases *list)
{
    each(host, clean_one, (void *)list);
}

static void irreversible_one(void *context, int folder, const char *id)
{
    json_t *list = context, *about = read_at(folder, id);
    const char *what = jsonx_text(about, "irreversible", NULL);
    if (what != NULL && json_array_size(list) < IRREVERSIBLE_MAX) {
        json_t *one = json_object();
        jsonx_set_text(one, "id", id);
        jsonx_set_text(one, "irreversible", what);
        json_array_append_new(list, one);
    }
    json_decref(about);
}

json_t *about_irreversible(const struct host *host)
{
    json_t *list = json_array();
    each(host, irreversible_one, list);
    return list;
}
