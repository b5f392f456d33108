/* sums.h - the chunks of a part of a file, with their sums (plan/chunker.h, plan/delta.h). */
#ifndef DEPLOYCTL_WIRE_SUMS_H
#define DEPLOYCTL_WIRE_SUMS_H

#include <stdint.h>

#include "base/err.h"
#include "deployctl/plan/delta.h"
#include "deployctl/wire/digest.h"

/* Appends to ret->at the chunks of `len` bytes at `offset`, read with pread; fewer bytes when the
 * file ends before.  A sum is the beginning of the chunk's SHA-256.  ERR_LIMIT beyond `max`. */
int sums_of(int fd, uint64_t offset, uint64_t len, uint64_t average, size_t max,
            struct digest *digest, struct delta_list *ret, struct err *err);

#endif
