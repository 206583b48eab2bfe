#include "common/flow/filter_tree.h"

#include "common/base/err.h"
#include "common/flow/orient.h"

#include <assert.h>

/* ---- sets ---- */

static inline bool in_numbers(const struct filter_node *node, uint64_t number)
{
    const struct filter_numbers *ranges = node->numbers;
    if (node->count == 1) return number - ranges->low <= ranges->high - ranges->low;
    uint32_t low = 0;
    uint32_t high = node->count;
    while (low < high) { /* the first range that ends at or after the number */
        uint32_t middle = (low + high) / 2;
        if (ranges[middle].high < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < node->count && ranges[low].low <= number;
}

static inline bool in_addresses(const struct filter_node *node, const struct weir_ip *ip)
{
    filter_address address = filter_address_of(ip);
    const struct filter_addresses *ranges = node->addresses;
    if (node->count == 1) return address - ranges->low <= ranges->high - ranges->low;
    uint32_t low = 0;
    uint32_t high = node->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (ranges[middle].high < address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < node->count && ranges[low].low <= address;
}

/** '*' stands for any run of characters. Linear in practice: only the last star is ever tried again. */
static bool glob_matches(const char *pattern, const char *text)
{
    const char *star = NULL;
    const char *retry = NULL;
    while (*text != '\0') {
        if (*pattern == '*') {
            star = pattern++;
            retry = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star != NULL) {
            pattern = star + 1;
            text = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

static bool in_patterns(const struct filter_node *node, const char *text)
{
    for (uint32_t i = 0; i < node->count; i++) {
        const struct filter_pattern *pattern = &node->patterns[i];
        if (pattern->glob ? glob_matches(pattern->text, text) : strcmp(pattern->text, text) == 0) return true;
    }
    return false;
}

static bool in_set(const struct filter_node *node, const union weir_value *value)
{
    return node->kind == FILTER_ADDRESSES ? in_addresses(node, &value->ip) : in_numbers(node, value->number);
}

static uint64_t duration_ms(int64_t start_ms, int64_t end_ms)
{
    return end_ms > start_ms ? (uint64_t)end_ms - (uint64_t)start_ms : 0;
}

/** As nfdump computes them: whole numbers, and 0 where the divisor is. */
static uint64_t metric_of(enum filter_metric metric, uint64_t bytes, uint64_t packets, uint64_t duration)
{
    switch (metric) {
    case FILTER_BYTES: return bytes;
    case FILTER_PACKETS: return packets;
    case FILTER_DURATION: return duration;
    case FILTER_BPP: return packets == 0 ? 0 : bytes / packets;
    case FILTER_BPS: return duration == 0 ? 0 : (uint64_t)((filter_address)bytes * 8000 / duration);
    case FILTER_PPS: return duration == 0 ? 0 : (uint64_t)((filter_address)packets * 1000 / duration);
    case FILTER_METRICS: break;
    }
    return 0;
}

static bool icmp_test(const struct filter_node *node, uint8_t proto, uint16_t icmp)
{
    if (!weir_proto_is_icmp(proto)) return false;
    return in_numbers(node, node->kind == FILTER_ICMP_TYPE ? icmp >> 8 : icmp & 0xff);
}

static bool flags_test(const struct filter_node *node, uint32_t flags)
{
    return (flags & node->number) == (node->kind == FILTER_FLAGS_ALL ? node->number : 0);
}

static bool family_test(const struct filter_node *node, const struct weir_ip *a, const struct weir_ip *b)
{
    static const struct weir_ip none = {{0}};
    if (weir_ip_is_v4(a) || weir_ip_is_v4(b)) return node->number == 4;
    return node->number == 6 && (!weir_ip_equal(a, &none) || !weir_ip_equal(b, &none));
}

/* ---- one flow ---- */

static bool dim_test(const struct filter_node *node, const struct weir_flow *flow, const struct weir_where *where)
{
    union weir_value values[2];
    weir_dim_of_flow((enum weir_dim)node->dim, flow, where, values);
    if (in_set(node, &values[0])) return true;
    if (node->either == FILTER_NO_DIM) return false;
    weir_dim_of_flow((enum weir_dim)node->either, flow, where, values);
    return in_set(node, &values[0]);
}

static bool flow_test(const struct filter_node *node, const struct weir_flow *flow, const struct weir_where *where)
{
    switch (node->kind) {
    case FILTER_ANY: return true;
    case FILTER_NOT: return !flow_test(node->first, flow, where);
    case FILTER_AND:
    case FILTER_OR:
        for (const struct filter_node *child = node->first; child != NULL; child = child->next) {
            if (flow_test(child, flow, where) == (node->kind == FILTER_OR)) return node->kind == FILTER_OR;
        }
        return node->kind == FILTER_AND;
    case FILTER_NUMBERS:
    case FILTER_ADDRESSES: return dim_test(node, flow, where);
    case FILTER_TEXTS: return in_patterns(node, where->site);
    case FILTER_METRIC:
        return in_numbers(
            node, metric_of(node->metric, flow->bytes, flow->packets, duration_ms(flow->start_ms, flow->end_ms)));
    case FILTER_FLAGS_ALL:
    case FILTER_FLAGS_NONE: return flags_test(node, flow->tcp_flags);
    case FILTER_FAMILY: return family_test(node, &flow->src_ip, &flow->dst_ip);
    case FILTER_ICMP_TYPE:
    case FILTER_ICMP_CODE:
        return icmp_test(node, flow->proto, weir_icmp_of(flow->proto, flow->icmp_type_code, flow->dst_port));
    }
    return false;
}

bool weir_filter_flow(const struct weir_filter *filter, const struct weir_flow *flow, const struct weir_where *where)
{
    return flow_test(filter->root, flow, where);
}

/* ---- columns of a batch ---- */

struct scan {
    const struct weir_batch *batch;
    const struct weir_where *where;
    uint32_t words;
};

static void fill(const struct scan *scan, bool value, uint64_t *out)
{
    memset(out, value ? 0xff : 0, scan->words * sizeof *out);
}

/* One bit per row of a column: @test of the value @at in row @row. */
#define EACH_ROW(scan, out, row, test)                                                        \
    for (uint32_t word = 0; word < (scan)->words; word++) {                                   \
        uint32_t begin = word * 64;                                                           \
        uint32_t end = begin + 64 < (scan)->batch->count ? begin + 64 : (scan)->batch->count; \
        uint64_t bits = 0;                                                                    \
        for (uint32_t row = begin; row < end; row++)                                          \
            bits |= (uint64_t)(test) << (row - begin);                                        \
        (out)[word] = bits;                                                                   \
    }

/** The loop over a column of numbers: compiled for each width, and apart for the one-range case. */
#define NUMBER_COLUMN(type)                                                   \
    do {                                                                      \
        const type *values = column;                                          \
        if (node->count == 1) {                                               \
            uint64_t low = node->numbers[0].low;                              \
            uint64_t span = node->numbers[0].high - low;                      \
            EACH_ROW(scan, out, row, (uint64_t)values[row] - low <= span)     \
        } else {                                                              \
            EACH_ROW(scan, out, row, in_numbers(node, (uint64_t)values[row])) \
        }                                                                     \
    } while (0)

static void number_column(const struct scan *scan, const struct filter_node *node, const void *column, uint8_t width,
                          uint64_t *out)
{
    switch (width) {
    case 1: NUMBER_COLUMN(uint8_t); break;
    case 2: NUMBER_COLUMN(uint16_t); break;
    case 4: NUMBER_COLUMN(uint32_t); break;
    default: NUMBER_COLUMN(uint64_t); break;
    }
}

/** Values that are computed from several columns, 64 rows at a time. */
static void derived_column(const struct scan *scan, const struct filter_node *node, enum weir_dim dim, uint64_t *out)
{
    union weir_value values[64];
    for (uint32_t word = 0; word < scan->words; word++) {
        uint32_t begin = word * 64;
        uint32_t rows = scan->batch->count - begin < 64 ? scan->batch->count - begin : 64;
        weir_dim_of_rows(dim, scan->batch, scan->where, begin, rows, values);
        uint64_t bits = 0;
        for (uint32_t i = 0; i < rows; i++)
            bits |= (uint64_t)in_set(node, &values[i]) << i;
        out[word] = bits;
    }
}

static void dim_column(const struct scan *scan, const struct filter_node *node, enum weir_dim dim, uint64_t *out)
{
    const struct weir_dim_info *info = &weir_dims[dim];
    if (info->origin == WEIR_DIM_DERIVED) {
        derived_column(scan, node, dim, out);
    } else if (info->origin == WEIR_DIM_SOURCE || !weir_batch_has(scan->batch, info->field)) {
        static const struct weir_flow nothing; /* one value for all rows */
        union weir_value values[2];
        weir_dim_of_flow(dim, &nothing, scan->where, values);
        fill(scan, in_set(node, &values[0]), out);
    } else if (node->kind == FILTER_ADDRESSES) {
        const struct weir_ip *column = scan->batch->column[info->field];
        EACH_ROW(scan, out, row, in_addresses(node, &column[row]))
    } else {
        number_column(scan, node, scan->batch->column[info->field], weir_fields[info->field].width, out);
    }
}

static const void *column_or_null(const struct scan *scan, enum weir_field field)
{
    return weir_batch_has(scan->batch, field) ? scan->batch->column[field] : NULL;
}

static void metric_column(const struct scan *scan, const struct filter_node *node, uint64_t *out)
{
    const uint64_t *bytes = column_or_null(scan, WEIR_FIELD_bytes);
    const uint64_t *packets = column_or_null(scan, WEIR_FIELD_packets);
    const int64_t *start_ms = column_or_null(scan, WEIR_FIELD_start_ms);
    const int64_t *end_ms = column_or_null(scan, WEIR_FIELD_end_ms);
    EACH_ROW(scan, out, row,
             in_numbers(node,
                        metric_of(node->metric, bytes == NULL ? 0 : bytes[row], packets == NULL ? 0 : packets[row],
                                  duration_ms(start_ms == NULL ? 0 : start_ms[row], end_ms == NULL ? 0 : end_ms[row]))))
}

static void family_column(const struct scan *scan, const struct filter_node *node, uint64_t *out)
{
    static const struct weir_ip none = {{0}};
    const struct weir_ip *src = column_or_null(scan, WEIR_FIELD_src_ip);
    const struct weir_ip *dst = column_or_null(scan, WEIR_FIELD_dst_ip);
    EACH_ROW(scan, out, row, family_test(node, src == NULL ? &none : &src[row], dst == NULL ? &none : &dst[row]))
}

static void flags_column(const struct scan *scan, const struct filter_node *node, uint64_t *out)
{
    const uint16_t *flags = column_or_null(scan, WEIR_FIELD_tcp_flags);
    EACH_ROW(scan, out, row, flags_test(node, flags == NULL ? 0 : flags[row]))
}

static void icmp_column(const struct scan *scan, const struct filter_node *node, uint64_t *out)
{
    const uint8_t *proto = column_or_null(scan, WEIR_FIELD_proto);
    const uint16_t *icmp = column_or_null(scan, WEIR_FIELD_icmp_type_code);
    const uint16_t *port = column_or_null(scan, WEIR_FIELD_dst_port);
    if (proto == NULL) {
        fill(scan, false, out);
        return;
    }
    EACH_ROW(scan, out, row,
             icmp_test(node, proto[row],
                       weir_icmp_of(proto[row], icmp == NULL ? 0 : icmp[row], port == NULL ? 0 : port[row])))
}

static void scan_node(const struct scan *scan, const struct filter_node *node, uint64_t *out);

static bool all_words_are(const struct scan *scan, const uint64_t *words, uint64_t value)
{
    for (uint32_t i = 0; i < scan->words; i++) {
        if (words[i] != value) return false;
    }
    return true;
}

static void scan_children(const struct scan *scan, const struct filter_node *node, uint64_t *out)
{
    bool and = node->kind == FILTER_AND;
    uint64_t more[WEIR_FILTER_WORDS];
    scan_node(scan, node->first, out);
    for (const struct filter_node *child = node->first->next; child != NULL; child = child->next) {
        if (all_words_are(scan, out, and? 0 : ~0ull)) return; /* decided */
        scan_node(scan, child, more);
        for (uint32_t i = 0; i < scan->words; i++)
            out[i] = and? out[i] & more[i] : out[i] | more[i];
    }
}

/** Bits past the last row may be anything until the end. */
static void scan_node(const struct scan *scan, const struct filter_node *node, uint64_t *out)
{
    switch (node->kind) {
    case FILTER_ANY: fill(scan, true, out); break;
    case FILTER_AND:
    case FILTER_OR: scan_children(scan, node, out); break;
    case FILTER_NOT:
        scan_node(scan, node->first, out);
        for (uint32_t i = 0; i < scan->words; i++)
            out[i] = ~out[i];
        break;
    case FILTER_NUMBERS:
    case FILTER_ADDRESSES:
        dim_column(scan, node, (enum weir_dim)node->dim, out);
        if (node->either != FILTER_NO_DIM && !all_words_are(scan, out, ~0ull)) {
            uint64_t more[WEIR_FILTER_WORDS];
            dim_column(scan, node, (enum weir_dim)node->either, more);
            for (uint32_t i = 0; i < scan->words; i++)
                out[i] |= more[i];
        }
        break;
    case FILTER_TEXTS: fill(scan, in_patterns(node, scan->where->site), out); break;
    case FILTER_METRIC: metric_column(scan, node, out); break;
    case FILTER_FLAGS_ALL:
    case FILTER_FLAGS_NONE: flags_column(scan, node, out); break;
    case FILTER_FAMILY: family_column(scan, node, out); break;
    case FILTER_ICMP_TYPE:
    case FILTER_ICMP_CODE: icmp_column(scan, node, out); break;
    }
}

uint32_t weir_filter_batch(const struct weir_filter *filter, const struct weir_batch *batch,
                           const struct weir_where *where, uint64_t selected[WEIR_FILTER_WORDS])
{
    struct scan scan = {.batch = batch, .where = where, .words = (batch->count + 63) / 64};
    if (scan.words == 0) return 0;
    scan_node(&scan, filter->root, selected);
    if (batch->count % 64 != 0) selected[scan.words - 1] &= (1ull << batch->count % 64) - 1;
    uint32_t passed = 0;
    for (uint32_t i = 0; i < scan.words; i++)
        passed += (uint32_t)__builtin_popcountll(selected[i]);
    return passed;
}

/* ---- what is known of a batch before it is opened ---- */

enum verdict { NO, MAYBE, YES };

static enum verdict source_verdict(const struct filter_node *node, const struct weir_where *where)
{
    switch (node->kind) {
    case FILTER_ANY: return YES;
    case FILTER_NOT: return (enum verdict)(YES - source_verdict(node->first, where));
    case FILTER_AND:
    case FILTER_OR: {
        enum verdict all = node->kind == FILTER_AND ? YES : NO;
        for (const struct filter_node *child = node->first; child != NULL; child = child->next) {
            enum verdict one = source_verdict(child, where);
            if (node->kind == FILTER_AND ? one < all : one > all) all = one;
        }
        return all;
    }
    case FILTER_TEXTS: return in_patterns(node, where->site) ? YES : NO;
    case FILTER_NUMBERS:
    case FILTER_ADDRESSES: {
        if (weir_dims[node->dim].origin != WEIR_DIM_SOURCE) return MAYBE;
        static const struct weir_flow nothing;
        return dim_test(node, &nothing, where) ? YES : NO;
    }
    default: return MAYBE;
    }
}

bool weir_filter_excludes(const struct weir_filter *filter, const struct weir_where *where)
{
    return source_verdict(filter->root, where) == NO;
}

uint64_t weir_filter_fields(const struct weir_filter *filter)
{
    return filter->fields;
}

/* ---- rows of rollups ---- */

#define HAS(set, dim) ((set) >> (dim)&1)

/** Both ends of a flow are there, whatever they are called. */
static bool has_ends(uint64_t have)
{
    return (HAS(have, WEIR_DIM_src_ip) && HAS(have, WEIR_DIM_dst_ip)) ||
           (HAS(have, WEIR_DIM_client_ip) && HAS(have, WEIR_DIM_server_ip));
}

static bool is_any_address(const struct filter_node *node)
{
    return node->dim == WEIR_DIM_src_ip && node->either == WEIR_DIM_dst_ip;
}

static bool is_any_port(const struct filter_node *node)
{
    return node->dim == WEIR_DIM_src_port && node->either == WEIR_DIM_dst_port;
}

static bool test_fits(const struct filter_node *node, uint64_t have)
{
    switch (node->kind) {
    case FILTER_NUMBERS:
        if (is_any_port(node) && HAS(have, WEIR_DIM_client_port) && HAS(have, WEIR_DIM_server_port)) return true;
        break;
    case FILTER_ADDRESSES:
        if (is_any_address(node) && has_ends(have)) return true;
        break;
    case FILTER_TEXTS: return HAS(have, WEIR_DIM_site);
    case FILTER_FLAGS_ALL:
    case FILTER_FLAGS_NONE: return HAS(have, WEIR_DIM_tcp_flags);
    case FILTER_FAMILY: return has_ends(have);
    case FILTER_ICMP_TYPE:
    case FILTER_ICMP_CODE: return HAS(have, WEIR_DIM_icmp) && HAS(have, WEIR_DIM_proto);
    default: return false;
    }
    return HAS(have, node->dim) && (node->either == FILTER_NO_DIM || HAS(have, node->either));
}

static const char *test_word(const struct filter_node *node)
{
    switch (node->kind) {
    case FILTER_METRIC: return filter_metric_word(node->metric);
    case FILTER_FLAGS_ALL:
    case FILTER_FLAGS_NONE: return "flags";
    case FILTER_FAMILY: return node->number == 4 ? "ipv4" : "ipv6";
    case FILTER_ICMP_TYPE: return "icmp type";
    case FILTER_ICMP_CODE: return "icmp code";
    default: return filter_words(node->dim, node->either);
    }
}

static const char *misfit(const struct filter_node *node, uint64_t have)
{
    if (node->kind == FILTER_ANY) return NULL;
    if (node->first == NULL) return test_fits(node, have) ? NULL : test_word(node);
    for (const struct filter_node *child = node->first; child != NULL; child = child->next) {
        const char *word = misfit(child, have);
        if (word != NULL) return word;
    }
    return NULL;
}

const char *weir_filter_misfit(const struct weir_filter *filter, uint64_t have)
{
    return misfit(filter->root, weir_dims_close(have));
}

bool weir_filter_fits(const struct weir_filter *filter, uint64_t have)
{
    return weir_filter_misfit(filter, have) == NULL;
}

/** A value of the row, also one that only follows from others. */
static union weir_value row_value(const struct weir_row_key *row, enum weir_dim dim)
{
    if (HAS(row->have, dim)) return row->value[dim];
    union weir_value value = {.bytes = {0}};
    if (dim == WEIR_DIM_service) {
        value.number = weir_service_of((uint8_t)row->value[WEIR_DIM_proto].number,
                                       (uint16_t)row->value[WEIR_DIM_server_port].number);
    } else if (dim == WEIR_DIM_proto) {
        value.number = row->value[WEIR_DIM_service].number >> 16;
    } else if (dim == WEIR_DIM_server_port) {
        value.number = row->value[WEIR_DIM_service].number & 0xffff;
    }
    return value;
}

static bool row_has_value(const struct filter_node *node, const struct weir_row_key *row, enum weir_dim dim)
{
    union weir_value value = row_value(row, dim);
    return in_set(node, &value);
}

static bool row_dim_test(const struct filter_node *node, const struct weir_row_key *row)
{
    enum weir_dim dim = (enum weir_dim)node->dim;
    enum weir_dim either = node->either == FILTER_NO_DIM ? dim : (enum weir_dim)node->either;
    if (is_any_address(node) && !(HAS(row->have, WEIR_DIM_src_ip) && HAS(row->have, WEIR_DIM_dst_ip))) {
        dim = WEIR_DIM_client_ip;
        either = WEIR_DIM_server_ip;
    } else if (is_any_port(node) && !(HAS(row->have, WEIR_DIM_src_port) && HAS(row->have, WEIR_DIM_dst_port))) {
        dim = WEIR_DIM_client_port;
        either = WEIR_DIM_server_port;
    }
    return row_has_value(node, row, dim) || (either != dim && row_has_value(node, row, either));
}

static bool row_test(const struct filter_node *node, const struct weir_row_key *row)
{
    switch (node->kind) {
    case FILTER_ANY: return true;
    case FILTER_NOT: return !row_test(node->first, row);
    case FILTER_AND:
    case FILTER_OR:
        for (const struct filter_node *child = node->first; child != NULL; child = child->next) {
            if (row_test(child, row) == (node->kind == FILTER_OR)) return node->kind == FILTER_OR;
        }
        return node->kind == FILTER_AND;
    case FILTER_NUMBERS:
    case FILTER_ADDRESSES: return row_dim_test(node, row);
    case FILTER_TEXTS: return in_patterns(node, row->site);
    case FILTER_FLAGS_ALL:
    case FILTER_FLAGS_NONE: return flags_test(node, (uint32_t)row->value[WEIR_DIM_tcp_flags].number);
    case FILTER_FAMILY: {
        bool by_src = HAS(row->have, WEIR_DIM_src_ip) && HAS(row->have, WEIR_DIM_dst_ip);
        return family_test(node, &row->value[by_src ? WEIR_DIM_src_ip : WEIR_DIM_client_ip].ip,
                           &row->value[by_src ? WEIR_DIM_dst_ip : WEIR_DIM_server_ip].ip);
    }
    case FILTER_ICMP_TYPE:
    case FILTER_ICMP_CODE: {
        uint8_t proto = (uint8_t)row_value(row, WEIR_DIM_proto).number;
        return icmp_test(node, proto, (uint16_t)row->value[WEIR_DIM_icmp].number);
    }
    case FILTER_METRIC: break;
    }
    assert(!"a metric of single flows fits no row");
    return false;
}

bool weir_filter_row(const struct weir_filter *filter, const struct weir_row_key *row)
{
    return row_test(filter->root, row);
}

/* ---- an anchor for the index ---- */

static bool is_address_test(const struct filter_node *node)
{
    return node->kind == FILTER_ADDRESSES && (node->dim == WEIR_DIM_src_ip || node->dim == WEIR_DIM_dst_ip ||
                                              node->dim == WEIR_DIM_client_ip || node->dim == WEIR_DIM_server_ip);
}

static int anchor(const struct filter_node *node, struct weir_ip *ips, size_t most)
{
    if (is_address_test(node)) {
        if (node->count > most) return WEIR_ENOTFOUND;
        for (uint32_t i = 0; i < node->count; i++) {
            if (node->addresses[i].low != node->addresses[i].high) return WEIR_ENOTFOUND;
            ips[i] = filter_ip_of(node->addresses[i].low);
        }
        return (int)node->count;
    }
    if (node->kind == FILTER_AND) { /* the first that has one: any part of a conjunction will do */
        for (const struct filter_node *child = node->first; child != NULL; child = child->next) {
            int found = anchor(child, ips, most);
            if (found >= 0) return found;
        }
    }
    if (node->kind == FILTER_OR) {
        size_t count = 0;
        for (const struct filter_node *child = node->first; child != NULL; child = child->next) {
            int found = anchor(child, ips + count, most - count);
            if (found < 0) return WEIR_ENOTFOUND;
            count += (size_t)found;
        }
        return (int)count;
    }
    return WEIR_ENOTFOUND;
}

int weir_filter_anchor(const struct weir_filter *filter, struct weir_ip *ips, size_t most)
{
    return anchor(filter->root, ips, most);
}
