#include "tests/support/agg_rows.h"

#include "aggregator/store/block.h"
#include "aggregator/store/chunk.h"
#include "aggregator/window.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/flow/orient.h"
#include "common/wire/batch.h"

#include "tests/support/cmocka.h"

void agg_rows_init(struct agg_rows *rows)
{
    *rows = (struct agg_rows){0};
    weir_table_init(&rows->table, sizeof(struct agg_key_copy), sizeof(struct agg_row));
}

void agg_rows_fini(struct agg_rows *rows)
{
    weir_table_fini(&rows->table);
}

static uint64_t hash_of(const struct agg_key_copy *key)
{
    return weir_hash64(key, sizeof *key, 0);
}

static struct agg_key_copy copy_of(struct weir_view key)
{
    struct agg_key_copy copy = {.size = (uint8_t)key.size};
    memcpy(copy.bytes, key.data, key.size);
    return copy;
}

struct agg_row *agg_rows_at(struct agg_rows *rows, struct weir_view key)
{
    struct agg_key_copy copy = copy_of(key);
    struct agg_row *row = weir_table_add(&rows->table, &copy, hash_of(&copy), NULL);
    assert_non_null(row);
    return row;
}

/** The dimensions of a row of another table than that of sources; what its table does not have is 0. */
struct dims {
    uint32_t shard;
    enum agg_table table;
    uint32_t window;
    struct weir_ip ip[2];
    uint8_t proto;
    uint16_t port;
};

/** Under a key of its own: in the store such rows have none, they lie in chunks. */
static struct agg_row *row_of(struct agg_rows *rows, const struct dims *dims)
{
    struct agg_key prefix = agg_key_window(dims->shard, (uint8_t)dims->table, dims->window);
    struct weir_buf key = WEIR_BUF_INIT;
    weir_buf_append(&key, prefix.bytes, prefix.size);
    weir_buf_append(&key, dims->ip, sizeof dims->ip);
    weir_buf_u8(&key, dims->proto);
    weir_buf_u16be(&key, dims->port);
    assert_false(key.failed);
    struct agg_row *row = agg_rows_at(rows, weir_buf_view(&key));
    weir_buf_fini(&key);
    return row;
}

static struct agg_row *source_row_of(struct agg_rows *rows, const struct agg_row_key *key)
{
    uint8_t bytes[AGG_ROW_KEY_MOST];
    size_t size = agg_row_key_encode(key, bytes);
    return agg_rows_at(rows, weir_view_of(bytes, size));
}

static void assert_grows(struct agg_rows *rows, struct weir_view key)
{
    size_t shorter = key.size < rows->last.size ? key.size : rows->last.size;
    int order = memcmp(rows->last.bytes, key.data, shorter);
    assert_true(rows->given == 0 || order < 0 || (order == 0 && rows->last.size < key.size));
    rows->last = copy_of(key);
}

static int take_source(void *ctx, struct weir_view key, struct weir_view value)
{
    struct agg_rows *rows = ctx;
    assert_grows(rows, key);
    rows->given++;
    assert_int_equal(agg_row_decode_add(value, agg_rows_at(rows, key)), 0);
    return 0;
}

/** Add the rows of a chunk; returns how many. */
static uint32_t add_chunk(struct agg_rows *rows, struct weir_view key, struct weir_view value)
{
    struct agg_chunk *chunk = weir_malloc(sizeof *chunk);
    assert_non_null(chunk);
    assert_int_equal(agg_chunk_decode(value, key.data[2], chunk), 0);
    for (uint32_t i = 0; i < chunk->count; i++) {
        struct dims of = {.shard = weir_load_u16be(key.data),
                          .table = key.data[2],
                          .window = weir_load_u32be(key.data + 3),
                          .ip = {agg_chunk_ip(chunk, 0, i)}};
        if (of.table == AGG_TABLE_PAIR) of.ip[1] = agg_chunk_ip(chunk, 1, i);
        if (of.table == AGG_TABLE_SERVICE) {
            of.proto = chunk->proto[i];
            of.port = chunk->port[i];
        }
        struct weir_counts counts = agg_chunk_counts(chunk, i);
        weir_counts_add(&row_of(rows, &of)->counts, &counts);
    }
    uint32_t count = chunk->count;
    weir_free(chunk);
    return count;
}

static int take_chunk(void *ctx, struct weir_view key, struct weir_view value, uint32_t count)
{
    struct agg_rows *rows = ctx;
    assert_grows(rows, key);
    rows->given++;
    assert_int_equal(add_chunk(rows, key, value), count);
    return 0;
}

static int take_shard(void *ctx, uint32_t shard, uint64_t *upto)
{
    (void)shard;
    *upto = ++((struct agg_rows *)ctx)->shards;
    return 0;
}

struct agg_roll_sink agg_rows_sink(struct agg_rows *rows)
{
    rows->given = 0;
    return (struct agg_roll_sink){.ctx = rows, .shard = take_shard, .source = take_source, .chunk = take_chunk};
}

static struct agg_row_key source_key(const struct agg_roll_batch *of, uint32_t window)
{
    struct agg_row_key key = {
        .shard = of->shard, .window = window, .source = of->header->source, .protocol = of->header->protocol};
    strcpy(key.site, of->site);
    strcpy(key.agent, of->agent);
    return key;
}

static void add_counts(struct agg_rows *rows, struct dims dims, enum agg_table table, struct weir_ip first,
                       const struct weir_counts *counts)
{
    dims.table = table;
    dims.ip[0] = first;
    if (table != AGG_TABLE_PAIR) dims.ip[1] = (struct weir_ip){{0}};
    weir_counts_add(&row_of(rows, &dims)->counts, counts);
}

void agg_rows_add_flow(struct agg_rows *rows, enum agg_tier tier, const struct agg_roll_batch *of,
                       const struct weir_flow *flow)
{
    struct agg_span span = agg_span_of(flow->start_ms, flow->end_ms, of->header->last_received_ms, of->commit_ms);
    int64_t first = agg_first_window(&span, AGG_MINUTE_MS), last = agg_last_window(&span, AGG_MINUTE_MS);
    int64_t stride = (last - first + 1 + AGG_WINDOWS_MOST - 1) / AGG_WINDOWS_MOST;
    for (int64_t minute = first; minute <= last; minute += stride) {
        int64_t from_ms = minute * AGG_MINUTE_MS, to_ms = (minute + stride) * AGG_MINUTE_MS;
        struct weir_counts counts =
            weir_counts_of(minute == first, agg_part_within(flow->packets, &span, from_ms, to_ms),
                           agg_part_within(flow->bytes, &span, from_ms, to_ms), flow->sampling_one_in);
        if (counts.flows == 0 && counts.packets == 0 && counts.bytes == 0) continue;
        struct agg_row_key key = source_key(of, (uint32_t)(tier == AGG_TIER_1M ? minute : minute / 60));
        weir_counts_add(&source_row_of(rows, &key)->counts, &counts);
        struct dims dims = {.shard = key.shard, .window = key.window, .ip = {{{0}}, flow->dst_ip}};
        add_counts(rows, dims, AGG_TABLE_SRC, flow->src_ip, &counts);
        add_counts(rows, dims, AGG_TABLE_DST, flow->dst_ip, &counts);
        add_counts(rows, dims, AGG_TABLE_PAIR, flow->src_ip, &counts);
        if (weir_ip_equal(&flow->src_ip, &flow->dst_ip)) add_counts(rows, dims, AGG_TABLE_SELF, flow->src_ip, &counts);
        struct weir_oriented oriented = weir_orient_flow(flow);
        dims.proto = flow->proto;
        dims.port = weir_server_port(oriented, flow->proto, flow->src_port, flow->dst_port);
        add_counts(rows, dims, AGG_TABLE_SERVICE, oriented.src_is_server ? flow->src_ip : flow->dst_ip, &counts);
    }
}

void agg_rows_add_heard(struct agg_rows *rows, enum agg_tier tier, const struct agg_roll_batch *of)
{
    int64_t heard_ms = agg_clamp_ms(of->header->last_received_ms, of->commit_ms);
    struct agg_row_key key = source_key(of, (uint32_t)(heard_ms / agg_tier_ms(tier)));
    bool loss = of->header->kind == WEIR_RECORD_LOSS;
    struct agg_row more = {.batches = 1,
                           .lost = {.sequence = of->header->loss.sequence_lost,
                                    .templates = of->header->loss.template_missing,
                                    .undecodable = of->header->loss.undecodable,
                                    .socket_drops = of->header->loss.socket_drops,
                                    .spool = loss ? of->header->totals.flows : 0}};
    agg_row_add(&more, source_row_of(rows, &key));

    uint64_t explained[WEIR_DROP_OF_ITSELF + 1] = {0};
    for (uint32_t i = 0; of->batch != NULL && i < of->batch->drops.count; i++) {
        struct agg_row dropped = {.drop = of->batch->drops.at[i]};
        key.reason = dropped.drop.reason;
        explained[weir_drop_info(key.reason)->loss] += dropped.drop.count;
        agg_row_add(&dropped, source_row_of(rows, &key));
    }
    const struct weir_loss *lost = &of->header->loss;
    struct agg_row rest = {.drop = {.first_ms = heard_ms, .last_ms = heard_ms}};
    key.reason = WEIR_DROP_unexplained;
    rest.drop.count = lost->undecodable - explained[WEIR_DROP_OF_UNDECODABLE];
    if (rest.drop.count > 0) agg_row_add(&rest, source_row_of(rows, &key));
    key.reason = WEIR_DROP_template_missing;
    rest.drop.count = lost->template_missing - explained[WEIR_DROP_OF_TEMPLATES];
    if (rest.drop.count > 0) agg_row_add(&rest, source_row_of(rows, &key));
}

void agg_rows_add_batch(struct agg_rows *rows, enum agg_tier tier, const struct agg_roll_batch *of)
{
    for (uint32_t i = 0; of->batch != NULL && i < of->batch->count; i++) {
        struct weir_flow flow;
        weir_batch_get(of->batch, i, &flow);
        agg_rows_add_flow(rows, tier, of, &flow);
    }
    agg_rows_add_heard(rows, tier, of);
}

static struct agg_iter *iterate(struct agg_store *store, enum agg_family family)
{
    static const uint8_t past[] = {0xff, 0xff, 0xff};
    struct agg_iter *iter = NULL;
    assert_int_equal(agg_iter_create(store, NULL, family, weir_view_of(NULL, 0), weir_view_of(past, sizeof past),
                                     AGG_ITER_SCAN, &iter),
                     0);
    return iter;
}

void agg_rows_read(struct agg_rows *rows, enum agg_tier tier, struct agg_store *store)
{
    struct agg_iter *iter = iterate(store, tier == AGG_TIER_1M ? AGG_FAMILY_ROLLUP_1M : AGG_FAMILY_ROLLUP_1H);
    for (; agg_iter_valid(iter); agg_iter_next(iter)) {
        struct weir_view key = agg_iter_key(iter);
        if (key.data[2] == 0) continue; /* the rolled mark */
        if (key.data[2] != AGG_TABLE_SOURCE) {
            (void)add_chunk(rows, key, agg_iter_value(iter));
            continue;
        }
        struct agg_row_key decoded;
        assert_int_equal(agg_row_key_decode(key, &decoded), 0);
        assert_int_equal(agg_row_decode_add(agg_iter_value(iter), agg_rows_at(rows, key)), 0);
    }
    assert_int_equal(agg_iter_error(iter, NULL), 0);
    agg_iter_destroy(iter);
}

uint64_t agg_rows_of_blocks(struct agg_rows *rows, enum agg_tier tier, struct agg_store *store)
{
    struct weir_batch_decoder *decoder = NULL;
    struct weir_batch *batch = NULL;
    assert_int_equal(weir_batch_decoder_create(&decoder), 0);
    assert_int_equal(weir_batch_create(1, &batch), 0);
    uint64_t blocks = 0;
    struct agg_iter *iter = iterate(store, AGG_FAMILY_BLOCK);
    for (; agg_iter_valid(iter); agg_iter_next(iter)) {
        struct agg_block block;
        struct weir_batch_header header;
        struct agg_place place = {0};
        assert_int_equal(agg_key_read_block(agg_iter_key(iter), &place), 0);
        assert_int_equal(agg_block_decode(agg_iter_value(iter), &block), 0);
        assert_int_equal(weir_batch_header_decode(block.header, &header), 0);
        if (block.body_bytes > 0) {
            struct agg_lease lease;
            assert_int_equal(agg_store_lend(store, NULL, AGG_FAMILY_FLOWS, agg_iter_key(iter), &lease), 0);
            assert_int_equal(weir_batch_decode(decoder, &header, lease.value, WEIR_COLUMNS_ALL, batch), 0);
            agg_lease_return(&lease);
        }
        char site[WEIR_NAME_BYTES] = "", agent[WEIR_NAME_BYTES] = "";
        memcpy(site, block.site.data, block.site.size);
        memcpy(agent, block.name.data, block.name.size);
        struct agg_roll_batch of = {.shard = place.shard,
                                    .commit_ms = block.commit_ms,
                                    .site = site,
                                    .agent = agent,
                                    .header = &header,
                                    .batch = block.body_bytes > 0 ? batch : NULL};
        agg_rows_add_batch(rows, tier, &of);
        blocks++;
    }
    assert_int_equal(agg_iter_error(iter, NULL), 0);
    agg_iter_destroy(iter);
    weir_batch_destroy(batch);
    weir_batch_decoder_destroy(decoder);
    return blocks;
}

static bool is_near(double a, double b)
{
    return a >= b * 0.999999 && a <= b * 1.000001;
}

void agg_rows_assert_same(struct agg_rows *got, struct agg_rows *want)
{
    assert_int_equal(got->table.count, want->table.count);
    size_t at = 0;
    void *value;
    const struct agg_key_copy *key;
    while ((key = weir_table_next(&want->table, &at, &value)) != NULL) {
        const struct agg_row *b = value, *a = weir_table_find(&got->table, key, hash_of(key));
        assert_non_null(a);
        assert_int_equal(a->counts.flows, b->counts.flows);
        assert_int_equal(a->counts.packets, b->counts.packets);
        assert_int_equal(a->counts.bytes, b->counts.bytes);
        assert_int_equal(a->counts.scaled_packets, b->counts.scaled_packets);
        assert_int_equal(a->counts.scaled_bytes, b->counts.scaled_bytes);
        assert_true(is_near(a->counts.packets_variance, b->counts.packets_variance));
        assert_true(is_near(a->counts.bytes_variance, b->counts.bytes_variance));
        assert_int_equal(a->batches, b->batches);
        assert_memory_equal(&a->lost, &b->lost, sizeof a->lost);
        assert_int_equal(a->drop.count, b->drop.count);
        assert_int_equal(a->drop.first_ms, b->drop.first_ms);
        assert_int_equal(a->drop.last_ms, b->drop.last_ms);
        assert_int_equal(a->drop.example_ms, b->drop.example_ms);
        assert_int_equal(a->drop.bytes, b->drop.bytes);
        assert_int_equal(a->drop.head_size, b->drop.head_size);
        assert_memory_equal(a->drop.head, b->drop.head, b->drop.head_size);
    }
}
