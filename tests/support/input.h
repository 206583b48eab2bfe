/** A decoder with a gather behind it, whose batches a test keeps and reads row by row. */
#ifndef WEIR_TESTS_SUPPORT_INPUT_H
#define WEIR_TESTS_SUPPORT_INPUT_H

#include "agent/decode/decode.h"
#include "common/base/buf.h"

enum { INPUT_BATCHES = 64 };

struct input {
    struct agent_pool *pool;
    struct agent_gather *gather;
    struct agent_decoder *decoder;
    struct weir_batch *batches[INPUT_BATCHES]; /* as they came to the sink */
    size_t batch_count;
    struct weir_loss loss; /* summed over all batches */
};

/** Aborts without memory. */
void input_init(struct input *input, const struct agent_decoder_conf *conf);
void input_fini(struct input *input);

/** Decode a datagram of 192.0.2.1 (or @exporter), received at @received_ms. */
enum agent_refusal input_take(struct input *input, struct weir_view datagram, int64_t received_ms);
enum agent_refusal input_take_from(struct input *input, const char *exporter, struct weir_view datagram,
                                   int64_t received_ms);

/** The same of 192.0.2.1 by another session than 50000. */
enum agent_refusal input_take_by(struct input *input, uint32_t session, struct weir_view datagram, int64_t received_ms);

/** Hand all open batches to the sink; returns how many flows came out since the beginning. */
size_t input_flush(struct input *input);

/** Flow @index of all, in the order in which they came out. Flushes. Aborts when there are fewer. */
struct weir_flow input_flow(struct input *input, size_t index);

/** The value of a counter of agent/counters_input.def. */
#define INPUT_COUNT(input, id) (agent_decoder_counts((input)->decoder)->n[AGENT_INPUT_##id])

/** Bytes from hex, blanks ignored ("0005 0001"), into @buf; returns a view of them. Aborts on anything else. */
struct weir_view input_hex(struct weir_buf *buf, const char *hex);

#endif
