/* chunker.h - where a content is cut into chunks, by nothing but the bytes around each cut.
 *
 * FastCDC: a gear hash of the last 64 bytes decides, with a stricter condition before the average
 * and an easier one behind it.  So the same bytes are cut the same way wherever they lie, and an
 * insertion disturbs only the chunks that it touches.  Both sides of the protocol must cut alike:
 * the table comes from a fixed seed, and these numbers are a part of proto.h.
 *
 * Two sizes are used for one file.  The coarse one gives 512 to 1024 chunks whatever the size of
 * the file, so that a list of them is small; the fine one is chosen for the regions that differ.
 */
#ifndef DEPLOYCTL_PLAN_CHUNKER_H
#define DEPLOYCTL_PLAN_CHUNKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CHUNKER_FILE_MIN = 512 * 1024, /* smaller files travel whole */
    CHUNKER_AVERAGE_MIN = 256,
    CHUNKER_COARSE_MIN = 8 * 1024,
    CHUNKER_COARSE_PARTS = 512,
    CHUNKER_SPREAD = 4, /* no chunk is shorter than average / 4, or longer than average * 4 */
    CHUNKER_WINDOW = 64,
};
#define CHUNKER_AVERAGE_MAX ((uint64_t)1 << 40)

struct chunker {
    uint64_t gear[256];
    uint64_t average, strict, easy; /* masks of the hash */
    uint64_t hash, at;              /* at: bytes of the present chunk */
};
/* `average`: a power of two, as the functions below give it. */
void chunker_init(struct chunker *chunker, uint64_t average);
/* How many bytes of `data` belong to the present chunk; *ret_cut: it ends with them, and the next
 * call begins another one. */
size_t chunker_feed(struct chunker *chunker, const unsigned char *data, size_t len, bool *ret_cut);
void chunker_restart(struct chunker *chunker); /* the next byte begins a chunk */

bool chunker_average_valid(uint64_t average);
uint64_t chunker_coarse(uint64_t file_size);
/* For `unmatched` bytes of the old content that lie in `regions` regions of a file: as small as
 * pays, for each chunk costs the length of a sum, and each change a chunk and a half. */
uint64_t chunker_fine(uint64_t unmatched, size_t regions, uint64_t file_size, bool related);

#endif
