/* signals.h - signals by name and number. */
#ifndef BASE_SIGNALS_H
#define BASE_SIGNALS_H

#include "base/err.h"

/* "TERM", "SIGTERM", "term", "15", "RTMIN+3". */
int signals_parse(const char *text, int *ret_signal, struct err *err);
/* "TERM"; "RTMIN+3"; "signal 77" for an unknown one.  The pointer stays valid (static). */
const char *signals_name(int signal);

#endif
