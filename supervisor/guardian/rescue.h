/* rescue.h - a shell on the console, for a host whose supervisor cannot start. */
#ifndef SUPERVISOR_GUARDIAN_RESCUE_H
#define SUPERVISOR_GUARDIAN_RESCUE_H

/* As the init of a host: sulogin, which asks for root's password, else sh; until it ends.  Orphans
 * are reaped meanwhile, and signals that order a shutdown are carried out (it does not return
 * then).  Returns after a few seconds also where no shell can be started. */
void rescue_shell(void);

#endif
