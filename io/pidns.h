/* pidns.h - which pid namespace this is. */
#ifndef IO_PIDNS_H
#define IO_PIDNS_H

#include <stdbool.h>

/* The initial one: its PID 1 is the init of a host, where leaving means a kernel panic, and not
 * that of a container.  False where /proc does not tell. */
bool pidns_is_initial(void);

#endif
