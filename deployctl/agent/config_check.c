/* config_check.c - the contract is in config_check.h. */
#include "deployctl/agent/config_check.h"

#include "deployctl/agent/act.h"
#include "deployctl/agent/super.h"
#include "io/jsonx.h"

enum { CALL_MS = 15000 };

static void on_answer(void *context, json_t *result, const struct err *err, json_t *data)
{
    struct act *act = context;
    json_t *answer = act->data, *errors = json_object_get(result, "errors");
    const char *first = json_string_value(json_array_get(errors, 0));
    size_t count = json_array_size(errors);
    struct err refused;

    (void)err;
    (void)data;
    act->data = NULL;
    if (first == NULL) {
        act_ok(act, answer);
        return;
    }
    json_decref(answer);
    act->talk->sealed[0] = '\0'; /* what was sent behind it depends on that */
    if (count == 1)
        err_set(&refused, ERR_INVALID, "its service file is refused: %s", first);
    else
        err_set(&refused, ERR_INVALID, "its service file is refused: %s (and %zu more)", first,
                count - 1);
    act_fail(act, &refused, json_pack("{s:O}", "errors", errors));
}

void config_check(struct act *act, const char *id, json_t *answer)
{
    struct talk *talk = act->talk;

    if (!talk_has_services(talk)) {
        act_ok(act, answer);
        return;
    }
    act->data = answer;
    super_call(talk->super, "release.check",
               json_pack("{s:s, s:s}", "path", talk->host.path, "id", id), CALL_MS, 0, on_answer,
               act);
}
