#include "tests/support/input.h"

#include "common/base/err.h"

#include <assert.h>
#include <ctype.h>

static int keep(void *ctx, struct weir_batch **batch_p)
{
    struct input *input = ctx;
    if (input->batch_count == INPUT_BATCHES) return WEIR_EFULL;
    struct weir_batch *batch = *batch_p;
    assert(weir_batch_check(batch));
    weir_loss_add(&input->loss, &batch->loss);
    input->batches[input->batch_count++] = batch;
    *batch_p = NULL;
    return 0;
}

void input_init(struct input *input, const struct agent_decoder_conf *conf)
{
    *input = (struct input){0};
    struct agent_decoder_conf usual = AGENT_DECODER_DEFAULTS;
    struct agent_gather_conf gather = AGENT_GATHER_DEFAULTS;
    struct agent_sink sink = {keep, input};
    int rc = agent_pool_create(16 << 20, &input->pool);
    if (rc == 0) rc = agent_gather_create(&gather, input->pool, sink, &input->gather);
    if (rc == 0) rc = agent_decoder_create(conf == NULL ? &usual : conf, input->gather, &input->decoder);
    assert(rc == 0);
}

void input_fini(struct input *input)
{
    agent_decoder_destroy(input->decoder);
    agent_gather_destroy(input->gather);
    for (size_t i = 0; i < input->batch_count; i++)
        agent_pool_give(input->pool, &input->batches[i]);
    agent_pool_destroy(input->pool);
}

enum agent_refusal input_take_from(struct input *input, const char *exporter, struct weir_view datagram,
                                   int64_t received_ms)
{
    struct agent_peer peer = {.session = 50000};
    int rc = weir_ip_parse(exporter, &peer.ip);
    assert(rc == 0);
    return agent_decode(input->decoder, &peer, datagram, received_ms);
}

enum agent_refusal input_take_by(struct input *input, uint32_t session, struct weir_view datagram, int64_t received_ms)
{
    struct agent_peer peer = {.session = session};
    int rc = weir_ip_parse("192.0.2.1", &peer.ip);
    assert(rc == 0);
    return agent_decode(input->decoder, &peer, datagram, received_ms);
}

enum agent_refusal input_take(struct input *input, struct weir_view datagram, int64_t received_ms)
{
    return input_take_from(input, "192.0.2.1", datagram, received_ms);
}

size_t input_flush(struct input *input)
{
    agent_gather_flush(input->gather);
    size_t flows = 0;
    for (size_t i = 0; i < input->batch_count; i++)
        flows += input->batches[i]->count;
    return flows;
}

struct weir_flow input_flow(struct input *input, size_t index)
{
    struct weir_flow flow = {0};
    size_t flows = input_flush(input);
    assert(index < flows);
    size_t i = 0;
    for (; index >= input->batches[i]->count; i++)
        index -= input->batches[i]->count;
    weir_batch_get(input->batches[i], (uint32_t)index, &flow);
    return flow;
}

static int digit(char c)
{
    assert(isxdigit((unsigned char)c));
    return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

struct weir_view input_hex(struct weir_buf *buf, const char *hex)
{
    weir_buf_clear(buf);
    for (const char *at = hex; *at != '\0';) {
        if (isspace((unsigned char)*at)) {
            at++;
            continue;
        }
        weir_buf_u8(buf, (uint8_t)(digit(at[0]) << 4 | digit(at[1])));
        at += 2;
    }
    assert(!buf->failed);
    return weir_buf_view(buf);
}
