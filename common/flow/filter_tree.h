/**
 * The tree of a filter: what the parser builds and evaluating, printing and planning walk. Private to the filter's files.
 *
 * Every comparison of a dimension or metric becomes a set of values: sorted, disjoint ranges. So `port > 1023`, `port in
 * [80, 443]` and `net 10.0.0.0/8` are one kind of test, and equal sets are equal tests however they were written.
 */
#ifndef WEIR_COMMON_FLOW_FILTER_TREE_H
#define WEIR_COMMON_FLOW_FILTER_TREE_H

#include "common/flow/filter.h"

enum filter_kind {
    FILTER_ANY,
    FILTER_AND,
    FILTER_OR,
    FILTER_NOT,
    FILTER_NUMBERS,    /* a dimension's number is in a set */
    FILTER_ADDRESSES,  /* a dimension's address is in a set */
    FILTER_TEXTS,      /* site is one of some patterns */
    FILTER_METRIC,     /* bytes, packets, ... of the flow are in a set */
    FILTER_FLAGS_ALL,  /* all TCP flags of a mask are set */
    FILTER_FLAGS_NONE, /* none of them is */
    FILTER_FAMILY,     /* IPv4 or IPv6 */
    FILTER_ICMP_TYPE,
    FILTER_ICMP_CODE
};

enum filter_metric {
    FILTER_BYTES,
    FILTER_PACKETS,
    FILTER_DURATION,
    FILTER_BPP,
    FILTER_BPS,
    FILTER_PPS,
    FILTER_METRICS
};

enum { FILTER_NO_DIM = -1 };

struct filter_numbers {
    uint64_t low;
    uint64_t high; /* included */
};

__extension__ typedef unsigned __int128 filter_address;

/* IPv4 lives inside IPv6 in our form; a set of one family never has the other's. */
#define FILTER_V4_FIRST ((filter_address)0xffff << 32)
#define FILTER_V4_LAST  (FILTER_V4_FIRST | 0xffffffff)

/** Addresses as numbers, so that one comparison decides. */
struct filter_addresses {
    filter_address low;
    filter_address high; /* included */
};

struct filter_pattern {
    const char *text;
    bool glob; /* '*' stands for any run of characters */
};

struct filter_node {
    enum filter_kind kind;
    struct filter_node *next;  /* sibling */
    struct filter_node *first; /* children of AND, OR (two or more) and NOT (one) */
    struct filter_node *last;
    int dim;    /* NUMBERS, ADDRESSES: the dimension, or the first of two of which either may have the value */
    int either; /* the second, or FILTER_NO_DIM */
    enum filter_metric metric;
    uint32_t number; /* FLAGS: the mask; FAMILY: 4 or 6 */
    uint32_t count;  /* of the set below */
    union {
        struct filter_numbers *numbers;
        struct filter_addresses *addresses;
        struct filter_pattern *patterns;
    };
};

/** Memory of a tree: blocks that are freed together. */
struct filter_block {
    struct filter_block *next;
    size_t used;
    size_t size;
    _Alignas(16) uint8_t bytes[];
};

struct weir_filter {
    struct filter_node *root;
    struct filter_block *blocks;
    uint32_t nodes; /* and members of lists */
    uint64_t fields;
};

/** Zeroed memory that lives with the filter, aligned to 16, or NULL. */
void *filter_alloc(struct weir_filter *filter, size_t size);

/** A node, or NULL when memory runs out. */
struct filter_node *filter_node_create(struct weir_filter *filter, enum filter_kind kind);

/** Join two trees by FILTER_AND or FILTER_OR, flat: chains become one node. NULL when memory runs out. */
struct filter_node *filter_join(struct weir_filter *filter, enum filter_kind kind, struct filter_node *left,
                                struct filter_node *right);

/** Negate a tree. NULL when memory runs out. */
struct filter_node *filter_negate(struct weir_filter *filter, struct filter_node *node);

/** Sort the set of a node and join what touches, so that equal sets are equal arrays. */
void filter_normalise(struct filter_node *node);

/** The words that a test of a dimension (or of either of two) is written with: "src port", "port", "tos". */
const char *filter_words(int dim, int either);

const char *filter_metric_word(enum filter_metric metric);

static inline filter_address filter_address_of(const struct weir_ip *ip)
{
    return (filter_address)weir_load_u64be(ip->bytes) << 64 | weir_load_u64be(ip->bytes + 8);
}

static inline struct weir_ip filter_ip_of(filter_address address)
{
    struct weir_ip ip;
    weir_store_u64be(ip.bytes, (uint64_t)(address >> 64));
    weir_store_u64be(ip.bytes + 8, (uint64_t)address);
    return ip;
}

#endif
