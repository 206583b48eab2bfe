/**
 * Gathering: one open batch per source, closed when full or after a linger, handed to a sink.
 *
 * A listener thread owns one gather. Its decoder attaches a stream per source, asks for room, writes rows straight into
 * the columns and commits them:
 *
 *     struct weir_batch *batch = agent_gather_room(gather, stream, rows);
 *     if (batch == NULL) ...                               counted as dropped already
 *     ... write rows batch->count .. batch->count + rows - 1 of touched columns ...
 *     agent_gather_commit(gather, stream, rows, written);
 *
 * The ledger is even at any time: flows_in = flows_open + flows_out + dropped_sink_full + dropped_no_memory. Losses
 * travel with flows; a source that sends none has a batch without flows every few seconds, a report, while there is
 * something to say of it.
 *
 * Where the pool has no room the batch that is open for longest is closed: it is the next to be due. So memory is bounded
 * however many sources there are, and they have shorter batches instead.
 */
#ifndef WEIR_AGENT_GATHER_H
#define WEIR_AGENT_GATHER_H

#include "agent/pool.h"

/**
 * Where closed batches go (encode and spool). The columns of a batch are narrow arrays of count rows; batch->loss is
 * what was lost of this source since its last batch that was taken.
 */
struct agent_sink {
    /**
     * Take a closed batch. On 0 it is the sink's, *batch_p is NULL, and the sink gives it back with agent_pool_give
     * when it is done, from any thread, now or later. On an error (WEIR_EFULL, ...) the batch stays with the gather,
     * which counts its flows as dropped and carries its losses over to the source's next batch.
     * Called in the thread that owns the gather.
     */
    int (*take)(void *ctx, struct weir_batch **batch_p);
    void *ctx;
};

struct agent_gather_conf {
    uint32_t linger_ms;      /* a batch that is not full closes this long after its first flow */
    uint32_t most_streams;   /* sources attached at a time */
    size_t most_extra_bytes; /* values for extra columns in open batches; their other columns are bounded by the pool */
    uint32_t report_ms;      /* a report comes this long after the batch before, at the earliest */
    uint32_t most_drops;     /* streams that have drops to tell at a time; losses of others come without a reason */
};

#define AGENT_GATHER_DEFAULTS    \
    ((struct agent_gather_conf){ \
        .linger_ms = 200, .most_streams = 16384, .most_extra_bytes = 8u << 20, .report_ms = 5000, .most_drops = 1024})

struct agent_gather_counts {
    uint64_t flows_in;          /* committed by decoders, or without a batch to go to */
    uint64_t flows_out;         /* in batches that the sink took */
    uint64_t dropped_sink_full; /* flows in batches that the sink refused */
    uint64_t dropped_no_memory; /* flows that found no batch */
    uint64_t batches_full;      /* closed because the next rows did not fit */
    uint64_t batches_linger;    /* closed by time */
    uint64_t batches_memory;    /* closed to make room: in the pool, or for values of extra columns */
    uint64_t batches_detached;  /* closed because the source went away (eviction, stop) */
    uint64_t reports;           /* batches without flows that the sink took */
};

/** What a datagram says about all of its rows. */
struct agent_gather_note {
    enum weir_protocol protocol;
    int64_t received_ms; /* wall clock */
    int64_t export_ms;   /* the exporter's clock; 0 unknown */
};

/** The open end of one source. Owned by the gather, lent to whoever attached it; read-only outside of gather.c. */
struct agent_stream {
    struct weir_source source;
    struct weir_batch *batch;       /* NULL while nothing is open */
    struct weir_loss loss;          /* to travel with the next batch */
    struct weir_drops *drops;       /* likewise; NULL: none */
    struct weir_health health;      /* as last said */
    struct agent_gather_note heard; /* as last described */
    int64_t opened_mono_ms;
    int64_t told_mono_ms;       /* when a batch of it was closed last, or it was attached */
    int64_t told_ms;            /* the sink has batches that tell what was received until then */
    size_t extra_bytes;         /* of the open batch */
    uint32_t last_count;        /* flows of the batch before: what the next one is made for */
    struct agent_stream *older; /* among the streams with an open batch, by opening time */
    struct agent_stream *newer;
};

struct agent_gather;

/** A gather that fills batches of @pool and hands them to @sink; both must outlive it. WEIR_ENOMEM. */
int agent_gather_create(const struct agent_gather_conf *conf, struct agent_pool *pool, struct agent_sink sink,
                        struct agent_gather **ret);

/** Frees what is still open without handing it over: agent_gather_flush first. */
void agent_gather_destroy(struct agent_gather *gather);

/** A stream for @source. WEIR_ELIMIT at most_streams (detach an idle one), WEIR_ENOMEM. */
int agent_gather_attach(struct agent_gather *gather, const struct weir_source *source, struct agent_stream **ret);

/**
 * Close the stream's batch, hand it over and free the stream; *stream_p is NULL after, and may be NULL before. Losses
 * that no batch took along are reported.
 */
void agent_gather_detach(struct agent_gather *gather, struct agent_stream **stream_p);

/**
 * The stream's open batch with room for @rows (1..4096) more flows; closes one that is too full and opens the next.
 * NULL when there is no memory: the rows are counted as dropped_no_memory and must be skipped. Valid until the next
 * call that takes the gather.
 */
struct weir_batch *agent_gather_room(struct agent_gather *gather, struct agent_stream *stream, uint32_t rows);

/** The same for rows whose extra columns take @bytes, at most WEIR_EXTRA_BYTES_MOST. */
struct weir_batch *agent_gather_room_extra(struct agent_gather *gather, struct agent_stream *stream, uint32_t rows,
                                           size_t bytes);

/** Count @rows as written to the columns that @written has bits for (weir_batch_commit). */
void agent_gather_commit(struct agent_gather *gather, struct agent_stream *stream, uint32_t rows, uint64_t written,
                         const struct agent_gather_note *note);

/** Add to the losses that travel with the stream's next batch to close. */
void agent_gather_lose(struct agent_stream *stream, const struct weir_loss *loss);

/** Say why something was lost, with the stream's next batch to close; the loss itself is agent_gather_lose's. */
void agent_gather_drop(struct agent_gather *gather, struct agent_stream *stream, const struct weir_drop *drop);

/** What the batches of the stream say of their source from now on, and what reports say of its last datagram. */
void agent_gather_describe(struct agent_stream *stream, const struct weir_health *health,
                           const struct agent_gather_note *heard);

/** Report, if the time has come and something was heard or lost that no batch told. */
void agent_gather_report(struct agent_gather *gather, struct agent_stream *stream);

/**
 * Report what was lost of somebody who has no stream, now. False: there is no memory, or the sink is full. Try again
 * later.
 */
bool agent_gather_report_of(struct agent_gather *gather, const struct weir_source *source,
                            const struct agent_gather_note *heard, const struct weir_loss *loss,
                            const struct weir_drops *drops);

/**
 * Close what has lingered. Returns in how many ms the next batch is due (call again then), or -1 when none is open.
 * The time given here is also the opening time of batches until the next call.
 */
int64_t agent_gather_tick(struct agent_gather *gather, int64_t now_mono_ms);

/** Close everything that is open, full or not: before stopping. */
void agent_gather_flush(struct agent_gather *gather);

/** What was counted since the gather was made. */
const struct agent_gather_counts *agent_gather_counted(const struct agent_gather *gather);

/** Flows in open batches now. */
uint64_t agent_gather_flows_open(const struct agent_gather *gather);

/** Values for extra columns in open batches now: at most most_extra_bytes and those of one batch. */
size_t agent_gather_extra_bytes(const struct agent_gather *gather);

#endif
