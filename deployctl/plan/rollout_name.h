/* rollout_name.h - the words and exit codes for what a rollout is doing. */
#ifndef DEPLOYCTL_PLAN_ROLLOUT_NAME_H
#define DEPLOYCTL_PLAN_ROLLOUT_NAME_H

#include "deployctl/plan/rollout.h"

const char *rollout_name_stage(enum rollout_stage stage);
enum { ROLLOUT_NAME_DOING = 160 };
/* A sentence on the present stage, and the group at it; NULL when there is nothing to tell. */
const char *rollout_name_doing(const struct rollout *rollout, char text[static ROLLOUT_NAME_DOING]);
/* The group at it, where groups follow one another; else NULL. */
const char *rollout_name_group(const struct rollout *rollout);
const char *rollout_name_act(enum rollout_act act);
const char *rollout_name_host(enum rollout_host_state state);
const char *rollout_name_outcome(enum rollout_outcome outcome);
/* CONTRACT.md's exit code of an outcome as such; rollout_exit_code() knows the exceptions. */
int rollout_name_code(enum rollout_outcome outcome);

#endif
