/* fuzz_notify.c - any datagram of a service becomes a message that is safe to print and to store.
 *
 * Beside what the sanitizers see: numbers are in range, a status is whole UTF-8 without controls,
 * the sender is never taken from the text, and a datagram that is read from its own parts again
 * says the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/health/notify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int fact)
{
    if (!fact)
        abort();
}

static void check_status(const char *status)
{
    size_t len = strnlen(status, NOTIFY_STATUS_MAX), more = 0;

    require(len < NOTIFY_STATUS_MAX);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)status[i];
        require(c >= 0x20 && c != 0x7f);
        require((c & 0xc0) == 0x80 ? more > 0 : more == 0);
        more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : more > 0 ? more - 1 : 0;
    }
    require(more == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct notify_message whole, last;

    memset(&whole, 0x5a, sizeof whole);
    notify_parse((const char *)data, size, &whole);
    require(whole.sender == 0 && whole.uid == 0);
    require(whole.main_pid >= 0 && whole.extend_timeout_us >= 0);
    require(whole.watchdog_us >= -1 && whole.exit_status >= -1 && whole.exit_status <= 255);
    require(strnlen(whole.fd_name, NOTIFY_FD_NAME_MAX) < NOTIFY_FD_NAME_MAX);
    require(!strpbrk(whole.fd_name, ":\n\177"));
    check_status(whole.status);
    /* The last line alone says no more than the whole. */
    const char *text = (const char *)data, *end = size ? memrchr(text, '\n', size) : NULL;
    size_t from = end ? (size_t)(end - text) + 1 : 0;
    notify_parse(text + from, size - from, &last);
    require(whole.ready || !last.ready);
    require(whole.stopping || !last.stopping);
    require(whole.watchdog || !last.watchdog);
    require(last.main_pid == 0 || last.main_pid == whole.main_pid);
    require(last.status[0] == '\0' || strcmp(last.status, whole.status) == 0);
    return 0;
}
