#include "console/http/cluster.h"

#include "common/base/mem.h"
#include "common/cluster/rebalance.h"
#include "common/daemon/cluster_file.h"
#include "common/flow/json_writer.h"

#include <stdio.h>

/** A store that is open, and what it says. */
struct session {
    struct weir_map *file;
    struct weir_mapstore *store;
    struct weir_cluster_view *view;
};

static void session_end(struct session *session)
{
    weir_map_free(session->file);
    weir_mapstore_destroy(session->store);
    weir_free(session->view);
}

static bool fail(struct console_fault *fault, int rc, const struct weir_why *why)
{
    enum console_problem kind = CONSOLE_PROBLEM_INTERNAL;
    if (rc == WEIR_EUNREACHABLE || rc == WEIR_ETIMEOUT) kind = CONSOLE_PROBLEM_STORE_UNREACHABLE;
    if (rc == WEIR_EEXIST) kind = CONSOLE_PROBLEM_CONFLICT;
    if (rc == WEIR_EUNSUPPORTED || rc == WEIR_EPARAM) kind = CONSOLE_PROBLEM_NOT_POSSIBLE;
    return console_fault_set(fault, kind, "", "%s", why->text);
}

/** Open the store and read it. Whatever comes of it, session_end ends it. */
static int session_begin(const char *file, bool stale_will_do, struct session *ret, struct weir_why *why)
{
    *ret = (struct session){0};
    ret->view = weir_calloc(1, sizeof *ret->view);
    if (ret->view == NULL) return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    int rc = weir_cluster_file_read(file, &ret->file, why);
    if (rc == 0) rc = weir_cluster_store_open(file, &ret->store, why);
    if (rc == 0) rc = weir_cluster_view_read(ret->store, ret->file, stale_will_do, ret->view, why);
    return rc;
}

/* ---- the reply ---- */

/** What an aggregator has, and what is to change of it. */
struct tally {
    uint32_t members, joining, to_join, to_leave;
};

static bool is_in(const uint8_t *list, uint32_t count, uint32_t node)
{
    for (uint32_t i = 0; i < count; i++) {
        if (list[i] == node) return true;
    }
    return false;
}

static struct tally tally_of(const struct weir_cluster_view *view, uint32_t node)
{
    struct tally tally = {0};
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        const struct weir_shard *now = &view->map.shards[shard], *wanted = &view->desired[shard];
        bool is_member = is_in(now->members, now->member_count, node);
        bool is_joining = is_in(now->joining, now->joining_count, node);
        bool is_wanted = is_in(wanted->members, wanted->member_count, node);
        tally.members += is_member;
        tally.joining += is_joining;
        tally.to_join += is_wanted && !is_member && !is_joining;
        tally.to_leave += is_member && wanted->member_count > 0 && !is_wanted;
    }
    return tally;
}

static void names_json(const struct weir_map *map, const char *key, const uint8_t *nodes, uint32_t count,
                       struct json_writer *json)
{
    jsonw_key(json, key);
    jsonw_begin_array(json);
    for (uint32_t i = 0; i < count; i++)
        jsonw_text(json, map->aggregators[nodes[i]].name);
    jsonw_end_array(json);
}

static void columns_json(struct json_writer *json)
{
    static const char *const columns[][2] = {{"name", "text"},       {"zone", "text"},       {"weight", "integer"},
                                             {"live", "boolean"},    {"members", "integer"}, {"joining", "integer"},
                                             {"to_join", "integer"}, {"to_leave", "integer"}};
    jsonw_key(json, "columns");
    jsonw_begin_array(json);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        jsonw_begin_object(json);
        jsonw_key_text(json, "name", columns[i][0]);
        jsonw_key_text(json, "type", columns[i][1]);
        jsonw_end_object(json);
    }
    jsonw_end_array(json);
}

static void rows_json(const struct session *session, struct json_writer *json)
{
    const struct weir_cluster_view *view = session->view;
    jsonw_key(json, "rows");
    jsonw_begin_array(json);
    for (uint32_t node = 0; node < view->map.aggregator_count; node++) {
        const struct weir_node *aggregator = &view->map.aggregators[node];
        struct tally tally = tally_of(view, node);
        jsonw_begin_object(json);
        jsonw_key_text(json, "name", aggregator->name);
        jsonw_key_text(json, "zone", aggregator->zone);
        jsonw_key_u64(json, "weight", aggregator->weight);
        jsonw_key(json, "live");
        if (session->store->ops->says_who_lives)
            jsonw_bool(json, view->live[node]);
        else
            jsonw_null(json);
        jsonw_key_u64(json, "members", tally.members);
        jsonw_key_u64(json, "joining", tally.joining);
        jsonw_key_u64(json, "to_join", tally.to_join);
        jsonw_key_u64(json, "to_leave", tally.to_leave);
        jsonw_end_object(json);
    }
    jsonw_end_array(json);
}

static void shards_json(const struct weir_cluster_view *view, struct json_writer *json)
{
    jsonw_key(json, "shards");
    jsonw_begin_array(json);
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        const struct weir_shard *now = &view->map.shards[shard], *wanted = &view->desired[shard];
        jsonw_begin_object(json);
        jsonw_key_u64(json, "shard", shard);
        jsonw_key_u64(json, "epoch", now->epoch);
        names_json(&view->map, "members", now->members, now->member_count, json);
        names_json(&view->map, "joining", now->joining, now->joining_count, json);
        names_json(&view->map, "desired", wanted->members, wanted->member_count, json);
        jsonw_end_object(json);
    }
    jsonw_end_array(json);
}

static void reply_json(const struct session *session, const struct weir_rebalanced *done, bool dry, const char *trouble,
                       struct weir_buf *out)
{
    const struct weir_cluster_view *view = session->view;
    struct json_writer json = json_writer_of(out);
    uint32_t ownerless = 0, few = 0;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        ownerless += view->map.shards[shard].member_count == 0;
        few += view->map.shards[shard].member_count < view->map.replication;
    }
    jsonw_begin_object(&json);
    jsonw_key(&json, "meta");
    jsonw_begin_object(&json);
    jsonw_key_text(&json, "store", session->store->ops->name);
    jsonw_key_bool(&json, "stale", view->stale);
    if (trouble != NULL) jsonw_key_text(&json, "trouble", trouble);
    jsonw_key_u64(&json, "replication", view->map.replication);
    jsonw_key_u64(&json, "shards", WEIR_SHARDS);
    jsonw_key_u64(&json, "shards_without_members", ownerless);
    jsonw_key_u64(&json, "shards_with_few_members", few);
    jsonw_key_u64(&json, "entries_refused", view->refused);
    if (view->refused > 0) jsonw_key_text(&json, "refused", view->first_refused.text);
    if (done != NULL) {
        jsonw_key_bool(&json, "dry_run", dry);
        jsonw_key_u64(&json, "made", done->made);
        jsonw_key_u64(&json, "moves", done->moves);
        jsonw_key_u64(&json, "put", done->put);
    }
    jsonw_end_object(&json);
    columns_json(&json);
    rows_json(session, &json);
    shards_json(view, &json);
    jsonw_end_object(&json);
    weir_buf_u8(out, '\n');
}

bool console_cluster_status(const char *file, const struct weir_map *known, const struct weir_shard shards[WEIR_SHARDS],
                            struct weir_buf *out, struct console_fault *fault)
{
    struct session session;
    struct weir_why why = {""};
    int rc = session_begin(file, true, &session, &why);
    bool is_store = rc < 0 && session.store != NULL && rc != WEIR_ENOMEM;
    if (is_store) {
        *session.view = (struct weir_cluster_view){.map = *known, .stale = true};
        memcpy(session.view->map.shards, shards, sizeof session.view->map.shards);
    }
    if (rc == 0 || is_store) reply_json(&session, NULL, false, is_store ? why.text : NULL, out);
    session_end(&session);
    return rc == 0 || is_store || fail(fault, rc, &why);
}

bool console_cluster_rebalance(const char *file, bool dry, struct weir_buf *out, char line[128],
                               struct console_fault *fault)
{
    struct session session;
    struct weir_rebalanced done = {0};
    struct weir_why why = {""};
    int rc = session_begin(file, false, &session, &why);
    if (rc == 0) rc = weir_cluster_rebalance(session.store, session.view, dry, &done, &why);
    snprintf(line, 128, "made %u, moves %u, put %u", done.made, done.moves, done.put);
    if (rc == 0) reply_json(&session, &done, dry, NULL, out);
    session_end(&session);
    return rc == 0 || fail(fault, rc, &why);
}
