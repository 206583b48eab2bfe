#include "common/flow/drop.h"

static const struct weir_drop_info infos[WEIR_DROP_REASON_MOST + 1] = {
#define DATAGRAMS                                    "datagrams"
#define SETS                                         "sets"
#define RECORDS                                      "records"
#define FLOWS                                        "flows"
#define INTERVALS                                    "intervals"
#define REASON(id, number, unit, loss, text, advice) [number] = {#id, unit, text, advice, WEIR_DROP_OF_##loss},
#include "common/flow/drop.def"
#undef REASON
};

const struct weir_drop_info *weir_drop_info(enum weir_drop_reason reason)
{
    static const struct weir_drop_info unknown = {"unknown", DATAGRAMS, "for a reason that this version does not know",
                                                  "Update the console and this command.", WEIR_DROP_OF_NOTHING};
    bool known = reason <= WEIR_DROP_REASON_MOST && infos[reason].name != NULL;
    return known ? &infos[reason] : &unknown;
}

struct weir_drop weir_drop_of(enum weir_drop_reason reason, int64_t at_ms, struct weir_view bytes)
{
    struct weir_drop drop = {.reason = reason,
                             .count = 1,
                             .first_ms = at_ms,
                             .last_ms = at_ms,
                             .example_ms = at_ms,
                             .bytes = (uint32_t)bytes.size};
    drop.head_size = (uint8_t)(bytes.size < sizeof drop.head ? bytes.size : sizeof drop.head);
    if (drop.head_size > 0) memcpy(drop.head, bytes.data, drop.head_size);
    return drop;
}

/** Of two at one time the larger is the example: it does not matter which, but that it is the same. */
static bool is_newer(const struct weir_drop *a, const struct weir_drop *b)
{
    if (a->example_ms != b->example_ms) return a->example_ms > b->example_ms;
    if (a->bytes != b->bytes) return a->bytes > b->bytes;
    if (a->head_size != b->head_size) return a->head_size > b->head_size;
    return memcmp(a->head, b->head, a->head_size) > 0;
}

void weir_drop_add(struct weir_drop *to, const struct weir_drop *more)
{
    if (more->count == 0) return;
    struct weir_drop sum = to->count == 0 || is_newer(more, to) ? *more : *to;
    sum.reason = to->reason;
    sum.count = to->count + more->count;
    sum.first_ms = to->count == 0 || more->first_ms < to->first_ms ? more->first_ms : to->first_ms;
    sum.last_ms = to->count == 0 || more->last_ms > to->last_ms ? more->last_ms : to->last_ms;
    *to = sum;
}

bool weir_drops_add(struct weir_drops *to, const struct weir_drop *more)
{
    for (uint32_t i = 0; i < to->count; i++) {
        if (to->at[i].reason != more->reason) continue;
        weir_drop_add(&to->at[i], more);
        return true;
    }
    if (to->count == WEIR_DROPS_MOST) return false;
    to->at[to->count++] = *more;
    return true;
}
