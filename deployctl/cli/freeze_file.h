/* freeze_file.h - [deploy] freeze_file: while it lies there, nothing is released.
 *
 * Its first line is the reason; who and since when are its owner and its time.  Ways back are
 * always open: rollback, abort and pause do not ask, nor do promote and resume, which end what was
 * begun.
 */
#ifndef DEPLOYCTL_CLI_FREEZE_FILE_H
#define DEPLOYCTL_CLI_FREEZE_FILE_H

#include <stdbool.h>

#include "deployctl/cli/app.h"

/* False: it is frozen, and that was told.  A file that cannot be read counts: nobody knows what it
 * says.  With `despite` it is only warned of, for somebody who knows better. */
bool freeze_file_allows(const struct app *app, bool despite);

#endif
