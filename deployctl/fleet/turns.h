/* turns.h - who may send a piece now, when all hosts together may have only so many bytes a second.
 *
 * Whoever may not is called when it is his turn, one after another: each host gets the same share.
 */
#ifndef DEPLOYCTL_FLEET_TURNS_H
#define DEPLOYCTL_FLEET_TURNS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "io/loop.h"

struct turns;
struct turns *turns_new(struct loop *loop, int64_t rate, size_t piece_max, struct err *err);
void turns_free(struct turns *turns);
/* The bytes that may be sent at once; 0: fn(context) will be called, ask again then. */
size_t turns_ask(struct turns *turns, void (*fn)(void *context), void *context);
void turns_spend(struct turns *turns, size_t bytes); /* they were sent */
void turns_forget(struct turns *turns, void *context);

#endif
