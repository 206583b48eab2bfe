/**
 * The youngest records of the spool, still in memory: while the brokers keep up, nothing is read back from the disk.
 * Bounded by bytes, all that a record takes; what does not fit is not kept. One thread.
 */
#ifndef WEIR_AGENT_RECENT_H
#define WEIR_AGENT_RECENT_H

#include "common/cluster/msg.h"
#include "common/net/frames.h"

/** A record as it will be sent. */
struct agent_recent_record {
    uint64_t seq;
    uint32_t crc;
    struct weir_cum cum;
    struct weir_frames frames; /* encoded header, body */
};

struct agent_recent;

/** WEIR_ENOMEM. */
int agent_recent_create(size_t bytes_most, struct agent_recent **ret);
void agent_recent_destroy(struct agent_recent *recent);

/** Keep a record of lane @shard: moves the frames out of @record if there is room, else leaves them. */
void agent_recent_put(struct agent_recent *recent, uint32_t shard, struct agent_recent_record *record);

/** The record @seq of lane @shard, or NULL. Borrowed until the next call. */
const struct agent_recent_record *agent_recent_find(const struct agent_recent *recent, uint32_t shard, uint64_t seq);

/** Forget the records of lane @shard up to @seq. */
void agent_recent_release(struct agent_recent *recent, uint32_t shard, uint64_t seq);

/** Forget one. */
void agent_recent_forget(struct agent_recent *recent, uint32_t shard, uint64_t seq);

/** Forget everything. */
void agent_recent_clear(struct agent_recent *recent);

/** Bytes of the records, with what stands around them; the places to find them by take 1 MiB more at most. */
size_t agent_recent_bytes(const struct agent_recent *recent);

#endif
