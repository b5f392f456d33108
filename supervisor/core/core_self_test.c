/* core_self_test.c - the contract is in core_self_test.h. */
#include "supervisor/core/core_self_test.h"

#include <stdio.h>

#include "supervisor/core/core.h"
#include "supervisor/core/core_plan.h"
#include "supervisor/ledger/feeds.h"
#include "supervisor/ledger/history.h"
#include "supervisor/ledger/recorder.h"
#include "supervisor/ledger/store.h"
#include "supervisor/ledger/streams.h"

/* Whether each that is there is of a version that we read; nothing is changed. */
static int read_formats(const struct store *store, struct err *err)
{
    int ledger = store_get(store, "ledger"), streams = store_get(store, "streams"),
        recorder = store_get(store, "recorder"), history = store_get(store, "history"),
        feeds = store_get(store, "feeds");
    struct recorder mapped;
    int rc = ledger >= 0 ? ledger_readable(ledger, err)
                         : err_set(err, ERR_CORRUPT, "there is no ledger to be read");

    if (rc == 0 && recorder >= 0)
        rc = recorder_map(recorder, &mapped, err);
    if (rc == 0 && streams >= 0 && !streams_map(streams, err))
        rc = err_wrap(err, "the table of output");
    if (rc == 0 && history >= 0 && !history_map(history, err))
        rc = err_wrap(err, "the history of instances");
    if (rc == 0 && feeds >= 0 && !feeds_map(feeds, err))
        rc = err_wrap(err, "the numbers of helpers");
    return rc;
}

int core_self_test(void)
{
    struct store store;
    struct core core = { 0 };
    struct err_list errors;
    struct err err = { 0 };

    store_init(&store);
    if (store_inherit(STORE_INVENTORY_FD, &store, &err) != 0 || read_formats(&store, &err) != 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    core.store = store;
    err_list_init(&errors);
    int rc = store_get(&store, "plan") >= 0 ? core_plan_load(&core, &errors) : 0;
    for (size_t i = 0; i < errors.count; i++)
        fprintf(stderr, "%s\n", errors.lines[i]);
    err_list_done(&errors);
    if (rc != 0)
        return 1;
    puts(CORE_SELF_TEST_OK);
    return fflush(stdout) == 0 ? 0 : 1;
}
