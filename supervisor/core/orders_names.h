/* orders_names.h - which instances are meant by the names in an order. */
#ifndef SUPERVISOR_CORE_ORDERS_NAMES_H
#define SUPERVISOR_CORE_ORDERS_NAMES_H

#include <jansson.h>

#include "supervisor/core/keeper.h"

/* As orders_select() (orders.h). */
int orders_names_select(const struct core *core, json_t *names, struct slot ***ret,
                        size_t *ret_count, struct err *err);
/* It, or its service, is named itself, and not only meant by GROUP:* or all. */
bool orders_names_has(json_t *names, const struct slot *slot);

#endif
