#include "aggregator/addresses.h"

#include "common/base/err.h"
#include "common/base/mem.h"

#include <stdlib.h>

enum { CAPACITY_LEAST = 1024, AT_ONCE = 256, DIGIT_BITS = 11, DIGIT = 1 << DIGIT_BITS };

void agg_addresses_fini(struct agg_addresses *addresses)
{
    weir_free(addresses->ips);
    weir_free(addresses->v4_index.slots);
    weir_free(addresses->v6_index.slots);
    weir_free(addresses->rank);
    weir_free(addresses->order);
    *addresses = (struct agg_addresses){.seed = addresses->seed};
}

/* --- looking up --- */

static inline uint64_t hash_v4(const struct agg_addresses *addresses, uint32_t address)
{
    return (address + 1ull) * agg_addresses_multiplier(addresses);
}

static inline uint64_t hash_v6(const struct agg_addresses *addresses, const struct weir_ip *ip)
{
    unsigned __int128 product = (unsigned __int128)(weir_load_u64le(ip->bytes) ^ addresses->seed) *
                                (weir_load_u64le(ip->bytes + 8) ^ 0xe7037ed1a0b428dbull);
    return ((uint64_t)product ^ (uint64_t)(product >> 64)) * agg_addresses_multiplier(addresses);
}

static inline uint32_t new_id(struct agg_addresses *addresses, const struct weir_ip *ip)
{
    addresses->ips[++addresses->count] = *ip;
    return addresses->count;
}

/** The slot of an IPv4 address, or the free one where it belongs. */
static inline uint64_t *find_v4(const struct agg_address_index *index, uint32_t address, uint64_t hash)
{
    uint64_t *slots = index->slots;
    for (size_t at = hash >> index->shift;; at = (at + 1) & (index->capacity - 1)) {
        if (slots[at] == 0 || (uint32_t)slots[at] == address) return &slots[at];
    }
}

static inline uint32_t *find_v6(const struct agg_address_index *index, const struct weir_ip *ips,
                                const struct weir_ip *ip, uint64_t hash)
{
    uint32_t *slots = index->slots;
    for (size_t at = hash >> index->shift;; at = (at + 1) & (index->capacity - 1)) {
        if (slots[at] == 0 || weir_ip_equal(&ips[slots[at]], ip)) return &slots[at];
    }
}

void agg_addresses_ids(struct agg_addresses *addresses, const struct weir_ip *ips, uint32_t count, uint64_t *ret)
{
    uint64_t hashes[AT_ONCE];
    const struct agg_address_index *v4 = &addresses->v4_index, *v6 = &addresses->v6_index;
    for (uint32_t from = 0; from < count; from += AT_ONCE) {
        uint32_t rows = count - from < AT_ONCE ? count - from : AT_ONCE;
        for (uint32_t i = 0; i < rows; i++) {
            const struct weir_ip *ip = &ips[from + i];
            if (weir_ip_is_v4(ip)) {
                hashes[i] = hash_v4(addresses, weir_ip_v4(ip));
                __builtin_prefetch((uint64_t *)v4->slots + (hashes[i] >> v4->shift), 1);
            } else {
                hashes[i] = hash_v6(addresses, ip);
                __builtin_prefetch((uint32_t *)v6->slots + (hashes[i] >> v6->shift), 1);
            }
        }
        for (uint32_t i = 0; i < rows; i++) {
            const struct weir_ip *ip = &ips[from + i];
            if (weir_ip_is_v4(ip)) {
                uint64_t *slot = find_v4(v4, weir_ip_v4(ip), hashes[i]);
                if (*slot == 0) *slot = (uint64_t)new_id(addresses, ip) << 32 | weir_ip_v4(ip);
                ret[from + i] = *slot >> 32;
            } else {
                uint32_t *slot = find_v6(v6, addresses->ips, ip, hashes[i]);
                if (*slot == 0) {
                    *slot = new_id(addresses, ip);
                    addresses->v6++;
                }
                ret[from + i] = *slot;
            }
        }
    }
}

/* --- room --- */

/** An index for @count addresses of @slot_size, at a load of five eighths, with nothing in it. */
static int make_index(size_t count, size_t slot_size, struct agg_address_index *ret)
{
    *ret = (struct agg_address_index){.capacity = CAPACITY_LEAST};
    while (ret->capacity / 8 * 5 < count)
        ret->capacity *= 2;
    ret->shift = 64 - (uint32_t)__builtin_ctzll(ret->capacity);
    ret->slots = weir_aligned_alloc(64, ret->capacity * slot_size);
    if (ret->slots == NULL) return WEIR_ENOMEM;
    memset(ret->slots, 0, ret->capacity * slot_size);
    return 0;
}

static int grow_v4(struct agg_addresses *addresses, size_t count)
{
    struct agg_address_index grown, *index = &addresses->v4_index;
    if (count <= index->capacity / 8 * 5) return 0;
    int rc = make_index(count, sizeof(uint64_t), &grown);
    if (rc < 0) return rc;
    const uint64_t *slots = index->slots;
    for (size_t i = 0; i < index->capacity; i++) {
        uint32_t address = (uint32_t)slots[i];
        if (slots[i] != 0) *find_v4(&grown, address, hash_v4(addresses, address)) = slots[i];
    }
    weir_free(index->slots);
    *index = grown;
    return 0;
}

static int grow_v6(struct agg_addresses *addresses, size_t count)
{
    struct agg_address_index grown, *index = &addresses->v6_index;
    if (count <= index->capacity / 8 * 5) return 0;
    int rc = make_index(count, sizeof(uint32_t), &grown);
    if (rc < 0) return rc;
    const uint32_t *slots = index->slots;
    for (size_t i = 0; i < index->capacity; i++) {
        const struct weir_ip *ip = &addresses->ips[slots[i]];
        if (slots[i] != 0) *find_v6(&grown, addresses->ips, ip, hash_v6(addresses, ip)) = slots[i];
    }
    weir_free(index->slots);
    *index = grown;
    return 0;
}

int agg_addresses_reserve(struct agg_addresses *addresses, uint32_t more)
{
    uint64_t count = (uint64_t)addresses->count + more;
    if (count >> AGG_ADDRESS_BITS != 0) return WEIR_ENOMEM;
    if (count + 1 > addresses->room) {
        uint64_t room = addresses->room + addresses->room / 2;
        if (room < count + 1) room = count + 1;
        struct weir_ip *ips = weir_realloc(addresses->ips, room * sizeof *ips);
        if (ips == NULL) return WEIR_ENOMEM;
        addresses->ips = ips;
        addresses->room = (uint32_t)room;
    }
    int rc = grow_v4(addresses, addresses->count - addresses->v6 + more);
    return rc < 0 ? rc : grow_v6(addresses, addresses->v6 + more);
}

size_t agg_addresses_bytes(const struct agg_addresses *addresses)
{
    return addresses->v4_index.capacity * sizeof(uint64_t) + addresses->v6_index.capacity * sizeof(uint32_t) +
           addresses->room * (sizeof *addresses->ips + 2 * sizeof(uint32_t));
}

/* --- ranking --- */

static int compare_ips(const struct weir_ip *a, const struct weir_ip *b)
{
    bool a_v4 = weir_ip_is_v4(a), b_v4 = weir_ip_is_v4(b);
    return a_v4 != b_v4 ? b_v4 - a_v4 : memcmp(a, b, sizeof *a);
}

static int compare_ids(const void *a, const void *b, void *ctx)
{
    const struct weir_ip *ips = ctx;
    return memcmp(&ips[*(const uint32_t *)a], &ips[*(const uint32_t *)b], sizeof *ips);
}

static inline uint32_t digit_of(const struct weir_ip *ip, int digit)
{
    return weir_ip_v4(ip) >> digit * DIGIT_BITS & (DIGIT - 1);
}

/** Sort ids of IPv4 addresses, least digit first; an odd number of passes: the result is in @spare. */
static void sort_v4(const struct weir_ip *ips, uint32_t *ids, uint32_t *spare, size_t count)
{
    for (int digit = 0; digit < 3; digit++) {
        uint32_t places[DIGIT] = {0}, place = 0;
        for (size_t i = 0; i < count; i++)
            places[digit_of(&ips[ids[i]], digit)]++;
        for (int value = 0; value < DIGIT; value++) {
            uint32_t of_value = places[value];
            places[value] = place;
            place += of_value;
        }
        for (size_t i = 0; i < count; i++)
            spare[places[digit_of(&ips[ids[i]], digit)]++] = ids[i];
        uint32_t *swap = ids;
        ids = spare;
        spare = swap;
    }
}

/** Sort the ids after @ranked into @fresh; @scratch is as large. */
static void sort_fresh(const struct agg_addresses *addresses, uint32_t *fresh, uint32_t *scratch)
{
    uint32_t count = addresses->count - addresses->ranked, v4 = 0, v6 = count;
    for (uint32_t id = addresses->ranked + 1; id <= addresses->count; id++) {
        if (weir_ip_is_v4(&addresses->ips[id]))
            scratch[v4++] = id;
        else
            fresh[--v6] = id;
    }
    sort_v4(addresses->ips, scratch, fresh, v4);
    qsort_r(fresh + v6, count - v6, sizeof *fresh, compare_ids, addresses->ips);
}

/** Merge the ids ranked before with the fresh ones into @merged. */
static void merge(const struct agg_addresses *addresses, const uint32_t *fresh, uint32_t *merged)
{
    const uint32_t *old = addresses->order;
    uint32_t olds = addresses->ranked, freshes = addresses->count - olds, o = 0, f = 0;
    for (uint32_t i = 0; i < addresses->count; i++) {
        bool take_old =
            f == freshes || (o < olds && compare_ips(&addresses->ips[old[o]], &addresses->ips[fresh[f]]) < 0);
        merged[i] = take_old ? old[o++] : fresh[f++];
    }
}

int agg_addresses_rank(struct agg_addresses *addresses)
{
    uint32_t count = addresses->count;
    if (addresses->ranked == count) return 0;
    uint32_t *fresh = weir_malloc((count - addresses->ranked) * 2 * sizeof *fresh);
    uint32_t *order = weir_malloc(count * sizeof *order);
    uint32_t *rank = weir_malloc((count + 1) * sizeof *rank);
    if (fresh == NULL || order == NULL || rank == NULL) {
        weir_free(fresh);
        weir_free(order);
        weir_free(rank);
        return WEIR_ENOMEM;
    }
    sort_fresh(addresses, fresh, fresh + (count - addresses->ranked));
    merge(addresses, fresh, order);
    weir_free(fresh);
    weir_free(addresses->order);
    weir_free(addresses->rank);
    addresses->order = order;
    addresses->rank = rank;
    addresses->ranked = count;
    for (uint32_t i = 0; i < count; i++)
        rank[order[i]] = i;
    return 0;
}
