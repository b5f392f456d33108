/* boot.h - takes hosts through plan/bootstrap: asks each what it has, then carries its steps out.
 *
 * One connection to each host, at most `parallel` of [fleet] at a time.  In a fleet of more hosts
 * than that the connections are closed between the question and the work, and each host is asked
 * anew when its turn comes.
 */
#ifndef DEPLOYCTL_FLEET_BOOT_H
#define DEPLOYCTL_FLEET_BOOT_H

#include "base/buf.h"
#include "deployctl/plan/bootstrap.h"
#include "deployctl/plan/recipe.h"

enum { BOOT_ERROR_MAX = 1024 };
struct boot_order {
    const struct recipe *recipe;
    const char *login;          /* user name for ssh; NULL = as releases log in */
    const char *user;           /* who deploys on hosts that name no user */
    struct bootstrap_wish wish; /* user and path are filled in for each host */
    const struct buf *deployctl, *supervisor, *service_file; /* contents; the last may be NULL */
};
enum boot_news_kind {
    BOOT_NEWS_STEP,   /* the step is done */
    BOOT_NEWS_FAILED, /* text: why */
    BOOT_NEWS_DONE,
};
struct boot_news {
    enum boot_news_kind kind;
    const char *host;
    const struct bootstrap_step *step; /* NULL = before any */
    const char *text;
};
struct boot_view {
    const struct recipe_host *spec;
    const char *user;                  /* who deploys there */
    const struct bootstrap_plan *plan; /* of the last question; NULL = it was not reached */
    const char *error;                 /* "" = none */
    size_t done;                       /* steps that were carried out */
    bool unreachable;
};
struct boot;

/* Everything in the order must outlive it. */
struct boot *boot_new(const struct boot_order *order,
                      void (*news)(void *context, const struct boot_news *news), void *context,
                      struct err *err);
void boot_free(struct boot *boot);
void boot_look(struct boot *boot);  /* returns when every host was asked */
void boot_apply(struct boot *boot); /* then: returns when every host with steps is through */
size_t boot_count(const struct boot *boot);
struct boot_view boot_view(const struct boot *boot, size_t host);

#endif
