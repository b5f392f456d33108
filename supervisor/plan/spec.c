/* spec.c - the contract is in spec.h. */
#include "supervisor/plan/spec.h"

#include <string.h>

bool spec_exit_expected(const struct spec_exits *exits, bool signalled, int status)
{
    if (status < 0)
        return false;
    if (signalled)
        return status < 64 && (exits->signals >> status & 1);
    return status < 256 && (exits->codes[status / 64] >> (status % 64) & 1);
}

const struct spec_rule *spec_rule_for(const struct spec_rules *rules, bool signalled, int status)
{
    for (size_t i = 0; i < rules->count; i++) {
        const struct spec_rule *rule = &rules->list[i];
        if ((rule->signalled != 0) == signalled && status >= rule->first && status <= rule->last)
            return rule;
    }
    return NULL;
}

const char *spec_text(const struct spec_service *service, size_t row)
{
    for (size_t i = 0; i < service->ntexts; i++)
        if (service->texts[i].row == row)
            return service->texts[i].text;
    return NULL;
}

const struct spec_service *spec_for(const struct spec_service *service, const char *release)
{
    for (size_t i = 0; i < service->nvariants; i++)
        if (strcmp(service->variants[i].release_id, release) == 0)
            return &service->variants[i];
    return service;
}

bool spec_says_release(const struct spec_service *service, const char *key)
{
    for (size_t i = 0; i < service->release_keys.count; i++)
        if (strcmp(service->release_keys.names[i], key) == 0)
            return true;
    return false;
}

bool spec_knows(const struct spec_service *service, const char *release)
{
    const char *id = spec_for(service, release)->release_id;

    return !service->release_config || !*release || (id && strcmp(id, release) == 0);
}

int spec_limit_resource(enum spec_limit_name name)
{
    static const int resources[SPEC_NLIMITS] = {
        /* clang-format off */
        [SPEC_LIMIT_NOFILE]  = RLIMIT_NOFILE,
        [SPEC_LIMIT_CORE]    = RLIMIT_CORE,
        [SPEC_LIMIT_NPROC]   = RLIMIT_NPROC,
        [SPEC_LIMIT_AS]      = RLIMIT_AS,
        [SPEC_LIMIT_MEMLOCK] = RLIMIT_MEMLOCK,
        [SPEC_LIMIT_STACK]   = RLIMIT_STACK,
        [SPEC_LIMIT_FSIZE]   = RLIMIT_FSIZE,
        [SPEC_LIMIT_CPU]     = RLIMIT_CPU,
        /* clang-format on */
    };
    return resources[name];
}

bool spec_sandbox_mounts(const struct spec_sandbox *sandbox)
{
    return sandbox->private_tmp.on || sandbox->private_devices || sandbox->read_only.all ||
           sandbox->read_only.count > 0 || sandbox->hidden.count > 0 || sandbox->root ||
           sandbox->namespaces & 1u << SPEC_NAMESPACE_PID;
}

bool spec_sandbox_any(const struct spec_sandbox *sandbox)
{
    return spec_sandbox_mounts(sandbox) || sandbox->no_new_privs || sandbox->namespaces != 0 ||
           sandbox->capabilities.given || sandbox->seccomp.profile != SPEC_SECCOMP_NONE;
}

const char *spec_seccomp_name(int profile)
{
    static const char *const names[SPEC_NSECCOMP] = {
        [SPEC_SECCOMP_NONE] = "none",
        [SPEC_SECCOMP_DEFAULT] = "default",
        [SPEC_SECCOMP_SERVICE] = "service",
        [SPEC_SECCOMP_STRICT] = "strict",
    };
    return names[profile];
}

const char *spec_denied_name(int denied)
{
    static const char *const names[SPEC_NDENIED] = {
        [SPEC_DENIED_ERROR] = "error",
        [SPEC_DENIED_KILL] = "kill",
        [SPEC_DENIED_LOG] = "log",
    };
    return names[denied];
}

const char *spec_namespace_name(int number)
{
    static const char *const names[SPEC_NNAMESPACES] = {
        [SPEC_NAMESPACE_NET] = "net",       [SPEC_NAMESPACE_IPC] = "ipc",
        [SPEC_NAMESPACE_UTS] = "uts",       [SPEC_NAMESPACE_PID] = "pid",
        [SPEC_NAMESPACE_CGROUP] = "cgroup",
    };
    return names[number];
}
