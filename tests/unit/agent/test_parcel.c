#include "agent/parcel.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include "tests/support/cmocka.h"

static struct weir_batch *make_batch(uint32_t domain, uint32_t flows)
{
    struct weir_batch *batch = NULL;
    assert_int_equal(weir_batch_create(flows, &batch), 0);
    batch->source.domain = domain;
    for (uint32_t i = 0; i < flows; i++) {
        const struct weir_flow flow = {.start_ms = 1000 + i, .bytes = 100 + i, .packets = 1};
        assert_int_equal(weir_batch_append(batch, &flow), 0);
    }
    return batch;
}

static void a_parcel_holds_the_batch_whole_and_knows_its_shard(void **state)
{
    (void)state;
    struct agent_packer *packer = NULL;
    struct agent_parcel *parcel = NULL;
    struct weir_batch_decoder *decoder = NULL;
    struct weir_batch *batch = make_batch(12, 500);
    struct weir_batch *got = NULL;
    assert_int_equal(weir_batch_decoder_create(&decoder), 0);
    assert_int_equal(weir_batch_create(1, &got), 0);
    assert_int_equal(agent_packer_create("acme", WEIR_CODEC_LZ4, &packer), 0);
    for (int again = 0; again < 2; again++) { /* the second time with the encoder of the first */
        struct weir_batch_header header;
        assert_int_equal(agent_packer_pack(packer, batch, &parcel), 0);
        struct weir_view head = weir_frames_view(&parcel->frames, 0);
        struct weir_view body = weir_frames_view(&parcel->frames, 1);
        assert_int_equal(parcel->shard, weir_shard_of("acme", &batch->source));
        assert_int_equal(parcel->crc, weir_batch_crc(head, body));
        assert_int_equal(weir_batch_header_decode(head, &header), 0);
        assert_int_equal(header.totals.flows, parcel->header.totals.flows);
        assert_int_equal(weir_batch_decode(decoder, &header, body, WEIR_COLUMNS_ALL, got), 0);
        assert_int_equal(weir_batch_sum(got).bytes, weir_batch_sum(batch).bytes);
        agent_parcel_destroy(parcel);
    }
    agent_packer_destroy(packer);
    weir_batch_destroy(batch);
    weir_batch_destroy(got);
    weir_batch_decoder_destroy(decoder);
}

static void a_queue_keeps_the_order_and_says_when_to_wake(void **state)
{
    (void)state;
    struct agent_packer *packer = NULL;
    struct agent_queue *queue = NULL;
    assert_int_equal(agent_packer_create("acme", WEIR_CODEC_NONE, &packer), 0);
    assert_int_equal(agent_queue_create(5000, &queue), 0);
    assert_null(agent_queue_take_all(queue));
    for (int round = 0; round < 2; round++) {
        uint32_t count = 0;
        while (!agent_queue_is_full(queue)) {
            struct weir_batch *batch = make_batch(++count, 10);
            struct agent_parcel *parcel = NULL;
            assert_int_equal(agent_packer_pack(packer, batch, &parcel), 0);
            assert_int_equal(agent_queue_put(queue, &parcel), count == 1);
            assert_null(parcel);
            weir_batch_destroy(batch);
        }
        assert_true(count > 2 && count < 20);
        assert_int_equal(agent_queue_stats(queue).flows, 10 * count);
        if (round == 1) break; /* what is left goes with the queue */
        struct agent_parcel *parcel = agent_queue_take_all(queue);
        for (uint32_t n = 1; parcel != NULL; n++) {
            struct agent_parcel *next = parcel->next;
            assert_int_equal(parcel->header.source.domain, n);
            agent_parcel_destroy(parcel);
            parcel = next;
        }
        assert_false(agent_queue_is_full(queue));
        assert_int_equal(agent_queue_stats(queue).flows, 0);
        assert_int_equal(agent_queue_stats(queue).bytes, 0);
    }
    agent_queue_destroy(queue);
    agent_packer_destroy(packer);
}

static void packing_without_memory_leaves_the_batch_with_its_owner(void **state)
{
    (void)state;
    struct weir_batch *batch = make_batch(1, 100);
    for (int64_t n = 0;; n++) {
        struct agent_packer *packer = NULL;
        struct agent_parcel *parcel = NULL;
        weir_mem_fail_after(n);
        int rc = agent_packer_create("acme", WEIR_CODEC_LZ4, &packer);
        if (rc == 0) rc = agent_packer_pack(packer, batch, &parcel);
        bool failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        assert_int_equal(rc, failed ? WEIR_ENOMEM : 0);
        assert_int_equal(batch->count, 100);
        agent_parcel_destroy(parcel);
        agent_packer_destroy(packer);
        if (!failed) break;
    }
    weir_batch_destroy(batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_parcel_holds_the_batch_whole_and_knows_its_shard),
        cmocka_unit_test(a_queue_keeps_the_order_and_says_when_to_wake),
        cmocka_unit_test(packing_without_memory_leaves_the_batch_with_its_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
