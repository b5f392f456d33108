/* release_set.h - one release set: its machine, its pin on disk, its timer, and who waits for it.
 *
 * Inside of release/releases.h, which holds all sets and is what the keeper talks to.
 */
#ifndef SUPERVISOR_RELEASE_RELEASE_SET_H
#define SUPERVISOR_RELEASE_RELEASE_SET_H

#include <jansson.h>

#include "io/loop.h"
#include "supervisor/release/pin.h"
#include "supervisor/release/releases.h"
#include "supervisor/machine/release.h"

/* What all sets share; outlives them. */
struct release_set_world {
    struct loop *loop;
    struct releases_hands hands;
    struct pin_place place;
    char boot_id[CLOCK_BOOT_ID_MAX];
    bool begun; /* until then nothing is carried out */
};

struct release_set_service {
    char *name;     /* owned */
    size_t service; /* index in the plan */
    size_t first;   /* its instance 0 is machine.members[first] */
    size_t instances;
    int64_t number;     /* of its instance 0, for people */
    int64_t timeout_ms; /* ready_timeout and stopwaitsecs */
    uid_t owner;
    bool refused; /* root without an explicit user */
};

struct release_set_asker {
    struct release_set_asker *next;
    releases_done_fn *done;
    void *context;
};

struct release_set {
    struct release_set_world *world;
    char *path;                           /* owned; no slash at the end */
    struct release_set_service *services; /* owned; in start order */
    size_t nservices;
    struct release machine; /* members owned here; machine.pin is what pin.release will be */
    struct pin pin;         /* as last saved or loaded; sequence and boot id */
    enum pin_saved saved;
    struct loop_timer *timer, *retry;
    struct release_set_asker *askers; /* oldest first */
    size_t stopping; /* STOP_ALL: services below this index are still to be stopped */
    bool performing;
    bool damaged;       /* the pin could not be read: what was pinned is not known */
    struct err problem; /* of damage or of a refused service; code ERR_NONE when fine */
    char who[128];      /* of the order under way */
};

struct release_set *release_set_new(struct release_set_world *world, const char *path);
/* Askers must have been answered. */
void release_set_free(struct release_set *set);
/* Reads the pin and undoes what must not be started. */
void release_set_load(struct release_set *set, enum releases_start start);
/* Takes these services and a zeroed member for each of their instances (both owned afterwards);
 * what is known of instances stays. */
void release_set_take(struct release_set *set, struct release_set_service *services, size_t count,
                      struct release_member *members);

/* Carries out acts until there is none.  Called in the middle of an act it does nothing: the
 * outer one sees what has become due. */
void release_set_drive(struct release_set *set);
/* Writes the pin after an order, at once.  On failure the machine is as in `before` again. */
int release_set_commit(struct release_set *set, const struct release *before, struct err *err);
/* The same for what must not be stopped by a full disk: it is written later. */
void release_set_commit_anyway(struct release_set *set);
void release_set_ready(struct release_set *set, size_t slot, size_t instance, const char *id);
void release_set_down(struct release_set *set, size_t slot, size_t instance, const char *id,
                      const char *reason);
void release_set_stopped(struct release_set *set, size_t slot);

/* Folder of the set, trusted for the user of each of its services. */
int release_set_open(const struct release_set *set, struct err *err);
bool release_set_has(const struct release_set *set, const char *id, struct err *err);
/* Puts somebody into the queue for the end of the switch. */
bool release_set_wait(struct release_set *set, releases_done_fn *done, void *context);
/* Tells one how it is: the last result, or an error. */
void release_set_tell(const struct release_set *set, releases_done_fn *done, void *context);
/* All who wait get this error. */
void release_set_give_up(struct release_set *set, const struct err *err);
/* An event about this set; steals details (NULL = none). */
void release_set_event(const struct release_set *set, const char *kind, json_t *details);
/* ready_timeout of a whole switch when none is given. */
int64_t release_set_patience_ms(const struct release_set *set);
/* The set with this folder, or NULL. */
struct release_set *releases_find(const struct releases *releases, const char *path);
/* "web:1" for a member. */
void release_set_member_name(const struct release_set *set, size_t member, char *name, size_t size);

#endif
