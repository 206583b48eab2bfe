/*
 * Writing out: the sums of a cell become rows. Pairs lie in the order of their sources: a run of one source is a row of
 * that address; sorted by destination they give the rows of those. Rows go into chunks, the chunks of a shard are
 * collected table by table, since that is the order of their keys.
 */
#include "aggregator/roll_cells.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <assert.h>
#include <stdlib.h>

enum { DENSE_FRACTION = 2 };

/** A chunk that waits for its turn. */
struct waiting {
    uint32_t window;
    uint32_t rows;
    size_t at; /* in the table's bytes */
    size_t size;
};

/** What was made of a table of the shard at hand. */
struct made {
    struct weir_buf bytes;
    struct waiting *waiting;
    size_t count;
    size_t room;
};

/** What one destination was sent; with its address, so that a pair takes one look elsewhere. */
struct dense {
    uint32_t v4; /* as a number, if it is one */
    bool is_v4;
    uint64_t flows;
    uint64_t packets;
    uint64_t bytes;
};

_Static_assert(sizeof(struct dense) == 32, "two share a line of the cache");

struct agg_roll_emitter {
    struct agg_chunk chunk[AGG_TABLES]; /* being filled */
    struct made made[AGG_TABLES];
    struct agg_list destinations; /* of the cell at hand, or: */
    struct dense *dense;          /* by id */
    uint32_t dense_room;
    uint32_t window;
    bool failed; /* memory ran out */
};

void agg_roll_emitter_destroy(struct agg_roll_emitter *emitter)
{
    if (emitter == NULL) return;
    for (int table = 0; table < AGG_TABLES; table++) {
        weir_buf_fini(&emitter->made[table].bytes);
        weir_free(emitter->made[table].waiting);
    }
    weir_free(emitter->dense);
    weir_free(emitter);
}

/* --- chunks --- */

static void close_chunk(struct agg_roll_emitter *emitter, enum agg_table table)
{
    struct agg_chunk *chunk = &emitter->chunk[table];
    struct made *made = &emitter->made[table];
    if (chunk->count == 0) return;
    if (made->count == made->room) {
        size_t room = made->room == 0 ? 16 : made->room * 2;
        struct waiting *waiting = weir_realloc(made->waiting, room * sizeof *waiting);
        if (waiting == NULL) {
            emitter->failed = true;
            return;
        }
        made->waiting = waiting;
        made->room = room;
    }
    size_t at = made->bytes.size;
    if (agg_chunk_encode(chunk, &made->bytes) < 0) emitter->failed = true;
    made->waiting[made->count++] =
        (struct waiting){.window = emitter->window, .rows = chunk->count, .at = at, .size = made->bytes.size - at};
    chunk->count = 0;
}

/** A new row in the chunk of a table, whose counts are to be filled in. */
static inline uint32_t new_row(struct agg_roll_emitter *emitter, enum agg_table table, bool v4, bool sampled)
{
    struct agg_chunk *chunk = &emitter->chunk[table];
    if (__builtin_expect(chunk->count == AGG_CHUNK_ROWS || chunk->v4 != v4 || chunk->sampled != sampled, 0)) {
        close_chunk(emitter, table);
        chunk->count = 0;
        chunk->v4 = v4;
        chunk->sampled = sampled;
    }
    return chunk->count++;
}

static inline void put_ip(struct agg_chunk *chunk, int which, uint32_t row, const struct weir_ip *ip)
{
    if (chunk->v4)
        chunk->v4_ip[which][row] = weir_ip_v4(ip);
    else
        chunk->ip[which][row] = *ip;
}

static inline void put_counts(struct agg_chunk *chunk, uint32_t row, const struct weir_counts *counts, bool sampled)
{
    chunk->flows[row] = counts->flows;
    chunk->packets[row] = counts->packets;
    chunk->bytes[row] = counts->bytes;
    if (!sampled) return;
    chunk->more_packets[row] = counts->scaled_packets - counts->packets;
    chunk->more_bytes[row] = counts->scaled_bytes - counts->bytes;
    chunk->packets_variance[row] = counts->packets_variance;
    chunk->bytes_variance[row] = counts->bytes_variance;
}

/* --- rows of a cell: the same for wide sums and others --- */

/** The key of a sum, and its counts; what scaling adds only if it is wide. */
static inline uint64_t read_sum(const void *at, bool wide, struct weir_counts *ret)
{
    if (wide) {
        const struct agg_wide_sum *sum = at;
        *ret = sum->counts;
        return agg_key_of(sum);
    }
    const struct agg_sum *sum = at;
    ret->flows = sum->flows;
    ret->packets = sum->key_packets & AGG_PACKETS_MOST;
    ret->bytes = sum->bytes;
    return agg_key_of(sum);
}

static inline void add_counts(struct weir_counts *to, const struct weir_counts *more, bool wide)
{
    if (wide) {
        weir_counts_add(to, more);
        return;
    }
    to->flows += more->flows;
    to->packets += more->packets;
    to->bytes += more->bytes;
}

static inline void put_address(struct agg_roll_emitter *emitter, const struct weir_ip *ip, enum agg_table table,
                               const struct weir_counts *counts, bool wide)
{
    uint32_t row = new_row(emitter, table, weir_ip_is_v4(ip), wide);
    put_ip(&emitter->chunk[table], 0, row, ip);
    put_counts(&emitter->chunk[table], row, counts, wide);
}

/*
 * Destinations add up in an array of all addresses when there are enough pairs for that, else in a list that is sorted.
 */

static bool are_dense(const struct agg_roll *roll, const struct agg_list *pairs, bool wide)
{
    return !wide && pairs->count >= roll->addresses.count / DENSE_FRACTION;
}

/** An entry for every address, nothing sent to it. */
static int reset_dense(struct agg_roll_emitter *emitter, const struct agg_addresses *addresses)
{
    if (addresses->count >= emitter->dense_room) {
        weir_free(emitter->dense);
        emitter->dense_room = addresses->count + addresses->count / 4 + 1;
        emitter->dense = weir_aligned_alloc(64, emitter->dense_room * sizeof *emitter->dense);
        if (emitter->dense == NULL) {
            emitter->dense_room = 0;
            return WEIR_ENOMEM;
        }
    }
    for (uint32_t id = 1; id <= addresses->count; id++)
        emitter->dense[id] =
            (struct dense){.v4 = weir_ip_v4(&addresses->ips[id]), .is_v4 = weir_ip_is_v4(&addresses->ips[id])};
    return 0;
}

/** Fetch the entries of destinations of a segment's pairs into the cache. */
static inline void fetch_dense(const struct dense *dense, const struct agg_segment *segment)
{
    for (size_t at = 0; at < segment->bytes; at += sizeof(struct agg_sum))
        __builtin_prefetch(&dense[agg_key_lower(agg_key_of(segment->data + at))], 1);
}

static inline void add_dense(struct dense *to, const struct weir_counts *counts)
{
    to->flows += counts->flows;
    to->packets += counts->packets;
    to->bytes += counts->bytes;
}

static inline void note_destination(struct agg_roll *roll, uint64_t key, const void *sum, bool wide)
{
    size_t size = agg_sum_size(wide);
    void *noted = agg_list_append(&roll->emitter->destinations, &roll->pool, size);
    memcpy(noted, sum, size);
    uint64_t first;
    memcpy(&first, sum, sizeof first);
    first = (uint64_t)agg_key_lower(key) << (AGG_ADDRESS_BITS + AGG_PACKETS_BITS) | (first & AGG_PACKETS_MOST);
    memcpy(noted, &first, sizeof first);
}

/** The source whose pairs are at hand, 0 before the first. */
struct source {
    uint32_t id;
    bool is_v4;
    uint32_t v4;
    struct weir_counts counts;
};

static inline void next_source(struct agg_roll *roll, struct source *source, uint32_t id, bool wide)
{
    const struct weir_ip *ips = roll->addresses.ips;
    if (source->id != 0) put_address(roll->emitter, &ips[source->id], AGG_TABLE_SRC, &source->counts, wide);
    if (id != 0) *source = (struct source){.id = id, .is_v4 = weir_ip_is_v4(&ips[id]), .v4 = weir_ip_v4(&ips[id])};
}

/** A pair of IPv4 addresses, or of any. */
static inline void put_pair(struct agg_roll *roll, const struct source *source, uint32_t to, bool v4, uint32_t to_v4,
                            const struct weir_counts *counts, bool wide)
{
    const struct weir_ip *ips = roll->addresses.ips;
    struct agg_chunk *chunk = &roll->emitter->chunk[AGG_TABLE_PAIR];
    uint32_t row = new_row(roll->emitter, AGG_TABLE_PAIR, v4, wide);
    if (v4) {
        chunk->v4_ip[0][row] = source->v4;
        chunk->v4_ip[1][row] = to_v4;
    } else {
        chunk->ip[0][row] = ips[source->id];
        chunk->ip[1][row] = ips[to];
    }
    put_counts(chunk, row, counts, wide);
    if (source->id == to) put_address(roll->emitter, &ips[to], AGG_TABLE_SELF, counts, wide);
}

/** Pairs, their sources, and what their destinations add up from. */
static inline void put_pairs(struct agg_roll *roll, const struct agg_list *pairs, bool wide, bool dense)
{
    const struct weir_ip *ips = roll->addresses.ips;
    struct source source = {0};
    struct weir_counts counts;
    for (const struct agg_segment *segment = pairs->first; segment != NULL; segment = segment->next) {
        if (dense) fetch_dense(roll->emitter->dense, segment);
        for (size_t at = 0; at < segment->bytes; at += agg_sum_size(wide)) {
            uint64_t key = read_sum(segment->data + at, wide, &counts);
            uint32_t to = agg_key_lower(key);
            if (agg_key_upper(key) != source.id) next_source(roll, &source, agg_key_upper(key), wide);
            add_counts(&source.counts, &counts, wide);
            if (dense) {
                struct dense *known = &roll->emitter->dense[to];
                put_pair(roll, &source, to, source.is_v4 && known->is_v4, known->v4, &counts, wide);
                add_dense(known, &counts);
            } else {
                put_pair(roll, &source, to, source.is_v4 && weir_ip_is_v4(&ips[to]), weir_ip_v4(&ips[to]), &counts,
                         wide);
                note_destination(roll, key, segment->data + at, wide);
            }
        }
    }
    next_source(roll, &source, 0, wide);
}

static inline void put_destinations(struct agg_roll *roll, bool wide)
{
    const struct agg_list *list = &roll->emitter->destinations;
    struct weir_counts counts;
    for (const struct agg_segment *segment = list->first; segment != NULL; segment = segment->next) {
        for (size_t at = 0; at < segment->bytes; at += agg_sum_size(wide)) {
            uint64_t key = read_sum(segment->data + at, wide, &counts);
            put_address(roll->emitter, &roll->addresses.ips[agg_key_upper(key)], AGG_TABLE_DST, &counts, wide);
        }
    }
}

static void put_dense_destinations(struct agg_roll *roll)
{
    const struct agg_addresses *addresses = &roll->addresses;
    for (uint32_t rank = 0; rank < addresses->count; rank++) {
        uint32_t id = addresses->order[rank];
        const struct dense *sum = &roll->emitter->dense[id];
        if (sum->flows == 0 && sum->packets == 0 && sum->bytes == 0) continue;
        struct weir_counts counts = {.flows = sum->flows, .packets = sum->packets, .bytes = sum->bytes};
        put_address(roll->emitter, &addresses->ips[id], AGG_TABLE_DST, &counts, false);
    }
}

static inline void put_services(struct agg_roll *roll, const struct agg_list *services, bool wide)
{
    struct agg_roll_emitter *emitter = roll->emitter;
    struct agg_chunk *chunk = &emitter->chunk[AGG_TABLE_SERVICE];
    struct weir_counts counts;
    for (const struct agg_segment *segment = services->first; segment != NULL; segment = segment->next) {
        for (size_t at = 0; at < segment->bytes; at += agg_sum_size(wide)) {
            uint64_t key = read_sum(segment->data + at, wide, &counts);
            const struct weir_ip *server = &roll->addresses.ips[agg_key_upper(key)];
            uint32_t row = new_row(emitter, AGG_TABLE_SERVICE, weir_ip_is_v4(server), wide);
            put_ip(chunk, 0, row, server);
            chunk->proto[row] = (uint8_t)(key >> 16);
            chunk->port[row] = (uint16_t)key;
            put_counts(chunk, row, &counts, wide);
        }
    }
}

static int put_pairs_densely(struct agg_roll *roll, const struct agg_list *pairs)
{
    int rc = reset_dense(roll->emitter, &roll->addresses);
    if (rc < 0) return rc;
    put_pairs(roll, pairs, false, true);
    put_dense_destinations(roll);
    return 0;
}

static inline int put_pairs_sparsely(struct agg_roll *roll, const struct agg_list *pairs, bool wide)
{
    const struct agg_list nothing = {0};
    struct agg_list *destinations = &roll->emitter->destinations;
    int rc = agg_pool_reserve(&roll->pool, agg_list_needs(&nothing, pairs->count, agg_sum_size(wide)));
    if (rc < 0) return rc;
    put_pairs(roll, pairs, wide, false);
    rc = agg_sort(&roll->sorter, &roll->addresses, wide, destinations, &roll->pool);
    if (rc == 0) put_destinations(roll, wide);
    agg_list_clear(destinations, &roll->pool);
    return rc;
}

static inline int put_sums(struct agg_roll *roll, const struct agg_cell *cell, bool wide)
{
    const struct agg_list *pairs = &cell->list[AGG_KIND_PAIR][wide];
    if (pairs->count == 0) return 0;
    put_services(roll, &cell->list[AGG_KIND_SERVICE][wide], wide);
    return are_dense(roll, pairs, wide) ? put_pairs_densely(roll, pairs) : put_pairs_sparsely(roll, pairs, wide);
}

static int put_cell(struct agg_roll *roll, const struct agg_cell *cell)
{
    roll->emitter->window = cell->window;
    int rc = put_sums(roll, cell, false);
    if (rc == 0) rc = put_sums(roll, cell, true);
    for (int table = AGG_TABLE_SRC; table < AGG_TABLES; table++)
        close_chunk(roll->emitter, table);
    return rc < 0 ? rc : roll->emitter->failed ? WEIR_ENOMEM : 0;
}

/* --- all of a tier --- */

static int compare_cells(const void *a, const void *b, void *ctx)
{
    const struct agg_cell *cells = ctx, *x = &cells[*(const uint32_t *)a], *y = &cells[*(const uint32_t *)b];
    if (x->shard != y->shard) return x->shard < y->shard ? -1 : 1;
    return (x->window > y->window) - (x->window < y->window);
}

/** A row of a source with its stored key. */
struct stored_source {
    uint32_t shard;
    uint8_t size;
    uint8_t key[AGG_ROW_KEY_MOST];
    const struct agg_row *row;
};

static int compare_sources(const void *a, const void *b)
{
    const struct stored_source *x = a, *y = b;
    size_t shorter = x->size < y->size ? x->size : y->size;
    int order = memcmp(x->key, y->key, shorter);
    return order != 0 ? order : (x->size > y->size) - (x->size < y->size);
}

/** The parts of a tier in the order in which they are written. */
struct ordered {
    uint32_t *cells;
    uint32_t cell_count;
    struct stored_source *sources;
    size_t source_count;
};

static int order_tier(const struct agg_roll_tier *tier, struct ordered *ret)
{
    *ret = (struct ordered){.cells = weir_malloc((tier->cell_count + 1) * sizeof *ret->cells),
                            .sources = weir_calloc(tier->sources.count + 1, sizeof *ret->sources)};
    if (ret->cells == NULL || ret->sources == NULL) return WEIR_ENOMEM;
    for (uint32_t i = 0; i < tier->cell_count; i++)
        ret->cells[ret->cell_count++] = i;
    qsort_r(ret->cells, ret->cell_count, sizeof *ret->cells, compare_cells, tier->cells);

    const struct agg_source_key *key;
    void *row;
    size_t at = 0;
    while ((key = weir_table_next(&tier->sources, &at, &row)) != NULL) {
        struct agg_row_key stored = {.shard = key->shard,
                                     .window = key->window,
                                     .source = {.exporter = key->exporter, .domain = key->domain},
                                     .protocol = key->protocol,
                                     .reason = (enum weir_drop_reason)key->reason};
        memcpy(stored.site, key->site, sizeof stored.site);
        memcpy(stored.agent, key->agent, sizeof stored.agent);
        struct stored_source *source = &ret->sources[ret->source_count++];
        source->shard = key->shard;
        source->size = (uint8_t)agg_row_key_encode(&stored, source->key);
        source->row = row;
    }
    qsort(ret->sources, ret->source_count, sizeof *ret->sources, compare_sources);
    return 0;
}

static int give_sources(const struct ordered *ordered, size_t *at, uint32_t shard, const struct agg_roll_sink *sink)
{
    int rc = 0;
    for (; rc >= 0 && *at < ordered->source_count && ordered->sources[*at].shard == shard; ++*at) {
        const struct stored_source *source = &ordered->sources[*at];
        uint8_t value[AGG_ROW_BYTES_MOST];
        size_t size = agg_row_encode(source->row, value);
        rc = sink->source(sink->ctx, weir_view_of(source->key, source->size), weir_view_of(value, size));
    }
    return rc;
}

static int give_chunks(struct agg_roll_emitter *emitter, uint32_t shard, uint64_t upto,
                       const struct agg_roll_sink *sink)
{
    int rc = 0;
    for (int table = AGG_TABLE_SRC; table < AGG_TABLES; table++) {
        struct made *made = &emitter->made[table];
        uint32_t index = 0;
        for (size_t i = 0; rc >= 0 && i < made->count; i++) {
            const struct waiting *chunk = &made->waiting[i];
            index = i > 0 && chunk[-1].window == chunk->window ? index + 1 : 0;
            assert(index <= UINT16_MAX);
            struct agg_key key = agg_key_chunk(shard, (uint8_t)table, chunk->window, upto, (uint16_t)index);
            rc = sink->chunk(sink->ctx, agg_key_view(&key), weir_view_of(made->bytes.data + chunk->at, chunk->size),
                             chunk->rows);
        }
        made->count = 0;
        weir_buf_clear(&made->bytes);
    }
    return rc;
}

static int give_shard(struct agg_roll *roll, const struct agg_roll_tier *tier, const struct ordered *ordered,
                      uint32_t *cell_at, size_t *source_at, uint32_t shard, const struct agg_roll_sink *sink)
{
    struct agg_roll_emitter *emitter = roll->emitter;
    uint64_t upto = 0;
    int rc = sink->shard(sink->ctx, shard, &upto);
    if (rc >= 0) rc = give_sources(ordered, source_at, shard, sink);
    for (; rc >= 0 && *cell_at < ordered->cell_count; ++*cell_at) {
        const struct agg_cell *cell = &tier->cells[ordered->cells[*cell_at]];
        if (cell->shard != shard) break;
        rc = put_cell(roll, cell);
    }
    return rc >= 0 ? give_chunks(emitter, shard, upto, sink) : rc;
}

/** Begin anew, whatever the last time left. */
static int reset_emitter(struct agg_roll *roll)
{
    if (roll->emitter == NULL) roll->emitter = weir_calloc(1, sizeof *roll->emitter);
    if (roll->emitter == NULL) return WEIR_ENOMEM;
    roll->emitter->failed = false;
    for (int table = 0; table < AGG_TABLES; table++) {
        roll->emitter->chunk[table].table = table;
        roll->emitter->chunk[table].count = 0;
        roll->emitter->made[table].count = 0;
        weir_buf_clear(&roll->emitter->made[table].bytes);
    }
    return 0;
}

int agg_roll_emit(struct agg_roll *roll, enum agg_tier which, const struct agg_roll_sink *sink)
{
    const struct agg_roll_tier *tier = &roll->tier[which];
    struct ordered ordered = {0};
    int rc = reset_emitter(roll);
    if (rc == 0) rc = agg_roll_compact(roll, which);
    if (rc == 0) rc = order_tier(tier, &ordered);
    uint32_t cell_at = 0;
    size_t source_at = 0;
    while (rc >= 0 && (cell_at < ordered.cell_count || source_at < ordered.source_count)) {
        uint32_t shard = UINT32_MAX;
        if (cell_at < ordered.cell_count) shard = tier->cells[ordered.cells[cell_at]].shard;
        if (source_at < ordered.source_count && ordered.sources[source_at].shard < shard)
            shard = ordered.sources[source_at].shard;
        rc = give_shard(roll, tier, &ordered, &cell_at, &source_at, shard, sink);
    }
    weir_free(ordered.cells);
    weir_free(ordered.sources);
    return rc < 0 ? rc : 0;
}
