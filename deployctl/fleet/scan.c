/* scan.c - the contract is in scan.h. */
#include "deployctl/fleet/scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"

enum { MODE_FILE = 0444, MODE_PROGRAM = 0555, MODE_FOLDER = 0755, MODE_BITS = 0777 };

struct walk {
    const struct scan_options *options;
    struct manifest *manifest;
    struct manifest_entry *entries; /* grown with realloc; copied to the arena at the end */
    size_t count, cap;
    struct err_list *secrets;
    struct err *err;
    char path[MANIFEST_PATH_MAX + 1]; /* of what is looked at, relative */
    char brief[200];                  /* the same for a message */
    unsigned depth;
};

bool scan_looks_secret(const char *name)
{
    static const char *const patterns[] = { ".env",   ".env.*",  "*.pem",    "*.key",
                                            "id_rsa", "id_dsa",  "id_ecdsa", "id_ed25519",
                                            ".netrc", ".pgpass", NULL };
    for (size_t i = 0; patterns[i]; i++)
        if (fnmatch(patterns[i], name, 0) == 0)
            return true;
    return false;
}

static bool excluded_by(const char *pattern, const char *path, bool folder)
{
    char plain[MANIFEST_PATH_MAX + 1];
    size_t len = strlen(pattern);
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    if (len == 0 || len >= sizeof plain)
        return false;
    memcpy(plain, pattern, len + 1);
    if (plain[len - 1] == '/') {
        if (!folder)
            return false;
        plain[len - 1] = '\0';
    }
    const char *use = plain[0] == '/' ? plain + 1 : plain;
    return strchr(plain, '/') ? fnmatch(use, path, FNM_PATHNAME) == 0 : fnmatch(use, name, 0) == 0;
}

bool scan_excluded(const char *const *patterns, const char *path, bool folder)
{
    for (size_t i = 0; patterns && patterns[i]; i++)
        if (excluded_by(patterns[i], path, folder))
            return true;
    return false;
}

/* The path for a message: of a long one the end, so that the cause after it is not cut off. */
static const char *shown(struct walk *walk)
{
    size_t len = strlen(walk->path);
    if (len < sizeof walk->brief)
        return walk->path;
    const char *end = walk->path + len - (sizeof walk->brief - 4);
    snprintf(walk->brief, sizeof walk->brief, "...%s", end);
    return walk->brief;
}

static int fault(struct walk *walk, int sys, const char *what)
{
    return err_sys(walk->err, sys, "%s/%s: %s", walk->options->root, shown(walk), what);
}

static int add(struct walk *walk, const struct manifest_entry *entry)
{
    if (walk->count >= MANIFEST_ENTRIES_MAX)
        return err_set(walk->err, ERR_LIMIT, "%s: more than %d files", walk->options->root,
                       MANIFEST_ENTRIES_MAX);
    if (walk->count == walk->cap) {
        size_t cap = walk->cap ? walk->cap * 2 : 256;
        void *more = realloc(walk->entries, cap * sizeof *walk->entries);
        if (!more)
            return err_set(walk->err, ERR_MEMORY, "no memory for the list of files");
        walk->entries = more;
        walk->cap = cap;
    }
    walk->entries[walk->count] = *entry;
    walk->entries[walk->count].path = arena_strdup(&walk->manifest->arena, walk->path);
    if (!walk->entries[walk->count].path)
        return err_set(walk->err, ERR_MEMORY, "no memory for the list of files");
    walk->count++;
    return 0;
}

static int add_link(struct walk *walk, int dirfd, const char *name)
{
    char target[MANIFEST_PATH_MAX + 1];
    struct manifest_entry entry = { .kind = MANIFEST_LINK };
    ssize_t len = readlinkat(dirfd, name, target, sizeof target);
    if (len < 0)
        return fault(walk, errno, "cannot read the link");
    if ((size_t)len >= sizeof target)
        return err_set(walk->err, ERR_LIMIT, "%s/%s: the link's target is too long",
                       walk->options->root, shown(walk));
    target[len] = '\0';
    if (manifest_check_link(walk->path, target, walk->options->any_links, walk->err) < 0)
        return err_wrap(walk->err, "%s/%s", walk->options->root, shown(walk));
    entry.target = arena_strdup(&walk->manifest->arena, target);
    if (!entry.target)
        return err_set(walk->err, ERR_MEMORY, "no memory for the list of files");
    return add(walk, &entry);
}

static int add_file(struct walk *walk, const char *name, const struct stat *st)
{
    struct manifest_entry entry = { .kind = MANIFEST_FILE, .size = (uint64_t)st->st_size };
    entry.mode = st->st_mode & 0111 ? MODE_PROGRAM : MODE_FILE;
    if (walk->options->keep_modes)
        entry.mode = st->st_mode & MODE_BITS;
    if (scan_looks_secret(name))
        err_list_add(walk->secrets,
                     "%s looks like a secret; keep it out with .deployignore and "
                     "give it to the hosts as one of shared_files",
                     walk->path);
    return add(walk, &entry);
}

/* What a release cannot hold, by name; NULL = it can. */
static const char *unfit(mode_t mode)
{
    if (S_ISREG(mode) && (mode & S_ISUID))
        return "is setuid, which a release cannot carry (chmod u-s, or let the service get its "
               "rights from the supervisor: user, capabilities)";
    if (S_ISREG(mode) && (mode & S_ISGID))
        return "is setgid, which a release cannot carry (chmod g-s)";
    if (S_ISFIFO(mode))
        return "is a FIFO, which cannot be released; exclude it in .deployignore";
    if (S_ISSOCK(mode))
        return "is a socket, which cannot be released; exclude it in .deployignore";
    if (S_ISCHR(mode) || S_ISBLK(mode))
        return "is a device, which cannot be released; exclude it in .deployignore";
    return NULL;
}

static int walk_folder(struct walk *walk, int fd, const struct stat *st);

static int walk_entry(struct walk *walk, int dirfd, const char *name)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? err_set(walk->err, ERR_STATE,
                                         "%s/%s: went away while the folder was read; "
                                         "release a folder that nothing changes",
                                         walk->options->root, shown(walk))
                               : fault(walk, errno, "cannot be looked at");
    if (scan_excluded(walk->options->patterns, walk->path, S_ISDIR(st.st_mode)))
        return 0;
    if (manifest_check_path(walk->path, walk->err) < 0)
        return err_wrap(walk->err, "%s/%s", walk->options->root, shown(walk));
    const char *why = unfit(st.st_mode);
    if (why)
        return err_set(walk->err, ERR_INVALID, "%s/%s: %s", walk->options->root, shown(walk), why);
    if (S_ISLNK(st.st_mode))
        return add_link(walk, dirfd, name);
    if (S_ISREG(st.st_mode))
        return add_file(walk, name, &st);
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fault(walk, errno, "cannot open the folder");
    return walk_folder(walk, fd, &st);
}

static bool is_dot(const char *name) { return strcmp(name, ".") == 0 || strcmp(name, "..") == 0; }

/* Reads the entries of dir; *ret_seen counts those that were kept. */
static int read_folder(struct walk *walk, DIR *dir, size_t *ret_seen)
{
    size_t base = strlen(walk->path);
    for (;;) {
        errno = 0;
        const struct dirent *item = readdir(dir);
        if (!item)
            return errno ? fault(walk, errno, "cannot read the folder") : 0;
        if (is_dot(item->d_name))
            continue;
        int len = snprintf(walk->path + base, sizeof walk->path - base, "%s%s", base ? "/" : "",
                           item->d_name);
        if (base + (size_t)len >= sizeof walk->path) {
            walk->path[base] = '\0';
            return err_set(walk->err, ERR_LIMIT, "%s/%s/%.40s...: the path is too long",
                           walk->options->root, shown(walk), item->d_name);
        }
        size_t before = walk->count;
        int rc = walk_entry(walk, dirfd(dir), item->d_name);
        *ret_seen += walk->count - before;
        if (rc < 0)
            return rc;
        walk->path[base] = '\0';
    }
}

static int walk_folder(struct walk *walk, int fd, const struct stat *st)
{
    size_t seen = 0;
    if (walk->depth >= MANIFEST_DEPTH_MAX) {
        close(fd);
        return err_set(walk->err, ERR_LIMIT, "%s/%s: more than %d folders deep",
                       walk->options->root, shown(walk), MANIFEST_DEPTH_MAX);
    }
    DIR *dir = fdopendir(fd);
    if (!dir) {
        int sys = errno;
        close(fd);
        return fault(walk, sys, "cannot read the folder");
    }
    walk->depth++;
    int rc = read_folder(walk, dir, &seen);
    walk->depth--;
    closedir(dir);
    bool own_entry = walk->depth > 0 && (seen == 0 || walk->options->keep_modes);
    if (rc == 0 && own_entry) {
        struct manifest_entry entry = { .kind = MANIFEST_FOLDER, .mode = MODE_FOLDER };
        if (walk->options->keep_modes)
            entry.mode = st->st_mode & MODE_BITS;
        rc = add(walk, &entry);
    }
    return rc;
}

/* Hands the entries over to the manifest's arena and checks them. */
static int finish(struct walk *walk)
{
    struct manifest *manifest = walk->manifest;
    bool any = false;
    for (size_t i = 0; i < walk->count; i++)
        any = any || walk->entries[i].kind != MANIFEST_FOLDER;
    if (!any)
        return err_set(walk->err, ERR_INVALID,
                       "%s: there is nothing in it to release (was it built?)",
                       walk->options->root);
    manifest->entries = arena_array(&manifest->arena, walk->count, sizeof *manifest->entries);
    if (!manifest->entries)
        return err_set(walk->err, ERR_MEMORY, "no memory for the list of files");
    memcpy(manifest->entries, walk->entries, walk->count * sizeof *manifest->entries);
    manifest->count = walk->count;
    manifest->bytes = 0;
    for (size_t i = 0; i < walk->count; i++)
        manifest->bytes += walk->entries[i].size;
    return manifest_seal(manifest, walk->err);
}

int scan_folder(int dirfd, const struct scan_options *options, struct manifest *ret,
                struct err_list *secrets, struct err *err)
{
    struct err own = { 0 };
    struct walk walk = {
        .options = options, .manifest = ret, .secrets = secrets, .err = err ? err : &own
    };
    struct stat st = { 0 };
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? err_sys(walk.err, errno, "%s: cannot read the folder", options->root)
                    : walk_folder(&walk, fd, &st);
    if (rc == 0)
        rc = finish(&walk);
    free(walk.entries);
    return rc;
}
