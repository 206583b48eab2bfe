#include "common/flow/filter_tree.h"

#include <inttypes.h>

/* ---- the canonical text ---- */

/** A name as a value: quoted where it would be read as something else. */
static void print_name(const struct filter_pattern *pattern, struct weir_buf *out)
{
    if (pattern->glob) {
        weir_buf_text(out, pattern->text);
        return;
    }
    weir_buf_u8(out, '"');
    for (const char *at = pattern->text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\') weir_buf_u8(out, '\\');
        weir_buf_u8(out, (uint8_t)*at);
    }
    weir_buf_u8(out, '"');
}

static void print_number(const struct filter_node *node, uint64_t number, struct weir_buf *out)
{
    if (node->kind != FILTER_NUMBERS) {
        weir_buf_printf(out, "%" PRIu64, number);
        return;
    }
    union weir_value value = {.bytes = {0}};
    value.number = number;
    char text[WEIR_DIM_TEXT];
    weir_buf_text(out, weir_dim_format((enum weir_dim)node->dim, &value, text));
}

static void print_numbers(const struct filter_node *node, struct weir_buf *out)
{
    uint64_t most = node->kind == FILTER_METRIC    ? UINT64_MAX
                    : node->kind == FILTER_NUMBERS ? weir_dim_most((enum weir_dim)node->dim)
                                                   : UINT8_MAX;
    const struct filter_numbers *range = node->numbers;
    if (node->count == 1 && range->low < range->high && (range->high == most || range->low == 0)) {
        weir_buf_text(out, range->high == most ? " >= " : " <= ");
        print_number(node, range->high == most ? range->low : range->high, out);
        return;
    }
    bool one = node->count == 1;
    if (one) {
        weir_buf_text(out, node->kind == FILTER_NUMBERS && node->dim == WEIR_DIM_icmp ? " in [" : " ");
    } else {
        weir_buf_text(out, " in [");
    }
    for (uint32_t i = 0; i < node->count; i++) {
        if (i > 0) weir_buf_text(out, ", ");
        print_number(node, node->numbers[i].low, out);
        if (node->numbers[i].high == node->numbers[i].low) continue;
        weir_buf_text(out, " - ");
        print_number(node, node->numbers[i].high, out);
    }
    if (!one || (node->kind == FILTER_NUMBERS && node->dim == WEIR_DIM_icmp)) weir_buf_u8(out, ']');
}

/** The length of the prefix that is exactly this range, or -1. */
static int prefix_of(const struct filter_addresses *range)
{
    filter_address differ = range->low ^ range->high;
    if ((differ & (differ + 1)) != 0 || (range->low & differ) != 0) return -1;
    int bits = 0;
    for (; differ != 0; differ >>= 1)
        bits++;
    return 128 - bits;
}

static void print_range(const struct filter_addresses *range, struct weir_buf *out)
{
    struct weir_ip low = filter_ip_of(range->low);
    char text[WEIR_PREFIX_TEXT];
    int length = prefix_of(range);
    if (range->low == range->high) {
        weir_buf_text(out, weir_ip_format(&low, text));
    } else if (length >= 0) {
        struct weir_prefix prefix = {.ip = low, .length = (uint8_t)length};
        weir_buf_text(out, weir_prefix_format(&prefix, text));
    } else {
        weir_buf_text(out, weir_ip_format(&low, text));
        struct weir_ip high = filter_ip_of(range->high);
        weir_buf_printf(out, "-%s", weir_ip_format(&high, text));
    }
}

static void print_addresses(const struct filter_node *node, struct weir_buf *out)
{
    weir_buf_text(out, node->count == 1 ? " " : " in [");
    for (uint32_t i = 0; i < node->count; i++) {
        if (i > 0) weir_buf_text(out, ", ");
        print_range(&node->addresses[i], out);
    }
    if (node->count > 1) weir_buf_u8(out, ']');
}

static void print_texts(const struct filter_node *node, struct weir_buf *out)
{
    weir_buf_text(out, node->count == 1 ? " " : " in [");
    for (uint32_t i = 0; i < node->count; i++) {
        if (i > 0) weir_buf_text(out, ", ");
        print_name(&node->patterns[i], out);
    }
    if (node->count > 1) weir_buf_u8(out, ']');
}

static void print_flags(uint32_t flags, struct weir_buf *out)
{
    static const char letters[] = "FSRPAUEC"; /* bit 0 to bit 7 */
    if (flags > 0xff) {
        weir_buf_printf(out, "0x%x", flags);
        return;
    }
    for (int bit = 0; bit < 8; bit++) {
        if (flags >> bit & 1) weir_buf_u8(out, (uint8_t)letters[bit]);
    }
}

static void print_test(const struct filter_node *node, struct weir_buf *out)
{
    switch (node->kind) {
    case FILTER_NUMBERS:
        weir_buf_text(out, filter_words(node->dim, node->either));
        print_numbers(node, out);
        break;
    case FILTER_ADDRESSES: {
        const char *words = filter_words(node->dim, node->either);
        size_t size = strlen(words);
        bool net = node->count == 1 && node->addresses[0].low != node->addresses[0].high && size >= 2 &&
                   strcmp(words + size - 2, "ip") == 0 && (size == 2 || words[size - 3] == ' ');
        weir_buf_append(out, words, net ? size - 2 : size);
        if (net) weir_buf_text(out, "net");
        print_addresses(node, out);
        break;
    }
    case FILTER_TEXTS:
        weir_buf_text(out, weir_dims[node->dim].name);
        print_texts(node, out);
        break;
    case FILTER_METRIC:
        weir_buf_text(out, filter_metric_word(node->metric));
        print_numbers(node, out);
        break;
    case FILTER_ICMP_TYPE:
    case FILTER_ICMP_CODE:
        weir_buf_text(out, node->kind == FILTER_ICMP_TYPE ? "icmp type" : "icmp code");
        print_numbers(node, out);
        break;
    case FILTER_FLAGS_ALL:
    case FILTER_FLAGS_NONE:
        weir_buf_text(out, node->kind == FILTER_FLAGS_ALL ? "flags " : "not flags ");
        print_flags(node->number, out);
        break;
    case FILTER_FAMILY: weir_buf_text(out, node->number == 4 ? "ipv4" : "ipv6"); break;
    default: weir_buf_text(out, "any"); break;
    }
}

static void print_node(const struct filter_node *node, struct weir_buf *out)
{
    if (node->kind == FILTER_NOT) {
        enum filter_kind kind = node->first->kind;
        bool parens = kind == FILTER_AND || kind == FILTER_OR || kind == FILTER_FLAGS_NONE;
        weir_buf_text(out, parens ? "not (" : "not ");
        print_node(node->first, out);
        if (parens) weir_buf_u8(out, ')');
        return;
    }
    if (node->kind != FILTER_AND && node->kind != FILTER_OR) {
        print_test(node, out);
        return;
    }
    for (const struct filter_node *child = node->first; child != NULL; child = child->next) {
        if (child != node->first) weir_buf_text(out, node->kind == FILTER_AND ? " and " : " or ");
        bool parens = node->kind == FILTER_AND && child->kind == FILTER_OR;
        if (parens) weir_buf_u8(out, '(');
        print_node(child, out);
        if (parens) weir_buf_u8(out, ')');
    }
}

void weir_filter_print(const struct weir_filter *filter, struct weir_buf *out)
{
    print_node(filter->root, out);
}

/* ---- errors ---- */

enum { LINE_MOST = 100, LINE_BEFORE = 60 };

static bool begins_character(char c)
{
    return ((unsigned char)c & 0xc0) != 0x80;
}

/** The byte where character @number (from 0) begins. */
static size_t byte_of(const char *text, size_t size, uint32_t number)
{
    size_t at = 0;
    for (uint32_t seen = 0; at < size; at++) {
        if (begins_character(text[at]) && seen++ == number) break;
    }
    return at;
}

/** Print the bytes as characters of one column each: what would break the line or the terminal becomes a blank or "?". */
static void print_line(const char *text, size_t from, size_t to, struct weir_buf *out)
{
    for (size_t i = from; i < to; i++) {
        unsigned char c = (unsigned char)text[i];
        weir_buf_u8(out, c == '\t' ? ' ' : c < ' ' || c == 0x7f ? '?' : c);
    }
}

static uint32_t characters_in(const char *text, size_t from, size_t to)
{
    uint32_t count = 0;
    for (size_t i = from; i < to; i++)
        count += begins_character(text[i]);
    return count;
}

void weir_filter_error_print(const struct weir_filter_error *error, const char *text, size_t size, struct weir_buf *out)
{
    weir_buf_printf(out, "filter: %s at column %u\n", error->message, error->column);
    size_t place = byte_of(text, size, error->column - 1);
    size_t from = place;
    while (from > 0 && text[from - 1] != '\n')
        from--;
    size_t to = place;
    while (to < size && text[to] != '\n')
        to++;
    if (to - from > LINE_MOST) { /* the middle of a long line */
        if (place - from > LINE_BEFORE) from = place - LINE_BEFORE;
        while (from < place && !begins_character(text[from]))
            from++;
        if (to - from > LINE_MOST) to = from + LINE_MOST;
        while (to < size && to > place && !begins_character(text[to]))
            to--;
    }
    weir_buf_text(out, "  ");
    print_line(text, from, to, out);
    weir_buf_printf(out, "\n  %*s", (int)characters_in(text, from, place), "");
    uint32_t room = characters_in(text, place, to);
    uint32_t carets = error->length < room ? error->length : room;
    for (uint32_t i = 0; i < carets || i == 0; i++)
        weir_buf_u8(out, '^');
    if (error->suggestion[0] != '\0') weir_buf_printf(out, "  did you mean \"%s\"?", error->suggestion);
    for (uint32_t i = 0; i < error->expected_count; i++)
        weir_buf_printf(out, "%s%s", i == 0 ? "  expected: " : ", ", error->expected[i]);
    weir_buf_u8(out, '\n');
}
