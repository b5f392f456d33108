/* inventory.h - hosts as a command tells them (hosts_command in [fleet]).
 *
 * One host a line, blank lines and # comments aside:
 *
 *     web1.example.net address=10.0.0.1 user=deploy port=2222 zone=a role=web
 *
 * KEY=VALUE with a key of [host:NAME] (address, user, port, transport, path, labels, metrics) is
 * that; any other is a label.  What looks like JSON is read by whoever runs the command; this holds
 * what came out of either.
 */
#ifndef DEPLOYCTL_PLAN_INVENTORY_H
#define DEPLOYCTL_PLAN_INVENTORY_H

#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

enum { INVENTORY_PAIRS_MAX = 64, INVENTORY_VALUE_MAX = 4096 };

struct recipe_host;
struct inventory_host {
    const char *name;
    size_t place;        /* number of its line, or of the host in a list, from 1 on */
    const char **pairs;  /* key, value, key, value ... */
    size_t npairs, room; /* of pairs */
};
struct inventory {
    struct arena *arena;  /* of all texts */
    const char *place_is; /* "line" or "host": what `place` counts */
    struct inventory_host *hosts;
    size_t count, room;
};

/* Another host; then what is said of it.  Copies.  ERR_INVALID, ERR_LIMIT, ERR_MEMORY. */
int inventory_add(struct inventory *inventory, const char *name, size_t place, struct err *err);
int inventory_say(struct inventory *inventory, const char *key, const char *value, struct err *err);
/* Text of lines; a NUL in it is ERR_INVALID. */
int inventory_lines(struct inventory *inventory, const char *text, size_t len, struct err *err);
/* What is said of a host goes into what deploy.ini knows of it. */
int inventory_apply(const struct inventory_host *from, struct recipe_host *to, struct arena *arena,
                    struct err *err);

#endif
