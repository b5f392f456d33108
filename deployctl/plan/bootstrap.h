/* bootstrap.h - what a host lacks for releases, and the steps that bring it there.
 *
 * Facts about the host (the answer of a probe script) and what is wanted go in, a list of steps
 * comes out; bootstrap_script.h has the words that carry a step out.  A host that has everything
 * gets no step: a second run changes nothing.
 */
#ifndef DEPLOYCTL_PLAN_BOOTSTRAP_H
#define DEPLOYCTL_PLAN_BOOTSTRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BOOTSTRAP_NAME_MAX = 64,
    BOOTSTRAP_PATH_MAX = 512,
    BOOTSTRAP_TEXT_MAX = 400,
    BOOTSTRAP_STEPS_MAX = 24,
    BOOTSTRAP_SAYS_MAX = 8,
    BOOTSTRAP_USERS_MAX = 8,
    BOOTSTRAP_HEX_MAX = 65,
};
#define BOOTSTRAP_SUPERVISOR "/usr/local/sbin/supervisor"
#define BOOTSTRAP_CONFIG     "/etc/supervisor/supervisor.ini"
#define BOOTSTRAP_CONF_D     "/etc/supervisor/conf.d"

/* One of the two programs, here and what it has to be there. */
struct bootstrap_program {
    const char *name;      /* "deployctl" */
    const char *file;      /* here, for messages */
    const char *target;    /* on the host */
    unsigned machine;      /* ELF's e_machine */
    char interpreter[128]; /* "" = static */
    char digest[BOOTSTRAP_HEX_MAX];
    uint64_t bytes;
};
/* Reads machine and interpreter from the beginning of a program; false: that is no ELF program. */
bool bootstrap_program_read(struct bootstrap_program *program, const unsigned char *data,
                            size_t len);

struct bootstrap_wish {
    const char *user; /* who deploys, and the group of that name; "root" needs neither */
    const char *path; /* folder of the app */
    const char *version;
    struct bootstrap_program deployctl, supervisor;
    const char *service_file; /* its name in conf.d; NULL = none */
    char service_digest[BOOTSTRAP_HEX_MAX];
    const char *service_users[BOOTSTRAP_USERS_MAX]; /* who run the services of that file */
    size_t nservice_users;
    bool replace; /* also what is there already in another version or text */
    bool sudo;
};

enum bootstrap_init {
    BOOTSTRAP_INIT_NONE,
    BOOTSTRAP_INIT_SYSTEMD,
    BOOTSTRAP_INIT_SYSV,
    BOOTSTRAP_INIT_SUPERVISOR, /* it is the first process */
};
/* What a probe found; texts are "" and numbers 0 where there is nothing. */
struct bootstrap_facts {
    char machine[BOOTSTRAP_NAME_MAX]; /* uname -m */
    char login[BOOTSTRAP_NAME_MAX];
    int64_t uid;
    char init[BOOTSTRAP_NAME_MAX];
    int64_t interpreter_deployctl, interpreter_supervisor; /* 1: is there */
    int64_t digests, useradd, adduser;                     /* 1: the tool is there */
    char deployctl[BOOTSTRAP_NAME_MAX], deployctl_digest[BOOTSTRAP_HEX_MAX];
    char supervisor[BOOTSTRAP_NAME_MAX], supervisor_digest[BOOTSTRAP_HEX_MAX];
    char packaged[BOOTSTRAP_PATH_MAX]; /* a supervisor that a package brought */
    char running[BOOTSTRAP_NAME_MAX];  /* version of the supervisor that answers */
    int64_t group, user;
    char groups[BOOTSTRAP_TEXT_MAX]; /* of the user */
    int64_t keys;                    /* the user has authorized_keys */
    char folder[BOOTSTRAP_NAME_MAX]; /* dir, link, other */
    char folder_real[BOOTSTRAP_PATH_MAX], folder_owner[BOOTSTRAP_NAME_MAX];
    int64_t folder_mode; /* decimal digits of the octal mode: 755 */
    int64_t config;
    char control_group[BOOTSTRAP_NAME_MAX];
    int64_t service_file;
    char service_digest[BOOTSTRAP_HEX_MAX];
    char service_users[BOOTSTRAP_TEXT_MAX]; /* those of the wish that are there */
    int64_t unit;                           /* the service of the init system is there */
    int64_t programs_writable, path_writable;
    int64_t programs_free_kb, path_free_kb;
};
/* Lines KEY=VALUE; unknown keys and other lines are ignored, too long values cut. */
void bootstrap_facts_read(struct bootstrap_facts *facts, const char *text);
enum bootstrap_init bootstrap_init_of(const struct bootstrap_facts *facts);

enum bootstrap_act {
    BOOTSTRAP_GROUP,
    BOOTSTRAP_USER,
    BOOTSTRAP_SERVICE_USER, /* name: who */
    BOOTSTRAP_DEPLOYCTL,
    BOOTSTRAP_SUPERVISOR_COPY,
    BOOTSTRAP_FOLDER,
    BOOTSTRAP_CONFIG_NEW,
    BOOTSTRAP_CONTROL_GROUP,
    BOOTSTRAP_MEMBER, /* name: of which group */
    BOOTSTRAP_SERVICE_FILE,
    BOOTSTRAP_UNIT,
    BOOTSTRAP_START,
    BOOTSTRAP_UPGRADE,
    BOOTSTRAP_RELOAD,
    BOOTSTRAP_NACTS
};
const char *bootstrap_act_name(enum bootstrap_act act); /* "group", "user", ... */
struct bootstrap_step {
    enum bootstrap_act act;
    char name[BOOTSTRAP_NAME_MAX];
    char text[BOOTSTRAP_TEXT_MAX]; /* what it will do, for people */
};
struct bootstrap_plan {
    struct bootstrap_step steps[BOOTSTRAP_STEPS_MAX];
    size_t nsteps;
    /* With a problem nothing may be done.  Notes are for after. */
    char problems[BOOTSTRAP_SAYS_MAX][BOOTSTRAP_TEXT_MAX],
        notes[BOOTSTRAP_SAYS_MAX][BOOTSTRAP_TEXT_MAX];
    size_t nproblems, nnotes;
};
void bootstrap_plan(struct bootstrap_plan *plan, const struct bootstrap_wish *wish,
                    const struct bootstrap_facts *facts);
/* Less than, equal to, greater than 0, by the numbers in "1.10.2"; "" is the oldest. */
int bootstrap_version_order(const char *a, const char *b);
/* Path of the supervisor that the host uses. */
const char *bootstrap_supervisor(const struct bootstrap_wish *wish,
                                 const struct bootstrap_facts *facts);

#endif
