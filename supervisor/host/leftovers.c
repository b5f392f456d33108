/* leftovers.c - the contract is in leftovers.h. */
#include "supervisor/host/leftovers.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "io/child.h"
#include "supervisor/host/procfs.h"

enum { LOOKS_MAX = 4 }; /* at children that change while they are read */

struct seen {
    struct procfs_stat stat;
    struct procfs_name name;          /* owned */
    const struct procfs_name *counts; /* the name that decides for it, NULL = none */
    ssize_t parent;                   /* index, -1 = the guardian, or out of sight */
    unsigned depth;                   /* 1 = parent -1; 0 = not computed */
    bool known;
    bool inside;  /* below the guardian */
    bool foreign; /* below another supervisor */
    bool wanted;  /* may be a leftover, or is above one that may */
    bool belongs; /* scratch of one query */
};

struct leftovers {
    pid_t guardian;
    uint64_t run;
    enum leftovers_scope scope;
    struct seen *all; /* sorted by pid */
    size_t count, room;
    size_t *order; /* parents before children */
};

/* Only while looking. */
struct asking {
    struct leftovers *look;
    pid_t self;
    enum leftovers_known (*known)(void *context, pid_t pid);
    void *context;
    struct procfs_name ours; /* what we carry ourselves */
    char our_comm[PROCFS_COMM_MAX], guardian_comm[PROCFS_COMM_MAX];
    char *space;
};

/* --- collecting --- */

static enum leftovers_known knows(const struct asking *asking, pid_t pid)
{
    if (pid == asking->look->guardian || pid == asking->self)
        return LEFTOVERS_LIVES;
    return asking->known ? asking->known(asking->context, pid) : LEFTOVERS_UNKNOWN;
}

static bool is_known(const struct asking *asking, pid_t pid)
{
    return knows(asking, pid) != LEFTOVERS_UNKNOWN;
}

/* Adds it unless it has gone; false without memory. */
static bool add_seen(struct leftovers *look, pid_t pid, bool inside)
{
    struct seen seen = { .parent = -1, .inside = inside };

    if (!procfs_stat(pid, &seen.stat))
        return true;
    if (look->count == look->room) {
        size_t room = look->room ? look->room * 2 : 64;
        struct seen *all = reallocarray(look->all, room, sizeof *all);
        if (!all)
            return false;
        look->all = all;
        look->room = room;
    }
    look->all[look->count++] = seen;
    return true;
}

static int no_memory(struct err *err)
{
    return err_set(err, ERR_MEMORY, "no memory for a look at /proc");
}

static int scan_all(struct leftovers *look, struct err *err)
{
    struct procfs_pids pids = { 0 };
    int rc = procfs_all(&pids);
    bool ok = true;

    for (size_t i = 0; i < pids.count && rc == 0 && ok; i++)
        ok = add_seen(look, pids.all[i], false);
    procfs_pids_done(&pids);
    if (rc != 0)
        return err_sys(err, -rc, "reading /proc");
    return ok ? 0 : no_memory(err);
}

static bool add_strangers(const struct asking *asking, const struct procfs_pids *pids)
{
    for (size_t i = 0; i < pids->count; i++)
        if (!is_known(asking, pids->all[i]) && !add_seen(asking->look, pids->all[i], true))
            return false;
    return true;
}

/* Down from the children of the guardian that nobody knows; false without memory.  A pid met
 * twice (it got another parent meanwhile) is dropped when all are sorted. */
static bool descend(const struct asking *asking, const struct procfs_pids *first)
{
    struct leftovers *look = asking->look;

    look->count = 0;
    bool ok = add_strangers(asking, first);
    for (size_t i = 0; i < look->count && ok; i++) {
        struct procfs_pids below = { 0 };
        ok = procfs_children(look->all[i].stat.pid, asking->space, &below) != -ENOMEM &&
             add_strangers(asking, &below);
        procfs_pids_done(&below);
    }
    return ok;
}

static int list_children(const struct asking *asking, struct procfs_pids *ret)
{
    ret->count = 0;
    if (asking->look->scope == LEFTOVERS_CHILDREN)
        return procfs_children(asking->look->guardian, asking->space, ret);
    return procfs_children_of_first(asking->look->guardian, asking->space, ret);
}

/* The kernel leaves somebody out of the list only when somebody before was reaped while it was
 * read.  Whoever is reaped was known to have ended, so a list of which all live is whole. */
static bool all_live(const struct asking *asking, const struct procfs_pids *pids)
{
    for (size_t i = 0; i < pids->count; i++)
        if (knows(asking, pids->all[i]) != LEFTOVERS_LIVES)
            return false;
    return true;
}

static bool same_pids(const struct procfs_pids *a, const struct procfs_pids *b)
{
    return a->count == b->count &&
           (a->count == 0 || memcmp(a->all, b->all, a->count * sizeof *a->all) == 0);
}

/* What dies while we read leaves its children to the guardian, whose list was read before: so
 * that list must be the same at the end.  0 or -errno. */
static int scan_children(const struct asking *asking)
{
    struct procfs_pids before = { 0 }, after = { 0 };
    int rc = list_children(asking, &before);
    bool nobody = rc == 0 && all_live(asking, &before);

    asking->look->count = 0;
    for (int i = 0; i < LOOKS_MAX && rc == 0 && !nobody; i++) {
        rc = descend(asking, &before) ? list_children(asking, &after) : -ENOMEM;
        if (rc != 0 || same_pids(&before, &after))
            break;
        struct procfs_pids older = before;
        before = after;
        after = older;
    }
    procfs_pids_done(&before);
    procfs_pids_done(&after);
    return rc;
}

/* Whether processes that descend from one with a record are looked at, too. */
static bool below_records(const struct leftovers *look)
{
    return look->scope == LEFTOVERS_TREE || look->scope == LEFTOVERS_EVERYWHERE;
}

static int collect(const struct asking *asking, struct err *err)
{
    int rc = below_records(asking->look) ? -ENOENT : scan_children(asking);

    if (rc == 0)
        return 0;
    if (rc == -ENOMEM)
        return no_memory(err);
    asking->look->count = 0; /* this kernel does not tell children, or the guardian is gone */
    return scan_all(asking->look, err);
}

/* --- who descends from whom --- */

static int by_number(const void *a, const void *b)
{
    pid_t left = *(const pid_t *)a, right = *(const pid_t *)b;

    return (left > right) - (left < right);
}

static int by_pid(const void *a, const void *b)
{
    return by_number(&((const struct seen *)a)->stat.pid, &((const struct seen *)b)->stat.pid);
}

static struct seen *find(const struct leftovers *look, pid_t pid)
{
    struct seen key = { .stat.pid = pid };

    return look->count ? bsearch(&key, look->all, look->count, sizeof key, by_pid) : NULL;
}

static void sort(struct leftovers *look)
{
    size_t kept = 0;

    if (look->count > 0)
        qsort(look->all, look->count, sizeof *look->all, by_pid);
    for (size_t i = 0; i < look->count; i++)
        if (kept == 0 || look->all[kept - 1].stat.pid != look->all[i].stat.pid)
            look->all[kept++] = look->all[i];
    look->count = kept;
}

static void find_parents(struct leftovers *look)
{
    for (size_t i = 0; i < look->count; i++) {
        struct seen *seen = &look->all[i];
        struct seen *parent =
            seen->stat.parent == look->guardian ? NULL : find(look, seen->stat.parent);

        seen->inside |= seen->stat.parent == look->guardian;
        seen->parent = parent ? parent - look->all : -1;
    }
}

/* Processes came and went while we read, so that parents may even go round in a circle. */
static void find_depth(struct leftovers *look, size_t index)
{
    enum { BUSY = -1 };
    size_t n = 0, at = index;

    for (;;) {
        struct seen *seen = &look->all[at];
        look->order[n++] = at;
        seen->depth = (unsigned)BUSY;
        if (seen->parent >= 0 && look->all[seen->parent].depth == (unsigned)BUSY)
            seen->parent = -1;
        if (seen->parent < 0 || look->all[seen->parent].depth != 0)
            break;
        at = (size_t)seen->parent;
    }
    while (n > 0) {
        struct seen *seen = &look->all[look->order[--n]];
        seen->depth = seen->parent < 0 ? 1 : look->all[seen->parent].depth + 1;
    }
}

static int by_depth(const void *a, const void *b, void *context)
{
    const struct seen *all = context;
    unsigned left = all[*(const size_t *)a].depth, right = all[*(const size_t *)b].depth;

    return (left > right) - (left < right);
}

static bool put_in_order(struct leftovers *look)
{
    look->order = calloc(look->count + 1, sizeof *look->order);
    if (!look->order)
        return false;
    for (size_t i = 0; i < look->count; i++)
        if (look->all[i].depth == 0)
            find_depth(look, i);
    for (size_t i = 0; i < look->count; i++)
        look->order[i] = i;
    qsort_r(look->order, look->count, sizeof *look->order, by_depth, look->all);
    return true;
}

/* --- whose name counts --- */

static struct seen *parent_of(const struct leftovers *look, const struct seen *seen)
{
    return seen->parent < 0 ? NULL : &look->all[seen->parent];
}

static void find_wanted(const struct asking *asking)
{
    struct leftovers *look = asking->look;
    bool everywhere = look->scope == LEFTOVERS_EVERYWHERE;

    for (size_t i = 0; i < look->count; i++) {
        struct seen *seen = &look->all[look->order[i]], *parent = parent_of(look, seen);

        seen->inside |= parent && parent->inside;
        seen->known = (!seen->inside && !everywhere) || is_known(asking, seen->stat.pid) ||
                      /* as when the kernel tells children: below a record nobody looks */
                      (!below_records(look) && parent && parent->known);
        seen->wanted = !seen->known;
    }
    for (size_t i = look->count; i > 0; i--) {
        struct seen *seen = &look->all[look->order[i - 1]], *parent = parent_of(look, seen);

        if (seen->wanted && parent)
            parent->wanted = true;
    }
}

static bool same_name(const struct procfs_name *a, const char *text, unsigned generation)
{
    return a->text && text && a->generation == generation && strcmp(a->text, text) == 0;
}

static void read_own_name(const struct asking *asking, struct seen *seen)
{
    procfs_name(&seen->stat, asking->space, &seen->name);
    if (same_name(&seen->name, asking->ours.text, asking->ours.generation)) {
        free(seen->name.text);
        seen->name.text = NULL;
    }
}

static bool is_supervisor(const struct asking *asking, const struct seen *seen)
{
    const char *comm = seen->stat.comm;

    return strcmp(comm, "supervisor") == 0 || strcmp(comm, asking->our_comm) == 0 ||
           strcmp(comm, asking->guardian_comm) == 0;
}

/* Below the guardian the tree says more than a number, which a damaged ledger may have lost. */
static void judge_name(const struct asking *asking, struct seen *seen)
{
    if (!seen->inside && seen->name.run && asking->look->run)
        seen->foreign = seen->name.run != asking->look->run;
    if (!seen->foreign)
        seen->counts = &seen->name;
}

static void find_names(const struct asking *asking)
{
    struct leftovers *look = asking->look;

    for (size_t i = 0; i < look->count; i++) {
        struct seen *seen = &look->all[look->order[i]], *parent = parent_of(look, seen);

        if (!seen->wanted)
            continue;
        seen->foreign =
            !seen->inside && parent && (parent->foreign || is_supervisor(asking, parent));
        seen->counts = parent ? parent->counts : NULL;
        if (seen->counts)
            continue;
        read_own_name(asking, seen);
        if (seen->name.text)
            judge_name(asking, seen);
    }
}

static void know_ourselves(struct asking *asking)
{
    struct procfs_stat stat;

    if (procfs_stat(getpid(), &stat)) {
        memcpy(asking->our_comm, stat.comm, sizeof stat.comm);
        procfs_name(&stat, asking->space, &asking->ours);
    }
    if (procfs_stat(asking->look->guardian, &stat))
        memcpy(asking->guardian_comm, stat.comm, sizeof stat.comm);
}

/* --- the look --- */

static int look_around(struct asking *asking, struct err *err)
{
    struct leftovers *look = asking->look;
    int rc = collect(asking, err);

    if (rc != 0)
        return rc;
    sort(look);
    find_parents(look);
    if (!put_in_order(look))
        return no_memory(err);
    if (look->count == 0)
        return 0;
    find_wanted(asking);
    know_ourselves(asking);
    find_names(asking);
    free(asking->ours.text);
    return 0;
}

struct leftovers *leftovers_look(pid_t guardian, uint64_t run, enum leftovers_scope scope,
                                 enum leftovers_known (*known)(void *context, pid_t pid),
                                 void *context, struct err *err)
{
    struct leftovers *look = calloc(1, sizeof *look);
    AUTO_FREE char *space = malloc(PROCFS_SPACE_BYTES);
    struct asking asking = {
        .look = look, .self = getpid(), .known = known, .context = context, .space = space
    };

    if (!look || !space) {
        free(look);
        no_memory(err);
        return NULL;
    }
    look->guardian = guardian;
    look->run = run;
    look->scope = scope;
    if (look_around(&asking, err) != 0) {
        leftovers_free(look);
        return NULL;
    }
    return look;
}

void leftovers_free(struct leftovers *look)
{
    if (!look)
        return;
    for (size_t i = 0; i < look->count; i++)
        free(look->all[i].name.text);
    free(look->all);
    free(look->order);
    free(look);
}

/* --- asking --- */

static int by_member(const void *a, const void *b)
{
    return by_number(&((const struct leftovers_member *)a)->pid,
                     &((const struct leftovers_member *)b)->pid);
}

static bool is_member(const struct leftovers_members *members, const struct seen *seen)
{
    const struct leftovers_member key = { .pid = seen->stat.pid };

    if (!members)
        return false;
    const struct leftovers_member *found =
        bsearch(&key, members->all, members->count, sizeof key, by_member);
    return found && found->start == seen->stat.start;
}

static void remember(const struct leftovers *look, const pid_t *pids, size_t count,
                     struct leftovers_members **members)
{
    struct leftovers_members *now = NULL;

    if (count > 0) {
        now = malloc(sizeof *now + count * sizeof *now->all);
        if (!now)
            return;
        now->count = count;
        for (size_t i = 0; i < count; i++)
            now->all[i] = (struct leftovers_member){ pids[i], find(look, pids[i])->stat.start };
        qsort(now->all, count, sizeof *now->all, by_member);
    }
    free(*members);
    *members = now;
}

/* A number is not enough where a name says otherwise: pids are used again. */
static bool belongs(const struct seen *seen, const struct seen *parent, const char *name,
                    unsigned generation, pid_t main_pid)
{
    if (seen->foreign)
        return false;
    if (seen->counts && same_name(seen->counts, name, generation))
        return true;
    if (parent && parent->belongs)
        return true;
    return main_pid > 0 && !seen->counts &&
           (seen->stat.pid == main_pid || seen->stat.session == main_pid ||
            seen->stat.group == main_pid);
}

size_t leftovers_of(const struct leftovers *look, const char *name, unsigned generation,
                    pid_t main_pid, struct leftovers_members **members, pid_t *ret, size_t max)
{
    size_t count = 0;

    for (size_t i = 0; i < look->count; i++) {
        struct seen *seen = &look->all[look->order[i]];

        seen->belongs =
            seen->wanted && (is_member(members ? *members : NULL, seen) ||
                             belongs(seen, parent_of(look, seen), name, generation, main_pid));
        if (!seen->belongs || seen->known || seen->stat.pid == main_pid)
            continue;
        if (count < max)
            ret[count] = seen->stat.pid;
        count++;
    }
    if (members)
        remember(look, ret, count < max ? count : max, members);
    return count;
}

size_t leftovers_stale(const struct leftovers *look,
                       bool (*over)(void *context, const char *name, unsigned generation),
                       void *context, pid_t *ret, size_t max)
{
    size_t count = 0;

    for (size_t i = 0; i < look->count; i++) {
        const struct seen *seen = &look->all[look->order[i]];
        const struct procfs_name *name = seen->foreign ? NULL : seen->counts;

        if (seen->known || !name || name->run != look->run ||
            !over(context, name->text, name->generation))
            continue;
        if (count < max)
            ret[count] = seen->stat.pid;
        count++;
    }
    return count;
}

int leftovers_signal(const struct leftovers *look, pid_t pid, int signum)
{
    const struct seen *seen = find(look, pid);

    if (!seen)
        return -ESRCH;
    AUTO_CLOSE int pidfd = child_pidfd(pid);
    if (pidfd == -ESRCH)
        return -ESRCH;
    /* Asked after it was opened, so the answer is about the process behind it. */
    if (child_start_time(pid) != seen->stat.start)
        return -ESRCH;
    if (pidfd >= 0)
        return child_pidfd_signal(pidfd, signum);
    return kill(pid, signum) == 0 ? 0 : -errno; /* no pidfd to be had: EMFILE, ENOSYS */
}

void leftovers_each(const struct leftovers *look,
                    void (*fn)(void *context, pid_t pid, const char *name, unsigned generation),
                    void *context)
{
    for (size_t i = 0; i < look->count; i++) {
        const struct seen *seen = &look->all[look->order[i]];

        if (!seen->known && seen->counts)
            fn(context, seen->stat.pid, seen->counts->text, seen->counts->generation);
    }
}
