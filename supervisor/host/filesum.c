/* filesum.c - the contract is in filesum.h. */
#include "supervisor/host/filesum.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"

/* FNV-1a. */
static void add(uint64_t *sum, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;

    for (size_t i = 0; i < len; i++)
        *sum = (*sum ^ at[i]) * 0x100000001b3ULL;
}

/* Not more than there is room for: a file may be longer than it says (in /proc they all say 0), or
 * grow while it is read. */
static void add_contents(uint64_t *sum, int fd, size_t *room)
{
    char part[16 * 1024];
    ssize_t n;

    while (*room > 0 && (n = read(fd, part, *room < sizeof part ? *room : sizeof part)) > 0) {
        add(sum, part, (size_t)n);
        *room -= (size_t)n;
    }
}

/* False when there was no room for all of it. */
static bool add_file(uint64_t *sum, const char *path, size_t *room)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return true;
    add(sum, path, strlen(path) + 1);
    if ((uint64_t)st.st_size <= *room) {
        add_contents(sum, fd, room);
        return true;
    }
    add(sum, &st.st_size, sizeof st.st_size);
    add(sum, &st.st_mtim, sizeof st.st_mtim);
    return false;
}

/* --- finding them: glob(3) has no limits --- */

enum { PATH_BYTES = 4096, PART_BYTES = 256 };

struct search {
    char *found[FILESUM_FILES_MAX]; /* owned */
    size_t count, names;
    unsigned depth;
    const char *cut;
};

static bool is_wild(const char *part, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (strchr("*?[\\", part[i]))
            return true;
    return false;
}

static void note(struct search *search, const char *path)
{
    char *copy = search->count < FILESUM_FILES_MAX ? strdup(path) : NULL;

    if (copy)
        search->found[search->count++] = copy;
    else
        search->cut = "more than 1024 files match, the rest is not looked at";
}

static void walk(struct search *search, const char *path, const char *pattern);

/* `part`: of the pattern, for what is in the folder `path`; then goes on with `rest`. */
static void look_through(struct search *search, const char *path, const char *part,
                         const char *rest)
{
    char next[PATH_BYTES];
    DIR *dir = opendir(*path ? path : "/");
    const struct dirent *entry;

    while (dir && (entry = readdir(dir)) != NULL) {
        if (search->names++ >= FILESUM_NAMES_MAX) {
            search->cut = "more than 65536 names are in the folders, the rest is not looked at";
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fnmatch(part, entry->d_name, FNM_PERIOD) != 0)
            continue;
        if (snprintf(next, sizeof next, "%s/%s", path, entry->d_name) < (int)sizeof next)
            walk(search, next, rest);
    }
    if (dir)
        closedir(dir);
}

/* Literal parts are appended as they are, up to the first with wildcards. */
static void walk(struct search *search, const char *path, const char *pattern)
{
    char at[PATH_BYTES], part[PART_BYTES];
    size_t len = (size_t)snprintf(at, sizeof at, "%s", path);

    for (;;) {
        pattern += strspn(pattern, "/");
        size_t size = strcspn(pattern, "/");
        if (size == 0) {
            note(search, at);
            return;
        }
        if (is_wild(pattern, size) && size < sizeof part && search->depth < FILESUM_WILD_MAX) {
            snprintf(part, sizeof part, "%.*s", (int)size, pattern);
            search->depth++;
            look_through(search, at, part, pattern + size);
            search->depth--;
            return;
        }
        if (len + size + 2 > sizeof at)
            return;
        len += (size_t)snprintf(at + len, sizeof at - len, "/%.*s", (int)size, pattern);
        pattern += size;
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static uint64_t sum_found(struct search *search)
{
    uint64_t sum = 0xcbf29ce484222325ULL;
    size_t room = FILESUM_BYTES_MAX;

    for (size_t i = 0; i < search->count; i++) {
        if (!add_file(&sum, search->found[i], &room) && !search->cut)
            search->cut = "they have more than 16 MiB, those beyond count by length and time alone";
        free(search->found[i]);
    }
    return sum;
}

uint32_t filesum(char *const *patterns, const char **ret_cut)
{
    struct search search = { .count = 0 };

    for (; *patterns; patterns++) {
        size_t first = search.count;
        walk(&search, "", *patterns);
        qsort(search.found + first, search.count - first, sizeof *search.found, by_name);
    }
    uint64_t sum = sum_found(&search);
    if (ret_cut)
        *ret_cut = search.cut;
    uint32_t folded = (uint32_t)(sum ^ (sum >> 32));
    return folded ? folded : 1;
}
