/**
 * Sorting a list of sums by its first address, and adding up what has one key: spread by rank over buckets that fit into
 * the cache, and bucket by bucket added up in a hash table and sorted.
 *
 * One thread.
 */
#ifndef WEIR_AGGREGATOR_ROLL_SORT_H
#define WEIR_AGGREGATOR_ROLL_SORT_H

#include "aggregator/addresses.h"
#include "aggregator/lists.h"

/** Memory for sorting; zero-filled: none yet. */
struct agg_sorter {
    uint32_t *ranks; /* of the sums of a run */
    uint8_t *sums;   /* bucket by bucket */
    size_t room;
    size_t sum_bytes;
    uint32_t *slots; /* hash table of a bucket: which sum, from 1 on */
    uint64_t *keys;  /* twice bucket_room */
    size_t bucket_room;
};

/** Of that memory, for each sum of a list beside the sum itself; more when nearly all have one first address. */
enum { AGG_SORT_BYTES = 8 };

void agg_sorter_fini(struct agg_sorter *sorter);

/**
 * Sort @list, of struct agg_wide_sum or struct agg_sum, by the address in the upper half of keys, and add up what has
 * one key: it lies anywhere among those of its address, once, or several times when a sum is full. All addresses must
 * be ranked. Segments that are free then go to @pool. WEIR_ENOMEM: nothing is lost, not all of it is sorted.
 */
int agg_sort(struct agg_sorter *sorter, const struct agg_addresses *addresses, bool wide, struct agg_list *list,
             struct agg_pool *pool);

#endif
