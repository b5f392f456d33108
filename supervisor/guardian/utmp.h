/* utmp.h - the records by which `last` and `who -b` know when the host came up and went down. */
#ifndef SUPERVISOR_GUARDIAN_UTMP_H
#define SUPERVISOR_GUARDIAN_UTMP_H

enum utmp_kind { UTMP_BOOT, UTMP_SHUTDOWN };

/* Into /run/utmp, which is made for a boot if it is missing, and /var/log/wtmp, if it is there.
 * Where they cannot be written nothing happens. */
void utmp_record(enum utmp_kind kind);

#endif
