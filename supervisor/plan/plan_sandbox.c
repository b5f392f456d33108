/* plan_sandbox.c - which keys of a sandbox go together, and which work against each other. */
#include <string.h>

#include "supervisor/plan/options.h"
#include "supervisor/plan/plan_build.h"

struct settling {
    struct plan_build *build;
    const struct plan_lines *lines;
    struct spec_service *service;
    struct spec_settings *set;
    struct spec_sandbox *sandbox; /* of set */
};

static struct spec_place place_of(const struct settling *s, const char *key)
{
    const struct opt *row = opt_find(&options_service, key);

    return row ? s->lines->places[row - options_service.rows] : (struct spec_place){ 0 };
}

static bool given(const struct settling *s, const char *key) { return place_of(s, key).line > 0; }

/* `what` about a value, or about the key when value is NULL. */
static void complain(const struct settling *s, const char *key, const char *value, const char *what)
{
    const struct plan_section *section = s->lines->section;
    struct spec_place place = place_of(s, key);

    plan_build_error(s->build, place.line ? place.file : section->file,
                     place.line ? place.line : section->line, section->title, key,
                     value ? "\"%.100s\" %s" : "%s%s", value ? value : "", what);
}

/* Whether `path` is `folder` or inside of it. */
static bool is_inside(const char *path, const char *folder)
{
    path += *path == '-';
    folder += *folder == '-';
    size_t len = strlen(folder);
    return strncmp(path, folder, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static bool is_root(const char *path) { return strcmp(path + (*path == '-'), "/") == 0; }

/* --- root --- */

/* "./app/./root/" -> "app/root", "." -> ".": equal folders are equal texts. */
static const char *plain_path(struct plan_build *build, const char *path)
{
    char *ret = arena_strdup(&build->scratch, path), *out = ret;
    const char *text = NULL;

    for (const char *at = path; ret && *at;) {
        at += strspn(at, "/");
        size_t len = strcspn(at, "/");
        if (len && !(len == 1 && *at == '.')) {
            if (out > ret || *path == '/')
                *out++ = '/';
            memmove(out, at, len);
            out += len;
        }
        at += len;
    }
    if (ret && out == ret)
        *out++ = *path == '/' ? '/' : '.';
    if (ret) {
        *out = '\0';
        text = plan_build_text(build, ret);
    }
    build->no_memory |= !text;
    return text;
}

static bool has_dotdot(const char *path)
{
    for (; *path; path += strspn(path, "/")) {
        size_t len = strcspn(path, "/");
        if (len == 2 && path[0] == '.' && path[1] == '.')
            return true;
        path += len;
    }
    return false;
}

static void settle_root(const struct settling *s)
{
    const char *root = s->sandbox->root;

    if (!root)
        return;
    if (has_dotdot(root))
        complain(s, "root", root, "has .. in it, try the path without");
    else if (*root != '/' && !s->service->release)
        complain(s, "root", root, "is relative, try an absolute path (without release)");
    else if (*root == '/' && s->service->release)
        complain(s, "root", root,
                 "is outside of the release, try . (the release itself) or a folder in it");
    s->sandbox->root = plain_path(s->build, root);
    if (s->sandbox->root && strcmp(s->sandbox->root, "/") == 0)
        complain(s, "root", "/", "is the root that it has anyway, remove the line");
}

/* --- paths --- */

/* Of what private_tmp and private_devices put something else in the place of, nothing can be said.
 */
static void check_replaced(const struct settling *s, const char *key,
                           const struct spec_paths *paths)
{
    const struct spec_sandbox *sandbox = s->sandbox;

    for (size_t i = 0; i < paths->count; i++) {
        const char *path = paths->list[i];
        if (is_root(path))
            complain(s, key, "/",
                     strcmp(key, "read_only") == 0
                         ? "leaves nothing out, try read_only = true"
                         : "is everything, try the folders that are meant");
        else if (sandbox->private_tmp.on &&
                 (is_inside(path, "/tmp") || is_inside(path, "/var/tmp")))
            complain(s, key, path, "is not seen with private_tmp, remove it");
        else if (sandbox->private_devices && is_inside(path, "/dev"))
            complain(s, key, path, "is not seen with private_devices, remove it");
    }
}

static void check_read_write(const struct settling *s)
{
    const struct spec_paths *all = &s->sandbox->read_only, *paths = &s->sandbox->read_write;

    if (paths->count > 0 && !all->all && all->count == 0) {
        complain(s, "read_write_paths", NULL, "has no effect without read_only");
        return;
    }
    for (size_t i = 0; i < paths->count && !all->all; i++) {
        bool inside = strchr(paths->list[i], '%') != NULL; /* nothing is known of it yet */
        for (size_t k = 0; k < all->count; k++)
            inside |= strchr(all->list[k], '%') || is_inside(paths->list[i], all->list[k]);
        if (!inside)
            complain(s, "read_write_paths", paths->list[i],
                     "is in nothing that is read_only, remove it");
    }
}

/* --- what reaches it --- */

static bool asks_network(const char *target)
{
    static const char *const kinds[] = { "http://", "tcp://", "grpc://" };

    for (size_t i = 0; target && i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strncmp(target, kinds[i], strlen(kinds[i])) == 0)
            return true;
    return false;
}

/* Checks by address are made by the supervisor, which is in its own network. */
static void check_network(const struct settling *s)
{
    const struct {
        const char *key, *target;
    } checks[] = { { "ready", s->set->ready.target },
                   { "startup", s->set->startup.target },
                   { "live", s->set->live.target } };

    if (!(s->sandbox->namespaces & 1u << SPEC_NAMESPACE_NET) || s->set->sockets.count > 0)
        return;
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
        if (asks_network(checks[i].target))
            complain(s, checks[i].key, checks[i].target,
                     "cannot get into its own network (namespaces = net), try exec: (which is run "
                     "in there), notify, or a [socket:NAME]");
}

void plan_sandbox_settle(struct plan_build *build, const struct plan_lines *lines,
                         struct spec_filling *filling)
{
    struct settling s = { build, lines, &filling->service, &filling->set, &filling->set.sandbox };

    if (!spec_sandbox_any(s.sandbox) && s.sandbox->read_write.count == 0)
        return;
    settle_root(&s);
    check_replaced(&s, "read_only", &s.sandbox->read_only);
    check_replaced(&s, "read_write_paths", &s.sandbox->read_write);
    check_replaced(&s, "hidden_paths", &s.sandbox->hidden);
    check_read_write(&s);
    check_network(&s);
    if (s.sandbox->seccomp.profile == SPEC_SECCOMP_NONE)
        return;
    /* Without it only root's own rights could install a filter, and its holes would be setuid. */
    if (given(&s, "no_new_privs") && !s.sandbox->no_new_privs)
        complain(&s, "no_new_privs", NULL, "false cannot be with seccomp, remove the line");
    s.sandbox->no_new_privs = true;
}
