#include "aggregator/commit.h"

#include "aggregator/window.h"
#include "common/base/mem.h"
#include "common/wire/batch.h"

#include <assert.h>

enum { ENTRIES_MOST = 2 * AGG_GROUP_MOST }; /* a batch may bring a loss record along */

struct agg_commit {
    struct agg_store *store;
    struct agg_write *write;
    struct weir_buf entry;
    struct weir_buf header;
    struct agg_place stored[WEIR_SHARDS];
    struct agg_place last[WEIR_SHARDS]; /* with what is in the group */
    uint32_t count;
    struct agg_committed entries[ENTRIES_MOST];
};

int agg_commit_create(struct agg_store *store, const struct agg_place heads[WEIR_SHARDS], struct agg_commit **ret)
{
    struct agg_commit *commit = weir_calloc(1, sizeof *commit);
    if (commit == NULL) return WEIR_ENOMEM;
    int rc = agg_write_create(&commit->write);
    if (rc < 0) {
        agg_commit_destroy(commit);
        return rc;
    }
    commit->store = store;
    memcpy(commit->stored, heads, sizeof commit->stored);
    memcpy(commit->last, heads, sizeof commit->last);
    *ret = commit;
    return 0;
}

void agg_commit_destroy(struct agg_commit *commit)
{
    if (commit == NULL) return;
    agg_write_destroy(commit->write);
    weir_buf_fini(&commit->entry);
    weir_buf_fini(&commit->header);
    weir_free(commit);
}

/** The next place of a shard. Hours never go back, whatever the clock does. */
static struct agg_place next_place(struct agg_commit *commit, uint32_t shard, int64_t now_ms)
{
    struct agg_place *last = &commit->last[shard];
    uint32_t hour = (uint32_t)(now_ms / AGG_HOUR_MS);
    *last =
        (struct agg_place){.shard = shard, .hour = hour > last->hour ? hour : last->hour, .number = last->number + 1};
    return *last;
}

static int add_entry(struct agg_commit *commit, const struct agg_action *action, const struct weir_msg *msg,
                     uint64_t seq, const struct weir_batch_header *header, struct weir_view header_bytes,
                     struct weir_view body, int64_t now_ms)
{
    assert(commit->count < ENTRIES_MOST);
    struct agg_committed *committed = &commit->entries[commit->count];
    committed->of = (struct agg_rolled_batch){
        .place = next_place(commit, msg->shard, now_ms), .commit_ms = now_ms, .header = *header};
    memcpy(committed->of.site, msg->site, sizeof committed->of.site);
    memcpy(committed->of.agent, msg->name, sizeof committed->of.agent);
    committed->body_bytes = body.size;

    struct agg_block block = {.inc = msg->inc,
                              .seq = seq,
                              .crc = action->mark.crc,
                              .body_bytes = (uint32_t)body.size,
                              .commit_ms = now_ms,
                              .tenant = weir_view_text(msg->tenant),
                              .site = weir_view_text(msg->site),
                              .name = weir_view_text(msg->name),
                              .header = header_bytes};
    memcpy(block.agent, msg->agent, sizeof block.agent);
    weir_buf_clear(&commit->entry);
    agg_block_encode(&block, &commit->entry);
    if (commit->entry.failed) return WEIR_ENOMEM;

    struct agg_key key = agg_key_block(&committed->of.place);
    agg_write_put(commit->write, commit->store, AGG_FAMILY_BLOCK, agg_key_view(&key), weir_buf_view(&commit->entry));
    if (body.size > 0) agg_write_put(commit->write, commit->store, AGG_FAMILY_FLOWS, agg_key_view(&key), body);
    struct agg_key mark_key = agg_key_mark(action->lane.agent, action->lane.inc, action->lane.shard);
    uint8_t mark[AGG_MARK_BYTES];
    agg_mark_encode(&action->mark, mark);
    agg_write_put(commit->write, commit->store, AGG_FAMILY_META, agg_key_view(&mark_key),
                  weir_view_of(mark, sizeof mark));
    commit->count++;
    return 0;
}

int agg_commit_add(struct agg_commit *commit, const struct agg_action *action, const struct agg_arrival *arrival,
                   int64_t now_ms)
{
    return add_entry(commit, action, arrival->msg, arrival->msg->seq, arrival->header, arrival->header_bytes,
                     arrival->body, now_ms);
}

int agg_commit_add_loss(struct agg_commit *commit, const struct agg_action *action, const struct agg_arrival *arrival,
                        int64_t now_ms)
{
    struct weir_batch_header loss = {
        .kind = WEIR_RECORD_LOSS,
        .schema = WEIR_SCHEMA,
        .source = arrival->header->source,
        .protocol = arrival->header->protocol,
        .totals = {.flows = action->lost.flows, .packets = action->lost.packets, .bytes = action->lost.bytes},
        .first_received_ms = arrival->header->first_received_ms,
        .last_received_ms = arrival->header->last_received_ms,
        .lost_to_seq = action->last_seq};
    weir_buf_clear(&commit->header);
    int rc = weir_batch_header_encode(&loss, &commit->header);
    if (rc < 0) return rc;
    return add_entry(commit, action, arrival->msg, action->first_seq, &loss, weir_buf_view(&commit->header),
                     weir_view_of(NULL, 0), now_ms);
}

bool agg_commit_is_full(const struct agg_commit *commit)
{
    return commit->count >= AGG_GROUP_MOST || agg_write_bytes(commit->write) >= AGG_GROUP_BYTES;
}

uint32_t agg_commit_count(const struct agg_commit *commit)
{
    return commit->count;
}

const struct agg_committed *agg_commit_at(const struct agg_commit *commit, uint32_t index)
{
    assert(index < commit->count);
    return &commit->entries[index];
}

int agg_commit_write(struct agg_commit *commit, struct weir_why *why)
{
    int rc = agg_store_write(commit->store, commit->write, AGG_SYNCED, why);
    memcpy(rc < 0 ? commit->last : commit->stored, rc < 0 ? commit->stored : commit->last, sizeof commit->last);
    return rc;
}

void agg_commit_clear(struct agg_commit *commit)
{
    memcpy(commit->last, commit->stored, sizeof commit->last);
    agg_write_clear(commit->write);
    commit->count = 0;
}

int agg_mark_read(struct agg_store *store, const struct agg_lane *lane, struct agg_mark *ret)
{
    *ret = (struct agg_mark){0};
    struct agg_key key = agg_key_mark(lane->agent, lane->inc, lane->shard);
    struct agg_lease lease;
    int rc = agg_store_lend(store, NULL, AGG_FAMILY_META, agg_key_view(&key), &lease);
    if (rc == WEIR_ENOTFOUND) return 0;
    if (rc < 0) return rc;
    rc = agg_mark_decode(lease.value, ret);
    agg_lease_return(&lease);
    return rc;
}
