/**
 * Addresses as numbers: each gets an id from 1 on when it is first seen, so that sums have small keys; and a rank in the
 * order of addresses when they are sorted, IPv4 before IPv6.
 *
 * One thread.
 */
#ifndef WEIR_AGGREGATOR_ADDRESSES_H
#define WEIR_AGGREGATOR_ADDRESSES_H

#include "aggregator/lists.h"
#include "common/flow/ip.h"

/** Open addressing by the highest bits of a hash, which is a secret multiplier's work. */
struct agg_address_index {
    void *slots;     /* 0: free. IPv4: id 32 | address 32, eight to a cache line. IPv6: the id */
    size_t capacity; /* a power of two, or 0 before the first reserve */
    uint32_t shift;
};

/** Zero-filled but for the seed: empty. */
struct agg_addresses {
    uint64_t seed;
    struct weir_ip *ips; /* by id */
    uint32_t count;      /* the highest id */
    uint32_t room;       /* of ips */
    uint32_t v6;         /* how many of them */
    struct agg_address_index v4_index;
    struct agg_address_index v6_index;
    uint32_t *rank;  /* by id, from 0 on; of ids up to @ranked */
    uint32_t *order; /* ids by rank */
    uint32_t ranked;
};

/** An odd number that nobody outside knows: the product's high bits are a hash. */
static inline uint64_t agg_addresses_multiplier(const struct agg_addresses *addresses)
{
    return (addresses->seed * 0x9e3779b97f4a7c15ull ^ 0x5851f42d4c957f2cull) | 1;
}

void agg_addresses_fini(struct agg_addresses *addresses);

/** Have room for @more addresses that are new. WEIR_ENOMEM, also when there are too many for their ids. */
int agg_addresses_reserve(struct agg_addresses *addresses, uint32_t more);

/** The ids of @count addresses, made when new, into @ret. There must be room. */
void agg_addresses_ids(struct agg_addresses *addresses, const struct weir_ip *ips, uint32_t count, uint64_t *ret);

/** Bytes of memory held. */
size_t agg_addresses_bytes(const struct agg_addresses *addresses);

/** Rank all addresses. Cheap when few are new since the last time. WEIR_ENOMEM. */
int agg_addresses_rank(struct agg_addresses *addresses);

#endif
