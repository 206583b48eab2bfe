#include "aggregator/roll_sort.h"

#include "common/base/err.h"
#include "common/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum {
    RUN_MOST = 1 << 24, /* sums: a longer list is sorted in parts, since a place in a bucket has 24 bits */
    PLACE_BITS = 24,
    KEY_BITS = 64 - PLACE_BITS, /* of what tells sums of one bucket apart */
    BUCKET_BITS_MOST = 10,
    BUCKET_SUMS = 8192, /* on average: they stay in the second cache */
    DIGIT_BITS = 9,
    DIGIT = 1 << DIGIT_BITS,
    FEW = 48 /* sums: insertion sort beats counting */
};

_Static_assert(2 * (int)AGG_ADDRESS_BITS - BUCKET_BITS_MOST <= KEY_BITS, "a key fits beside a place");

void agg_sorter_fini(struct agg_sorter *sorter)
{
    weir_free(sorter->keys);
    weir_free(sorter->spare);
    weir_free(sorter->sums);
    *sorter = (struct agg_sorter){0};
}

static int reserve(struct agg_sorter *sorter, size_t count, size_t bytes)
{
    if (count <= sorter->room && bytes <= sorter->sum_bytes) return 0;
    agg_sorter_fini(sorter);
    sorter->keys = weir_aligned_alloc(64, count * sizeof *sorter->keys);
    sorter->spare = weir_aligned_alloc(64, count * sizeof *sorter->spare);
    sorter->sums = weir_aligned_alloc(64, bytes);
    if (sorter->keys != NULL && sorter->spare != NULL && sorter->sums != NULL) {
        sorter->room = count;
        sorter->sum_bytes = bytes;
        return 0;
    }
    agg_sorter_fini(sorter);
    return WEIR_ENOMEM;
}

/** A key with ranks in place of ids, which lies in the order of addresses. */
static inline uint64_t rank_key(const struct agg_addresses *addresses, enum agg_key_kind kind, uint64_t key)
{
    uint64_t upper = addresses->rank[agg_key_upper(key)], lower = agg_key_lower(key);
    return upper << AGG_ADDRESS_BITS | (kind == AGG_KEY_TWO_ADDRESSES ? addresses->rank[lower] : lower);
}

/** Bits of the numbers below @count. */
static uint32_t bits_of(uint32_t count)
{
    return count <= 1 ? 1 : 32 - (uint32_t)__builtin_clz(count - 1);
}

static void insertion_sort(uint64_t *keys, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        uint64_t one = keys[i];
        size_t at = i;
        for (; at > 0 && keys[at - 1] > one; at--)
            keys[at] = keys[at - 1];
        keys[at] = one;
    }
}

/** Sort by key, least digit first, passing over low bits that are the same in all. Returns where the result is. */
static uint64_t *sort_bucket(uint64_t *from, uint64_t *to, size_t count)
{
    if (count <= FEW) {
        insertion_sort(from, count);
        return from;
    }
    uint64_t all = UINT64_MAX, any = 0;
    for (size_t i = 0; i < count; i++) {
        all &= from[i];
        any |= from[i];
    }
    uint64_t differ = all ^ any;
    for (uint32_t shift = PLACE_BITS; shift < 64 && differ >> shift != 0; shift += DIGIT_BITS) {
        shift += (uint32_t)__builtin_ctzll(differ >> shift);
        uint32_t places[DIGIT] = {0}, place = 0;
        for (size_t i = 0; i < count; i++)
            places[from[i] >> shift & (DIGIT - 1)]++;
        for (int value = 0; value < DIGIT; value++) {
            uint32_t of_value = places[value];
            places[value] = place;
            place += of_value;
        }
        for (size_t i = 0; i < count; i++)
            to[places[from[i] >> shift & (DIGIT - 1)]++] = from[i];
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    return from;
}

/** Writes sums back into the segments that they came from, which are enough; the same key after each other adds up. */
struct writer {
    struct agg_segment *segment;
    void *last; /* sum written */
    uint64_t last_key;
    size_t count;
};

/** Add @more to the sum written last, if it fits. */
static inline bool add_up(struct writer *writer, const void *sum, bool wide)
{
    if (wide) {
        const struct agg_wide_sum *more = sum;
        weir_counts_add(&((struct agg_wide_sum *)writer->last)->counts, &more->counts);
        return true;
    }
    const struct agg_sum *more = sum;
    struct agg_sum *to = writer->last;
    uint32_t bytes, flows;
    uint64_t packets = more->key_packets & AGG_PACKETS_MOST;
    if ((to->key_packets & AGG_PACKETS_MOST) + packets > AGG_PACKETS_MOST) return false;
    if (__builtin_add_overflow(to->bytes, more->bytes, &bytes)) return false;
    if (__builtin_add_overflow(to->flows, more->flows, &flows)) return false;
    to->key_packets += packets;
    to->bytes = bytes;
    to->flows = flows;
    return true;
}

static inline __attribute__((always_inline)) void write_sum(struct writer *writer, const void *sum, uint64_t key,
                                                            bool wide)
{
    size_t size = wide ? sizeof(struct agg_wide_sum) : sizeof(struct agg_sum);
    if (writer->last != NULL && writer->last_key == key && add_up(writer, sum, wide)) return;
    if (writer->segment->bytes + size > AGG_SEGMENT_ROOM) {
        writer->segment = writer->segment->next;
        writer->segment->bytes = 0;
    }
    writer->last = writer->segment->data + writer->segment->bytes;
    memcpy(writer->last, sum, size);
    writer->segment->bytes += size;
    writer->last_key = key;
    writer->count++;
}

/** Where the buckets of a run begin; the last number is the end. */
struct buckets {
    uint32_t shift; /* a key shifted by this is its bucket */
    uint32_t count;
    uint32_t begin[(1 << BUCKET_BITS_MOST) + 1];
};

static void make_buckets(struct buckets *buckets, const struct agg_addresses *addresses, size_t count)
{
    uint32_t rank_bits = bits_of(addresses->count), bits = bits_of((uint32_t)(count / BUCKET_SUMS));
    if (bits > BUCKET_BITS_MOST) bits = BUCKET_BITS_MOST;
    if (bits > rank_bits) bits = rank_bits;
    if (rank_bits + (uint32_t)AGG_ADDRESS_BITS > KEY_BITS + bits)
        bits = rank_bits + (uint32_t)AGG_ADDRESS_BITS - KEY_BITS;
    buckets->shift = (uint32_t)AGG_ADDRESS_BITS + rank_bits - bits;
    buckets->count = 1u << bits;
    memset(buckets->begin, 0, (buckets->count + 1) * sizeof *buckets->begin);
}

/** Sort the sums from @from up to segment @end and write them. Made once for each width: copies of a known size are moves. */
static inline __attribute__((always_inline)) void
sort_run(struct agg_sorter *sorter, const struct agg_addresses *addresses, enum agg_key_kind kind, bool wide,
         const struct agg_segment *from, const struct agg_segment *end, size_t count, struct writer *writer)
{
    size_t size = wide ? sizeof(struct agg_wide_sum) : sizeof(struct agg_sum);
    struct buckets buckets;
    make_buckets(&buckets, addresses, count);

    /* Ranks first, since each takes a look elsewhere; then into buckets. */
    uint32_t *begin = buckets.begin, place = 0;
    size_t i = 0;
    for (const struct agg_segment *segment = from; segment != end; segment = segment->next) {
        for (size_t at = 0; at < segment->bytes; at += size) {
            sorter->spare[i] = rank_key(addresses, kind, agg_key_of(segment->data + at));
            begin[sorter->spare[i++] >> buckets.shift]++;
        }
    }
    for (uint32_t bucket = 0; bucket <= buckets.count; bucket++) {
        uint32_t of_bucket = begin[bucket];
        begin[bucket] = place;
        place += of_bucket;
    }
    uint32_t next[1 << BUCKET_BITS_MOST];
    memcpy(next, begin, buckets.count * sizeof *next);
    i = 0;
    for (const struct agg_segment *segment = from; segment != end; segment = segment->next) {
        for (size_t at = 0; at < segment->bytes; at += size) {
            uint64_t key = sorter->spare[i++];
            uint32_t bucket = (uint32_t)(key >> buckets.shift), to = next[bucket]++;
            sorter->keys[to] = key << PLACE_BITS | (to - begin[bucket]);
            memcpy(sorter->sums + to * size, segment->data + at, size);
        }
    }

    if (writer->count == 0) writer->segment->bytes = 0; /* all of it was read */
    for (uint32_t bucket = 0; bucket < buckets.count; bucket++) {
        uint32_t first = begin[bucket], sums = begin[bucket + 1] - first;
        const uint64_t *sorted = sort_bucket(sorter->keys + first, sorter->spare + first, sums);
        writer->last = NULL;
        for (uint32_t j = 0; j < sums; j++) {
            size_t at = first + (sorted[j] & (RUN_MOST - 1));
            write_sum(writer, sorter->sums + at * size, sorted[j] >> PLACE_BITS, wide);
        }
    }
}

static inline __attribute__((always_inline)) int sort_list(struct agg_sorter *sorter,
                                                           const struct agg_addresses *addresses,
                                                           enum agg_key_kind kind, bool wide, struct agg_list *list,
                                                           struct agg_pool *pool)
{
    size_t size = wide ? sizeof(struct agg_wide_sum) : sizeof(struct agg_sum);
    size_t most = list->count < RUN_MOST ? list->count : RUN_MOST;
    int rc = reserve(sorter, most, most * size);
    if (rc < 0) return rc;

    struct writer writer = {.segment = list->first};
    for (const struct agg_segment *from = list->first, *end; from != NULL; from = end) {
        size_t count = 0;
        for (end = from; end != NULL && count + end->bytes / size <= RUN_MOST; end = end->next)
            count += end->bytes / size;
        sort_run(sorter, addresses, kind, wide, from, end, count, &writer);
    }
    struct agg_list rest = {.first = writer.segment->next};
    writer.segment->next = NULL;
    *list = (struct agg_list){.first = list->first, .last = writer.segment, .count = writer.count, .sorted = true};
    agg_list_clear(&rest, pool);
    return 0;
}

int agg_sort(struct agg_sorter *sorter, const struct agg_addresses *addresses, enum agg_key_kind kind, bool wide,
             struct agg_list *list, struct agg_pool *pool)
{
    if (list->count == 0 || list->sorted) return 0;
    return wide ? sort_list(sorter, addresses, kind, true, list, pool)
                : sort_list(sorter, addresses, kind, false, list, pool);
}
