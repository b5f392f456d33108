/* client.h - finding the supervisor and calling it, with errors that are told where they occur. */
#ifndef SUPERVISOR_CLI_CLIENT_H
#define SUPERVISOR_CLI_CLIENT_H

#include <jansson.h>
#include <stdint.h>

#include "base/cli.h"
#include "base/err.h"
#include "io/rpc.h"
#include "supervisor/cli/places.h"

/* Exit codes of the commands. */
enum {
    CLIENT_OK = 0,
    CLIENT_FAILED = 1,
    CLIENT_USAGE = 2,
    CLIENT_DOWN = 3,    /* status: something that is wanted is not running and ready */
    CLIENT_UNKNOWN = 4, /* no such name, or no supervisor */
};
/* How long reading commands wait: the core answers from memory. */
enum { CLIENT_READ_MS = 10000 };

/* Connects to the first supervisor that is there; NULL: err names every socket that was tried.
 * `ret_path` gets the name of the socket. */
struct rpc_client *client_connect(const struct places *places,
                                  char ret_path[static PLACES_PATH_MAX], struct err *err);
/* As above for the -s of this command line; at last the key `socket` of the configuration in the
 * default place.  What went wrong is on stderr. */
struct rpc_client *client_open(const struct cli *cli, char ret_path[static PLACES_PATH_MAX]);

/* After a connection broke: waits for the core that replaces the one that is gone.  NULL: none
 * came, and that is told. */
struct rpc_client *client_reopen(const struct cli *cli);

/* One call of this command line: connects, calls, closes.  CLIENT_OK with *ret (new reference);
 * otherwise the error is on stderr.  timeout_ms < 0: for ever. */
int client_call(const struct cli *cli, const char *method, json_t *params, int64_t timeout_ms,
                json_t **ret);
/* As above, and says nothing when it fails; 0 or a negative enum err_code. */
int client_try(const struct cli *cli, const char *method, json_t *params, int64_t timeout_ms,
               json_t **ret);
/* As rpc_client_call; CLIENT_OK or the exit code of the error, which is told. */
int client_ask(struct rpc_client *client, const char *method, json_t *params, int64_t timeout_ms,
               json_t **ret);
/* "supervisor: TEXT" on stderr; the exit code for this error. */
int client_tell(const struct err *err);
void client_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

void client_pause(int64_t ms); /* between two tries */

/* The words of the command line as an array of texts. */
json_t *client_names(const struct cli *cli);
/* Writes to standard output; CLIENT_FAILED when that cannot be written. */
int client_print(const char *text);
int client_print_json(const json_t *value);

#endif
