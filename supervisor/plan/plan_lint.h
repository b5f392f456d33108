/* plan_lint.h - what works but is most likely not meant, for supervisor check. */
#ifndef SUPERVISOR_PLAN_PLAN_LINT_H
#define SUPERVISOR_PLAN_PLAN_LINT_H

#include "supervisor/plan/plan.h"

/* Adds "FILE:LINE: [section] key: what" to the list, in the order of the services.  Only of the
 * plan itself, which should have been made with places; what is on this host is not looked at. */
void plan_lint(const struct plan *plan, const struct plan_source *source,
               struct err_list *warnings);

/* One such line: at the key of the service, or where its section begins. */
void plan_lint_add(const struct plan_source *source, const struct spec_service *service,
                   const char *key, struct err_list *warnings, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

#endif
