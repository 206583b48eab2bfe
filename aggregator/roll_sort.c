#include "aggregator/roll_sort.h"

#include "common/base/err.h"
#include "common/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum {
    RUN_MOST = 1 << 24, /* sums: a longer list is sorted in parts, since a place in a bucket has 24 bits */
    PLACE_BITS = 24,
    BUCKET_BITS_MOST = 10,
    BUCKET_SUMS = 4096, /* on average: they stay in the second cache */
    DIGIT_BITS = 9,
    DIGIT = 1 << DIGIT_BITS,
    FEW = 48 /* sums: insertion sort beats counting */
};

void agg_sorter_fini(struct agg_sorter *sorter)
{
    weir_free(sorter->ranks);
    weir_free(sorter->sums);
    weir_free(sorter->slots);
    weir_free(sorter->keys);
    *sorter = (struct agg_sorter){0};
}

/** Memory for a run of @count sums, @bytes in all. */
static int reserve_run(struct agg_sorter *sorter, size_t count, size_t bytes)
{
    if (count <= sorter->room && bytes <= sorter->sum_bytes) return 0;
    agg_sorter_fini(sorter);
    sorter->ranks = weir_aligned_alloc(64, count * sizeof *sorter->ranks);
    sorter->sums = weir_aligned_alloc(64, bytes);
    if (sorter->ranks != NULL && sorter->sums != NULL) {
        sorter->room = count;
        sorter->sum_bytes = bytes;
        return 0;
    }
    agg_sorter_fini(sorter);
    return WEIR_ENOMEM;
}

/** Slots for a bucket of @count sums: a power of two, at most half of them taken. */
static size_t slots_for(size_t count)
{
    size_t slots = 16;
    while (slots < 2 * count)
        slots *= 2;
    return slots;
}

/** Memory for buckets of @count sums. */
static int reserve_bucket(struct agg_sorter *sorter, size_t count)
{
    if (count <= sorter->bucket_room) return 0;
    size_t room = count + count / 4;
    weir_free(sorter->slots);
    weir_free(sorter->keys);
    sorter->slots = weir_aligned_alloc(64, slots_for(room) * sizeof *sorter->slots);
    sorter->keys = weir_aligned_alloc(64, 2 * room * sizeof *sorter->keys);
    sorter->bucket_room = sorter->slots == NULL || sorter->keys == NULL ? 0 : room;
    return sorter->bucket_room == 0 ? WEIR_ENOMEM : 0;
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

/** Add @more to @to, of the same key, if it fits. */
static inline bool add_up(void *to_sum, const void *more_sum, bool wide)
{
    if (wide) {
        weir_counts_add(&((struct agg_wide_sum *)to_sum)->counts, &((const struct agg_wide_sum *)more_sum)->counts);
        return true;
    }
    struct agg_sum *to = to_sum;
    const struct agg_sum *more = more_sum;
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

/** Give a sum another number in the upper half of its key. */
static inline void set_upper(void *sum, uint32_t upper)
{
    enum { LOWER_BITS = AGG_ADDRESS_BITS + AGG_PACKETS_BITS };
    uint64_t first;
    memcpy(&first, sum, sizeof first);
    first = (first & ((1ull << LOWER_BITS) - 1)) | (uint64_t)upper << LOWER_BITS;
    memcpy(sum, &first, sizeof first);
}

/**
 * Add up what has one key among the @count sums of a bucket, in their place; returns how many are left. A sum that is
 * full stays, and the next one of its key takes over.
 */
static inline __attribute__((always_inline)) uint32_t add_up_bucket(struct agg_sorter *sorter, uint64_t multiplier,
                                                                    bool wide, uint8_t *sums, uint32_t count)
{
    size_t size = agg_sum_size(wide), slots = slots_for(count), left = 0;
    uint32_t shift = 64 - (uint32_t)__builtin_ctzll(slots);
    memset(sorter->slots, 0, slots * sizeof *sorter->slots);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *sum = sums + i * size;
        uint64_t key = agg_key_of(sum);
        size_t at = key * multiplier >> shift;
        uint32_t known;
        while ((known = sorter->slots[at]) != 0 && agg_key_of(sums + (known - 1) * size) != key)
            at = (at + 1) & (slots - 1);
        if (known != 0 && add_up(sums + (known - 1) * size, sum, wide)) continue;
        memcpy(sums + left * size, sum, size);
        sorter->slots[at] = (uint32_t)++left;
    }
    return (uint32_t)left;
}

/** Writes sums back into the segments that they came from, which are enough. */
struct writer {
    struct agg_segment *segment;
    size_t count;
};

static inline __attribute__((always_inline)) void write_sum(struct writer *writer, const void *sum, uint32_t id,
                                                            bool wide)
{
    size_t size = agg_sum_size(wide);
    if (writer->segment->bytes + size > AGG_SEGMENT_ROOM) {
        writer->segment = writer->segment->next;
        writer->segment->bytes = 0;
    }
    void *to = writer->segment->data + writer->segment->bytes;
    memcpy(to, sum, size);
    set_upper(to, id);
    writer->segment->bytes += size;
    writer->count++;
}

/** Where the buckets of a run begin; the last number is the end. */
struct buckets {
    uint32_t shift; /* a rank shifted by this is its bucket */
    uint32_t count;
    uint32_t begin[(1 << BUCKET_BITS_MOST) + 1];
};

static void make_buckets(struct buckets *buckets, const struct agg_addresses *addresses, size_t count)
{
    uint32_t rank_bits = bits_of(addresses->count), bits = bits_of((uint32_t)(count / BUCKET_SUMS));
    if (bits > BUCKET_BITS_MOST) bits = BUCKET_BITS_MOST;
    if (bits > rank_bits) bits = rank_bits;
    buckets->shift = rank_bits - bits;
    buckets->count = 1u << bits;
    memset(buckets->begin, 0, (buckets->count + 1) * sizeof *buckets->begin);
}

/**
 * Spread the sums from @from up to segment @end over buckets, with ranks in the place of ids. Returns the sums of the
 * largest one.
 */
static inline __attribute__((always_inline)) uint32_t spread_run(struct agg_sorter *sorter,
                                                                 const struct agg_addresses *addresses, bool wide,
                                                                 const struct agg_segment *from,
                                                                 const struct agg_segment *end, struct buckets *buckets)
{
    size_t size = agg_sum_size(wide), i = 0;
    for (const struct agg_segment *segment = from; segment != end; segment = segment->next) {
        for (size_t at = 0; at < segment->bytes; at += size) {
            uint32_t rank = addresses->rank[agg_key_upper(agg_key_of(segment->data + at))];
            sorter->ranks[i++] = rank;
            buckets->begin[rank >> buckets->shift]++;
        }
    }
    uint32_t next[1 << BUCKET_BITS_MOST], place = 0, largest = 0;
    for (uint32_t bucket = 0; bucket < buckets->count; bucket++) {
        uint32_t of_bucket = buckets->begin[bucket];
        if (of_bucket > largest) largest = of_bucket;
        buckets->begin[bucket] = next[bucket] = place;
        place += of_bucket;
    }
    buckets->begin[buckets->count] = place;
    i = 0;
    for (const struct agg_segment *segment = from; segment != end; segment = segment->next) {
        for (size_t at = 0; at < segment->bytes; at += size) {
            uint32_t rank = sorter->ranks[i++];
            uint8_t *to = sorter->sums + next[rank >> buckets->shift]++ * size;
            memcpy(to, segment->data + at, size);
            set_upper(to, rank);
        }
    }
    return largest;
}

/** Sort the sums from @from up to segment @end and write them. */
static inline __attribute__((always_inline)) int sort_run(struct agg_sorter *sorter,
                                                          const struct agg_addresses *addresses, bool wide,
                                                          const struct agg_segment *from, const struct agg_segment *end,
                                                          size_t count, struct writer *writer)
{
    size_t size = agg_sum_size(wide);
    struct buckets buckets;
    make_buckets(&buckets, addresses, count);
    uint32_t largest = spread_run(sorter, addresses, wide, from, end, &buckets);
    int rc = reserve_bucket(sorter, largest);
    if (rc < 0) return rc;

    if (writer->count == 0) writer->segment->bytes = 0; /* all of it was read */
    for (uint32_t bucket = 0; bucket < buckets.count; bucket++) {
        uint32_t first = buckets.begin[bucket];
        uint8_t *sums = sorter->sums + first * size;
        uint32_t left =
            add_up_bucket(sorter, agg_addresses_multiplier(addresses), wide, sums, buckets.begin[bucket + 1] - first);
        for (uint32_t i = 0; i < left; i++)
            sorter->keys[i] = (uint64_t)agg_key_upper(agg_key_of(sums + i * size)) << PLACE_BITS | i;
        const uint64_t *sorted = sort_bucket(sorter->keys, sorter->keys + sorter->bucket_room, left);
        for (uint32_t i = 0; i < left; i++)
            write_sum(writer, sums + (sorted[i] & (RUN_MOST - 1)) * size, addresses->order[sorted[i] >> PLACE_BITS],
                      wide);
    }
    return 0;
}

static inline __attribute__((always_inline)) int sort_list(struct agg_sorter *sorter,
                                                           const struct agg_addresses *addresses, bool wide,
                                                           struct agg_list *list, struct agg_pool *pool)
{
    size_t size = agg_sum_size(wide), most = list->count < RUN_MOST ? list->count : RUN_MOST, read = 0;
    int rc = reserve_run(sorter, most, most * size);
    if (rc < 0) return rc;

    struct writer writer = {.segment = list->first};
    struct agg_segment *from = list->first;
    while (rc == 0 && from != NULL) {
        struct agg_segment *end = from;
        size_t count = 0;
        for (; end != NULL && count + end->bytes / size <= RUN_MOST; end = end->next)
            count += end->bytes / size;
        rc = sort_run(sorter, addresses, wide, from, end, count, &writer);
        if (rc < 0) break;
        read += count;
        from = end;
    }
    if (read == 0) return rc;

    /* What was written, then what was not read; the segments between are free. */
    struct agg_list between = {0};
    while (writer.segment->next != from) {
        struct agg_segment *segment = writer.segment->next;
        writer.segment->next = segment->next;
        segment->next = between.first;
        between.first = segment;
        list->segments--;
    }
    list->count = list->count - read + writer.count;
    list->sorted = from == NULL;
    if (from == NULL) list->last = writer.segment;
    agg_list_clear(&between, pool);
    return rc;
}

int agg_sort(struct agg_sorter *sorter, const struct agg_addresses *addresses, bool wide, struct agg_list *list,
             struct agg_pool *pool)
{
    if (list->count == 0 || list->sorted) return 0;
    return wide ? sort_list(sorter, addresses, true, list, pool) : sort_list(sorter, addresses, false, list, pool);
}
