/** An aggregator's store in a folder of its own, with the thread that rolls up, and batches committed as the intake does. */
#ifndef WEIR_TESTS_SUPPORT_AGG_BENCH_H
#define WEIR_TESTS_SUPPORT_AGG_BENCH_H

#include "aggregator/commit.h"
#include "tests/support/folder.h"

struct agg_bench {
    char folder[FOLDER_BYTES];
    struct weir_metrics metrics;
    struct agg_store *store;
    struct agg_roller *roller;
    struct agg_commit *commit;
    struct weir_batch_encoder *encoder;
    uint64_t seq;
};

/** Open, making the folder when it has none yet. */
void agg_bench_open(struct agg_bench *bench, int64_t minutes_ms, size_t memory_bytes);
void agg_bench_close(struct agg_bench *bench);

/** What a batch comes with besides its flows. */
struct agg_bench_batch {
    struct weir_batch *batch; /* stays the caller's; no flows: a LOSS record of three flows */
    uint32_t shard;
    int64_t commit_ms;
    const char *site;
    const char *agent;
    bool hand_over; /* to the roller, as the intake does */
};

/** Commit, again and again while the store is stalled. Where it was put. */
struct agg_place agg_bench_commit(struct agg_bench *bench, const struct agg_bench_batch *of);

/** Wait until the rows of both tiers hold everything. */
void agg_bench_catch_up(struct agg_bench *bench);

#endif
