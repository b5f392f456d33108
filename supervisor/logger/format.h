/* format.h - bytes of a service into bytes of a log file.  Pure: no clock, no file, no allocation.
 *
 * What must be known about the line under way lies in `struct streams_line`, which the caller
 * commits with the file's offset; so a line that comes in many pieces, over batches and over a
 * SIGKILL, is stamped once.
 *
 *   raw    the bytes as they are
 *   plain  time, blank, line
 *   json   {"time":...,"instance":...,"output":...,"message":...} per line.  Bytes that are not
 *          UTF-8 become U+FFFD.  A line of more than FORMAT_OBJECT_MAX bytes is several objects,
 * all but the last with "partial":true.  The object of a line that has no end yet is open in the
 * file.
 */
#ifndef SUPERVISOR_LOGGER_FORMAT_H
#define SUPERVISOR_LOGGER_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "supervisor/ledger/streams.h"

enum {
    FORMAT_OUT_MAX = 256 * 1024,   /* room for the result of one call */
    FORMAT_OBJECT_MAX = 64 * 1024, /* message bytes of one json object */
    FORMAT_HEAD_MAX = 1024,        /* what stands before a line, and the longest notice */
    FORMAT_NOTICE_MAX = 160,
};

/* One stream's way of writing, for one batch. */
struct format {
    enum streams_format kind;
    const char *instance, *output; /* borrowed */
    size_t head_len;
    char head[FORMAT_HEAD_MAX]; /* what each line of this batch begins with */
    char time[CLOCK_TEXT_MAX];
};

/* `time` is RFC 3339 text.  Too long names are cut. */
void format_init(struct format *format, enum streams_format kind, const char *instance,
                 const char *output, const char *time);

/* What came of one call. */
struct format_piece {
    const char *data; /* in `out`, or for raw in the input itself */
    size_t len;       /* bytes to write */
    size_t used;      /* bytes of the input that these are; at least 1 when there was input */
};

/* Formats as much of the input as fits in `out` (FORMAT_OUT_MAX bytes), but stops at the first end
 * of a line at or after `room` bytes of output (0: one line), so that the file can be rotated
 * there. */
struct format_piece format_run(const struct format *format, struct streams_line *line,
                               const char *in, size_t len, uint64_t room, char *out);

/* Ends the line under way, if any: for a file that is left.  Returns the bytes put in `out`
 * (FORMAT_HEAD_MAX); raw never adds a byte. */
size_t format_end(const struct format *format, struct streams_line *line, char *out);
/* Breaks the line under way off where the file is rotated inside it: json ends the object as
 * partial; the others just go on in the next file. */
size_t format_cut(const struct format *format, struct streams_line *line, char *out);
/* A line that says how many bytes the overflow policy dropped at this point. */
size_t format_notice(const struct format *format, struct streams_line *line, uint64_t lost,
                     char *out);

/* Only its words. */
size_t format_notice_words(uint64_t lost, char text[static FORMAT_NOTICE_MAX]);

#endif
