/* bootstrap.c - the contract is in bootstrap.h. */
#include "deployctl/plan/bootstrap.h"

#include <elf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPARE_KB = 4096 }; /* left over beside what is copied */

/* --- programs ------------------------------------------------------------------------------- */

/* What `uname -m` says on hosts that run programs of this machine. */
static const struct {
    unsigned machine;
    const char *names;
} machines[] = {
    { EM_X86_64, " x86_64 amd64 " },
    { EM_386, " i386 i486 i586 i686 x86_64 " },
    { EM_AARCH64, " aarch64 arm64 " },
    { EM_ARM, " armv6l armv7l armv8l aarch64 " },
    { EM_RISCV, " riscv64 riscv32 " },
    { EM_PPC64, " ppc64le ppc64 " },
    { EM_S390, " s390x " },
};

static bool is_word_of(const char *word, const char *words)
{
    size_t len = strlen(word);
    for (const char *at = words; len > 0 && (at = strstr(at, word)) != NULL; at += len)
        if ((at == words || at[-1] == ' ') && (at[len] == '\0' || at[len] == ' '))
            return true;
    return false;
}

static const char *machine_names(unsigned machine)
{
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++)
        if (machines[i].machine == machine)
            return machines[i].names;
    return NULL;
}

static uint64_t number(const unsigned char *data, size_t at, size_t bytes, bool big)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | data[at + (big ? i : bytes - 1 - i)];
    return value;
}

/* Offsets of the fields that are read, for 32 and 64 bits (gABI, figures 4-3 and 5-1). */
struct layout {
    size_t word, phoff, phentsize, phnum, p_offset, p_filesz, header;
};

bool bootstrap_program_read(struct bootstrap_program *program, const unsigned char *data,
                            size_t len)
{
    static const struct layout narrow = { 4, 28, 42, 44, 4, 16, 52 };
    static const struct layout wide = { 8, 32, 54, 56, 8, 32, 64 };
    program->interpreter[0] = '\0';
    if (len < sizeof(Elf64_Ehdr) || memcmp(data, ELFMAG, SELFMAG) != 0)
        return false;
    const struct layout *at = data[EI_CLASS] == ELFCLASS64 ? &wide : &narrow;
    bool big = data[EI_DATA] == ELFDATA2MSB;
    program->machine = (unsigned)number(data, 18, 2, big);
    uint64_t table = number(data, at->phoff, at->word, big);
    uint64_t size = number(data, at->phentsize, 2, big), count = number(data, at->phnum, 2, big);
    for (uint64_t i = 0; i < count && size >= at->p_filesz + at->word; i++) {
        uint64_t entry = table + i * size;
        if (table > len || entry > len || len - entry < size)
            return true;
        if (number(data, (size_t)entry, 4, big) != PT_INTERP)
            continue;
        uint64_t from = number(data, (size_t)entry + at->p_offset, at->word, big);
        uint64_t bytes = number(data, (size_t)entry + at->p_filesz, at->word, big);
        if (from < len && bytes > 0 && bytes <= len - from &&
            bytes <= sizeof program->interpreter && data[from + bytes - 1] == '\0')
            memcpy(program->interpreter, data + from, (size_t)bytes);
    }
    return true;
}

/* --- facts ---------------------------------------------------------------------------------- */

#define TEXT(member)                                                                               \
#member, offsetof(struct bootstrap_facts, member), sizeof((struct bootstrap_facts *)0)->member
#define NUMBER(member) #member, offsetof(struct bootstrap_facts, member), 0
static const struct {
    const char *key;
    size_t at, size; /* size 0: a number */
} fact_rows[] = {
    { TEXT(machine) },
    { TEXT(login) },
    { NUMBER(uid) },
    { TEXT(init) },
    { NUMBER(interpreter_deployctl) },
    { NUMBER(interpreter_supervisor) },
    { NUMBER(digests) },
    { NUMBER(useradd) },
    { NUMBER(adduser) },
    { TEXT(deployctl) },
    { TEXT(deployctl_digest) },
    { TEXT(supervisor) },
    { TEXT(supervisor_digest) },
    { TEXT(packaged) },
    { TEXT(running) },
    { NUMBER(group) },
    { NUMBER(user) },
    { TEXT(groups) },
    { NUMBER(keys) },
    { TEXT(folder) },
    { TEXT(folder_real) },
    { TEXT(folder_owner) },
    { NUMBER(folder_mode) },
    { NUMBER(config) },
    { TEXT(control_group) },
    { NUMBER(service_file) },
    { TEXT(service_digest) },
    { TEXT(service_users) },
    { NUMBER(unit) },
    { NUMBER(programs_writable) },
    { NUMBER(path_writable) },
    { NUMBER(programs_free_kb) },
    { NUMBER(path_free_kb) },
};

/* From the network and onto a terminal: only what is printable. */
static void copy_printable(char *to, size_t size, const char *from, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len && n + 1 < size; i++)
        to[n++] = from[i] >= ' ' && from[i] <= '~' ? from[i] : '?';
    to[n] = '\0';
}

static void take_fact(struct bootstrap_facts *facts, const char *line, size_t len)
{
    const char *value = memchr(line, '=', len);
    if (value == NULL)
        return;
    size_t name = (size_t)(value++ - line);
    for (size_t i = 0; i < sizeof fact_rows / sizeof *fact_rows; i++) {
        if (strlen(fact_rows[i].key) != name || memcmp(fact_rows[i].key, line, name) != 0)
            continue;
        char *at = (char *)facts + fact_rows[i].at;
        if (fact_rows[i].size > 0)
            copy_printable(at, fact_rows[i].size, value, len - name - 1);
        else
            *(int64_t *)(void *)at = strtoll(value, NULL, 10); /* ends at the end of the line */
    }
}

void bootstrap_facts_read(struct bootstrap_facts *facts, const char *text)
{
    memset(facts, 0, sizeof *facts);
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        take_fact(facts, text, len);
        text += len + (text[len] == '\n');
    }
}

enum bootstrap_init bootstrap_init_of(const struct bootstrap_facts *facts)
{
    if (strcmp(facts->init, "systemd") == 0)
        return BOOTSTRAP_INIT_SYSTEMD;
    if (strcmp(facts->init, "sysv") == 0)
        return BOOTSTRAP_INIT_SYSV;
    return strcmp(facts->init, "supervisor") == 0 ? BOOTSTRAP_INIT_SUPERVISOR : BOOTSTRAP_INIT_NONE;
}

int bootstrap_version_order(const char *a, const char *b)
{
    while (*a != '\0' || *b != '\0') {
        char *end_a, *end_b;
        long left = strtol(a, &end_a, 10), right = strtol(b, &end_b, 10);
        if (left != right)
            return left < right ? -1 : 1;
        if ((end_a == a || end_b == b))
            return strcmp(a, b);
        a = end_a + (*end_a == '.');
        b = end_b + (*end_b == '.');
    }
    return 0;
}

const char *bootstrap_supervisor(const struct bootstrap_wish *wish,
                                 const struct bootstrap_facts *facts)
{
    return facts->packaged[0] != '\0' ? facts->packaged : wish->supervisor.target;
}

/* --- the plan ------------------------------------------------------------------------------- */

struct planner {
    struct bootstrap_plan *plan;
    const struct bootstrap_wish *wish;
    const struct bootstrap_facts *facts;
    bool config_changes, supervisor_changes;
};

static void step(struct planner *p, enum bootstrap_act act, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void step(struct planner *p, enum bootstrap_act act, const char *name, const char *fmt, ...)
{
    struct bootstrap_step *one = &p->plan->steps[p->plan->nsteps];
    va_list args;
    if (p->plan->nsteps == BOOTSTRAP_STEPS_MAX)
        return;
    p->plan->nsteps++;
    one->act = act;
    snprintf(one->name, sizeof one->name, "%s", name);
    va_start(args, fmt);
    vsnprintf(one->text, sizeof one->text, fmt, args);
    va_end(args);
}

static void say(char lists[][BOOTSTRAP_TEXT_MAX], size_t *count, const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));
static void say(char lists[][BOOTSTRAP_TEXT_MAX], size_t *count, const char *fmt, va_list args)
{
    if (*count < BOOTSTRAP_SAYS_MAX)
        vsnprintf(lists[(*count)++], BOOTSTRAP_TEXT_MAX, fmt, args);
}

static void problem(struct planner *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void problem(struct planner *p, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say(p->plan->problems, &p->plan->nproblems, fmt, args);
    va_end(args);
}

static void note(struct planner *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(struct planner *p, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say(p->plan->notes, &p->plan->nnotes, fmt, args);
    va_end(args);
}

static void check_login(struct planner *p)
{
    if (p->facts->uid == 0)
        return;
    problem(p,
            "logged in as %s, who is not root: `--sudo` if that user may use sudo without a "
            "password, else `--user root`",
            p->facts->login);
}

static void plan_accounts(struct planner *p)
{
    const struct bootstrap_facts *f = p->facts;
    const char *user = p->wish->user;
    bool missing = false;
    if (strcmp(user, "root") == 0)
        return;
    if (!f->group)
        step(p, BOOTSTRAP_GROUP, user, "make the group %s", user);
    if (!f->user)
        step(p, BOOTSTRAP_USER, user, "make the user %s, who deploys", user);
    for (size_t i = 0; i < p->wish->nservice_users; i++) {
        const char *name = p->wish->service_users[i];
        if (is_word_of(name, f->service_users) || strcmp(name, user) == 0)
            continue;
        step(p, BOOTSTRAP_SERVICE_USER, name, "make the user %s, who runs the service", name);
        missing = true;
    }
    if ((missing || !f->group || !f->user) && !f->useradd && !f->adduser)
        problem(p, "there is neither useradd nor adduser; make the users there by hand");
    if (!f->keys)
        note(p,
             "put your public key into ~%s/.ssh/authorized_keys there, so that `ssh %s@...` "
             "works; bootstrap leaves logins alone",
             user, user);
}

static void check_runs(struct planner *p, const struct bootstrap_program *program, bool interpreter)
{
    const char *names = machine_names(program->machine);
    if (names == NULL || !is_word_of(p->facts->machine, names))
        problem(p, "the host is %s, and %s is for%s; give one for that host with --%s PATH",
                p->facts->machine, program->file, names != NULL ? names : " another machine ",
                program->name);
    else if (program->interpreter[0] != '\0' && !interpreter)
        problem(p,
                "%s there is no %s, which %s needs (another C library); build with `make "
                "STATIC=1` and give it with --%s PATH",
                "on the host", program->interpreter, program->file, program->name);
}

/* Whether the program is to be copied. */
static bool plan_program(struct planner *p, enum bootstrap_act act,
                         const struct bootstrap_program *program, const char *version,
                         const char *digest, bool interpreter)
{
    const char *ours = p->wish->version;
    int order = bootstrap_version_order(version, ours);
    if (strcmp(digest, program->digest) == 0)
        return false;
    if (version[0] != '\0' && order == 0 && !p->wish->replace)
        return false;
    if (version[0] != '\0' && order > 0 && !p->wish->replace) {
        note(p, "%s there is %s, newer than %s here, and stays; --replace brings this one",
             program->name, version, ours);
        return false;
    }
    check_runs(p, program, interpreter);
    if (version[0] == '\0')
        step(p, act, program->name, "copy %s %s to %s", program->name, ours, program->target);
    else
        step(p, act, program->name, "replace %s %s by %s at %s", program->name, version, ours,
             program->target);
    return true;
}

static void plan_programs(struct planner *p)
{
    const struct bootstrap_facts *f = p->facts;
    const struct bootstrap_wish *w = p->wish;
    uint64_t bytes = 0;
    if (plan_program(p, BOOTSTRAP_DEPLOYCTL, &w->deployctl, f->deployctl, f->deployctl_digest,
                     f->interpreter_deployctl))
        bytes += w->deployctl.bytes;
    if (f->packaged[0] != '\0') {
        if (bootstrap_version_order(f->supervisor, w->version) != 0)
            note(p, "%s %s is a package's and stays; upgrade the package", f->packaged,
                 f->supervisor);
    } else if (plan_program(p, BOOTSTRAP_SUPERVISOR_COPY, &w->supervisor, f->supervisor,
                            f->supervisor_digest, f->interpreter_supervisor)) {
        bytes += w->supervisor.bytes;
        p->supervisor_changes = true;
    }
    if (bytes == 0)
        return;
    if (!f->digests)
        problem(p, "there is no sha256sum, so what is copied cannot be checked; install coreutils");
    if (!f->programs_writable)
        problem(p, "%s and %s cannot be written to (mounted read-only?)", w->deployctl.target,
                w->supervisor.target);
    else if (f->programs_free_kb < (int64_t)(bytes / 1024) + SPARE_KB)
        problem(p, "only %lld KB are free for the programs, and %lld are needed",
                (long long)f->programs_free_kb, (long long)(bytes / 1024) + SPARE_KB);
}

static void plan_folder(struct planner *p)
{
    const struct bootstrap_facts *f = p->facts;
    const struct bootstrap_wish *w = p->wish;
    bool is_dir = strcmp(f->folder, "dir") == 0;
    if (f->folder[0] != '\0' && !is_dir)
        problem(p, "%s is %s; name a folder as `path` in [deploy]", w->path,
                strcmp(f->folder, "link") == 0 ? "a symlink" : "no folder");
    else if (f->folder_real[0] != '\0' && strcmp(f->folder_real, w->path) != 0)
        problem(p, "%s leads through a symlink; set `path = %s` in [deploy]", w->path,
                f->folder_real);
    else if (!is_dir && !f->path_writable)
        problem(p, "%s cannot be made: what is above it cannot be written to (mounted read-only?)",
                w->path);
    else if (!is_dir)
        step(p, BOOTSTRAP_FOLDER, w->path, "make the folder %s, owned by %s", w->path, w->user);
    else if (strcmp(f->folder_owner, w->user) != 0)
        step(p, BOOTSTRAP_FOLDER, w->path, "give the folder %s to %s (it is %s's)", w->path,
             w->user, f->folder_owner);
    else if (f->folder_mode != 755)
        step(p, BOOTSTRAP_FOLDER, w->path, "set the mode of %s to 0755 (it is 0%lld)", w->path,
             (long long)f->folder_mode);
}

static void plan_config(struct planner *p)
{
    const struct bootstrap_facts *f = p->facts;
    const char *user = p->wish->user;
    size_t before = p->plan->nsteps;
    bool root = strcmp(user, "root") == 0;
    if (!f->config)
        step(p, BOOTSTRAP_CONFIG_NEW, user, "write %s%s%s", BOOTSTRAP_CONFIG,
             root ? "" : ", control_group = ", root ? "" : user);
    else if (!root && f->control_group[0] == '\0')
        step(p, BOOTSTRAP_CONTROL_GROUP, user, "set control_group = %s in %s", user,
             BOOTSTRAP_CONFIG);
    if (p->wish->service_file != NULL && !f->service_file)
        step(p, BOOTSTRAP_SERVICE_FILE, p->wish->service_file, "copy %s to %s",
             p->wish->service_file, BOOTSTRAP_CONF_D);
    else if (p->wish->service_file != NULL &&
             strcmp(f->service_digest, p->wish->service_digest) != 0) {
        if (p->wish->replace)
            step(p, BOOTSTRAP_SERVICE_FILE, p->wish->service_file, "replace %s/%s",
                 BOOTSTRAP_CONF_D, p->wish->service_file);
        else
            note(p, "%s/%s there is another text and stays; --replace brings yours",
                 BOOTSTRAP_CONF_D, p->wish->service_file);
    }
    p->config_changes = p->plan->nsteps > before;
    const char *group = f->control_group[0] != '\0' ? f->control_group : user;
    bool born_there = !f->user && strcmp(group, user) == 0;
    if (!root && !born_there && !is_word_of(group, f->groups))
        step(p, BOOTSTRAP_MEMBER, group, "let %s give orders: member of group %s", user, group);
}

static void plan_start(struct planner *p)
{
    const struct bootstrap_facts *f = p->facts;
    const struct bootstrap_wish *w = p->wish;
    enum bootstrap_init init = bootstrap_init_of(f);
    bool older = bootstrap_version_order(f->running, w->version) < 0;
    if (f->running[0] != '\0') {
        if ((older || p->supervisor_changes) && f->packaged[0] == '\0')
            step(p, BOOTSTRAP_UPGRADE, "", "upgrade the running supervisor %s; services go on",
                 f->running);
        if (p->config_changes)
            step(p, BOOTSTRAP_RELOAD, "", "have the supervisor read its files again");
        return;
    }
    if (init == BOOTSTRAP_INIT_NONE || init == BOOTSTRAP_INIT_SUPERVISOR) {
        note(p,
             "no init system is known there: start `%s run` yourself (a container's entrypoint, "
             "or a line for your init), as root",
             bootstrap_supervisor(w, f));
        return;
    }
    if (!f->unit)
        step(p, BOOTSTRAP_UNIT, "", "write the service for %s",
             init == BOOTSTRAP_INIT_SYSTEMD ? "systemd" : "init (/etc/init.d/supervisor)");
    step(p, BOOTSTRAP_START, "", "start the supervisor, now and at boot");
}

void bootstrap_plan(struct bootstrap_plan *plan, const struct bootstrap_wish *wish,
                    const struct bootstrap_facts *facts)
{
    struct planner p = { .plan = plan, .wish = wish, .facts = facts };
    memset(plan, 0, sizeof *plan);
    check_login(&p);
    plan_accounts(&p);
    plan_programs(&p);
    plan_folder(&p);
    plan_config(&p);
    plan_start(&p);
}

const char *bootstrap_act_name(enum bootstrap_act act)
{
    static const char *const names[BOOTSTRAP_NACTS] = {
        [BOOTSTRAP_GROUP] = "group",
        [BOOTSTRAP_USER] = "user",
        [BOOTSTRAP_SERVICE_USER] = "service-user",
        [BOOTSTRAP_DEPLOYCTL] = "deployctl",
        [BOOTSTRAP_SUPERVISOR_COPY] = "supervisor",
        [BOOTSTRAP_FOLDER] = "folder",
        [BOOTSTRAP_CONFIG_NEW] = "config",
        [BOOTSTRAP_CONTROL_GROUP] = "control-group",
        [BOOTSTRAP_MEMBER] = "member",
        [BOOTSTRAP_SERVICE_FILE] = "service-file",
        [BOOTSTRAP_UNIT] = "unit",
        [BOOTSTRAP_START] = "start",
        [BOOTSTRAP_UPGRADE] = "upgrade",
        [BOOTSTRAP_RELOAD] = "reload",
    };
    return act < BOOTSTRAP_NACTS ? names[act] : "?";
}
