/* filesum.c - the contract is in filesum.h. */
#include "supervisor/host/filesum.h"

#include <fcntl.h>
#include <glob.h>
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

static void add_file(uint64_t *sum, const char *path, size_t *room)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return;
    add(sum, path, strlen(path) + 1);
    if ((uint64_t)st.st_size <= *room) {
        add_contents(sum, fd, room);
        return;
    }
    add(sum, &st.st_size, sizeof st.st_size);
    add(sum, &st.st_mtim, sizeof st.st_mtim);
}

uint32_t filesum(char *const *patterns)
{
    uint64_t sum = 0xcbf29ce484222325ULL;
    size_t files = 0, room = FILESUM_BYTES_MAX;
    glob_t found;

    for (; *patterns; patterns++) {
        if (glob(*patterns, 0, NULL, &found) != 0)
            continue;
        for (size_t i = 0; i < found.gl_pathc && files < FILESUM_FILES_MAX; i++, files++)
            add_file(&sum, found.gl_pathv[i], &room);
        globfree(&found);
    }
    uint32_t folded = (uint32_t)(sum ^ (sum >> 32));
    return folded ? folded : 1;
}
