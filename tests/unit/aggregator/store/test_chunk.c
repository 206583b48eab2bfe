#include "aggregator/store/chunk.h"

#include "common/base/err.h"
#include "tests/support/random_flows.h"

#include "tests/support/cmocka.h"

static struct agg_chunk chunk, got;

/** Numbers of every width. */
static uint64_t random_number(uint64_t *random)
{
    return random_next(random) >> random_below(random, 64);
}

static struct weir_ip random_ip(uint64_t *random, bool v4)
{
    uint8_t bytes[16];
    for (int i = 0; i < 16; i++)
        bytes[i] = (uint8_t)random_next(random);
    return v4 ? weir_ip_from_v4(bytes) : weir_ip_from_v6(bytes);
}

static void fill(uint64_t *random, enum agg_table table, bool v4, bool sampled, uint32_t count)
{
    chunk = (struct agg_chunk){.table = table, .v4 = v4, .sampled = sampled, .count = count};
    for (uint32_t i = 0; i < count; i++) {
        for (int which = 0; which < (table == AGG_TABLE_PAIR ? 2 : 1); which++) {
            struct weir_ip ip = random_ip(random, v4);
            if (v4)
                chunk.v4_ip[which][i] = weir_ip_v4(&ip);
            else
                chunk.ip[which][i] = ip;
        }
        if (table == AGG_TABLE_SERVICE) {
            chunk.proto[i] = (uint8_t)random_next(random);
            chunk.port[i] = (uint16_t)random_next(random);
        }
        chunk.flows[i] = random_number(random);
        chunk.packets[i] = random_number(random);
        chunk.bytes[i] = random_number(random);
        if (!sampled) continue;
        chunk.more_packets[i] = random_number(random);
        chunk.more_bytes[i] = random_number(random);
        chunk.packets_variance[i] = (double)random_number(random);
        chunk.bytes_variance[i] = (double)random_number(random) / 3;
    }
}

static void what_is_packed_comes_back(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 3, 4, 5, 63, 1000, AGG_CHUNK_ROWS};
    uint64_t random = 11;
    for (int table = AGG_TABLE_SRC; table < AGG_TABLES; table++) {
        for (uint32_t i = 0; i < 4 * sizeof counts / sizeof counts[0]; i++) {
            fill(&random, table, (i & 1) != 0, (i & 2) != 0, counts[i / 4]);
            struct weir_buf bytes = WEIR_BUF_INIT;
            assert_int_equal(agg_chunk_encode(&chunk, &bytes), 0);
            got = (struct agg_chunk){0};
            assert_int_equal(agg_chunk_decode(weir_buf_view(&bytes), table, &got), 0);
            assert_memory_equal(&got, &chunk, sizeof chunk);
            weir_buf_fini(&bytes);
        }
    }
}

static void a_chunk_that_was_cut_or_changed_is_refused_or_read_within_its_bounds(void **state)
{
    (void)state;
    uint64_t random = 12;
    fill(&random, AGG_TABLE_PAIR, true, false, 50);
    struct weir_buf bytes = WEIR_BUF_INIT;
    assert_int_equal(agg_chunk_encode(&chunk, &bytes), 0);
    for (size_t size = 0; size < bytes.size; size++) {
        /* on the heap, so that a sanitizer sees a byte too many */
        uint8_t *cut = test_malloc(size + 1);
        memcpy(cut, bytes.data, size);
        assert_int_equal(agg_chunk_decode(weir_view_of(cut, size), AGG_TABLE_PAIR, &got), WEIR_ECORRUPT);
        test_free(cut);
    }
    for (size_t at = 0; at < bytes.size; at++) {
        uint8_t was = bytes.data[at];
        bytes.data[at] ^= (uint8_t)(1 + random_below(&random, 255));
        (void)agg_chunk_decode(weir_buf_view(&bytes), AGG_TABLE_PAIR, &got);
        bytes.data[at] = was;
    }
    bytes.data[0]++;
    assert_int_equal(agg_chunk_decode(weir_buf_view(&bytes), AGG_TABLE_PAIR, &got), WEIR_EVERSION);
    weir_buf_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_packed_comes_back),
        cmocka_unit_test(a_chunk_that_was_cut_or_changed_is_refused_or_read_within_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
