#include "agent/recent.h"

#include "common/base/err.h"
#include "common/base/mem.h"

/* Powers of two. A lane that waits for a sync at full speed holds some fifty records. */
enum { SLOTS_LEAST = 16, SLOTS_MOST = 1024 };

struct lane {
    uint32_t slots;
    struct agent_recent_record **record; /* by seq modulo @slots; NULL: free */
};

struct agent_recent {
    size_t bytes_most;
    size_t bytes;
    struct lane lane[WEIR_SHARDS];
};

static struct agent_recent_record **slot_of(const struct lane *lane, uint64_t seq)
{
    return &lane->record[seq & (lane->slots - 1)];
}

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
    return sizeof *record + weir_frames_view(&record->frames, 0).size + weir_frames_view(&record->frames, 1).size;
}

static void drop(struct agent_recent *recent, struct agent_recent_record **slot)
{
    struct agent_recent_record *record = *slot;
    if (record == NULL) return;
    recent->bytes -= record_bytes(record);
    weir_frames_clear(&record->frames);
    weir_free(record);
    *slot = NULL;
}

void agent_recent_clear(struct agent_recent *recent)
{
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        for (uint32_t i = 0; i < recent->lane[shard].slots; i++)
            drop(recent, &recent->lane[shard].record[i]);
    }
}

void agent_recent_destroy(struct agent_recent *recent)
{
    if (recent == NULL) return;
    agent_recent_clear(recent);
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++)
        weir_free(recent->lane[shard].record);
    weir_free(recent);
}

/** Twice the slots, so that records further apart have one each. Without memory the lane stays as it is. */
static void grow(struct lane *lane)
{
    uint32_t slots = lane->slots == 0 ? SLOTS_LEAST : lane->slots * 2;
    if (slots > SLOTS_MOST) return;
    struct lane larger = {.slots = slots, .record = weir_calloc(slots, sizeof(struct agent_recent_record *))};
    if (larger.record == NULL) return;
    for (uint32_t i = 0; i < lane->slots; i++) {
        if (lane->record[i] != NULL) *slot_of(&larger, lane->record[i]->seq) = lane->record[i];
    }
    weir_free(lane->record);
    *lane = larger;
}

void agent_recent_put(struct agent_recent *recent, uint32_t shard, struct agent_recent_record *record)
{
    struct lane *lane = &recent->lane[shard];
    size_t bytes = record_bytes(record);
    if (recent->bytes + bytes > recent->bytes_most) return;
    while (lane->slots == 0 || *slot_of(lane, record->seq) != NULL) {
        uint32_t before = lane->slots;
        grow(lane);
        if (lane->slots == before) break;
    }
    if (lane->slots == 0) return;
    struct agent_recent_record *kept = weir_calloc(1, sizeof *kept);
    if (kept == NULL) return;
    struct agent_recent_record **slot = slot_of(lane, record->seq);
    drop(recent, slot); /* the oldest, where there is no growing */
    kept->crc = record->crc;
    kept->cum = record->cum;
    kept->seq = record->seq;
    weir_frames_move(&kept->frames, &record->frames);
    recent->bytes += bytes;
    *slot = kept;
}

const struct agent_recent_record *agent_recent_find(const struct agent_recent *recent, uint32_t shard, uint64_t seq)
{
    const struct lane *lane = &recent->lane[shard];
    if (lane->slots == 0) return NULL;
    const struct agent_recent_record *record = *slot_of(lane, seq);
    return record != NULL && record->seq == seq ? record : NULL;
}

void agent_recent_release(struct agent_recent *recent, uint32_t shard, uint64_t seq)
{
    struct lane *lane = &recent->lane[shard];
    for (uint64_t back = 0; back < lane->slots && back < seq; back++) {
        struct agent_recent_record **slot = slot_of(lane, seq - back);
        if (*slot != NULL && (*slot)->seq <= seq) drop(recent, slot);
    }
}

void agent_recent_forget(struct agent_recent *recent, uint32_t shard, uint64_t seq)
{
    struct lane *lane = &recent->lane[shard];
    if (lane->slots == 0) return;
    struct agent_recent_record **slot = slot_of(lane, seq);
    if (*slot != NULL && (*slot)->seq == seq) drop(recent, slot);
}

size_t agent_recent_bytes(const struct agent_recent *recent)
{
    return recent->bytes;
}
