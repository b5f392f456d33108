/* config.c - the contract is in config.h. */
#include "supervisor/cli/config.h"

#include <string.h>
#include <unistd.h>

bool config_load(const char *path, struct config *config)
{
    memset(config, 0, sizeof *config);
    err_list_init(&config->errors);
    err_list_init(&config->warnings);
    if (plan_source_read(path, environ, &config->source, &config->errors) != 0)
        return false;
    config->plan = plan_make(&config->source, &config->errors, &config->warnings);
    return config->plan != NULL;
}

void config_done(struct config *config)
{
    plan_free(config->plan);
    plan_source_free(&config->source);
    err_list_done(&config->errors);
    err_list_done(&config->warnings);
}

void config_print_errors(const struct config *config, FILE *to)
{
    const struct err_list *errors = &config->errors;

    for (size_t i = 0; i < errors->count; i++)
        fprintf(to, "%s\n", errors->lines[i]);
    if (errors->total > errors->count)
        fprintf(to, "... and %zu more\n", errors->total - errors->count);
    fprintf(to, "%zu error%s\n", errors->total, errors->total == 1 ? "" : "s");
}
