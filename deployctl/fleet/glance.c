/* glance.c - the contract is in glance.h. */
#include "deployctl/fleet/glance.h"

#include <stdio.h>
#include <string.h>

#include "io/jsonx.h"

static const json_t *object_or_null(const json_t *answer, const char *key)
{
    const json_t *value = json_object_get(answer, key);
    return json_is_object(value) ? value : NULL;
}

void glance_done(struct glance *glance)
{
    json_decref(glance->answer);
    memset(glance, 0, sizeof *glance);
}

void glance_take(struct glance *glance, const json_t *answer)
{
    glance_done(glance);
    glance->answer = json_deep_copy(answer);
    glance->current = jsonx_text(glance->answer, "current", NULL);
    glance->digest = jsonx_text(glance->answer, "digest", NULL);
    glance->previous = jsonx_text(glance->answer, "previous", NULL);
    glance->highest = jsonx_int(glance->answer, "highest", 0);
    glance->epoch = jsonx_int(glance->answer, "epoch", 0);
    glance->deadline_s = jsonx_int(glance->answer, "deadline_s", -1);
    glance->healthy = jsonx_bool(glance->answer, "healthy", false);
    glance->confirmed = jsonx_bool(glance->answer, "confirmed", true);
    const char *phase = jsonx_text(glance->answer, "phase", "");
    glance->moving = strcmp(phase, "switching") == 0 || strcmp(phase, "reverting") == 0;
    glance->rollout = object_or_null(glance->answer, "rollout");
    glance->holder = object_or_null(glance->answer, "holder");
    glance->freeze = object_or_null(glance->answer, "freeze");
    glance->left_out = jsonx_bool(json_object_get(glance->answer, "drained"), "left", false);
    const json_t *instances = json_object_get(glance->answer, "instances");
    const json_t *instance;
    size_t i;
    glance->overlap = json_array_size(instances) > 0;
    json_array_foreach((json_t *)instances, i, instance)
    {
        glance->instances++;
        glance->ready += jsonx_bool(instance, "ready", false);
        if (strcmp(jsonx_text(instance, "restart_mode", ""), "overlap") != 0)
            glance->overlap = false;
    }
}

static const json_t *find(const struct glance *glance, const char *key, const char *value)
{
    const json_t *releases = json_object_get(glance->answer, "releases");
    const json_t *release;
    size_t i;
    json_array_foreach((json_t *)releases, i, release)
    {
        if (strcmp(jsonx_text(release, key, ""), value) == 0)
            return release;
    }
    return NULL;
}

const char *glance_id_of(const struct glance *glance, const char *digest)
{
    const json_t *release = find(glance, "digest", digest);
    return release && jsonx_bool(release, "complete", false) ? jsonx_text(release, "id", NULL)
                                                             : NULL;
}

const char *glance_digest_of(const struct glance *glance, const char *id)
{
    const json_t *release = find(glance, "id", id);
    return release && jsonx_bool(release, "complete", false) ? jsonx_text(release, "digest", NULL)
                                                             : NULL;
}

bool glance_frozen(const struct glance *glance)
{
    return glance->freeze && !jsonx_bool(glance->freeze, "over", false);
}

const char *glance_bad(const struct glance *glance, const char *digest)
{
    /* Remembered longer than its folder is kept. */
    const char *reason = jsonx_text(json_object_get(glance->answer, "bad"), digest, NULL);
    return reason && !*reason ? "no reason was kept" : reason;
}

bool glance_good(const struct glance *glance, const char *id)
{
    const json_t *release = find(glance, "id", id);
    return release && jsonx_bool(release, "complete", false) &&
           jsonx_bool(release, "good", false) && !jsonx_bool(release, "bad", false);
}

const char *glance_problems(const struct glance *glance, char *text, size_t size)
{
    const json_t *problems = json_object_get(glance->answer, "problems");
    const json_t *problem;
    const char *supervisor = jsonx_text(glance->answer, "supervisor_error", NULL);
    size_t i, len = 0;
    text[0] = '\0';
    if (supervisor)
        len = (size_t)snprintf(text, size, "%s", supervisor);
    json_array_foreach((json_t *)problems, i, problem)
    {
        const char *what = json_string_value(problem);
        if (!what || (supervisor && strcmp(what, supervisor) == 0) || len >= size)
            continue;
        len += (size_t)snprintf(text + len, size - len, "%s%s", len ? "; " : "", what);
    }
    return text;
}

const char *glance_warning(const struct glance *glance, size_t index)
{
    return json_string_value(json_array_get(json_object_get(glance->answer, "warnings"), index));
}

const char *glance_health(const struct glance *glance, char *text, size_t size)
{
    if (glance->instances == 0)
        snprintf(text, size, "no services");
    else if (glance->healthy)
        snprintf(text, size, "healthy, %zu of %zu ready", glance->ready, glance->instances);
    else
        snprintf(text, size, "unhealthy, %zu of %zu ready", glance->ready, glance->instances);
    return text;
}
