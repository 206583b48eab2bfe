#include "tests/support/agg_bench.h"

#include "common/base/clock.h"
#include "common/wire/batch.h"

#include "tests/support/cmocka.h"

void agg_bench_open(struct agg_bench *b, int64_t minutes_ms, size_t memory_bytes)
{
    if (b->folder[0] == '\0') make_folder(b->folder);
    struct weir_why why = {0};
    struct agg_store_conf conf = {
        .path = b->folder, .cache_bytes = 4 << 20, .buffer_bytes = 1 << 20, .log_bytes = 4 << 20, .background = 2};
    assert_int_equal(weir_metrics_init(&b->metrics, agg_counter_rows, AGG_COUNTERS), 0);
    if (agg_store_open(&conf, &b->store, &why) < 0) fail_msg("%s", why.text);
    struct agg_roller_conf roller = {.store = b->store,
                                     .metrics = &b->metrics,
                                     .seed = 1,
                                     .memory_bytes = memory_bytes,
                                     .minutes_ms = minutes_ms,
                                     .hours_ms = minutes_ms * 3,
                                     .pause_ms = 1};
    assert_int_equal(agg_roller_create(&roller, &b->roller, &why), 0);
    struct agg_place heads[WEIR_SHARDS];
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++)
        heads[shard] = agg_roller_head(b->roller, shard);
    assert_int_equal(agg_commit_create(b->store, heads, &b->commit), 0);
    assert_int_equal(weir_batch_encoder_create(WEIR_CODEC_LZ4, &b->encoder), 0);
}

void agg_bench_close(struct agg_bench *b)
{
    agg_roller_destroy(b->roller);
    agg_commit_destroy(b->commit);
    agg_store_close(b->store);
    weir_batch_encoder_destroy(b->encoder);
    weir_metrics_fini(&b->metrics);
}

static void write_until_taken(struct agg_bench *b, const struct agg_action *action, const struct agg_arrival *arrival,
                              int64_t commit_ms)
{
    struct weir_why why = {0};
    int rc;
    do {
        agg_commit_clear(b->commit);
        assert_int_equal(agg_commit_add(b->commit, action, arrival, commit_ms), 0);
        rc = agg_commit_write(b->commit, &why);
    } while (rc == WEIR_EAGAIN); /* so small a store stalls now and then */
    if (rc < 0) fail_msg("%s", why.text);
}

struct agg_place agg_bench_commit(struct agg_bench *b, const struct agg_bench_batch *of)
{
    struct weir_batch_header header;
    struct weir_buf header_bytes = WEIR_BUF_INIT, body = WEIR_BUF_INIT;
    assert_int_equal(weir_batch_encode(b->encoder, of->batch, &header, &body), 0);
    if (of->batch->count == 0) {
        header.kind = WEIR_RECORD_LOSS;
        header.totals.flows = 3;
        header.lost_to_seq = b->seq + 1;
        weir_buf_clear(&body);
    }
    assert_int_equal(weir_batch_header_encode(&header, &header_bytes), 0);
    struct weir_msg msg = {.kind = WEIR_MSG_STORE, .inc = 1, .shard = of->shard, .seq = ++b->seq};
    strcpy(msg.site, of->site);
    strcpy(msg.name, of->agent);
    struct agg_action action = {.lane = {.inc = 1, .shard = msg.shard}, .mark = {.seq = msg.seq}};
    struct agg_arrival arrival = {
        .msg = &msg, .header = &header, .header_bytes = weir_buf_view(&header_bytes), .body = weir_buf_view(&body)};
    write_until_taken(b, &action, &arrival, of->commit_ms);

    const struct agg_committed *committed = agg_commit_at(b->commit, 0);
    struct agg_place place = committed->of.place;
    struct weir_batch *copy = NULL;
    if (of->hand_over && committed->body_bytes > 0) {
        assert_int_equal(weir_batch_create(of->batch->count, &copy), 0);
        assert_int_equal(weir_batch_append_rows(copy, of->batch, 0, of->batch->count), 0);
        copy->drops = of->batch->drops;
    }
    if (of->hand_over) agg_roller_offer(b->roller, &committed->of, copy == NULL ? NULL : &copy);
    agg_commit_clear(b->commit);
    weir_batch_destroy(copy);
    weir_buf_fini(&body);
    weir_buf_fini(&header_bytes);
    return place;
}

void agg_bench_catch_up(struct agg_bench *b)
{
    for (int tier = 0; tier < AGG_TIERS; tier++)
        assert_int_equal(agg_roller_catch_up(b->roller, tier, weir_mono_ms() + 60000), 0);
}
