#include "console/http/api.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "console/http/answer_json.h"
#include "console/http/cluster.h"
#include "console/http/fleet.h"
#include "console/http/query.h"
#include "console/http/schema.h"

#include <inttypes.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>

enum { FLEET_FRESH_MS = 5000, FLEET_DEADLINE_MS = 1000, LOGGED_FILTER_BYTES = 400, QUERY_ID_TEXT = 17 };

struct console_api {
    char name[WEIR_NAME_BYTES];
    struct console_asker asker;
    const struct weir_map *map;
    char *cluster;
    struct weir_metrics *metrics;
    bool (*ready)(void *ctx, struct weir_buf *reason);
    void *ready_ctx;

    pthread_rwlock_t lock; /* guards the settings and the shards */
    struct console_api_settings settings;
    struct weir_shard shards[WEIR_SHARDS]; /* as this console goes by them */

    pthread_mutex_t fleet_mutex; /* guards the answer below */
    struct weir_answer fleet;    /* to NODES, for gauges */
    bool has_fleet;
    int64_t fleet_mono_ms;
};

/** One request on its way through. */
struct call {
    struct console_api *api;
    const struct weir_http_request *request;
    struct weir_http_reply *reply;
    struct console_token token; /* who asks; empty for what is open to all */
    struct console_query_rules rules;
    char query_id[QUERY_ID_TEXT];
    struct console_fault fault;
};

static void refuse(struct call *call)
{
    char instance[160];
    snprintf(instance, sizeof instance, "%.120s%s%s", call->request->path, call->query_id[0] == '\0' ? "" : "#",
             call->query_id);
    console_problem_reply(&call->fault, instance, call->reply);
}

/* ---- questions ---- */

static void audit(const struct call *call, const struct console_query *query, size_t rows, bool whole,
                  int64_t elapsed_ms, int status)
{
    char filter[LOGGED_FILTER_BYTES + 1];
    char quoted[4 * LOGGED_FILTER_BYTES];
    snprintf(filter, sizeof filter, "%s", query->question.filter);
    weir_log(WEIR_LOG_INFO, "audit.query",
             "token=%s client=%s query_id=%s shape=%s from_ms=%" PRId64 " to_ms=%" PRId64
             " filter=%s rows=%zu partial=%d elapsed_ms=%" PRId64 " status=%d",
             call->token.name, call->request->client, call->query_id, weir_shape_name(query->question.shape),
             query->question.from_ms, query->question.to_ms, weir_log_quote(filter, quoted, sizeof quoted), rows,
             !whole, elapsed_ms, status);
}

static void describe_missing(const struct weir_answer *answer, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < answer->source_count && used < size; i++) {
        const struct weir_answer_source *source = &answer->sources[i];
        if (source->ok && source->shards_answered == source->shards_asked) continue;
        int wrote = snprintf(
            out + used, size - used, "%s%s: %s", used == 0 ? "" : "; ", weir_answer_name_at(answer, source->name),
            source->reason == 0 ? "not all of its shards" : weir_answer_name_at(answer, source->reason));
        if (wrote > 0) used += (size_t)wrote;
    }
}

static bool nobody_answered(const struct weir_answer *answer)
{
    for (size_t i = 0; i < answer->source_count; i++) {
        if (answer->sources[i].ok) return false;
    }
    return true;
}

static bool wants_lines(const struct call *call)
{
    const char *accept = weir_http_header(call->request, "accept");
    return accept != NULL && strstr(accept, "application/x-ndjson") != NULL;
}

/** Is the answer good enough to be given? Notes the fault when not. */
static bool check_answer(struct call *call, const struct console_query *query, const struct weir_answer *answer,
                         bool whole, int64_t elapsed_ms)
{
    char missing[256];
    if (whole) return true;
    weir_metrics_add(call->api->metrics, CONSOLE_queries_partial, 1);
    describe_missing(answer, missing, sizeof missing);
    if (query->partial_fails) {
        return console_fault_set(&call->fault, CONSOLE_PROBLEM_PARTIAL, "", "%s", missing);
    }
    if (answer->shape != WEIR_SHAPE_NODES && nobody_answered(answer)) {
        bool late = elapsed_ms >= query->question.deadline_ms;
        return console_fault_set(&call->fault, late ? CONSOLE_PROBLEM_TIMEOUT : CONSOLE_PROBLEM_NOT_READY, "", "%s",
                                 answer->source_count == 0 ? "the cluster has no aggregator" : missing);
    }
    weir_http_reply_header(call->reply, "Weir-Partial", "1");
    return true;
}

static void give_answer(struct call *call, const struct console_query *query, struct weir_answer *answer,
                        int64_t elapsed_ms)
{
    bool lines = wants_lines(call);
    bool whole = console_answer_is_whole(answer);
    console_fleet_restrict(answer, &call->token);
    if (!check_answer(call, query, answer, whole, elapsed_ms)) {
        refuse(call);
    } else {
        struct console_result result = {
            .query = query, .answer = answer, .query_id = call->query_id, .elapsed_ms = elapsed_ms};
        call->reply->type = lines ? "application/x-ndjson" : "application/json";
        console_answer_json(&result, lines, &call->reply->body);
    }
    size_t rows =
        answer->row_count + answer->flow_count + answer->exporter_count + answer->drop_count + answer->node_count;
    audit(call, query, rows, whole, elapsed_ms, call->reply->status == 0 ? 200 : call->reply->status);
}

static void count_query(struct console_api *api, enum weir_shape shape)
{
    static const enum console_counter counter[] = {
        [WEIR_SHAPE_TABLE] = CONSOLE_queries_table, [WEIR_SHAPE_SERIES] = CONSOLE_queries_series,
        [WEIR_SHAPE_FLOWS] = CONSOLE_queries_flows, [WEIR_SHAPE_EXPORTERS] = CONSOLE_queries_exporters,
        [WEIR_SHAPE_NODES] = CONSOLE_queries_nodes, [WEIR_SHAPE_DROPS] = CONSOLE_queries_drops};
    weir_metrics_add(api->metrics, counter[shape], 1);
}

static void answer_shape(struct call *call, enum weir_shape shape)
{
    struct console_api *api = call->api;
    struct console_query query;
    struct weir_answer answer;
    uint8_t random[(QUERY_ID_TEXT - 1) / 2];
    randombytes_buf(random, sizeof random);
    sodium_bin2hex(call->query_id, sizeof call->query_id, random, sizeof random);
    if (!console_query_read(call->request, shape, &call->rules, &query, &call->fault)) {
        weir_metrics_add(api->metrics, CONSOLE_refused_request, 1);
        refuse(call);
        return;
    }
    count_query(api, query.question.shape);
    int64_t started_mono_ms = weir_mono_ms();
    int rc = console_ask(&api->asker, &query.question, &answer);
    int64_t elapsed_ms = weir_mono_ms() - started_mono_ms;
    weir_metrics_add(api->metrics, CONSOLE_query_ms, (uint64_t)elapsed_ms);
    if (rc == 0 && query.question.shape == WEIR_SHAPE_NODES) {
        rc = console_fleet_complete(&answer, api->map, api->name, call->rules.now_ms);
        if (rc < 0) weir_answer_fini(&answer);
    }
    if (rc == 0) {
        give_answer(call, &query, &answer, elapsed_ms);
        weir_answer_fini(&answer);
    } else {
        console_fault_set(&call->fault, rc == WEIR_ECLOSED ? CONSOLE_PROBLEM_NOT_READY : CONSOLE_PROBLEM_INTERNAL, "",
                          "%s", rc == WEIR_ECLOSED ? "this console is about to leave" : weir_err_text(rc));
        refuse(call);
        audit(call, &query, 0, false, elapsed_ms, call->reply->status);
    }
    console_query_fini(&query);
}

static void handle_query(struct call *call)
{
    answer_shape(call, (enum weir_shape)0);
}

static void handle_exporters(struct call *call)
{
    answer_shape(call, WEIR_SHAPE_EXPORTERS);
}

static void handle_drops(struct call *call)
{
    answer_shape(call, WEIR_SHAPE_DROPS);
}

static void handle_nodes(struct call *call)
{
    answer_shape(call, WEIR_SHAPE_NODES);
}

/* ---- the other resources ---- */

/** Does a rollup hold all that the filter asks for? As the tables of aggregator/scan_rows.c hold it. */
static bool fits_rollup(const struct weir_filter *filter)
{
    static const uint64_t tables[] = {
        WEIR_DIM_BIT(WEIR_DIM_exporter) | WEIR_DIM_BIT(WEIR_DIM_domain) | WEIR_DIM_BIT(WEIR_DIM_protocol) |
            WEIR_DIM_BIT(WEIR_DIM_site),
        WEIR_DIM_BIT(WEIR_DIM_server_ip) | WEIR_DIM_BIT(WEIR_DIM_service),
        WEIR_DIM_BIT(WEIR_DIM_src_ip) | WEIR_DIM_BIT(WEIR_DIM_dst_ip),
    };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        if (weir_filter_fits(filter, tables[i])) return true;
    }
    return false;
}

static void filter_checked(const char *text, size_t size, struct weir_buf *out)
{
    struct weir_filter *filter = NULL;
    struct weir_filter_error error;
    struct json_writer json = json_writer_of(out);
    int rc = weir_filter_parse(text, size, &filter, &error);
    if (rc == WEIR_ENOMEM) snprintf(error.message, sizeof error.message, "%s", weir_err_text(rc));
    jsonw_begin_object(&json);
    jsonw_key_bool(&json, "ok", rc == 0);
    if (rc == 0) {
        struct weir_buf canonical = WEIR_BUF_INIT;
        weir_filter_print(filter, &canonical);
        jsonw_key_text(&json, "canonical", weir_buf_cstr(&canonical));
        jsonw_key_text(&json, "needs", fits_rollup(filter) ? "rollup" : "raw");
        weir_buf_fini(&canonical);
    }
    jsonw_key(&json, "errors");
    jsonw_begin_array(&json);
    if (rc < 0) console_filter_error_json(&error, &json);
    jsonw_end_array(&json);
    jsonw_end_object(&json);
    weir_buf_u8(out, '\n');
    weir_filter_destroy(filter);
}

static void handle_filter_check(struct call *call)
{
    char *text = NULL;
    size_t size = 0;
    if (!console_filter_read(call->request->body, &text, &size, &call->fault)) {
        refuse(call);
        return;
    }
    call->reply->type = "application/json";
    filter_checked(text, size, &call->reply->body);
    weir_free(text);
}

static void handle_schema(struct call *call)
{
    call->reply->type = "application/json";
    console_schema_json(&call->reply->body);
}

static void handle_version(struct call *call)
{
    struct json_writer json = json_writer_of(&call->reply->body);
    call->reply->type = "application/json";
    jsonw_begin_object(&json);
    jsonw_key_text(&json, "api", "1.0");
    jsonw_key_text(&json, "version", WEIR_VERSION);
    jsonw_end_object(&json);
    weir_buf_u8(&call->reply->body, '\n');
}

static void handle_cluster(struct call *call)
{
    call->reply->type = "application/json";
    struct weir_shard shards[WEIR_SHARDS];
    pthread_rwlock_rdlock(&call->api->lock);
    memcpy(shards, call->api->shards, sizeof shards);
    pthread_rwlock_unlock(&call->api->lock);
    if (console_cluster_status(call->api->cluster, call->api->map, shards, &call->reply->body, &call->fault)) return;
    weir_buf_clear(&call->reply->body);
    refuse(call);
}

static void handle_rebalance(struct call *call)
{
    char line[128] = "";
    bool dry = false;
    if (call->token.role < CONSOLE_ADMIN) {
        console_fault_set(&call->fault, CONSOLE_PROBLEM_FORBIDDEN, "", "a token of the role admin is needed");
    } else if (console_flag_read(call->request->body, "dry_run", &dry, &call->fault)) {
        call->reply->type = "application/json";
        console_cluster_rebalance(call->api->cluster, dry, &call->reply->body, line, &call->fault);
    }
    if (call->fault.kind != CONSOLE_NO_PROBLEM) {
        weir_buf_clear(&call->reply->body);
        refuse(call);
    }
    weir_log(WEIR_LOG_INFO, "audit.rebalance", "token=%s client=%s dry=%d done=\"%s\" status=%d", call->token.name,
             call->request->client, dry, line, call->reply->status == 0 ? 200 : call->reply->status);
}

static void handle_live(struct call *call)
{
    weir_buf_text(&call->reply->body, "ok\n");
}

static void handle_ready(struct call *call)
{
    struct weir_buf reason = WEIR_BUF_INIT;
    if (call->api->ready(call->api->ready_ctx, &reason)) {
        weir_buf_text(&call->reply->body, "ok\n");
    } else {
        console_fault_set(&call->fault, CONSOLE_PROBLEM_NOT_READY, "", "%s", weir_buf_cstr(&reason));
        refuse(call);
    }
    weir_buf_fini(&reason);
}

static void handle_metrics(struct call *call)
{
    call->reply->type = "text/plain; version=0.0.4; charset=utf-8";
    weir_metrics_print(call->api->metrics, console_api_each, call->api, &call->reply->body);
}

/* ---- routes ---- */

enum { GET = 1, POST = 2 };

static const struct route {
    const char *path;
    int methods;
    bool open; /* without a token */
    void (*handle)(struct call *call);
} routes[] = {
    {"/api/v1/query", GET | POST, false, handle_query},
    {"/api/v1/filter/check", POST, false, handle_filter_check},
    {"/api/v1/exporters", GET, false, handle_exporters},
    {"/api/v1/drops", GET, false, handle_drops},
    {"/api/v1/nodes", GET, false, handle_nodes},
    {"/api/v1/cluster", GET, false, handle_cluster},
    {"/api/v1/cluster/rebalance", POST, false, handle_rebalance},
    {"/api/v1/schema", GET, false, handle_schema},
    {"/api/v1/version", GET, true, handle_version},
    {"/metrics", GET, false, handle_metrics},
    {"/livez", GET, true, handle_live},
    {"/readyz", GET, true, handle_ready},
    {"/healthz", GET, true, handle_live},
};

/** Who asks, from the bearer token. */
static bool authenticate(struct call *call)
{
    const char *header = weir_http_header(call->request, "authorization");
    const char *token = header != NULL && strncasecmp(header, "Bearer ", 7) == 0 ? header + 7 : NULL;
    struct console_api *api = call->api;
    bool known = false;
    pthread_rwlock_rdlock(&api->lock);
    const struct console_token *found = token == NULL ? NULL : console_tokens_find(api->settings.tokens, token);
    if (found != NULL) {
        call->token = *found;
        known = true;
    }
    pthread_rwlock_unlock(&api->lock);
    if (known) return true;
    weir_metrics_add(api->metrics, CONSOLE_refused_auth, 1);
    return console_fault_set(&call->fault, CONSOLE_PROBLEM_UNAUTHENTICATED, "", "%s",
                             token == NULL ? "the header Authorization: Bearer TOKEN is missing"
                                           : "the token is not one of ours");
}

static void take_rules(struct call *call)
{
    struct console_api *api = call->api;
    pthread_rwlock_rdlock(&api->lock);
    call->rules = (struct console_query_rules){.now_ms = weir_wall_ms(),
                                               .timeout_ms = api->settings.query_timeout_ms,
                                               .timeout_most_ms = api->settings.query_timeout_most_ms,
                                               .token = &call->token};
    pthread_rwlock_unlock(&api->lock);
}

static void dispatch(struct call *call)
{
    const struct weir_http_request *request = call->request;
    int method = strcmp(request->method, "GET") == 0 ? GET : strcmp(request->method, "POST") == 0 ? POST : 0;
    const struct route *route = NULL;
    for (size_t i = 0; i < sizeof routes / sizeof *routes && route == NULL; i++) {
        if (strcmp(routes[i].path, request->path) == 0) route = &routes[i];
    }
    if (route != NULL && !route->open && !authenticate(call)) {
        refuse(call);
    } else if (route == NULL) {
        console_fault_set(&call->fault, CONSOLE_PROBLEM_NOT_FOUND, "", "%.120s", request->path);
        refuse(call);
    } else if ((route->methods & method) == 0) {
        const char *allowed = route->methods == (GET | POST) ? "GET, POST" : route->methods == GET ? "GET" : "POST";
        weir_http_reply_header(call->reply, "Allow", allowed);
        console_fault_set(&call->fault, CONSOLE_PROBLEM_METHOD_NOT_ALLOWED, "", "%s is allowed here", allowed);
        refuse(call);
    } else {
        take_rules(call);
        route->handle(call);
    }
}

void console_api_handle(void *ctx, const struct weir_http_request *request, struct weir_http_reply *reply)
{
    struct call call = {.api = ctx, .request = request, .reply = reply};
    weir_http_reply_header(reply, "Weir-Api", "1.0");
    weir_http_reply_header(reply, "Cache-Control", "no-store");
    dispatch(&call);
    if (reply->body.failed) { /* half a reply is none */
        weir_buf_clear(&reply->body);
        console_fault_set(&call.fault, CONSOLE_PROBLEM_INTERNAL, "", "%s", weir_err_text(WEIR_ENOMEM));
        refuse(&call);
    }
}

/* ---- gauges about the fleet ---- */

/** Have an answer to NODES that is fresh enough. Under the fleet's mutex. */
static bool refresh_fleet(struct console_api *api)
{
    struct weir_question question;
    struct weir_answer answer;
    int64_t now_mono_ms = weir_mono_ms();
    if (api->has_fleet && now_mono_ms - api->fleet_mono_ms < FLEET_FRESH_MS) return true;
    weir_question_init(&question);
    question.shape = WEIR_SHAPE_NODES;
    question.to_ms = weir_wall_ms();
    question.from_ms = question.to_ms - 3600000;
    question.limit = WEIR_QUESTION_LIMIT_MOST;
    question.deadline_ms = FLEET_DEADLINE_MS;
    int rc = console_ask(&api->asker, &question, &answer);
    if (rc < 0) return api->has_fleet;
    if (api->has_fleet) weir_answer_fini(&api->fleet);
    api->fleet = answer;
    api->has_fleet = true;
    api->fleet_mono_ms = now_mono_ms;
    return console_fleet_complete(&api->fleet, api->map, api->name, question.to_ms) == 0;
}

static void fleet_sample(const struct console_api *api, size_t row, const struct weir_answer_node *node,
                         struct weir_buf *out)
{
    const char *role = weir_answer_name_at(&api->fleet, node->role);
    const char *site = weir_answer_name_at(&api->fleet, node->site);
    bool aggregator = strcmp(role, "aggregator") == 0;
    bool agent = strcmp(role, "agent") == 0;
    char labels[2 * WEIR_NAME_BYTES + 32]; /* roles and sites are names: nothing to escape */
    struct weir_metric_row labelled = console_metric_rows[row];
    snprintf(labels, sizeof labels, "role=\"%.63s\",site=\"%.63s\"", role, weir_name_is_valid(site) ? site : "");
    labelled.labels = labels;
    uint64_t value = 0;
    if (aggregator && !node->up && row != CONSOLE_node_up) return; /* it has numbers, but nobody knows them now */
    switch (row) {
    case CONSOLE_node_up:
        if (!node->up && node->last_heard_ms == 0 && !aggregator) return; /* nobody knows */
        value = node->up;
        break;
    case CONSOLE_node_flows:
        if (!aggregator && !agent) return;
        value = node->flows;
        break;
    case CONSOLE_node_lag_ms:
        if (!aggregator && !agent) return;
        value = node->lag_ms;
        break;
    case CONSOLE_node_stored_bytes:
        if (!aggregator) return;
        value = node->stored_bytes;
        break;
    default:
        if (!agent) return;
        value = node->spool_bytes;
        break;
    }
    weir_metric_sample(&labelled, weir_answer_name_at(&api->fleet, node->name), (double)value, out);
}

void console_api_each(void *ctx, size_t row, struct weir_buf *out)
{
    struct console_api *api = ctx;
    pthread_mutex_lock(&api->fleet_mutex);
    if (refresh_fleet(api)) {
        for (size_t i = 0; i < api->fleet.node_count; i++)
            fleet_sample(api, row, &api->fleet.nodes[i], out);
    }
    pthread_mutex_unlock(&api->fleet_mutex);
}

/* ---- life ---- */

int console_api_create(const struct console_api_conf *conf, const struct console_api_settings *settings,
                       struct console_api **ret)
{
    struct console_api *api = weir_calloc(1, sizeof *api);
    if (api == NULL) return WEIR_ENOMEM;
    snprintf(api->name, sizeof api->name, "%s", conf->name);
    api->asker = conf->asker;
    api->map = conf->map;
    memcpy(api->shards, conf->map->shards, sizeof api->shards);
    api->cluster = weir_strdup(conf->cluster);
    if (api->cluster == NULL) {
        weir_free(api);
        return WEIR_ENOMEM;
    }
    api->metrics = conf->metrics;
    api->ready = conf->ready;
    api->ready_ctx = conf->ready_ctx;
    api->settings = *settings;
    pthread_rwlock_init(&api->lock, NULL);
    pthread_mutex_init(&api->fleet_mutex, NULL);
    *ret = api;
    return 0;
}

void console_api_set(struct console_api *api, const struct console_api_settings *settings)
{
    pthread_rwlock_wrlock(&api->lock);
    struct console_tokens *old = api->settings.tokens;
    api->settings = *settings;
    pthread_rwlock_unlock(&api->lock);
    console_tokens_destroy(old);
}

void console_api_set_shards(struct console_api *api, const struct weir_shard shards[WEIR_SHARDS])
{
    pthread_rwlock_wrlock(&api->lock);
    memcpy(api->shards, shards, sizeof api->shards);
    pthread_rwlock_unlock(&api->lock);
}

void console_api_destroy(struct console_api *api)
{
    if (api == NULL) return;
    if (api->has_fleet) weir_answer_fini(&api->fleet);
    console_tokens_destroy(api->settings.tokens);
    weir_free(api->cluster);
    pthread_rwlock_destroy(&api->lock);
    pthread_mutex_destroy(&api->fleet_mutex);
    weir_free(api);
}
