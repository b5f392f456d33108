/* options_sandbox.h - values of the keys of the sandbox.  Each fits struct opt's `parse`. */
#ifndef SUPERVISOR_PLAN_OPTIONS_SANDBOX_H
#define SUPERVISOR_PLAN_OPTIONS_SANDBOX_H

#include "base/arena.h"
#include "base/err.h"

/* "NET_BIND_SERVICE CHOWN", "none", "-NET_RAW -SYS_ADMIN": struct spec_capabilities. */
int options_sandbox_capabilities(const char *text, struct arena *arena, void *field,
                                 struct err *err);
/* "true", "false" or a size: struct spec_private_tmp. */
int options_sandbox_tmp(const char *text, struct arena *arena, void *field, struct err *err);
/* "true", "false" or paths: struct spec_paths. */
int options_sandbox_read_only(const char *text, struct arena *arena, void *field, struct err *err);
/* Absolute paths without "..", or such that begin with an expansion; a leading - allows one to be
 * missing: struct spec_paths. */
int options_sandbox_paths(const char *text, struct arena *arena, void *field, struct err *err);
/* One of these, whose expansions are filled in, in its plain form. */
int options_sandbox_path(const char *text, struct arena *arena, const char **ret, struct err *err);
/* "net ipc": unsigned, bits of enum spec_namespace. */
int options_sandbox_namespaces(const char *text, struct arena *arena, void *field, struct err *err);
/* "PROFILE" or "PROFILE:ACTION": struct spec_seccomp. */
int options_sandbox_seccomp(const char *text, struct arena *arena, void *field, struct err *err);

#endif
