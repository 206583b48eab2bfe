#include "agent/decode/plan.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/flow/civil.h"

#include <netinet/in.h>
#include <stdlib.h>

enum { MOST_ELEMENT = 512, RECORD_MOST = 65535, SEGMENTS_MOST = 512 };
enum { REVERSE_PEN = 29305, RANK_TURNED = 16 /* behind what is of the direction itself */ };

struct element {
    uint8_t kind; /* 0: no column */
    uint8_t field;
    uint8_t rank;
    bool in_reverse; /* counts the other direction */
    bool is_octets;  /* octetArray: a value of more bytes than the column has is another kind of value */
};

static const struct element elements[MOST_ELEMENT] = {
#define COLUMN(number, name, type, column, what, order) \
    [number] = {.kind = AGENT_OP_##what,                \
                .field = WEIR_FIELD_##column,           \
                .rank = (order),                        \
                .is_octets = sizeof(#type) == sizeof("octetArray") && #type[0] == 'o'},
#define REVERSE(number, name, type, column) \
    [number] = {.kind = AGENT_OP_NUMBER, .field = WEIR_FIELD_##column, .in_reverse = true},
#define PACKET(number, name, type, what) [number] = {.kind = AGENT_OP_##what, .field = WEIR_FIELD_COUNT},
#define LIST(number, name, type, what)   [number] = {.kind = AGENT_OP_##what, .field = WEIR_FIELD_COUNT},
#include "agent/decode/elements.def"
};

static bool size_fits(enum agent_op_kind kind, uint16_t size)
{
    switch (kind) {
    case AGENT_OP_IPV4: return size == 4;
    case AGENT_OP_IPV6: return size == 16;
    case AGENT_OP_MPLS: return size == 3;
    case AGENT_OP_TIME_NTP: return size == 8;
    case AGENT_OP_TIME_SECONDS:
    case AGENT_OP_TIME_UPTIME:
    case AGENT_OP_TIME_DELTA: return size == 4;
    default: return size >= 1 && size <= 8;
    }
}

static bool has(uint64_t columns, int field)
{
    return (columns >> field & 1) != 0;
}

static bool is_ip(enum agent_op_kind kind)
{
    return kind == AGENT_OP_IPV4 || kind == AGENT_OP_IPV6;
}

/** Ops that write no column of their own: each value has its op. */
static bool is_apart(enum agent_op_kind kind)
{
    return kind >= AGENT_OP_SAMPLE_ONE_IN;
}

static bool is_packet(enum agent_op_kind kind)
{
    return kind == AGENT_OP_FRAME || kind == AGENT_OP_IP_PACKET;
}

static bool is_tail(enum agent_op_kind kind)
{
    return kind >= AGENT_OP_FRAME;
}

/** Ops of one column beside each other: the two address families, ICMP type and code, and all about sampling. */
static bool may_share(const struct agent_op *first, const struct agent_op *second)
{
    if (is_ip(first->kind)) return first->kind != second->kind;
    if (first->kind == AGENT_OP_ICMP_TYPE || first->kind == AGENT_OP_ICMP_CODE) return true;
    return false;
}

/** Take @op unless a better one has its column; a worse one makes way. Returns false when it is not taken. */
static bool add_op(struct agent_plan *plan, uint8_t ranks[], const struct agent_op *op, uint8_t rank)
{
    if (!is_apart(op->kind)) {
        for (uint16_t i = 0; i < plan->op_count; i++) {
            struct agent_op *other = &plan->ops[i];
            if (other->field != op->field || is_apart(other->kind)) continue;
            if (ranks[i] < rank) return false;
            if (ranks[i] == rank && !may_share(other, op)) return false;
            if (ranks[i] == rank) continue;
            *other = plan->ops[plan->op_count - 1];
            ranks[i--] = ranks[--plan->op_count];
        }
    }
    if (plan->op_count == AGENT_OPS) return false;
    ranks[plan->op_count] = rank;
    plan->ops[plan->op_count++] = *op;
    return true;
}

static bool is_duration(const struct agent_op *op)
{
    return op->kind == AGENT_OP_DURATION_MS || op->kind == AGENT_OP_DURATION_US;
}

static int class_of(const struct agent_op *op)
{
    if (is_tail(op->kind)) return 3;
    return is_apart(op->kind) ? 2 : is_duration(op);
}

/** By place in the record, but durations behind the start that they add to, then sampling, then what is read value by value. */
static int compare_ops(const void *a, const void *b)
{
    const struct agent_op *left = a;
    const struct agent_op *right = b;
    int left_class = class_of(left);
    int right_class = class_of(right);
    if (left_class != right_class) return left_class - right_class;
    if (left->segment != right->segment) return left->segment - right->segment;
    return left->at - right->at;
}

/** Put the ops in order and draw from them what the runs need to know. */
static void settle(struct agent_plan *plan)
{
    qsort(plan->ops, plan->op_count, sizeof *plan->ops, compare_ops);
    uint16_t kept = 0;
    for (uint16_t i = 0; i < plan->op_count; i++) {
        struct agent_op op = plan->ops[i];
        if (is_duration(&op) && !has(plan->by_ops, WEIR_FIELD_start_ms)) {
            plan->elements_unknown++;
            continue;
        }
        if (!is_apart(op.kind)) {
            op.merges = has(plan->by_ops, op.field);
            plan->by_ops |= 1ull << op.field;
            plan->sample_at = kept + 1;
        }
        if (!is_tail(op.kind)) plan->tail_at = kept + 1;
        plan->ops[kept++] = op;
    }
    plan->op_count = kept;
    plan->written = plan->by_ops | 1ull << WEIR_FIELD_start_ms | 1ull << WEIR_FIELD_end_ms;
    plan->icmp_from_port = has(plan->by_ops, WEIR_FIELD_proto) && has(plan->by_ops, WEIR_FIELD_dst_port) &&
                           !has(plan->by_ops, WEIR_FIELD_icmp_type_code);
}

/** What ASA firewalls sent in v9 before IANA had numbers for it (NSEL). IPFIX has no such numbers without enterprise. */
static uint16_t number_of(uint16_t element)
{
    static const uint16_t nsel[] = {225, 226, 227, 228, 233};
    enum { NSEL_FIRST = 40001, NSELS = sizeof nsel / sizeof *nsel };
    if (element >= NSEL_FIRST && element < NSEL_FIRST + NSELS) return nsel[element - NSEL_FIRST];
    return element < MOST_ELEMENT ? element : 0;
}

/** Whether the value counts the other direction: as an element of its own, or by the reverse PEN of RFC 5103 6.1. */
static bool is_reverse(const struct agent_spec *spec)
{
    if (spec->enterprise == REVERSE_PEN) return elements[number_of(spec->element)].kind != AGENT_OP_NONE;
    return spec->enterprise == 0 && elements[number_of(spec->element)].in_reverse;
}

/** The column that a value of one direction has in the other; WEIR_FIELD_COUNT where it says nothing of that. */
static uint8_t turned(uint8_t field)
{
    static const uint8_t other[WEIR_FIELD_COUNT + 1] = {
#define SAME(column)   [WEIR_FIELD_##column] = WEIR_FIELD_##column + 1
#define SWAP(one, two) [WEIR_FIELD_##one] = WEIR_FIELD_##two + 1, [WEIR_FIELD_##two] = WEIR_FIELD_##one + 1
        SWAP(src_ip, dst_ip),
        SWAP(src_port, dst_port),
        SWAP(src_mac, dst_mac),
        SWAP(src_as, dst_as),
        SWAP(src_mask, dst_mask),
        SWAP(if_in, if_out),
        SWAP(vlan_in, vlan_out),
        SWAP(cvlan_in, cvlan_out),
        SWAP(vrf_in, vrf_out),
        SWAP(post_src_ip, post_dst_ip),
        SWAP(post_src_port, post_dst_port),
        SAME(start_ms),
        SAME(end_ms),
        SAME(proto),
        SAME(sampling_one_in),
        SAME(application),
        SAME(end_reason),
        SAME(firewall_event),
        SAME(nat_event),
        SAME(forwarding_status),
#undef SAME
#undef SWAP
    };
    return other[field] == 0 ? WEIR_FIELD_COUNT : other[field] - 1;
}

/** What a value is in a direction; kind NONE where it has no column there. */
static struct element element_of(const struct agent_spec *spec, bool reverse)
{
    struct element element = {.kind = AGENT_OP_NONE};
    if (spec->enterprise != 0 && spec->enterprise != REVERSE_PEN) return element;
    element = elements[number_of(spec->element)];
    bool size_ok = size_fits(element.kind, spec->size) && (!element.is_octets || element.kind != AGENT_OP_NUMBER ||
                                                           spec->size <= weir_fields[element.field].width);
    if (!size_ok || is_tail(element.kind)) element.kind = AGENT_OP_NONE;
    if (is_reverse(spec)) {
        if (!reverse) element.kind = AGENT_OP_NONE;
    } else if (reverse) {
        element.field = turned(element.field);
        element.rank += RANK_TURNED;
        if (element.field == WEIR_FIELD_COUNT) element.kind = AGENT_OP_NONE;
    }
    return element;
}

/** Do the records count packets or bytes of the other direction? */
static bool has_reverse(const struct agent_spec *specs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (specs[i].size == AGENT_VARIABLE || !is_reverse(&specs[i])) continue;
        struct element element = element_of(&specs[i], true);
        bool counts = element.field == WEIR_FIELD_bytes || element.field == WEIR_FIELD_packets;
        if (counts && element.kind == AGENT_OP_NUMBER) return true;
    }
    return false;
}

/** Take the value for the extra column that the operator named it for. A template has it once: the first counts. */
static bool add_extra(struct agent_plan *plan, uint8_t ranks[], const struct agent_extras *extras,
                      const struct agent_spec *spec, uint32_t at, uint16_t segment)
{
    for (size_t e = 0; extras != NULL && e < extras->count; e++) {
        if (extras->extra[e].enterprise != spec->enterprise || extras->extra[e].element != spec->element) continue;
        for (uint16_t i = 0; i < plan->op_count; i++) {
            if (plan->ops[i].kind == AGENT_OP_EXTRA && plan->ops[i].field == e) return false;
        }
        struct agent_op op = {.kind = AGENT_OP_EXTRA,
                              .field = (uint8_t)e,
                              .size = spec->size,
                              .at = (uint16_t)at,
                              .segment = segment & 0x7fff};
        return add_op(plan, ranks, &op, 0);
    }
    return false;
}

/** Take a list, or the section of a packet, of which a record has one: the first counts. */
static bool add_whole(struct agent_plan *plan, uint8_t ranks[], const struct agent_spec *spec, uint32_t at,
                      uint16_t segment)
{
    enum agent_op_kind kind = (enum agent_op_kind)elements[number_of(spec->element)].kind;
    if (spec->enterprise != 0 || !is_tail(kind)) return false;
    for (uint16_t i = 0; i < plan->op_count; i++) {
        if (is_packet(kind) && is_packet(plan->ops[i].kind)) return false;
    }
    struct agent_op op = {
        .kind = kind, .field = WEIR_FIELD_COUNT, .size = spec->size, .at = (uint16_t)at, .segment = segment & 0x7fff};
    return add_op(plan, ranks, &op, 0);
}

static int compile(const struct agent_spec *specs, size_t count, bool reverse, const struct agent_extras *extras,
                   struct agent_plan *ret)
{
    struct agent_plan plan = {.segments = 1};
    uint8_t ranks[AGENT_OPS];
    for (size_t i = 0; i < count; i++)
        plan.segments += specs[i].size == AGENT_VARIABLE;
    if (plan.segments > SEGMENTS_MOST) return WEIR_EFORMAT;
    plan.ops = weir_calloc(AGENT_OPS, sizeof *plan.ops);
    plan.segment_bytes = weir_calloc(plan.segments, sizeof *plan.segment_bytes);
    if (plan.ops == NULL || plan.segment_bytes == NULL) {
        agent_plan_fini(&plan);
        return WEIR_ENOMEM;
    }

    uint16_t segment = 0;
    uint32_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const struct agent_spec *spec = &specs[i];
        bool named = add_extra(&plan, ranks, extras, spec, at, segment);
        if (!reverse && add_whole(&plan, ranks, spec, at, segment)) named = true;
        if (spec->size == AGENT_VARIABLE) {
            plan.segment_bytes[segment++] = (uint16_t)at;
            plan.record_bytes += at;
            plan.elements_unknown += !named;
            at = 0;
            continue;
        }
        struct element element = element_of(spec, reverse);
        struct agent_op op = {.kind = element.kind,
                              .field = element.field,
                              .size = spec->size,
                              .at = (uint16_t)at,
                              .segment = segment & 0x7fff};
        bool read = element.kind != AGENT_OP_NONE && add_op(&plan, ranks, &op, element.rank);
        plan.elements_unknown += !read && !named;
        at += spec->size;
        if (plan.record_bytes + at > RECORD_MOST) {
            agent_plan_fini(&plan);
            return WEIR_EFORMAT;
        }
    }
    plan.segment_bytes[segment] = (uint16_t)at;
    plan.record_bytes += at + segment; /* a value of variable length has a byte of length at least */
    if (plan.record_bytes == 0 || plan.record_bytes > RECORD_MOST) {
        agent_plan_fini(&plan);
        return WEIR_EFORMAT;
    }
    settle(&plan);
    struct agent_op *fitting = weir_realloc(plan.ops, (plan.op_count == 0 ? 1u : plan.op_count) * sizeof *plan.ops);
    if (fitting != NULL) plan.ops = fitting;
    *ret = plan;
    return 0;
}

int agent_plan_compile(const struct agent_spec *specs, size_t count, const struct agent_extras *extras,
                       struct agent_plan *ret)
{
    struct agent_plan plan;
    int rc = compile(specs, count, false, extras, &plan);
    if (rc < 0) return rc;
    if (has_reverse(specs, count)) {
        plan.reverse = weir_calloc(1, sizeof *plan.reverse);
        rc = plan.reverse == NULL ? WEIR_ENOMEM : compile(specs, count, true, extras, plan.reverse);
        if (rc < 0) {
            agent_plan_fini(&plan);
            return rc;
        }
        plan.reverse->elements_unknown = 0; /* counted once */
        for (size_t i = 0; i < count; i++) {
            bool read = specs[i].size != AGENT_VARIABLE && is_reverse(&specs[i]) &&
                        element_of(&specs[i], true).kind != AGENT_OP_NONE;
            plan.elements_unknown -= read;
        }
    }
    *ret = plan;
    return 0;
}

void agent_plan_fini(struct agent_plan *plan)
{
    if (plan->reverse != NULL) agent_plan_fini(plan->reverse);
    weir_free(plan->reverse);
    weir_free(plan->ops);
    weir_free(plan->segment_bytes);
    *plan = (struct agent_plan){0};
}

uint16_t agent_plan_length(struct weir_cursor *c)
{
    uint16_t size = weir_cursor_u8(c);
    return size == 255 ? weir_cursor_u16(c) : size;
}

/** Step over a record; @starts get where its segments begin, seen from @from. */
static inline void step(const struct agent_plan *plan, struct weir_cursor *c, const uint8_t *from, uint16_t starts[])
{
    for (uint16_t segment = 0;; segment++) {
        starts[segment] = (uint16_t)(c->at - from);
        weir_cursor_skip(c, plan->segment_bytes[segment]);
        if (segment + 1 == plan->segments) return;
        weir_cursor_skip(c, agent_plan_length(c));
    }
}

uint32_t agent_plan_walk(const struct agent_plan *plan, const uint8_t *at, const uint8_t *end,
                         uint16_t where[][AGENT_ROWS_VARIABLE], const uint8_t **next, bool *whole)
{
    struct weir_cursor c = {.at = at, .end = end};
    uint32_t rows = 0;
    *whole = true;
    *next = at;
    uint16_t starts[SEGMENTS_MOST];
    while (rows < AGENT_ROWS_VARIABLE && weir_cursor_left(&c) >= plan->record_bytes) {
        step(plan, &c, at, starts);
        if (c.ran_out) {
            *whole = false;
            return rows;
        }
        for (uint16_t i = 0; i < plan->op_count; i++)
            where[i][rows] = (uint16_t)(starts[plan->ops[i].segment] + plan->ops[i].at);
        rows++;
        *next = c.at;
    }
    return rows;
}

/* ---- running ---- */

/**
 * Where the values of one op are: at a stride, or (where not NULL) each at its own place. Passed by value, so that the
 * loops below keep it in registers: what they store might be anything, as far as the compiler knows.
 */
struct values {
    const uint8_t *base;
    const uint16_t *where;
    size_t stride;
    uint32_t count;
};

#define INLINED static inline __attribute__((always_inline))

#ifdef __clang__
#define UNROLLED _Pragma("clang loop unroll_count(4)")
#else
#define UNROLLED _Pragma("GCC unroll 4")
#endif

#define EACH_ROW(values)                                      \
    const uint8_t *in = (values).base;                        \
    const uint8_t *const from = (values).base;                \
    const uint16_t *restrict const places = (values).where;   \
    const size_t step = places == NULL ? (values).stride : 0; \
    const uint32_t count = (values).count;                    \
    UNROLLED                                                  \
    for (uint32_t i = 0; i < count; i++, in += step)

#define AT (places == NULL ? in : from + places[i])

#define STORE_LOOP(type, value)     \
    {                               \
        type *restrict out = to;    \
        EACH_ROW(values)            \
        {                           \
            const uint8_t *at = AT; \
            out[i] = (type)(value); \
        }                           \
        break;                      \
    }

enum { WIDTH_PAIR = 16 };

/** Numbers: a loop for each pair of widths that exporters really use, one for all others. */
INLINED void run_number(struct values values, uint8_t size, uint8_t width, void *to)
{
    switch (size * WIDTH_PAIR + width) {
    case 1 * WIDTH_PAIR + 1: STORE_LOOP(uint8_t, *at)
    case 1 * WIDTH_PAIR + 2: STORE_LOOP(uint16_t, *at)
    case 2 * WIDTH_PAIR + 2: STORE_LOOP(uint16_t, weir_load_u16be(at))
    case 2 * WIDTH_PAIR + 4: STORE_LOOP(uint32_t, weir_load_u16be(at))
    case 4 * WIDTH_PAIR + 4: STORE_LOOP(uint32_t, weir_load_u32be(at))
    case 4 * WIDTH_PAIR + 8: STORE_LOOP(uint64_t, weir_load_u32be(at))
    case 6 * WIDTH_PAIR + 8: STORE_LOOP(uint64_t, (uint64_t)weir_load_u16be(at) << 32 | weir_load_u32be(at + 2))
    case 8 * WIDTH_PAIR + 8: STORE_LOOP(uint64_t, weir_load_u64be(at))
    default:
        switch (width) {
        case 1: STORE_LOOP(uint8_t, weir_load_ube(at, size))
        case 2: STORE_LOOP(uint16_t, weir_load_ube(at, size))
        case 4: STORE_LOOP(uint32_t, weir_load_ube(at, size))
        default: STORE_LOOP(uint64_t, weir_load_ube(at, size))
        }
    }
}

static inline void store_v4(struct weir_ip *out, uint32_t network_order)
{
    uint64_t half[2] = {0, 0xffff0000u | (uint64_t)network_order << 32};
    memcpy(out, half, sizeof half);
}

/** No address yet: neither of IPv6 nor of IPv4. */
static inline bool is_unset(const struct weir_ip *ip)
{
    static const struct weir_ip none;
    static const struct weir_ip none_v4 = {{[10] = 0xff, [11] = 0xff}};
    return weir_ip_equal(ip, &none) || weir_ip_equal(ip, &none_v4);
}

/** Of both families the first that has an address counts: of a tunnel the outer, as with the fields beside it. */
INLINED void merge_ip(struct values values, bool v6, struct weir_ip *out)
{
    EACH_ROW(values)
    {
        const struct weir_ip ip = v6 ? weir_ip_from_v6(AT) : weir_ip_from_v4(AT);
        if (is_unset(&out[i]) && !is_unset(&ip)) out[i] = ip;
    }
}

INLINED void run_ip(struct values values, bool v6, bool merges, void *to)
{
    struct weir_ip *restrict out = to;
    if (merges) {
        merge_ip(values, v6, out);
    } else if (v6) {
        EACH_ROW(values)
        {
            memcpy(&out[i], AT, sizeof out[i]);
        }
    } else {
        EACH_ROW(values)
        {
            uint32_t four;
            memcpy(&four, AT, sizeof four);
            store_v4(&out[i], four);
        }
    }
}

INLINED void run_time(struct values values, enum agent_op_kind kind, uint8_t size, const struct agent_clock *clock,
                      const int64_t *start, void *to)
{
    const int64_t export_ms = clock->export_ms;
    const uint32_t uptime_ms = clock->uptime_ms;
    switch (kind) {
    case AGENT_OP_TIME_SECONDS: STORE_LOOP(int64_t, (int64_t)weir_load_u32be(at) * 1000)
    case AGENT_OP_TIME_NTP: STORE_LOOP(int64_t, weir_ntp_ms(weir_load_u32be(at), weir_load_u32be(at + 4)))
    case AGENT_OP_TIME_DELTA: STORE_LOOP(int64_t, export_ms - weir_load_u32be(at) / 1000)
    case AGENT_OP_TIME_UPTIME:
        if (clock->has_uptime) {
            /* Modular and signed: the uptime wraps after 49.7 days, and a flow may end a little after the export. */
            STORE_LOOP(int64_t, export_ms + (int32_t)(weir_load_u32be(at) - uptime_ms))
        } else {
            STORE_LOOP(int64_t, ((void)at, export_ms))
        }
    case AGENT_OP_DURATION_MS: STORE_LOOP(int64_t, (uint64_t)start[i] + (weir_load_ube(at, size) & INT32_MAX))
    case AGENT_OP_DURATION_US: STORE_LOOP(int64_t, (uint64_t)start[i] + (weir_load_ube(at, size) / 1000 & INT32_MAX))
    default: break;
    }
}

INLINED void run_icmp(struct values values, int shift, uint8_t size, bool merges, void *to)
{
    uint16_t *restrict out = to;
    EACH_ROW(values)
    {
        uint16_t value = (uint16_t)((uint8_t)weir_load_ube(AT, size) << shift);
        out[i] = merges ? out[i] | value : value;
    }
}

INLINED void run_mpls(struct values values, void *to)
{
    uint32_t *restrict out = to;
    EACH_ROW(values)
    {
        out[i] = (uint32_t)weir_load_ube(AT, 3) >> 4;
    }
}

INLINED void run_op(struct values values, struct agent_op op, const struct agent_clock *clock, const int64_t *start,
                    uint8_t width, void *to)
{
    switch (op.kind) {
    case AGENT_OP_NUMBER: run_number(values, op.size, width, to); break;
    case AGENT_OP_IPV4: run_ip(values, false, op.merges, to); break;
    case AGENT_OP_IPV6: run_ip(values, true, op.merges, to); break;
    case AGENT_OP_MPLS: run_mpls(values, to); break;
    case AGENT_OP_ICMP_TYPE: run_icmp(values, 8, op.size, op.merges, to); break;
    case AGENT_OP_ICMP_CODE: run_icmp(values, 0, op.size, op.merges, to); break;
    default: run_time(values, (enum agent_op_kind)op.kind, op.size, clock, start, to); break;
    }
}

/** Times that no element gave: the end for the start, the start for the end, the export time for both. */
static void fill_times(uint64_t by_ops, int64_t export_ms, int64_t *start, int64_t *end, uint32_t count)
{
    bool has_start = has(by_ops, WEIR_FIELD_start_ms);
    bool has_end = has(by_ops, WEIR_FIELD_end_ms);
    if (has_start && has_end) return;
    for (uint32_t i = 0; i < count; i++) {
        if (!has_start) start[i] = has_end ? end[i] : export_ms;
        if (!has_end) end[i] = start[i];
    }
}

/** Exporters without an element for it put ICMP type and code where the destination port is. Returns the columns written. */
static uint64_t icmp_from_port(struct weir_batch *batch, uint32_t count)
{
    const uint8_t *proto = (const uint8_t *)batch->column[WEIR_FIELD_proto] + batch->count;
    uint8_t any = 0;
    for (uint32_t i = 0; i < count; i++)
        any |= (uint8_t)(proto[i] == IPPROTO_ICMP) | (uint8_t)(proto[i] == IPPROTO_ICMPV6);
    if (any == 0) return 0;

    const uint16_t *port = (const uint16_t *)batch->column[WEIR_FIELD_dst_port] + batch->count;
    uint16_t *icmp = (uint16_t *)weir_batch_touch(batch, WEIR_FIELD_icmp_type_code) + batch->count;
    for (uint32_t i = 0; i < count; i++)
        icmp[i] = proto[i] == IPPROTO_ICMP || proto[i] == IPPROTO_ICMPV6 ? port[i] : 0;
    return 1ull << WEIR_FIELD_icmp_type_code;
}

static void touch_all(struct weir_batch *batch, uint64_t columns)
{
    uint64_t missing = columns & ~batch->present;
    for (; missing != 0; missing &= missing - 1)
        weir_batch_touch(batch, (enum weir_field)__builtin_ctzll(missing));
}

uint64_t agent_plan_run(const struct agent_plan *plan, const struct agent_rows *rows, const struct agent_clock *clock,
                        struct weir_batch *batch)
{
    touch_all(batch, plan->written);
    int64_t *start = (int64_t *)batch->column[WEIR_FIELD_start_ms] + batch->count;
    int64_t *end = (int64_t *)batch->column[WEIR_FIELD_end_ms] + batch->count;
    for (uint16_t i = 0; i < plan->sample_at; i++) {
        const struct agent_op op = plan->ops[i];
        uint8_t width = weir_fields[op.field].width;
        void *to = (uint8_t *)batch->column[op.field] + (size_t)batch->count * width;
        struct values values = {.base = rows->base, .count = rows->count};
        if (rows->where == NULL) {
            values.base += op.at;
            values.stride = plan->record_bytes;
            run_op(values, op, clock, start, width, to);
        } else {
            values.where = rows->where[i];
            run_op(values, op, clock, start, width, to);
        }
    }
    fill_times(plan->by_ops, clock->export_ms, start, end, rows->count);
    return plan->written | (plan->icmp_from_port ? icmp_from_port(batch, rows->count) : 0);
}

/** Write the one value at @at into its column of @flow. */
static __attribute__((noinline)) void read_op(struct agent_op op, const uint8_t *at, const struct agent_clock *clock,
                                              struct weir_flow *flow)
{
    const struct weir_field_info *info = &weir_fields[op.field];
    struct values values = {.base = at, .count = 1};
    run_op(values, op, clock, &flow->start_ms, info->width, (uint8_t *)flow + info->at);
}

uint64_t agent_plan_read(const struct agent_plan *plan, struct weir_cursor *c, const struct agent_clock *clock,
                         struct weir_flow *flow)
{
    const uint8_t *from = c->at;
    uint16_t starts[SEGMENTS_MOST];
    step(plan, c, from, starts);
    if (c->ran_out || flow == NULL) return 0;
    for (uint16_t i = 0; i < plan->sample_at; i++)
        read_op(plan->ops[i], from + starts[plan->ops[i].segment] + plan->ops[i].at, clock, flow);
    return plan->by_ops;
}

uint64_t agent_plan_read_value(const struct agent_spec *spec, const uint8_t *at, const struct agent_clock *clock,
                               struct weir_flow *flow)
{
    struct element element = element_of(spec, false);
    struct agent_op op = {.kind = element.kind, .field = element.field, .size = spec->size};
    if (op.kind == AGENT_OP_NONE || is_apart(op.kind) || is_duration(&op)) return 0;
    read_op(op, at, clock, flow);
    return 1ull << op.field;
}

uint64_t agent_plan_value(const struct agent_plan *plan, const struct agent_rows *rows, uint16_t op, uint32_t row)
{
    const uint8_t *at = rows->where == NULL ? rows->base + (size_t)row * plan->record_bytes + plan->ops[op].at
                                            : rows->base + rows->where[op][row];
    return weir_load_ube(at, plan->ops[op].size);
}

struct weir_view agent_plan_bytes(const struct agent_plan *plan, const struct agent_rows *rows, uint16_t op,
                                  uint32_t row)
{
    const uint8_t *at = rows->where == NULL ? rows->base + (size_t)row * plan->record_bytes + plan->ops[op].at
                                            : rows->base + rows->where[op][row];
    if (plan->ops[op].size != AGENT_VARIABLE) return weir_view_of(at, plan->ops[op].size);
    return *at < 255 ? weir_view_of(at + 1, *at) : weir_view_of(at + 3, weir_load_u16be(at + 1));
}
