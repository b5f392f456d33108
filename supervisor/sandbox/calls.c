/* calls.c - the contract is in calls.h.
 *
 * A name is in one list only (a test looks).  Those of 32-bit machines are among them, and names
 * that the library or a machine does not know are left out when a filter is made.
 */
#include "supervisor/sandbox/calls.h"

static const char files[] =
    "open openat openat2 creat close close_range read readv pread64 preadv preadv2 write writev "
    "pwrite64 pwritev pwritev2 lseek _llseek sendfile sendfile64 splice tee vmsplice "
    "copy_file_range fcntl fcntl64 ioctl flock dup dup2 dup3 pipe pipe2 stat stat64 lstat lstat64 "
    "fstat fstat64 fstatat64 newfstatat statx statfs statfs64 fstatfs fstatfs64 access faccessat "
    "faccessat2 readlink readlinkat getdents getdents64 readdir getcwd chdir fchdir mkdir mkdirat "
    "rmdir link linkat symlink symlinkat unlink unlinkat rename renameat renameat2 mknod mknodat "
    "chmod fchmod fchmodat fchmodat2 utime utimes futimesat utimensat utimensat_time64 truncate "
    "truncate64 ftruncate ftruncate64 fallocate fadvise64 fadvise64_64 arm_fadvise64_64 readahead "
    "fsync fdatasync sync syncfs sync_file_range sync_file_range2 arm_sync_file_range umask "
    "getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr setxattr lsetxattr fsetxattr "
    "removexattr lremovexattr fremovexattr io_setup io_submit io_getevents io_pgetevents "
    "io_pgetevents_time64 io_cancel io_destroy oldstat oldlstat oldfstat name_to_handle_at";
static const char events[] =
    "poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64 epoll_create "
    "epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 "
    "eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_settime timerfd_settime64 "
    "timerfd_gettime timerfd_gettime64 inotify_init inotify_init1 inotify_add_watch "
    "inotify_rm_watch";
static const char network[] =
    "socket socketpair bind listen accept accept4 connect getsockname getpeername getsockopt "
    "setsockopt shutdown send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg "
    "recvmmsg_time64 socketcall";
static const char memory[] =
    "brk mmap mmap2 munmap mprotect mremap madvise process_madvise mincore msync mlock mlock2 "
    "mlockall munlock munlockall membarrier memfd_create memfd_secret remap_file_pages pkey_alloc "
    "pkey_free pkey_mprotect get_mempolicy cacheflush map_shadow_stack";
static const char processes[] =
    "clone fork vfork execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid "
    "getpgid getpgrp getsid setpgid setsid getuid getuid32 geteuid geteuid32 getgid getgid32 "
    "getegid getegid32 getresuid getresuid32 getresgid getresgid32 getgroups getgroups32 capget "
    "futex futex_time64 futex_waitv set_robust_list get_robust_list set_tid_address rseq "
    "arch_prctl set_thread_area get_thread_area set_tls get_tls modify_ldt sched_yield "
    "sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_get_priority_max "
    "sched_get_priority_min sched_rr_get_interval sched_rr_get_interval_time64 getpriority "
    "ioprio_get getrlimit ugetrlimit prlimit64 getrusage getcpu getrandom uname olduname "
    "oldolduname sysinfo personality pidfd_open pidfd_send_signal process_mrelease "
    "riscv_flush_icache";
static const char signals[] =
    "kill tkill tgkill rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn "
    "rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaction sigaltstack "
    "signal sigpending sigprocmask sigreturn sigsuspend pause restart_syscall";
static const char time_calls[] =
    "time gettimeofday times clock_gettime clock_gettime64 clock_getres clock_getres_time64 "
    "clock_nanosleep clock_nanosleep_time64 nanosleep alarm getitimer setitimer timer_create "
    "timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64";
static const char exchange[] =
    "ipc semget semop semtimedop semtimedop_time64 semctl msgget msgsnd msgrcv msgctl shmget shmat "
    "shmdt shmctl mq_open mq_unlink mq_timedsend mq_timedsend_time64 mq_timedreceive "
    "mq_timedreceive_time64 mq_notify mq_getsetattr";
static const char own_box[] =
    "prctl seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self";
static const char ids[] =
    "setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid "
    "setresuid32 setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 setgroups "
    "setgroups32 capset chown chown32 fchown fchown32 lchown lchown32 fchownat chroot";
static const char share[] =
    "nice setpriority setrlimit ioprio_set sched_setaffinity sched_setattr sched_setparam "
    "sched_setscheduler mbind set_mempolicy set_mempolicy_home_node migrate_pages move_pages";
static const char keys[] = "add_key keyctl request_key";
static const char looking[] = "ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd";
static const char host[] =
    "mount umount umount2 pivot_root mount_setattr move_mount open_tree fsopen fsconfig fsmount "
    "fspick open_by_handle_at fanotify_init fanotify_mark quotactl quotactl_fd swapon swapoff "
    "sysfs ustat "
    "nfsservctl unshare setns sethostname setdomainname acct reboot kexec_load kexec_file_load "
    "init_module finit_module delete_module create_module query_module get_kernel_syms bpf "
    "perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register lookup_dcookie "
    "iopl ioperm settimeofday stime clock_settime clock_settime64 clock_adjtime clock_adjtime64 "
    "adjtimex syslog vhangup uselib vm86 vm86old _sysctl bdflush afs_syscall getpmsg putpmsg "
    "security tuxcall vserver";

const char *calls_of(enum calls_group group)
{
    static const char *const lists[CALLS_NGROUPS] = {
        [CALLS_FILES] = files,     [CALLS_EVENTS] = events,       [CALLS_NETWORK] = network,
        [CALLS_MEMORY] = memory,   [CALLS_PROCESSES] = processes, [CALLS_SIGNALS] = signals,
        [CALLS_TIME] = time_calls, [CALLS_EXCHANGE] = exchange,   [CALLS_OWN_BOX] = own_box,
        [CALLS_IDS] = ids,         [CALLS_SHARE] = share,         [CALLS_KEYS] = keys,
        [CALLS_LOOKING] = looking, [CALLS_HOST] = host,
    };
    return lists[group];
}
