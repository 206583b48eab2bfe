#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/wire/batch.h"
#include "common/wire/body.h"
#include "weir/v1/batch.pb-c.h"

#include "tests/support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>

/** A small generator of our own: the same numbers on every machine. */
static uint64_t random_next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/** A value of @bytes bytes whose distribution, one of eight, leads to another encoding. */
static uint64_t random_value(uint64_t *seed, uint32_t style, uint32_t bytes)
{
    uint64_t any = random_next(seed);
    uint64_t mask = bytes >= 8 ? UINT64_MAX : (1ull << 8 * bytes) - 1;
    switch (style) {
    case 0: return 0x1234567890abcdefull & mask;                            /* constant */
    case 1: return any % 200;                                               /* narrow */
    case 2: return ((0x00fedcba98000000ull & mask) | (any & 0x1ff)) & mask; /* a common high part */
    case 3: return (any % 12) * 0x0001000100010001ull & mask;               /* few distinct */
    case 4: return any >> (any & 63) & mask;                                /* any width */
    case 5: return (any % 50 == 0 ? any >> 8 : any >> 8 & 31) & mask;       /* few that are far from the rest */
    case 6: return (any % 300) * 211 & mask;                                /* few distinct, in a table's reach */
    default: return any & mask;
    }
}

static struct weir_ip random_ip(uint64_t *seed, uint32_t style)
{
    uint64_t any = random_next(seed);
    uint8_t bytes[16] = {0x20, 0x01, 0x0d, 0xb8};
    switch (style) {
    case 0: weir_store_u32be(bytes + 12, 7); return weir_ip_from_v6(bytes);
    case 1: weir_store_u32be(bytes + 12, 0x0a000001); return weir_ip_from_v4(bytes + 12);
    case 2: weir_store_u32be(bytes + 12, 0x0a000000 + (uint32_t)(any % 40)); return weir_ip_from_v4(bytes + 12);
    case 3: weir_store_u32be(bytes + 12, (uint32_t)any); return weir_ip_from_v4(bytes + 12);
    case 4: weir_store_u32be(bytes + 12, (uint32_t)(any % 40)); return weir_ip_from_v6(bytes);
    case 5: weir_store_u32be(bytes + 12, (any & 7) << 24 | (any >> 8 & 0xffff)); return weir_ip_from_v4(bytes + 12);
    case 6: weir_store_u32be(bytes + 12, 0xc6336400 | (any & 0x1ff)); return weir_ip_from_v4(bytes + 12);
    default: /* mixed */
        weir_store_u64be(bytes + 8, any);
        return any & 1 ? weir_ip_from_v6(bytes) : weir_ip_from_v4(bytes + 12);
    }
}

static struct weir_batch *random_batch(uint64_t *seed, uint32_t count)
{
    struct weir_batch *batch = NULL;
    assert_int_equal(weir_batch_create(WEIR_BATCH_MOST, &batch), 0);
    batch->source.exporter = random_ip(seed, (uint32_t)(random_next(seed) % 8));
    batch->source.domain = (uint32_t)random_next(seed);
    batch->protocol = WEIR_PROTOCOL_IPFIX;
    batch->first_received_ms = 1700000000000;
    batch->last_received_ms = 1700000000200;
    batch->last_export_ms = 1699999999000;
    batch->loss = (struct weir_loss){1, 2, 3, 4};
    batch->health.templates = (uint32_t)random_next(seed);
    batch->health.waiting = (uint32_t)random_next(seed);
    batch->health.has_skew = random_next(seed) % 2 == 0;
    batch->health.skew_ms = batch->health.has_skew ? (int64_t)random_next(seed) : 0;
    uint64_t written = 0;
    for (int f = 0; f < WEIR_FIELD_COUNT; f++) {
        if (random_next(seed) % 4 == 0) continue;
        uint32_t style = (uint32_t)(random_next(seed) % 8);
        uint8_t *column = weir_batch_touch(batch, f);
        written |= 1ull << f;
        for (uint32_t i = 0; i < count; i++) {
            if (weir_fields[f].is_ip) {
                struct weir_ip ip = random_ip(seed, style);
                memcpy(column + i * sizeof ip, &ip, sizeof ip);
            } else {
                uint64_t value = random_value(seed, style, weir_fields[f].width);
                memcpy(column + (size_t)i * weir_fields[f].width, &value, weir_fields[f].width);
            }
        }
    }
    weir_batch_commit(batch, count, written);
    return batch;
}

static void assert_same_flows(const struct weir_batch *a, const struct weir_batch *b)
{
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->present, b->present);
    for (uint32_t i = 0; i < a->count; i++) {
        struct weir_flow left;
        struct weir_flow right;
        weir_batch_get(a, i, &left);
        weir_batch_get(b, i, &right);
        assert_true(weir_flow_equal(&left, &right));
    }
}

static void random_batches_come_back_with_every_codec(void **state)
{
    (void)state;
    uint64_t seed = 20240607;
    const uint32_t counts[] = {1, 2, 7, 63, 64, 300, 1000, WEIR_BATCH_MOST};
    struct weir_batch_decoder *decoder = NULL;
    struct weir_batch *got = NULL;
    assert_int_equal(weir_batch_decoder_create(&decoder), 0);
    assert_int_equal(weir_batch_create(1, &got), 0);
    for (int codec = WEIR_CODEC_NONE; codec <= WEIR_CODEC_ZSTD; codec++) {
        struct weir_batch_encoder *encoder = NULL;
        assert_int_equal(weir_batch_encoder_create(codec, &encoder), 0);
        for (uint32_t round = 0; round < 80; round++) {
            struct weir_batch *batch = random_batch(&seed, counts[round % 8]);
            struct weir_batch_header header;
            struct weir_batch_header same;
            struct weir_buf head = WEIR_BUF_INIT;
            struct weir_buf body = WEIR_BUF_INIT;
            assert_int_equal(weir_batch_encode(encoder, batch, &header, &body), 0);
            assert_int_equal(weir_batch_header_encode(&header, &head), 0);
            assert_int_equal(weir_batch_header_decode(weir_buf_view(&head), &same), 0);
            assert_true(body.size <= WEIR_BODY_BYTES_MOST);
            assert_int_equal(same.totals.flows, batch->count);
            assert_int_equal(same.present, batch->present);
            assert_int_equal(same.raw_bytes, header.raw_bytes);

            assert_int_equal(weir_batch_decode(decoder, &same, weir_buf_view(&body), WEIR_COLUMNS_ALL, got), 0);
            assert_true(weir_batch_check(got));
            assert_same_flows(got, batch);
            assert_memory_equal(&got->source, &batch->source, sizeof batch->source);
            assert_memory_equal(&got->loss, &batch->loss, sizeof batch->loss);
            assert_int_equal(got->health.templates, batch->health.templates);
            assert_int_equal(got->health.waiting, batch->health.waiting);
            assert_int_equal(got->health.has_skew, batch->health.has_skew);
            assert_int_equal(got->health.skew_ms, batch->health.skew_ms);
            assert_int_equal(got->protocol, batch->protocol);
            assert_int_equal(got->first_received_ms, batch->first_received_ms);
            assert_int_equal(got->last_received_ms, batch->last_received_ms);
            assert_int_equal(got->last_export_ms, batch->last_export_ms);
            weir_buf_fini(&head);
            weir_buf_fini(&body);
            weir_batch_destroy(batch);
        }
        weir_batch_encoder_destroy(encoder);
    }
    weir_batch_destroy(got);
    weir_batch_decoder_destroy(decoder);
}

struct encoded {
    struct weir_batch *batch;
    struct weir_batch_header header;
    struct weir_buf body;
    struct weir_batch_decoder *decoder;
    struct weir_batch *got;
};

static struct encoded encode(enum weir_codec codec, struct weir_batch *batch)
{
    struct encoded e = {.batch = batch};
    struct weir_batch_encoder *encoder = NULL;
    assert_int_equal(weir_batch_encoder_create(codec, &encoder), 0);
    assert_int_equal(weir_batch_encode(encoder, e.batch, &e.header, &e.body), 0);
    assert_int_equal(weir_batch_decoder_create(&e.decoder), 0);
    assert_int_equal(weir_batch_create(1, &e.got), 0);
    weir_batch_encoder_destroy(encoder);
    return e;
}

static void forget(struct encoded *e)
{
    weir_batch_destroy(e->batch);
    weir_batch_destroy(e->got);
    weir_batch_decoder_destroy(e->decoder);
    weir_buf_fini(&e->body);
}

static int decode(struct encoded *e, uint64_t wanted)
{
    return weir_batch_decode(e->decoder, &e->header, weir_buf_view(&e->body), wanted, e->got);
}

static void only_wanted_columns_are_decoded(void **state)
{
    (void)state;
    struct weir_flow flow = {.start_ms = 5, .end_ms = 9, .bytes = 100, .dst_port = 53};
    struct weir_batch *batch = NULL;
    assert_int_equal(weir_batch_create(1, &batch), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(weir_batch_append(batch, &flow), 0);
    struct encoded e = encode(WEIR_CODEC_NONE, batch);

    assert_int_equal(decode(&e, 1ull << WEIR_FIELD_end_ms | 1ull << WEIR_FIELD_proto), 0);
    assert_int_equal(e.got->present, 1ull << WEIR_FIELD_end_ms); /* though its encoding needs start_ms */
    assert_int_equal(e.got->count, 3);
    assert_int_equal(((const int64_t *)e.got->column[WEIR_FIELD_end_ms])[2], 9);
    assert_int_equal(decode(&e, 0), 0);
    assert_int_equal(e.got->present, 0);
    assert_int_equal(e.got->count, 3);
    forget(&e);
}

static void a_batch_of_losses_only_has_an_empty_body(void **state)
{
    (void)state;
    struct weir_batch *batch = NULL;
    assert_int_equal(weir_batch_create(1, &batch), 0);
    batch->loss.sequence_lost = 12;
    struct encoded e = encode(WEIR_CODEC_ZSTD, batch);
    assert_int_equal(e.body.size, 0);
    assert_int_equal(decode(&e, WEIR_COLUMNS_ALL), 0);
    assert_int_equal(e.got->count, 0);
    assert_int_equal(e.got->loss.sequence_lost, 12);
    forget(&e);
}

static void assert_same_drops(const struct weir_drops *got, const struct weir_drops *want)
{
    assert_int_equal(got->count, want->count);
    for (uint32_t i = 0; i < want->count; i++) {
        const struct weir_drop *a = &got->at[i], *b = &want->at[i];
        assert_int_equal(a->reason, b->reason);
        assert_int_equal(a->count, b->count);
        assert_int_equal(a->first_ms, b->first_ms);
        assert_int_equal(a->last_ms, b->last_ms);
        assert_int_equal(a->example_ms, b->example_ms);
        assert_int_equal(a->bytes, b->bytes);
        assert_int_equal(a->head_size, b->head_size);
        assert_memory_equal(a->head, b->head, b->head_size);
    }
}

static void drops_come_back_with_flows_and_without_them(void **state)
{
    (void)state;
    uint8_t bytes[9000] = {0xde, 0xad};
    for (int flows = 0; flows < 2; flows++) {
        for (int codec = WEIR_CODEC_NONE; codec <= WEIR_CODEC_ZSTD; codec++) {
            struct weir_flow flow = {.bytes = 100};
            struct weir_batch *batch = NULL;
            assert_int_equal(weir_batch_create(1, &batch), 0);
            if (flows > 0) assert_int_equal(weir_batch_append(batch, &flow), 0);
            for (int i = 1; i <= WEIR_DROPS_MOST; i++) {
                struct weir_drop drop =
                    weir_drop_of((enum weir_drop_reason)(i * 15), INT64_MAX - i, weir_view_of(bytes, (size_t)i * 500));
                if (i % 3 == 0) drop.example_ms = drop.bytes = drop.head_size = 0;
                drop.count = UINT64_MAX / 2 - (uint64_t)i;
                assert_true(weir_drops_add(&batch->drops, &drop));
            }
            struct encoded e = encode(codec, batch);
            assert_int_equal(decode(&e, WEIR_COLUMNS_ALL), 0);
            assert_int_equal(e.got->count, flows);
            assert_same_drops(&e.got->drops, &batch->drops);
            assert_int_equal(decode(&e, 0), 0); /* who wants no column has them, too */
            assert_int_equal(e.got->drops.count, WEIR_DROPS_MOST);
            forget(&e);
        }
    }
}

/** A body of one drop with the fields of @drop, protobuf in hexadecimal, in a batch without flows. */
static int decode_drop(const char *hex, struct weir_drops *ret)
{
    struct weir_batch *batch = NULL;
    uint8_t bytes[256];
    size_t size = strlen(hex) / 2;
    bytes[0] = 0x1a;
    bytes[1] = (uint8_t)size;
    for (size_t i = 0; i < size; i++) {
        unsigned byte = 0;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        bytes[2 + i] = (uint8_t)byte;
    }
    assert_int_equal(weir_batch_create(1, &batch), 0);
    struct encoded e = encode(WEIR_CODEC_NONE, batch);
    weir_buf_append(&e.body, bytes, size + 2);
    e.header.raw_bytes = (uint32_t)size + 2;
    int rc = decode(&e, WEIR_COLUMNS_ALL);
    *ret = e.got->drops;
    forget(&e);
    return rc;
}

static void drops_that_break_the_format_are_refused(void **state)
{
    (void)state;
    struct weir_drops drops;
    assert_int_equal(decode_drop("0802100318d00f20d20f28d20f30043a02abcd420155", &drops), 0); /* and one more field */
    assert_int_equal(drops.count, 1);
    assert_int_equal(drops.at[0].reason, 2);
    assert_int_equal(drops.at[0].count, 3);
    assert_int_equal(drops.at[0].first_ms, 1000);
    assert_int_equal(drops.at[0].last_ms, 1001);
    assert_int_equal(drops.at[0].example_ms, 1001);
    assert_int_equal(drops.at[0].bytes, 4);
    assert_memory_equal(drops.at[0].head, "\xab\xcd", 2);
    static const char *const bad[] = {
        "",     /* no reason */
        "1003", /* likewise */
        "088002"
        "1003",                       /* reason 256 */
        "0802",                       /* none of it */
        "080210ffffffffffffffffff01", /* more than can be added up */
        "0802100318d20f20d00f",       /* the last before the first */
        "080210031801",               /* before 1970 */
        "080210032801",               /* likewise */
        "080210033a05abcd",           /* an example past its end */
        "080210033a41"
        "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "000000000000000000000000000000", /* one of 65 bytes */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(decode_drop(bad[i], &drops), WEIR_EFORMAT);
        assert_int_equal(drops.count, 0);
    }
}

static void a_column_without_rows_is_refused(void **state)
{
    (void)state;
    struct weir_batch *batch = NULL;
    const uint8_t column[] = {0x12, 0x06, 0x08, 0x01, 0x18, 0x04, 0x20, 0x05}; /* 4 bits wide, and no bits */
    assert_int_equal(weir_batch_create(1, &batch), 0);
    struct encoded e = encode(WEIR_CODEC_NONE, batch);
    weir_buf_append(&e.body, column, sizeof column);
    e.header.raw_bytes = sizeof column;
    assert_int_equal(decode(&e, WEIR_COLUMNS_ALL), WEIR_EFORMAT);
    forget(&e);
}

static void an_unknown_column_is_stepped_over(void **state)
{
    (void)state;
    struct weir_flow flow = {.bytes = 100};
    struct weir_batch *batch = NULL;
    assert_int_equal(weir_batch_create(1, &batch), 0);
    assert_int_equal(weir_batch_append(batch, &flow), 0);
    struct encoded e = encode(WEIR_CODEC_NONE, batch);
    const uint8_t unknown[] = {
        0x12, 0x08, 0x08, 0xff, 0x7f, 0x18, 0x09, 0x32, 0x01, 0x55,       /* element 16383 in encoding 9 */
        0x12, 0x09, 0x08, 0x01, 0x10, 0x09, 0x20, 0x01, 0x32, 0x01, 0x55, /* element 1 of enterprise 9 */
        0x2a, 0x01, 0x00, 0x21, 0,    0,    0,    0,    0,    0,    0,
        0,    0x2d, 0,    0,    0,    0, /* fields of a later schema */
    };
    weir_buf_append(&e.body, unknown, sizeof unknown);
    e.header.raw_bytes += sizeof unknown;
    assert_int_equal(decode(&e, WEIR_COLUMNS_ALL), 0);
    assert_int_equal(e.got->present, 1ull << WEIR_FIELD_bytes);
    assert_int_equal(((const uint64_t *)e.got->column[WEIR_FIELD_bytes])[0], 100);
    forget(&e);
}

/** Bodies written by hand, of two flows. */
static void bodies_that_break_the_format_are_refused(void **state)
{
    (void)state;
#define COLUMN(ie, encoding, width, ...) 0x08, ie, 0x18, encoding, 0x20, width, __VA_ARGS__
    static const struct {
        const char *what;
        int rc;
        uint8_t size;
        uint8_t bytes[64];
    } cases[] = {
        {"bytes, narrow", 0, 14, {0x08, 2, 0x12, 10, COLUMN(1, 1, 1, 0x32, 2, 5, 6)}},
        {"another count", WEIR_EFORMAT, 14, {0x08, 3, 0x12, 10, COLUMN(1, 1, 1, 0x32, 2, 5, 6)}},
        {"no count", WEIR_EFORMAT, 12, {0x12, 10, COLUMN(1, 1, 1, 0x32, 2, 5, 6)}},
        {"data too short", WEIR_EFORMAT, 13, {0x08, 2, 0x12, 9, COLUMN(1, 1, 1, 0x32, 1, 5)}},
        {"data too long", WEIR_EFORMAT, 15, {0x08, 2, 0x12, 11, COLUMN(1, 1, 1, 0x32, 3, 5, 6, 7)}},
        {"width 9", WEIR_EFORMAT, 14, {0x08, 2, 0x12, 10, COLUMN(1, 1, 9, 0x32, 2, 5, 6)}},
        {"wider than the field", WEIR_EFORMAT, 16, {0x08, 2, 0x12, 12, COLUMN(4, 1, 2, 0x32, 4, 5, 0, 6, 0)}},
        {"constant of width 0", WEIR_EFORMAT, 12, {0x08, 2, 0x12, 8, COLUMN(1, 0, 0, 0x32, 0)}},
        {"constant of two", WEIR_EFORMAT, 14, {0x08, 2, 0x12, 10, COLUMN(1, 0, 1, 0x32, 2, 5, 6)}},
        {"duration of bytes", WEIR_EFORMAT, 14, {0x08, 2, 0x12, 10, COLUMN(1, 3, 1, 0x32, 2, 5, 6)}},
        {"unknown encoding", WEIR_EUNSUPPORTED, 14, {0x08, 2, 0x12, 10, COLUMN(1, 8, 1, 0x32, 2, 5, 6)}},
        {"bits", 0, 44, {0x08, 2, 0x12, 40, COLUMN(1, 4, 3, 0x32, 32, 5, 0, 0, 0, 6)}},
        {"bits, a word too short", WEIR_EFORMAT, 40, {0x08, 2, 0x12, 36, COLUMN(1, 4, 3, 0x32, 28, 5, 0, 0, 0, 6)}},
        {"no bits at all", 0, 12, {0x08, 2, 0x12, 8, COLUMN(1, 4, 0, 0x28, 7)}},
        {"33 bits", WEIR_EFORMAT, 44, {0x08, 2, 0x12, 40, COLUMN(1, 4, 33, 0x32, 32, 5)}},
        {"more bits than the field", WEIR_EFORMAT, 44, {0x08, 2, 0x12, 40, COLUMN(4, 4, 9, 0x32, 32, 5)}},
        {"exception", 0, 51, {0x08, 2, 0x12, 47, COLUMN(1, 4, 3, 0x40, 1, 0x4a, 3, 1, 0, 9, 0x32, 32, 5)}},
        {"exception past the rows",
         WEIR_EFORMAT,
         51,
         {0x08, 2, 0x12, 47, COLUMN(1, 4, 3, 0x40, 1, 0x4a, 3, 2, 0, 9, 0x32, 32, 5)}},
        {"half an exception",
         WEIR_EFORMAT,
         50,
         {0x08, 2, 0x12, 46, COLUMN(1, 4, 3, 0x40, 1, 0x4a, 2, 1, 0, 0x32, 32, 5)}},
        {"exceptions of no width", WEIR_EFORMAT, 48, {0x08, 2, 0x12, 44, COLUMN(1, 4, 3, 0x4a, 2, 1, 0, 0x32, 32, 5)}},
        {"exception wider than the field",
         WEIR_EFORMAT,
         52,
         {0x08, 2, 0x12, 48, COLUMN(4, 4, 3, 0x40, 2, 0x4a, 4, 1, 0, 9, 9, 0x32, 32, 5)}},
        {"more exceptions than rows",
         WEIR_EFORMAT,
         57,
         {0x08, 2, 0x12, 53, COLUMN(1, 4, 3, 0x40, 1, 0x4a, 9, 1, 0, 9, 1, 0, 9, 1, 0, 9, 0x32, 32, 5)}},
        {"dictionary in bits", 0, 50, {0x08, 2, 0x12, 46, COLUMN(1, 5, 1, 0x3a, 2, 77, 78, 0x40, 1, 0x32, 32, 1)}},
        {"index past it in bits",
         WEIR_EFORMAT,
         50,
         {0x08, 2, 0x12, 46, COLUMN(1, 5, 2, 0x3a, 2, 77, 78, 0x40, 1, 0x32, 32, 2)}},
        {"index of 17 bits",
         WEIR_EFORMAT,
         50,
         {0x08, 2, 0x12, 46, COLUMN(1, 5, 17, 0x3a, 2, 77, 78, 0x40, 1, 0x32, 32, 1)}},
        {"duration of bytes in bits", WEIR_EFORMAT, 44, {0x08, 2, 0x12, 40, COLUMN(1, 6, 3, 0x32, 32, 5)}},
        {"prefixes of numbers", WEIR_EUNSUPPORTED, 44, {0x08, 2, 0x12, 40, COLUMN(1, 7, 16, 0x32, 32, 5)}},
        {"prefixes", 0, 50, {0x08, 2, 0x12, 46, COLUMN(27, 7, 16, 0x3a, 2, 0, 10, 0x40, 2, 0x32, 32, 1)}},
        {"no prefix", WEIR_EFORMAT, 46, {0x08, 2, 0x12, 42, COLUMN(27, 7, 16, 0x40, 2, 0x32, 32, 1)}},
        {"prefix past the last one",
         WEIR_EFORMAT,
         50,
         {0x08, 2, 0x12, 46, COLUMN(27, 7, 17, 0x3a, 2, 0, 10, 0x40, 2, 0x32, 32, 0, 0, 1)}},
        {"half a prefix", WEIR_EFORMAT, 49, {0x08, 2, 0x12, 45, COLUMN(27, 7, 16, 0x3a, 1, 10, 0x40, 2, 0x32, 32, 1)}},
        {"prefixes of one byte",
         WEIR_EFORMAT,
         50,
         {0x08, 2, 0x12, 46, COLUMN(27, 7, 16, 0x3a, 2, 0, 10, 0x40, 1, 0x32, 32, 1)}},
        {"addresses in bits", 0, 44, {0x08, 2, 0x12, 40, COLUMN(27, 4, 8, 0x32, 32, 1)}},
        {"column runs past the body", WEIR_EFORMAT, 14, {0x08, 2, 0x12, 11, COLUMN(1, 1, 1, 0x32, 2, 5, 6)}},
        {"group", WEIR_EFORMAT, 3, {0x08, 2, 0x13}},
        {"a number for a column", WEIR_EFORMAT, 4, {0x08, 2, 0x10, 5}},
        {"endless number", WEIR_EFORMAT, 12, {0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1}},
        {"dictionary", 0, 19, {0x08, 2, 0x12, 15, COLUMN(1, 2, 1, 0x3a, 1, 77, 0x40, 1, 0x32, 2, 0, 0)}},
        {"index past it", WEIR_EFORMAT, 19, {0x08, 2, 0x12, 15, COLUMN(1, 2, 1, 0x3a, 1, 77, 0x40, 1, 0x32, 2, 0, 1)}},
        {"no entries", WEIR_EFORMAT, 18, {0x08, 2, 0x12, 14, COLUMN(1, 2, 1, 0x3a, 0, 0x40, 1, 0x32, 2, 0, 0)}},
        {"entry width 0", WEIR_EFORMAT, 17, {0x08, 2, 0x12, 13, COLUMN(1, 2, 1, 0x3a, 1, 77, 0x32, 2, 0, 0)}},
        {"half an entry", WEIR_EFORMAT, 19, {0x08, 2, 0x12, 15, COLUMN(1, 2, 1, 0x3a, 1, 77, 0x40, 2, 0x32, 2, 0, 0)}},
        {"address of 5 bytes", WEIR_EFORMAT, 17, {0x08, 2, 0x12, 13, COLUMN(27, 0, 5, 0x32, 5, 1, 2, 3, 4, 5)}},
        {"address of 4 bytes", 0, 16, {0x08, 2, 0x12, 12, COLUMN(27, 0, 4, 0x32, 4, 1, 2, 3, 4)}},
        {"column twice",
         WEIR_EFORMAT,
         26,
         {0x08, 2, 0x12, 10, COLUMN(1, 1, 1, 0x32, 2, 5, 6), 0x12, 10, COLUMN(1, 1, 1, 0x32, 2, 5, 6)}},
        {"end before its start", WEIR_EFORMAT, 30, {0x08, 2,    0x12, 11, 0x08, 0x99, 1,  0x18, 3,    0x20,
                                                    1,    0x32, 2,    5,  6,    0x12, 11, 0x08, 0x98, 1,
                                                    0x18, 1,    0x20, 1,  0x32, 2,    5,  6,    0x28, 0}},
    };
    struct weir_batch *got = NULL;
    assert_int_equal(weir_batch_create(1, &got), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weir_batch_clear(got);
        int rc = weir_body_decode(weir_view_of(cases[i].bytes, cases[i].size), 2, WEIR_COLUMNS_ALL, got);
        if (rc != cases[i].rc) fail_msg("%s: %s", cases[i].what, weir_err_name(rc));
        assert_int_equal(got->count, rc == 0 ? 2 : 0);
    }
    weir_batch_destroy(got);
}

/** What a column of @count values looks like, as protobuf's own reader sees it. */
static void check_column(enum weir_field field, const void *values, uint32_t count, Weir__V1__Column__Encoding encoding,
                         size_t bytes)
{
    struct weir_batch *batch = NULL;
    assert_int_equal(weir_batch_create(count, &batch), 0);
    memcpy(weir_batch_touch(batch, field), values, (size_t)count * weir_fields[field].width);
    weir_batch_commit(batch, count, 1ull << field);
    struct encoded e = encode(WEIR_CODEC_NONE, batch);
    Weir__V1__FlowBatch *body = weir__v1__flow_batch__unpack(NULL, e.body.size, e.body.data);
    assert_non_null(body);
    assert_int_equal(body->count, count);
    assert_int_equal(body->n_columns, 1);
    assert_int_equal(body->columns[0]->ie, weir_fields[field].ie);
    assert_int_equal(body->columns[0]->encoding, encoding);
    if (e.body.size > bytes) fail_msg("%s takes %zu bytes, not %zu", weir_fields[field].name, e.body.size, bytes);
    weir__v1__flow_batch__free_unpacked(body, NULL);
    assert_int_equal(decode(&e, WEIR_COLUMNS_ALL), 0);
    assert_same_flows(e.got, batch);
    forget(&e);
}

static void each_kind_of_column_takes_as_few_bits_as_its_values_need(void **state)
{
    (void)state;
    enum { ROWS = 4096, HEAD = 32 };
    static uint64_t wide[ROWS];
    static uint16_t port[ROWS];
    static uint8_t proto[ROWS];
    static struct weir_ip ip[ROWS];
    uint64_t seed = 5;
    for (uint32_t i = 0; i < ROWS; i++)
        wide[i] = 0x123450000 + random_next(&seed) % 4096;
    check_column(WEIR_FIELD_bytes, wide, ROWS, WEIR__V1__COLUMN__ENCODING__BITS, ROWS * 12 / 8 + HEAD);
    for (uint32_t i = 0; i < ROWS; i++)
        wide[i] = i % 127 == 0 ? random_next(&seed) : random_next(&seed) % 16; /* 33 exceptions of 8 and 2 bytes */
    check_column(WEIR_FIELD_bytes, wide, ROWS, WEIR__V1__COLUMN__ENCODING__BITS, ROWS * 4 / 8 + 33 * 10 + HEAD);
    for (uint32_t i = 0; i < ROWS; i++)
        wide[i] = 0x0000020304050000 + random_next(&seed) % 3 * 0x10001;
    check_column(WEIR_FIELD_src_mac, wide, ROWS, WEIR__V1__COLUMN__ENCODING__DICTIONARY_BITS,
                 ROWS * 2 / 8 + 3 * 8 + HEAD);
    for (uint32_t i = 0; i < ROWS; i++)
        port[i] = (uint16_t)(1000 + random_next(&seed) % 12 * 5000);
    check_column(WEIR_FIELD_dst_port, port, ROWS, WEIR__V1__COLUMN__ENCODING__DICTIONARY_BITS,
                 ROWS * 4 / 8 + 12 * 2 + HEAD);
    for (uint32_t i = 0; i < ROWS; i++)
        proto[i] = random_next(&seed) & 1 ? 6 : 17;
    check_column(WEIR_FIELD_proto, proto, ROWS, WEIR__V1__COLUMN__ENCODING__DICTIONARY_BITS, ROWS / 8 + 2 + HEAD);
    for (uint32_t i = 0; i < ROWS; i++)
        ip[i] = random_ip(&seed, 5);
    check_column(WEIR_FIELD_src_ip, ip, ROWS, WEIR__V1__COLUMN__ENCODING__PREFIX_BITS, ROWS * 19 / 8 + 8 * 2 + HEAD);
    for (uint32_t i = 0; i < ROWS; i++)
        ip[i] = random_ip(&seed, 3);
    check_column(WEIR_FIELD_src_ip, ip, ROWS, WEIR__V1__COLUMN__ENCODING__BITS, ROWS * 4 + HEAD);
    for (uint32_t i = 0; i < ROWS; i++)
        ip[i] = random_ip(&seed, 4);
    check_column(WEIR_FIELD_src_ip, ip, ROWS, WEIR__V1__COLUMN__ENCODING__DICTIONARY_BITS,
                 ROWS * 6 / 8 + 40 * 16 + HEAD);
}

static void what_a_codec_does_not_shrink_is_not_tried_for_a_while(void **state)
{
    (void)state;
    uint64_t seed = 11;
    struct weir_batch *batch = random_batch(&seed, 256);
    struct weir_batch *repeated = NULL;
    struct weir_batch_encoder *encoder = NULL;
    assert_int_equal(weir_batch_create(4096, &repeated), 0);
    for (uint32_t i = 0; i < 16; i++)
        assert_int_equal(weir_batch_append_rows(repeated, batch, 0, 256), 0);
    assert_int_equal(weir_batch_encoder_create(WEIR_CODEC_LZ4, &encoder), 0);
    weir_batch_clear(batch);
    uint8_t *noise = weir_batch_touch(batch, WEIR_FIELD_bytes);
    for (uint32_t i = 0; i < 256 * sizeof(uint64_t); i++)
        noise[i] = (uint8_t)random_next(&seed);
    weir_batch_commit(batch, 256, 1ull << WEIR_FIELD_bytes);
    batch->source = repeated->source;

    for (uint32_t i = 0; i < 34; i++) {
        struct weir_batch_header header;
        struct weir_buf body = WEIR_BUF_INIT;
        assert_int_equal(weir_batch_encode(encoder, i % 17 == 0 ? batch : repeated, &header, &body), 0);
        bool rests = i % 17 < 16; /* the one that did not shrink, and 15 more */
        assert_int_equal(header.codec, rests ? WEIR_CODEC_NONE : WEIR_CODEC_LZ4);
        weir_buf_fini(&body);
    }
    weir_batch_encoder_destroy(encoder);
    weir_batch_destroy(repeated);
    weir_batch_destroy(batch);
}

static void every_cut_of_a_body_is_refused(void **state)
{
    (void)state;
    uint64_t seed = 99;
    for (int codec = WEIR_CODEC_NONE; codec <= WEIR_CODEC_ZSTD; codec++) {
        struct encoded e = encode(codec, random_batch(&seed, 70));
        size_t whole = e.body.size;
        for (size_t size = 0; size < whole; size++) {
            uint8_t *cut = weir_malloc(size + 1);
            memcpy(cut, e.body.data, size);
            assert_true(weir_batch_decode(e.decoder, &e.header, weir_view_of(cut, size), WEIR_COLUMNS_ALL, e.got) < 0);
            assert_int_equal(e.got->count, 0);
            if (e.header.codec == WEIR_CODEC_NONE) { /* cut before compression, and the header says so */
                struct weir_batch_header header = e.header;
                header.raw_bytes = (uint32_t)size;
                assert_true(weir_batch_decode(e.decoder, &header, weir_view_of(cut, size), WEIR_COLUMNS_ALL, e.got) <=
                            0);
                assert_true(weir_batch_check(e.got));
            }
            weir_free(cut);
        }
        forget(&e);
    }
}

static void a_flipped_byte_never_breaks_the_decoder(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (int codec = WEIR_CODEC_NONE; codec <= WEIR_CODEC_ZSTD; codec++) {
        struct encoded e = encode(codec, random_batch(&seed, 66));
        for (size_t at = 0; at < e.body.size; at++) {
            e.body.data[at] ^= 0xff;
            int rc = decode(&e, WEIR_COLUMNS_ALL);
            assert_int_equal(e.got->count, rc == 0 ? 66 : 0);
            assert_true(weir_batch_check(e.got));
            e.body.data[at] ^= 0xff;
        }
        forget(&e);
    }
}

static void a_header_with_a_field_out_of_range_is_refused(void **state)
{
    (void)state;
    const struct weir_batch_header good = {.kind = WEIR_RECORD_DATA, .schema = WEIR_SCHEMA, .totals.flows = 10};
    struct {
        struct weir_batch_header header;
        int rc;
    } cases[] = {
        {good, 0},
        {good, WEIR_EFORMAT},
        {good, WEIR_EFORMAT},
        {good, WEIR_EVERSION},
        {good, WEIR_EFORMAT},
        {good, WEIR_EFORMAT},
        {good, WEIR_EFORMAT},
        {good, WEIR_EFORMAT},
        {good, 0},
    };
    cases[1].header.kind = 3;
    cases[2].header.schema = 0;
    cases[3].header.schema = WEIR_SCHEMA + 1;
    cases[4].header.totals.flows = WEIR_BATCH_MOST + 1;
    cases[5].header.raw_bytes = WEIR_BODY_RAW_MOST + 1;
    cases[6].header.lost_to_seq = 1;
    cases[7].header.kind = WEIR_RECORD_LOSS; /* without a range */
    cases[8].header = (struct weir_batch_header){
        .kind = WEIR_RECORD_LOSS, .schema = WEIR_SCHEMA, .totals.flows = 1000000, .lost_to_seq = 9};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weir_buf head = WEIR_BUF_INIT;
        struct weir_batch_header got;
        assert_int_equal(weir_batch_header_encode(&cases[i].header, &head), 0);
        assert_int_equal(weir_batch_header_decode(weir_buf_view(&head), &got), cases[i].rc);
        weir_buf_fini(&head);
    }
}

static const struct weir_extra tenant = {"tenant", 9, 12345, WEIR_EXTRA_STRING};
static const struct weir_extra hops = {"hops", 0, 52, WEIR_EXTRA_UNSIGNED};

/** Row i: a tenant where i is odd, and from row 3 on hops. */
static struct weir_batch *batch_with_extras(uint32_t count)
{
    struct weir_batch *batch = NULL;
    assert_int_equal(weir_batch_create(1, &batch), 0);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t number[4];
        weir_store_u32be(number, i);
        char name[16];
        snprintf(name, sizeof name, "t%u", i % 7);
        if (i % 2 == 1) weir_extra_append(weir_batch_extra(batch, 1, &tenant), weir_view_text(name));
        if (i >= 3) weir_extra_append(weir_batch_extra(batch, 4, &hops), weir_view_of(number, sizeof number));
        struct weir_flow flow = {.bytes = i};
        assert_int_equal(weir_batch_append(batch, &flow), 0);
    }
    return batch;
}

static void assert_row_has(const struct weir_batch *batch, uint32_t row, const struct weir_extra *extra,
                           struct weir_view expected)
{
    struct weir_buf out = WEIR_BUF_INIT;
    weir_batch_extra_row(batch, row, &out);
    struct weir_cursor c = weir_cursor_of(weir_buf_view(&out));
    struct weir_extra_value value;
    bool found = false;
    while (weir_extra_next(&c, &value) > 0) {
        if (!weir_view_equal(value.name, weir_view_text(extra->name))) continue;
        found = true;
        assert_int_equal(value.type, extra->type);
        assert_true(weir_view_equal(value.bytes, expected));
    }
    assert_int_equal(found, expected.size > 0);
    weir_buf_fini(&out);
}

static void extra_columns_come_back_with_their_names_to_whoever_wants_them(void **state)
{
    (void)state;
    struct weir_batch_encoder *encoder = NULL;
    struct weir_batch_decoder *decoder = NULL;
    struct weir_batch *got = NULL;
    assert_int_equal(weir_batch_encoder_create(WEIR_CODEC_LZ4, &encoder), 0);
    assert_int_equal(weir_batch_decoder_create(&decoder), 0);
    assert_int_equal(weir_batch_create(1, &got), 0);
    const uint32_t counts[] = {1, 2, 4, 300, WEIR_BATCH_MOST};
    for (size_t n = 0; n < sizeof counts / sizeof *counts; n++) {
        struct weir_batch *batch = batch_with_extras(counts[n]);
        struct weir_batch_header header;
        struct weir_buf body = WEIR_BUF_INIT;
        assert_int_equal(weir_batch_encode(encoder, batch, &header, &body), 0);
        assert_int_equal(weir_batch_decode(decoder, &header, weir_buf_view(&body), WEIR_COLUMNS_ALL, got), 0);
        assert_null(got->extras);
        assert_int_equal(weir_batch_decode(decoder, &header, weir_buf_view(&body), WEIR_COLUMNS_EXTRA, got), 0);
        assert_int_equal(got->count, counts[n]);
        assert_int_equal(got->present, 0);
        for (uint32_t i = 0; i < counts[n]; i++) {
            char name[16];
            uint8_t number[4];
            snprintf(name, sizeof name, "t%u", i % 7);
            weir_store_u32be(number, i);
            assert_row_has(got, i, &tenant, i % 2 == 1 ? weir_view_text(name) : (struct weir_view){0});
            assert_row_has(got, i, &hops, i >= 3 ? weir_view_of(number, sizeof number) : (struct weir_view){0});
        }
        weir_batch_destroy(batch);
        weir_buf_fini(&body);
    }
    weir_batch_destroy(got);
    weir_batch_decoder_destroy(decoder);
    weir_batch_encoder_destroy(encoder);
}

static void every_cut_and_flipped_byte_of_extra_columns_is_survived(void **state)
{
    (void)state;
    struct weir_batch *batch = batch_with_extras(20);
    struct weir_batch *got = NULL;
    assert_int_equal(weir_batch_create(1, &got), 0);
    uint8_t *body = malloc(weir_body_bound(batch));
    struct weir_body_scratch *scratch = calloc(1, sizeof *scratch);
    size_t size = weir_body_encode(scratch, batch, body);
    free(scratch);
    for (size_t i = 0; i < size; i++) {
        uint8_t *exact = malloc(size);
        memcpy(exact, body, size);
        weir_batch_clear(got);
        (void)weir_body_decode(weir_view_of(exact, i), 20, WEIR_COLUMNS_EXTRA, got);
        exact[i] ^= (uint8_t)(1 << i % 8);
        weir_batch_clear(got);
        if (weir_body_decode(weir_view_of(exact, size), 20, WEIR_COLUMNS_EXTRA, got) == 0) {
            struct weir_buf row = WEIR_BUF_INIT;
            for (uint32_t r = 0; r < got->count; r++)
                weir_batch_extra_row(got, r, &row);
            weir_buf_fini(&row);
        }
        free(exact);
    }
    free(body);
    weir_batch_destroy(got);
    weir_batch_destroy(batch);
}

static void running_out_of_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    uint64_t seed = 3;
    struct weir_batch *batch = random_batch(&seed, 100);
    for (uint32_t i = 0; i < 100; i++)
        weir_extra_append(weir_batch_extra(batch, 0, &hops), weir_view_text("1234"));
    for (int64_t n = 0;; n++) {
        struct weir_batch_encoder *encoder = NULL;
        struct weir_batch_decoder *decoder = NULL;
        struct weir_batch *got = NULL;
        struct weir_batch_header header;
        struct weir_buf body = WEIR_BUF_INIT;
        weir_mem_fail_after(n);
        int rc = weir_batch_encoder_create(WEIR_CODEC_LZ4, &encoder);
        if (rc == 0) rc = weir_batch_decoder_create(&decoder);
        if (rc == 0) rc = weir_batch_create(1, &got);
        if (rc == 0) rc = weir_batch_encode(encoder, batch, &header, &body);
        uint64_t all = WEIR_COLUMNS_ALL | WEIR_COLUMNS_EXTRA;
        if (rc == 0) rc = weir_batch_decode(decoder, &header, weir_buf_view(&body), all, got);
        bool failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        assert_int_equal(rc, failed ? WEIR_ENOMEM : 0);
        weir_batch_encoder_destroy(encoder);
        weir_batch_decoder_destroy(decoder);
        weir_batch_destroy(got);
        weir_buf_fini(&body);
        if (!failed) break;
    }
    weir_batch_destroy(batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_batches_come_back_with_every_codec),
        cmocka_unit_test(only_wanted_columns_are_decoded),
        cmocka_unit_test(a_batch_of_losses_only_has_an_empty_body),
        cmocka_unit_test(drops_come_back_with_flows_and_without_them),
        cmocka_unit_test(drops_that_break_the_format_are_refused),
        cmocka_unit_test(a_column_without_rows_is_refused),
        cmocka_unit_test(an_unknown_column_is_stepped_over),
        cmocka_unit_test(bodies_that_break_the_format_are_refused),
        cmocka_unit_test(each_kind_of_column_takes_as_few_bits_as_its_values_need),
        cmocka_unit_test(what_a_codec_does_not_shrink_is_not_tried_for_a_while),
        cmocka_unit_test(every_cut_of_a_body_is_refused),
        cmocka_unit_test(a_flipped_byte_never_breaks_the_decoder),
        cmocka_unit_test(a_header_with_a_field_out_of_range_is_refused),
        cmocka_unit_test(extra_columns_come_back_with_their_names_to_whoever_wants_them),
        cmocka_unit_test(every_cut_and_flipped_byte_of_extra_columns_is_survived),
        cmocka_unit_test(running_out_of_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
