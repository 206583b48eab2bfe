/** Batches of made-up flows that cover what a roll-up must get right: both families, long and late flows, sampling. */
#ifndef WEIR_TESTS_SUPPORT_RANDOM_FLOWS_H
#define WEIR_TESTS_SUPPORT_RANDOM_FLOWS_H

#include "common/cluster/msg.h"

/** The next number of a fixed sequence; @state is the seed at first. */
uint64_t random_next(uint64_t *state);

/** A number below @limit. */
uint32_t random_below(uint64_t *state, uint32_t limit);

/** One flow that ended near @end_ms, among few hosts so that they meet again. */
struct weir_flow random_flow(uint64_t *state, int64_t end_ms);

/** Source number @number: every third speaks IPv6. */
struct weir_source random_source(uint32_t number);

/** A batch of @count such flows of @source, and a header that fits. The batch is the caller's to destroy. */
struct weir_batch *random_batch(uint64_t *state, const struct weir_source *source, uint32_t count, int64_t end_ms,
                                struct weir_batch_header *header);

#endif
