/* places.c - the contract is in places.h. */
#include "supervisor/cli/places.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/durable.h"

void places_init(struct places *places, const char *socket)
{
    const char *variable = getenv("SUPERVISOR_SOCKET"), *runtime = getenv("XDG_RUNTIME_DIR");

    *places = (struct places){ .socket = socket,
                               .variable = variable && *variable ? variable : NULL,
                               .runtime_dir = runtime && *runtime == '/' ? runtime : NULL,
                               .run = "/run",
                               .tmp = "/tmp",
                               .etc = "/etc",
                               .uid = geteuid() };
}

int places_absolute(const char *path, char ret[static PLACES_PATH_MAX], struct err *err)
{
    char here[PLACES_PATH_MAX] = "";

    if (path[0] == '\0')
        return err_set(err, ERR_INVALID, "an empty path");
    while (path[0] == '.' && path[1] == '/')
        path += 2 + strspn(path + 2, "/");
    if (path[0] != '/' && !getcwd(here, sizeof here))
        return err_sys(err, errno, "finding the current folder");
    if (strcmp(path, ".") == 0)
        path = "";
    int len = snprintf(ret, PLACES_PATH_MAX, "%s%s%s", here, here[0] && path[0] ? "/" : "", path);
    if (len < 0 || len >= PLACES_PATH_MAX)
        return err_set(err, ERR_LIMIT, "the path %.64s... is too long", path);
    return 0;
}

static int named_socket(const char *name, const char *origin, struct places_socket *ret,
                        struct err *err)
{
    ret->named = true;
    ret->personal = false;
    if (name[0] == '@') {
        snprintf(ret->path, sizeof ret->path, "%s", name);
        return name[1] ? 1 : err_set(err, ERR_INVALID, "%s: \"@\" is not a socket", origin);
    }
    int rc = places_absolute(name, ret->path, err);
    return rc < 0 ? err_wrap(err, "%s", origin) : 1;
}

int places_sockets(const struct places *places, struct places_socket ret[static PLACES_SOCKETS_MAX],
                   struct err *err)
{
    int count = 0;

    if (places->socket)
        return named_socket(places->socket, "-s", &ret[0], err);
    if (places->variable)
        return named_socket(places->variable, "SUPERVISOR_SOCKET", &ret[0], err);
    memset(ret, 0, PLACES_SOCKETS_MAX * sizeof *ret);
    snprintf(ret[count++].path, PLACES_PATH_MAX, "%s/supervisor/control.sock", places->run);
    if (places->runtime_dir)
        snprintf(ret[count++].path, PLACES_PATH_MAX, "%s/supervisor/control.sock",
                 places->runtime_dir);
    snprintf(ret[count].path, PLACES_PATH_MAX, "%s/supervisor-%u/control.sock", places->tmp,
             (unsigned)places->uid);
    ret[count++].personal = true;
    snprintf(ret[count].path, PLACES_PATH_MAX, "@supervisor-%u", (unsigned)places->uid);
    ret[count++].personal = true;
    return count;
}

static void folder_of(const char *path, char folder[static PLACES_PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;

    memcpy(folder, path, len);
    folder[len] = '\0';
    if (len == 0)
        memcpy(folder, "/", sizeof "/");
}

/* Ours, a folder and no link, and nobody else may write to it. */
static bool is_private(const char *folder, uid_t uid)
{
    struct stat st;

    return lstat(folder, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == uid &&
           (st.st_mode & 077) == 0;
}

static bool usable(const struct places *places, const struct places_socket *socket, mode_t mode)
{
    char folder[PLACES_PATH_MAX];

    if (socket->path[0] == '@')
        return true;
    if (strlen(socket->path) >= sizeof((struct sockaddr_un *)0)->sun_path)
        return false;
    folder_of(socket->path, folder);
    if (mkdir(folder, mode) != 0 && errno != EEXIST)
        return false;
    if (mode == 0700 && !is_private(folder, places->uid))
        return false;
    return access(folder, W_OK | X_OK) == 0;
}

int places_make_folder(const char *socket, struct err *err)
{
    char folder[PLACES_PATH_MAX];
    struct stat st;

    if (socket[0] == '@')
        return 0;
    folder_of(socket, folder);
    if (stat(folder, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    int rc = durable_make_dirs(folder, 0755, err);
    return rc < 0 ? err_wrap(err, "making the folder of the socket") : 0;
}

int places_make_socket(const struct places *places, char ret[static PLACES_PATH_MAX],
                       struct err *err)
{
    struct places_socket sockets[PLACES_SOCKETS_MAX];
    int count = places_sockets(places, sockets, err);

    if (count < 0)
        return count;
    for (int i = 0; i < count; i++) {
        bool ok = sockets[i].named || usable(places, &sockets[i], i == 0 ? 0755 : 0700);
        if (!ok)
            continue;
        memcpy(ret, sockets[i].path, sizeof sockets[i].path);
        return sockets[i].named ? places_make_folder(ret, err) : 0;
    }
    return err_set(err, ERR_STATE, "no place for the control socket: name one with -s");
}

int places_config(const struct places *places, const char *config, char ret[static PLACES_PATH_MAX],
                  struct err *err)
{
    static const char *const names[] = { "supervisor.ini", "conf.d" };

    if (config) {
        int rc = places_absolute(config, ret, err);
        if (rc < 0)
            return err_wrap(err, "-c");
        return access(ret, F_OK) == 0 ? 0
                                      : err_set(err, ERR_NOT_FOUND,
                                                "%s: %s (name a file, or a folder of *.ini and "
                                                "*.conf files, with -c)",
                                                ret, strerror(errno));
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(ret, PLACES_PATH_MAX, "%s/supervisor/%s", places->etc, names[i]);
        if (access(ret, F_OK) == 0)
            return 0;
    }
    return err_set(err, ERR_NOT_FOUND,
                   "no configuration: there is neither %s/supervisor/supervisor.ini nor "
                   "%s/supervisor/conf.d; write one (\"supervisor options\" explains every key) or "
                   "name one with -c PATH",
                   places->etc, places->etc);
}
