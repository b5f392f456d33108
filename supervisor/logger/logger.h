/* logger.h - the process that reads every service's output and writes and rotates the files.
 *
 * One process for all services, so that a flood of output or a full disk never delays a restart or
 * a probe.  The guardian starts it with an inventory of the store (streams, poke, poke.logger,
 * hold.r, hold.w, channel, log.INDEX.r) and starts another when it dies; no byte is lost, doubled
 * or moved by that, wherever it was killed (sink.h, hold.h and intake.h say how).
 *
 * It leaves with 0 after an order to finish (all is on file), on SIGTERM (the batch under way is on
 * file, the rest waits in the pipes) and when the guardian is gone; with 1 when it cannot start.
 */
#ifndef SUPERVISOR_LOGGER_LOGGER_H
#define SUPERVISOR_LOGGER_LOGGER_H

int logger_run(int inventory_fd);

#endif
