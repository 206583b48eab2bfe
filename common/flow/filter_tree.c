#include "common/flow/filter_tree.h"

#include "common/base/mem.h"

#include <stdlib.h>

enum { BLOCK_BYTES = 4096 };

/* ---- memory ---- */

void *filter_alloc(struct weir_filter *filter, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    struct filter_block *block = filter->blocks;
    if (block == NULL || block->size - block->used < size) {
        size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        block = weir_calloc(1, sizeof *block + room);
        if (block == NULL) return NULL;
        block->size = room;
        block->next = filter->blocks;
        filter->blocks = block;
    }
    void *memory = block->bytes + block->used;
    block->used += size;
    return memory;
}

void weir_filter_destroy(struct weir_filter *filter)
{
    if (filter == NULL) return;
    for (struct filter_block *block = filter->blocks; block != NULL;) {
        struct filter_block *next = block->next;
        weir_free(block);
        block = next;
    }
    weir_free(filter);
}

struct filter_node *filter_node_create(struct weir_filter *filter, enum filter_kind kind)
{
    struct filter_node *node = filter_alloc(filter, sizeof *node);
    if (node == NULL) return NULL;
    node->kind = kind;
    node->dim = FILTER_NO_DIM;
    node->either = FILTER_NO_DIM;
    filter->nodes++;
    return node;
}

/* ---- connectives ---- */

/** Append @node to the children of @parent: its own children, when it is of the same kind. */
static void adopt(struct filter_node *parent, struct filter_node *node)
{
    struct filter_node *first = node->kind == parent->kind ? node->first : node;
    struct filter_node *last = node->kind == parent->kind ? node->last : node;
    if (parent->last == NULL) {
        parent->first = first;
    } else {
        parent->last->next = first;
    }
    parent->last = last;
}

struct filter_node *filter_join(struct weir_filter *filter, enum filter_kind kind, struct filter_node *left,
                                struct filter_node *right)
{
    if (left->kind == FILTER_ANY) return kind == FILTER_AND ? right : left;
    if (right->kind == FILTER_ANY) return kind == FILTER_AND ? left : right;
    if (left->kind == kind) { /* the common case: a chain grows at its end */
        adopt(left, right);
        return left;
    }
    struct filter_node *node = filter_node_create(filter, kind);
    if (node == NULL) return NULL;
    adopt(node, left);
    adopt(node, right);
    return node;
}

struct filter_node *filter_negate(struct weir_filter *filter, struct filter_node *node)
{
    if (node->kind == FILTER_NOT) return node->first;
    if (node->kind == FILTER_FLAGS_ALL) {
        node->kind = FILTER_FLAGS_NONE;
        return node;
    }
    struct filter_node *negation = filter_node_create(filter, FILTER_NOT);
    if (negation == NULL) return NULL;
    adopt(negation, node);
    return negation;
}

/* ---- sets ---- */

static int by_number(const void *a, const void *b)
{
    const struct filter_numbers *x = a;
    const struct filter_numbers *y = b;
    return x->low < y->low ? -1 : x->low > y->low;
}

static int by_address(const void *a, const void *b)
{
    const struct filter_addresses *x = a;
    const struct filter_addresses *y = b;
    return x->low < y->low ? -1 : x->low > y->low;
}

static int by_text(const void *a, const void *b)
{
    const struct filter_pattern *x = a;
    const struct filter_pattern *y = b;
    if (x->glob != y->glob) return x->glob ? 1 : -1;
    return strcmp(x->text, y->text);
}

/* Sorted ranges that overlap or touch become one; but none reaches over @border, where another family begins. */
#define JOIN_RANGES(ranges, count, border)                                                         \
    do {                                                                                           \
        uint32_t kept = 0;                                                                         \
        for (uint32_t i = 1; i < (count); i++) {                                                   \
            bool touches = (ranges)[i].low - 1 == (ranges)[kept].high && !border((ranges)[i].low); \
            if (!touches && (ranges)[i].low > (ranges)[kept].high) {                               \
                (ranges)[++kept] = (ranges)[i];                                                    \
            } else if ((ranges)[i].high > (ranges)[kept].high) {                                   \
                (ranges)[kept].high = (ranges)[i].high;                                            \
            }                                                                                      \
        }                                                                                          \
        (count) = kept + 1;                                                                        \
    } while (0)

static bool number_border(uint64_t number)
{
    (void)number;
    return false;
}

static bool address_border(filter_address address)
{
    return address == FILTER_V4_FIRST || address == FILTER_V4_LAST + 1;
}

void filter_normalise(struct filter_node *node)
{
    if (node->count < 2) return;
    if (node->kind == FILTER_ADDRESSES) {
        qsort(node->addresses, node->count, sizeof *node->addresses, by_address);
        JOIN_RANGES(node->addresses, node->count, address_border);
    } else if (node->kind == FILTER_TEXTS) {
        qsort(node->patterns, node->count, sizeof *node->patterns, by_text);
        uint32_t kept = 0;
        for (uint32_t i = 1; i < node->count; i++) {
            if (by_text(&node->patterns[i], &node->patterns[kept]) != 0) node->patterns[++kept] = node->patterns[i];
        }
        node->count = kept + 1;
    } else {
        qsort(node->numbers, node->count, sizeof *node->numbers, by_number);
        JOIN_RANGES(node->numbers, node->count, number_border);
    }
}

/* ---- words ---- */

static const struct {
    int dim;
    int either;
    const char *words;
} words[] = {
    {WEIR_DIM_src_ip, WEIR_DIM_dst_ip, "ip"},
    {WEIR_DIM_src_ip, FILTER_NO_DIM, "src ip"},
    {WEIR_DIM_dst_ip, FILTER_NO_DIM, "dst ip"},
    {WEIR_DIM_client_ip, FILTER_NO_DIM, "client ip"},
    {WEIR_DIM_server_ip, FILTER_NO_DIM, "server ip"},
    {WEIR_DIM_src_port, WEIR_DIM_dst_port, "port"},
    {WEIR_DIM_src_port, FILTER_NO_DIM, "src port"},
    {WEIR_DIM_dst_port, FILTER_NO_DIM, "dst port"},
    {WEIR_DIM_client_port, FILTER_NO_DIM, "client port"},
    {WEIR_DIM_server_port, FILTER_NO_DIM, "server port"},
    {WEIR_DIM_src_as, WEIR_DIM_dst_as, "as"},
    {WEIR_DIM_src_as, FILTER_NO_DIM, "src as"},
    {WEIR_DIM_dst_as, FILTER_NO_DIM, "dst as"},
    {WEIR_DIM_vlan, WEIR_DIM_vlan_out, "vlan"},
    {WEIR_DIM_vlan, FILTER_NO_DIM, "src vlan"},
    {WEIR_DIM_vlan_out, FILTER_NO_DIM, "dst vlan"},
    {WEIR_DIM_src_mac, WEIR_DIM_dst_mac, "mac"},
    {WEIR_DIM_src_mac, FILTER_NO_DIM, "src mac"},
    {WEIR_DIM_dst_mac, FILTER_NO_DIM, "dst mac"},
    {WEIR_DIM_if_in, WEIR_DIM_if_out, "if"},
    {WEIR_DIM_if_in, FILTER_NO_DIM, "in if"},
    {WEIR_DIM_if_out, FILTER_NO_DIM, "out if"},
};

const char *filter_words(int dim, int either)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (words[i].dim == dim && words[i].either == either) return words[i].words;
    }
    return weir_dims[dim].name;
}

const char *filter_metric_word(enum filter_metric metric)
{
    static const char *const word[FILTER_METRICS] = {"bytes", "packets", "duration", "bpp", "bps", "pps"};
    return word[metric];
}

/* ---- comparing ---- */

static bool equal_sets(const struct filter_node *a, const struct filter_node *b)
{
    if (a->count != b->count) return false;
    for (uint32_t i = 0; i < a->count; i++) {
        if (a->kind == FILTER_TEXTS) {
            if (by_text(&a->patterns[i], &b->patterns[i]) != 0) return false;
        } else if (a->kind == FILTER_ADDRESSES) {
            if (a->addresses[i].low != b->addresses[i].low || a->addresses[i].high != b->addresses[i].high)
                return false;
        } else {
            if (a->numbers[i].low != b->numbers[i].low || a->numbers[i].high != b->numbers[i].high) return false;
        }
    }
    return true;
}

static bool equal_nodes(const struct filter_node *a, const struct filter_node *b)
{
    if (a->kind != b->kind || a->dim != b->dim || a->either != b->either || a->number != b->number) return false;
    if (a->kind == FILTER_METRIC && a->metric != b->metric) return false;
    if (!equal_sets(a, b)) return false;
    const struct filter_node *x = a->first;
    const struct filter_node *y = b->first;
    for (; x != NULL && y != NULL; x = x->next, y = y->next) {
        if (!equal_nodes(x, y)) return false;
    }
    return x == NULL && y == NULL;
}

bool weir_filter_equal(const struct weir_filter *a, const struct weir_filter *b)
{
    return equal_nodes(a->root, b->root);
}

bool weir_filter_is_any(const struct weir_filter *filter)
{
    return filter->root->kind == FILTER_ANY;
}
