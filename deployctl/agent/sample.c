/* sample.c - the contract is in sample.h, the verb's meaning in deployctl/wire/proto.h. */
#include "deployctl/agent/sample.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deployctl/agent/fetch.h"
#include "deployctl/agent/gate.h"
#include "deployctl/agent/log_count.h"
#include "deployctl/plan/evidence.h"
#include "deployctl/plan/prometheus.h"
#include "io/jsonx.h"

enum { CALL_MS = 5000 };

struct sample {
    struct act *act; /* NULL: none is under way */
    struct evidence evidence;
    struct fetch *fetch;
    struct log_count log;
    char *log_asked; /* path and patterns that `log` counts; NULL = none yet */
};

/* --- ends ------------------------------------------------------------------------------------- */

static struct act *take_act(struct sample *sample)
{
    struct act *act = sample->act;
    sample->act = NULL;
    fetch_free(sample->fetch);
    sample->fetch = NULL;
    return act;
}

static void fail(struct sample *sample, const struct err *err)
{
    act_fail(take_act(sample), err, NULL);
}

static void succeed(struct sample *sample, const struct prometheus_counts *counts)
{
    json_t *answer = json_object();
    jsonx_set_int(answer, "requests", counts->requests);
    jsonx_set_int(answer, "errors", counts->errors);
    jsonx_set_real(answer, "started", counts->started);
    if (counts->bound > 0) {
        jsonx_set_int(answer, "timed", counts->timed);
        jsonx_set_int(answer, "slow", counts->slow);
        jsonx_set_real(answer, "bound", counts->bound);
    }
    act_ok(take_act(sample), answer);
}

/* --- a page ----------------------------------------------------------------------------------- */

static int count_page(const struct evidence *evidence, const char *body, size_t len,
                      struct prometheus_counts *ret, struct err *err)
{
    struct prometheus_selector *selectors = calloc(3, sizeof *selectors);
    bool times = evidence->latency_ms > 0;
    struct prometheus_query query = { .requests = &selectors[0],
                                      .errors = &selectors[1],
                                      .latency = times ? &selectors[2] : NULL,
                                      .slower_than = (double)evidence->latency_ms / 1000 };
    if (selectors == NULL)
        return err_set(err, ERR_MEMORY, "no memory to count");
    int rc = prometheus_select(evidence_requests(evidence), &selectors[0], err);
    if (rc == 0)
        rc = prometheus_select(evidence_errors(evidence), &selectors[1], err);
    if (rc == 0 && times)
        rc = prometheus_select(evidence_latency(evidence), &selectors[2], err);
    if (rc == 0)
        rc = prometheus_count(body, len, &query, ret, err);
    free(selectors);
    return rc;
}

static void on_page(void *context, const char *body, size_t len, const struct err *err)
{
    struct sample *sample = context;
    struct prometheus_counts counts = { 0 };
    struct err own = err != NULL ? *err : (struct err){ 0 };
    if (err == NULL)
        count_page(&sample->evidence, body, len, &counts, &own);
    if (own.code == ERR_NONE) {
        succeed(sample, &counts);
        return;
    }
    err_wrap(&own, "%s", sample->evidence.metrics);
    fail(sample, &own);
}

static void ask_page(struct sample *sample)
{
    struct evidence_url url;
    struct err err;
    if (evidence_url(sample->evidence.metrics, &url, &err) == 0)
        sample->fetch =
            fetch_start(sample->act->talk->loop, &url, PROMETHEUS_PAGE_MAX, on_page, sample, &err);
    if (sample->fetch == NULL)
        fail(sample, &err);
}

/* --- probes of the supervisor ----------------------------------------------------------------- */

static void on_status(void *context, json_t *result, const struct err *err, json_t *data)
{
    struct sample *sample = context;
    struct prometheus_counts counts = { 0 };
    json_t *instance;
    size_t i;
    (void)data;
    if (result == NULL) {
        fail(sample, err);
        return;
    }
    json_t *instances = gate_instances(result, sample->act->talk->services);
    json_array_foreach(instances, i, instance)
    {
        counts.requests += jsonx_int(instance, "probes", 0);
        counts.errors += jsonx_int(instance, "probe_failures", 0);
        counts.started += (double)jsonx_int(instance, "pid", 0); /* another one counts anew */
    }
    json_decref(instances);
    succeed(sample, &counts);
}

static void ask_probes(struct sample *sample)
{
    struct err err;
    if (talk_has_services(sample->act->talk)) {
        super_call(sample->act->talk->super, "status", NULL, CALL_MS, 0, on_status, sample);
        return;
    }
    err_set(&err, ERR_STATE, "without services there are no probes");
    fail(sample, &err);
}

/* --- a log ------------------------------------------------------------------------------------ */

/* The same question goes on counting where it was; another one begins anew. */
static int prepare_log(struct sample *sample, struct err *err)
{
    const struct evidence *evidence = &sample->evidence;
    const char *requests = evidence_requests(evidence), *errors = evidence_errors(evidence);
    char *asked = NULL;
    if (asprintf(&asked, "%s\n%s\n%s", evidence->metrics, requests, errors) < 0)
        return err_set(err, ERR_MEMORY, "no memory to count");
    if (sample->log_asked != NULL && strcmp(asked, sample->log_asked) == 0) {
        free(asked);
        return 0;
    }
    if (sample->log_asked != NULL)
        log_count_done(&sample->log);
    free(sample->log_asked);
    sample->log_asked = NULL;
    int rc = log_count_init(&sample->log, requests, errors, err);
    if (rc == 0)
        sample->log_asked = asked;
    else
        free(asked);
    return rc;
}

static void ask_log(struct sample *sample)
{
    struct err err;
    int rc = prepare_log(sample, &err);
    if (rc == 0)
        rc = log_count_look(&sample->log, evidence_log(sample->evidence.metrics), &err);
    if (rc < 0) {
        fail(sample, &err);
        return;
    }
    struct prometheus_counts counts = { .requests = sample->log.nrequests,
                                        .errors = sample->log.nerrors,
                                        .started = (double)getpid() };
    succeed(sample, &counts);
}

/* --- the verb --------------------------------------------------------------------------------- */

static int read_request(const json_t *request, struct evidence *ret, enum evidence_source *source,
                        struct err *err)
{
    *ret = (struct evidence){
        .metrics = jsonx_text(request, "metrics", NULL),
        .requests = jsonx_text(request, "requests", NULL),
        .errors = jsonx_text(request, "errors", NULL),
        .latency = jsonx_text(request, "latency", NULL),
        .latency_ms = jsonx_int(request, "latency_ms", 0),
    };
    int rc = evidence_check(ret, err);
    if (rc == 0)
        rc = evidence_source(ret->metrics, source, err);
    if (rc == 0 && *source == EVIDENCE_GATES)
        rc = err_set(err, ERR_INVALID, "a sample needs \"metrics\"");
    return rc;
}

void sample_verb(struct act *act)
{
    struct talk *talk = act->talk;
    enum evidence_source source = EVIDENCE_GATES;
    struct evidence evidence = { 0 };
    struct err err;
    int rc = read_request(act->request, &evidence, &source, &err);
    if (rc == 0 && talk->sample == NULL)
        talk->sample = calloc(1, sizeof *talk->sample);
    if (rc == 0 && talk->sample == NULL)
        rc = err_set(&err, ERR_MEMORY, "no memory to count");
    if (rc == 0 && talk->sample->act != NULL)
        rc = err_set(&err, ERR_STATE, "another sample is under way");
    if (rc < 0) {
        act_fail(act, &err, NULL);
        return;
    }
    struct sample *sample = talk->sample;
    sample->act = act;
    sample->evidence = evidence;
    if (source == EVIDENCE_PAGE)
        ask_page(sample);
    else if (source == EVIDENCE_PROBES)
        ask_probes(sample);
    else
        ask_log(sample);
}

void sample_stop(struct talk *talk)
{
    struct sample *sample = talk->sample;
    struct err err;
    talk->sample = NULL;
    if (sample == NULL)
        return;
    if (sample->act != NULL) {
        err_set(&err, ERR_STATE, "the conversation has ended");
        fail(sample, &err);
    }
    if (sample->log_asked != NULL)
        log_count_done(&sample->log);
    free(sample->log_asked);
    free(sample);
}
