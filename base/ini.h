/* ini.h - INI files, safely: inih (through ini_parse_stream) with a reader of our own.
 *
 * Debian's inih cuts lines at 199 bytes silently, cuts names at 49 and gives no line numbers.
 * Here a line may be up to INI_LINE_MAX bytes; every entry knows its file and line; all
 * errors are reported, parsing goes on after each.
 *
 * Comments: a line that begins with ; or #, or " ;" / " #" after white space outside quotes.
 * A line that is indented deeper than its key continues the value (joined with '\n'); so all keys
 * of a section may be indented alike.  A quote that is open at the end of a line is still open in
 * the continuation.  A BOM, CRLF and tabs are accepted; a NUL byte is an error, so are a key
 * before the first section and names with quotes, ; or # in them.  Quotes stay part of the value
 * (the type of the option decides what they mean), they only protect ; and #.
 */
#ifndef BASE_INI_H
#define BASE_INI_H

#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

enum { INI_LINE_MAX = 64 * 1024, INI_NAME_MAX = 200, INI_FILE_MAX = 4 * 1024 * 1024 };

struct ini_entry {
    const char *section; /* "service:web" as written, blanks at the ends removed */
    const char *key;     /* NULL for the entry that a section header itself makes */
    const char *value;   /* "" when empty */
    int line;            /* of the key, or of the header */
};

struct ini {
    const char *file; /* as given to ini_parse_text */
    struct ini_entry *entries;
    size_t count;
};

/* Parses `len` bytes of text (the contents of `file`, which is only used for messages) into
 * entries that live in the arena.  Each error is added to `errors` as "FILE:LINE: what".
 * Returns 0 or, if any error was added, ERR_INVALID; *ret holds all entries that could be read
 * in both cases (an empty set when memory is out).  (The name ini_parse belongs to inih.) */
int ini_parse_text(const char *file, const char *text, size_t len, struct arena *arena,
                   struct ini *ret, struct err_list *errors);

#endif
