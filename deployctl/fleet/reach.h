/* reach.h - how a host of deploy.ini is reached. */
#ifndef DEPLOYCTL_FLEET_REACH_H
#define DEPLOYCTL_FLEET_REACH_H

#include "deployctl/plan/recipe.h"
#include "deployctl/wire/transport.h"

enum { REACH_PORT_MAX = 8 };
/* All texts are borrowed from the recipe and `port`. */
struct transport_target reach_target(const struct recipe *recipe, const struct recipe_host *host,
                                     struct children *children, char port[static REACH_PORT_MAX]);

#endif
