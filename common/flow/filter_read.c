#include "common/flow/filter_read.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/flow/filter_parse.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- errors ---- */

/** How many characters (not bytes) of UTF-8 lie before byte @to. */
static uint32_t characters(const char *text, uint32_t from, uint32_t to)
{
    uint32_t count = 0;
    for (uint32_t i = from; i < to; i++)
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

int filter_fail(struct filter_reader *reader, struct filter_span span, int rc, const char *format, ...)
{
    if (reader->rc != 0) return reader->rc;
    struct weir_filter_error *error = reader->error;
    va_list args;
    va_start(args, format);
    vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    if (span.to > reader->size) span.to = reader->size;
    error->column = 1 + characters(reader->text, 0, span.from);
    error->length = span.to > span.from ? characters(reader->text, span.from, span.to) : 1;
    if (error->length == 0) error->length = 1;
    reader->rc = rc;
    return rc;
}

static size_t least(size_t a, size_t b, size_t c)
{
    size_t least_of_two = a < b ? a : b;
    return least_of_two < c ? least_of_two : c;
}

/** Insertions, deletions, changes and swaps of neighbours between two words of up to 31 characters; ignores case. */
static size_t distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    enum { MOST = 32 };
    size_t row[MOST + 1][MOST + 1];
    if (a_size > MOST || b_size > MOST) return SIZE_MAX;
    for (size_t i = 0; i <= a_size; i++) {
        for (size_t j = 0; j <= b_size; j++) {
            if (i == 0 || j == 0) {
                row[i][j] = i + j;
                continue;
            }
            size_t change = (a[i - 1] | 0x20) != (b[j - 1] | 0x20);
            row[i][j] = least(row[i - 1][j] + 1, row[i][j - 1] + 1, row[i - 1][j - 1] + change);
            if (i > 1 && j > 1 && (a[i - 1] | 0x20) == (b[j - 2] | 0x20) && (a[i - 2] | 0x20) == (b[j - 1] | 0x20) &&
                row[i - 2][j - 2] + 1 < row[i][j]) {
                row[i][j] = row[i - 2][j - 2] + 1;
            }
        }
    }
    return row[a_size][b_size];
}

const char *filter_nearest(const char *text, size_t size, const char *const *words, size_t count)
{
    const char *nearest = NULL;
    size_t best = size <= 3 ? 1 : 2;
    for (size_t i = 0; i < count; i++) {
        if (words[i] == NULL || strchr(words[i], ' ') != NULL || strlen(words[i]) < 2) continue;
        size_t far = distance(text, size, words[i], strlen(words[i]));
        if (far > best || (far == best && nearest != NULL) || far >= size) continue;
        best = far;
        nearest = words[i];
    }
    return nearest;
}

/* ---- values ---- */

struct filter_item *filter_item_create(struct filter_reader *reader, struct filter_span span)
{
    if (++reader->filter->nodes > WEIR_FILTER_NODES_MOST) {
        filter_fail(reader, span, WEIR_ELIMIT, "the filter has more than %d parts", WEIR_FILTER_NODES_MOST);
        return NULL;
    }
    struct filter_item *item = filter_alloc(reader->filter, sizeof *item);
    char *text = filter_alloc(reader->filter, (size_t)span.to - span.from + 1);
    if (item == NULL || text == NULL) {
        reader->rc = WEIR_ENOMEM;
        return NULL;
    }
    const char *from = reader->text + span.from;
    const char *to = reader->text + span.to;
    char quote = *from;
    item->quoted = quote == '"' || quote == '\'';
    if (item->quoted) {
        from++;
        to--;
    }
    char *out = text;
    for (; from < to; from++) {
        if (item->quoted && *from == '\\' && from + 1 < to) from++;
        *out++ = *from;
    }
    *out = '\0';
    item->span = span;
    item->text = text;
    return item;
}

static struct filter_node *fail_value(struct filter_reader *reader, const struct filter_item *item, int rc,
                                      const char *what, uint64_t most)
{
    if (rc == WEIR_EPARAM && most > 0) {
        filter_fail(reader, item->span, WEIR_EFORMAT, "%.60s is larger than %" PRIu64, item->text, most);
    } else {
        filter_fail(reader, item->span, WEIR_EFORMAT, "\"%.60s\" is not %s", item->text, what);
    }
    return NULL;
}

static uint32_t count_items(const struct filter_match *match)
{
    uint32_t count = 0;
    for (const struct filter_item *item = match->items; item != NULL; item = item->next)
        count++;
    return count;
}

/** Split "low-high" of a word into its ends, where the item is not a range already. Returns the low end's text. */
static const char *split_range(struct filter_reader *reader, const struct filter_item *item, const char **high)
{
    *high = item->high;
    const char *dash = item->quoted || item->high != NULL || item->text[0] == '\0' ? NULL : strchr(item->text + 1, '-');
    if (dash == NULL || dash[1] == '\0') return item->text;
    char *low = filter_alloc(reader->filter, (size_t)(dash - item->text) + 1);
    if (low == NULL) {
        reader->rc = WEIR_ENOMEM;
        return NULL;
    }
    memcpy(low, item->text, (size_t)(dash - item->text));
    *high = dash + 1;
    return low;
}

/** Turn a range that is compared with into the set that passes. WEIR_EFORMAT when nothing would. */
static int compare_numbers(struct filter_numbers *range, enum filter_compare compare, uint64_t most)
{
    uint64_t value = range->low;
    switch (compare) {
    case FILTER_EQ:
    case FILTER_NE: return 0;
    case FILTER_LT:
        if (value == 0) return WEIR_EFORMAT;
        *range = (struct filter_numbers){0, value - 1};
        return 0;
    case FILTER_LE: *range = (struct filter_numbers){0, value}; return 0;
    case FILTER_GT:
        if (value >= most) return WEIR_EFORMAT;
        *range = (struct filter_numbers){value + 1, most};
        return 0;
    case FILTER_GE: *range = (struct filter_numbers){value, most}; return 0;
    }
    return WEIR_EFORMAT;
}

typedef int number_parse_fn(int what, const char *text, uint64_t *ret);

static int parse_dim(int dim, const char *text, uint64_t *ret)
{
    union weir_value value;
    int rc = weir_dim_parse((enum weir_dim)dim, text, &value);
    if (rc == 0) *ret = value.number;
    return rc;
}

static int parse_byte(int unused, const char *text, uint64_t *ret)
{
    (void)unused;
    int rc = parse_dim(WEIR_DIM_tos, text, ret);
    return rc;
}

/** The factor of a unit after a number: k M G T are thousands, Ki Mi Gi Ti 1,024s; time units for a duration. */
static uint64_t unit_of(int metric, const char *unit)
{
    static const struct {
        const char *unit;
        uint64_t factor;
    } times[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}},
      sizes[] = {{"k", 1000},  {"m", 1000000},  {"g", 1000000000},  {"t", 1000000000000},
                 {"ki", 1024}, {"mi", 1 << 20}, {"gi", 1ull << 30}, {"ti", 1ull << 40}};
    if (*unit == '\0') return 1;
    if (metric == FILTER_DURATION) {
        for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
            if (strcmp(times[i].unit, unit) == 0) return times[i].factor;
        }
        return 0;
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const char *a = sizes[i].unit;
        const char *b = unit;
        while (*a != '\0' && *a == (*b | 0x20)) {
            a++;
            b++;
        }
        if (*a == '\0' && *b == '\0') return sizes[i].factor;
    }
    return 0;
}

/** A number with a unit and perhaps decimals: 10k, 1.5M, 90s. Never through a double. */
static int parse_metric(int metric, const char *text, uint64_t *ret)
{
    uint64_t whole = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (whole > (UINT64_MAX - 9) / 10) return WEIR_EPARAM;
        whole = whole * 10 + (uint64_t)(*at - '0');
    }
    if (at == text) return WEIR_EFORMAT;
    uint64_t part = 0;
    uint64_t part_of = 1;
    if (*at == '.') {
        const char *first = ++at;
        for (; *at >= '0' && *at <= '9' && part_of < 1000000; at++) {
            part = part * 10 + (uint64_t)(*at - '0');
            part_of *= 10;
        }
        if (at == first) return WEIR_EFORMAT;
    }
    uint64_t factor = unit_of(metric, at);
    if (factor == 0) return WEIR_EFORMAT;
    if (whole > (UINT64_MAX - factor) / factor) return WEIR_EPARAM;
    *ret = whole * factor + part * factor / part_of;
    return 0;
}

/** Fill the set of a node of numbers. */
static struct filter_node *number_set(struct filter_reader *reader, struct filter_node *node,
                                      const struct filter_match *match, number_parse_fn *parse, int parse_what,
                                      uint64_t most, const char *what)
{
    uint32_t count = count_items(match);
    node->numbers = filter_alloc(reader->filter, count * sizeof *node->numbers);
    if (node->numbers == NULL) return NULL;
    bool ordered = match->compare != FILTER_EQ && match->compare != FILTER_NE;
    for (const struct filter_item *item = match->items; item != NULL; item = item->next) {
        struct filter_numbers *range = &node->numbers[node->count++];
        const char *high = NULL;
        int rc = parse(parse_what, item->text, &range->low); /* a name may have a dash in it: the whole word first */
        if (rc == 0) {
            range->high = range->low;
            high = item->high;
        } else {
            const char *low = split_range(reader, item, &high);
            if (low == NULL) return NULL;
            if (high != NULL) rc = parse(parse_what, low, &range->low);
        }
        if (rc < 0) return fail_value(reader, item, rc, what, most);
        if (high != NULL) rc = parse(parse_what, high, &range->high);
        if (rc < 0) return fail_value(reader, item, rc, what, most);
        if (high != NULL && (ordered || range->high < range->low)) {
            filter_fail(reader, item->span, WEIR_EFORMAT,
                        ordered ? "a range cannot be compared" : "the range ends before it begins");
            return NULL;
        }
        if (compare_numbers(range, match->compare, most) < 0) {
            filter_fail(reader, item->span, WEIR_EFORMAT, "nothing is %s than %s",
                        match->compare == FILTER_LT ? "smaller" : "larger", item->text);
            return NULL;
        }
    }
    filter_normalise(node);
    return node;
}

/* ---- addresses ---- */

/** The last address of a prefix of @length bits (of 128). */
static filter_address prefix_end(filter_address first, unsigned length)
{
    return length == 0 ? ~(filter_address)0 : first | (length >= 128 ? 0 : ((filter_address)1 << (128 - length)) - 1);
}

/** "10/8", "172.16/12": the short forms that nfdump takes, completed with zeros. */
static bool complete_v4(const char *text, char out[WEIR_IP_TEXT])
{
    int dots = 0;
    size_t size = strlen(text);
    if (size == 0 || size > 15) return false;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '.') dots++;
        if (*at != '.' && (*at < '0' || *at > '9')) return false;
    }
    if (dots > 2) return false;
    static const char *const rest[] = {".0.0.0", ".0.0", ".0"};
    snprintf(out, WEIR_IP_TEXT, "%s%s", text, rest[dots]);
    return true;
}

/** An address, or a prefix with "/length": host bits are cut off, as nfdump does. */
static int parse_addresses(const char *text, struct filter_addresses *ret)
{
    char address[WEIR_IP_TEXT];
    const char *slash = strchr(text, '/');
    size_t size = slash == NULL ? strlen(text) : (size_t)(slash - text);
    if (size >= sizeof address) return WEIR_EFORMAT;
    memcpy(address, text, size);
    address[size] = '\0';
    struct weir_ip ip;
    if (weir_ip_parse(address, &ip) < 0) {
        char completed[WEIR_IP_TEXT];
        if (slash == NULL || !complete_v4(address, completed) || weir_ip_parse(completed, &ip) < 0) return WEIR_EFORMAT;
    }
    bool v4 = strchr(address, ':') == NULL;
    unsigned length = v4 ? 32 : 128;
    if (slash != NULL) {
        uint64_t parsed = 0;
        if (parse_dim(WEIR_DIM_tos, slash + 1, &parsed) < 0 || parsed > length) return WEIR_EFORMAT;
        length = (unsigned)parsed;
    }
    if (v4) length += 96;
    filter_address last = prefix_end(filter_address_of(&ip), length);
    ret->high = last;
    ret->low = length == 0 ? 0 : length >= 128 ? last : last - (((filter_address)1 << (128 - length)) - 1);
    return 0;
}

struct filter_item *filter_item_masked(struct filter_reader *reader, struct filter_item *address,
                                       const struct filter_item *mask)
{
    struct weir_ip ip;
    struct weir_ip bits;
    if (weir_ip_parse(address->text, &ip) < 0) {
        fail_value(reader, address, WEIR_EFORMAT, "an address", 0);
        return NULL;
    }
    bool v4 = weir_ip_is_v4(&ip);
    if (weir_ip_parse(mask->text, &bits) < 0 || weir_ip_is_v4(&bits) != v4) {
        fail_value(reader, mask, WEIR_EFORMAT, v4 ? "a mask of IPv4" : "a mask of IPv6", 0);
        return NULL;
    }
    unsigned length = 0;
    for (unsigned i = v4 ? 96 : 0; i < 128 && bits.bytes[i / 8] >> (7 - i % 8) & 1; i++)
        length++;
    filter_address wanted = prefix_end(0, (v4 ? 96 : 0) + length);
    if (((filter_address_of(&bits) | (v4 ? ~(filter_address)0 << 32 : 0)) ^ ~wanted) != 0) {
        fail_value(reader, mask, WEIR_EFORMAT, "a mask: its ones must come first", 0);
        return NULL;
    }
    size_t size = strlen(address->text) + 5;
    char *text = filter_alloc(reader->filter, size);
    if (text == NULL) {
        reader->rc = WEIR_ENOMEM;
        return NULL;
    }
    snprintf(text, size, "%s/%u", address->text, length);
    address->text = text;
    address->span.to = mask->span.to;
    return address;
}

static bool is_v4(filter_address address)
{
    return address >= FILTER_V4_FIRST && address <= FILTER_V4_LAST;
}

/** Add a range of one family; one of IPv6 leaves out the IPv4 addresses inside. */
static void put_addresses(struct filter_node *node, struct filter_addresses range)
{
    if (is_v4(range.low) || range.high < FILTER_V4_FIRST || range.low > FILTER_V4_LAST) {
        node->addresses[node->count++] = range;
        return;
    }
    node->addresses[node->count++] = (struct filter_addresses){range.low, FILTER_V4_FIRST - 1};
    node->addresses[node->count++] = (struct filter_addresses){FILTER_V4_LAST + 1, range.high};
}

static struct filter_node *address_set(struct filter_reader *reader, struct filter_node *node,
                                       const struct filter_match *match)
{
    if (match->compare != FILTER_EQ && match->compare != FILTER_NE) {
        filter_fail(reader, match->items->span, WEIR_EFORMAT, "an address can only be = or != another");
        return NULL;
    }
    node->addresses = filter_alloc(reader->filter, 2 * (size_t)count_items(match) * sizeof *node->addresses);
    if (node->addresses == NULL) return NULL;
    for (const struct filter_item *item = match->items; item != NULL; item = item->next) {
        const char *high;
        const char *low = split_range(reader, item, &high);
        if (low == NULL) return NULL;
        struct filter_addresses range;
        struct filter_addresses end;
        if (parse_addresses(low, &range) < 0) {
            return fail_value(reader, item, WEIR_EFORMAT, "an address (names are not looked up)", 0);
        }
        if (high != NULL) {
            if (parse_addresses(high, &end) < 0) return fail_value(reader, item, WEIR_EFORMAT, "an address", 0);
            if (end.low < range.low || is_v4(end.low) != is_v4(range.low)) {
                filter_fail(reader, item->span, WEIR_EFORMAT,
                            end.low < range.low ? "the range ends before it begins" : "the range mixes IPv4 and IPv6");
                return NULL;
            }
            range.high = end.high;
        }
        put_addresses(node, range);
    }
    filter_normalise(node);
    return node;
}

static struct filter_node *text_set(struct filter_reader *reader, struct filter_node *node,
                                    const struct filter_match *match)
{
    if (match->compare != FILTER_EQ && match->compare != FILTER_NE) {
        filter_fail(reader, match->items->span, WEIR_EFORMAT, "a name can only be = or != another");
        return NULL;
    }
    node->patterns = filter_alloc(reader->filter, count_items(match) * sizeof *node->patterns);
    if (node->patterns == NULL) return NULL;
    for (const struct filter_item *item = match->items; item != NULL; item = item->next) {
        if (item->high != NULL) {
            filter_fail(reader, item->span, WEIR_EFORMAT, "names have no ranges");
            return NULL;
        }
        bool glob = !item->quoted && strchr(item->text, '*') != NULL;
        node->patterns[node->count++] = (struct filter_pattern){.text = item->text, .glob = glob};
    }
    filter_normalise(node);
    return node;
}

/* ---- tests ---- */

static const char *what_is(enum weir_dim_type type)
{
    switch (type) {
    case WEIR_DIM_TYPE_PROTO: return "a protocol";
    case WEIR_DIM_TYPE_FLAGS: return "a set of TCP flags (letters of CEUAPRSF)";
    case WEIR_DIM_TYPE_MAC: return "a MAC address";
    case WEIR_DIM_TYPE_DIRECTION: return "ingress or egress";
    case WEIR_DIM_TYPE_ACTION: return "accept, reject, consumed or unknown";
    case WEIR_DIM_TYPE_PROTOCOL:
        return "netflow1, netflow5, netflow7, netflow9, ipfix, sflow5, aws, azure, gcp or zeek";
    case WEIR_DIM_TYPE_SERVICE: return "a service: a known name, or like tcp/8443";
    default: return "a number";
    }
}

static struct filter_node *negate_if_ne(struct filter_reader *reader, struct filter_node *node,
                                        const struct filter_match *match)
{
    return node != NULL && match->compare == FILTER_NE ? filter_negate(reader->filter, node) : node;
}

struct filter_node *filter_test(struct filter_reader *reader, int dim, int either, const struct filter_match *match)
{
    const struct weir_dim_info *info = &weir_dims[dim];
    enum filter_kind kind = info->type == WEIR_DIM_TYPE_IP     ? FILTER_ADDRESSES
                            : info->type == WEIR_DIM_TYPE_TEXT ? FILTER_TEXTS
                                                               : FILTER_NUMBERS;
    struct filter_node *node = filter_node_create(reader->filter, kind);
    if (node == NULL) return NULL;
    node->dim = dim;
    node->either = either;
    reader->filter->fields |= info->fields;
    if (either != FILTER_NO_DIM) reader->filter->fields |= weir_dims[either].fields;
    if (kind == FILTER_ADDRESSES) {
        node = address_set(reader, node, match);
    } else if (kind == FILTER_TEXTS) {
        node = text_set(reader, node, match);
    } else {
        node = number_set(reader, node, match, parse_dim, dim, weir_dim_most((enum weir_dim)dim), what_is(info->type));
    }
    return negate_if_ne(reader, node, match);
}

struct filter_node *filter_test_sided(struct filter_reader *reader, enum filter_side side, enum filter_sided what,
                                      const struct filter_match *match, struct filter_span span)
{
    static const int dims[][4] = {
        [FILTER_SIDED_IP] = {WEIR_DIM_src_ip, WEIR_DIM_dst_ip, WEIR_DIM_client_ip, WEIR_DIM_server_ip},
        [FILTER_SIDED_PORT] = {WEIR_DIM_src_port, WEIR_DIM_dst_port, WEIR_DIM_client_port, WEIR_DIM_server_port},
        [FILTER_SIDED_AS] = {WEIR_DIM_src_as, WEIR_DIM_dst_as, FILTER_NO_DIM, FILTER_NO_DIM},
        [FILTER_SIDED_VLAN] = {WEIR_DIM_vlan, WEIR_DIM_vlan_out, FILTER_NO_DIM, FILTER_NO_DIM},
        [FILTER_SIDED_MAC] = {WEIR_DIM_src_mac, WEIR_DIM_dst_mac, FILTER_NO_DIM, FILTER_NO_DIM},
    };
    const int *dim = dims[what];
    switch (side) {
    case FILTER_SIDE_EITHER: return filter_test(reader, dim[0], dim[1], match);
    case FILTER_SIDE_SRC: return filter_test(reader, dim[0], FILTER_NO_DIM, match);
    case FILTER_SIDE_DST: return filter_test(reader, dim[1], FILTER_NO_DIM, match);
    case FILTER_SIDE_CLIENT:
    case FILTER_SIDE_SERVER: {
        int oriented = dim[side == FILTER_SIDE_CLIENT ? 2 : 3];
        if (oriented != FILTER_NO_DIM) return filter_test(reader, oriented, FILTER_NO_DIM, match);
        filter_fail(reader, span, WEIR_EFORMAT, "\"%s\" goes with ip, host, net and port only; use src or dst",
                    side == FILTER_SIDE_CLIENT ? "client" : "server");
        return NULL;
    }
    case FILTER_SIDE_BOTH: break;
    }
    /* Each side is a set of its own: `src and dst port != 53` wants neither. */
    struct filter_node *src = filter_test(reader, dim[0], FILTER_NO_DIM, match);
    struct filter_node *dst = src == NULL ? NULL : filter_test(reader, dim[1], FILTER_NO_DIM, match);
    return dst == NULL ? NULL : filter_join(reader->filter, FILTER_AND, src, dst);
}

struct filter_node *filter_test_metric(struct filter_reader *reader, enum filter_metric metric,
                                       const struct filter_match *match)
{
    static const uint64_t fields[FILTER_METRICS] = {
        [FILTER_BYTES] = 1ull << WEIR_FIELD_bytes,
        [FILTER_PACKETS] = 1ull << WEIR_FIELD_packets,
        [FILTER_DURATION] = 1ull << WEIR_FIELD_start_ms | 1ull << WEIR_FIELD_end_ms,
        [FILTER_BPP] = 1ull << WEIR_FIELD_bytes | 1ull << WEIR_FIELD_packets,
        [FILTER_BPS] = 1ull << WEIR_FIELD_bytes | 1ull << WEIR_FIELD_start_ms | 1ull << WEIR_FIELD_end_ms,
        [FILTER_PPS] = 1ull << WEIR_FIELD_packets | 1ull << WEIR_FIELD_start_ms | 1ull << WEIR_FIELD_end_ms,
    };
    struct filter_node *node = filter_node_create(reader->filter, FILTER_METRIC);
    if (node == NULL) return NULL;
    node->metric = metric;
    reader->filter->fields |= fields[metric];
    node = number_set(reader, node, match, parse_metric, (int)metric, UINT64_MAX,
                      metric == FILTER_DURATION ? "a duration (90s, 5m, 1h; without a unit milliseconds)"
                                                : "a number (10k, 1.5M, 10Ki)");
    return negate_if_ne(reader, node, match);
}

struct filter_node *filter_test_icmp(struct filter_reader *reader, enum filter_kind kind,
                                     const struct filter_match *match)
{
    struct filter_node *node = filter_node_create(reader->filter, kind);
    if (node == NULL) return NULL;
    reader->filter->fields |= weir_dims[WEIR_DIM_icmp].fields;
    node = number_set(reader, node, match, parse_byte, 0, UINT8_MAX, "a number");
    return negate_if_ne(reader, node, match);
}

struct filter_node *filter_test_proto(struct filter_reader *reader, const struct filter_item *item)
{
    struct filter_item copy = *item;
    struct filter_match match = {.compare = FILTER_EQ, .items = &copy};
    return filter_test(reader, WEIR_DIM_proto, FILTER_NO_DIM, &match);
}

struct filter_node *filter_test_flags(struct filter_reader *reader, const struct filter_item *item)
{
    enum { ALL = 0x3f };
    uint64_t flags = ALL;
    int rc = strcasecmp(item->text, "X") == 0 ? 0 : parse_dim(WEIR_DIM_tcp_flags, item->text, &flags);
    if (rc < 0) return fail_value(reader, item, rc, what_is(WEIR_DIM_TYPE_FLAGS), UINT16_MAX);
    if (flags == 0) {
        filter_fail(reader, item->span, WEIR_EFORMAT, "no flag is named here; `tcp_flags = 0` finds flows without any");
        return NULL;
    }
    struct filter_node *node = filter_node_create(reader->filter, FILTER_FLAGS_ALL);
    if (node == NULL) return NULL;
    node->number = (uint32_t)flags;
    reader->filter->fields |= 1ull << WEIR_FIELD_tcp_flags;
    return node;
}

struct filter_node *filter_test_family(struct filter_reader *reader, uint32_t family)
{
    struct filter_node *node = filter_node_create(reader->filter, FILTER_FAMILY);
    if (node == NULL) return NULL;
    node->number = family;
    reader->filter->fields |= 1ull << WEIR_FIELD_src_ip | 1ull << WEIR_FIELD_dst_ip;
    return node;
}

/* ---- the whole ---- */

int weir_filter_parse(const char *text, size_t size, struct weir_filter **ret, struct weir_filter_error *error)
{
    *error = (struct weir_filter_error){.column = 1, .length = 1};
    if (size > WEIR_FILTER_TEXT_MOST) {
        snprintf(error->message, sizeof error->message, "the filter is longer than %d bytes", WEIR_FILTER_TEXT_MOST);
        return WEIR_ELIMIT;
    }
    struct weir_filter *filter = weir_calloc(1, sizeof *filter);
    if (filter == NULL) return WEIR_ENOMEM;
    struct filter_reader reader = {.text = text, .size = (uint32_t)size, .filter = filter, .error = error};
    int rc = weir_filter_yyparse(&reader);
    if (rc != 0) {
        weir_filter_destroy(filter);
        return reader.rc != 0 ? reader.rc : WEIR_ENOMEM;
    }
    *ret = filter;
    return 0;
}
