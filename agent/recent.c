#include "agent/recent.h"

#include "common/base/err.h"
#include "common/base/mem.h"

/* A few windows of each lane: older ones were acknowledged, or their lane is stuck and reads from the disk. */
enum { SLOTS = 32 };

struct agent_recent {
    size_t bytes_most;
    size_t bytes;
    struct agent_recent_record *lane[WEIR_SHARDS]; /* SLOTS records, by seq modulo SLOTS; seq 0: free */
};

int agent_recent_create(size_t bytes_most, struct agent_recent **ret)
{
    struct agent_recent *recent = weir_calloc(1, sizeof *recent);
    if (recent == NULL) return WEIR_ENOMEM;
    recent->bytes_most = bytes_most;
    *ret = recent;
    return 0;
}

static size_t record_bytes(const struct agent_recent_record *record)
{
    return weir_frames_view(&record->frames, 0).size + weir_frames_view(&record->frames, 1).size;
}

static void drop(struct agent_recent *recent, struct agent_recent_record *record)
{
    if (record->seq == 0) return;
    recent->bytes -= record_bytes(record);
    weir_frames_clear(&record->frames);
    record->seq = 0;
}

void agent_recent_clear(struct agent_recent *recent)
{
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        for (int i = 0; recent->lane[shard] != NULL && i < SLOTS; i++)
            drop(recent, &recent->lane[shard][i]);
    }
}

void agent_recent_destroy(struct agent_recent *recent)
{
    if (recent == NULL) return;
    agent_recent_clear(recent);
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++)
        weir_free(recent->lane[shard]);
    weir_free(recent);
}

void agent_recent_put(struct agent_recent *recent, uint32_t shard, struct agent_recent_record *record)
{
    if (recent->lane[shard] == NULL) {
        recent->lane[shard] = weir_calloc(SLOTS, sizeof *recent->lane[shard]);
        if (recent->lane[shard] == NULL) return;
    }
    struct agent_recent_record *slot = &recent->lane[shard][record->seq % SLOTS];
    drop(recent, slot);
    size_t bytes = record_bytes(record);
    if (recent->bytes + bytes > recent->bytes_most) return;
    slot->crc = record->crc;
    slot->cum = record->cum;
    slot->seq = record->seq;
    weir_frames_move(&slot->frames, &record->frames);
    recent->bytes += bytes;
}

const struct agent_recent_record *agent_recent_find(const struct agent_recent *recent, uint32_t shard, uint64_t seq)
{
    if (recent->lane[shard] == NULL) return NULL;
    const struct agent_recent_record *slot = &recent->lane[shard][seq % SLOTS];
    return slot->seq == seq ? slot : NULL;
}

void agent_recent_release(struct agent_recent *recent, uint32_t shard, uint64_t seq)
{
    if (recent->lane[shard] == NULL) return;
    for (uint64_t back = 0; back < SLOTS && back < seq; back++) {
        struct agent_recent_record *slot = &recent->lane[shard][(seq - back) % SLOTS];
        if (slot->seq <= seq) drop(recent, slot);
    }
}

void agent_recent_forget(struct agent_recent *recent, uint32_t shard, uint64_t seq)
{
    if (recent->lane[shard] == NULL) return;
    struct agent_recent_record *slot = &recent->lane[shard][seq % SLOTS];
    if (slot->seq == seq) drop(recent, slot);
}

size_t agent_recent_bytes(const struct agent_recent *recent)
{
    return recent->bytes;
}
