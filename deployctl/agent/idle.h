/* idle.h - work of the agent gives way to the services of its host.
 *
 * The calling thread asks for the disk in the idle class, and for the processor with a lower
 * priority where that can be taken back.  Best effort: nothing fails because of it.
 */
#ifndef DEPLOYCTL_AGENT_IDLE_H
#define DEPLOYCTL_AGENT_IDLE_H

#include <stdbool.h>

struct idle {
    bool on;
    long disk; /* what it was */
    int nice;
    bool niced;
};
void idle_begin(struct idle *idle);
/* As idle_begin, the disk alone: for a thread that starts processes, which would inherit both. */
void idle_begin_disk(struct idle *idle);
void idle_end(struct idle *idle); /* as before; without idle_begin nothing happens */

#endif
