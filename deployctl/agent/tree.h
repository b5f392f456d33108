/* tree.h - putting the entries of a release into a folder, without following anything there.
 *
 * All paths are relative to the folder's descriptor and opened beneath it.
 */
#ifndef DEPLOYCTL_AGENT_TREE_H
#define DEPLOYCTL_AGENT_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "deployctl/plan/manifest.h"
#include "deployctl/wire/digest.h"

struct tree {
    int fd;     /* of the folder; owned */
    int parent; /* of the folder opened last; owned, -1 = none */
    char parent_path[MANIFEST_PATH_MAX + 1];
    bool no_clones; /* FICLONE was refused: files here have links instead, where they may */
};

void tree_init(struct tree *tree, int fd); /* takes over fd */
void tree_done(struct tree *tree);
/* Makes the folders above `path` (0755) and returns the descriptor of the last, which stays the
 * tree's and is valid until the next call; *ret_name is the last part of path. */
int tree_parent(struct tree *tree, const char *path, const char **ret_name, struct err *err);

int tree_make_folder(struct tree *tree, const char *path, struct err *err);
int tree_make_link(struct tree *tree, const char *path, const char *target, struct err *err);
/* A new file, opened for writing, mode 0600; space for large ones is reserved at once. */
int tree_create(struct tree *tree, const char *path, uint64_t size, struct err *err);
/* The bytes from `from` to `to` have been written: now and then the disk is told to begin with
 * them, so that the sync at the end finds little to do. */
void tree_wrote(int fd, uint64_t from, uint64_t to);
int tree_remove(struct tree *tree, const char *path, struct err *err);

/* How a content got here. */
enum tree_way { TREE_CLONED, TREE_LINKED, TREE_COPIED };
/* Puts the content of from_path (beneath from_fd) at path: FICLONE, else a hard link if `linkable`
 * and the file is ours and read-only with that mode, else a copy.  Then reads it back: *ret_digest.
 * ERR_NOT_FOUND when the source is not a regular file of that size. */
int tree_place(struct tree *tree, const char *path, int from_fd, const char *from_path,
               uint64_t size, uint32_t mode, bool linkable, struct digest *digest,
               unsigned char ret_digest[static MANIFEST_DIGEST_BYTES], enum tree_way *ret_way,
               struct err *err);

/* Calls fn for each folder that holds an entry, at least once, from the top. */
int tree_each_folder(const struct manifest *manifest,
                     int (*fn)(void *context, const char *path, struct err *err), void *context,
                     struct err *err);

#endif
