/* test_opt.c - rows parse, refuse, list and document; defaults go the same way as what people
 * write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/opt.h"
#include "base/unit.h"

struct thing {
    char before;
    bool flag;
    int64_t number, mask, unset_mask, wait_ms, room_bytes;
    int mode, stop;
    const char *text;
    struct opt_names names;
    struct unit_share share;
    int custom;
    char after;
};

static int parse_custom(const char *text, struct arena *arena, void *field, struct err *err)
{
    (void)arena;
    if (strcmp(text, "seven") != 0)
        return err_set(err, ERR_INVALID, "\"%s\" is not seven", text);
    *(int *)field = 7;
    return 0;
}

static const char *const modes[] = { "stop-first", "overlap", NULL };
static const struct opt rows[] = {
    { .key = "flag",
      .type = OPT_BOOLEAN,
      OPT_FIELD(struct thing, flag),
      .initial = "true",
      .help = "Whether it is so." },
    { .key = "number",
      .type = OPT_INTEGER,
      OPT_FIELD(struct thing, number),
      .initial = "3",
      .min = 1,
      .max = INT64_MAX,
      .help = "How many there are." },
    { .key = "mask",
      .type = OPT_OCTAL,
      OPT_FIELD(struct thing, mask),
      .initial = "022",
      .min = 0,
      .max = 0777,
      .help = "What is masked." },
    { .key = "unset_mask",
      .type = OPT_OCTAL,
      OPT_FIELD(struct thing, unset_mask),
      .help = "What is not masked." },
    { .key = "wait",
      .type = OPT_DURATION,
      OPT_FIELD(struct thing, wait_ms),
      .initial = "10s",
      .min = 1,
      .max = 3600000,
      .help = "How long it may take to leave after its stop signal, before it is killed and the "
              "rest of this sentence makes the line long enough to be wrapped." },
    { .key = "room",
      .type = OPT_SIZE,
      OPT_FIELD(struct thing, room_bytes),
      .initial = "50MB",
      .min = 1024,
      .max = 1 << 30,
      .help = "How much it may hold." },
    { .key = "mode",
      .type = OPT_CHOICE,
      OPT_FIELD(struct thing, mode),
      .initial = "stop-first",
      .choices = modes,
      .help = "Which goes first." },
    { .key = "stop",
      .type = OPT_SIGNAL,
      OPT_FIELD(struct thing, stop),
      .initial = "TERM",
      .help = "How it is asked to leave." },
    { .key = "command",
      .type = OPT_TEXT,
      OPT_FIELD(struct thing, text),
      .help = "What is run.",
      .example = "/bin/web\n--port 80" },
    { .key = "names",
      .type = OPT_NAMES,
      OPT_FIELD(struct thing, names),
      .initial = "a b",
      .help = "Who is there." },
    { .key = "share",
      .type = OPT_SHARE,
      OPT_FIELD(struct thing, share),
      .initial = "25%",
      .help = "How many of them." },
    { .key = "custom",
      .type = OPT_CUSTOM,
      OPT_FIELD(struct thing, custom),
      .initial = "seven",
      .parse = parse_custom,
      .help = "Seven." },
};
static const struct opt_table table = { .section = "thing:NAME",
                                        .help = "One thing of many.",
                                        .rows = rows,
                                        .count = sizeof(rows) / sizeof(rows[0]) };

struct fixture {
    struct arena arena;
    struct thing thing;
    struct err err;
};

static int set_up(void **state)
{
    static struct fixture f;

    memset(&f, 0, sizeof(f));
    arena_init(&f.arena);
    f.thing.before = f.thing.after = 'x';
    *state = &f;
    return opt_defaults(&table, &f.arena, &f.thing, &f.err);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    bool whole = f->thing.before == 'x' && f->thing.after == 'x';

    arena_done(&f->arena);
    return whole ? 0 : -1;
}

static void defaults_fill_every_field(void **state)
{
    struct fixture *f = *state;

    assert_true(f->thing.flag);
    assert_int_equal(f->thing.number, 3);
    assert_int_equal(f->thing.mask, 022);
    assert_int_equal(f->thing.unset_mask, -1);
    assert_int_equal(f->thing.wait_ms, 10000);
    assert_int_equal(f->thing.room_bytes, 50 << 20);
    assert_int_equal(f->thing.mode, 0);
    assert_int_equal(f->thing.stop, 15);
    assert_null(f->thing.text);
    assert_int_equal(f->thing.names.count, 2);
    assert_string_equal(f->thing.names.names[1], "b");
    assert_null(f->thing.names.names[2]);
    assert_true(f->thing.share.percent == 25);
    assert_int_equal(f->thing.custom, 7);
}

static int set(struct fixture *f, const char *key, const char *text)
{
    return opt_set(&table, key, text, &f->arena, &f->thing, &f->err);
}

static void values_are_set(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(set(f, "flag", "off"), 0);
    assert_false(f->thing.flag);
    assert_int_equal(set(f, "wait", "1h"), 0);
    assert_int_equal(f->thing.wait_ms, 3600000);
    assert_int_equal(set(f, "mode", "Overlap"), 0);
    assert_int_equal(f->thing.mode, 1);
    assert_int_equal(set(f, "stop", "sigusr1"), 0);
    assert_int_equal(f->thing.stop, 10);
    assert_int_equal(set(f, "command", "\"a b\" ; c"), 0);
    assert_string_equal(f->thing.text, "\"a b\" ; c");
    assert_int_equal(set(f, "command", ""), 0);
    assert_null(f->thing.text);
    assert_int_equal(set(f, "names", " x,y\n  z , "), 0);
    assert_int_equal(f->thing.names.count, 3);
    assert_string_equal(f->thing.names.names[2], "z");
    assert_int_equal(set(f, "names", ""), 0);
    assert_int_equal(f->thing.names.count, 0);
    assert_null(f->thing.names.names[0]);
    assert_int_equal(set(f, "share", "4"), 0);
    assert_int_equal(f->thing.share.count, 4);
}

static void refusals_say_what_would_be_right(void **state)
{
    static const struct {
        const char *key, *text, *message;
        int code;
    } wrong[] = {
        { "wait", "10 parsecs", "\"10 parsecs\" is not a duration (try 500ms, 10s, 5m)",
          ERR_INVALID },
        { "wait", "2h", "\"2h\" is out of range (must be 1ms to 1h)", ERR_INVALID },
        { "wait", "0", "\"0\" is out of range (must be 1ms to 1h)", ERR_INVALID },
        { "number", "0", "\"0\" is out of range (must be at least 1)", ERR_INVALID },
        { "number", "", "\"\" is not a whole number (try 10)", ERR_INVALID },
        { "room", "10", "\"10\" is out of range (must be 1 KB to 1 GB)", ERR_INVALID },
        { "mask", "1777", "\"1777\" is out of range (must be 00 to 0777)", ERR_INVALID },
        { "mask", "-1", "\"-1\" is not an octal number (try 022)", ERR_INVALID },
        { "mode", "overlop",
          "\"overlop\" is not one of stop-first, overlap (did you mean \"overlap\"?)",
          ERR_INVALID },
        { "mode", "x", "\"x\" is not one of stop-first, overlap", ERR_INVALID },
        { "flag", "perhaps", "\"perhaps\" is not a boolean (try true or false)", ERR_INVALID },
        { "stop", "TREM", "\"TREM\" is not a signal (did you mean \"TERM\"?)", ERR_INVALID },
        { "custom", "eight", "\"eight\" is not seven", ERR_INVALID },
        { "comand", "x", "unknown key \"comand\" (did you mean \"command\"?)", ERR_NOT_FOUND },
        { "frobnicate", "x", "unknown key \"frobnicate\"", ERR_NOT_FOUND },
    };
    struct fixture *f = *state;
    struct thing before = f->thing;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(set(f, wrong[i].key, wrong[i].text), wrong[i].code);
        assert_string_equal(f->err.text, wrong[i].message);
        assert_memory_equal(&f->thing, &before, sizeof(before));
    }
}

/* The size in the row is wrong, so the parser would write over the next field. */
static void wrong_rows_are_refused(void **state)
{
    static const struct opt bad = {
        .key = "bad", .type = OPT_DURATION, .initial = "1s", OPT_FIELD(struct thing, mode)
    };
    const struct opt_table wrong = { .section = "s", .rows = &bad, .count = 1 };
    struct fixture *f = *state;

    assert_int_equal(opt_defaults(&wrong, &f->arena, &f->thing, &f->err), ERR_STATE);
    assert_string_equal(f->err.text, "default of [s] bad: the row of bad does not fit its field");
}

static void listings_show_type_range_and_default(void **unused)
{
    struct buf out;

    (void)unused;
    buf_init(&out, 10000);
    assert_true(opt_print(&table, "wait", &out));
    assert_string_equal(
        buf_text(&out),
        "[thing:NAME] wait\n"
        "    duration, 1ms to 1h; default 10s\n"
        "    How long it may take to leave after its stop signal, before it is killed and\n"
        "    the rest of this sentence makes the line long enough to be wrapped.\n");
    buf_clear(&out);
    assert_false(opt_print(&table, "nothing", &out));
    assert_true(opt_print(&table, NULL, &out));
    for (size_t i = 0; i < table.count; i++)
        assert_non_null(strstr(buf_text(&out), rows[i].key));
    assert_non_null(strstr(buf_text(&out), "    one of stop-first, overlap; default stop-first\n"));
    buf_done(&out);
}

static void samples_are_commented_files(void **unused)
{
    struct buf out;

    (void)unused;
    buf_init(&out, 10000);
    opt_sample(&table, &out);
    const char *text = buf_text(&out);
    assert_ptr_equal(strstr(text, "; One thing of many.\n;[thing:NAME]\n\n; Whether it is so.\n"
                                  "; (true or false; default true)\n;flag = true\n\n"),
                     text);
    assert_non_null(strstr(text, ";command = /bin/web\n;    --port 80\n"));
    assert_non_null(strstr(text, ";unset_mask =\n"));
    for (const char *at = text; *at; at += strcspn(at, "\n") + 1) {
        assert_true(*at == ';' || *at == '\n');
        assert_true(strcspn(at, "\n") <= BUF_COLUMNS);
    }
    buf_clear(&out);
    opt_sample(&(struct opt_table){ .section = "supervisor" }, &out);
    assert_string_equal(buf_text(&out), "[supervisor]\n");
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(defaults_fill_every_field, set_up, tear_down),
        cmocka_unit_test_setup_teardown(values_are_set, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refusals_say_what_would_be_right, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_rows_are_refused, set_up, tear_down),
        cmocka_unit_test(listings_show_type_range_and_default),
        cmocka_unit_test(samples_are_commented_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
