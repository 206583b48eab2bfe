/**
 * Sorting a list of sums by addresses, and adding up what has one key: by rank into buckets that fit into the cache,
 * and bucket by bucket by the rest.
 *
 * One thread.
 */
#ifndef WEIR_AGGREGATOR_ROLL_SORT_H
#define WEIR_AGGREGATOR_ROLL_SORT_H

#include "aggregator/addresses.h"
#include "aggregator/lists.h"

/** Memory for sorting; zero-filled: none yet. */
struct agg_sorter {
    uint64_t *keys;
    uint64_t *spare;
    uint8_t *sums;
    size_t room;
    size_t sum_bytes;
};

/** Of that memory, for each sum of a list beside the sum itself. */
enum { AGG_SORT_BYTES = 16 };

void agg_sorter_fini(struct agg_sorter *sorter);

/** What the lower half of a key is. */
enum agg_key_kind { AGG_KEY_TWO_ADDRESSES, AGG_KEY_ONE_ADDRESS };

/**
 * Sort @list, of struct agg_wide_sum or struct agg_sum, and add up. All addresses must be ranked. Segments that are free
 * then go to @pool. WEIR_ENOMEM: the list is as it was.
 */
int agg_sort(struct agg_sorter *sorter, const struct agg_addresses *addresses, enum agg_key_kind kind, bool wide,
             struct agg_list *list, struct agg_pool *pool);

#endif
