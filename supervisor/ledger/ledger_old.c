/* ledger_old.c - the contract is in ledger_old.h. */
#include "supervisor/ledger/ledger_old.h"

#include <stdatomic.h>
#include <stddef.h>

struct reader {
    uint32_t version, record_size, nrecords;
    uint64_t bytes;
    void (*convert)(struct ledger *ledger);
};

/* 4: did not say how long the bodies of units are; they had this length. */
static void from_4(struct ledger *ledger) { ledger->header->unit_bytes = 832; }

static const struct reader readers[] = {
    { .version = 4, .record_size = 416, .nrecords = 16384, .bytes = 19992576, .convert = from_4 },
};

_Static_assert(LEDGER_VERSION == 5, "the readers are those of the version before");

static const struct reader *find(const struct ledger_header *header)
{
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (readers[i].version == header->version)
            return &readers[i];
    return NULL;
}

bool ledger_old_reader(const struct ledger_header *header, uint64_t bytes)
{
    const struct reader *reader = find(header);

    return reader && reader->bytes == bytes && reader->record_size == header->record_size &&
           reader->nrecords == header->nrecords;
}

void ledger_old_convert(struct ledger *ledger)
{
    const struct reader *reader = find(ledger->header);

    if (!reader)
        return;
    reader->convert(ledger);
    atomic_thread_fence(memory_order_release);
    ledger->header->version = LEDGER_VERSION;
}
