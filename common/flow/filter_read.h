/**
 * Reading a filter: what the lexer (filter_lex.c), the grammar (filter.y) and the actions (filter_read.c) share.
 * Private to the filter's files.
 */
#ifndef WEIR_COMMON_FLOW_FILTER_READ_H
#define WEIR_COMMON_FLOW_FILTER_READ_H

#include "common/flow/filter_tree.h"

/** Bytes of the text, from @from up to before @to. */
struct filter_span {
    uint32_t from;
    uint32_t to;
};

enum filter_compare { FILTER_EQ, FILTER_NE, FILTER_LT, FILTER_LE, FILTER_GT, FILTER_GE };

/** One value as it stands in the text, or a range of two. */
struct filter_item {
    struct filter_item *next;
    struct filter_span span;
    const char *text; /* NUL-terminated, unquoted */
    const char *high; /* end of a range, or NULL */
    bool quoted;
};

/** What a dimension or metric is compared with. */
struct filter_match {
    enum filter_compare compare;
    struct filter_item *items;
};

/** Which side of a flow a word is about. */
enum filter_side {
    FILTER_SIDE_EITHER,
    FILTER_SIDE_SRC,
    FILTER_SIDE_DST,
    FILTER_SIDE_BOTH,
    FILTER_SIDE_CLIENT,
    FILTER_SIDE_SERVER
};

/** What has sides. */
enum filter_sided { FILTER_SIDED_IP, FILTER_SIDED_PORT, FILTER_SIDED_AS, FILTER_SIDED_VLAN, FILTER_SIDED_MAC };

struct filter_reader {
    const char *text;
    uint32_t size;
    uint32_t at;
    uint32_t parens; /* open */
    uint32_t nots;   /* since the last value */
    struct weir_filter *filter;
    struct weir_filter_error *error;
    int rc; /* 0, or why reading stopped: WEIR_EFORMAT, WEIR_ELIMIT, WEIR_ENOMEM */
};

/** Stop with an error at @span; returns @rc. The first error stays. */
int filter_fail(struct filter_reader *reader, struct filter_span span, int rc, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/** An item for the text of @span (a word or a quoted string), or NULL after an error. */
struct filter_item *filter_item_create(struct filter_reader *reader, struct filter_span span);

/* The trees of tests; NULL after an error. */
struct filter_node *filter_test(struct filter_reader *reader, int dim, int either, const struct filter_match *match);
struct filter_node *filter_test_sided(struct filter_reader *reader, enum filter_side side, enum filter_sided what,
                                      const struct filter_match *match, struct filter_span span);
struct filter_node *filter_test_metric(struct filter_reader *reader, enum filter_metric metric,
                                       const struct filter_match *match);
struct filter_node *filter_test_icmp(struct filter_reader *reader, enum filter_kind kind,
                                     const struct filter_match *match);
struct filter_node *filter_test_proto(struct filter_reader *reader, const struct filter_item *item);
struct filter_node *filter_test_flags(struct filter_reader *reader, const struct filter_item *item);
struct filter_node *filter_test_family(struct filter_reader *reader, uint32_t family);

/** `net ADDRESS MASK` as one item, or NULL after an error. */
struct filter_item *filter_item_masked(struct filter_reader *reader, struct filter_item *address,
                                       const struct filter_item *mask);

/** The word of a lexed token that is nearest to @text, for "did you mean", or NULL. @words may hold NULLs. */
const char *filter_nearest(const char *text, size_t size, const char *const *words, size_t count);

#endif
