/* inventory.h - hosts_command run and read, in plan/inventory.h's terms.
 *
 * `sh -c COMMAND` in the folder of deploy.ini, with nothing on its standard input and our standard
 * error.  It must end with code 0 within INVENTORY_MS.  Its output is lines, or JSON if it begins
 * with [ or {: a list of hosts, or {"hosts": [...]}; each host a name, or an object with "name",
 * keys of [host:NAME], and labels (as further texts, or as "labels": {...}).
 */
#ifndef DEPLOYCTL_CLI_INVENTORY_H
#define DEPLOYCTL_CLI_INVENTORY_H

#include "base/arena.h"
#include "base/err.h"
#include "deployctl/plan/inventory.h"

enum { INVENTORY_MS = 60000, INVENTORY_BYTES_MAX = 4 * 1024 * 1024 };

/* `file`: that of the recipe (a const char *).  ERR_SYSTEM with the exit code, ERR_TIMEOUT,
 * ERR_LIMIT, ERR_INVALID with the line. */
int inventory_ask(void *file, const char *command, struct inventory *ret, struct err *err);
/* The output alone. */
int inventory_read(struct inventory *inventory, const char *text, size_t len, struct err *err);

#endif
