/* journal.c - the contract is in journal.h. */
#include "deployctl/agent/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/crc32.h"
#include "io/durable.h"
#include "io/jsonx.h"

#define JOURNAL_NAME   "journal"
#define JOURNAL_BEFORE "journal.1"
#define CRC_KEY        ",\"crc32\":\""
enum { JOURNAL_MODE = 0644, CRC_DIGITS = 8, CRC_TAIL = 2 /* the closing quote and brace */ };

void journal_init(struct journal *journal)
{
    *journal = (struct journal){ .meta = -1, .fd = -1, .next = 1 };
}

void journal_done(struct journal *journal)
{
    auto_close_(&journal->fd);
    free(journal->marks);
    json_decref(journal->moved);
    json_decref(journal->closed);
    journal_init(journal);
}

/* --- memory --------------------------------------------------------------------------------- */

static struct journal_mark *mark_of(struct journal *journal, const char *digest)
{
    for (size_t i = 0; i < journal->nmarks; i++)
        if (strcmp(journal->marks[i].digest, digest) == 0)
            return &journal->marks[i];
    if (journal->nmarks >= JOURNAL_MARKS_MAX) { /* the oldest goes */
        size_t oldest = 0;
        for (size_t i = 1; i < journal->nmarks; i++)
            if (journal->marks[i].n < journal->marks[oldest].n)
                oldest = i;
        journal->marks[oldest] = journal->marks[--journal->nmarks];
    }
    struct journal_mark *more = realloc(journal->marks, (journal->nmarks + 1) * sizeof *more);
    if (more == NULL)
        return NULL;
    journal->marks = more;
    more[journal->nmarks] = (struct journal_mark){ 0 };
    return &more[journal->nmarks++];
}

static void remember(struct journal *journal, const json_t *mark, uint64_t n)
{
    unsigned char unused[MANIFEST_DIGEST_BYTES];
    const char *digest = jsonx_text(mark, "digest", "");
    if (!manifest_unhex(digest, unused))
        return;
    struct journal_mark *known = mark_of(journal, digest);
    if (known == NULL)
        return;
    snprintf(known->digest, sizeof known->digest, "%s", digest);
    const char *id = jsonx_text(mark, "id", "");
    if (manifest_id_parse(id, NULL))
        snprintf(known->id, sizeof known->id, "%s", id);
    known->bad = strcmp(jsonx_text(mark, "verdict", ""), "bad") == 0;
    snprintf(known->reason, sizeof known->reason, "%s", jsonx_text(mark, "reason", ""));
    known->n = n;
}

static void keep(json_t **kept, const json_t *line)
{
    json_decref(*kept);
    *kept = json_copy((json_t *)line);
}

/* What the host runs since when, and how the last rollout ended. */
static void learn_moves(struct journal *journal, const char *act, const json_t *line)
{
    bool switched =
        strcmp(act, "switch") == 0 && strcmp(jsonx_text(line, "result", ""), "switched") == 0;
    if (switched || strcmp(act, "revert") == 0)
        keep(&journal->moved, line);
    else if (strcmp(act, "close") == 0)
        keep(&journal->closed, line);
}

static void learn(struct journal *journal, const json_t *line)
{
    uint64_t n = (uint64_t)jsonx_int(line, "n", 0);
    const char *act = jsonx_text(line, "act", "");
    if (n >= journal->next)
        journal->next = n + 1;
    if (strcmp(act, "mark") == 0)
        remember(journal, line, n);
    learn_moves(journal, act, line);
    if (strcmp(act, "snapshot") == 0) {
        size_t i;
        json_t *mark;
        json_array_foreach(json_object_get(line, "marks"), i, mark)
            remember(journal, mark, (uint64_t)jsonx_int(mark, "n", 0));
    }
}

const struct journal_mark *journal_find(const struct journal *journal, const char *digest)
{
    for (size_t i = 0; i < journal->nmarks; i++)
        if (strcmp(journal->marks[i].digest, digest) == 0)
            return &journal->marks[i];
    return NULL;
}

/* --- lines ------------------------------------------------------------------------------------ */

/* A new reference, or NULL for a damaged line. */
static json_t *parse_line(const char *text, size_t len)
{
    const size_t tail = sizeof CRC_KEY - 1 + CRC_DIGITS + CRC_TAIL;
    char digits[CRC_DIGITS + 1];
    if (len <= tail || len > JOURNAL_LINE_MAX ||
        memcmp(text + len - tail, CRC_KEY, sizeof CRC_KEY - 1) != 0)
        return NULL;
    snprintf(digits, sizeof digits, "%08x", (unsigned)crc32_of(0, text, len - tail));
    if (memcmp(digits, text + len - CRC_TAIL - CRC_DIGITS, CRC_DIGITS) != 0)
        return NULL;
    json_t *line = jsonx_parse(text, len, NULL);
    if (json_is_object(line))
        return line;
    json_decref(line);
    return NULL;
}

/* Text of one line with number, time and CRC; ended by a newline. */
static bool put_line(const json_t *line, uint64_t n, struct buf *out)
{
    char at[CLOCK_TEXT_MAX];
    json_t *whole = json_object();
    jsonx_set_int(whole, "n", (int64_t)n);
    jsonx_set_text(whole, "at", clock_text(clock_wall_us(), at));
    bool ok = json_object_update(whole, (json_t *)line) == 0 && jsonx_put(whole, out);
    json_decref(whole);
    if (!ok)
        return false;
    out->len--; /* the closing brace comes behind the CRC */
    buf_printf(out, CRC_KEY "%08x\"}\n", (unsigned)crc32_of(0, out->data, out->len));
    return !out->failed;
}

/* --- reading ---------------------------------------------------------------------------------- */

static int read_file(int meta, const char *name, struct buf *text, struct err *err)
{
    AUTO_CLOSE int fd =
        meta < 0 ? -ENOENT : durable_open_beneath(meta, name, O_RDONLY | O_NOFOLLOW, 0);
    if (fd == -ENOENT)
        return 0;
    int rc = fd < 0 ? fd : buf_read_fd(text, fd);
    return rc < 0 ? err_sys(err, -rc, "reading .deploy/%s", name) : 0;
}

int journal_read(struct journal *journal, int meta, struct err *err)
{
    struct buf text;
    buf_init(&text, JOURNAL_READ_MAX);
    journal_done(journal);
    journal->meta = meta;
    int rc = read_file(meta, JOURNAL_NAME, &text, err);
    const char *at = buf_text(&text), *end = at + text.len;
    while (rc == 0 && at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (newline == NULL) {
            journal->torn = (size_t)(end - at);
            break;
        }
        json_t *line = parse_line(at, (size_t)(newline - at));
        if (line != NULL)
            learn(journal, line);
        else
            journal->damaged++;
        json_decref(line);
        at = newline + 1;
    }
    journal->bytes = text.len - journal->torn;
    buf_done(&text);
    return rc;
}

int journal_open(struct journal *journal, int meta, struct err *err)
{
    int rc = journal_read(journal, meta, err);
    if (rc < 0)
        return rc;
    AUTO_CLOSE int fd = durable_open_beneath(
        meta, JOURNAL_NAME, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, JOURNAL_MODE);
    if (fd < 0)
        return err_sys(err, -fd, "opening .deploy/journal");
    if (journal->torn > 0 && (ftruncate(fd, (off_t)journal->bytes) < 0 || fsync(fd) < 0))
        return err_sys(err, errno, "cutting the torn last line of .deploy/journal");
    rc = durable_sync_dir(meta, err);
    if (rc == 0)
        journal->fd = take_fd(&fd);
    return rc;
}

/* --- writing ---------------------------------------------------------------------------------- */

static json_t *snapshot(const struct journal *journal)
{
    json_t *line = json_object(), *marks = json_array();
    jsonx_set_text(line, "act", "snapshot");
    for (size_t i = 0; i < journal->nmarks; i++) {
        const struct journal_mark *mark = &journal->marks[i];
        json_t *one = json_object();
        jsonx_set_text(one, "digest", mark->digest);
        jsonx_set_text(one, "id", mark->id);
        jsonx_set_text(one, "verdict", mark->bad ? "bad" : "good");
        jsonx_set_text(one, "reason", mark->reason);
        jsonx_set_int(one, "n", (int64_t)mark->n);
        json_array_append_new(marks, one);
    }
    json_object_set_new(line, "marks", marks);
    return line;
}

/* The old file gets its second name first, then the new one replaces it: at no moment is there
 * no journal. */
static int rotate(struct journal *journal, struct err *err)
{
    struct buf text;
    buf_init(&text, JOURNAL_LINE_MAX);
    json_t *line = snapshot(journal);
    int rc = 0;
    if (!put_line(line, journal->next, &text))
        rc = err_set(err, ERR_MEMORY, "no memory for the journal's snapshot");
    json_decref(line);
    if (rc == 0)
        rc = durable_unlink(journal->meta, JOURNAL_BEFORE, err);
    if (rc == 0 && linkat(journal->meta, JOURNAL_NAME, journal->meta, JOURNAL_BEFORE, 0) < 0)
        rc = err_sys(err, errno, "rotating .deploy/journal");
    if (rc == 0)
        rc = durable_write(journal->meta, JOURNAL_NAME, text.data, text.len, JOURNAL_MODE, err);
    buf_done(&text);
    return rc < 0 ? rc : journal_open(journal, journal->meta, err);
}

static int write_line(struct journal *journal, const struct buf *text, struct err *err)
{
    size_t done = 0;
    while (done < text->len) {
        ssize_t n = write(journal->fd, text->data + done, text->len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int sys = errno;
            if (done > 0 && ftruncate(journal->fd, (off_t)journal->bytes) < 0)
                journal->torn = done; /* cut by whoever opens it next */
            return err_sys(err, sys, "writing .deploy/journal");
        }
        done += (size_t)n;
    }
    if (fdatasync(journal->fd) < 0)
        return err_sys(err, errno, "syncing .deploy/journal");
    journal->bytes += text->len;
    return 0;
}

int journal_append(struct journal *journal, const json_t *line, struct err *err)
{
    if (journal->fd < 0)
        return err_set(err, ERR_STATE, "the journal is not open");
    int rc = journal->bytes > JOURNAL_MAX ? rotate(journal, err) : 0;
    if (rc < 0)
        return rc;
    struct buf text;
    buf_init(&text, JOURNAL_LINE_MAX);
    if (!put_line(line, journal->next, &text))
        rc = err_set(err, ERR_LIMIT, "a journal line of more than %d bytes", JOURNAL_LINE_MAX);
    else
        rc = write_line(journal, &text, err);
    buf_done(&text);
    if (rc == 0) {
        uint64_t n = journal->next++;
        if (strcmp(jsonx_text(line, "act", ""), "mark") == 0)
            remember(journal, line, n);
    }
    return rc;
}

/* --- history ---------------------------------------------------------------------------------- */

/* Appends the lines of one file, last one first, until there are `limit`. */
static void newest_lines(int meta, const char *name, size_t limit, json_t *lines)
{
    struct buf text;
    buf_init(&text, JOURNAL_READ_MAX);
    if (read_file(meta, name, &text, NULL) == 0 && text.len > 0) {
        const char *start = text.data;
        const char *end = memrchr(start, '\n', text.len); /* what is torn stays out */
        while (end != NULL && json_array_size(lines) < limit) {
            const char *before = memrchr(start, '\n', (size_t)(end - start));
            const char *at = before == NULL ? start : before + 1;
            json_t *line = parse_line(at, (size_t)(end - at));
            if (line != NULL)
                json_array_append_new(lines, line);
            end = before;
        }
    }
    buf_done(&text);
}

json_t *journal_history(const struct journal *journal, int meta, size_t limit)
{
    json_t *lines = json_array();
    (void)journal;
    newest_lines(meta, JOURNAL_NAME, limit, lines);
    newest_lines(meta, JOURNAL_BEFORE, limit, lines);
    return lines;
}
