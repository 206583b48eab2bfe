#include "tests/support/random_flows.h"

#include <assert.h>

uint64_t random_next(uint64_t *state)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    uint64_t x = *state ^ *state >> 33;
    return x * 0xff51afd7ed558ccdull ^ x >> 29;
}

uint32_t random_below(uint64_t *state, uint32_t limit)
{
    return (uint32_t)((random_next(state) >> 32) % limit);
}

static struct weir_ip random_ip(uint64_t *state)
{
    uint8_t host = (uint8_t)random_below(state, 24);
    if (random_below(state, 4) == 0) {
        uint8_t bytes[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = host};
        return weir_ip_from_v6(bytes);
    }
    uint8_t bytes[4] = {10, 1, (uint8_t)random_below(state, 2), host};
    return weir_ip_from_v4(bytes);
}

struct weir_flow random_flow(uint64_t *state, int64_t end_ms)
{
    static const uint16_t ports[] = {22, 53, 80, 443, 5432, 8080};
    static const uint8_t protos[] = {6, 6, 6, 17, 17, 1, 58, 47};
    static const uint16_t flags[] = {0, 0x02, 0x12, 0x18, 0x14, 0x1b};
    struct weir_flow flow = {
        .src_ip = random_ip(state),
        .dst_ip = random_ip(state),
        .src_port = (uint16_t)(1024 + random_below(state, 60000)),
        .dst_port = ports[random_below(state, 6)],
        .proto = protos[random_below(state, 8)],
        .tcp_flags = flags[random_below(state, 6)],
        .packets = 1 + random_below(state, 1000),
        .if_in = 1 + random_below(state, 4),
        .tos = (uint8_t)(random_below(state, 4) << 5),
    };
    flow.bytes = flow.packets * (40 + random_below(state, 1460));
    if (random_below(state, 2) == 0) {
        uint16_t port = flow.src_port;
        flow.src_port = flow.dst_port;
        flow.dst_port = port;
    }
    if (random_below(state, 20) == 0) flow.dst_ip = flow.src_ip;
    if (random_below(state, 5) == 0) flow.sampling_one_in = 1u << random_below(state, 12);
    flow.end_ms = end_ms - random_below(state, 60000);
    uint32_t length = random_below(state, 10);
    int64_t duration = length < 6 ? random_below(state, 20000) : length < 9 ? random_below(state, 600000) : 0;
    if (random_below(state, 50) == 0) duration = random_below(state, 8 * 3600 * 1000); /* wider than 60 minutes */
    flow.start_ms = flow.end_ms - duration;
    if (random_below(state, 100) == 0) flow.start_ms = flow.end_ms + 5000;
    if (random_below(state, 200) == 0) flow.start_ms = flow.end_ms = 0;
    if (random_below(state, 200) == 0) flow.end_ms += 3600 * 1000;
    return flow;
}

struct weir_source random_source(uint32_t number)
{
    uint8_t v4[4] = {192, 0, 2, (uint8_t)number}, v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = (uint8_t)number};
    return (struct weir_source){.exporter = number % 3 == 2 ? weir_ip_from_v6(v6) : weir_ip_from_v4(v4),
                                .domain = number};
}

/** Losses of which some have a reason and some have none, and what is denied, which is not lost. */
static void lose_with_reasons(uint64_t *state, int64_t end_ms, struct weir_batch *batch)
{
    static const enum weir_drop_reason reasons[] = {WEIR_DROP_count, WEIR_DROP_version, WEIR_DROP_template_missing,
                                                    WEIR_DROP_denied};
    batch->loss.undecodable = random_below(state, 2);
    batch->loss.template_missing = random_below(state, 2);
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        uint8_t bytes[100] = {(uint8_t)random_below(state, 256)};
        struct weir_drop drop = weir_drop_of(reasons[i], end_ms - random_below(state, 100000),
                                             weir_view_of(bytes, random_below(state, sizeof bytes)));
        drop.count += random_below(state, 3);
        if (random_below(state, 2) == 0) continue;
        if (weir_drop_info(drop.reason)->loss == WEIR_DROP_OF_UNDECODABLE) batch->loss.undecodable += drop.count;
        if (weir_drop_info(drop.reason)->loss == WEIR_DROP_OF_TEMPLATES) batch->loss.template_missing += drop.count;
        bool added = weir_drops_add(&batch->drops, &drop);
        assert(added);
    }
}

struct weir_batch *random_batch(uint64_t *state, const struct weir_source *source, uint32_t count, int64_t end_ms,
                                struct weir_batch_header *header)
{
    struct weir_batch *batch = NULL;
    int rc = weir_batch_create(count == 0 ? 1 : count, &batch);
    assert(rc == 0);
    batch->source = *source;
    batch->protocol = WEIR_PROTOCOL_IPFIX;
    batch->first_received_ms = end_ms - 200;
    batch->last_received_ms = end_ms;
    batch->last_export_ms = end_ms - 1000;
    batch->loss.sequence_lost = random_below(state, 3);
    batch->loss.socket_drops = random_below(state, 2);
    lose_with_reasons(state, end_ms, batch);
    for (uint32_t i = 0; i < count; i++) {
        struct weir_flow flow = random_flow(state, end_ms);
        rc = weir_batch_append(batch, &flow);
        assert(rc == 0);
    }
    *header = (struct weir_batch_header){.kind = WEIR_RECORD_DATA,
                                         .schema = WEIR_SCHEMA,
                                         .source = *source,
                                         .protocol = batch->protocol,
                                         .totals = weir_batch_sum(batch),
                                         .first_received_ms = batch->first_received_ms,
                                         .last_received_ms = batch->last_received_ms,
                                         .last_export_ms = batch->last_export_ms,
                                         .loss = batch->loss,
                                         .present = batch->present};
    return batch;
}
