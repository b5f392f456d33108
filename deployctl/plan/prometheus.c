/* prometheus.c - the contract is in prometheus.h. */
#include "deployctl/plan/prometheus.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_MAX = 64 };

static bool name_begins(char c) { return isalpha((unsigned char)c) || c == '_' || c == ':'; }
static bool name_goes_on(char c) { return name_begins(c) || isdigit((unsigned char)c); }

/* --- selectors -------------------------------------------------------------------------------- */

static const char *skip_blanks(const char *at)
{
    while (*at == ' ' || *at == '\t')
        at++;
    return at;
}

/* Reads a name into `ret`; what follows it, or NULL. */
static const char *take_name(const char *at, char ret[static PROMETHEUS_NAME_MAX])
{
    size_t len = 0;
    if (!name_begins(*at))
        return NULL;
    while (name_goes_on(at[len]))
        if (++len == PROMETHEUS_NAME_MAX)
            return NULL;
    memcpy(ret, at, len);
    ret[len] = '\0';
    return at + len;
}

/* A value in quotes, with \" and \\; in a regex every other backslash is the regex's own. */
static const char *take_quoted(const char *at, char ret[static PROMETHEUS_NAME_MAX])
{
    size_t len = 0;
    if (*at++ != '"')
        return NULL;
    for (; *at && *at != '"'; at++) {
        if (*at == '\\' && (at[1] == '"' || at[1] == '\\'))
            at++;
        if (len + 1 >= PROMETHEUS_NAME_MAX)
            return NULL;
        ret[len++] = *at;
    }
    ret[len] = '\0';
    return *at == '"' ? at + 1 : NULL;
}

static const char *take_op(const char *at, enum prometheus_op *ret)
{
    static const struct {
        const char *text;
        enum prometheus_op op;
    } ops[] = { { "=~", PROMETHEUS_LIKE },
                { "!~", PROMETHEUS_UNLIKE },
                { "!=", PROMETHEUS_DIFFERS },
                { "=", PROMETHEUS_EQUAL } };
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        if (strncmp(at, ops[i].text, strlen(ops[i].text)) == 0) {
            *ret = ops[i].op;
            return at + strlen(ops[i].text);
        }
    return NULL;
}

static int compile(struct prometheus_matcher *matcher, struct err *err)
{
    char whole[PROMETHEUS_NAME_MAX + 8];
    if (matcher->op != PROMETHEUS_LIKE && matcher->op != PROMETHEUS_UNLIKE)
        return 0;
    snprintf(whole, sizeof whole, "^(%s)$", matcher->value);
    int rc = pattern_compile(whole, &matcher->pattern, err);
    return rc < 0 ? err_wrap(err, "the pattern of %s", matcher->label) : 0;
}

static int read_matcher(const char **at, struct prometheus_matcher *ret, struct err *err)
{
    const char *next = take_name(*at, ret->label);
    if (!next)
        return err_set(err, ERR_INVALID, "a label is expected at \"%.20s\"", *at);
    const char *op = take_op(skip_blanks(next), &ret->op);
    if (!op)
        return err_set(err, ERR_INVALID, "=, !=, =~ or !~ is expected behind %.40s", ret->label);
    next = take_quoted(skip_blanks(op), ret->value);
    if (!next)
        return err_set(err, ERR_INVALID, "the value of %.40s must stand in double quotes",
                       ret->label);
    *at = skip_blanks(next);
    return compile(ret, err);
}

int prometheus_select(const char *text, struct prometheus_selector *ret, struct err *err)
{
    ret->count = 0;
    const char *at = take_name(skip_blanks(text), ret->name);
    if (!at)
        return err_set(err, ERR_INVALID, "must begin with the name of a metric");
    at = skip_blanks(at);
    if (*at == '{') {
        at = skip_blanks(at + 1);
        while (*at != '}') {
            if (ret->count == PROMETHEUS_MATCHERS_MAX)
                return err_set(err, ERR_INVALID, "more than %d labels", PROMETHEUS_MATCHERS_MAX);
            int rc = read_matcher(&at, &ret->matchers[ret->count++], err);
            if (rc < 0)
                return rc;
            if (*at == ',')
                at = skip_blanks(at + 1);
            else if (*at != '}')
                return err_set(err, ERR_INVALID, "a comma or } is expected at \"%.20s\"", at);
        }
        at = skip_blanks(at + 1);
    }
    if (*at)
        return err_set(err, ERR_INVALID, "\"%.20s\" is too much", at);
    return 0;
}

static const char *label_of(const struct prometheus_sample *sample, const char *name)
{
    for (size_t i = 0; i < sample->count; i++)
        if (strcmp(sample->labels[i].name, name) == 0)
            return sample->labels[i].value;
    return NULL;
}

static bool fits(const struct prometheus_matcher *matcher, const char *value)
{
    struct pattern_seen seen = { 0 };
    if (!value)
        value = ""; /* as in Prometheus: a missing label is an empty one */
    if (matcher->op == PROMETHEUS_EQUAL || matcher->op == PROMETHEUS_DIFFERS)
        return (strcmp(value, matcher->value) == 0) == (matcher->op == PROMETHEUS_EQUAL);
    bool like = pattern_feed(&matcher->pattern, &seen, value, strlen(value)) ||
                pattern_feed(&matcher->pattern, &seen, "\n", 1);
    return like == (matcher->op == PROMETHEUS_LIKE);
}

static bool labels_match(const struct prometheus_selector *selector,
                         const struct prometheus_sample *sample)
{
    for (size_t i = 0; i < selector->count; i++)
        if (!fits(&selector->matchers[i], label_of(sample, selector->matchers[i].label)))
            return false;
    return true;
}

bool prometheus_matches(const struct prometheus_selector *selector,
                        const struct prometheus_sample *sample)
{
    return strcmp(selector->name, sample->name) == 0 && labels_match(selector, sample);
}

/* --- the page --------------------------------------------------------------------------------- */

/* One line while it is being read. */
struct line {
    struct prometheus_reader *reader;
    const char *at, *end;
    size_t used; /* of reader->words */
    const char *fault;
};

static void blanks(struct line *line)
{
    while (line->at < line->end && (*line->at == ' ' || *line->at == '\t'))
        line->at++;
}

static bool is_next(const struct line *line, char c)
{
    return line->at < line->end && *line->at == c;
}

static void keep(struct line *line, char c)
{
    if (line->used < sizeof line->reader->words)
        line->reader->words[line->used++] = c;
    else
        line->fault = "its names and labels are too long";
}

static const char *read_name(struct line *line)
{
    const char *word = line->reader->words + line->used;
    if (line->at == line->end || !name_begins(*line->at))
        line->fault = "a name is expected";
    while (!line->fault && line->at < line->end && name_goes_on(*line->at))
        keep(line, *line->at++);
    keep(line, '\0');
    return word;
}

static const char *read_quoted(struct line *line)
{
    const char *word = line->reader->words + line->used;
    for (line->at++; line->at < line->end && *line->at != '"' && !line->fault; line->at++) {
        char c = *line->at;
        if (c == '\\' && line->at + 1 < line->end) {
            c = *++line->at;
            c = c == 'n' ? '\n' : c;
        }
        keep(line, c ? c : '?'); /* a NUL is no text */
    }
    if (!is_next(line, '"') && !line->fault)
        line->fault = "a quote is not closed";
    else if (!line->fault)
        line->at++;
    keep(line, '\0');
    return word;
}

/* {a="b", c="d",}; a name in quotes without "=" is the metric's own (any UTF-8, since 2024). */
static void read_labels(struct line *line, struct prometheus_sample *ret)
{
    line->at++;
    for (blanks(line); !line->fault && !is_next(line, '}'); blanks(line)) {
        const char *name = is_next(line, '"') ? read_quoted(line) : read_name(line);
        blanks(line);
        if (line->fault)
            return;
        if (is_next(line, '=')) {
            line->at++;
            blanks(line);
            if (!is_next(line, '"') || ret->count == PROMETHEUS_LABELS_MAX) {
                line->fault = is_next(line, '"') ? "too many labels" : "a quote is expected";
                return;
            }
            ret->labels[ret->count++] = (struct prometheus_label){ name, read_quoted(line) };
            blanks(line);
        } else if (ret->name[0] == '\0') {
            ret->name = name;
        } else {
            line->fault = "\"=\" is expected behind a label";
            return;
        }
        if (is_next(line, ','))
            line->at++;
        else if (!is_next(line, '}') && !line->fault)
            line->fault = "a comma or } is expected";
    }
    line->at++;
}

static double read_value(struct line *line)
{
    char text[NUMBER_MAX], *end;
    size_t len = 0;
    while (line->at + len < line->end && line->at[len] != ' ' && line->at[len] != '\t' &&
           line->at[len] != '\r')
        len++;
    if (len == 0 || len >= sizeof text) {
        line->fault = "a value is expected";
        return 0;
    }
    memcpy(text, line->at, len);
    text[len] = '\0';
    double value = strtod(text, &end);
    if (*end || isspace((unsigned char)text[0]))
        line->fault = "the value is not a number";
    line->at += len;
    return value;
}

static void read_sample(struct line *line, struct prometheus_sample *ret)
{
    ret->count = 0;
    ret->name = is_next(line, '{') ? "" : read_name(line);
    blanks(line);
    if (!line->fault && is_next(line, '{'))
        read_labels(line, ret);
    if (!line->fault && ret->name[0] == '\0')
        line->fault = "it has no name";
    blanks(line);
    ret->value = line->fault ? 0 : read_value(line); /* what follows: a time, an exemplar */
}

void prometheus_begin(struct prometheus_reader *reader, const char *text, size_t len)
{
    reader->at = text;
    reader->end = text + len;
    reader->line = 0;
}

int prometheus_next(struct prometheus_reader *reader, struct prometheus_sample *ret,
                    struct err *err)
{
    while (reader->at < reader->end) {
        const char *end = memchr(reader->at, '\n', (size_t)(reader->end - reader->at));
        struct line line = { .reader = reader, .at = reader->at, .end = end };
        reader->line++;
        if (!end)
            return err_set(err, ERR_PROTOCOL, "line %zu is cut off", reader->line);
        reader->at = end + 1;
        blanks(&line);
        if (line.at == line.end || *line.at == '#' || *line.at == '\r')
            continue;
        read_sample(&line, ret);
        if (line.fault)
            return err_set(err, ERR_PROTOCOL, "line %zu: %s", reader->line, line.fault);
        return 1;
    }
    return 0;
}

/* --- counting --------------------------------------------------------------------------------- */

enum { TALLY_TEXT = 48, TALLY_LABELS = 120 };

/* What one selector finds. */
struct tally {
    const struct prometheus_selector *selector;
    double sum;
    size_t series;             /* that match */
    bool named;                /* any series, or its TYPE, has the name */
    bool labelled;             /* a series of the name has every label that is asked for */
    char missing[TALLY_TEXT];  /* else: the first label that one of them lacks */
    char labels[TALLY_LABELS]; /* and those that it has instead */
    bool broken;               /* a value that is no count */
};

static void list_labels(struct tally *tally, const struct prometheus_sample *sample)
{
    size_t len = 0;
    for (size_t i = 0; i < sample->count && len + 32 < sizeof tally->labels; i++)
        len += (size_t)snprintf(tally->labels + len, sizeof tally->labels - len, "%s%.24s",
                                i ? ", " : "", sample->labels[i].name);
}

/* Only a label that must have a value is missed: absent means empty. */
static const char *lacks(const struct prometheus_selector *selector,
                         const struct prometheus_sample *sample)
{
    for (size_t i = 0; i < selector->count; i++)
        if (!label_of(sample, selector->matchers[i].label) && !fits(&selector->matchers[i], NULL))
            return selector->matchers[i].label;
    return NULL;
}

static bool is_count(double value) { return isfinite(value) && value >= 0 && value < 9e15; }

static void add(struct tally *tally, const struct prometheus_sample *sample)
{
    const char *missing;
    if (strcmp(tally->selector->name, sample->name) != 0)
        return;
    tally->named = true;
    if ((missing = lacks(tally->selector, sample)) == NULL) {
        tally->labelled = true;
    } else if (!tally->missing[0]) {
        snprintf(tally->missing, sizeof tally->missing, "%.40s", missing);
        list_labels(tally, sample);
    }
    if (!labels_match(tally->selector, sample))
        return;
    tally->series++;
    tally->broken = tally->broken || !is_count(sample->value);
    tally->sum += sample->value;
}

/* "# TYPE NAME counter" promises series that may come later; OpenMetrics leaves "_total" off. */
static bool is_promised(const char *text, size_t len, const char *name)
{
    static const char total[] = "_total";
    char promise[PROMETHEUS_NAME_MAX + 16];
    size_t base = strlen(name), tail = sizeof total - 1;
    const char *at = text;
    if (base > tail && strcmp(name + base - tail, total) == 0)
        base -= tail;
    size_t size = (size_t)snprintf(promise, sizeof promise, "# TYPE %.*s", (int)base, name);
    while ((at = memmem(at, len - (size_t)(at - text), promise, size)) != NULL) {
        const char *rest = at + size;
        size_t left = len - (size_t)(rest - text);
        bool whole = left > tail && strncmp(rest, name + base, strlen(name) - base) == 0;
        if ((at == text || at[-1] == '\n') && left > 0 &&
            (*rest == ' ' || (whole && rest[strlen(name) - base] == ' ')))
            return true;
        at++;
    }
    return false;
}

static int judge(const struct tally *tally, const char *text, size_t len, struct err *err)
{
    const char *name = tally->selector->name;
    if (!tally->named && !is_promised(text, len, name))
        return err_set(err, ERR_NOT_FOUND, "the page has no metric called %.80s", name);
    if (tally->named && !tally->labelled)
        return err_set(err, ERR_NOT_FOUND, "no series of %.80s has a label %s, there is %s", name,
                       tally->missing, tally->labels[0] ? tally->labels : "none");
    if (tally->broken || !is_count(tally->sum))
        return err_set(err, ERR_PROTOCOL, "a value of %.80s is not a count", name);
    return 0;
}

/* The histogram: series NAME_bucket{le="0.5"}. */
struct buckets {
    const struct prometheus_selector *selector;
    char name[PROMETHEUS_NAME_MAX + 8];
    double slower_than, bound; /* bound INFINITY: none reaches so far */
    double total, within;
    size_t totals, withins; /* series that told them */
    bool broken;
};

static bool bucket(const struct buckets *buckets, const struct prometheus_sample *sample,
                   double *ret_le)
{
    const char *le = strcmp(buckets->name, sample->name) == 0 ? label_of(sample, "le") : NULL;
    char *end;
    if (!le || !labels_match(buckets->selector, sample))
        return false;
    *ret_le = strtod(le, &end);
    return end != le && *end == '\0' && !isnan(*ret_le);
}

static void add_bucket(struct buckets *buckets, const struct prometheus_sample *sample)
{
    double le;
    if (!bucket(buckets, sample, &le))
        return;
    buckets->broken = buckets->broken || !is_count(sample->value);
    if (isinf(le)) {
        buckets->total += sample->value;
        buckets->totals++;
    } else if (le >= buckets->slower_than && le < buckets->bound) {
        buckets->bound = le;
        buckets->within = 0;
        buckets->withins = 0;
    }
    if (le == buckets->bound && !isinf(le)) {
        buckets->within += sample->value;
        buckets->withins++;
    }
}

static int judge_buckets(const struct buckets *buckets, struct err *err)
{
    if (buckets->totals == 0)
        return err_set(err, ERR_NOT_FOUND, "the page has no histogram called %.80s (%.80s)",
                       buckets->selector->name, buckets->name);
    if (isinf(buckets->bound))
        return err_set(err, ERR_NOT_FOUND, "no bucket of %.80s reaches %gs",
                       buckets->selector->name, buckets->slower_than);
    if (buckets->withins != buckets->totals)
        return err_set(err, ERR_PROTOCOL, "the series of %.80s have different buckets",
                       buckets->selector->name);
    if (buckets->broken || !is_count(buckets->total) || buckets->within > buckets->total)
        return err_set(err, ERR_PROTOCOL, "a value of %.80s is not a count", buckets->name);
    return 0;
}

/* Everything that is counted in one pass. */
struct counting {
    struct tally requests, errors;
    struct buckets buckets;
    double started;
};

static void count_sample(struct counting *c, const struct prometheus_sample *sample)
{
    add(&c->requests, sample);
    add(&c->errors, sample);
    if (c->buckets.selector)
        add_bucket(&c->buckets, sample);
    if (strcmp(sample->name, "process_start_time_seconds") == 0 && isfinite(sample->value))
        c->started = sample->value;
}

static int judge_all(const struct counting *c, const char *text, size_t len, struct err *err)
{
    if (judge(&c->requests, text, len, err) < 0)
        return err_wrap(err, "metrics_requests");
    if (judge(&c->errors, text, len, err) < 0)
        return err_wrap(err, "metrics_errors");
    if (c->buckets.selector && judge_buckets(&c->buckets, err) < 0)
        return err_wrap(err, "metrics_latency");
    return 0;
}

int prometheus_count(const char *text, size_t len, const struct prometheus_query *query,
                     struct prometheus_counts *ret, struct err *err)
{
    struct counting c = { .requests = { .selector = query->requests },
                          .errors = { .selector = query->errors },
                          .buckets = { .selector = query->latency,
                                       .slower_than = query->slower_than,
                                       .bound = INFINITY } };
    struct prometheus_sample sample;
    struct prometheus_reader *reader = malloc(sizeof *reader);
    int rc;
    if (!reader)
        return err_set(err, ERR_MEMORY, "no memory to read metrics");
    if (query->latency)
        snprintf(c.buckets.name, sizeof c.buckets.name, "%s_bucket", query->latency->name);
    prometheus_begin(reader, text, len);
    while ((rc = prometheus_next(reader, &sample, err)) > 0)
        count_sample(&c, &sample);
    free(reader);
    if (rc == 0)
        rc = judge_all(&c, text, len, err);
    if (rc < 0)
        return rc;
    *ret = (struct prometheus_counts){
        .requests = (int64_t)c.requests.sum,
        .errors = (int64_t)c.errors.sum,
        .timed = (int64_t)c.buckets.total,
        .slow = (int64_t)c.buckets.total - (int64_t)c.buckets.within,
        .bound = query->latency ? c.buckets.bound : 0,
        .started = c.started,
    };
    return 0;
}
