/**
 * The filter language (docs/API.md, weir-filter(7)): text to a tree, a tree to text, and a tree over flows.
 *
 *     src ip 10.1.2.3 and port 443
 *     server net 10.2.0.0/16 and (proto tcp or proto udp) and not exporter 192.0.2.1
 *     dst_port in [80, 443, 8000-8999] and bytes > 10M
 *
 * `and` binds tighter than `or`; words are case-insensitive; 10k is 10,000 and 10Ki 10,240. A name is never looked up by
 * DNS. What a flow does not carry reads 0. `X != V` is `not X = V`, so that with a word for either role (`port != 53`)
 * neither may have the value. `flags SA` wants all the flags, `not flags SA` none of them, as nfdump does.
 *
 * A filter is immutable after parsing: any number of threads may evaluate it.
 */
#ifndef WEIR_COMMON_FLOW_FILTER_H
#define WEIR_COMMON_FLOW_FILTER_H

#include "common/base/buf.h"
#include "common/flow/dims.h"

enum {
    WEIR_FILTER_TEXT_MOST = 64 * 1024, /* bytes */
    WEIR_FILTER_NODES_MOST = 10000,    /* tests and connectives, and again members of lists */
    WEIR_FILTER_DEPTH_MOST = 64,       /* levels of connectives and parentheses */
    WEIR_FILTER_EXPECTED_MOST = 24
};

struct weir_filter;

/** Why a text is no filter. The CLI's stderr and the API's problem+json are made from this one struct. */
struct weir_filter_error {
    char message[200];   /* `unknown word "ipp"`, without the place */
    uint32_t column;     /* in characters from 1; over the whole text, line breaks counted as one character each */
    uint32_t length;     /* in characters; at least 1 */
    char suggestion[64]; /* what was probably meant; "" when nothing is near */
    uint32_t expected_count;
    const char *expected[WEIR_FILTER_EXPECTED_MOST]; /* words that could stand there; static memory */
};

/**
 * Parse @text of @size bytes. An empty text is a filter that every flow passes.
 *
 *   WEIR_EFORMAT  it is no filter: *error says why
 *   WEIR_ELIMIT   it is too long, too deep or has too many parts: *error says so
 *   WEIR_ENOMEM
 */
int weir_filter_parse(const char *text, size_t size, struct weir_filter **ret, struct weir_filter_error *error);

void weir_filter_destroy(struct weir_filter *filter);

/**
 * Append the error as people read it, with the line it is in and carets under the place:
 *
 *     filter: unknown word "ipp" at column 5
 *       src ipp 10.1.2.3 and port 443
 *           ^^^  did you mean "ip"?  expected: ip, host, net, port, as, vlan
 */
void weir_filter_error_print(const struct weir_filter_error *error, const char *text, size_t size,
                             struct weir_buf *out);

/** Append the canonical text. Parsing it again gives an equal filter. "any" for one that every flow passes. */
void weir_filter_print(const struct weir_filter *filter, struct weir_buf *out);

/** Are they the same tree? */
bool weir_filter_equal(const struct weir_filter *a, const struct weir_filter *b);

/** Does every flow pass? */
bool weir_filter_is_any(const struct weir_filter *filter);

/** The columns that evaluating needs (bit per enum weir_field): what a scan must read. */
uint64_t weir_filter_fields(const struct weir_filter *filter);

/** Does one flow pass? */
bool weir_filter_flow(const struct weir_filter *filter, const struct weir_flow *flow, const struct weir_where *where);

enum { WEIR_FILTER_WORDS = WEIR_BATCH_MOST / 64 };

/**
 * Which flows of a batch pass: sets bit (row % 64) of selected[row / 64], clears the others up to the end of the last
 * word in use, and returns how many passed. Where is the batch's own, with its site.
 */
uint32_t weir_filter_batch(const struct weir_filter *filter, const struct weir_batch *batch,
                           const struct weir_where *where, uint64_t selected[WEIR_FILTER_WORDS]);

/**
 * Can no flow of this source pass? True only when that is certain: a batch is then skipped without opening it.
 */
bool weir_filter_excludes(const struct weir_filter *filter, const struct weir_where *where);

/** A row of a rollup, as a filter sees it: values for the dimensions that the rollup holds. */
struct weir_row_key {
    uint64_t have; /* bit per dimension; not closed (weir_dims_close), no EITHER */
    const char *site;
    union weir_value value[WEIR_DIM_COUNT];
};

/**
 * Do rows that hold the dimensions @have decide the filter exactly as their flows would? False when it asks for a
 * dimension that is not there, or for bytes, packets or the duration of single flows. The planner's question: where it
 * is false, raw flows are needed. `ip X` is decided by src_ip and dst_ip together or by client_ip and server_ip together.
 */
bool weir_filter_fits(const struct weir_filter *filter, uint64_t have);

/** What keeps the filter from fitting: the word of the first such test ("bytes", "src_port"), or NULL. Static memory. */
const char *weir_filter_misfit(const struct weir_filter *filter, uint64_t have);

/** Does the row pass? The filter must fit row->have. */
bool weir_filter_row(const struct weir_filter *filter, const struct weir_row_key *row);

/**
 * Addresses of which every passing flow has at least one, as source or destination: how an index by address is used.
 * Returns how many were written, or WEIR_ENOTFOUND when the filter has no such anchor of at most @most addresses.
 */
int weir_filter_anchor(const struct weir_filter *filter, struct weir_ip *ips, size_t most);

#endif
