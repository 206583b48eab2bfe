/**
 * Drops: why something that an exporter sent is missing, how much, since when, and the newest example of it. Agents
 * notice them, batches carry them (docs/FLOW.md), aggregators keep them, `weir exporters why` shows them.
 */
#ifndef WEIR_COMMON_FLOW_DROP_H
#define WEIR_COMMON_FLOW_DROP_H

#include "common/flow/flow.h"

/** The reasons of drop.def by their numbers. A newer agent may know more of them. */
enum weir_drop_reason {
    WEIR_DROP_NONE = 0,
#define REASON(id, number, unit, loss, text, advice) WEIR_DROP_##id = (number),
#include "common/flow/drop.def"
#undef REASON
    WEIR_DROP_REASON_MOST = 255
};

/** What of struct weir_loss (struct weir_lost) a drop counts in. */
enum weir_drop_loss {
    WEIR_DROP_OF_NOTHING, /* it is not lost: we did not want it */
    WEIR_DROP_OF_UNDECODABLE,
    WEIR_DROP_OF_TEMPLATES,
    WEIR_DROP_OF_ITSELF /* it is counted there alone: no batch carries such a drop */
};

struct weir_drop_info {
    const char *name; /* "set_length" */
    const char *unit; /* what is counted: "datagrams", "sets", "records", "flows", "intervals" */
    const char *text; /* what happened */
    const char *advice;
    enum weir_drop_loss loss;
};

/** What is known of a reason; of an unknown number something that says so. Static memory. */
const struct weir_drop_info *weir_drop_info(enum weir_drop_reason reason);

enum {
    WEIR_DROP_HEAD = 64,  /* bytes of an example */
    WEIR_DROPS_MOST = 16, /* reasons that a batch may carry */
};

struct weir_drop {
    enum weir_drop_reason reason;
    uint64_t count;
    int64_t first_ms; /* received */
    int64_t last_ms;
    int64_t example_ms; /* when the newest of which there is an example was received; 0: there is none */
    uint32_t bytes;     /* of the example, all in all */
    uint8_t head_size;
    uint8_t head[WEIR_DROP_HEAD]; /* how the example begins */
};

/** What was dropped of a source since its batch before, a reason once. */
struct weir_drops {
    uint32_t count;
    struct weir_drop at[WEIR_DROPS_MOST];
};

/** One drop, of bytes that are copied as far as there is room. */
struct weir_drop weir_drop_of(enum weir_drop_reason reason, int64_t at_ms, struct weir_view bytes);

/** Merge two of one reason: in any order to the same. */
void weir_drop_add(struct weir_drop *to, const struct weir_drop *more);

/** Add one to its reason. False when there are WEIR_DROPS_MOST others. */
bool weir_drops_add(struct weir_drops *to, const struct weir_drop *more);

#endif
