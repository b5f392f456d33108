/* alone.h - `supervisor run -- COMMAND`: the guardian of one command, without core and logger. */
#ifndef SUPERVISOR_GUARDIAN_ALONE_H
#define SUPERVISOR_GUARDIAN_ALONE_H

/* guardian_alone() of guardian.h. */
int alone_run(char **argv);

#endif
