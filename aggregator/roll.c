#include "aggregator/roll.h"

#include "aggregator/window.h"
#include "common/base/err.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/flow/orient.h"

#include <assert.h>
#include <stdlib.h>

enum {
    ROWS_AT_ONCE = 512,    /* flows whose addresses are hashed together: what fits into the first cache */
    PIECES_AT_ONCE = 1024, /* flows times windows */
    FETCH_AHEAD = 16,
    SOURCE_WINDOWS = 8, /* of a batch, whose row is kept at hand */
    SLOTS_KEPT = 1 << 16
};

/*
 * Keys in memory. Those of flows begin with a header of eight bytes, so that one function does for all of them; the
 * seven significant bytes of a stored key's begin are made when rows are emitted.
 */
struct key_head {
    uint32_t window;
    uint8_t shard;
    uint8_t proto; /* of a service */
    uint16_t port;
};

struct ip_key {
    struct key_head head;
    struct weir_ip ip;
};

struct pair_key {
    struct key_head head;
    struct weir_ip src;
    struct weir_ip dst;
};

struct source_key {
    struct key_head head;
    struct weir_ip exporter;
    uint32_t domain;
    uint32_t protocol;
    char site[WEIR_NAME_BYTES];
    char agent[WEIR_NAME_BYTES];
};

_Static_assert(sizeof(struct ip_key) == 24 && sizeof(struct pair_key) == 40 && sizeof(struct source_key) == 160,
               "keys are compared as bytes");
_Static_assert(WEIR_SHARDS <= 256, "a shard is one byte of a key in memory");

/** The sums of flows that are not sampled; sampled ones have struct weir_counts, in a table beside it. */
struct plain {
    uint64_t flows;
    uint64_t packets;
    uint64_t bytes;
};

struct rows {
    struct weir_table plain;
    struct weir_table sampled;
};

struct tier {
    struct weir_table sources; /* source_key -> agg_row */
    struct rows rows[AGG_TABLES];
};

/** What of a flow falls into one window. */
struct piece {
    uint32_t window;
    uint16_t row; /* within the rows at hand */
    uint16_t flows;
    uint32_t sampling_one_in;
    uint64_t packets;
    uint64_t bytes;
};

/** One row to be emitted: where it is, and the begin of its key as numbers to sort by. */
struct sorted {
    uint64_t near; /* addresses, ports: the order within a window */
    uint32_t far;  /* shard 8 bits, table 3, window 21 (from the earliest) */
    uint32_t slot; /* of the row in its table; the highest bit says that it is the sampled one */
};

enum { FAR_SHARD = 24, FAR_TABLE = 21, FAR_WINDOWS = 1 << 21 };
#define SLOT_SAMPLED (1u << 31)

struct agg_roll {
    uint64_t seed;
    struct tier tier[AGG_TIERS];
    struct agg_roll_counts counts;

    /* of the batch at hand */
    struct agg_span span[ROWS_AT_ONCE];
    uint64_t src_hash[ROWS_AT_ONCE];
    uint64_t dst_hash[ROWS_AT_ONCE];
    struct weir_ip src[ROWS_AT_ONCE];
    struct weir_ip dst[ROWS_AT_ONCE];
    struct piece pieces[PIECES_AT_ONCE];
    uint64_t hashes[PIECES_AT_ONCE];
    uint32_t piece_count;
    struct {
        uint32_t window;
        struct agg_row *row;
    } source_rows[SOURCE_WINDOWS];

    struct sorted *sorted;
    struct sorted *sorted_spare;
    size_t sorted_capacity;
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

static size_t key_bytes(enum agg_table table)
{
    return table == AGG_TABLE_PAIR ? sizeof(struct pair_key) : sizeof(struct ip_key);
}

int agg_roll_create(uint64_t seed, struct agg_roll **ret)
{
    struct agg_roll *roll = weir_calloc(1, sizeof *roll);
    if (roll == NULL) return WEIR_ENOMEM;
    roll->seed = seed;
    for (int t = 0; t < AGG_TIERS; t++) {
        weir_table_init(&roll->tier[t].sources, sizeof(struct source_key), sizeof(struct agg_row));
        for (int table = AGG_TABLE_SRC; table < AGG_TABLES; table++) {
            weir_table_init(&roll->tier[t].rows[table].plain, key_bytes(table), sizeof(struct plain));
            weir_table_init(&roll->tier[t].rows[table].sampled, key_bytes(table), sizeof(struct weir_counts));
        }
    }
    *ret = roll;
    return 0;
}

void agg_roll_destroy(struct agg_roll *roll)
{
    if (roll == NULL) return;
    for (int t = 0; t < AGG_TIERS; t++) {
        weir_table_fini(&roll->tier[t].sources);
        for (int table = AGG_TABLE_SRC; table < AGG_TABLES; table++) {
            weir_table_fini(&roll->tier[t].rows[table].plain);
            weir_table_fini(&roll->tier[t].rows[table].sampled);
        }
    }
    weir_free(roll->sorted);
    weir_free(roll->sorted_spare);
    weir_free(roll);
}

const struct agg_roll_counts *agg_roll_counts(const struct agg_roll *roll)
{
    return &roll->counts;
}

/* --- hashing: multiply and fold, the inner step of wyhash --- */

static inline uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)(a ^ 0xa0761d6478bd642full) * (b ^ 0xe7037ed1a0b428dbull);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t hash_ip(uint64_t seed, const struct weir_ip *ip)
{
    return mix(weir_load_u64le(ip->bytes) ^ seed, weir_load_u64le(ip->bytes + 8));
}

static inline uint64_t head_bits(const struct key_head *head)
{
    uint64_t bits;
    memcpy(&bits, head, sizeof bits);
    return bits;
}

static inline uint64_t hash_ip_key(const struct key_head *head, uint64_t ip_hash)
{
    return mix(head_bits(head), ip_hash);
}

static inline uint64_t hash_pair_key(const struct key_head *head, uint64_t src_hash, uint64_t dst_hash)
{
    return mix(head_bits(head) ^ src_hash, dst_hash);
}

static uint64_t hash_key(uint64_t seed, enum agg_table table, const void *key)
{
    if (table == AGG_TABLE_PAIR) {
        const struct pair_key *pair = key;
        return hash_pair_key(&pair->head, hash_ip(seed, &pair->src), hash_ip(seed, &pair->dst));
    }
    const struct ip_key *ip = key;
    return hash_ip_key(&ip->head, hash_ip(seed, &ip->ip));
}

/* --- adding batches --- */

static inline const void *column_of(const struct weir_batch *batch, enum weir_field field)
{
    return weir_batch_has(batch, field) ? batch->column[field] : NULL;
}

static inline uint32_t stride_of(int64_t first, int64_t last)
{
    return (uint32_t)((last - first + AGG_WINDOWS_MOST) / AGG_WINDOWS_MOST);
}

static inline void take_span(const struct agg_roll_batch *of, uint32_t row, struct agg_span *ret)
{
    const int64_t *start = column_of(of->batch, WEIR_FIELD_start_ms);
    const int64_t *end = column_of(of->batch, WEIR_FIELD_end_ms);
    *ret = agg_span_of(start == NULL ? 0 : start[row], end == NULL ? 0 : end[row], of->header->last_received_ms,
                       of->commit_ms);
}

/** How many pieces the batch makes. */
static size_t count_pieces(const struct agg_roll_batch *of)
{
    size_t pieces = 0;
    for (uint32_t row = 0; row < of->batch->count; row++) {
        struct agg_span span;
        take_span(of, row, &span);
        int64_t first = agg_first_window(&span, AGG_MINUTE_MS), last = agg_last_window(&span, AGG_MINUTE_MS);
        pieces += (size_t)((last - first) / stride_of(first, last) + 1);
    }
    return pieces;
}

/** Make room in every table, so that nothing can fail half-way. */
static int reserve(struct tier *tier, size_t pieces, bool sampled)
{
    int rc = weir_table_reserve(&tier->sources, tier->sources.count + pieces + 1);
    for (int table = AGG_TABLE_SRC; rc == 0 && table < AGG_TABLES; table++) {
        struct rows *rows = &tier->rows[table];
        rc = weir_table_reserve(&rows->plain, rows->plain.count + pieces);
        if (rc == 0 && sampled) rc = weir_table_reserve(&rows->sampled, rows->sampled.count + pieces);
    }
    return rc;
}

static inline void add_piece(struct rows *rows, const void *key, uint64_t hash, const struct piece *piece)
{
    if (__builtin_expect(piece->sampling_one_in <= 1, 1)) {
        struct plain *plain = weir_table_add(&rows->plain, key, hash, NULL);
        plain->flows += piece->flows;
        plain->packets += piece->packets;
        plain->bytes += piece->bytes;
        return;
    }
    struct weir_counts *counts = weir_table_add(&rows->sampled, key, hash, NULL);
    struct weir_counts more = weir_counts_of(piece->flows, piece->packets, piece->bytes, piece->sampling_one_in);
    weir_counts_add(counts, &more);
}

static inline void fetch(const struct rows *rows, const struct piece *piece, uint64_t hash)
{
    const struct weir_table *table = piece->sampling_one_in <= 1 ? &rows->plain : &rows->sampled;
    weir_table_prefetch(table, hash);
    __builtin_prefetch(table->slots + (hash & (table->capacity - 1)) * table->slot_size + 64, 1);
}

static inline struct key_head head_of(const struct agg_roll_batch *of, const struct piece *piece)
{
    return (struct key_head){.window = piece->window, .shard = (uint8_t)of->shard};
}

static void add_ips(struct agg_roll *roll, const struct agg_roll_batch *of, enum agg_table table,
                    const struct weir_ip *ips, const uint64_t *ip_hashes)
{
    struct rows *rows = &roll->tier[AGG_TIER_1M].rows[table];
    const struct piece *pieces = roll->pieces;
    uint32_t count = roll->piece_count;
    for (uint32_t i = 0; i < count; i++) {
        struct key_head head = head_of(of, &pieces[i]);
        roll->hashes[i] = hash_ip_key(&head, ip_hashes[pieces[i].row]);
        if (i < FETCH_AHEAD) fetch(rows, &pieces[i], roll->hashes[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (i + FETCH_AHEAD < count) fetch(rows, &pieces[i + FETCH_AHEAD], roll->hashes[i + FETCH_AHEAD]);
        struct ip_key key = {.head = head_of(of, &pieces[i]), .ip = ips[pieces[i].row]};
        add_piece(rows, &key, roll->hashes[i], &pieces[i]);
    }
}

static void add_pairs(struct agg_roll *roll, const struct agg_roll_batch *of)
{
    struct rows *rows = &roll->tier[AGG_TIER_1M].rows[AGG_TABLE_PAIR];
    struct rows *self = &roll->tier[AGG_TIER_1M].rows[AGG_TABLE_SELF];
    const struct piece *pieces = roll->pieces;
    uint32_t count = roll->piece_count;
    for (uint32_t i = 0; i < count; i++) {
        struct key_head head = head_of(of, &pieces[i]);
        roll->hashes[i] = hash_pair_key(&head, roll->src_hash[pieces[i].row], roll->dst_hash[pieces[i].row]);
        if (i < FETCH_AHEAD) fetch(rows, &pieces[i], roll->hashes[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (i + FETCH_AHEAD < count) fetch(rows, &pieces[i + FETCH_AHEAD], roll->hashes[i + FETCH_AHEAD]);
        uint32_t row = pieces[i].row;
        struct pair_key key = {.head = head_of(of, &pieces[i]), .src = roll->src[row], .dst = roll->dst[row]};
        add_piece(rows, &key, roll->hashes[i], &pieces[i]);
        if (__builtin_expect(weir_ip_equal(&key.src, &key.dst), 0)) {
            struct ip_key ip = {.head = key.head, .ip = key.src};
            add_piece(self, &ip, hash_ip_key(&ip.head, roll->src_hash[row]), &pieces[i]);
        }
    }
}

static void add_services(struct agg_roll *roll, const struct agg_roll_batch *of, uint32_t first_row)
{
    struct rows *rows = &roll->tier[AGG_TIER_1M].rows[AGG_TABLE_SERVICE];
    const uint16_t *src_port = column_of(of->batch, WEIR_FIELD_src_port);
    const uint16_t *dst_port = column_of(of->batch, WEIR_FIELD_dst_port);
    const uint16_t *tcp_flags = column_of(of->batch, WEIR_FIELD_tcp_flags);
    const uint16_t *icmp = column_of(of->batch, WEIR_FIELD_icmp_type_code);
    const uint8_t *proto = column_of(of->batch, WEIR_FIELD_proto);
    const struct piece *pieces = roll->pieces;
    uint32_t count = roll->piece_count;
    struct key_head heads[PIECES_AT_ONCE];
    bool src_is_server[PIECES_AT_ONCE];
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = pieces[i].row, row = first_row + at;
        uint8_t p = proto == NULL ? 0 : proto[row];
        uint16_t from = src_port == NULL ? 0 : src_port[row], to = dst_port == NULL ? 0 : dst_port[row];
        struct weir_oriented oriented =
            weir_orient(&roll->src[at], &roll->dst[at], from, to, p, tcp_flags == NULL ? 0 : tcp_flags[row],
                        icmp == NULL ? 0 : icmp[row]);
        src_is_server[i] = oriented.src_is_server;
        heads[i] = head_of(of, &pieces[i]);
        heads[i].proto = p;
        heads[i].port = weir_server_port(oriented, p, from, to);
        roll->hashes[i] = hash_ip_key(&heads[i], oriented.src_is_server ? roll->src_hash[at] : roll->dst_hash[at]);
        if (i < FETCH_AHEAD) fetch(rows, &pieces[i], roll->hashes[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (i + FETCH_AHEAD < count) fetch(rows, &pieces[i + FETCH_AHEAD], roll->hashes[i + FETCH_AHEAD]);
        uint32_t at = pieces[i].row;
        struct ip_key key = {.head = heads[i], .ip = src_is_server[i] ? roll->src[at] : roll->dst[at]};
        add_piece(rows, &key, roll->hashes[i], &pieces[i]);
    }
}

static struct agg_row *add_source_row(struct tier *tier, const struct source_key *key)
{
    return weir_table_add(&tier->sources, key, weir_hash64(key, sizeof *key, 0), NULL);
}

static void add_sources(struct agg_roll *roll, struct source_key *key)
{
    for (uint32_t i = 0; i < roll->piece_count; i++) {
        const struct piece *piece = &roll->pieces[i];
        size_t at = piece->window % SOURCE_WINDOWS;
        if (roll->source_rows[at].row == NULL || roll->source_rows[at].window != piece->window) {
            key->head.window = piece->window;
            roll->source_rows[at].window = piece->window;
            roll->source_rows[at].row = add_source_row(&roll->tier[AGG_TIER_1M], key);
        }
        struct weir_counts more = weir_counts_of(piece->flows, piece->packets, piece->bytes, piece->sampling_one_in);
        weir_counts_add(&roll->source_rows[at].row->counts, &more);
    }
}

static void add_pieces(struct agg_roll *roll, const struct agg_roll_batch *of, uint32_t first_row,
                       struct source_key *source)
{
    add_sources(roll, source);
    add_ips(roll, of, AGG_TABLE_SRC, roll->src, roll->src_hash);
    add_ips(roll, of, AGG_TABLE_DST, roll->dst, roll->dst_hash);
    add_pairs(roll, of);
    add_services(roll, of, first_row);
    roll->piece_count = 0;
}

/** Cut a flow into windows; the parts of bytes and packets add up to the whole. */
static void cut_flow(struct agg_roll *roll, const struct agg_span *span, const struct piece *whole)
{
    int64_t first = agg_first_window(span, AGG_MINUTE_MS), last = agg_last_window(span, AGG_MINUTE_MS);
    if (first == last) {
        struct piece *piece = &roll->pieces[roll->piece_count++];
        *piece = *whole;
        piece->window = (uint32_t)first;
        return;
    }
    roll->counts.spread++;
    uint32_t stride = stride_of(first, last);
    uint64_t packets_before = 0, bytes_before = 0;
    for (int64_t window = first; window <= last; window += stride) {
        int64_t to_ms = (window + stride) * AGG_MINUTE_MS;
        uint64_t packets = agg_part_before(whole->packets, span, to_ms);
        uint64_t bytes = agg_part_before(whole->bytes, span, to_ms);
        struct piece *piece = &roll->pieces[roll->piece_count++];
        *piece = *whole;
        piece->window = (uint32_t)window;
        piece->flows = window == first ? whole->flows : 0;
        piece->packets = packets - packets_before;
        piece->bytes = bytes - bytes_before;
        packets_before = packets;
        bytes_before = bytes;
    }
}

static void add_flows(struct agg_roll *roll, const struct agg_roll_batch *of, struct source_key *source)
{
    static const struct weir_ip no_ip;
    const struct weir_batch *batch = of->batch;
    const struct weir_ip *src = column_of(batch, WEIR_FIELD_src_ip);
    const struct weir_ip *dst = column_of(batch, WEIR_FIELD_dst_ip);
    const uint64_t *packets = column_of(batch, WEIR_FIELD_packets);
    const uint64_t *bytes = column_of(batch, WEIR_FIELD_bytes);
    const uint32_t *sampling = column_of(batch, WEIR_FIELD_sampling_one_in);
    uint64_t no_ip_hash = hash_ip(roll->seed, &no_ip);
    int64_t late_before_ms = of->commit_ms - AGG_LATE_MS;

    for (uint32_t from = 0; from < batch->count; from += ROWS_AT_ONCE) {
        uint32_t rows = batch->count - from < ROWS_AT_ONCE ? batch->count - from : ROWS_AT_ONCE;
        for (uint32_t i = 0; i < rows; i++) {
            roll->src[i] = src == NULL ? no_ip : src[from + i];
            roll->dst[i] = dst == NULL ? no_ip : dst[from + i];
            roll->src_hash[i] = src == NULL ? no_ip_hash : hash_ip(roll->seed, &src[from + i]);
            roll->dst_hash[i] = dst == NULL ? no_ip_hash : hash_ip(roll->seed, &dst[from + i]);
        }
        for (uint32_t i = 0; i < rows; i++) {
            uint32_t row = from + i;
            take_span(of, row, &roll->span[i]);
            roll->counts.clamped += roll->span[i].clamped;
            roll->counts.late += roll->span[i].end_ms < late_before_ms;
            struct piece whole = {.row = (uint16_t)i,
                                  .flows = 1,
                                  .sampling_one_in = sampling == NULL ? 0 : sampling[row],
                                  .packets = packets == NULL ? 0 : packets[row],
                                  .bytes = bytes == NULL ? 0 : bytes[row]};
            if (roll->piece_count + AGG_WINDOWS_MOST > PIECES_AT_ONCE) add_pieces(roll, of, from, source);
            cut_flow(roll, &roll->span[i], &whole);
        }
        add_pieces(roll, of, from, source);
    }
    roll->counts.flows += batch->count;
}

static void copy_name(char out[WEIR_NAME_BYTES], const char *name)
{
    strncpy(out, name, WEIR_NAME_BYTES - 1);
}

/** Losses, and when the source was heard: in the minute in which the batch was received. */
static void add_heard(struct agg_roll *roll, const struct agg_roll_batch *of, struct source_key *source)
{
    const struct weir_batch_header *header = of->header;
    int64_t heard_ms = agg_clamp_ms(header->last_received_ms, of->commit_ms);
    source->head.window = (uint32_t)(heard_ms / AGG_MINUTE_MS);
    struct agg_row *row = add_source_row(&roll->tier[AGG_TIER_1M], source);
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
    if (of->batch == NULL || of->batch->count == 0) return;
    const uint32_t *sampling = column_of(of->batch, WEIR_FIELD_sampling_one_in);
    const uint8_t *origin = column_of(of->batch, WEIR_FIELD_sampling_origin);
    row->sampling_one_in = sampling == NULL ? 0 : sampling[of->batch->count - 1];
    row->sampling_origin = origin == NULL ? 0 : origin[of->batch->count - 1];
}

int agg_roll_add(struct agg_roll *roll, const struct agg_roll_batch *of)
{
    assert(of->shard < WEIR_SHARDS);
    bool sampled = of->batch != NULL && weir_batch_has(of->batch, WEIR_FIELD_sampling_one_in);
    int rc = reserve(&roll->tier[AGG_TIER_1M], of->batch == NULL ? 0 : count_pieces(of), sampled);
    if (rc < 0) return rc;

    struct source_key source = {.head.shard = (uint8_t)of->shard,
                                .exporter = of->header->source.exporter,
                                .domain = of->header->source.domain,
                                .protocol = of->header->protocol};
    copy_name(source.site, of->site);
    copy_name(source.agent, of->agent);
    memset(roll->source_rows, 0, sizeof roll->source_rows);
    if (of->batch != NULL) add_flows(roll, of, &source);
    add_heard(roll, of, &source);
    return 0;
}

/* --- from minutes to hours --- */

static void fold_sources(const struct weir_table *from, struct tier *to)
{
    size_t at = 0;
    void *value;
    const struct source_key *minute;
    while ((minute = weir_table_next(from, &at, &value)) != NULL) {
        struct source_key key = *minute;
        key.head.window /= 60;
        agg_row_add(value, add_source_row(to, &key));
    }
}

static void fold_rows(struct agg_roll *roll, enum agg_table table, bool sampled)
{
    struct rows *minutes = &roll->tier[AGG_TIER_1M].rows[table], *hours = &roll->tier[AGG_TIER_1H].rows[table];
    const struct weir_table *from = sampled ? &minutes->sampled : &minutes->plain;
    struct weir_table *to = sampled ? &hours->sampled : &hours->plain;
    struct {
        struct pair_key key; /* or an ip_key, which begins alike */
        uint64_t hash;
        const void *value;
    } ahead[FETCH_AHEAD];
    size_t at = 0;
    for (;;) {
        size_t count = 0;
        void *value;
        const void *minute;
        while (count < FETCH_AHEAD && (minute = weir_table_next(from, &at, &value)) != NULL) {
            memcpy(&ahead[count].key, minute, from->key_size);
            ahead[count].key.head.window /= 60;
            ahead[count].hash = hash_key(roll->seed, table, &ahead[count].key);
            ahead[count].value = value;
            weir_table_prefetch(to, ahead[count].hash);
            count++;
        }
        for (size_t i = 0; i < count; i++) {
            void *hour = weir_table_add(to, &ahead[i].key, ahead[i].hash, NULL);
            if (sampled) {
                weir_counts_add(hour, ahead[i].value);
            } else {
                struct plain *sum = hour;
                const struct plain *more = ahead[i].value;
                sum->flows += more->flows;
                sum->packets += more->packets;
                sum->bytes += more->bytes;
            }
        }
        if (count < FETCH_AHEAD) return;
    }
}

int agg_roll_fold(struct agg_roll *roll)
{
    struct tier *minutes = &roll->tier[AGG_TIER_1M], *hours = &roll->tier[AGG_TIER_1H];
    int rc = weir_table_reserve(&hours->sources, hours->sources.count + minutes->sources.count);
    for (int table = AGG_TABLE_SRC; rc == 0 && table < AGG_TABLES; table++) {
        struct rows *from = &minutes->rows[table], *to = &hours->rows[table];
        rc = weir_table_reserve(&to->plain, to->plain.count + from->plain.count);
        if (rc == 0 && from->sampled.count > 0)
            rc = weir_table_reserve(&to->sampled, to->sampled.count + from->sampled.count);
    }
    if (rc < 0) return rc;

    fold_sources(&minutes->sources, hours);
    for (int table = AGG_TABLE_SRC; table < AGG_TABLES; table++) {
        fold_rows(roll, table, false);
        fold_rows(roll, table, true);
    }
    return 0;
}

/* --- rows out --- */

static size_t table_rows(const struct tier *tier)
{
    size_t rows = tier->sources.count;
    for (int table = AGG_TABLE_SRC; table < AGG_TABLES; table++)
        rows += tier->rows[table].plain.count + tier->rows[table].sampled.count;
    return rows;
}

size_t agg_roll_rows(const struct agg_roll *roll, enum agg_tier tier)
{
    return table_rows(&roll->tier[tier]);
}

/** Tables grow by doubling at 7/8: a row takes one and a half slots on average. */
static size_t bytes_in_use(const struct weir_table *table)
{
    return table->count * (table->slot_size + 1) * 3 / 2;
}

size_t agg_roll_bytes(const struct agg_roll *roll, enum agg_tier tier)
{
    const struct tier *of = &roll->tier[tier];
    size_t bytes = bytes_in_use(&of->sources) + table_rows(of) * 2 * sizeof(struct sorted);
    for (int table = AGG_TABLE_SRC; table < AGG_TABLES; table++)
        bytes += bytes_in_use(&of->rows[table].plain) + bytes_in_use(&of->rows[table].sampled);
    return bytes;
}

static void clear_table(struct weir_table *table)
{
    if (table->capacity > SLOTS_KEPT && table->count < table->capacity / 8)
        weir_table_fini(table);
    else
        weir_table_clear(table);
}

void agg_roll_clear(struct agg_roll *roll, enum agg_tier tier)
{
    struct tier *of = &roll->tier[tier];
    clear_table(&of->sources);
    for (int table = AGG_TABLE_SRC; table < AGG_TABLES; table++) {
        clear_table(&of->rows[table].plain);
        clear_table(&of->rows[table].sampled);
    }
}

/*
 * Sort keys agree with the order of stored keys as far as they reach: IPv4 before IPv6, then the address, then as much
 * of what follows as there is room for.
 */
static inline uint64_t near_of(const struct weir_ip *ip, uint32_t next31)
{
    if (!weir_ip_is_v4(ip)) return 1ull << 63 | weir_load_u64be(ip->bytes) >> 1;
    return (uint64_t)weir_load_u32be(ip->bytes + 12) << 31 | next31;
}

static uint64_t near_of_key(enum agg_table table, const void *key)
{
    if (table == AGG_TABLE_PAIR) {
        const struct pair_key *pair = key;
        uint32_t dst = weir_ip_is_v4(&pair->dst) ? weir_load_u32be(pair->dst.bytes + 12) >> 2
                                                 : 1u << 30 | weir_load_u32be(pair->dst.bytes) >> 2;
        return near_of(&pair->src, dst);
    }
    const struct ip_key *ip = key;
    return near_of(&ip->ip, table == AGG_TABLE_SERVICE ? (uint32_t)ip->head.proto << 16 | ip->head.port : 0);
}

static int reserve_sorted(struct agg_roll *roll, size_t count)
{
    if (count <= roll->sorted_capacity) return 0;
    weir_free(roll->sorted);
    weir_free(roll->sorted_spare);
    roll->sorted = weir_malloc(count * sizeof *roll->sorted);
    roll->sorted_spare = weir_malloc(count * sizeof *roll->sorted_spare);
    roll->sorted_capacity = roll->sorted == NULL || roll->sorted_spare == NULL ? 0 : count;
    return roll->sorted_capacity == 0 ? WEIR_ENOMEM : 0;
}

enum { NEAR_DIGITS = 8, DIGITS = NEAR_DIGITS + 4 };

static inline unsigned digit_of(const struct sorted *at, int digit)
{
    return digit < NEAR_DIGITS ? (uint8_t)(at->near >> 8 * digit) : (uint8_t)(at->far >> 8 * (digit - NEAR_DIGITS));
}

/** Sort by far, then near: least digit first, passing over digits that are the same in all. */
static void radix_sort(struct agg_roll *roll, size_t count)
{
    uint32_t counts[DIGITS][256] = {{0}};
    for (size_t i = 0; i < count; i++) {
        for (int digit = 0; digit < DIGITS; digit++)
            counts[digit][digit_of(&roll->sorted[i], digit)]++;
    }
    for (int digit = 0; digit < DIGITS; digit++) {
        if (counts[digit][digit_of(&roll->sorted[0], digit)] == count) continue;
        uint32_t at = 0;
        for (int value = 0; value < 256; value++) {
            uint32_t of_value = counts[digit][value];
            counts[digit][value] = at;
            at += of_value;
        }
        for (size_t i = 0; i < count; i++)
            roll->sorted_spare[counts[digit][digit_of(&roll->sorted[i], digit)]++] = roll->sorted[i];
        struct sorted *swap = roll->sorted;
        roll->sorted = roll->sorted_spare;
        roll->sorted_spare = swap;
    }
}

/** The table that a sort key speaks of. */
static const struct weir_table *table_of(const struct tier *tier, enum agg_table table, bool sampled)
{
    if (table == AGG_TABLE_SOURCE) return &tier->sources;
    return sampled ? &tier->rows[table].sampled : &tier->rows[table].plain;
}

static uint32_t least_window(const struct weir_table *table, uint32_t least)
{
    const struct key_head *head;
    size_t at = 0;
    while ((head = weir_table_next(table, &at, NULL)) != NULL) {
        if (head->window < least) least = head->window;
    }
    return least;
}

/** Append the sort keys of a table's rows. */
static size_t list_rows(struct agg_roll *roll, const struct tier *tier, enum agg_table table, bool sampled,
                        uint32_t first_window, size_t count)
{
    const struct weir_table *from = table_of(tier, table, sampled);
    const struct key_head *head;
    size_t at = 0;
    while ((head = weir_table_next(from, &at, NULL)) != NULL) {
        assert(head->window - first_window < FAR_WINDOWS && at <= SLOT_SAMPLED);
        roll->sorted[count++] = (struct sorted){.near = table == AGG_TABLE_SOURCE ? 0 : near_of_key(table, head),
                                                .far = (uint32_t)head->shard << FAR_SHARD |
                                                       (uint32_t)table << FAR_TABLE | (head->window - first_window),
                                                .slot = (uint32_t)(at - 1) | (sampled ? SLOT_SAMPLED : 0)};
    }
    return count;
}

static inline const uint8_t *slot_of(const struct tier *tier, const struct sorted *at)
{
    const struct weir_table *table = table_of(tier, at->far >> FAR_TABLE & 7, (at->slot & SLOT_SAMPLED) != 0);
    return table->slots + (at->slot & ~SLOT_SAMPLED) * table->slot_size;
}

static size_t write_key(enum agg_table table, const void *key, uint8_t out[AGG_ROW_KEY_MOST])
{
    const struct key_head *head = key;
    uint8_t *at = agg_row_put_prefix(out, head->shard, table, head->window);
    if (table == AGG_TABLE_PAIR) {
        const struct pair_key *pair = key;
        at = agg_row_put_ip(agg_row_put_ip(at, &pair->src), &pair->dst);
        return (size_t)(at - out);
    }
    at = agg_row_put_ip(at, &((const struct ip_key *)key)->ip);
    if (table == AGG_TABLE_SERVICE) {
        at[0] = head->proto;
        weir_store_u16be(at + 1, head->port);
        at += 3;
    }
    return (size_t)(at - out);
}

static size_t write_source_key(const struct source_key *key, uint8_t out[AGG_ROW_KEY_MOST])
{
    struct agg_row_key stored = {.shard = key->head.shard,
                                 .table = AGG_TABLE_SOURCE,
                                 .window = key->head.window,
                                 .source = {.exporter = key->exporter, .domain = key->domain},
                                 .protocol = key->protocol};
    memcpy(stored.site, key->site, sizeof stored.site);
    memcpy(stored.agent, key->agent, sizeof stored.agent);
    return agg_row_key_encode(&stored, out);
}

/** A row as it will be stored. */
struct stored_row {
    size_t key_size;
    uint8_t key[AGG_ROW_KEY_MOST];
    struct agg_row row;
};

static void read_row(const struct tier *tier, const struct sorted *at, struct stored_row *ret)
{
    enum agg_table table = at->far >> FAR_TABLE & 7;
    const uint8_t *slot = slot_of(tier, at);
    const void *value = slot + table_of(tier, table, (at->slot & SLOT_SAMPLED) != 0)->value_at;
    if (table == AGG_TABLE_SOURCE) {
        ret->key_size = write_source_key((const void *)slot, ret->key);
        ret->row = *(const struct agg_row *)value;
        return;
    }
    ret->key_size = write_key(table, slot, ret->key);
    ret->row = (struct agg_row){0};
    if ((at->slot & SLOT_SAMPLED) != 0) {
        ret->row.counts = *(const struct weir_counts *)value;
        return;
    }
    const struct plain *plain = value;
    ret->row.counts = (struct weir_counts){.flows = plain->flows,
                                           .packets = plain->packets,
                                           .bytes = plain->bytes,
                                           .scaled_packets = plain->packets,
                                           .scaled_bytes = plain->bytes};
}

static int compare_keys(const struct stored_row *a, const struct stored_row *b)
{
    size_t size = a->key_size < b->key_size ? a->key_size : b->key_size;
    int order = memcmp(a->key, b->key, size);
    return order != 0 ? order : (a->key_size > b->key_size) - (a->key_size < b->key_size);
}

static int compare_sorted(const void *a, const void *b, void *ctx)
{
    struct stored_row left, right;
    read_row(ctx, a, &left);
    read_row(ctx, b, &right);
    return compare_keys(&left, &right);
}

/** Order what the sort keys cannot tell apart: addresses alike in their first half, the tail of a pair. */
static void sort_ties(struct agg_roll *roll, struct tier *tier, size_t count)
{
    for (size_t from = 0, to; from < count; from = to) {
        for (to = from + 1; to < count && roll->sorted[to].near == roll->sorted[from].near &&
                            roll->sorted[to].far == roll->sorted[from].far;)
            to++;
        if (to - from > 1) qsort_r(&roll->sorted[from], to - from, sizeof roll->sorted[0], compare_sorted, tier);
    }
}

static int give_row(const struct stored_row *stored, const struct agg_roll_sink *sink)
{
    uint8_t value[AGG_ROW_BYTES_MOST];
    bool source = stored->key[2] == AGG_TABLE_SOURCE;
    size_t size = source ? agg_row_encode(&stored->row, value) : agg_counts_encode(&stored->row.counts, value);
    return sink->row(sink->ctx, weir_view_of(stored->key, stored->key_size), weir_view_of(value, size));
}

int agg_roll_emit(struct agg_roll *roll, enum agg_tier which, const struct agg_roll_sink *sink)
{
    struct tier *tier = &roll->tier[which];
    size_t count = table_rows(tier);
    if (count == 0) return 0;
    int rc = reserve_sorted(roll, count);
    if (rc < 0) return rc;

    uint32_t first_window = UINT32_MAX;
    for (int table = AGG_TABLE_SOURCE; table < AGG_TABLES; table++) {
        for (int sampled = 0; sampled < (table == AGG_TABLE_SOURCE ? 1 : 2); sampled++)
            first_window = least_window(table_of(tier, table, sampled), first_window);
    }
    size_t listed = 0;
    for (int table = AGG_TABLE_SOURCE; table < AGG_TABLES; table++) {
        for (int sampled = 0; sampled < (table == AGG_TABLE_SOURCE ? 1 : 2); sampled++)
            listed = list_rows(roll, tier, table, sampled, first_window, listed);
    }
    assert(listed == count);
    radix_sort(roll, count);
    sort_ties(roll, tier, count);

    struct stored_row rows[2], *row = &rows[0], *next = &rows[1];
    read_row(tier, &roll->sorted[0], row);
    uint32_t shard = UINT32_MAX;
    for (size_t i = 0; i < count; i++) {
        if (i + FETCH_AHEAD < count) {
            const uint8_t *ahead = slot_of(tier, &roll->sorted[i + FETCH_AHEAD]);
            __builtin_prefetch(ahead);
            __builtin_prefetch(ahead + 64);
        }
        if (roll->sorted[i].far >> FAR_SHARD != shard) {
            shard = roll->sorted[i].far >> FAR_SHARD;
            rc = sink->shard(sink->ctx, shard);
            if (rc < 0) return rc;
        }
        bool is_last = i + 1 == count;
        if (!is_last) {
            read_row(tier, &roll->sorted[i + 1], next);
            if (compare_keys(row, next) == 0) { /* sampled and not: one row */
                agg_row_add(&next->row, &row->row);
                continue;
            }
        }
        rc = give_row(row, sink);
        if (rc < 0) return rc;
        struct stored_row *given = row;
        row = next;
        next = given;
    }
    return 0;
}
