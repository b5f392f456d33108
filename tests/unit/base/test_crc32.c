/* test_crc32.c - the known value, in one piece and in many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/crc32.h"

static void known_values(void **unused)
{
    (void)unused;
    assert_int_equal(crc32_of(0, "", 0), 0);
    assert_int_equal(crc32_of(0, "123456789", 9), 0xcbf43926);
    assert_int_equal(crc32_of(0, "The quick brown fox jumps over the lazy dog", 43), 0x414fa339);
}

static void pieces_give_the_same(void **unused)
{
    unsigned char data[256];

    (void)unused;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (unsigned char)i;
    for (size_t cut = 0; cut <= sizeof(data); cut++)
        assert_int_equal(crc32_of(crc32_of(0, data, cut), data + cut, sizeof(data) - cut),
                         0x29058c73);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values),
        cmocka_unit_test(pieces_give_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
