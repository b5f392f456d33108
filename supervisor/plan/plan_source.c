/* plan_source.c - the contract is in plan.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/buf.h"
#include "base/ini.h"
#include "supervisor/plan/instance.h"
#include "supervisor/plan/options.h"
#include "supervisor/plan/plan.h"

enum { PATTERN_SLASHES_MAX = 128 }; /* glob() calls itself for each, on the stack of the core */

struct file_id {
    dev_t dev;
    ino_t ino;
};
struct reading {
    struct plan_source *source;
    struct err_list *errors;
    size_t room, total;
    struct file_id *ids; /* of files read, so that each is read once */
};

static void out_of_memory(struct reading *r)
{
    err_list_add(r->errors, "%s: out of memory", r->source->config ? r->source->config : "-");
}

/* Room for one more file; false when that is too many or memory is out. */
static bool make_room(struct reading *r)
{
    struct plan_source *source = r->source;

    if (source->nfiles == PLAN_FILES_MAX) {
        err_list_add(r->errors, "%s: more than %d files", source->config, PLAN_FILES_MAX);
        return false;
    }
    if (source->nfiles < r->room)
        return true;
    size_t room = r->room ? r->room * 2 : 16;
    struct plan_file *files = arena_array(&source->arena, room, sizeof(*files));
    struct file_id *ids = arena_array(&source->arena, room, sizeof(*ids));
    if (!files || !ids) {
        out_of_memory(r);
        return false;
    }
    if (source->files && r->ids) {
        memcpy(files, source->files, source->nfiles * sizeof(*files));
        memcpy(ids, r->ids, source->nfiles * sizeof(*ids));
    }
    source->files = files;
    r->ids = ids;
    r->room = room;
    return true;
}

static bool was_read(const struct reading *r, const struct stat *st)
{
    for (size_t i = 0; r->ids && i < r->source->nfiles; i++)
        if (r->ids[i].dev == st->st_dev && r->ids[i].ino == st->st_ino)
            return true;
    return false;
}

/* Keeps the text of a file; `where` begins its error messages. */
static bool keep_file(struct reading *r, const char *path, const struct stat *st,
                      const struct buf *text)
{
    struct plan_source *source = r->source;

    if (text->len > PLAN_SOURCE_MAX - r->total) {
        err_list_add(r->errors, "%s: all files together are larger than %d bytes", path,
                     PLAN_SOURCE_MAX);
        return false;
    }
    if (!make_room(r))
        return false;
    const char *name = arena_strdup(&source->arena, path);
    const char *copy = arena_strndup(&source->arena, buf_text(text), text->len);
    /* arena_strndup stops at a NUL byte, which base/ini is to find. */
    char *whole =
        memchr(buf_text(text), '\0', text->len) ? arena_alloc(&source->arena, text->len) : NULL;
    if (whole)
        copy = memcpy(whole, buf_text(text), text->len);
    if (!name || !copy) {
        out_of_memory(r);
        return false;
    }
    r->ids[source->nfiles] = (struct file_id){ st->st_dev, st->st_ino };
    source->files[source->nfiles++] = (struct plan_file){ name, copy, text->len };
    r->total += text->len;
    return true;
}

static bool read_file(struct reading *r, const char *path, const char *where)
{
    struct stat st;
    struct buf text;
    bool kept = false;

    if (stat(path, &st) < 0) {
        err_list_add(r->errors, "%scannot read %s: %s", where, path, strerrordesc_np(errno));
        return false;
    }
    if (was_read(r, &st))
        return false;
    buf_init(&text, INI_FILE_MAX);
    int rc = buf_read_file(&text, AT_FDCWD, path);
    if (rc == -EFBIG)
        err_list_add(r->errors, "%s%s is larger than %d bytes", where, path, INI_FILE_MAX);
    else if (rc < 0)
        err_list_add(r->errors, "%scannot read %s: %s", where, path, strerrordesc_np(-rc));
    else
        kept = keep_file(r, path, &st, &text);
    buf_done(&text);
    return kept;
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static size_t slashes_in(const char *pattern)
{
    size_t count = 0;
    while ((pattern = strchr(pattern, '/')) != NULL) {
        pattern++;
        count++;
    }
    return count;
}

/* Reads all that fits one absolute pattern.  `own`: of [supervisor], where a plain name that is
 * not there is an error; supervisord only warns, and so does plan_make. */
static void read_pattern(struct reading *r, const char *pattern, const char *where, bool own)
{
    bool magic = strpbrk(pattern, "*?[") != NULL;
    glob_t found;

    if (slashes_in(pattern) > PATTERN_SLASHES_MAX) {
        err_list_add(r->errors, "%s%.40s... has more than %d slashes", where, pattern,
                     PATTERN_SLASHES_MAX);
        return;
    }
    int rc = glob(pattern, 0, NULL, &found);

    if (rc == GLOB_NOMATCH && own && !magic)
        err_list_add(r->errors, "%sthere is no %s", where, pattern);
    else if (rc != 0 && rc != GLOB_NOMATCH)
        err_list_add(r->errors, "%scannot look for %s: %s", where, pattern,
                     rc == GLOB_NOSPACE ? "out of memory" : "reading a folder failed");
    for (size_t i = 0; rc == 0 && i < found.gl_pathc; i++)
        if (!magic || !is_folder(found.gl_pathv[i]))
            read_file(r, found.gl_pathv[i], where);
    if (rc == 0)
        globfree(&found);
}

static const char *folder_of(const char *path, struct arena *arena)
{
    const char *slash = strrchr(path, '/');
    return arena_strndup(arena, path, slash == path ? 1 : (size_t)(slash - path));
}

static void follow_entry(struct reading *r, const char *path, const struct ini_entry *entry,
                         struct arena *scratch)
{
    struct spec_supervisor files = { 0 };
    const char *here = folder_of(path, scratch);
    char **names = here ? instance_names(here, r->source->host, NULL, NULL, -1, scratch) : NULL;
    const char *where =
        arena_printf(scratch, "%s:%d: [%s] %s: ", path, entry->line, entry->section, entry->key);
    struct err err;

    if (!names || !where ||
        opt_set(&options_include, "files", entry->value, scratch, &files, &err) < 0) {
        out_of_memory(r);
        return;
    }
    for (size_t i = 0; i < files.include.count; i++) {
        const char *pattern;
        /* plan_make tells of wrong expansions. */
        if (instance_expand(files.include.names[i], names, (char *const *)r->source->environment,
                            scratch, &pattern, &err) < 0)
            continue;
        if (*pattern != '/')
            pattern = arena_printf(scratch, "%s/%s", here, pattern);
        if (pattern)
            read_pattern(r, pattern, where, strcmp(entry->section, "supervisor") == 0);
    }
}

bool plan_source_included(const struct plan_source *source, size_t index)
{
    const char *path = source->files[index].path;
    size_t len = strlen(source->config);

    if (strcmp(path, source->config) == 0)
        return false;
    while (len > 1 && source->config[len - 1] == '/')
        len--;
    return strncmp(path, source->config, len) != 0 || path[len] != '/' ||
           path + len + strspn(path + len, "/") != strrchr(path, '/') + 1;
}

/* supervisord follows an [include] only where it is not in an included file itself. */
static bool is_include(const struct plan_source *source, size_t index,
                       const struct ini_entry *entry)
{
    if (!entry->key)
        return false;
    if (strcmp(entry->section, "supervisor") == 0)
        return strcmp(entry->key, "include") == 0;
    return strcmp(entry->section, "include") == 0 && strcasecmp(entry->key, "files") == 0 &&
           !plan_source_included(source, index);
}

/* Files named in file `index` are read behind all others; the loop over files gets to them. */
static void follow_includes(struct reading *r, size_t index)
{
    struct plan_file file = r->source->files[index];
    struct err_list ignored; /* plan_make parses again and tells */
    struct arena scratch;
    struct ini ini;

    arena_init(&scratch);
    err_list_init(&ignored);
    ini_parse_text(file.path, file.text, file.len, &scratch, &ini, &ignored);
    for (size_t i = 0; i < ini.count; i++)
        if (is_include(r->source, index, &ini.entries[i]))
            follow_entry(r, file.path, &ini.entries[i], &scratch);
    err_list_done(&ignored);
    arena_done(&scratch);
}

static int is_config(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');

    return *entry->d_name != '.' && dot && (strcmp(dot, ".ini") == 0 || strcmp(dot, ".conf") == 0);
}

static void read_folder(struct reading *r, const char *folder)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_config, alphasort);

    if (count < 0) {
        err_list_add(r->errors, "cannot read %s: %s", folder, strerrordesc_np(errno));
        return;
    }
    for (int i = 0; i < count; i++) {
        const char *path = arena_printf(&r->source->arena, "%s/%s", folder, entries[i]->d_name);
        if (path && !is_folder(path))
            read_file(r, path, "");
        else if (!path)
            out_of_memory(r);
        free(entries[i]);
    }
    free(entries);
    if (count == 0)
        err_list_add(r->errors, "%s: has no *.ini or *.conf file in it", folder);
}

static const char *absolute_path(const char *path, struct arena *arena)
{
    AUTO_FREE char *cwd = NULL;

    while (path[0] == '.' && path[1] == '/')
        path += 2 + strspn(path + 2, "/");
    if (*path == '/')
        return arena_strdup(arena, path);
    cwd = getcwd(NULL, 0);
    if (!cwd)
        return arena_strdup(arena, path);
    if (strcmp(path, ".") == 0)
        return arena_strdup(arena, cwd);
    return arena_printf(arena, "%s/%s", strcmp(cwd, "/") == 0 ? "" : cwd, path);
}

static const char **copy_pairs(char *const *pairs, struct arena *arena)
{
    size_t count = 0;

    while (pairs && pairs[count])
        count++;
    const char **ret = arena_array(arena, count + 1, sizeof(*ret));
    for (size_t i = 0; ret && i < count; i++) {
        ret[i] = arena_strdup(arena, pairs[i]);
        if (!ret[i])
            return NULL;
    }
    return ret;
}

int plan_source_read(const char *config, char *const *environment, struct plan_source *ret,
                     struct err_list *errors)
{
    struct reading r = { .source = ret, .errors = errors };
    struct utsname names;
    size_t before = errors->total;

    *ret = (struct plan_source){ 0 };
    arena_init(&ret->arena);
    ret->config = absolute_path(config, &ret->arena);
    ret->environment = copy_pairs(environment, &ret->arena);
    ret->host = arena_strdup(&ret->arena, uname(&names) == 0 ? names.nodename : "localhost");
    if (!ret->config || !ret->environment || !ret->host) {
        out_of_memory(&r);
        return ERR_INVALID;
    }
    if (is_folder(ret->config))
        read_folder(&r, ret->config);
    else
        read_file(&r, ret->config, "");
    for (size_t i = 0; i < ret->nfiles; i++)
        follow_includes(&r, i);
    return errors->total > before ? ERR_INVALID : 0;
}

void plan_source_free(struct plan_source *source)
{
    arena_done(&source->arena);
    *source = (struct plan_source){ 0 };
}

bool plan_source_scale(struct plan_source *source, const char *service, int64_t count)
{
    for (size_t i = 0; i < source->nscales; i++)
        if (strcmp(source->scales[i].service, service) == 0) {
            source->scales[i].count = count;
            return true;
        }
    /* One more each time: scales are few and come from people. */
    struct plan_scale *scales = arena_array(&source->arena, source->nscales + 1, sizeof(*scales));
    const char *name = arena_strdup(&source->arena, service);
    if (!scales || !name)
        return false;
    if (source->nscales)
        memcpy(scales, source->scales, source->nscales * sizeof(*scales));
    scales[source->nscales] = (struct plan_scale){ name, count };
    source->scales = scales;
    source->nscales++;
    return true;
}

bool plan_source_release(struct plan_source *source, const struct plan_release *release)
{
    struct arena *arena = &source->arena;
    struct plan_release copy = { .service = arena_strdup(arena, release->service),
                                 .id = arena_strdup(arena, release->id),
                                 .path = arena_strdup(arena, release->path),
                                 .problem = arena_strdup(arena, release->problem),
                                 .len = release->text ? release->len : 0,
                                 .pinned = release->pinned };

    if (source->nreleases == PLAN_RELEASES_MAX)
        return false;
    /* One more each time: they are few. */
    struct plan_release *list = arena_array(arena, source->nreleases + 1, sizeof(*list));
    char *text = release->text ? arena_alloc(arena, release->len + 1) : NULL;
    if (!list || !copy.service || !copy.id || !copy.path || !copy.problem ||
        (release->text && !text))
        return false;
    if (text) {
        memcpy(text, release->text, release->len);
        text[release->len] = '\0';
    }
    copy.text = text;
    if (source->nreleases)
        memcpy(list, source->releases, source->nreleases * sizeof(*list));
    list[source->nreleases++] = copy;
    source->releases = list;
    return true;
}
