#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/wire/message.h"

#include "tests/support/cmocka.h"

static void fill_text(char *out, size_t size, char with)
{
    memset(out, with, size - 1);
    out[size - 1] = '\0';
}

/** A message with every field at a value of its own, the lanes and texts as long as they can be. */
static struct weir_msg full_message(void)
{
    struct weir_msg msg = {
        .kind = WEIR_MSG_SNACK,
        .code = WEIR_CODE_GAP,
        .inc = UINT64_MAX,
        .instance = 0x0102030405060708,
        .shard = WEIR_SHARDS - 1,
        .seq = UINT64_MAX / 2,
        .first_avail = 7,
        .expected = 9,
        .epoch = UINT32_MAX,
        .credit = 64,
        .max_bytes = 1 << 20,
        .schema = WEIR_SCHEMA,
        .crc = 0xdeadbeef,
        .retry_ms = 250,
        .cum = {.flows = UINT64_MAX, .packets = 2, .bytes = 3},
        .spool_bytes = 1ull << 40,
        .spool_oldest_ms = INT64_MAX,
        .lane_count = WEIR_SHARDS,
    };
    weir_agent_id("agent", msg.agent);
    fill_text(msg.node, sizeof msg.node, 'n');
    fill_text(msg.tenant, sizeof msg.tenant, 't');
    fill_text(msg.site, sizeof msg.site, 's');
    fill_text(msg.name, sizeof msg.name, 'a');
    fill_text(msg.text, sizeof msg.text, 'x');
    for (uint32_t i = 0; i < WEIR_SHARDS; i++)
        msg.lanes[i] = (struct weir_lane){.shard = i, .next = 1ull << 60, .first_avail = 5 + i, .expected = 1ull << 50};
    return msg;
}

static void assert_same(const struct weir_msg *a, const struct weir_msg *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->code, b->code);
    assert_memory_equal(a->agent, b->agent, sizeof a->agent);
    assert_int_equal(a->inc, b->inc);
    assert_int_equal(a->instance, b->instance);
    assert_int_equal(a->shard, b->shard);
    assert_int_equal(a->seq, b->seq);
    assert_int_equal(a->first_avail, b->first_avail);
    assert_int_equal(a->expected, b->expected);
    assert_int_equal(a->epoch, b->epoch);
    assert_int_equal(a->credit, b->credit);
    assert_int_equal(a->max_bytes, b->max_bytes);
    assert_int_equal(a->schema, b->schema);
    assert_int_equal(a->crc, b->crc);
    assert_int_equal(a->retry_ms, b->retry_ms);
    assert_memory_equal(&a->cum, &b->cum, sizeof a->cum);
    assert_int_equal(a->spool_bytes, b->spool_bytes);
    assert_int_equal(a->spool_oldest_ms, b->spool_oldest_ms);
    assert_string_equal(a->node, b->node);
    assert_string_equal(a->tenant, b->tenant);
    assert_string_equal(a->site, b->site);
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->text, b->text);
    assert_int_equal(a->lane_count, b->lane_count);
    for (uint32_t i = 0; i < a->lane_count; i++) {
        assert_int_equal(a->lanes[i].shard, b->lanes[i].shard);
        assert_int_equal(a->lanes[i].next, b->lanes[i].next);
        assert_int_equal(a->lanes[i].first_avail, b->lanes[i].first_avail);
        assert_int_equal(a->lanes[i].expected, b->lanes[i].expected);
    }
}

static void every_field_comes_back(void **state)
{
    (void)state;
    const struct weir_msg empty = {.kind = WEIR_MSG_PING};
    const struct weir_msg full = full_message();
    const struct weir_msg *const cases[] = {&empty, &full};
    for (size_t i = 0; i < 2; i++) {
        struct weir_buf buf = WEIR_BUF_INIT;
        struct weir_msg got;
        assert_int_equal(weir_msg_encode(cases[i], &buf), 0);
        assert_true(buf.size <= WEIR_MSG_BYTES_MOST);
        assert_int_equal(weir_msg_decode(weir_buf_view(&buf), &got), 0);
        assert_same(&got, cases[i]);
        weir_buf_fini(&buf);
    }
}

static void a_cut_or_damaged_message_is_refused_or_whole_but_never_half(void **state)
{
    (void)state;
    struct weir_msg full = full_message();
    struct weir_buf buf = WEIR_BUF_INIT;
    full.lane_count = 3;
    assert_int_equal(weir_msg_encode(&full, &buf), 0);

    int refused = 0;
    for (size_t size = 0; size < buf.size; size++) {
        uint8_t *cut = weir_malloc(size + 1); /* exact, so that ASan sees one byte too many */
        memcpy(cut, buf.data, size);
        struct weir_msg got = {.kind = WEIR_MSG_NONE};
        int rc = weir_msg_decode(weir_view_of(cut, size), &got);
        assert_true(rc <= 0);
        if (rc < 0) assert_int_equal(got.kind, WEIR_MSG_NONE);
        refused += rc < 0;
        weir_free(cut);
    }
    assert_true(refused > 300);

    for (size_t at = 0; at < buf.size; at++) {
        for (int bit = 0; bit < 8; bit++) {
            buf.data[at] ^= (uint8_t)(1 << bit);
            struct weir_msg got;
            if (weir_msg_decode(weir_buf_view(&buf), &got) == 0) {
                assert_true(got.kind > WEIR_MSG_NONE && got.kind < WEIR_MSG_KINDS);
                assert_true(got.shard < WEIR_SHARDS && got.lane_count <= WEIR_SHARDS);
            }
            buf.data[at] ^= (uint8_t)(1 << bit);
        }
    }
    weir_buf_fini(&buf);
}

static void fields_out_of_range_are_refused(void **state)
{
    (void)state;
    const struct weir_msg good = full_message();
    struct weir_msg bad[] = {good, good, good, good, good, good, good, good};
    bad[0].kind = WEIR_MSG_NONE;
    bad[1].kind = WEIR_MSG_KINDS;
    bad[2].code = WEIR_CODES;
    bad[3].shard = WEIR_SHARDS;
    bad[4].seq = UINT64_MAX / 2 + 1;
    bad[5].lanes[5].shard = WEIR_SHARDS;
    bad[6].lanes[5].shard = 6; /* twice */
    bad[7].spool_oldest_ms = -1;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct weir_buf buf = WEIR_BUF_INIT;
        struct weir_msg got;
        assert_int_equal(weir_msg_encode(&bad[i], &buf), 0);
        assert_int_equal(weir_msg_decode(weir_buf_view(&buf), &got), WEIR_EFORMAT);
        weir_buf_fini(&buf);
    }
}

static void another_version_is_told_apart_from_nonsense(void **state)
{
    (void)state;
    const uint8_t version_two[] = {0x08, 0x02, 0x10, 0x07};
    const uint8_t nonsense[] = {0x0b, 0xff};
    struct weir_msg got;
    assert_int_equal(weir_msg_decode(weir_view_of(version_two, sizeof version_two), &got), WEIR_EVERSION);
    assert_int_equal(weir_msg_decode(weir_view_of(nonsense, sizeof nonsense), &got), WEIR_EFORMAT);
}

static void a_flood_of_parts_meets_a_limit_and_not_the_heap(void **state)
{
    (void)state;
    static uint8_t flood[WEIR_MSG_BYTES_MOST + 1];
    for (size_t i = 0; i + 3 <= WEIR_MSG_BYTES_MOST; i += 3)
        memcpy(flood + i, (const uint8_t[]){0xda, 0x01, 0x00}, 3); /* field 27, an empty lane */
    struct weir_msg got;
    weir_mem_fail_after(0);
    assert_int_equal(weir_msg_decode(weir_view_of(flood, 16383), &got), WEIR_ELIMIT);
    assert_int_equal(weir_msg_decode(weir_view_of(flood, sizeof flood), &got), WEIR_ELIMIT);
    assert_false(weir_mem_failed());
    weir_mem_fail_after(-1);
}

static void text_for_people_brings_no_control_bytes(void **state)
{
    (void)state;
    struct weir_msg msg = {.kind = WEIR_MSG_NACK, .text = "disk\nlow\x1b[31m"};
    struct weir_msg got;
    struct weir_buf buf = WEIR_BUF_INIT;
    assert_int_equal(weir_msg_encode(&msg, &buf), 0);
    assert_int_equal(weir_msg_decode(weir_buf_view(&buf), &got), 0);
    assert_string_equal(got.text, "disk?low?[31m");
    weir_buf_fini(&buf);
}

static void encoding_without_memory_says_so(void **state)
{
    (void)state;
    struct weir_msg msg = {.kind = WEIR_MSG_PING};
    struct weir_buf buf = WEIR_BUF_INIT;
    weir_mem_fail_after(0);
    assert_int_equal(weir_msg_encode(&msg, &buf), WEIR_ENOMEM);
    weir_mem_fail_after(-1);
    weir_buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_comes_back),
        cmocka_unit_test(a_cut_or_damaged_message_is_refused_or_whole_but_never_half),
        cmocka_unit_test(fields_out_of_range_are_refused),
        cmocka_unit_test(another_version_is_told_apart_from_nonsense),
        cmocka_unit_test(a_flood_of_parts_meets_a_limit_and_not_the_heap),
        cmocka_unit_test(text_for_people_brings_no_control_bytes),
        cmocka_unit_test(encoding_without_memory_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
