/* driver_drain.c - what a host is told about leaving the traffic, and what it says of it. */
#include "deployctl/fleet/driver_inside.h"

#include <stdlib.h>
#include <string.h>

#include "base/unit.h"
#include "io/jsonx.h"

/* --now is for when every second of what runs now hurts. */
bool driver_drain_on(const struct driver *driver)
{
    return driver->recipe->drain.on && !driver->order.now;
}

bool driver_drain_unknown(const struct driver_host *host)
{
    return host->driver->recipe->drain.on && host->glance.answer &&
           !json_object_get(host->glance.answer, "drained");
}

int64_t driver_drain_most_ms(const struct driver *driver)
{
    const struct recipe_drain *drain = &driver->recipe->drain;
    if (!driver_drain_on(driver))
        return 0;
    return 2 * drain->timeout_ms + drain->delay_ms + drain->wait_ms;
}

/* %h is the host's name. */
static char *server_name(const struct driver_host *host)
{
    struct buf text;
    buf_init(&text, DRIVER_SERVER_MAX);
    for (const char *at = host->driver->recipe->drain.haproxy_server; at && *at; at++) {
        if (at[0] == '%' && at[1] == 'h') {
            buf_puts(&text, host->spec->name);
            at++;
        } else {
            buf_put(&text, at, 1);
        }
    }
    char *name = strdup(buf_text(&text));
    buf_done(&text);
    return name;
}

static json_t *haproxy_of(const struct driver_host *host)
{
    const struct recipe_drain *drain = &host->driver->recipe->drain;
    json_t *haproxy = json_object(), *sockets = json_array();
    char *server = server_name(host);
    for (size_t i = 0; i < drain->haproxy_sockets.count; i++)
        json_array_append_new(sockets, json_string(drain->haproxy_sockets.names[i]));
    json_object_set_new(haproxy, "sockets", sockets);
    jsonx_set_text(haproxy, "backend", drain->haproxy_backend);
    jsonx_set_text(haproxy, "server", server);
    free(server);
    return haproxy;
}

void driver_drain_put(const struct driver_host *host, json_t *params, json_t *env)
{
    const struct recipe_drain *drain = &host->driver->recipe->drain;
    if (!driver_drain_on(host->driver)) {
        json_decref(env);
        return;
    }
    json_t *how = json_object(), *ports = json_array();
    int64_t port;
    for (size_t i = 0; i < drain->ports.count; i++)
        if (unit_integer(drain->ports.names[i], 10, &port, NULL) == 0)
            json_array_append_new(ports, json_integer(port));
    if (drain->command)
        jsonx_set_text(how, "command", drain->command);
    if (drain->undrain_command)
        jsonx_set_text(how, "undrain_command", drain->undrain_command);
    jsonx_set_int(how, "timeout_s", (drain->timeout_ms + 999) / 1000);
    jsonx_set_int(how, "delay_ms", drain->delay_ms);
    jsonx_set_int(how, "wait_ms", drain->wait_ms);
    json_object_set_new(how, "ports", ports);
    if (drain->haproxy_sockets.count > 0)
        json_object_set_new(how, "haproxy", haproxy_of(host));
    json_object_set_new(how, "env", env);
    json_object_set_new(params, "drain", how);
}

void driver_drain_told(struct driver_host *host, const json_t *answer)
{
    const json_t *told = json_object_get(answer, "drain"), *warning;
    int64_t waited_ms = jsonx_int(told, "waited_ms", 0);
    char time[UNIT_TEXT_MAX];
    size_t i;
    json_array_foreach(json_object_get(told, "warnings"), i, warning) driver_tell(
        host->driver, DRIVER_NEWS_WARNING, host, NULL, "%.400s", json_string_value(warning));
    if (!told || i > 0)
        return;
    unit_duration_text(waited_ms, time);
    driver_tell(host->driver, DRIVER_NEWS_HOST, host, "drained",
                "its connections were gone after %s", time);
}
