/*
 * What a flow costs the aggregator, stage by stage: CPU ns per flow to commit (synced groups of batches), to decode the
 * columns a roll-up needs, to roll up, and to write the rows; bytes on disk. The flows of tests/bench/gen, 4,096 a batch.
 *
 *     build/release/bench/bench.roll [flows [flows per second of event time [codec]]]
 */
#include "aggregator/roll.h"
#include "aggregator/store/block.h"
#include "aggregator/store/store.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/wire/batch.h"
#include "tests/bench/gen/gen.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    GROUP = 8,
    SHARD = 17,
    FLUSH_MS = 30000,
    MINUTES_BYTES = 128 << 20,
    HOURS_BYTES = 256 << 20 /* as with 1 GiB */
};

static double cpu_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void must(int rc, const char *what)
{
    if (rc >= 0) return;
    fprintf(stderr, "%s: %s\n", what, weir_err_text(rc));
    exit(1);
}

struct out {
    struct agg_bulk *bulk;
    uint64_t rows;
};

static int put_source(void *ctx, struct weir_view key, struct weir_view value)
{
    struct out *out = ctx;
    out->rows++;
    return agg_bulk_merge(out->bulk, key, value);
}

static int put_chunk(void *ctx, struct weir_view key, struct weir_view value, uint32_t rows)
{
    struct out *out = ctx;
    out->rows += rows;
    return agg_bulk_put(out->bulk, key, value);
}

static int begin_shard(void *ctx, uint32_t shard, uint64_t *upto)
{
    static uint64_t writings;
    (void)ctx;
    (void)shard;
    *upto = ++writings;
    return 0;
}

/** Write the rows of a tier; returns how many. */
static uint64_t write_rows(struct agg_store *store, struct agg_roll *roll, enum agg_tier tier)
{
    struct weir_why why = {0};
    struct out out = {0};
    must(agg_bulk_create(store, tier == AGG_TIER_1M ? AGG_FAMILY_ROLLUP_1M : AGG_FAMILY_ROLLUP_1H, &out.bulk, &why),
         why.text);
    struct agg_roll_sink sink = {.ctx = &out, .shard = begin_shard, .source = put_source, .chunk = put_chunk};
    must(agg_roll_emit(roll, tier, &sink), "emit");
    must(agg_bulk_commit(out.bulk, &why), why.text);
    agg_bulk_destroy(out.bulk);
    return out.rows;
}

struct encoded {
    struct weir_batch_header header;
    struct weir_buf bytes; /* header, body */
    size_t header_bytes;
    int64_t received_ms;
};

int main(int argc, char **argv)
{
    uint64_t flows = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000000;
    uint64_t per_second = argc > 2 ? strtoull(argv[2], NULL, 10) : 50000;
    int codec = argc > 3 ? weir_codec_of(argv[3]) : WEIR_CODEC_LZ4;
    must(codec, "codec");
    size_t batches = flows / WEIR_BATCH_MOST;
    flows = batches * WEIR_BATCH_MOST;

    struct gen *gen = NULL;
    must(gen_create(&GEN_DEFAULTS, &gen), "generator");
    struct weir_batch *batch = NULL;
    struct weir_batch_encoder *encoder = NULL;
    struct weir_batch_decoder *decoder = NULL;
    must(weir_batch_create(WEIR_BATCH_MOST, &batch), "batch");
    must(weir_batch_encoder_create(codec, &encoder), "encoder");
    must(weir_batch_decoder_create(&decoder), "decoder");
    struct encoded *encoded = calloc(batches, sizeof *encoded);
    int64_t begin_ms = 1790000000000;
    size_t encoded_bytes = 0;
    for (size_t i = 0; i < batches; i++) {
        int64_t now_ms = begin_ms + (int64_t)(i * WEIR_BATCH_MOST * 1000 / per_second);
        weir_batch_clear(batch);
        batch->source = (struct weir_source){.exporter = gen_exporter_ip(0), .domain = 1};
        batch->first_received_ms = batch->last_received_ms = now_ms;
        for (int row = 0; row < WEIR_BATCH_MOST; row++) {
            struct weir_flow flow = gen_flow(gen, now_ms, false);
            must(weir_batch_append(batch, &flow), "append");
        }
        struct weir_buf body = WEIR_BUF_INIT;
        must(weir_batch_encode(encoder, batch, &encoded[i].header, &body), "encode");
        must(weir_batch_header_encode(&encoded[i].header, &encoded[i].bytes), "header");
        encoded[i].header_bytes = encoded[i].bytes.size;
        weir_buf_append(&encoded[i].bytes, body.data, body.size);
        encoded[i].received_ms = now_ms;
        encoded_bytes += encoded[i].bytes.size;
        weir_buf_fini(&body);
    }

    char path[] = "/tmp/weir-bench-roll-XXXXXX";
    if (mkdtemp(path) == NULL) must(WEIR_EIO, path);
    struct agg_store_conf conf = {
        .path = path, .cache_bytes = 128 << 20, .buffer_bytes = 128 << 20, .log_bytes = 128 << 20, .background = 2};
    struct agg_store *store = NULL;
    struct weir_why why = {0};
    if (agg_store_open(&conf, &store, &why) < 0) must(WEIR_EIO, why.text);
    struct agg_roll *roll = NULL;
    must(agg_roll_create(1, 16 << 20, &roll), "roll");
    struct agg_write *write = NULL;
    must(agg_write_create(&write), "write");

    double commit = 0, decode = 0, add = 0, sort = 0, emit = 0, begin = cpu_s(CLOCK_PROCESS_CPUTIME_ID),
           wall = (double)weir_mono_us();
    uint64_t groups = 0, minute_rows = 0, hour_rows = 0;
    int64_t flushed_ms = begin_ms;
    struct weir_buf entry = WEIR_BUF_INIT;
    for (size_t i = 0; i < batches; i += GROUP) {
        size_t end = i + GROUP < batches ? i + GROUP : batches;
        double t = cpu_s(CLOCK_THREAD_CPUTIME_ID);
        for (size_t j = i; j < end; j++) {
            struct agg_place place = {
                .shard = SHARD, .hour = (uint32_t)(encoded[j].received_ms / 3600000), .number = j};
            struct agg_key key = agg_key_block(&place);
            struct agg_block block = {.seq = j,
                                      .commit_ms = encoded[j].received_ms,
                                      .site = weir_view_text("fra1"),
                                      .name = weir_view_text("edge"),
                                      .header = weir_view_of(encoded[j].bytes.data, encoded[j].header_bytes)};
            struct weir_view body = weir_view_of(encoded[j].bytes.data + encoded[j].header_bytes,
                                                 encoded[j].bytes.size - encoded[j].header_bytes);
            (void)weir_batch_crc(block.header, body);
            weir_buf_clear(&entry);
            agg_block_encode(&block, &entry);
            agg_write_put(write, store, AGG_FAMILY_BLOCK, agg_key_view(&key), weir_buf_view(&entry));
            agg_write_put(write, store, AGG_FAMILY_FLOWS, agg_key_view(&key), body);
        }
        must(agg_store_write(store, write, AGG_SYNCED, &why), why.text);
        agg_write_clear(write);
        groups++;
        commit += cpu_s(CLOCK_THREAD_CPUTIME_ID) - t;
        for (size_t j = i; j < end; j++) {
            t = cpu_s(CLOCK_THREAD_CPUTIME_ID);
            must(weir_batch_decode(decoder, &encoded[j].header,
                                   weir_view_of(encoded[j].bytes.data + encoded[j].header_bytes,
                                                encoded[j].bytes.size - encoded[j].header_bytes),
                                   agg_roll_columns, batch),
                 "decode");
            decode += cpu_s(CLOCK_THREAD_CPUTIME_ID) - t;
            t = cpu_s(CLOCK_THREAD_CPUTIME_ID);
            struct agg_roll_batch of = {.shard = SHARD,
                                        .commit_ms = encoded[j].received_ms,
                                        .site = "fra1",
                                        .agent = "edge",
                                        .header = &encoded[j].header,
                                        .batch = batch};
            must(agg_roll_add(roll, &of), "roll");
            add += cpu_s(CLOCK_THREAD_CPUTIME_ID) - t;
        }
        bool due = encoded[end - 1].received_ms - flushed_ms >= FLUSH_MS || end == batches;
        if (!due && agg_roll_bytes(roll, AGG_TIER_1M) < MINUTES_BYTES) continue;
        flushed_ms = encoded[end - 1].received_ms;
        t = cpu_s(CLOCK_THREAD_CPUTIME_ID);
        must(agg_roll_compact(roll, AGG_TIER_1M), "compact");
        sort += cpu_s(CLOCK_THREAD_CPUTIME_ID) - t;
        t = cpu_s(CLOCK_THREAD_CPUTIME_ID);
        minute_rows += write_rows(store, roll, AGG_TIER_1M);
        must(agg_roll_prepare_fold(roll), "fold");
        agg_roll_fold(roll);
        if (end == batches || agg_roll_bytes(roll, AGG_TIER_1H) > HOURS_BYTES) {
            hour_rows += write_rows(store, roll, AGG_TIER_1H);
            agg_roll_clear(roll, AGG_TIER_1H);
        }
        emit += cpu_s(CLOCK_THREAD_CPUTIME_ID) - t;
    }
    double total = cpu_s(CLOCK_PROCESS_CPUTIME_ID) - begin;
    wall = ((double)weir_mono_us() - wall) * 1e-6;
    struct agg_store_stats stats;
    agg_store_stats(store, &stats);

    double n = (double)flows;
    printf("%llu flows, %s, %.1f s wall, %.0f synced groups/s\n", (unsigned long long)flows, weir_codec_name(codec),
           wall, (double)groups / wall);
    printf(
        "CPU ns/flow: commit %.1f (sync and background of the store aside), decode %.1f, roll %.1f, sort minutes %.1f, "
        "write rows %.1f; all, with the store's background: %.1f\n",
        commit / n * 1e9, decode / n * 1e9, add / n * 1e9, sort / n * 1e9, emit / n * 1e9, total / n * 1e9);

    printf("rows: %.2f a flow by minute, %.2f by hour; roll tables %.0f MB\n", (double)minute_rows / n,
           (double)hour_rows / n,
           (double)(agg_roll_bytes(roll, AGG_TIER_1M) + agg_roll_bytes(roll, AGG_TIER_1H)) / 1e6);
    printf("bytes/flow: encoded %.1f;", (double)encoded_bytes / n);
    for (int f = 0; f < AGG_FAMILIES; f++)
        printf(" %s %.1f", agg_family_name(f), (double)stats.family_bytes[f] / n);
    printf("\n");

    for (size_t i = 0; i < batches; i++)
        weir_buf_fini(&encoded[i].bytes);
    free(encoded);
    weir_buf_fini(&entry);
    agg_write_destroy(write);
    agg_roll_destroy(roll);
    agg_store_close(store);
    weir_batch_decoder_destroy(decoder);
    weir_batch_encoder_destroy(encoder);
    weir_batch_destroy(batch);
    gen_destroy(gen);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", path);
    return system(command) == 0 ? 0 : 1;
}
