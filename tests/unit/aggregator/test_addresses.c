#include "aggregator/addresses.h"

#include "common/base/err.h"
#include "tests/support/random_flows.h"

#include "tests/support/cmocka.h"

enum { ADDRESSES = 5000 };

static struct weir_ip ips[ADDRESSES];
static uint64_t ids[2][ADDRESSES];

static void draw(uint64_t *random)
{
    for (int i = 0; i < ADDRESSES; i++) {
        uint8_t bytes[16] = {0x20, 0x01, 0x0d, 0xb8};
        weir_store_u64be(bytes + 8, random_next(random) >> random_below(random, 40));
        ips[i] = i % 3 == 0 ? weir_ip_from_v6(bytes) : weir_ip_from_v4(bytes + 12);
    }
}

static int compare(const struct weir_ip *a, const struct weir_ip *b)
{
    if (weir_ip_is_v4(a) != weir_ip_is_v4(b)) return weir_ip_is_v4(a) ? -1 : 1;
    return memcmp(a, b, sizeof *a);
}

static void an_address_has_one_id_and_ranks_follow_the_addresses(void **state)
{
    (void)state;
    uint64_t random = 21;
    struct agg_addresses addresses = {.seed = 5};
    for (int round = 0; round < 3; round++) {
        draw(&random);
        for (int twice = 0; twice < 2; twice++) {
            assert_int_equal(agg_addresses_reserve(&addresses, ADDRESSES), 0);
            agg_addresses_ids(&addresses, ips, ADDRESSES, ids[twice]);
        }
        assert_memory_equal(ids[0], ids[1], sizeof ids[0]);
        for (int i = 0; i < ADDRESSES; i++)
            assert_true(weir_ip_equal(&addresses.ips[ids[0][i]], &ips[i]));
        assert_int_equal(agg_addresses_rank(&addresses), 0);
        for (uint32_t rank = 0; rank < addresses.count; rank++) {
            assert_int_equal(addresses.rank[addresses.order[rank]], rank);
            if (rank == 0) continue;
            const struct weir_ip *before = &addresses.ips[addresses.order[rank - 1]];
            assert_true(compare(before, &addresses.ips[addresses.order[rank]]) < 0);
        }
    }
    agg_addresses_fini(&addresses);
}

static void there_are_no_more_ids_than_a_sum_has_room_for(void **state)
{
    (void)state;
    struct agg_addresses addresses = {.seed = 5};
    assert_int_equal(agg_addresses_reserve(&addresses, 1 << AGG_ADDRESS_BITS), WEIR_ENOMEM);
    assert_int_equal(agg_addresses_bytes(&addresses), 0);
    assert_int_equal(agg_addresses_reserve(&addresses, 1), 0);
    agg_addresses_fini(&addresses);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_has_one_id_and_ranks_follow_the_addresses),
        cmocka_unit_test(there_are_no_more_ids_than_a_sum_has_room_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
