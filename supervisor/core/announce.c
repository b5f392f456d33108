/* announce.c - the contract is in announce.h. */
#include "supervisor/core/announce.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervisor/core/keeper.h"
#include "supervisor/machine/summary.h"

enum {
    LOOK_MS = 200, /* after the first of some changes */
    SEND_MS = 1000,
    TELL_MAX = 400,
    LEAVING_MS = 30000, /* beyond the services' time: what the logger and the guardian may need */
};

struct announce {
    struct core *core;
    struct loop_timer *timer;
    bool listened_to; /* somebody wants to hear it */
    bool due;         /* the timer is armed for a look soon */
    bool ready, stopping;
    int64_t since_ms;
    char status[SUMMARY_TEXT_MAX]; /* as told */
};

static bool tell(struct announce *announce, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static bool tell(struct announce *announce, const char *fmt, ...)
{
    char text[TELL_MAX];
    struct err err = { 0 };
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (store_send(announce->core->channel, STORE_TELL, text, -1, SEND_MS, &err) == 0)
        return true;
    log_warn("cannot tell the service manager", "error", err.text, NULL);
    return false;
}

static void look(const struct keeper *keeper, struct summary *ret)
{
    *ret = (struct summary){ 0 };
    for (size_t i = 0; i < keeper->nslots; i++) {
        const struct slot *slot = keeper->slots[i];
        const struct lifecycle *lc = &slot->main->body.lc;
        if (!slot->removed)
            summary_add(ret, summary_of(lc, keeper_listening(slot)), slot->name,
                        lifecycle_state_name(keeper_state(slot)));
    }
}

static void look_again(struct announce *announce, int64_t delay_ms)
{
    announce->due = delay_ms <= LOOK_MS;
    loop_timer_arm(announce->timer, delay_ms > 0 ? delay_ms : 1);
}

static void on_timer(void *context)
{
    struct announce *announce = context;
    struct summary summary;
    char text[SUMMARY_TEXT_MAX];

    announce->due = false;
    if (announce->stopping)
        return;
    if (keeper_pending(announce->core->keeper)) { /* nothing has come to rest, all may seem so */
        look_again(announce, LOOK_MS);
        return;
    }
    look(announce->core->keeper, &summary);
    summary_text(&summary, text);
    int64_t since_ms = clock_mono_ms() - announce->since_ms;
    bool ready = announce->ready || summary_started(&summary, since_ms);
    bool news = ready != announce->ready || strcmp(text, announce->status) != 0;
    if (news && !tell(announce, "%sSTATUS=%s", ready ? "READY=1\n" : "", text)) {
        look_again(announce, LOOK_MS);
        return;
    }
    announce->ready = ready;
    memcpy(announce->status, text, sizeof text);
    if (!ready)
        look_again(announce, SUMMARY_PATIENCE_MS - since_ms);
}

struct announce *announce_new(struct core *core)
{
    struct announce *announce = calloc(1, sizeof *announce);

    if (!announce)
        return NULL;
    *announce = (struct announce){ .core = core,
                                   .listened_to = getenv("NOTIFY_SOCKET") != NULL,
                                   .since_ms = clock_mono_ms() };
    announce->timer = loop_timer_new(core->loop, on_timer, announce);
    if (!announce->timer) {
        free(announce);
        return NULL;
    }
    return announce;
}

void announce_free(struct announce *announce)
{
    if (!announce)
        return;
    loop_timer_free(announce->timer);
    free(announce);
}

void announce_changed(struct announce *announce)
{
    if (announce->listened_to && !announce->stopping && !announce->due)
        look_again(announce, LOOK_MS);
}

/* A manager tells from the time which of its wishes is meant. */
void announce_reloading(struct announce *announce)
{
    if (announce->listened_to && !announce->stopping)
        tell(announce, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_mono_us());
}

void announce_reloaded(struct announce *announce)
{
    if (!announce->listened_to || announce->stopping)
        return;
    tell(announce, "READY=1");
    announce_changed(announce);
}

void announce_stopping(struct announce *announce, int64_t timeout_ms)
{
    if (!announce->listened_to || announce->stopping)
        return;
    announce->stopping = true;
    tell(announce, "STOPPING=1\nSTATUS=stopping its services\nEXTEND_TIMEOUT_USEC=%lld",
         (long long)(timeout_ms + LEAVING_MS) * 1000);
}
