/* plan_fastcgi.c - supervisord's [fcgi-program:NAME], made of what we have.
 *
 * supervisord opens one socket for all processes of the section and gives it to each as descriptor
 * 0.  That is a [socket:] and a program with stdin = socket:
 *
 *     [fcgi-program:php]                 [socket:fcgi.php]        [program:php]
 *     command = php-cgi                  listen = /run/php.sock   command = php-cgi
 *     socket = unix:///run/php.sock  ->  owner = www              sockets = fcgi.php
 *     user = www                         mode = 0700              stdin = socket
 */
#include <stdio.h>
#include <string.h>

#include "supervisor/plan/instance.h"
#include "supervisor/plan/plan_build.h"

/* One [fcgi-program:] while it is split. */
struct splitting {
    struct plan_build *build;
    struct plan_section *program, *socket;
    const struct plan_key *given; /* its `socket` */
};

static void add_key(struct plan_section *to, const char *key, const char *value,
                    const struct plan_key *place)
{
    to->keys[to->nkeys++] = (struct plan_key){ key, value, place->file, place->line };
}

static void refuse(const struct splitting *s, const struct plan_key *key, const char *what)
{
    plan_build_error(s->build, key->file, key->line, s->program->title, key->key, "\"%.64s\" %s",
                     key->value, what);
}

/* "tcp://HOST:PORT" as an address of ours; supervisord's host is IPv4. */
static const char *tcp_address(struct splitting *s, const char *text)
{
    static const char local[] = "localhost:";

    if (strncmp(text, local, strlen(local)) == 0)
        return arena_printf(&s->build->scratch, "127.0.0.1:%s", text + strlen(local));
    return arena_strdup(&s->build->scratch, text);
}

static void add_listen(struct splitting *s)
{
    struct plan_build *build = s->build;
    const char *value = s->given->value, *address = NULL;
    char **names = instance_names(plan_build_here(build, s->given->file), build->source->host,
                                  s->program->name, s->program->name, -1, &build->scratch);
    struct err err;

    build->no_memory |= !names;
    if (!names)
        return;
    if (instance_expand(value, names, (char *const *)build->plan->environment, &build->scratch,
                        &value, &err) < 0) {
        plan_build_error(build, s->given->file, s->given->line, s->program->title, "socket", "%s",
                         err.text);
        return;
    }
    if (strncmp(value, "unix:///", 8) == 0)
        address = arena_strdup(&build->scratch, value + 7);
    else if (strncmp(value, "tcp://", 6) == 0)
        address = tcp_address(s, value + 6);
    else
        refuse(s, s->given, "is no socket, try unix:///run/NAME.sock or tcp://127.0.0.1:9000");
    if (address)
        add_key(s->socket, "listen", address, s->given);
}

/* Owner and mode, by supervisord's defaults where they are not given. */
static void add_rights(struct splitting *s, bool is_unix)
{
    const struct plan_key *owner = plan_sections_key(s->program, "socket_owner");
    const struct plan_key *mode = plan_sections_key(s->program, "socket_mode");
    const struct plan_key *user = plan_sections_key(s->program, "user");

    if (!is_unix) {
        if (owner || mode)
            refuse(s, owner ? owner : mode, "is only for a unix:// socket, remove the line");
        return;
    }
    if (owner || user)
        add_key(s->socket, "owner", owner ? owner->value : user->value, owner ? owner : user);
    add_key(s->socket, "mode", mode ? mode->value : "0700", mode ? mode : s->given);
}

/* What stays is a program. */
static void keep_program(struct splitting *s)
{
    struct plan_build *build = s->build;
    const char *name = s->socket->name;
    struct plan_key *keys = plan_build_scratch(build, s->program->nkeys + 2, sizeof(*keys));
    struct plan_section *program = s->program;
    size_t count = program->nkeys;
    const struct plan_key *old = program->keys;

    if (!keys)
        return;
    program->kind = PLAN_KIND_PROGRAM;
    program->keys = keys;
    program->nkeys = 0;
    for (size_t i = 0; i < count; i++)
        if (strcmp(old[i].key, "socket") != 0 && strncmp(old[i].key, "socket_", 7) != 0)
            program->keys[program->nkeys++] = old[i];
    if (s->socket->nkeys == 0) /* its address was wrong */
        return;
    add_key(program, "sockets", name, s->given);
    add_key(program, "stdin", "socket", s->given);
}

static void split(struct plan_build *build, size_t index)
{
    enum { SOCKET_KEYS = 4 };
    struct splitting s = { .build = build, .program = &build->sections[index] };
    const struct plan_key *backlog = plan_sections_key(s.program, "socket_backlog");

    s.given = plan_sections_key(s.program, "socket");
    if (!s.given || !*s.given->value) {
        plan_build_error(build, s.program->file, s.program->line, s.program->title, "socket",
                         "is missing, try socket = unix:///run/%.40s.sock", s.program->name);
        s.program->kind = PLAN_KIND_PROGRAM;
        return;
    }
    s.socket = &build->sections[build->nsections++];
    *s.socket = (struct plan_section){ .kind = PLAN_KIND_SOCKET,
                                       .title = s.program->title,
                                       .file = s.given->file,
                                       .line = s.given->line };
    s.socket->name = arena_printf(&build->scratch, "fcgi.%s", s.program->name);
    s.socket->keys = plan_build_scratch(build, SOCKET_KEYS, sizeof(*s.socket->keys));
    build->no_memory |= !s.socket->name;
    if (build->no_memory)
        return;
    add_listen(&s);
    if (s.socket->nkeys == 0) {
        build->nsections--;
    } else {
        add_rights(&s, strncmp(s.given->value, "unix:", 5) == 0);
        if (backlog)
            add_key(s.socket, "backlog", backlog->value, backlog);
    }
    keep_program(&s);
}

void plan_fastcgi_split(struct plan_build *build)
{
    size_t count = build->nsections;

    for (size_t i = 0; i < count && !build->no_memory; i++)
        if (build->sections[i].kind == PLAN_KIND_FASTCGI)
            split(build, i);
}
