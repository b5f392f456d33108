/* cmd_init.c - deployctl init. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/buf.h"
#include "deployctl/cli/app.h"
#include "deployctl/cli/commands.h"

enum { SAMPLE_MAX = 1024 * 1024, APP_NAME_MAX = 64 };

/* The folder's name, if it can be an app's. */
static const char *app_name(char name[static APP_NAME_MAX])
{
    char here[4096];
    const char *base = getcwd(here, sizeof here) ? strrchr(here, '/') : NULL;
    size_t len = 0;
    for (base = base ? base + 1 : ""; *base && len < APP_NAME_MAX - 1; base++)
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", *base))
            name[len++] = *base;
    name[len] = '\0';
    return len ? name : "web";
}

int cmd_init_run(struct cli *cli)
{
    const char *file = cli_value(cli, "file") ? cli_value(cli, "file") : "deploy.ini";
    char name[APP_NAME_MAX];
    struct buf text;
    AUTO_CLOSE int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST) {
        printf("%s is there already and was kept.\n", file);
        return APP_DONE;
    }
    if (fd < 0) {
        app_error("%s: %s", file, strerror(errno));
        return APP_CONFIG;
    }
    buf_init(&text, SAMPLE_MAX);
    recipe_sample(app_name(name), &text);
    bool ok = !text.failed && write(fd, buf_text(&text), text.len) == (ssize_t)text.len;
    buf_done(&text);
    if (!ok) {
        app_error("%s: could not be written: %s", file, strerror(errno));
        return APP_CONFIG;
    }
    printf("Wrote %s. Name your hosts in [fleet], then try `deployctl plan`.\n", file);
    return APP_DONE;
}
