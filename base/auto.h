/* auto.h - clean-up at the end of a scope, so that early return is safe.
 *
 *     AUTO_FREE char *text = NULL;
 *     AUTO_CLOSE int fd = -1;
 *
 * These are the only such attributes in the tree.
 */
#ifndef BASE_AUTO_H
#define BASE_AUTO_H

#include <stdlib.h>
#include <unistd.h>

#define AUTO_FREE  __attribute__((cleanup(auto_free_), unused))
#define AUTO_CLOSE __attribute__((cleanup(auto_close_), unused))

static inline void auto_free_(void *at) { free(*(void **)at); }

static inline void auto_close_(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* Hands the value over to somebody else and leaves the neutral one behind. */
static inline int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

#endif
