/**
 * An answer: rows and how good they are. An aggregator fills one; the console merges those of all aggregators, cuts and
 * sorts. Merging is commutative and associative (tests prove it), so a chunk of an answer is an answer too.
 *
 * An answer is bounded: at most WEIR_QUESTION_GROUPS_MOST groups (WEIR_QUESTION_CELLS_MOST steps of groups, for a series)
 * are kept apart; what comes after is summed in @other, and its size is added to the error bound. Totals are always exact
 * sums of everything that matched.
 *
 * One thread at a time.
 */
#ifndef WEIR_COMMON_FLOW_ANSWER_H
#define WEIR_COMMON_FLOW_ANSWER_H

#include "common/base/table.h"
#include "common/flow/extra.h"
#include "common/flow/question.h"

/** Sums over flows: as exported, scaled by their sampling, and the variance of the scaled ones (0 unsampled). */
struct weir_counts {
    uint64_t flows;
    uint64_t packets;
    uint64_t bytes;
    uint64_t scaled_packets; /* = packets where the rate is 1 or unknown */
    uint64_t scaled_bytes;
    double packets_variance; /* sum of N(N-1) n: the 95 % interval is 1.96 x its square root */
    double bytes_variance;
};

/** A group, or a step of one. */
struct weir_answer_row {
    union weir_value key[WEIR_QUESTION_DIMS_MOST]; /* in the order of the question's dims; the rest is 0 */
    int64_t time_ms;                               /* begin of the step; 0 for a table */
    struct weir_counts counts;
};

struct weir_answer_flow {
    struct weir_place place;
    struct weir_source source;
    enum weir_protocol protocol;
    uint32_t site; /* index of its name */
    struct weir_flow flow;
    struct weir_view extras; /* read with weir_extra_next; of a flow in an answer the answer's, else borrowed */
};

/** What was lost before the store, by kind. All in records but for the datagrams of @socket_drops. */
struct weir_lost {
    uint64_t sequence;  /* gaps in the exporter's sequence numbers */
    uint64_t templates; /* data without a template */
    uint64_t undecodable;
    uint64_t socket_drops; /* datagrams dropped by an agent's kernel */
    uint64_t spool;        /* flows that a full spool dropped */
};

/** A source as heard by one agent in one protocol. */
struct weir_answer_exporter {
    struct weir_source source;
    enum weir_protocol protocol;
    uint32_t site;  /* index of its name */
    uint32_t agent; /* likewise */
    uint64_t batches;
    uint64_t flows;
    uint64_t packets;
    uint64_t bytes;
    struct weir_lost lost;
    uint32_t sampling_one_in; /* last seen; 0 unknown */
    uint8_t sampling_origin;  /* enum weir_sampling_origin */
    int64_t first_heard_ms;   /* received, within the time range */
    int64_t last_heard_ms;
    int64_t last_flows_ms;     /* received, of the last flows: what its sampling is as of */
    int64_t last_export_ms;    /* the exporter's own clock in its last datagram; 0 unknown */
    struct weir_health health; /* as of last_heard_ms */
};

/** What is missing of a source, as heard by one agent in one protocol, for one reason. */
struct weir_answer_drop {
    struct weir_source source;
    enum weir_protocol protocol;
    uint32_t site; /* index of its name */
    uint32_t agent;
    struct weir_drop drop;
};

/** A process of the fleet. What does not apply to its role is 0. */
struct weir_answer_node {
    uint32_t name; /* index */
    uint32_t role; /* index of "agent", "broker", "aggregator", "console" */
    uint32_t site;
    uint32_t version;
    bool up;
    uint32_t state; /* index of a few words for people: "ok", "refused by ...", "silent for 31 s" */
    int64_t started_ms;
    int64_t last_heard_ms;
    uint32_t shards;
    uint64_t batches; /* aggregator: stored; agent: as seen by aggregators */
    uint64_t flows;
    uint64_t duplicates;
    uint64_t refused;
    uint64_t stored_bytes;
    uint64_t disk_free_bytes;
    uint64_t lag_ms; /* from received by the agent to stored, newest batch */
    uint64_t spool_bytes;
    int64_t spool_oldest_ms; /* when the oldest batch in the spool was received; 0 empty */
};

/** Who was asked, and what came of it: the coverage of an answer, one row per aggregator. */
struct weir_answer_source {
    uint32_t name;
    bool ok;
    uint32_t reason; /* index; why not ok */
    uint32_t shards_asked;
    uint32_t shards_answered;
    uint64_t scanned; /* rows or flows looked at */
    int64_t asof_ms;  /* everything received before this is in the answer; 0 unknown */
    uint32_t elapsed_ms;
};

struct weir_coverage {
    enum weir_tier tier;   /* coarsest form that was used; 0 none */
    bool sampled;          /* some flows were sampled: scaled sums have an error */
    bool sampling_unknown; /* some flows have an unknown rate: they were not scaled */
    bool behind;           /* rollups could not be brought up to date in time: what came last is missing */
    bool clipped;          /* limit of groups reached: "other" is not empty for that reason */
    int64_t from_ms;       /* the range that was really looked at; 0 when nothing was */
    int64_t to_ms;
    struct weir_lost lost; /* of the sources that were looked at, in that range */
};

/** Names that values of TEXT dimensions and rows refer to by index. Index 0 is "". */
struct weir_names {
    char **text;
    uint32_t count;
    uint32_t capacity;
    struct weir_table index;
};

enum {
    WEIR_NAMES_MOST = 65536,
    WEIR_ANSWER_EXPORTERS_MOST = 100000, /* and drops, nodes, sources: rows beyond are dropped and @clipped says so */
};

struct weir_answer {
    enum weir_shape shape;
    uint32_t dim_count;
    enum weir_dim dims[WEIR_QUESTION_DIMS_MOST];
    enum weir_metric order;
    bool ascending;
    bool shard_local;
    uint32_t limit; /* FLOWS: rows kept */
    int64_t step_ms;

    struct weir_names names;
    struct weir_table groups;     /* key and time -> counts; emptied by weir_answer_rank */
    struct weir_table picks;      /* keys of the question's picks; empty when there are none */
    struct weir_answer_row *rows; /* ranked; NULL before weir_answer_rank */
    size_t row_count;
    struct weir_counts total; /* of everything that matched */
    struct weir_counts other; /* of what is in no row */
    uint64_t error_bound;     /* no group's order metric is short by more than this */

    struct weir_answer_flow *flows; /* in order; at most @limit */
    size_t flow_count;
    size_t flow_capacity;
    bool flows_ranked;
    bool more; /* there are more flows than @limit */
    struct weir_answer_exporter *exporters;
    size_t exporter_count;
    size_t exporter_capacity;
    struct weir_table exporter_index;
    struct weir_answer_drop *drops;
    size_t drop_count;
    size_t drop_capacity;
    struct weir_table drop_index;
    struct weir_answer_node *nodes;
    size_t node_count;
    size_t node_capacity;
    struct weir_table node_index;
    struct weir_answer_source *sources;
    size_t source_count;
    size_t source_capacity;
    struct weir_coverage coverage;
};

/** An empty answer to @question. WEIR_ENOMEM. */
int weir_answer_init(struct weir_answer *answer, const struct weir_question *question);
void weir_answer_fini(struct weir_answer *answer);

/** The index of @name, added when new. WEIR_ENOMEM; WEIR_ELIMIT above WEIR_NAMES_MOST. */
int64_t weir_answer_name(struct weir_answer *answer, const char *name);

/** The name at @index; "" when there is none. Lives with the answer. */
const char *weir_answer_name_at(const struct weir_answer *answer, uint32_t index);

static inline void weir_counts_add(struct weir_counts *to, const struct weir_counts *more)
{
    to->flows += more->flows;
    to->packets += more->packets;
    to->bytes += more->bytes;
    to->scaled_packets += more->scaled_packets;
    to->scaled_bytes += more->scaled_bytes;
    to->packets_variance += more->packets_variance;
    to->bytes_variance += more->bytes_variance;
}

/** The counts of one flow, or of many with the same sampling and mean packet size. @sampling_one_in 0: unknown. */
struct weir_counts weir_counts_of(uint64_t flows, uint64_t packets, uint64_t bytes, uint32_t sampling_one_in);

/** The 95 % interval's half width of a scaled sum with this variance, in its unit. */
uint64_t weir_interval95(double variance);

static inline uint64_t weir_counts_metric(const struct weir_counts *counts, enum weir_metric metric)
{
    return metric == WEIR_METRIC_OF_BYTES     ? counts->scaled_bytes
           : metric == WEIR_METRIC_OF_PACKETS ? counts->scaled_packets
                                              : counts->flows;
}

/**
 * Add counts to a group (and step), without touching the total: the caller adds to answer->total once per flow, since
 * a flow may be in two groups. Groups past the limit go to @other. WEIR_ENOMEM.
 */
int weir_answer_add(struct weir_answer *answer, const union weir_value key[WEIR_QUESTION_DIMS_MOST], int64_t time_ms,
                    const struct weir_counts *counts);

/** The same with the counts added to the total too: for dimensions of one value per flow. */
int weir_answer_count(struct weir_answer *answer, const union weir_value key[WEIR_QUESTION_DIMS_MOST], int64_t time_ms,
                      const struct weir_counts *counts);

/** Keep a copy, extra columns included, if the flow is among the first @limit in the order of the question; else set @more. WEIR_ENOMEM. */
int weir_answer_add_flow(struct weir_answer *answer, const struct weir_answer_flow *flow);

/** Would a flow at @place be kept? Lets a scan stop early. */
bool weir_answer_wants_flow(const struct weir_answer *answer, const struct weir_place *place);

/** Add a source; rows of one source, protocol, site and agent are summed. WEIR_ENOMEM. */
int weir_answer_add_exporter(struct weir_answer *answer, const struct weir_answer_exporter *exporter);

/** Add a drop; rows of one source, protocol, site, agent and reason are summed. WEIR_ENOMEM. */
int weir_answer_add_drop(struct weir_answer *answer, const struct weir_answer_drop *drop);

/** Add a node; of two rows of one role and name the one heard last stays, with what both counted summed. WEIR_ENOMEM. */
int weir_answer_add_node(struct weir_answer *answer, const struct weir_answer_node *node);

/** Add who was asked. WEIR_ENOMEM. */
int weir_answer_add_source(struct weir_answer *answer, const struct weir_answer_source *source);

/**
 * Add everything of @from, an answer to the same question: rows (ranked or not), totals, bounds, coverage.
 * WEIR_EPARAM when it is not; WEIR_ENOMEM (@into is then not to be used but for weir_answer_fini).
 */
int weir_answer_merge(struct weir_answer *into, const struct weir_answer *from);

/** Add what another answer covers. */
void weir_coverage_merge(struct weir_coverage *into, const struct weir_coverage *from);

/**
 * Put everything in order. Groups become @rows: the best @groups of them (a series is ranked by its groups' sums over
 * time, and its rows are in the order of groups, then time); the others are added to @other. With @partial (an
 * aggregator, whose answer will be merged) the biggest group that was cut goes into the error bound, unless groups do not
 * reach over shards; and nothing is cut when the smallest are wanted, since the smallest here may be big elsewhere.
 * WEIR_ENOMEM: nothing has changed.
 */
int weir_answer_rank(struct weir_answer *answer, uint32_t groups, bool partial);

/** What is asked and answered, over all sources. */
struct weir_shards_covered {
    uint32_t asked;
    uint32_t answered;
    int64_t asof_ms; /* earliest of those that answered; 0 unknown */
    uint64_t scanned;
};
struct weir_shards_covered weir_answer_covered(const struct weir_answer *answer);

#endif
