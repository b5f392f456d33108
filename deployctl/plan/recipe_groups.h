/* recipe_groups.h - the [group:NAME] sections of deploy.ini: which hosts are in which, and the
 * order.
 *
 * Only recipe.c calls these.
 */
#ifndef DEPLOYCTL_PLAN_RECIPE_GROUPS_H
#define DEPLOYCTL_PLAN_RECIPE_GROUPS_H

#include "deployctl/plan/recipe.h"

#define RECIPE_GROUPS_PREFIX "group:"

/* An error about a key (NULL = the section itself). */
typedef void recipe_groups_wrong_fn(void *context, const char *section, const char *key,
                                    const char *what);

/* Sorts the groups so that each comes after those it names, else in the file's order; gives every
 * host its group and its services.  A host in none or in two, a name that is no group, a cycle:
 * told by `wrong`, each with its key. */
void recipe_groups_place(struct recipe *recipe, recipe_groups_wrong_fn *wrong, void *context);

#endif
