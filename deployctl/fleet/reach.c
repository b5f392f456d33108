/* reach.c - the contract is in reach.h. */
#include "deployctl/fleet/reach.h"

#include <stdio.h>

struct transport_target reach_target(const struct recipe *recipe, const struct recipe_host *host,
                                     struct children *children, char port[static REACH_PORT_MAX])
{
    const struct recipe_fleet *fleet = &recipe->fleet;
    if (host->port > 0)
        snprintf(port, REACH_PORT_MAX, "%u", (unsigned)(host->port & 0xffff));
    return (struct transport_target){
        .children = children,
        .host = host->name,
        .local = host->local,
        .local_socket = host->local_socket,
        .address = host->address,
        .user = host->user,
        .port = host->port > 0 ? port : NULL,
        .ssh_config = fleet->ssh_config,
        .ssh_options = recipe->ssh_options,
        .connect_timeout_ms = fleet->connect_timeout_ms,
        .remote_path = fleet->remote_path,
        .path = host->path,
    };
}
