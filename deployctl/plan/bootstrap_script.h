/* bootstrap_script.h - the words of bootstrap for a POSIX sh that reads them from its stdin.
 *
 * Each text is one compound command: the shell has read it whole before it begins, and nothing in
 * it reads what follows, but for the payload that it asks for.  Every word that is not ours is in
 * single quotes.  It prints lines that begin with the mark:
 *
 *     MARK ready       send the payload now
 *     MARK end CODE    done; what was printed before is the answer, or why it failed
 *
 * After a payload that did not arrive as it should the shell leaves, so that nothing of the rest is
 * taken for commands.
 */
#ifndef DEPLOYCTL_PLAN_BOOTSTRAP_SCRIPT_H
#define DEPLOYCTL_PLAN_BOOTSTRAP_SCRIPT_H

#include "base/buf.h"
#include "deployctl/plan/bootstrap.h"

/* Appends a word as the shell reads it back, whatever is in it (but no NUL). */
void bootstrap_quote(struct buf *out, const char *word);

/* The question; its answer is for bootstrap_facts_read(). */
void bootstrap_probe(struct buf *out, const struct bootstrap_wish *wish, const char *mark);

enum bootstrap_payload {
    BOOTSTRAP_NO_PAYLOAD,
    BOOTSTRAP_OF_DEPLOYCTL,
    BOOTSTRAP_OF_SUPERVISOR,
    BOOTSTRAP_OF_CONFIG,
    BOOTSTRAP_OF_SERVICE_FILE,
    BOOTSTRAP_OF_UNIT,
};
enum bootstrap_payload bootstrap_payload_of(enum bootstrap_act act);
/* The texts that come with this program: the configuration and the services of init systems, with
 * the host's path of the supervisor and the group in them. */
void bootstrap_text(struct buf *out, enum bootstrap_payload payload,
                    const struct bootstrap_wish *wish, const struct bootstrap_facts *facts);
/* `bytes` and `digest` are those of the payload. */
void bootstrap_step_script(struct buf *out, const struct bootstrap_step *step,
                           const struct bootstrap_wish *wish, const struct bootstrap_facts *facts,
                           const char *mark, uint64_t bytes, const char *digest);

#endif
