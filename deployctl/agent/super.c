/* super.c - the contract is in super.h. */
#include "deployctl/agent/super.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SOCKET_PATH_MAX = 200, RETRY_MS = 250 };

struct super_order {
    struct super *super;
    char *method;
    json_t *params;
    int64_t timeout_ms, patient_until;
    rpc_link_fn *fn;
    void *context;
    struct loop_timer *timer; /* for the next try */
    struct super_order *next;
};
struct super {
    struct loop *loop;
    struct rpc_link *link;
    bool broken; /* the link is to be replaced before its next use */
    char socket[SOCKET_PATH_MAX];
    struct super_order *orders; /* all open ones */
};

static bool is_there(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* CONTRACT.md §1: the environment, /run, the user's runtime folder, /tmp, the abstract name. */
static void usual_socket(char socket[static SOCKET_PATH_MAX])
{
    const char *set = getenv("SUPERVISOR_SOCKET"), *runtime = getenv("XDG_RUNTIME_DIR");
    snprintf(socket, SOCKET_PATH_MAX, "%s",
             set != NULL && set[0] != '\0' ? set : "/run/supervisor/control.sock");
    if ((set != NULL && set[0] != '\0') || is_there(socket))
        return;
    char other[SOCKET_PATH_MAX];
    if (runtime != NULL) {
        snprintf(other, sizeof other, "%.150s/supervisor/control.sock", runtime);
        if (is_there(other)) {
            memcpy(socket, other, sizeof other);
            return;
        }
    }
    snprintf(other, sizeof other, "/tmp/supervisor-%u/control.sock", (unsigned)geteuid());
    if (is_there(other))
        memcpy(socket, other, sizeof other);
}

struct super *super_new(struct loop *loop, const char *socket, struct err *err)
{
    struct super *super = calloc(1, sizeof *super);
    if (super == NULL) {
        err_set(err, ERR_MEMORY, "no memory");
        return NULL;
    }
    super->loop = loop;
    super_use_socket(super, socket);
    return super;
}

void super_use_socket(struct super *super, const char *socket)
{
    char path[SOCKET_PATH_MAX];
    if (socket != NULL && socket[0] != '\0')
        snprintf(path, sizeof path, "%s", socket);
    else
        usual_socket(path);
    super->broken |= strcmp(path, super->socket) != 0;
    snprintf(super->socket, sizeof super->socket, "%s", path);
}

const char *super_socket(const struct super *super) { return super->socket; }

static void end_order(struct super_order *order, json_t *result, const struct err *err,
                      json_t *data)
{
    for (struct super_order **at = &order->super->orders; *at != NULL; at = &(*at)->next)
        if (*at == order) {
            *at = order->next;
            break;
        }
    order->fn(order->context, result, err, data);
    loop_timer_free(order->timer);
    json_decref(order->params);
    free(order->method);
    free(order);
}

void super_free(struct super *super)
{
    struct err err;
    if (super == NULL)
        return;
    rpc_link_free(super->link); /* ends the calls that wait on it */
    super->link = NULL;
    err_set(&err, ERR_UNREACHABLE, "the agent is leaving");
    while (super->orders != NULL)
        end_order(super->orders, NULL, &err, NULL);
    free(super);
}

static void on_close(void *context, const char *reason)
{
    struct super *super = context;
    (void)reason;
    super->broken = true;
}

static void on_notify(void *context, const char *method, json_t *params)
{
    (void)context, (void)method, (void)params; /* nothing is subscribed to */
}

static void try_order(void *context);

static void on_answer(void *context, json_t *result, const struct err *err, json_t *data)
{
    struct super_order *order = context;
    struct super *super = order->super;
    bool lost = result == NULL && err->code == ERR_UNREACHABLE;
    struct err slow;
    if (result == NULL && err->code == ERR_TIMEOUT) {
        err_set(&slow, ERR_TIMEOUT,
                "the supervisor on %s does not answer; if it hangs, `supervisor recover -s %s` (as "
                "root, on that host) replaces its core",
                super->socket, super->socket);
        err = &slow;
    }
    if (lost)
        super->broken = true;
    if (lost && loop_now_ms(super->loop) < order->patient_until)
        loop_timer_arm(order->timer, RETRY_MS);
    else
        end_order(order, result, err, data);
}

static void try_order(void *context)
{
    struct super_order *order = context;
    struct super *super = order->super;
    struct err err;
    if (super->broken || super->link == NULL) {
        struct rpc_link *old = super->link;
        super->link = NULL;
        super->broken = false;
        rpc_link_free(old);
        super->link = rpc_link_open(super->loop, super->socket, on_close, on_notify, super, &err);
    }
    if (super->link == NULL) {
        err.code = ERR_UNREACHABLE;
        on_answer(order, NULL, &err, NULL);
        return;
    }
    rpc_link_call(super->link, order->method, json_incref(order->params), order->timeout_ms,
                  on_answer, order);
}

void super_call(struct super *super, const char *method, json_t *params, int64_t timeout_ms,
                int64_t patience_ms, rpc_link_fn *fn, void *context)
{
    struct super_order *order = calloc(1, sizeof *order);
    struct err err;
    if (order != NULL) {
        order->method = strdup(method);
        order->timer = loop_timer_new(super->loop, try_order, order);
    }
    if (order == NULL || order->method == NULL || order->timer == NULL) {
        err_set(&err, ERR_MEMORY, "no memory to call the supervisor");
        fn(context, NULL, &err, NULL);
        json_decref(params);
        if (order != NULL) {
            loop_timer_free(order->timer);
            free(order->method);
            free(order);
        }
        return;
    }
    order->super = super;
    order->params = params;
    order->timeout_ms = timeout_ms;
    order->patient_until = loop_now_ms(super->loop) + patience_ms;
    order->fn = fn;
    order->context = context;
    order->next = super->orders;
    super->orders = order;
    try_order(order);
}
