/* clock.h - time.  Deadlines use the monotonic clock; the wall clock is only printed. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t clock_mono_ms(void); /* CLOCK_MONOTONIC */
int64_t clock_mono_us(void); /* the same */
int64_t clock_boot_ms(void); /* CLOCK_BOOTTIME, for deadlines kept with the boot id */
int64_t clock_wall_us(void); /* CLOCK_REALTIME since 1970 */

enum { CLOCK_BOOT_ID_MAX = 40, CLOCK_TEXT_MAX = 40 };
/* The kernel's id of this boot (36 characters), "" if it cannot be read.  Cached by no one. */
void clock_boot_id(char id[static CLOCK_BOOT_ID_MAX]);
/* RFC 3339 with microseconds and local offset: 2026-11-24T01:51:41.123456+01:00 */
const char *clock_text(int64_t wall_us, char text[static CLOCK_TEXT_MAX]);
/* The same for a time in the second that `text` tells, which it was made for before. */
const char *clock_text_again(int64_t wall_us, char text[static CLOCK_TEXT_MAX]);

#endif
