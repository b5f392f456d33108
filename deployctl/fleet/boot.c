/* boot.c - the contract is in boot.h. */
#include "deployctl/fleet/boot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "deployctl/plan/bootstrap_script.h"
#include "deployctl/wire/children.h"
#include "deployctl/wire/digest.h"
#include "deployctl/wire/shell.h"

enum {
    LOGIN_MS = 20000, /* on top of connect_timeout: ssh's own timeout should fire first */
    STEP_MS = 120000,
    PIECE_BYTES = 256 * 1024,
    SCRIPT_MAX = 64 * 1024,
    TEXT_MAX = 64 * 1024,
    MARK_MAX = 40,
};

enum boot_state {
    BOOT_WAITS,
    BOOT_ASKED,
    BOOT_KNOWN,   /* there is a plan */
    BOOT_WORKING, /* steps[done] is under way */
    BOOT_OVER,    /* done, or failed with `error` */
};
struct boot_host {
    struct boot *boot;
    const struct recipe_host *spec;
    struct bootstrap_wish wish;
    struct bootstrap_facts facts;
    struct bootstrap_plan *plan; /* NULL = never answered */
    struct shell *shell;
    enum boot_state state;
    size_t done;
    struct buf text; /* a payload that is made for this host */
    const char *payload;
    size_t left;
    bool unreachable;
    char error[BOOT_ERROR_MAX];
};
struct boot {
    const struct boot_order *order;
    void (*news)(void *context, const struct boot_news *news);
    void *context;
    struct loop *loop;
    struct children *children;
    struct boot_host *hosts;
    size_t count;
    bool applying, pumping;
    char mark[MARK_MAX];
};

static void pump(struct boot *boot);

/* --- one host ------------------------------------------------------------------------------- */

static const struct bootstrap_step *present(const struct boot_host *host)
{
    return host->plan != NULL && host->state == BOOT_WORKING && host->done < host->plan->nsteps
               ? &host->plan->steps[host->done]
               : NULL;
}

static void tell(struct boot_host *host, enum boot_news_kind kind, const char *text)
{
    struct boot_news news = {
        .kind = kind, .host = host->spec->name, .step = present(host), .text = text
    };
    host->boot->news(host->boot->context, &news);
}

static void hang_up(struct boot_host *host)
{
    shell_free(host->shell);
    host->shell = NULL;
    buf_clear(&host->text);
}

static void fail(struct boot_host *host, const char *text)
{
    snprintf(host->error, sizeof host->error, "%s", text);
    for (char *at = host->error; *at != '\0'; at++) /* a host's words, on their way to a terminal */
        if (*at < ' ' || *at > '~')
            *at = *at == '\n' ? ' ' : '?';
    if (host->boot->applying)
        tell(host, BOOT_NEWS_FAILED, host->error);
    host->state = BOOT_OVER;
    hang_up(host);
    pump(host->boot);
}

/* Finds the contents for the step; texts are made for the host. */
static bool take_payload(struct boot_host *host, const struct bootstrap_step *step)
{
    const struct boot_order *order = host->boot->order;
    enum bootstrap_payload payload = bootstrap_payload_of(step->act);
    const struct buf *contents = &host->text;
    buf_clear(&host->text);
    switch (payload) {
    case BOOTSTRAP_NO_PAYLOAD:
        break;
    case BOOTSTRAP_OF_DEPLOYCTL:
        contents = order->deployctl;
        break;
    case BOOTSTRAP_OF_SUPERVISOR:
        contents = order->supervisor;
        break;
    case BOOTSTRAP_OF_SERVICE_FILE:
        contents = order->service_file;
        break;
    case BOOTSTRAP_OF_CONFIG:
    case BOOTSTRAP_OF_UNIT:
        bootstrap_text(&host->text, payload, &host->wish, &host->facts);
        break;
    }
    host->payload = buf_text(contents);
    host->left = contents->len;
    return !contents->failed;
}

static void send_step(struct boot_host *host)
{
    const struct bootstrap_step *step = present(host);
    unsigned char digest[MANIFEST_DIGEST_BYTES];
    char hex[MANIFEST_HEX_MAX];
    struct err err;
    struct buf script;
    buf_init(&script, SCRIPT_MAX);
    bool ok = take_payload(host, step) && digest_of(host->payload, host->left, digest, &err) == 0;
    if (ok) {
        manifest_hex(digest, hex);
        bootstrap_step_script(&script, step, &host->wish, &host->facts, host->boot->mark,
                              host->left, hex);
        ok = !script.failed && shell_run(host->shell, buf_text(&script), STEP_MS);
    }
    buf_done(&script);
    if (!ok)
        fail(host, "the step could not be sent (no memory, or the connection is gone)");
}

static void go_on(struct boot_host *host)
{
    if (present(host) != NULL) {
        send_step(host);
        return;
    }
    tell(host, BOOT_NEWS_DONE, NULL);
    host->state = BOOT_OVER;
    hang_up(host);
    pump(host->boot);
}

static void on_payload(void *context)
{
    struct boot_host *host = context;
    while (host->left > 0 && shell_queued(host->shell) == 0) {
        size_t len = host->left < PIECE_BYTES ? host->left : PIECE_BYTES;
        if (!shell_write(host->shell, host->payload, len))
            return; /* the connection is gone, which on_close tells */
        host->payload += len;
        host->left -= len;
    }
}

static void on_drain(void *context)
{
    struct boot_host *host = context;
    if (present(host) != NULL && bootstrap_payload_of(present(host)->act) != BOOTSTRAP_NO_PAYLOAD)
        on_payload(host);
}

static void on_answer(struct boot_host *host, const char *said)
{
    struct boot *boot = host->boot;
    if (host->plan == NULL)
        host->plan = calloc(1, sizeof *host->plan);
    if (host->plan == NULL) {
        fail(host, "no memory for a plan");
        return;
    }
    bootstrap_facts_read(&host->facts, said);
    bootstrap_plan(host->plan, &host->wish, &host->facts);
    host->state = boot->applying ? BOOT_WORKING : BOOT_KNOWN;
    if (boot->applying && host->plan->nproblems > 0)
        fail(host, host->plan->problems[0]);
    else if (boot->applying)
        go_on(host);
    else if (boot->count > (size_t)boot->order->recipe->fleet.parallel || host->plan->nsteps == 0 ||
             host->plan->nproblems > 0)
        hang_up(host);
    pump(boot);
}

/* Its last lines, in one. */
static void blame_said(struct boot_host *host, int code, const char *said)
{
    char text[BOOT_ERROR_MAX];
    size_t n = 0, len = strlen(said);
    const char *from = len > sizeof text / 2 ? said + len - sizeof text / 2 : said;
    for (; *from != '\0' && n + 3 < sizeof text; from++) {
        if (*from == '\n' && n > 0 && from[strspn(from, "\n ")] != '\0' && text[n - 1] != ' ') {
            text[n++] = ';';
            text[n++] = ' ';
        } else if (*from != '\n') {
            text[n++] = *from >= ' ' && *from <= '~' ? *from : '?';
        }
    }
    text[n] = '\0';
    if (n == 0)
        snprintf(text, sizeof text, "it ended with code %d and said nothing", code);
    fail(host, text);
}

static void on_end(void *context, int code, const char *said)
{
    struct boot_host *host = context;
    if (host->state == BOOT_ASKED) {
        on_answer(host, said);
        return;
    }
    if (present(host) == NULL)
        return;
    if (code != 0) {
        blame_said(host, code, said);
        return;
    }
    tell(host, BOOT_NEWS_STEP, NULL);
    host->done++;
    go_on(host);
}

static void on_close(void *context, const struct err *err)
{
    struct boot_host *host = context;
    if (host->state == BOOT_KNOWN) { /* while people think; it is asked anew */
        hang_up(host);
        return;
    }
    host->unreachable = true;
    fail(host, err->text);
}

static void connect_to(struct boot_host *host)
{
    static const struct shell_events events = { on_payload, on_drain, on_end, on_close };
    struct boot *boot = host->boot;
    const struct recipe *recipe = boot->order->recipe;
    const struct recipe_host *spec = host->spec;
    char port[24] = "";
    struct err err;
    struct buf probe;
    if (spec->port > 0)
        snprintf(port, sizeof port, "%lld", (long long)spec->port);
    struct transport_target target = {
        .children = boot->children,
        .host = spec->name,
        .address = spec->address,
        .user = boot->order->login != NULL ? boot->order->login : spec->user,
        .port = port,
        .ssh_config = recipe->fleet.ssh_config,
        .ssh_options = (const char *const *)recipe->ssh_options,
        .connect_timeout_ms = recipe->fleet.connect_timeout_ms,
    };
    host->state = BOOT_ASKED;
    host->shell = shell_open(boot->loop, &target, host->wish.sudo, boot->mark, &events, host, &err);
    if (host->shell == NULL) {
        host->unreachable = true;
        fail(host, err.text);
        return;
    }
    buf_init(&probe, SCRIPT_MAX);
    bootstrap_probe(&probe, &host->wish, boot->mark);
    shell_run(host->shell, buf_text(&probe), target.connect_timeout_ms + LOGIN_MS);
    buf_done(&probe);
}

/* --- all of them ---------------------------------------------------------------------------- */

static bool is_settled(const struct boot_host *host)
{
    if (host->state == BOOT_OVER)
        return true;
    bool nothing = host->plan != NULL && (host->plan->nsteps == 0 || host->plan->nproblems > 0);
    return host->state == BOOT_KNOWN && (!host->boot->applying || nothing);
}

/* Begins with as many hosts as may be at work, and ends the run when all are through. */
static void pump(struct boot *boot)
{
    size_t busy = 0, settled = 0;
    if (boot->pumping) /* one that fails at once; the loop below sees it */
        return;
    boot->pumping = true;
    for (size_t i = 0; i < boot->count; i++)
        busy += boot->hosts[i].state == BOOT_ASKED || boot->hosts[i].state == BOOT_WORKING;
    for (size_t i = 0; i < boot->count; i++) {
        struct boot_host *host = &boot->hosts[i];
        bool waits = host->state == BOOT_WAITS || (host->state == BOOT_KNOWN && !is_settled(host));
        if (waits && busy < (size_t)boot->order->recipe->fleet.parallel) {
            if (host->shell == NULL) {
                connect_to(host);
            } else {
                host->state = BOOT_WORKING;
                go_on(host);
            }
            busy += host->state != BOOT_OVER;
        }
        settled += is_settled(host);
    }
    boot->pumping = false;
    if (settled == boot->count)
        loop_stop(boot->loop);
}

static void run(struct boot *boot)
{
    pump(boot);
    loop_run(boot->loop, NULL, NULL);
}

void boot_look(struct boot *boot) { run(boot); }

void boot_apply(struct boot *boot)
{
    boot->applying = true;
    run(boot);
}

struct boot *boot_new(const struct boot_order *order,
                      void (*news)(void *context, const struct boot_news *news), void *context,
                      struct err *err)
{
    const struct recipe *recipe = order->recipe;
    struct boot *boot = calloc(1, sizeof *boot);
    uint64_t chance = 0;
    err_set(err, ERR_MEMORY, "no memory for %zu hosts", recipe->count);
    if (boot == NULL)
        return NULL;
    if (getrandom(&chance, sizeof chance, GRND_NONBLOCK) < 0)
        chance = (uint64_t)(uintptr_t)boot; /* only so that nobody prints it by chance */
    snprintf(boot->mark, sizeof boot->mark, "@@deployctl-%016llx", (unsigned long long)chance);
    boot->order = order;
    boot->news = news;
    boot->context = context;
    boot->loop = loop_new(err);
    boot->children = boot->loop != NULL ? children_new(boot->loop, err) : NULL;
    boot->hosts = calloc(recipe->count + 1, sizeof *boot->hosts);
    if (boot->children == NULL || boot->hosts == NULL) {
        boot_free(boot);
        return NULL;
    }
    for (size_t i = 0; i < recipe->count; i++) {
        struct boot_host *host = &boot->hosts[boot->count++];
        const struct recipe_host *spec = &recipe->hosts[i];
        *host = (struct boot_host){ .boot = boot, .spec = spec, .wish = order->wish };
        host->wish.path = spec->path;
        host->wish.user = spec->user != NULL && *spec->user ? spec->user : order->user;
        buf_init(&host->text, TEXT_MAX);
        if (spec->local) {
            host->state = BOOT_OVER;
            snprintf(host->error, sizeof host->error,
                     "its transport is %s, and bootstrap goes over ssh", spec->transport);
        }
    }
    return boot;
}

void boot_free(struct boot *boot)
{
    if (boot == NULL)
        return;
    for (size_t i = 0; boot->hosts != NULL && i < boot->count; i++) {
        hang_up(&boot->hosts[i]);
        buf_done(&boot->hosts[i].text);
        free(boot->hosts[i].plan);
    }
    children_free(boot->children);
    if (boot->loop != NULL)
        loop_free(boot->loop);
    free(boot->hosts);
    free(boot);
}

size_t boot_count(const struct boot *boot) { return boot->count; }

struct boot_view boot_view(const struct boot *boot, size_t index)
{
    const struct boot_host *host = &boot->hosts[index];
    return (struct boot_view){
        .spec = host->spec,
        .user = host->wish.user,
        .plan = host->plan,
        .error = host->error,
        .done = host->done,
        .unreachable = host->unreachable,
    };
}
