#include "aggregator/roll_cells.h"
#include "aggregator/window.h"
#include "common/base/err.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/flow/orient.h"

#include <assert.h>

enum {
    CELLS_AT_HAND = 16, /* a power of two */
    REASONS_ADDED = 2   /* to those of a batch */
};

#define COLUMN(id) (1ull << WEIR_FIELD_##id)
const uint64_t agg_roll_columns = COLUMN(start_ms) | COLUMN(end_ms) | COLUMN(src_ip) | COLUMN(dst_ip) | COLUMN(bytes) |
                                  COLUMN(packets) | COLUMN(sampling_one_in) | COLUMN(sampling_origin) |
                                  COLUMN(src_port) | COLUMN(dst_port) | COLUMN(proto) | COLUMN(tcp_flags) |
                                  COLUMN(icmp_type_code);
#undef COLUMN

int64_t agg_tier_ms(enum agg_tier tier)
{
    return tier == AGG_TIER_1M ? AGG_MINUTE_MS : AGG_HOUR_MS;
}

int agg_roll_create(uint64_t seed, size_t keep_bytes, struct agg_roll **ret)
{
    struct agg_roll *roll = weir_calloc(1, sizeof *roll);
    if (roll == NULL) return WEIR_ENOMEM;
    roll->addresses.seed = seed;
    roll->keep_bytes = keep_bytes;
    for (int t = 0; t < AGG_TIERS; t++) {
        weir_table_init(&roll->tier[t].sources, sizeof(struct agg_source_key), sizeof(struct agg_row));
        weir_table_init(&roll->tier[t].index, sizeof(uint64_t), sizeof(uint32_t));
    }
    *ret = roll;
    return 0;
}

static void clear_cells(struct agg_roll *roll, struct agg_roll_tier *tier)
{
    for (uint32_t i = 0; i < tier->cell_count; i++) {
        for (int kind = 0; kind < AGG_KINDS; kind++) {
            agg_list_clear(&tier->cells[i].list[kind][AGG_PLAIN], &roll->pool);
            agg_list_clear(&tier->cells[i].list[kind][AGG_WIDE], &roll->pool);
        }
    }
    tier->cell_count = 0;
    weir_table_clear(&tier->index);
}

void agg_roll_destroy(struct agg_roll *roll)
{
    if (roll == NULL) return;
    for (int t = 0; t < AGG_TIERS; t++) {
        clear_cells(roll, &roll->tier[t]);
        weir_table_fini(&roll->tier[t].sources);
        weir_table_fini(&roll->tier[t].index);
        weir_free(roll->tier[t].cells);
    }
    agg_pool_fini(&roll->pool);
    agg_sorter_fini(&roll->sorter);
    agg_addresses_fini(&roll->addresses);
    weir_free(roll->pieces);
    weir_free(roll->touched);
    agg_roll_emitter_destroy(roll->emitter);
    weir_free(roll);
}

const struct agg_roll_counts *agg_roll_counts(const struct agg_roll *roll)
{
    return &roll->counts;
}

size_t agg_roll_rows(const struct agg_roll *roll, enum agg_tier tier)
{
    const struct agg_roll_tier *of = &roll->tier[tier];
    size_t rows = of->sources.count;
    for (uint32_t i = 0; i < of->cell_count; i++) {
        for (int kind = 0; kind < AGG_KINDS; kind++)
            rows += of->cells[i].list[kind][AGG_PLAIN].count + of->cells[i].list[kind][AGG_WIDE].count;
    }
    return rows;
}

/** With what sorting its longest list takes. */
size_t agg_roll_bytes(const struct agg_roll *roll, enum agg_tier tier)
{
    const struct agg_roll_tier *of = &roll->tier[tier];
    size_t used = roll->pool.count - roll->pool.free_count;
    size_t segments = tier == AGG_TIER_1H ? roll->hour_segments : used - roll->hour_segments;
    size_t bytes = segments * AGG_SEGMENT_BYTES + of->cell_room * sizeof *of->cells + weir_table_bytes(&of->sources);
    bytes += roll->longest[tier] * (sizeof(struct agg_sum) + AGG_SORT_BYTES);
    return tier == AGG_TIER_1H ? bytes + agg_addresses_bytes(&roll->addresses) : bytes;
}

/** After sorting: segments and lists are shorter. */
static void measure(struct agg_roll *roll, enum agg_tier which)
{
    const struct agg_roll_tier *tier = &roll->tier[which];
    size_t segments = 0, longest = 0;
    for (uint32_t i = 0; i < tier->cell_count; i++) {
        for (int kind = 0; kind < AGG_KINDS; kind++) {
            for (int width = 0; width < AGG_WIDTHS; width++) {
                const struct agg_list *list = &tier->cells[i].list[kind][width];
                segments += list->segments;
                if (list->count > longest) longest = list->count;
            }
        }
    }
    roll->longest[which] = longest;
    if (which == AGG_TIER_1H) roll->hour_segments = segments;
}

void agg_roll_clear(struct agg_roll *roll, enum agg_tier tier)
{
    clear_cells(roll, &roll->tier[tier]);
    weir_table_clear(&roll->tier[tier].sources);
    if (tier == AGG_TIER_1H) roll->hour_segments = 0;
    roll->longest[tier] = 0;
    if (roll->tier[AGG_TIER_1M].cell_count > 0 || roll->tier[AGG_TIER_1H].cell_count > 0) return;
    agg_addresses_fini(&roll->addresses);
    agg_pool_trim(&roll->pool, roll->keep_bytes);
    if (roll->sorter.sum_bytes > roll->keep_bytes) agg_sorter_fini(&roll->sorter);
}

int agg_roll_compact(struct agg_roll *roll, enum agg_tier which)
{
    struct agg_roll_tier *tier = &roll->tier[which];
    int rc = agg_addresses_rank(&roll->addresses);
    for (uint32_t i = 0; i < tier->cell_count; i++) {
        for (int kind = 0; kind < AGG_KINDS; kind++) {
            for (int width = 0; rc == 0 && width < AGG_WIDTHS; width++)
                rc = agg_sort(&roll->sorter, &roll->addresses, width == AGG_WIDE, &tier->cells[i].list[kind][width],
                              &roll->pool);
        }
    }
    measure(roll, which);
    return rc;
}

/* --- cells --- */

/** The cell of a shard and window, made when new. WEIR_ENOMEM. */
static int cell_of(struct agg_roll_tier *tier, uint32_t shard, uint32_t window, uint32_t *ret)
{
    uint64_t key = (uint64_t)window << 32 | shard;
    uint64_t hash = weir_hash64(&key, sizeof key, 0);
    const uint32_t *known = weir_table_find(&tier->index, &key, hash);
    if (known != NULL) {
        *ret = *known;
        return 0;
    }
    if (tier->cell_count == tier->cell_room) {
        uint32_t room = tier->cell_room == 0 ? 16 : tier->cell_room * 2;
        struct agg_cell *cells = weir_realloc(tier->cells, room * sizeof *cells);
        if (cells == NULL) return WEIR_ENOMEM;
        tier->cells = cells;
        tier->cell_room = room;
    }
    uint32_t *index = weir_table_add(&tier->index, &key, hash, NULL);
    if (index == NULL) return WEIR_ENOMEM;
    *ret = *index = tier->cell_count++;
    tier->cells[*ret] = (struct agg_cell){.shard = shard, .window = window};
    return 0;
}

/** The first touch of a cell in a step: true. */
static bool begin_step(struct agg_cell *cell, uint64_t step)
{
    if (cell->step == step) return false;
    cell->step = step;
    memset(cell->coming, 0, sizeof cell->coming);
    cell->sum = (struct weir_counts){0};
    return true;
}

/** Segments that a cell will take for what comes. */
static size_t needs_of(struct agg_roll *roll, enum agg_tier tier, const struct agg_cell *cell)
{
    size_t needs = 0;
    for (int kind = 0; kind < AGG_KINDS; kind++) {
        for (int width = 0; width < AGG_WIDTHS; width++) {
            const struct agg_list *list = &cell->list[kind][width];
            size_t coming = cell->coming[kind][width];
            needs += agg_list_needs(list, coming, agg_sum_size(width));
            if (list->count + coming > roll->longest[tier]) roll->longest[tier] = list->count + coming;
        }
    }
    return needs;
}

/* --- a batch: first what can fail --- */

static inline const void *column_of(const struct weir_batch *batch, enum weir_field field)
{
    return weir_batch_has(batch, field) ? batch->column[field] : NULL;
}

/** The ids of a column of addresses into @ids; all alike when there is no column. */
static void take_ids(struct agg_roll *roll, const struct weir_ip *ips, uint32_t count, uint64_t *ids)
{
    static const struct weir_ip no_ip;
    agg_addresses_ids(&roll->addresses, ips == NULL ? &no_ip : ips, ips == NULL ? 1 : count, ids);
    for (uint32_t i = 1; ips == NULL && i < count; i++)
        ids[i] = ids[0];
}

/** The keys of the flows' pairs and services. */
static void make_keys(struct agg_roll *roll, const struct weir_batch *batch)
{
    static const struct weir_ip no_ip;
    uint64_t *src_id = roll->key[AGG_KIND_PAIR], *dst_id = roll->key[AGG_KIND_SERVICE];
    const struct weir_ip *src = column_of(batch, WEIR_FIELD_src_ip), *dst = column_of(batch, WEIR_FIELD_dst_ip);
    const uint16_t *src_port = column_of(batch, WEIR_FIELD_src_port);
    const uint16_t *dst_port = column_of(batch, WEIR_FIELD_dst_port);
    const uint16_t *tcp_flags = column_of(batch, WEIR_FIELD_tcp_flags);
    const uint16_t *icmp = column_of(batch, WEIR_FIELD_icmp_type_code);
    const uint8_t *proto = column_of(batch, WEIR_FIELD_proto);
    take_ids(roll, src, batch->count, src_id);
    take_ids(roll, dst, batch->count, dst_id);
    for (uint32_t row = 0; row < batch->count; row++) {
        uint8_t p = proto == NULL ? 0 : proto[row];
        uint16_t from = src_port == NULL ? 0 : src_port[row], to = dst_port == NULL ? 0 : dst_port[row];
        struct weir_oriented oriented =
            weir_orient(src == NULL ? &no_ip : &src[row], dst == NULL ? &no_ip : &dst[row], from, to, p,
                        tcp_flags == NULL ? 0 : tcp_flags[row], icmp == NULL ? 0 : icmp[row]);
        uint64_t pair = src_id[row] << AGG_ADDRESS_BITS | dst_id[row],
                 server = oriented.src_is_server ? src_id[row] : dst_id[row];
        uint64_t service = server << AGG_ADDRESS_BITS | weir_service_of(p, weir_server_port(oriented, p, from, to));
        roll->key[AGG_KIND_PAIR][row] = pair;
        roll->key[AGG_KIND_SERVICE][row] = service;
    }
}

static int reserve_pieces(struct agg_roll *roll, uint32_t count)
{
    if (count <= roll->piece_room) return 0;
    uint32_t room = roll->piece_room + roll->piece_room / 2;
    if (room < count) room = count;
    struct agg_piece *pieces = weir_realloc(roll->pieces, room * sizeof *pieces);
    if (pieces == NULL) return WEIR_ENOMEM;
    roll->pieces = pieces;
    uint32_t *touched = weir_realloc(roll->touched, room * sizeof *touched);
    if (touched == NULL) return WEIR_ENOMEM;
    roll->touched = touched;
    roll->piece_room = room;
    return 0;
}

/** What cutting a batch into pieces needs at hand. */
struct cutting {
    struct agg_roll *roll;
    const struct agg_roll_batch *of;
    int64_t base_ms; /* a minute's begin before all times of the batch */
    struct {
        uint32_t window;
        uint32_t cell_plus_one;
    } at_hand[CELLS_AT_HAND];
    struct agg_roll_counts counts;
};

/** The cell of a window, which the batch touches now. WEIR_ENOMEM. */
static int touch(struct cutting *cut, uint32_t window, uint32_t *ret)
{
    struct agg_roll *roll = cut->roll;
    uint32_t at = window % CELLS_AT_HAND;
    if (cut->at_hand[at].cell_plus_one != 0 && cut->at_hand[at].window == window) {
        *ret = cut->at_hand[at].cell_plus_one - 1;
        return 0;
    }
    int rc = cell_of(&roll->tier[AGG_TIER_1M], cut->of->shard, window, ret);
    if (rc < 0) return rc;
    cut->at_hand[at].window = window;
    cut->at_hand[at].cell_plus_one = *ret + 1;
    struct agg_cell *cell = &roll->tier[AGG_TIER_1M].cells[*ret];
    if (begin_step(cell, roll->step)) roll->touched[roll->touched_count++] = *ret;
    return 0;
}

static int add_piece(struct cutting *cut, uint32_t window, const struct agg_piece *piece)
{
    struct agg_roll *roll = cut->roll;
    struct agg_piece *added = &roll->pieces[roll->piece_count];
    *added = *piece;
    int rc = touch(cut, window, &added->cell);
    if (rc < 0) return rc;
    struct agg_cell *cell = &roll->tier[AGG_TIER_1M].cells[added->cell];
    int width = agg_piece_width(piece);
    for (int kind = 0; kind < AGG_KINDS; kind++)
        cell->coming[kind][width]++;
    if (piece->sampling_one_in <= 1) {
        cell->sum.flows += piece->flows;
        cell->sum.packets += piece->packets;
        cell->sum.bytes += piece->bytes;
        cell->sum.scaled_packets += piece->packets;
        cell->sum.scaled_bytes += piece->bytes;
    } else {
        struct weir_counts more = weir_counts_of(piece->flows, piece->packets, piece->bytes, piece->sampling_one_in);
        weir_counts_add(&cell->sum, &more);
    }
    roll->piece_count++;
    return 0;
}

/** Cut a flow into windows from @first to @last; the parts of bytes and packets add up to the whole. */
static int spread_flow(struct cutting *cut, const struct agg_span *span, const struct agg_piece *whole, int64_t first,
                       int64_t last)
{
    int64_t stride = (last - first + AGG_WINDOWS_MOST) / AGG_WINDOWS_MOST;
    uint64_t packets_before = 0, bytes_before = 0;
    cut->counts.spread++;
    for (int64_t window = first; window <= last; window += stride) {
        int64_t to_ms = (window + stride) * AGG_MINUTE_MS;
        uint64_t packets = agg_part_before(whole->packets, span, to_ms);
        uint64_t bytes = agg_part_before(whole->bytes, span, to_ms);
        struct agg_piece piece = *whole;
        piece.flows = window == first ? whole->flows : 0;
        piece.packets = packets - packets_before;
        piece.bytes = bytes - bytes_before;
        packets_before = packets;
        bytes_before = bytes;
        if (piece.flows == 0 && piece.packets == 0 && piece.bytes == 0) continue;
        int rc = add_piece(cut, (uint32_t)window, &piece);
        if (rc < 0) return rc;
    }
    return 0;
}

/** All times lie within some days of the base: a division of 32 bits does. */
static inline int64_t minute_of(const struct cutting *cut, int64_t ms)
{
    return cut->base_ms / AGG_MINUTE_MS + (uint32_t)(ms - cut->base_ms) / AGG_MINUTE_MS;
}

static int cut_flows(struct cutting *cut)
{
    const struct agg_roll_batch *of = cut->of;
    const struct weir_batch *batch = of->batch;
    const int64_t *start = column_of(batch, WEIR_FIELD_start_ms), *end = column_of(batch, WEIR_FIELD_end_ms);
    const uint64_t *packets = column_of(batch, WEIR_FIELD_packets), *bytes = column_of(batch, WEIR_FIELD_bytes);
    const uint32_t *sampling = column_of(batch, WEIR_FIELD_sampling_one_in);
    int64_t late_before_ms = of->commit_ms - AGG_LATE_MS;
    for (uint32_t row = 0; row < batch->count; row++) {
        struct agg_span span = agg_span_of(start == NULL ? 0 : start[row], end == NULL ? 0 : end[row],
                                           of->header->last_received_ms, of->commit_ms);
        struct agg_piece whole = {.row = (uint16_t)row,
                                  .flows = 1,
                                  .sampling_one_in = sampling == NULL ? 0 : sampling[row],
                                  .packets = packets == NULL ? 0 : packets[row],
                                  .bytes = bytes == NULL ? 0 : bytes[row]};
        cut->counts.clamped += span.clamped;
        cut->counts.late += span.end_ms < late_before_ms;
        int rc = reserve_pieces(cut->roll, cut->roll->piece_count + AGG_WINDOWS_MOST);
        int64_t first = minute_of(cut, span.start_ms);
        int64_t last = span.end_ms > span.start_ms ? minute_of(cut, span.end_ms - 1) : first;
        if (rc == 0)
            rc = first == last ? add_piece(cut, (uint32_t)first, &whole) : spread_flow(cut, &span, &whole, first, last);
        if (rc < 0) return rc;
    }
    cut->counts.flows += batch->count;
    return 0;
}

/** Everything of a batch that can fail: ids, keys, pieces, room for them. Leaves no sum behind. */
static int prepare(struct cutting *cut)
{
    struct agg_roll *roll = cut->roll;
    struct agg_roll_tier *tier = &roll->tier[AGG_TIER_1M];
    const struct weir_batch *batch = cut->of->batch;
    assert(batch->count <= WEIR_BATCH_MOST);
    cut->base_ms = (cut->of->commit_ms - AGG_PAST_MOST_MS) / AGG_MINUTE_MS * AGG_MINUTE_MS;
    int rc = agg_addresses_reserve(&roll->addresses, 2 * batch->count + 1);
    if (rc < 0) return rc;
    make_keys(roll, batch);
    rc = cut_flows(cut);
    size_t needs = 0;
    for (uint32_t i = 0; rc == 0 && i < roll->touched_count; i++)
        needs += needs_of(roll, AGG_TIER_1M, &tier->cells[roll->touched[i]]);
    return rc < 0 ? rc : agg_pool_reserve(&roll->pool, needs);
}

/* --- a batch: then what cannot --- */

static void add_pieces(struct agg_roll *roll, enum agg_kind kind)
{
    struct agg_cell *cells = roll->tier[AGG_TIER_1M].cells;
    const uint64_t *keys = roll->key[kind];
    for (uint32_t i = 0; i < roll->piece_count; i++) {
        const struct agg_piece *piece = &roll->pieces[i];
        struct agg_list *lists = cells[piece->cell].list[kind];
        if (__builtin_expect(agg_piece_width(piece) == AGG_PLAIN, 1)) {
            struct agg_sum *sum = agg_list_append(&lists[AGG_PLAIN], &roll->pool, sizeof *sum);
            *sum = (struct agg_sum){.key_packets = keys[piece->row] << AGG_PACKETS_BITS | piece->packets,
                                    .bytes = (uint32_t)piece->bytes,
                                    .flows = piece->flows};
        } else {
            struct agg_wide_sum *sum = agg_list_append(&lists[AGG_WIDE], &roll->pool, sizeof *sum);
            sum->key = keys[piece->row] << AGG_PACKETS_BITS;
            sum->counts = weir_counts_of(piece->flows, piece->packets, piece->bytes, piece->sampling_one_in);
        }
    }
}

static struct agg_row *source_row(struct agg_roll_tier *tier, const struct agg_source_key *key)
{
    return weir_table_add(&tier->sources, key, weir_hash64(key, sizeof *key, 0), NULL);
}

static void add_sources(struct agg_roll *roll, struct agg_source_key *key)
{
    struct agg_roll_tier *tier = &roll->tier[AGG_TIER_1M];
    for (uint32_t i = 0; i < roll->touched_count; i++) {
        const struct agg_cell *cell = &tier->cells[roll->touched[i]];
        key->window = cell->window;
        weir_counts_add(&source_row(tier, key)->counts, &cell->sum);
    }
}

static void add_flows(struct cutting *cut, struct agg_source_key *source)
{
    struct agg_roll *roll = cut->roll;
    add_sources(roll, source);
    for (int kind = 0; kind < AGG_KINDS; kind++)
        add_pieces(roll, kind);
    roll->counts.flows += cut->counts.flows;
    roll->counts.clamped += cut->counts.clamped;
    roll->counts.late += cut->counts.late;
    roll->counts.spread += cut->counts.spread;
}

static void copy_name(char out[WEIR_NAME_BYTES], const char *name)
{
    strncpy(out, name, WEIR_NAME_BYTES - 1);
}

/** Losses, and when the source was heard: in the minute in which the batch was received. */
static void add_heard(struct agg_roll *roll, const struct agg_roll_batch *of, struct agg_source_key *source)
{
    const struct weir_batch_header *header = of->header;
    int64_t heard_ms = agg_clamp_ms(header->last_received_ms, of->commit_ms);
    source->window = (uint32_t)(heard_ms / AGG_MINUTE_MS);
    struct agg_row *row = source_row(&roll->tier[AGG_TIER_1M], source);
    row->batches++;
    row->lost.sequence += header->loss.sequence_lost;
    row->lost.templates += header->loss.template_missing;
    row->lost.undecodable += header->loss.undecodable;
    row->lost.socket_drops += header->loss.socket_drops;
    if (header->kind == WEIR_RECORD_LOSS) {
        row->lost.spool += header->totals.flows;
        row->lost_packets += header->totals.packets;
        row->lost_bytes += header->totals.bytes;
        return;
    }
    int64_t first_ms = agg_clamp_ms(header->first_received_ms, of->commit_ms);
    if (row->first_heard_ms == 0 || first_ms < row->first_heard_ms) row->first_heard_ms = first_ms;
    if (header->last_export_ms > row->last_export_ms) row->last_export_ms = header->last_export_ms;
    if (heard_ms < row->last_heard_ms) return;
    row->last_heard_ms = heard_ms;
    row->health = header->health;
    if (of->batch == NULL || of->batch->count == 0) return;
    row->last_flows_ms = heard_ms;
    const uint32_t *sampling = column_of(of->batch, WEIR_FIELD_sampling_one_in);
    const uint8_t *origin = column_of(of->batch, WEIR_FIELD_sampling_origin);
    row->sampling_one_in = sampling == NULL ? 0 : sampling[of->batch->count - 1];
    row->sampling_origin = origin == NULL ? 0 : origin[of->batch->count - 1];
}

static uint64_t less(uint64_t from, uint64_t what)
{
    return from > what ? from - what : 0;
}

/** Why something was lost, in the same minute; losses without a reason have the one that says so. */
static void add_drops(struct agg_roll *roll, const struct agg_roll_batch *of, struct agg_source_key *source)
{
    struct agg_roll_tier *tier = &roll->tier[AGG_TIER_1M];
    int64_t heard_ms = agg_clamp_ms(of->header->last_received_ms, of->commit_ms);
    uint64_t undecodable = of->header->loss.undecodable, templates = of->header->loss.template_missing;
    for (uint32_t i = 0; of->batch != NULL && i < of->batch->drops.count; i++) {
        struct weir_drop drop = of->batch->drops.at[i];
        enum weir_drop_loss loss = weir_drop_info(drop.reason)->loss;
        if (loss == WEIR_DROP_OF_UNDECODABLE) undecodable = less(undecodable, drop.count);
        if (loss == WEIR_DROP_OF_TEMPLATES) templates = less(templates, drop.count);
        drop.first_ms = agg_clamp_ms(drop.first_ms, of->commit_ms);
        drop.last_ms = agg_clamp_ms(drop.last_ms, of->commit_ms);
        if (drop.example_ms != 0) drop.example_ms = agg_clamp_ms(drop.example_ms, of->commit_ms);
        source->reason = drop.reason;
        weir_drop_add(&source_row(tier, source)->drop, &drop);
    }
    const struct weir_drop rest[REASONS_ADDED] = {
        {.reason = WEIR_DROP_unexplained, .count = undecodable, .first_ms = heard_ms, .last_ms = heard_ms},
        {.reason = WEIR_DROP_template_missing, .count = templates, .first_ms = heard_ms, .last_ms = heard_ms}};
    for (int i = 0; i < REASONS_ADDED; i++) {
        if (rest[i].count == 0) continue;
        source->reason = rest[i].reason;
        weir_drop_add(&source_row(tier, source)->drop, &rest[i]);
    }
}

int agg_roll_add(struct agg_roll *roll, const struct agg_roll_batch *of)
{
    assert(of->shard < WEIR_SHARDS);
    struct cutting cut = {.roll = roll, .of = of};
    struct weir_table *sources = &roll->tier[AGG_TIER_1M].sources;
    roll->step++;
    roll->piece_count = roll->touched_count = 0;
    int rc = of->batch == NULL ? 0 : prepare(&cut);
    size_t reasons = REASONS_ADDED + (of->batch == NULL ? 0 : of->batch->drops.count);
    if (rc == 0) rc = weir_table_reserve(sources, sources->count + roll->touched_count + 1 + reasons);
    if (rc < 0) return rc;

    struct agg_source_key source = {.shard = of->shard,
                                    .exporter = of->header->source.exporter,
                                    .domain = of->header->source.domain,
                                    .protocol = of->header->protocol};
    copy_name(source.site, of->site);
    copy_name(source.agent, of->agent);
    if (of->batch != NULL) add_flows(&cut, &source);
    add_heard(roll, of, &source);
    add_drops(roll, of, &source);
    return 0;
}

/* --- from minutes to hours --- */

int agg_roll_prepare_fold(struct agg_roll *roll)
{
    struct agg_roll_tier *minutes = &roll->tier[AGG_TIER_1M], *hours = &roll->tier[AGG_TIER_1H];
    for (uint32_t i = 0; i < minutes->cell_count; i++) {
        uint32_t at;
        int rc = cell_of(hours, minutes->cells[i].shard, minutes->cells[i].window / 60, &at);
        if (rc < 0) return rc;
    }
    int rc = agg_pool_reserve(&roll->pool, (size_t)minutes->cell_count * AGG_KINDS * AGG_WIDTHS);
    return rc < 0 ? rc : weir_table_reserve(&hours->sources, hours->sources.count + minutes->sources.count);
}

static void fold_sources(const struct weir_table *from, struct agg_roll_tier *to)
{
    size_t at = 0;
    void *value;
    const struct agg_source_key *minute;
    while ((minute = weir_table_next(from, &at, &value)) != NULL) {
        struct agg_source_key key = *minute;
        key.window /= 60;
        agg_row_add(value, source_row(to, &key));
    }
}

void agg_roll_fold(struct agg_roll *roll)
{
    struct agg_roll_tier *minutes = &roll->tier[AGG_TIER_1M], *hours = &roll->tier[AGG_TIER_1H];
    fold_sources(&minutes->sources, hours);
    for (uint32_t i = 0; i < minutes->cell_count; i++) {
        struct agg_cell *minute = &minutes->cells[i];
        uint32_t at = 0;
        (void)cell_of(hours, minute->shard, minute->window / 60, &at); /* it is there */
        struct agg_cell *hour = &hours->cells[at];
        for (int kind = 0; kind < AGG_KINDS; kind++) {
            for (int width = 0; width < AGG_WIDTHS; width++)
                agg_list_move(&minute->list[kind][width], &hour->list[kind][width], &roll->pool, agg_sum_size(width));
        }
    }
    agg_roll_clear(roll, AGG_TIER_1M);
    measure(roll, AGG_TIER_1H);
}
