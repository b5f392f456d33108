/* fuzz_plan.c - any bytes as a configuration file become a plan or errors, never both.
 *
 * Beside what the sanitizers see: every line that is said names the file; a plan is in start
 * order; its first instances can be made; made again it is the same; and what was packed comes
 * back.  What follows a form feed is what a release says to the service "web": of the keys that
 * are the host's nothing changes.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "supervisor/plan/instance.h"
#include "supervisor/plan/options.h"
#include "supervisor/plan/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int fact)
{
    if (!fact)
        abort();
}

static void check_lines(const struct err_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        require(strncmp(list->lines[i], "/f.ini:", 7) == 0 ||
                strncmp(list->lines[i], "/r.ini:", 7) == 0);
        require(strchr(list->lines[i], '\n') == NULL);
    }
}

static void check_services(const struct plan *plan)
{
    for (size_t i = 0; i < plan->nservices; i++) {
        const struct spec_service *service = &plan->services[i];
        require(plan_find(plan, service->name) == (ssize_t)i);
        for (size_t k = 0; k < service->nneeds; k++)
            require(service->needs[k] < i);
        for (size_t k = 0; k < service->nsockets; k++)
            require(service->socket_index[k] < plan->nsockets);
    }
}

static void check_instances(const struct plan *plan)
{
    const struct instance_release release = { "000001-00000000", "/srv/x/releases/1" };
    struct instance instance;
    struct arena arena;
    struct err err;

    for (size_t i = 0; i < plan->nservices; i++) {
        if (plan->services[i].release_config && !plan->services[i].command)
            continue; /* a release brings it */
        arena_init(&arena);
        require(instance_make(plan, &plan->services[i], plan->services[i].set->numprocs_start,
                              &release, NULL, false, &arena, &instance, &err) == 0);
        require(instance.argv[0] && *instance.argv[0]);
        arena_done(&arena);
    }
}

static void check_again(const struct plan *plan, const struct plan_source *source)
{
    struct err_list errors, warnings;
    struct plan_source back;
    struct plan_diff diff;
    struct arena arena;
    struct buf bytes;
    struct err err;

    buf_init(&bytes, PLAN_SOURCE_MAX);
    err_list_init(&errors);
    err_list_init(&warnings);
    arena_init(&arena);
    require(plan_source_pack(source, &bytes));
    require(plan_source_unpack(bytes.data, bytes.len, &back, &err) == 0);
    struct plan *again = plan_make(&back, &errors, &warnings);
    require(again != NULL);
    require(plan_diff(plan, again, true, &arena, &diff) == 0);
    require(diff.count == plan->nservices && !diff.supervisor.count && !diff.sockets.count);
    for (size_t i = 0; i < diff.count; i++)
        require(diff.rows[i].change == PLAN_SAME);
    plan_free(again);
    plan_source_free(&back);
    arena_done(&arena);
    err_list_done(&errors);
    err_list_done(&warnings);
    buf_done(&bytes);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Without the release: the same, but for what a release may say. */
static void check_release(const struct plan *plan, const struct plan_source *source)
{
    struct plan_source alone = *source;
    struct err_list errors, warnings;

    if (source->nreleases == 0)
        return;
    alone.nreleases = 0;
    err_list_init(&errors);
    err_list_init(&warnings);
    struct plan *without = plan_make(&alone, &errors, &warnings);
    ssize_t index = plan_find(plan, "web");
    for (size_t i = 0; without && index >= 0 && i < options_service.count; i++)
        if (!(options_service.rows[i].flags & OPTIONS_PER_RELEASE))
            require(same_text(spec_text(&plan->services[index], i),
                              spec_text(&without->services[index], i)));
    plan_free(without);
    err_list_done(&errors);
    err_list_done(&warnings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *feed = size ? memchr(data, '\f', size) : NULL;
    struct plan_release release = {
        .service = "web", .id = "000001-00000001", .path = "/r.ini", .problem = "", .pinned = true
    };
    const char *environment[] = { "HOME=/root", "PATH=/bin", NULL };
    struct plan_file file = { "/f.ini", (const char *)data, size };
    struct plan_source source = {
        .config = "/f.ini", .files = &file, .nfiles = 1, .environment = environment, .host = "host1"
    };
    struct err_list errors, warnings;

    if (feed) {
        file.len = (size_t)(feed - data);
        release.text = (const char *)feed + 1;
        release.len = size - file.len - 1;
        source.releases = &release;
        source.nreleases = 1;
    }
    err_list_init(&errors);
    err_list_init(&warnings);
    struct plan *plan = plan_make(&source, &errors, &warnings);
    require((plan == NULL) == (errors.total > 0));
    check_lines(&errors);
    check_lines(&warnings);
    if (plan) {
        check_services(plan);
        check_instances(plan);
        check_again(plan, &source);
        check_release(plan, &source);
    }
    plan_free(plan);
    err_list_done(&errors);
    err_list_done(&warnings);
    return 0;
}
