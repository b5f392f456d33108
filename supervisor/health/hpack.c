/* hpack.c - the contract is in hpack.h. */
#include "supervisor/health/hpack.h"

#include <string.h>

enum {
    STATIC_ENTRIES = 61,
    INTEGER_MOST = 1 << 20,
    CODE_LEN_MAX = 30,
    SYMBOL_END = 256,
    PADDING_BITS_MAX = 7,
};

struct reader {
    const unsigned char *at, *end;
};

/* --- integers and strings --- */

/* With a prefix of `bits` bits in the first byte. */
static bool get_integer(struct reader *reader, unsigned bits, size_t *ret)
{
    size_t mask = (1u << bits) - 1, value;

    if (reader->at == reader->end)
        return false;
    value = *reader->at++ & mask;
    if (value == mask) {
        for (unsigned shift = 0;; shift += 7) {
            if (reader->at == reader->end || shift > 21)
                return false;
            unsigned char byte = *reader->at++;
            value += (size_t)(byte & 0x7f) << shift;
            if (!(byte & 0x80))
                break;
        }
    }
    *ret = value;
    return value <= INTEGER_MOST;
}

static void put_integer(struct buf *block, unsigned bits, unsigned char flags, size_t value)
{
    size_t mask = (1u << bits) - 1;

    if (value < mask) {
        buf_putc(block, (char)(flags | value));
        return;
    }
    buf_putc(block, (char)(flags | mask));
    for (value -= mask; value >= 0x80; value >>= 7)
        buf_putc(block, (char)(value | 0x80));
    buf_putc(block, (char)value);
}

/* The code is canonical: codes of one length follow each other, so how many there are of each
 * length and the symbols in the order of their codes say it all (RFC 7541, appendix B). */
static const unsigned char codes_of_length[CODE_LEN_MAX + 1] = { 0,  0, 0,  0,  0,  10, 26, 32,
                                                                 6,  0, 5,  3,  2,  6,  2,  3,
                                                                 0,  0, 0,  3,  8,  13, 26, 29,
                                                                 12, 4, 15, 19, 29, 0,  4 };
static const uint16_t symbols[SYMBOL_END + 1] = {
    48,  49,  50,  97,  99,  101, 105, 111, 115, 116, 32,  37,  45,  46,  47,  51,  52,  53,  54,
    55,  56,  57,  61,  65,  95,  98,  100, 102, 103, 104, 108, 109, 110, 112, 114, 117, 58,  66,
    67,  68,  69,  70,  71,  72,  73,  74,  75,  76,  77,  78,  79,  80,  81,  82,  83,  84,  85,
    86,  87,  89,  106, 107, 113, 118, 119, 120, 121, 122, 38,  42,  44,  59,  88,  90,  33,  34,
    40,  41,  63,  39,  43,  124, 35,  62,  0,   36,  64,  91,  93,  126, 94,  125, 60,  96,  123,
    92,  195, 208, 128, 130, 131, 162, 184, 194, 224, 226, 153, 161, 167, 172, 176, 177, 179, 209,
    216, 217, 227, 229, 230, 129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173,
    178, 181, 185, 186, 187, 189, 190, 196, 198, 228, 232, 233, 1,   135, 137, 138, 139, 140, 141,
    143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174, 175, 180, 182, 183, 188, 191,
    197, 231, 239, 9,   142, 144, 145, 148, 159, 171, 206, 215, 225, 236, 237, 199, 207, 234, 235,
    192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255, 203, 204, 211, 212,
    214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254, 2,   3,   4,   5,
    6,   7,   8,   11,  12,  14,  15,  16,  17,  18,  19,  20,  21,  23,  24,  25,  26,  27,  28,
    29,  30,  31,  127, 220, 249, 10,  13,  22,  256,
};

/* Bits of one code. */
struct code {
    unsigned len;
    uint32_t value, first; /* first: the smallest code of this length */
    size_t before;         /* symbols with shorter codes */
};

/* True when the bit completes a code; *ret_symbol. */
static bool add_bit(struct code *code, unsigned bit, unsigned *ret_symbol)
{
    code->first = (code->first + codes_of_length[code->len]) << 1;
    code->before += codes_of_length[code->len];
    code->len++;
    code->value = code->value << 1 | bit;
    if (code->value - code->first >= codes_of_length[code->len])
        return false;
    *ret_symbol = symbols[code->before + code->value - code->first];
    *code = (struct code){ 0 };
    return true;
}

static bool decode_huffman(const unsigned char *data, size_t len, char ret[static HPACK_TEXT_MAX])
{
    struct code code = { 0 };
    size_t size = 0;
    unsigned symbol = 0;

    for (size_t i = 0; i < len; i++) {
        for (int bit = 7; bit >= 0; bit--) {
            if (code.len == CODE_LEN_MAX)
                return false;
            if (!add_bit(&code, data[i] >> bit & 1, &symbol))
                continue;
            if (symbol == SYMBOL_END)
                return false;
            if (size < HPACK_TEXT_MAX - 1)
                ret[size++] = (char)symbol;
        }
    }
    ret[size] = '\0';
    /* Filled up with the beginning of the longest code: ones. */
    return code.len <= PADDING_BITS_MAX && code.value == (1u << code.len) - 1;
}

static bool get_string(struct reader *reader, char ret[static HPACK_TEXT_MAX])
{
    bool huffman = reader->at < reader->end && *reader->at & 0x80;
    size_t len;

    if (!get_integer(reader, 7, &len) || len > (size_t)(reader->end - reader->at))
        return false;
    const unsigned char *data = reader->at;
    reader->at += len;
    if (huffman)
        return decode_huffman(data, len, ret);
    len = len < HPACK_TEXT_MAX ? len : HPACK_TEXT_MAX - 1;
    memcpy(ret, data, len);
    ret[len] = '\0';
    return true;
}

/* --- fields --- */

static bool static_entry(size_t index, const char **ret_name, const char **ret_value)
{
    static const char *const statuses[] = { "200", "204", "206", "304", "400", "404", "500" };
    enum { STATUS_FIRST = 8, STATUS_LAST = 14, CONTENT_TYPE = 31 };

    if (index == 0 || index > STATIC_ENTRIES)
        return false; /* the dynamic table is empty */
    *ret_name = *ret_value = "";
    if (index >= STATUS_FIRST && index <= STATUS_LAST) {
        *ret_name = ":status";
        *ret_value = statuses[index - STATUS_FIRST];
    } else if (index == CONTENT_TYPE) {
        *ret_name = "content-type";
    }
    return true;
}

static bool get_literal(struct reader *reader, unsigned bits, hpack_fn *fn, void *context)
{
    char name_space[HPACK_TEXT_MAX], value[HPACK_TEXT_MAX];
    const char *name = name_space, *unused;
    size_t index;

    if (!get_integer(reader, bits, &index))
        return false;
    if (index > 0 ? !static_entry(index, &name, &unused) : !get_string(reader, name_space))
        return false;
    if (!get_string(reader, value))
        return false;
    fn(context, name, value);
    return true;
}

static bool get_indexed(struct reader *reader, hpack_fn *fn, void *context)
{
    const char *name, *value;
    size_t index;

    if (!get_integer(reader, 7, &index) || !static_entry(index, &name, &value))
        return false;
    fn(context, name, value);
    return true;
}

static bool get_field(struct reader *reader, hpack_fn *fn, void *context)
{
    enum { INDEXED = 0x80, INDEXING = 0x40, TABLE_SIZE = 0x20 };
    unsigned char first = *reader->at;
    size_t size;

    if (first & INDEXED)
        return get_indexed(reader, fn, context);
    if (first & INDEXING) /* into a table that has no room: it only empties it */
        return get_literal(reader, 6, fn, context);
    if (first & TABLE_SIZE)
        return get_integer(reader, 5, &size) && size == 0;
    return get_literal(reader, 4, fn, context);
}

bool hpack_decode(const unsigned char *block, size_t len, hpack_fn *fn, void *context)
{
    struct reader reader = { block, block + len };

    while (reader.at < reader.end)
        if (!get_field(&reader, fn, context))
            return false;
    return true;
}

void hpack_put(struct buf *block, unsigned index, const char *name, const char *value)
{
    put_integer(block, 4, 0, index);
    if (index == 0) {
        put_integer(block, 7, 0, strlen(name));
        buf_puts(block, name);
    }
    put_integer(block, 7, 0, strlen(value));
    buf_puts(block, value);
}
