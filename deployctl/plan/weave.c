/* weave.c - the contract is in weave.h. */
#include "deployctl/plan/weave.h"

#include <stdlib.h>
#include <string.h>

bool weave_init(struct weave *weave, size_t count)
{
    *weave = (struct weave){ .hosts = calloc(count + 1, sizeof *weave->hosts), .count = count };
    for (size_t i = 0; weave->hosts && i < count; i++)
        weave->hosts[i].quiet = true;
    return weave->hosts != NULL;
}

static struct weave_line *pop(struct weave_host *host)
{
    struct weave_line *line = host->first;
    host->first = line->next;
    if (!host->first)
        host->last = NULL;
    host->bytes -= line->len;
    line->next = NULL;
    return line;
}

void weave_done(struct weave *weave)
{
    for (size_t i = 0; weave->hosts && i < weave->count; i++)
        while (weave->hosts[i].first)
            free(pop(&weave->hosts[i]));
    free(weave->hosts);
    weave->hosts = NULL;
    weave->count = 0;
}

bool weave_add(struct weave *weave, size_t index, int64_t time_us, const char *text, size_t len,
               int64_t now_ms)
{
    struct weave_host *host = &weave->hosts[index];
    bool cut = len > WEAVE_LINE_MAX;
    len = cut ? WEAVE_LINE_MAX : len;
    struct weave_line *line = malloc(sizeof *line + len + 1);
    if (!line)
        return false;
    if (time_us >= 0)
        host->time_us = time_us;
    *line = (struct weave_line){
        .host = index, .len = len, .time_us = host->time_us, .came_ms = now_ms, .cut = cut
    };
    memcpy(line->text, text, len);
    line->text[len] = '\0';
    if (host->last)
        host->last->next = line;
    else
        host->first = line;
    host->last = line;
    host->bytes += len;
    return true;
}

void weave_expect(struct weave *weave, size_t host, bool more) { weave->hosts[host].quiet = !more; }

/* The host with the earliest line, and whether some host might still bring an earlier one. */
static struct weave_host *earliest(const struct weave *weave, bool *ret_unsure)
{
    struct weave_host *best = NULL;
    *ret_unsure = false;
    for (size_t i = 0; i < weave->count; i++) {
        struct weave_host *host = &weave->hosts[i];
        if (!host->first)
            *ret_unsure = *ret_unsure || !host->quiet;
        else if (!best || host->first->time_us < best->first->time_us)
            best = host;
    }
    return best;
}

struct weave_line *weave_take(struct weave *weave, int64_t now_ms)
{
    bool unsure;
    struct weave_host *host = earliest(weave, &unsure);
    for (size_t i = 0; i < weave->count; i++)
        if (weave->hosts[i].bytes > WEAVE_BYTES_MAX)
            return pop(&weave->hosts[i]);
    if (!host || (unsure && now_ms - host->first->came_ms < WEAVE_WAIT_MS))
        return NULL;
    return pop(host);
}

int64_t weave_due(const struct weave *weave, int64_t now_ms)
{
    bool unsure;
    const struct weave_host *host = earliest(weave, &unsure);
    if (!host)
        return -1;
    int64_t left = host->first->came_ms + WEAVE_WAIT_MS - now_ms;
    return unsure && left > 0 ? left : 0;
}
