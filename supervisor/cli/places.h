/* places.h - where the control socket and the configuration are, in the order of the manual.
 *
 * The socket: -s, else $SUPERVISOR_SOCKET, else RUN/supervisor/control.sock, else
 * $XDG_RUNTIME_DIR/supervisor/control.sock, else TMP/supervisor-UID/control.sock (0700, owner
 * checked), else the abstract @supervisor-UID.  The configuration: -c, else
 * ETC/supervisor/supervisor.ini, else ETC/supervisor/conf.d.
 */
#ifndef SUPERVISOR_CLI_PLACES_H
#define SUPERVISOR_CLI_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

enum { PLACES_PATH_MAX = 4096, PLACES_SOCKETS_MAX = 4 };

/* All that decides; tests fill it in themselves. */
struct places {
    const char *socket;      /* of -s, or NULL */
    const char *variable;    /* $SUPERVISOR_SOCKET, or NULL */
    const char *runtime_dir; /* $XDG_RUNTIME_DIR, or NULL */
    const char *run, *tmp, *etc;
    uid_t uid;
};
/* From this process: its environment, its effective uid, /run, /tmp, /etc. */
void places_init(struct places *places, const char *socket);

struct places_socket {
    char path[PLACES_PATH_MAX]; /* absolute, or "@abstract" */
    bool named;                 /* somebody asked for exactly this one */
    bool personal;              /* anybody could have made it: the owner must be looked at */
};
/* The sockets to try, in order; the number of them.  ERR_INVALID: a name that cannot be one. */
int places_sockets(const struct places *places, struct places_socket ret[static PLACES_SOCKETS_MAX],
                   struct err *err);

/* For a supervisor that starts: the first socket whose folder is there or can be made.  Folders
 * that anybody could have made before us are used only if they are ours and closed to others. */
int places_make_socket(const struct places *places, char ret[static PLACES_PATH_MAX],
                       struct err *err);
/* The folder of a named socket is made if it is missing. */
int places_make_folder(const char *socket, struct err *err);

/* Absolute path of the configuration; ERR_NOT_FOUND says where it was looked for and what to do. */
int places_config(const struct places *places, const char *config, char ret[static PLACES_PATH_MAX],
                  struct err *err);
/* `path` made absolute without looking at links. */
int places_absolute(const char *path, char ret[static PLACES_PATH_MAX], struct err *err);

#endif
