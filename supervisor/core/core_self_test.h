/* core_self_test.h - what a binary is asked before it takes over from the one that runs.
 *
 * `supervisor self-test`: can it carry on from the inventory at STORE_INVENTORY_FD?  It is given
 * all that has a format with a version: inventory, ledger, plan as loaded, tables of output,
 * history and helpers, recorder; what is not there (an older supervisor passes less) is not asked.
 * Nothing is changed.
 */
#ifndef SUPERVISOR_CORE_CORE_SELF_TEST_H
#define SUPERVISOR_CORE_CORE_SELF_TEST_H

/* The last line of stdout when all is well, so that no other program is mistaken for a supervisor.
 */
#define CORE_SELF_TEST_OK "supervisor self-test: ok"
/* The exit code: 0, or 1 and a sentence on stderr. */
int core_self_test(void);

#endif
