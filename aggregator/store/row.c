#include "aggregator/store/row.h"

#include "common/base/err.h"

/* Bits of the mask that an encoded row begins with; a row holds those fields, in this order. */
enum {
    FLOWS,
    PACKETS,
    BYTES,
    MORE_PACKETS, /* what scaling adds */
    MORE_BYTES,
    PACKETS_VARIANCE,
    BYTES_VARIANCE,
    BATCHES,
    LOST_SEQUENCE,
    LOST_TEMPLATES,
    LOST_UNDECODABLE,
    LOST_SOCKET,
    LOST_SPOOL,
    LOST_PACKETS,
    LOST_BYTES,
    FIRST_HEARD,
    LAST_HEARD,
    LAST_EXPORT,
    SAMPLING,
    SAMPLING_ORIGIN,
    SILENCE, /* of flows, when it was heard last, ms: last_heard - last_flows */
    TEMPLATES,
    WAITING,
    SKEW, /* zigzag + 1; 0 unknown */
    DROPS,
    DROP_FIRST,
    DROP_LAST,
    EXAMPLE, /* when it came, + 1, before DROP_LAST; 0: there is none */
    EXAMPLE_BYTES,
    EXAMPLE_HEAD, /* as many bytes, which follow */
    FIELDS
};

static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

static uint64_t take_varint(struct weir_cursor *c)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        uint8_t byte = weir_cursor_u8(c);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
    }
    c->ran_out = true;
    return 0;
}

static bool is_double(int field)
{
    return field == PACKETS_VARIANCE || field == BYTES_VARIANCE;
}

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double double_of(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t bits_of_skew(const struct weir_health *health)
{
    uint64_t twice = (uint64_t)health->skew_ms << 1;
    return health->has_skew ? (health->skew_ms < 0 ? ~twice : twice) + 1 : 0;
}

static struct weir_health health_of(uint64_t templates, uint64_t waiting, uint64_t skew)
{
    uint64_t zigzag = skew - 1;
    return (struct weir_health){.templates = (uint32_t)templates,
                                .waiting = (uint32_t)waiting,
                                .has_skew = skew != 0,
                                .skew_ms = skew == 0 ? 0 : (int64_t)(zigzag >> 1 ^ -(zigzag & 1))};
}

size_t agg_row_encode(const struct agg_row *row, uint8_t out[AGG_ROW_BYTES_MOST])
{
    const struct weir_counts *counts = &row->counts;
    const uint64_t values[FIELDS] = {
        [FLOWS] = counts->flows,
        [PACKETS] = counts->packets,
        [BYTES] = counts->bytes,
        [MORE_PACKETS] = counts->scaled_packets - counts->packets,
        [MORE_BYTES] = counts->scaled_bytes - counts->bytes,
        [PACKETS_VARIANCE] = bits_of(counts->packets_variance),
        [BYTES_VARIANCE] = bits_of(counts->bytes_variance),
        [BATCHES] = row->batches,
        [LOST_SEQUENCE] = row->lost.sequence,
        [LOST_TEMPLATES] = row->lost.templates,
        [LOST_UNDECODABLE] = row->lost.undecodable,
        [LOST_SOCKET] = row->lost.socket_drops,
        [LOST_SPOOL] = row->lost.spool,
        [LOST_PACKETS] = row->lost_packets,
        [LOST_BYTES] = row->lost_bytes,
        [FIRST_HEARD] = (uint64_t)row->first_heard_ms,
        [LAST_HEARD] = (uint64_t)row->last_heard_ms,
        [LAST_EXPORT] = (uint64_t)row->last_export_ms,
        [SAMPLING] = row->sampling_one_in,
        [SAMPLING_ORIGIN] = row->sampling_origin,
        [SILENCE] = (uint64_t)(row->last_heard_ms - row->last_flows_ms),
        [TEMPLATES] = row->health.templates,
        [WAITING] = row->health.waiting,
        [SKEW] = bits_of_skew(&row->health),
        [DROPS] = row->drop.count,
        [DROP_FIRST] = (uint64_t)row->drop.first_ms,
        [DROP_LAST] = (uint64_t)row->drop.last_ms,
        [EXAMPLE] = row->drop.example_ms == 0 ? 0 : (uint64_t)(row->drop.last_ms - row->drop.example_ms) + 1,
        [EXAMPLE_BYTES] = row->drop.bytes,
        [EXAMPLE_HEAD] = row->drop.head_size,
    };
    uint32_t mask = 0;
    for (int f = 0; f < FIELDS; f++)
        mask |= (uint32_t)(values[f] != 0) << f;

    uint8_t *at = put_varint(out, mask);
    for (uint32_t left = mask; left != 0; left &= left - 1) {
        int f = __builtin_ctz(left);
        if (is_double(f)) {
            weir_store_u64le(at, values[f]);
            at += 8;
        } else {
            at = put_varint(at, values[f]);
        }
    }
    memcpy(at, row->drop.head, row->drop.head_size);
    return (size_t)(at + row->drop.head_size - out);
}

/** -1, 0, 1. */
static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/** What is said at one time has an order too, so that it does not matter which is merged first. */
static int compare_sampling(const struct agg_row *a, const struct agg_row *b)
{
    int order = compare((uint64_t)a->last_flows_ms, (uint64_t)b->last_flows_ms);
    if (order == 0) order = compare(a->sampling_one_in, b->sampling_one_in);
    return order != 0 ? order : compare(a->sampling_origin, b->sampling_origin);
}

static int compare_health(const struct agg_row *a, const struct agg_row *b)
{
    int order = compare((uint64_t)a->last_heard_ms, (uint64_t)b->last_heard_ms);
    if (order == 0) order = compare(a->health.templates, b->health.templates);
    if (order == 0) order = compare(a->health.waiting, b->health.waiting);
    return order != 0 ? order : compare(bits_of_skew(&a->health), bits_of_skew(&b->health));
}

void agg_row_add(const struct agg_row *from, struct agg_row *into)
{
    weir_counts_add(&into->counts, &from->counts);
    into->batches += from->batches;
    into->lost.sequence += from->lost.sequence;
    into->lost.templates += from->lost.templates;
    into->lost.undecodable += from->lost.undecodable;
    into->lost.socket_drops += from->lost.socket_drops;
    into->lost.spool += from->lost.spool;
    into->lost_packets += from->lost_packets;
    into->lost_bytes += from->lost_bytes;
    if (from->first_heard_ms != 0 && (into->first_heard_ms == 0 || from->first_heard_ms < into->first_heard_ms))
        into->first_heard_ms = from->first_heard_ms;
    if (compare_sampling(from, into) > 0) {
        into->last_flows_ms = from->last_flows_ms;
        into->sampling_one_in = from->sampling_one_in;
        into->sampling_origin = from->sampling_origin;
    }
    if (compare_health(from, into) > 0) into->health = from->health;
    if (from->last_heard_ms > into->last_heard_ms) into->last_heard_ms = from->last_heard_ms;
    if (from->last_export_ms > into->last_export_ms) into->last_export_ms = from->last_export_ms;
    weir_drop_add(&into->drop, &from->drop);
}

static struct agg_row row_of(const uint64_t values[FIELDS])
{
    return (struct agg_row){
        .counts = {.flows = values[FLOWS],
                   .packets = values[PACKETS],
                   .bytes = values[BYTES],
                   .scaled_packets = values[PACKETS] + values[MORE_PACKETS],
                   .scaled_bytes = values[BYTES] + values[MORE_BYTES],
                   .packets_variance = double_of(values[PACKETS_VARIANCE]),
                   .bytes_variance = double_of(values[BYTES_VARIANCE])},
        .batches = values[BATCHES],
        .lost = {.sequence = values[LOST_SEQUENCE],
                 .templates = values[LOST_TEMPLATES],
                 .undecodable = values[LOST_UNDECODABLE],
                 .socket_drops = values[LOST_SOCKET],
                 .spool = values[LOST_SPOOL]},
        .lost_packets = values[LOST_PACKETS],
        .lost_bytes = values[LOST_BYTES],
        .first_heard_ms = (int64_t)values[FIRST_HEARD],
        .last_heard_ms = (int64_t)values[LAST_HEARD],
        .last_flows_ms = (int64_t)(values[LAST_HEARD] - values[SILENCE]),
        .last_export_ms = (int64_t)values[LAST_EXPORT],
        .sampling_one_in = (uint32_t)values[SAMPLING],
        .sampling_origin = (uint8_t)values[SAMPLING_ORIGIN],
        .health = health_of(values[TEMPLATES], values[WAITING], values[SKEW]),
        .drop = {.count = values[DROPS],
                 .first_ms = (int64_t)values[DROP_FIRST],
                 .last_ms = (int64_t)values[DROP_LAST],
                 .example_ms = values[EXAMPLE] == 0 ? 0 : (int64_t)(values[DROP_LAST] - (values[EXAMPLE] - 1)),
                 .bytes = (uint32_t)values[EXAMPLE_BYTES]},
    };
}

int agg_row_decode_add(struct weir_view value, struct agg_row *into)
{
    struct weir_cursor c = weir_cursor_of(value);
    uint64_t mask = take_varint(&c);
    if (c.ran_out || mask >> FIELDS != 0) return WEIR_EFORMAT;

    uint64_t values[FIELDS] = {0};
    for (uint64_t left = mask; left != 0; left &= left - 1) {
        int f = __builtin_ctzll(left);
        if (is_double(f)) {
            const uint8_t *at = weir_cursor_take(&c, 8);
            values[f] = at == NULL ? 0 : weir_load_u64le(at);
        } else {
            values[f] = take_varint(&c);
        }
    }
    struct agg_row row = row_of(values);
    const uint8_t *head =
        values[EXAMPLE_HEAD] > sizeof row.drop.head ? NULL : weir_cursor_take(&c, values[EXAMPLE_HEAD]);
    if (head == NULL || c.ran_out || weir_cursor_left(&c) != 0) return WEIR_EFORMAT;
    row.drop.head_size = (uint8_t)values[EXAMPLE_HEAD];
    memcpy(row.drop.head, head, row.drop.head_size);
    agg_row_add(&row, into);
    return 0;
}

static uint8_t *put_text(uint8_t *at, const char *text)
{
    size_t size = strnlen(text, WEIR_NAME_BYTES - 1);
    *at = (uint8_t)size;
    memcpy(at + 1, text, size);
    return at + 1 + size;
}

static void take_text(struct weir_cursor *c, char out[WEIR_NAME_BYTES])
{
    size_t size = weir_cursor_u8(c);
    const uint8_t *at = size < WEIR_NAME_BYTES ? weir_cursor_take(c, size) : NULL;
    if (at == NULL) {
        c->ran_out = true;
        return;
    }
    memcpy(out, at, size);
    out[size] = '\0';
}

static void take_ip(struct weir_cursor *c, struct weir_ip *ret)
{
    uint8_t family = weir_cursor_u8(c);
    const uint8_t *at = family == 4 ? weir_cursor_take(c, 4) : family == 6 ? weir_cursor_take(c, 16) : NULL;
    if (at == NULL)
        c->ran_out = true;
    else
        *ret = family == 4 ? weir_ip_from_v4(at) : weir_ip_from_v6(at);
}

/** Append an address: 4 and its four bytes, or 6 and sixteen. Returns the new end. */
static uint8_t *put_ip(uint8_t *at, const struct weir_ip *ip)
{
    if (weir_ip_is_v4(ip)) {
        *at = 4;
        memcpy(at + 1, ip->bytes + 12, 4);
        return at + 5;
    }
    *at = 6;
    memcpy(at + 1, ip->bytes, 16);
    return at + 17;
}

size_t agg_row_key_encode(const struct agg_row_key *key, uint8_t out[AGG_ROW_KEY_MOST])
{
    struct agg_key prefix = agg_key_window(key->shard, AGG_TABLE_SOURCE, key->window);
    memcpy(out, prefix.bytes, prefix.size);
    uint8_t *at = put_ip(out + prefix.size, &key->source.exporter);
    weir_store_u32be(at, key->source.domain);
    at[4] = (uint8_t)key->protocol;
    at = put_text(at + 5, key->site);
    at = put_text(at, key->agent);
    if (key->reason != WEIR_DROP_NONE) *at++ = (uint8_t)key->reason;
    return (size_t)(at - out);
}

int agg_row_key_decode(struct weir_view bytes, struct agg_row_key *ret)
{
    struct weir_cursor c = weir_cursor_of(bytes);
    ret->shard = weir_cursor_u16(&c);
    if (weir_cursor_u8(&c) != AGG_TABLE_SOURCE) return WEIR_ECORRUPT;
    ret->window = weir_cursor_u32(&c);
    take_ip(&c, &ret->source.exporter);
    ret->source.domain = weir_cursor_u32(&c);
    ret->protocol = weir_cursor_u8(&c);
    take_text(&c, ret->site);
    take_text(&c, ret->agent);
    ret->reason = weir_cursor_left(&c) > 0 ? (enum weir_drop_reason)weir_cursor_u8(&c) : WEIR_DROP_NONE;
    return c.ran_out || weir_cursor_left(&c) != 0 ? WEIR_ECORRUPT : 0;
}
