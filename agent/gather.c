#include "agent/gather.h"

#include "common/base/err.h"
#include "common/base/mem.h"

#include <assert.h>

enum { LEAST_ROWS = 64 };

struct agent_gather {
    struct agent_gather_conf conf;
    struct agent_pool *pool;
    struct agent_sink sink;
    struct agent_gather_counts counts;
    struct agent_stream *oldest; /* with an open batch; newest last */
    struct agent_stream *newest;
    size_t extra_bytes;
    uint64_t flows_open;
    int64_t now_mono_ms;
    uint32_t streams;
    uint32_t streams_with_drops;
};

int agent_gather_create(const struct agent_gather_conf *conf, struct agent_pool *pool, struct agent_sink sink,
                        struct agent_gather **ret)
{
    struct agent_gather *gather = weir_calloc(1, sizeof *gather);
    if (gather == NULL) return WEIR_ENOMEM;
    gather->conf = *conf;
    gather->pool = pool;
    gather->sink = sink;
    *ret = gather;
    return 0;
}

static void unlink_open(struct agent_gather *gather, struct agent_stream *stream)
{
    *(stream->older == NULL ? &gather->oldest : &stream->older->newer) = stream->newer;
    *(stream->newer == NULL ? &gather->newest : &stream->newer->older) = stream->older;
    stream->older = stream->newer = NULL;
}

/** Take the open batch off the stream; what becomes of it is the caller's business. */
static struct weir_batch *take_open(struct agent_gather *gather, struct agent_stream *stream)
{
    struct weir_batch *batch = stream->batch;
    unlink_open(gather, stream);
    stream->batch = NULL;
    stream->last_count = batch->count;
    gather->extra_bytes -= stream->extra_bytes;
    stream->extra_bytes = 0;
    gather->flows_open -= batch->count;
    return batch;
}

static void forget_drops(struct agent_gather *gather, struct agent_stream *stream)
{
    if (stream->drops == NULL) return;
    weir_free(stream->drops);
    stream->drops = NULL;
    gather->streams_with_drops--;
}

static void close_batch(struct agent_gather *gather, struct agent_stream *stream)
{
    struct weir_batch *batch = take_open(gather, stream);
    if (batch->count == 0) {
        agent_pool_give(gather->pool, &batch);
        return;
    }
    batch->loss = stream->loss;
    batch->health = stream->health;
    if (stream->drops != NULL) batch->drops = *stream->drops;
    stream->loss = (struct weir_loss){0};
    stream->told_mono_ms = gather->now_mono_ms;
    uint32_t flows = batch->count;
    int64_t received_ms = batch->last_received_ms;
    if (gather->sink.take(gather->sink.ctx, &batch) < 0) {
        gather->counts.dropped_sink_full += flows;
        weir_loss_add(&stream->loss, &batch->loss);
        agent_pool_give(gather->pool, &batch);
        return;
    }
    assert(batch == NULL);
    gather->counts.flows_out += flows;
    stream->told_ms = received_ms;
    forget_drops(gather, stream);
}

/** Make room by closing the batch that is open for longest; false when none is. */
static bool close_oldest(struct agent_gather *gather)
{
    if (gather->oldest == NULL) return false;
    gather->counts.batches_memory++;
    close_batch(gather, gather->oldest);
    return true;
}

/** Hand over a batch without flows. */
static bool give_report(struct agent_gather *gather, const struct weir_source *source,
                        const struct agent_gather_note *heard, const struct weir_loss *loss,
                        const struct weir_health *health, const struct weir_drops *drops)
{
    struct weir_batch *batch = NULL;
    int rc = agent_pool_take(gather->pool, LEAST_ROWS, &batch);
    if (rc == WEIR_EFULL) rc = weir_batch_create(LEAST_ROWS, &batch);
    if (rc < 0) return false;
    batch->source = *source;
    batch->protocol = heard->protocol;
    batch->first_received_ms = batch->last_received_ms = heard->received_ms;
    batch->last_export_ms = heard->export_ms;
    batch->loss = *loss;
    batch->health = *health;
    if (drops != NULL) batch->drops = *drops;
    bool taken = gather->sink.take(gather->sink.ctx, &batch) == 0;
    agent_pool_give(gather->pool, &batch);
    gather->counts.reports += taken;
    return taken;
}

static void report(struct agent_gather *gather, struct agent_stream *stream)
{
    stream->told_mono_ms = gather->now_mono_ms;
    if (!give_report(gather, &stream->source, &stream->heard, &stream->loss, &stream->health, stream->drops)) return;
    stream->loss = (struct weir_loss){0};
    forget_drops(gather, stream);
    stream->told_ms = stream->heard.received_ms;
}

void agent_gather_report(struct agent_gather *gather, struct agent_stream *stream)
{
    if (stream->batch != NULL || gather->now_mono_ms - stream->told_mono_ms < gather->conf.report_ms) return;
    if (stream->heard.received_ms > stream->told_ms || weir_loss_any(&stream->loss)) report(gather, stream);
}

bool agent_gather_report_of(struct agent_gather *gather, const struct weir_source *source,
                            const struct agent_gather_note *heard, const struct weir_loss *loss,
                            const struct weir_drops *drops)
{
    return give_report(gather, source, heard, loss, &(struct weir_health){0}, drops);
}

void agent_gather_flush(struct agent_gather *gather)
{
    while (gather->oldest != NULL) {
        gather->counts.batches_detached++;
        close_batch(gather, gather->oldest);
    }
}

void agent_gather_destroy(struct agent_gather *gather)
{
    if (gather == NULL) return;
    while (gather->oldest != NULL) {
        struct weir_batch *batch = take_open(gather, gather->oldest);
        agent_pool_give(gather->pool, &batch);
    }
    weir_free(gather);
}

int agent_gather_attach(struct agent_gather *gather, const struct weir_source *source, struct agent_stream **ret)
{
    if (gather->streams >= gather->conf.most_streams) return WEIR_ELIMIT;
    struct agent_stream *stream = weir_calloc(1, sizeof *stream);
    if (stream == NULL) return WEIR_ENOMEM;
    stream->source = *source;
    stream->told_mono_ms = gather->now_mono_ms;
    gather->streams++;
    *ret = stream;
    return 0;
}

void agent_gather_detach(struct agent_gather *gather, struct agent_stream **stream_p)
{
    struct agent_stream *stream = *stream_p;
    *stream_p = NULL;
    if (stream == NULL) return;
    if (stream->batch != NULL) {
        gather->counts.batches_detached++;
        close_batch(gather, stream);
    }
    if (weir_loss_any(&stream->loss)) report(gather, stream);
    forget_drops(gather, stream);
    gather->streams--;
    weir_free(stream);
}

static uint32_t at_most(uint32_t rows, uint32_t most)
{
    return rows < most ? rows : most;
}

/**
 * A batch for the stream, as large as its last one was, or small where there is little room. When nothing is left to be
 * closed, and others hold all that the pool has, one from elsewhere.
 */
static struct weir_batch *open_batch(struct agent_gather *gather, struct agent_stream *stream, uint32_t rows)
{
    int rc = agent_pool_take(gather->pool, at_most(stream->last_count + rows, WEIR_BATCH_MOST), &stream->batch);
    if (rc == WEIR_EFULL) rc = agent_pool_take(gather->pool, rows, &stream->batch);
    while (rc == WEIR_EFULL && close_oldest(gather))
        rc = agent_pool_take(gather->pool, rows, &stream->batch);
    if (rc == WEIR_EFULL) rc = weir_batch_create(rows < LEAST_ROWS ? LEAST_ROWS : rows, &stream->batch);
    if (rc < 0) return NULL;

    stream->batch->source = stream->source;
    stream->opened_mono_ms = gather->now_mono_ms;
    stream->older = gather->newest;
    *(gather->newest == NULL ? &gather->oldest : &gather->newest->newer) = stream;
    gather->newest = stream;
    return stream->batch;
}

struct weir_batch *agent_gather_room(struct agent_gather *gather, struct agent_stream *stream, uint32_t rows)
{
    assert(rows >= 1 && rows <= WEIR_BATCH_MOST);
    struct weir_batch *batch = stream->batch;
    if (batch != NULL && batch->count + rows > WEIR_BATCH_MOST) {
        gather->counts.batches_full++;
        close_batch(gather, stream);
        batch = NULL;
    }
    if (batch != NULL && batch->count + rows > batch->capacity) {
        if (agent_pool_grow(gather->pool, &stream->batch, batch->count + rows) < 0) {
            gather->counts.batches_memory++;
            close_batch(gather, stream);
        }
        batch = stream->batch;
    }
    if (batch == NULL) batch = open_batch(gather, stream, rows);
    if (batch == NULL) {
        gather->counts.flows_in += rows;
        gather->counts.dropped_no_memory += rows;
    }
    return batch;
}

struct weir_batch *agent_gather_room_extra(struct agent_gather *gather, struct agent_stream *stream, uint32_t rows,
                                           size_t bytes)
{
    assert(bytes <= WEIR_EXTRA_BYTES_MOST);
    if (stream->batch != NULL) {
        bool full = stream->extra_bytes + bytes > WEIR_EXTRA_BYTES_MOST;
        gather->counts.batches_full += full;
        if (full) close_batch(gather, stream);
    }
    while (gather->extra_bytes > 0 && gather->extra_bytes + bytes > gather->conf.most_extra_bytes)
        (void)close_oldest(gather);
    struct weir_batch *batch = agent_gather_room(gather, stream, rows);
    if (batch == NULL) return NULL;
    stream->extra_bytes += bytes;
    gather->extra_bytes += bytes;
    return batch;
}

void agent_gather_commit(struct agent_gather *gather, struct agent_stream *stream, uint32_t rows, uint64_t written,
                         const struct agent_gather_note *note)
{
    struct weir_batch *batch = stream->batch;
    weir_batch_commit(batch, rows, written);
    batch->protocol = note->protocol;
    if (batch->first_received_ms == 0) batch->first_received_ms = note->received_ms;
    batch->last_received_ms = note->received_ms;
    if (note->export_ms != 0) batch->last_export_ms = note->export_ms;
    gather->counts.flows_in += rows;
    gather->flows_open += rows;
}

void agent_gather_lose(struct agent_stream *stream, const struct weir_loss *loss)
{
    weir_loss_add(&stream->loss, loss);
}

void agent_gather_drop(struct agent_gather *gather, struct agent_stream *stream, const struct weir_drop *drop)
{
    if (stream->drops == NULL) {
        if (gather->streams_with_drops >= gather->conf.most_drops) return;
        stream->drops = weir_calloc(1, sizeof *stream->drops);
        if (stream->drops == NULL) return;
        gather->streams_with_drops++;
    }
    (void)weir_drops_add(stream->drops, drop); /* fewer reasons than places */
}

void agent_gather_describe(struct agent_stream *stream, const struct weir_health *health,
                           const struct agent_gather_note *heard)
{
    stream->health = *health;
    stream->heard = *heard;
}

int64_t agent_gather_tick(struct agent_gather *gather, int64_t now_mono_ms)
{
    gather->now_mono_ms = now_mono_ms;
    while (gather->oldest != NULL) {
        int64_t due_ms = gather->oldest->opened_mono_ms + gather->conf.linger_ms - now_mono_ms;
        if (due_ms > 0) return due_ms;
        gather->counts.batches_linger++;
        close_batch(gather, gather->oldest);
    }
    return -1;
}

const struct agent_gather_counts *agent_gather_counted(const struct agent_gather *gather)
{
    return &gather->counts;
}

uint64_t agent_gather_flows_open(const struct agent_gather *gather)
{
    return gather->flows_open;
}

size_t agent_gather_extra_bytes(const struct agent_gather *gather)
{
    return gather->extra_bytes;
}
