/* utmp.c - the contract is in utmp.h. */
#include "supervisor/guardian/utmp.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <utmpx.h>

#include "base/clock.h"

static const char utmp_path[] = "/run/utmp", wtmp_path[] = "/var/log/wtmp";

static struct utmpx make(enum utmp_kind kind)
{
    struct utmpx record = { .ut_type = kind == UTMP_BOOT ? BOOT_TIME : RUN_LVL,
                            .ut_line = "~",
                            .ut_id = "~~" };
    struct utsname name;
    int64_t now_us = clock_wall_us();

    snprintf(record.ut_user, sizeof record.ut_user, "%s",
             kind == UTMP_BOOT ? "reboot" : "shutdown");
    if (uname(&name) == 0)
        snprintf(record.ut_host, sizeof record.ut_host, "%s", name.release);
    record.ut_tv.tv_sec = (__typeof__(record.ut_tv.tv_sec))(now_us / 1000000);
    record.ut_tv.tv_usec = (__typeof__(record.ut_tv.tv_usec))(now_us % 1000000);
    return record;
}

void utmp_record(enum utmp_kind kind)
{
    struct utmpx record = make(kind);
    int fd = kind == UTMP_BOOT ? open(utmp_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644) : -1;

    if (fd >= 0)
        close(fd);
    setutxent();
    pututxline(&record);
    endutxent();
#ifdef __GLIBC__
    updwtmpx(wtmp_path, &record);
#else
    fd = open(wtmp_path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd >= 0) {
        if (write(fd, &record, sizeof record) != sizeof record)
            fprintf(stderr, "supervisor: %s cannot be written\n", wtmp_path);
        close(fd);
    }
#endif
}
