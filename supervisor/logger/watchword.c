/* watchword.c - the contract is in watchword.h. */
#include "supervisor/logger/watchword.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/pattern.h"

_Static_assert(sizeof(struct pattern_seen) == sizeof((struct streams_scan *)0)->seen,
               "a scan keeps what was seen");

void watchword_done(struct watchword *word)
{
    free(word->pattern);
    word->pattern = NULL;
    word->id = 0;
}

static void take_order(struct watchword *word, const struct streams *table, size_t slot)
{
    struct streams_watch watch;
    struct err err = { 0 };

    if (!streams_watched(table, slot, &word->sequence, &watch))
        return;
    watchword_done(word);
    if (watch.id == 0 || streams_found(table, slot, watch.id))
        return;
    word->pattern = malloc(sizeof *word->pattern);
    if (!word->pattern || pattern_compile(watch.pattern, word->pattern, &err) != 0) {
        log_error("cannot look for a line", "pattern", watch.pattern, "error",
                  word->pattern ? err.text : "no memory", NULL);
        watchword_done(word);
        return;
    }
    word->from = watch.from;
    word->id = watch.id;
}

bool watchword_look(struct watchword *word, struct streams *table, size_t slot, uint64_t at,
                    const char *data, size_t len)
{
    struct pattern_seen seen = { 0 };
    struct streams_scan scan;

    take_order(word, table, slot);
    if (word->id == 0)
        return false;
    streams_scan(table, slot, &scan);
    if (scan.id != word->id)
        scan = (struct streams_scan){ .id = word->id, .at = word->from };
    if (scan.at < at) /* what lay between was dropped: a line that began there is not whole */
        memset(scan.seen, 0, sizeof scan.seen);
    uint64_t skip = scan.at > at ? scan.at - at : 0;
    if (skip >= len)
        return false;
    memcpy(&seen, scan.seen, sizeof seen);
    bool found = pattern_feed(word->pattern, &seen, data + skip, len - (size_t)skip);
    memcpy(scan.seen, &seen, sizeof scan.seen);
    scan.at = at + len;
    if (found) {
        streams_set_found(table, slot, word->id);
        watchword_done(word);
    }
    streams_commit_scan(table, slot, &scan);
    return found;
}
