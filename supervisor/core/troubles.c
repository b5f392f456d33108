/* troubles.c - the contract is in troubles.h. */
#include "supervisor/core/troubles.h"

#include <string.h>

#include "io/jsonx.h"
#include "supervisor/core/events.h"
#include "supervisor/ledger/streams.h"

static void publish(struct core *core, const struct streams_settings *settings, const char *kind,
                    int error, uint64_t bytes, uint64_t total)
{
    json_t *details = json_object();

    jsonx_set_text(details, "instance", settings->instance);
    jsonx_set_text(details, "output", settings->output);
    jsonx_set_text(details, "file", settings->path);
    if (error)
        jsonx_set_text(details, "error", strerror(error));
    if (bytes > 0) {
        jsonx_set_int(details, "bytes", (json_int_t)bytes);
        jsonx_set_int(details, "total", (json_int_t)total);
    }
    events_publish(core->events, kind, details);
}

static void look_at(void *context, size_t slot, const struct streams_settings *settings)
{
    struct core *core = context;
    struct streams_told told = streams_told(core->streams, slot);
    struct streams_progress now;

    streams_progress(core->streams, slot, &now);
    core->log_troubles += now.error != 0 || now.bytes_lost > 0;
    if (now.error != told.error)
        publish(core, settings, now.error ? "log-error" : "log-ok", now.error, 0, 0);
    if (now.bytes_lost != told.bytes_lost)
        publish(core, settings, "log-lost", 0, now.bytes_lost - told.bytes_lost, now.bytes_lost);
    if (now.error == told.error && now.bytes_lost == told.bytes_lost)
        return;
    told = (struct streams_told){ .error = now.error, .bytes_lost = now.bytes_lost };
    streams_tell(core->streams, slot, told);
}

void troubles_look(struct core *core)
{
    uint32_t count = streams_troubles(core->streams);

    if (count == core->log_troubles_seen)
        return;
    core->log_troubles_seen = count;
    core->log_troubles = 0;
    streams_each(core->streams, look_at, core);
}

struct find {
    const struct core *core;
    const char *instance;
    json_t *rows;
};

static void add_row(void *context, size_t slot, const struct streams_settings *settings)
{
    struct find *find = context;
    struct streams_progress now;

    if (strcmp(settings->instance, find->instance) != 0)
        return;
    streams_progress(find->core->streams, slot, &now);
    if (now.error == 0 && now.bytes_lost == 0)
        return;
    json_t *row = json_object();
    jsonx_set_text(row, "output", settings->output);
    jsonx_set_text(row, "error", now.error ? strerror(now.error) : NULL);
    jsonx_set_int(row, "lost_bytes", (json_int_t)now.bytes_lost);
    if (!find->rows)
        find->rows = json_array();
    json_array_append_new(find->rows, row);
}

json_t *troubles_json(const struct core *core, const char *instance)
{
    struct find find = { .core = core, .instance = instance };

    if (core->log_troubles > 0)
        streams_each(core->streams, add_row, &find);
    return find.rows;
}
