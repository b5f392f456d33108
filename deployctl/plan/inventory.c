/* inventory.c - the contract is in inventory.h. */
#include "deployctl/plan/inventory.h"

#include <stdbool.h>
#include <string.h>

#include "base/near.h"
#include "deployctl/plan/hosts.h"
#include "deployctl/plan/recipe.h"
#include "deployctl/plan/recipe_options.h"

#define BLANKS " \t\r"

static const char no_memory[] = "no memory for the list of hosts";

static bool is_key(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
    return len > 0 && text[len] == '\0';
}

static bool is_printable(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    return true;
}

int inventory_add(struct inventory *inventory, const char *name, size_t place, struct err *err)
{
    if (!hosts_name_ok(name))
        return err_set(err, ERR_INVALID,
                       "\"%.64s\" is not a host name (letters, digits, '.', '-', '_')", name);
    if (inventory->count == HOSTS_MAX)
        return err_set(err, ERR_LIMIT, "more than %d hosts", HOSTS_MAX);
    if (inventory->count == inventory->room) {
        size_t room = inventory->room ? inventory->room * 2 : 64;
        struct inventory_host *hosts = arena_array(inventory->arena, room, sizeof *hosts);
        if (!hosts)
            return err_set(err, ERR_MEMORY, no_memory);
        if (inventory->count)
            memcpy(hosts, inventory->hosts, inventory->count * sizeof *hosts);
        inventory->hosts = hosts;
        inventory->room = room;
    }
    const char *copy = arena_strdup(inventory->arena, name);
    if (!copy)
        return err_set(err, ERR_MEMORY, no_memory);
    inventory->hosts[inventory->count++] = (struct inventory_host){ .name = copy, .place = place };
    return 0;
}

static bool make_room(struct inventory_host *host, struct arena *arena)
{
    if (host->npairs < host->room)
        return true;
    size_t room = host->room ? host->room * 2 : 8;
    const char **pairs = arena_array(arena, room, sizeof *pairs);
    if (!pairs)
        return false;
    if (host->npairs)
        memcpy(pairs, host->pairs, host->npairs * sizeof *pairs);
    host->pairs = pairs;
    host->room = room;
    return true;
}

int inventory_say(struct inventory *inventory, const char *key, const char *value, struct err *err)
{
    struct inventory_host *host = &inventory->hosts[inventory->count - 1];
    if (!is_key(key))
        return err_set(err, ERR_INVALID, "\"%.64s\" is not a key, try KEY=VALUE", key);
    if (!is_printable(value) || strlen(value) > INVENTORY_VALUE_MAX)
        return err_set(err, ERR_INVALID, "%.64s: the value is not plain text of at most %d bytes",
                       key, INVENTORY_VALUE_MAX);
    for (size_t i = 0; i < host->npairs; i += 2)
        if (strcmp(host->pairs[i], key) == 0)
            return err_set(err, ERR_INVALID, "%.64s is given twice", key);
    if (host->npairs == INVENTORY_PAIRS_MAX * 2)
        return err_set(err, ERR_LIMIT, "more than %d keys", INVENTORY_PAIRS_MAX);
    const char *name = arena_strdup(inventory->arena, key);
    const char *text = arena_strdup(inventory->arena, value);
    if (!name || !text || !make_room(host, inventory->arena))
        return err_set(err, ERR_MEMORY, no_memory);
    host->pairs[host->npairs] = name;
    host->pairs[host->npairs + 1] = text;
    host->npairs += 2;
    return 0;
}

/* --- lines ------------------------------------------------------------------------------------ */

/* The next word of *at, ended in place; NULL = none. */
static char *next_word(char **at)
{
    char *word = *at + strspn(*at, BLANKS);
    size_t len = strcspn(word, BLANKS);
    if (len == 0 || *word == '#')
        return NULL;
    *at = word + len + (word[len] != '\0');
    word[len] = '\0';
    return word;
}

static int read_line(struct inventory *inventory, char *line, size_t number, struct err *err)
{
    char *name = next_word(&line), *word;
    if (!name)
        return 0;
    if (strchr(name, '='))
        return err_set(err, ERR_INVALID, "a line begins with the name of a host, not with %.64s",
                       name);
    int rc = inventory_add(inventory, name, number, err);
    while (rc == 0 && (word = next_word(&line)) != NULL) {
        char *equals = strchr(word, '=');
        if (!equals)
            return err_set(err, ERR_INVALID, "\"%.64s\" is not KEY=VALUE; one host a line", word);
        *equals = '\0';
        rc = inventory_say(inventory, word, equals + 1, err);
    }
    return rc;
}

int inventory_lines(struct inventory *inventory, const char *text, size_t len, struct err *err)
{
    size_t number = 0;
    inventory->place_is = "line";
    for (const char *at = text, *end = text + len; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t size = stop ? (size_t)(stop - at) : (size_t)(end - at);
        char *line = arena_strndup(inventory->arena, at, size);
        number++;
        if (!line)
            return err_set(err, ERR_MEMORY, no_memory);
        if (strlen(line) != size)
            return err_set(err, ERR_INVALID, "line %zu: has a NUL byte in it", number);
        if (read_line(inventory, line, number, err) < 0)
            return err_wrap(err, "line %zu", number);
        at += size + (stop != NULL);
    }
    return 0;
}

/* --- what it means ---------------------------------------------------------------------------- */

static const char *key_at(size_t i, const void *context)
{
    return ((const struct opt_table *)context)->rows[i].key;
}

static int add_label(struct recipe_host *to, const char *key, const char *value,
                     struct arena *arena, struct err *err)
{
    const struct opt_table *table = &recipe_options_host;
    const char *near = near_name(key, table->count, key_at, table);
    if (near)
        return err_set(err, ERR_INVALID,
                       "%.64s: did you mean %s? (a label of that name: labels=%.64s=%.64s)", key,
                       near, key, value);
    if (*value == '\0' || strpbrk(value, ", \t\r\n"))
        return err_set(err, ERR_INVALID, "%.64s: a label's value has no blanks or commas", key);
    to->labels = arena_printf(arena, "%s%s%s=%s", to->labels ? to->labels : "",
                              to->labels ? " " : "", key, value);
    return to->labels ? 0 : err_set(err, ERR_MEMORY, no_memory);
}

int inventory_apply(const struct inventory_host *from, struct recipe_host *to, struct arena *arena,
                    struct err *err)
{
    int rc = 0;
    /* labels=... first: the others are added to it. */
    for (size_t i = 0; rc == 0 && i < from->npairs; i += 2)
        if (opt_find(&recipe_options_host, from->pairs[i]) &&
            opt_set(&recipe_options_host, from->pairs[i], from->pairs[i + 1], arena, to, err) < 0)
            rc = err_wrap(err, "%s", from->pairs[i]);
    for (size_t i = 0; rc == 0 && i < from->npairs; i += 2)
        if (!opt_find(&recipe_options_host, from->pairs[i]))
            rc = add_label(to, from->pairs[i], from->pairs[i + 1], arena, err);
    return rc;
}
