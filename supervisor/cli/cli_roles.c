/* cli_roles.c - the contract is in cli_roles.h. */
#include "supervisor/cli/cli_roles.h"

#include <string.h>
#include <unistd.h>

#include "supervisor/core/core_run.h"
#include "supervisor/core/core_self_test.h"
#include "supervisor/guardian/early.h"
#include "supervisor/guardian/guardian.h"
#include "supervisor/guardian/leave.h"
#include "supervisor/guardian/rescue.h"
#include "supervisor/ledger/store.h"
#include "supervisor/logger/logger.h"

static const char *value_of(int argc, char **argv, const char *name)
{
    for (int i = 2; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return NULL;
}

static bool has(int argc, char **argv, const char *name)
{
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return false;
}

static int run_core(int argc, char **argv)
{
    const struct core_options options = { .config = value_of(argc, argv, "--config"),
                                          .socket = value_of(argc, argv, "--socket"),
                                          .verbose = has(argc, argv, "--verbose") };

    return core_run(&options);
}

static int run_guardian(int argc, char **argv)
{
    const struct guardian_options options = { .config = value_of(argc, argv, "--config"),
                                              .socket = value_of(argc, argv, "--socket"),
                                              .verbose = has(argc, argv, "--verbose") };

    int code = guardian_resume(&options, STORE_INVENTORY_FD, has(argc, argv, "--takeover"));
    if (!early_is_host_init())
        return code;
    rescue_shell(); /* the init of a host never leaves: begin again, with what there is now */
    execl("/proc/self/exe", "supervisor", "run", (char *)NULL);
    return code;
}

static int run_logger(int argc, char **argv)
{
    (void)argc, (void)argv;
    return logger_run(STORE_INVENTORY_FD);
}

static int run_self_test(int argc, char **argv)
{
    (void)argc, (void)argv;
    return core_self_test();
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} roles[] = {
    { "core", run_core },           { "logger", run_logger }, { "guardian", run_guardian },
    { "self-test", run_self_test }, { "leave", leave_main },
};

bool cli_roles_run(int argc, char **argv, int *ret_code)
{
    for (size_t i = 0; argc > 1 && i < sizeof roles / sizeof *roles; i++) {
        if (strcmp(argv[1], roles[i].name) == 0) {
            *ret_code = roles[i].run(argc, argv);
            return true;
        }
    }
    return false;
}
