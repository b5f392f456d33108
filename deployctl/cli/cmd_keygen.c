/* cmd_keygen.c - deployctl keygen: a key to sign releases with. */
#include <stdio.h>

#include "deployctl/cli/app.h"
#include "deployctl/cli/commands.h"
#include "deployctl/wire/sign.h"

int cmd_keygen_run(struct cli *cli)
{
    const char *path = cli->words[0];
    char text[SIGN_PUBLIC_MAX];
    struct err err;
    struct sign_key *key = sign_key_make(path, &err);
    bool made = key != NULL;
    if (!made && err.code == ERR_EXISTS)
        key = sign_key_load(path, &err);
    int rc = key ? sign_public(key, text, &err) : err.code;
    sign_key_free(key);
    if (rc < 0) {
        app_error("%s", err.text);
        return APP_CONFIG;
    }
    if (made)
        fprintf(stderr, "Made %s; keep it secret, and name it as signing_key in [deploy].\n", path);
    fprintf(stderr, "Its public key, for the section [trust] of /etc/deployctl/trust.ini on each "
                    "host (as root; the name is yours):\n");
    printf("%s = %s\n", "deploy", text);
    return APP_DONE;
}
