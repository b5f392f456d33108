/* pattern.c - the contract is in pattern.h.
 *
 * A program for a machine that is in many states at once (Thompson, Pike): set, fork, jump, line
 * begin, line end, match.
 */
#include "base/pattern.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>

enum op { OP_SET, OP_FORK, OP_JUMP, OP_BEGIN, OP_END, OP_MATCH };
enum { DEPTH_MAX = 32, REPEAT_MAX = 255 };

struct compiler {
    const char *text, *at;
    struct pattern *out;
    unsigned depth;
    struct err *err;
};

static int wrong(struct compiler *c, const char *what)
{
    return err_set(c->err, ERR_INVALID, "%s at character %d of \"%.64s\"", what,
                   (int)(c->at - c->text) + 1, c->text);
}

/* Index of the new state, or an error. */
static int emit(struct compiler *c, enum op op, size_t x, size_t y)
{
    if (c->out->count == PATTERN_STATES_MAX)
        return err_set(c->err, ERR_LIMIT, "\"%.64s\" needs more than %d states, try a shorter one",
                       c->text, PATTERN_STATES_MAX);
    size_t at = c->out->count++;
    c->out->states[at].op = (uint8_t)op;
    c->out->states[at].x = (uint8_t)x;
    c->out->states[at].y = (uint8_t)y;
    return (int)at;
}

/* --- sets of bytes --- */

static void add(uint32_t set[8], unsigned char byte) { set[byte / 32] |= 1u << byte % 32; }

static bool has(const uint32_t set[8], unsigned char byte)
{
    return set[byte / 32] >> byte % 32 & 1;
}

static void invert(uint32_t set[8])
{
    for (int i = 0; i < 8; i++)
        set[i] = ~set[i];
}

static int is_word(int c) { return isalnum(c) || c == '_'; }

static void add_class(uint32_t set[8], int (*belongs)(int), bool is_in)
{
    for (int byte = 0; byte < 256; byte++)
        if ((byte < 128 && belongs(byte)) == is_in)
            add(set, (unsigned char)byte);
}

/* \d and the like; false: an escape of one character. */
static bool add_escaped(uint32_t set[8], char letter)
{
    static const struct {
        char letter;
        int (*belongs)(int);
    } classes[] = { { 'd', isdigit }, { 'w', is_word }, { 's', isspace } };

    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (tolower((unsigned char)letter) != classes[i].letter)
            continue;
        add_class(set, classes[i].belongs, letter == classes[i].letter);
        return true;
    }
    add(set, letter == 't' ? '\t' : (unsigned char)letter);
    return false;
}

/* "[:digit:]" inside brackets; 1 = it was one. */
static int take_named(struct compiler *c, uint32_t set[8])
{
    static const struct {
        const char *name;
        int (*belongs)(int);
    } names[] = {
        { "[:alpha:]", isalpha }, { "[:digit:]", isdigit },   { "[:alnum:]", isalnum },
        { "[:space:]", isspace }, { "[:upper:]", isupper },   { "[:lower:]", islower },
        { "[:punct:]", ispunct }, { "[:xdigit:]", isxdigit }, { "[:blank:]", isblank },
        { "[:print:]", isprint }, { "[:cntrl:]", iscntrl },   { "[:graph:]", isgraph },
    };

    if (c->at[0] != '[' || c->at[1] != ':')
        return 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t len = strlen(names[i].name);
        if (strncmp(c->at, names[i].name, len) != 0)
            continue;
        add_class(set, names[i].belongs, true);
        c->at += len;
        return 1;
    }
    return wrong(c, "an unknown class");
}

static int take_range(struct compiler *c, uint32_t set[8])
{
    unsigned char first = (unsigned char)*c->at++, last = first;

    if (first == '\\' && *c->at) {
        if (add_escaped(set, *c->at++))
            return 0;
        first = last = c->at[-1] == 't' ? '\t' : (unsigned char)c->at[-1];
    }
    if (c->at[0] == '-' && c->at[1] && c->at[1] != ']') {
        last = (unsigned char)c->at[1];
        c->at += 2;
    }
    if (last < first)
        return wrong(c, "a range that ends before it begins");
    for (unsigned byte = first; byte <= last; byte++)
        add(set, (unsigned char)byte);
    return 0;
}

static int take_brackets(struct compiler *c, uint32_t set[8])
{
    bool negated = *c->at == '^', first = true;

    c->at += negated;
    for (; *c->at && (*c->at != ']' || first); first = false) {
        int rc = take_named(c, set);
        if (rc == 0)
            rc = take_range(c, set);
        if (rc < 0)
            return rc;
    }
    if (!*c->at)
        return wrong(c, "a [ without its ]");
    c->at++;
    if (negated)
        invert(set);
    return 0;
}

static int emit_set(struct compiler *c, uint32_t set[8])
{
    struct pattern *out = c->out;
    size_t i = 0;

    while (i < out->nsets && memcmp(out->sets[i], set, sizeof out->sets[i]) != 0)
        i++;
    if (i == PATTERN_SETS_MAX)
        return err_set(c->err, ERR_LIMIT, "\"%.64s\" has more than %d different characters",
                       c->text, PATTERN_SETS_MAX);
    if (i == out->nsets)
        memcpy(out->sets[out->nsets++], set, sizeof out->sets[i]);
    return emit(c, OP_SET, i, 0);
}

/* --- the grammar --- */

static int take_either(struct compiler *c);

static int take_group(struct compiler *c)
{
    if (++c->depth > DEPTH_MAX)
        return wrong(c, "groups too deep");
    int rc = take_either(c);
    if (rc < 0)
        return rc;
    if (*c->at != ')')
        return wrong(c, "a ( without its )");
    c->at++;
    c->depth--;
    return 0;
}

static int take_atom(struct compiler *c)
{
    uint32_t set[8] = { 0 };
    char letter = *c->at++;
    int rc = 0;

    if (letter == '(')
        return take_group(c);
    if (letter == '^' || letter == '$')
        return emit(c, letter == '^' ? OP_BEGIN : OP_END, 0, 0);
    if (strchr("*+?{", letter)) {
        c->at--;
        return wrong(c, "nothing to be repeated");
    }
    if (letter == '.') {
        invert(set);
    } else if (letter == '[') {
        rc = take_brackets(c, set);
    } else if (letter == '\\') {
        if (!*c->at)
            return wrong(c, "a \\ at the end");
        add_escaped(set, *c->at++);
    } else {
        add(set, (unsigned char)letter);
    }
    return rc < 0 ? rc : emit_set(c, set);
}

static int take_number(struct compiler *c, int *ret)
{
    if (!isdigit((unsigned char)*c->at))
        return wrong(c, "a number is missing");
    for (*ret = 0; isdigit((unsigned char)*c->at); c->at++)
        if ((*ret = *ret * 10 + (*c->at - '0')) > REPEAT_MAX)
            return wrong(c, "too many repetitions");
    return 0;
}

/* How often; most -1 = no end.  Nothing there: once. */
static int take_times(struct compiler *c, int *ret_least, int *ret_most)
{
    *ret_least = *c->at == '+' ? 1 : 0;
    *ret_most = *c->at == '?' ? 1 : -1;
    if (*c->at == '*' || *c->at == '+' || *c->at == '?') {
        c->at++;
        return 0;
    }
    *ret_least = *ret_most = 1;
    if (*c->at != '{')
        return 0;
    c->at++;
    int rc = take_number(c, ret_least);
    *ret_most = *ret_least;
    if (rc == 0 && *c->at == ',') {
        c->at++;
        *ret_most = -1;
        if (*c->at != '}')
            rc = take_number(c, ret_most);
    }
    if (rc < 0)
        return rc;
    if (*c->at != '}' || (*ret_most >= 0 && *ret_most < *ret_least))
        return wrong(c, "repetitions that make no sense");
    c->at++;
    return 0;
}

/* The atom once more: its text is read again. */
static int again(struct compiler *c, const char *from)
{
    const char *after = c->at;

    c->at = from;
    int rc = take_atom(c);
    c->at = after;
    return rc;
}

/* fork L1, L2; L1: atom; jump back; L2: */
static int emit_any(struct compiler *c, const char *from)
{
    int fork = emit(c, OP_FORK, 0, 0);
    int rc = fork < 0 ? fork : again(c, from);
    int back = rc < 0 ? rc : emit(c, OP_JUMP, (size_t)fork, 0);

    if (back < 0)
        return back;
    c->out->states[fork].x = (uint8_t)(fork + 1);
    c->out->states[fork].y = (uint8_t)(back + 1);
    return 0;
}

static int emit_optional(struct compiler *c, const char *from)
{
    int fork = emit(c, OP_FORK, 0, 0);
    int rc = fork < 0 ? fork : again(c, from);

    if (rc < 0)
        return rc;
    c->out->states[fork].x = (uint8_t)(fork + 1);
    c->out->states[fork].y = (uint8_t)c->out->count;
    return 0;
}

static int take_repeated(struct compiler *c)
{
    const char *from = c->at;
    size_t count = c->out->count;
    int least, most, rc = take_atom(c);

    if (rc >= 0)
        rc = take_times(c, &least, &most);
    if (rc < 0)
        return rc;
    c->out->count = count; /* made again below, as often as it takes */
    for (int i = 0; i < least && rc >= 0; i++)
        rc = again(c, from);
    for (int i = least; i < most && rc >= 0; i++)
        rc = emit_optional(c, from);
    if (most < 0 && rc >= 0)
        rc = emit_any(c, from);
    return rc < 0 ? rc : *c->at && strchr("*+?{", *c->at) ? wrong(c, "repeated twice") : 0;
}

static int take_row(struct compiler *c)
{
    int rc = 0;

    if (!*c->at || *c->at == '|' || *c->at == ')')
        return wrong(c, "nothing to look for");
    while (rc == 0 && *c->at && *c->at != '|' && *c->at != ')')
        rc = take_repeated(c);
    return rc;
}

/* fork L1, L2; L1: row; jump L3; L2: the rest; L3: */
static int take_either(struct compiler *c)
{
    const char *from = c->at;
    size_t count = c->out->count;
    int rc = take_row(c);

    if (rc < 0 || *c->at != '|')
        return rc;
    c->out->count = count;
    c->at = from;
    int fork = emit(c, OP_FORK, 0, 0);
    rc = fork < 0 ? fork : take_row(c);
    int jump = rc < 0 ? rc : emit(c, OP_JUMP, 0, 0);
    if (jump < 0)
        return jump;
    c->out->states[fork].x = (uint8_t)(fork + 1);
    c->out->states[fork].y = (uint8_t)c->out->count;
    c->at++;
    rc = take_either(c);
    c->out->states[jump].x = (uint8_t)c->out->count;
    return rc;
}

int pattern_compile(const char *text, struct pattern *ret, struct err *err)
{
    struct compiler c = { .text = text, .at = text, .out = ret, .err = err };

    memset(ret, 0, sizeof *ret);
    if (strlen(text) >= PATTERN_TEXT_MAX)
        return err_set(err, ERR_LIMIT, "a pattern has at most %d characters", PATTERN_TEXT_MAX - 1);
    int rc = take_either(&c);
    if (rc >= 0 && *c.at)
        rc = wrong(&c, "a ) without its (");
    if (rc >= 0)
        rc = emit(&c, OP_MATCH, 0, 0);
    return rc < 0 ? rc : 0;
}

/* --- running --- */

struct step {
    const struct pattern *pattern;
    uint64_t states[PATTERN_STATES_MAX / 64]; /* also those that were only passed */
    bool begin, end;                          /* of the line: here */
    bool matched;
};

/* The state and all that it leads to without a byte. */
static void enter(struct step *step, size_t first)
{
    uint8_t stack[2 * PATTERN_STATES_MAX];
    size_t depth = 0;

    stack[depth++] = (uint8_t)first;
    while (depth > 0) {
        size_t at = stack[--depth];
        uint64_t bit = UINT64_C(1) << at % 64;
        if (step->states[at / 64] & bit)
            continue;
        step->states[at / 64] |= bit;
        switch ((enum op)step->pattern->states[at].op) {
        case OP_FORK:
            stack[depth++] = step->pattern->states[at].y;
            stack[depth++] = step->pattern->states[at].x;
            break;
        case OP_JUMP:
            stack[depth++] = step->pattern->states[at].x;
            break;
        case OP_BEGIN:
            if (step->begin)
                stack[depth++] = (uint8_t)(at + 1);
            break;
        case OP_END:
            if (step->end)
                stack[depth++] = (uint8_t)(at + 1);
            break;
        case OP_MATCH:
            step->matched = true;
            break;
        case OP_SET:
            break;
        }
    }
}

/* From each state of `seen` over this byte. */
static void advance(const struct pattern_seen *seen, struct step *step, unsigned char byte)
{
    const struct pattern *pattern = step->pattern;

    for (size_t word = 0; word < PATTERN_STATES_MAX / 64; word++) {
        for (uint64_t bits = seen->states[word]; bits; bits &= bits - 1) {
            size_t at = word * 64 + (size_t)__builtin_ctzll(bits);
            if (pattern->states[at].op == OP_SET && has(pattern->sets[pattern->states[at].x], byte))
                enter(step, at + 1);
        }
    }
}

/* The line ends here: whoever waits for that goes on. */
static bool matches_at_end(const struct pattern *pattern, const struct pattern_seen *seen)
{
    struct step step = { .pattern = pattern, .end = true, .begin = !seen->inside };

    for (size_t word = 0; word < PATTERN_STATES_MAX / 64; word++)
        for (uint64_t bits = seen->states[word]; bits; bits &= bits - 1)
            if (pattern->states[word * 64 + (size_t)__builtin_ctzll(bits)].op == OP_END)
                enter(&step, word * 64 + (size_t)__builtin_ctzll(bits));
    enter(&step, 0);
    return step.matched;
}

bool pattern_feed(const struct pattern *pattern, struct pattern_seen *seen, const char *data,
                  size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '\n') {
            if (matches_at_end(pattern, seen))
                return true;
            memset(seen, 0, sizeof *seen);
            continue;
        }
        struct step here = { .pattern = pattern, .begin = !seen->inside }, next = here;
        memcpy(here.states, seen->states, sizeof here.states);
        enter(&here, 0); /* a match may begin at every byte */
        memcpy(seen->states, here.states, sizeof seen->states);
        next.begin = false;
        advance(seen, &next, (unsigned char)data[i]);
        if (here.matched || next.matched)
            return true;
        memcpy(seen->states, next.states, sizeof seen->states);
        seen->inside = 1;
    }
    return false;
}
