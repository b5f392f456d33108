/* calls.h - system calls by what they are for, as lists of words; the profiles are made of these.
 */
#ifndef SUPERVISOR_SANDBOX_CALLS_H
#define SUPERVISOR_SANDBOX_CALLS_H

enum calls_group {
    CALLS_FILES,     /* open, read, write, links, attributes */
    CALLS_EVENTS,    /* waiting for many things at once */
    CALLS_NETWORK,   /* sockets */
    CALLS_MEMORY,    /* maps and locks of memory */
    CALLS_PROCESSES, /* starting, waiting, threads, who one is */
    CALLS_SIGNALS,
    CALLS_TIME,     /* reading clocks, timers, sleeping */
    CALLS_EXCHANGE, /* semaphores, queues and memory between processes */
    CALLS_OWN_BOX,  /* giving up rights of one's own: landlock, seccomp, prctl */
    CALLS_IDS,      /* other users, owners, roots */
    CALLS_SHARE,    /* priorities, limits, placing */
    CALLS_KEYS,     /* keyrings */
    CALLS_LOOKING,  /* into other processes */
    CALLS_HOST,     /* mounts, modules, clocks, the machine: what containers are denied */
    CALLS_NGROUPS
};
/* Names with blanks between them. */
const char *calls_of(enum calls_group group);

#endif
