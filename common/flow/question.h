/**
 * A question: what the console asks every aggregator, and the API and the command are made around. Pure data; on the
 * wire by common/wire/question.h.
 */
#ifndef WEIR_COMMON_FLOW_QUESTION_H
#define WEIR_COMMON_FLOW_QUESTION_H

#include "common/base/err.h"
#include "common/flow/dims.h"

enum {
    WEIR_QUESTION_DIMS_MOST = 4,
    WEIR_QUESTION_LIMIT_MOST = 10000,   /* rows (groups, for a series) that one may ask for */
    WEIR_QUESTION_STEPS_MOST = 100000,  /* steps of a series */
    WEIR_QUESTION_GROUPS_MOST = 100000, /* groups that are kept apart while answering; the rest is summed as "other" */
    WEIR_QUESTION_CELLS_MOST = 1000000, /* steps of all groups of a series */
    WEIR_QUESTION_SHARDS = 128          /* as WEIR_SHARDS; checked where both are known */
};

enum weir_shape {
    WEIR_SHAPE_TABLE = 1,     /* groups with their sums, biggest first */
    WEIR_SHAPE_SERIES = 2,    /* groups by time step */
    WEIR_SHAPE_FLOWS = 3,     /* single flows in the order of t_first */
    WEIR_SHAPE_EXPORTERS = 4, /* sources: what was heard and lost of them */
    WEIR_SHAPE_NODES = 5,     /* the fleet, as the aggregator knows it */
    WEIR_SHAPE_DROPS = 6      /* of sources: why something of them is missing */
};

enum weir_metric { WEIR_METRIC_OF_FLOWS = 1, WEIR_METRIC_OF_PACKETS = 2, WEIR_METRIC_OF_BYTES = 3 };

/** Which stored form answers. Coarser ones widen the time range to their window; the answer says to what. */
enum weir_tier { WEIR_TIER_AUTO = 0, WEIR_TIER_RAW = 1, WEIR_TIER_1M = 2, WEIR_TIER_1H = 3, WEIR_TIER_1D = 4 };

/**
 * Where a flow row stands in the one order that FLOWS answers have: by t_first, then where it is stored. Unique in a
 * cluster and the same each time, so that a page can be continued after the last row of the one before.
 */
struct weir_place {
    int64_t time_ms; /* t_first */
    uint32_t shard;
    uint64_t block; /* the store's number of the stored batch within the shard */
    uint32_t row;
};

struct weir_question {
    uint64_t id; /* chosen by who asks: answers and cancelling name it */
    enum weir_shape shape;
    int64_t from_ms; /* included */
    int64_t to_ms;   /* excluded */
    uint32_t dim_count;
    enum weir_dim dims[WEIR_QUESTION_DIMS_MOST]; /* what to group by */
    enum weir_metric order;
    bool ascending;
    uint32_t limit;                             /* rows, or groups of a series; 1..WEIR_QUESTION_LIMIT_MOST */
    int64_t step_ms;                            /* of a series; else 0 */
    enum weir_tier tier;                        /* ask for this form, or WEIR_TIER_AUTO */
    uint32_t deadline_ms;                       /* what is left of the time to answer in, when it is sent */
    uint64_t shards[WEIR_QUESTION_SHARDS / 64]; /* bit per shard: answer for these, and no others */
    bool has_cursor;                            /* FLOWS: only rows after this place */
    struct weir_place cursor;                   /* in the order of the question (ascending or not) */
    char *filter;                               /* owned; NULL or "": any */
    /*
     * SERIES: only these groups are kept apart, the rest is "other". The console finds them by asking for a table first,
     * so that an aggregator need not keep every step of every group. Owned; TEXT dimensions are indices of @pick_names.
     */
    uint32_t pick_count;
    union weir_value (*picks)[WEIR_QUESTION_DIMS_MOST];
    uint32_t pick_name_count;
    char **pick_names;
};

/** A question with nothing asked yet: table, everything, by bytes, ten rows, all shards, two seconds. */
void weir_question_init(struct weir_question *question);
void weir_question_fini(struct weir_question *question);

/** A copy with its own memory. WEIR_ENOMEM: @to is initialised and empty. */
int weir_question_copy(struct weir_question *to, const struct weir_question *from);

/** Replace the filter text by a copy of @text. WEIR_ENOMEM. */
int weir_question_set_filter(struct weir_question *question, const char *text, size_t size);

/** Add a group to keep apart; @names: what the indices of TEXT dimensions mean. WEIR_ENOMEM, WEIR_ELIMIT. */
int weir_question_pick(struct weir_question *question, const union weir_value key[WEIR_QUESTION_DIMS_MOST],
                       const char *const names[WEIR_QUESTION_DIMS_MOST]);

/** Is it one that can be answered? WEIR_EPARAM or WEIR_ELIMIT with the reason. Does not look into the filter. */
int weir_question_check(const struct weir_question *question, struct weir_why *why);

static inline bool weir_question_wants_shard(const struct weir_question *question, uint32_t shard)
{
    return question->shards[shard / 64] >> shard % 64 & 1;
}

/** The dimensions as a set. */
uint64_t weir_question_dims(const struct weir_question *question);

/** Do all flows of a group lie in one shard, so that the best groups of each aggregator are the best of all? */
bool weir_question_is_shard_local(const struct weir_question *question);

/** How many groups an aggregator returns so that the console can pick the best @limit: max(5 x limit, 500). */
uint32_t weir_question_partial_limit(const struct weir_question *question);

/** -1, 0, 1 as @a stands before, at or after @b (ascending). */
int weir_place_compare(const struct weir_place *a, const struct weir_place *b);

const char *weir_shape_name(enum weir_shape shape);    /* "table", ... */
const char *weir_metric_name(enum weir_metric metric); /* "flows", ... */
const char *weir_tier_name(enum weir_tier tier);       /* "auto", "raw", "1m", "1h", "1d" */
int weir_shape_of_name(const char *name);              /* or WEIR_ENOTFOUND, as the two below */
int weir_metric_of_name(const char *name);             /* "bps" is bytes and "pps" packets: the order is the same */
int weir_tier_of_name(const char *name);

#endif
