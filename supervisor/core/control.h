/* control.h - the control socket: who may call what, and where each call goes. */
#ifndef SUPERVISOR_CORE_CONTROL_H
#define SUPERVISOR_CORE_CONTROL_H

#include "base/err.h"
#include "io/rpc.h"
#include "supervisor/core/core.h"
#include "supervisor/core/orders.h"

struct control;

/* What the core itself does for a call; each answers it. */
struct control_hands {
    void *context;
    void (*reload)(void *context, struct rpc_call *call, json_t *params);
    void (*scale)(void *context, struct rpc_call *call, json_t *params);
    void (*shutdown)(void *context, struct rpc_call *call, json_t *params);
    void (*upgrade)(void *context, struct rpc_call *call, json_t *params);
};

/* Takes over the listening descriptor. */
struct control *control_new(struct core *core, int fd, struct orders *orders,
                            const struct control_hands *hands, struct err *err);
void control_free(struct control *control);

#endif
