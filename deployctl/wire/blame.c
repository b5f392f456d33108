/* blame.c - the contract is in blame.h. */
#include "deployctl/wire/blame.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/signals.h"

enum { LINE_MAX_SHOWN = 160, SSH_OWN_FAILURE = 255, NOT_EXECUTABLE = 126, NOT_FOUND = 127 };

/* What ssh prints, most telling first, and what it means.  %1$s is the host, %2$s what
 * a person types to log in there as we do. */
static const struct {
    const char *says;
    enum err_code code;
    const char *means;
} ssh_failures[] = {
    /* clang-format off */
    { "REMOTE HOST IDENTIFICATION HAS CHANGED", ERR_DENIED,
      "the host key of %1$s is not the one known here; if it was reinstalled, remove the old key "
      "(ssh-keygen -R %1$s), otherwise somebody may be listening" },
    { "host key is known for", ERR_DENIED,
      "the host key of %1$s is not known here; compare its fingerprint once by hand: "
      "`%2$s true`" },
    { "Host key verification failed", ERR_DENIED,
      "the host key of %1$s is not known here; compare its fingerprint once by hand: "
      "`%2$s true`" },
    { "Too many authentication failures", ERR_DENIED,
      "%1$s refused after too many keys; name the right one with IdentityFile and IdentitiesOnly "
      "in the ssh config" },
    { "UNPROTECTED PRIVATE KEY FILE", ERR_DENIED,
      "%1$s does not accept our key, because ssh ignores a private key that others may read; "
      "chmod 600 the file" },
    { "no such identity: ", ERR_DENIED,
      "%1$s does not accept our key, and a private key that ssh was told to use is not there; "
      "correct IdentityFile in the ssh config" },
    { "Load key ", ERR_DENIED,
      "%1$s does not accept our key, and a private key cannot be read here; check its owner, mode "
      "and contents" },
    { "Permission denied (", ERR_DENIED,
      "%1$s does not accept our key; load it (ssh-add), or set `user` or the ssh config, until "
      "`%2$s -o BatchMode=yes true` works" },
    { "Could not resolve hostname", ERR_UNREACHABLE,
      "the name %1$s cannot be resolved; check the spelling in [fleet] hosts, or give its address "
      "in [host:%1$s]" },
    { "Connection refused", ERR_UNREACHABLE,
      "%1$s refuses connections on its ssh port; is sshd running there, is `port` right?" },
    { "No route to host", ERR_UNREACHABLE, "there is no route to %1$s; is it up?" },
    { "Network is unreachable", ERR_UNREACHABLE,
      "the network of %1$s cannot be reached from here" },
    { "timed out during banner exchange", ERR_TIMEOUT,
      "%1$s took the connection but its sshd says nothing; is the host overloaded?" },
    { "Connection timed out", ERR_TIMEOUT,
      "%1$s does not answer; is it up, does a firewall drop ssh?" },
    { "Operation timed out", ERR_TIMEOUT,
      "%1$s does not answer; is it up, does a firewall drop ssh?" },
    { "kex_exchange_identification", ERR_UNREACHABLE,
      "%1$s closed the connection before its banner; sshd may have too many at once (MaxStartups): "
      "lower `parallel`, or it refuses this address" },
    { "Connection closed by", ERR_UNREACHABLE,
      "%1$s closed the connection; sshd may have too many at once (MaxStartups): lower "
      "`parallel`" },
    { "Connection reset by", ERR_UNREACHABLE,
      "%1$s reset the connection; sshd may have too many at once (MaxStartups): lower `parallel`" },
    { "command-line: line", ERR_INVALID, "ssh does not understand one of `ssh_options`" },
    { "Bad configuration option", ERR_INVALID, "ssh does not understand its configuration" },
    { "Bad owner or permissions", ERR_INVALID, "ssh refuses its configuration file" },
    { "Can't open user config file", ERR_NOT_FOUND, "the file of `ssh_config` cannot be read" },
    /* clang-format on */
};

/* The first or last line of `text` that is not blank, made printable. */
static const char *line_of(const char *text, bool last, char line[static LINE_MAX_SHOWN])
{
    const char *from = NULL;
    size_t len = 0;
    for (const char *at = text; *at != '\0';) {
        size_t n = strcspn(at, "\r\n");
        if (n > strspn(at, " \t\r\n") && (last || from == NULL)) {
            from = at;
            len = n;
        }
        at += n;
        at += strspn(at, "\r\n");
    }
    if (len >= LINE_MAX_SHOWN)
        len = LINE_MAX_SHOWN - 1;
    for (size_t i = 0; i < len; i++)
        line[i] = isprint((unsigned char)from[i]) ? from[i] : '?';
    line[len] = '\0';
    return line;
}

static bool known_ssh_failure(const struct blame *b, struct err *err)
{
    char line[LINE_MAX_SHOWN];
    for (size_t i = 0; i < sizeof ssh_failures / sizeof *ssh_failures; i++) {
        if (strstr(b->errors, ssh_failures[i].says) == NULL)
            continue;
        char text[ERR_TEXT_MAX];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(text, sizeof text, ssh_failures[i].means, b->host, b->login);
#pragma GCC diagnostic pop
        const char *said = line_of(b->errors, true, line);
        err_set(err, ssh_failures[i].code, "%s (%s%s)", text,
                strncmp(said, "ssh: ", 5) == 0 ? "" : "ssh: ", said);
        if (strstr(ssh_failures[i].means, "(MaxStartups)") != NULL)
            err->sys = EAGAIN;
        return true;
    }
    return false;
}

static void no_program(const struct blame *b, struct err *err)
{
    if (b->code == NOT_EXECUTABLE)
        err_set(err, ERR_NOT_FOUND,
                "%s on %s cannot be executed; is it the right architecture, "
                "and mode 0755?",
                b->remote_path, b->host);
    else
        err_set(err, ERR_NOT_FOUND,
                "there is no %s on %s; `deployctl bootstrap %s` brings it (by hand: copy deployctl "
                "there, and as root: install -Dm755 deployctl %s; or set `remote_path`)",
                b->remote_path, b->host, b->host, b->remote_path);
}

static void lost_after_opening(const struct blame *b, struct err *err)
{
    char line[LINE_MAX_SHOWN];
    line_of(b->errors, true, line);
    if (!b->exited && b->code != 0)
        err_set(err, ERR_UNREACHABLE, "the %s for %s was ended by SIG%s",
                b->local ? "agent" : "ssh", b->host, signals_name(b->code));
    else if (!b->local && b->exited && b->code == SSH_OWN_FAILURE)
        err_set(err, ERR_UNREACHABLE, "the connection to %s was lost%s%s", b->host,
                line[0] != '\0' ? ": " : "", line);
    else
        err_set(err, ERR_UNREACHABLE, "the agent on %s left%s%s", b->host,
                line[0] != '\0' ? ": " : " without a word", line);
}

static void never_opened(const struct blame *b, struct err *err)
{
    char line[LINE_MAX_SHOWN];
    bool not_found = b->exited && (b->code == NOT_FOUND || b->code == NOT_EXECUTABLE);
    if (!b->local && b->exited && b->code == SSH_OWN_FAILURE && known_ssh_failure(b, err))
        return;
    if (not_found || strstr(b->errors, "Command not found") != NULL)
        no_program(b, err);
    else if (line_of(b->noise, false, line)[0] != '\0')
        err_set(err, ERR_PROTOCOL,
                "%s answered with something other than deployctl: \"%s\"; the start files of the "
                "login shell must be silent when it is not interactive",
                b->host, line);
    else if (b->timed_out)
        err_set(err, ERR_TIMEOUT,
                "%s said nothing for %lld s; is it overloaded, or does its login "
                "shell wait for input?",
                b->host, (long long)(b->timeout_ms / 1000));
    else if (line_of(b->errors, true, line)[0] != '\0')
        err_set(err, ERR_UNREACHABLE, "%s: %s", b->host, line);
    else if (!b->exited && b->code != 0)
        err_set(err, ERR_UNREACHABLE, "the %s for %s was ended by SIG%s",
                b->local ? "agent" : "ssh", b->host, signals_name(b->code));
    else
        err_set(err, ERR_UNREACHABLE, "%s closed the connection before saying anything (%s)",
                b->host, b->reason);
}

void blame_close(const struct blame *blame, struct err *err)
{
    if (blame->opened)
        lost_after_opening(blame, err);
    else
        never_opened(blame, err);
}
