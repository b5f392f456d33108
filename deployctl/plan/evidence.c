/* evidence.c - the contract is in evidence.h. */
#include "deployctl/plan/evidence.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pattern.h"
#include "deployctl/plan/prometheus.h"

#define HTTP_PREFIX "http://"
#define LOG_PREFIX  "log:"

static bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

int evidence_source(const char *metrics, enum evidence_source *ret, struct err *err)
{
    if (!metrics)
        *ret = EVIDENCE_GATES;
    else if (begins(metrics, HTTP_PREFIX))
        *ret = EVIDENCE_PAGE;
    else if (begins(metrics, LOG_PREFIX))
        *ret = EVIDENCE_LOG;
    else if (strcmp(metrics, "probes") == 0)
        *ret = EVIDENCE_PROBES;
    else
        return err_set(err, ERR_INVALID,
                       "\"%.60s\" is none of http://127.0.0.1:PORT/PATH, log:/PATH, probes",
                       metrics);
    return 0;
}

static bool is_log(const struct evidence *evidence)
{
    return evidence->metrics && begins(evidence->metrics, LOG_PREFIX);
}

/* The log formats of web servers: "GET /x HTTP/1.1" 200 ... */
const char *evidence_requests(const struct evidence *evidence)
{
    if (evidence->requests)
        return evidence->requests;
    return is_log(evidence) ? "\" [1-5][0-9][0-9] " : "http_requests_total";
}

const char *evidence_errors(const struct evidence *evidence)
{
    if (evidence->errors)
        return evidence->errors;
    return is_log(evidence) ? "\" 5[0-9][0-9] " : "http_requests_total{code=~\"5..\"}";
}

const char *evidence_latency(const struct evidence *evidence)
{
    return evidence->latency ? evidence->latency : "http_request_duration_seconds";
}

/* --- checks ----------------------------------------------------------------------------------- */

static bool is_here(const struct addr *addr)
{
    const struct sockaddr_in *four = (const struct sockaddr_in *)&addr->at;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&addr->at;
    if (addr->at.ss_family == AF_INET)
        return ntohl(four->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return addr->at.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
}

static bool is_path(const char *text)
{
    for (const char *at = text; *at; at++)
        if (!isgraph((unsigned char)*at))
            return false;
    return true;
}

int evidence_url(const char *text, struct evidence_url *ret, struct err *err)
{
    static const char rule[] =
        "must be http://127.0.0.1:PORT/PATH (or [::1], or localhost): a page of the host itself";
    char address[EVIDENCE_HOST_MAX + 4];
    if (!begins(text, HTTP_PREFIX))
        return err_set(err, ERR_INVALID, "%s", rule);
    const char *host = text + strlen(HTTP_PREFIX), *path = host + strcspn(host, "/");
    int len = (int)(path - host);
    if (len == 0 || len >= EVIDENCE_HOST_MAX || strlen(path) >= EVIDENCE_PATH_MAX ||
        !is_path(path) || strchr("@/:*", *host))
        return err_set(err, ERR_INVALID, "%s", rule);
    snprintf(ret->host, sizeof ret->host, "%.*s", len, host);
    const char *close = strchr(ret->host, ']');
    bool port = strchr(close ? close : ret->host, ':') != NULL;
    snprintf(address, sizeof address, "%s%s", ret->host, port ? "" : ":80");
    if (addr_needs_lookup(address) || addr_parse(address, &ret->addr, NULL) < 0 ||
        !is_here(&ret->addr))
        return err_set(err, ERR_INVALID, "%s", rule);
    snprintf(ret->path, sizeof ret->path, "%s", *path ? path : "/metrics");
    return 0;
}

const char *evidence_log(const char *text) { return text + strlen(LOG_PREFIX); }

static int check_selector(const char *key, const char *text, struct err *err)
{
    struct prometheus_selector *selector = malloc(sizeof *selector);
    if (!selector)
        return err_set(err, ERR_MEMORY, "no memory");
    int rc = prometheus_select(text, selector, err);
    free(selector);
    return rc < 0 ? err_wrap(err, "%s", key) : 0;
}

static int check_pattern(const char *key, const char *text, struct err *err)
{
    struct pattern pattern;
    int rc = pattern_compile(text, &pattern, err);
    return rc < 0 ? err_wrap(err, "%s", key) : 0;
}

static int check_place(const char *metrics, enum evidence_source source, struct err *err)
{
    struct evidence_url url;
    if (source == EVIDENCE_PAGE && evidence_url(metrics, &url, err) < 0)
        return err_wrap(err, "metrics");
    if (source == EVIDENCE_LOG && evidence_log(metrics)[0] != '/')
        return err_set(err, ERR_INVALID, "metrics: log: wants an absolute path");
    return 0;
}

int evidence_check(const struct evidence *evidence, struct err *err)
{
    enum evidence_source source;
    int rc = evidence_source(evidence->metrics, &source, err);
    if (rc < 0)
        return err_wrap(err, "metrics");
    int (*check)(const char *, const char *, struct err *) =
        source == EVIDENCE_PAGE ? check_selector : check_pattern;
    rc = check_place(evidence->metrics, source, err);
    if (rc == 0 && evidence->latency_ms > 0 && source != EVIDENCE_PAGE)
        rc = err_set(err, ERR_INVALID, "latency: needs metrics = http://...");
    if (rc < 0 || source == EVIDENCE_GATES || source == EVIDENCE_PROBES)
        return rc;
    rc = check("metrics_requests", evidence_requests(evidence), err);
    if (rc == 0)
        rc = check("metrics_errors", evidence_errors(evidence), err);
    if (rc == 0 && evidence->latency_ms > 0)
        rc = check("metrics_latency", evidence_latency(evidence), err);
    return rc;
}

void evidence_rules(const struct evidence *evidence, bool alone, struct verdict_rules *ret)
{
    *ret = (struct verdict_rules){
        .false_abort = evidence->false_abort,
        .most = { evidence->max_error_ratio, evidence->max_slow_ratio },
        .latency = evidence->latency_ms > 0,
        .alone = alone,
    };
}
