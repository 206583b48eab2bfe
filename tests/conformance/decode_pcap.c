/**
 * weir-decode-pcap [--flows] FILE...: what the decoders make of captures, one line of JSON each: flows, options records,
 * sums, refusals. With --flows a line for each flow comes before it. The conformance tests compare both with independent
 * decoders.
 */
#include "agent/decode/decode.h"
#include "console/cli/pcap.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct sums {
    struct agent_pool *pool;
    bool shows_flows;
    uint64_t flows;
    uint64_t packets;
    uint64_t bytes;
};

static void print_flow(const struct weir_flow *flow)
{
    char src[WEIR_IP_TEXT];
    char dst[WEIR_IP_TEXT];
    printf("{\"src_ip\":\"%s\",\"dst_ip\":\"%s\",\"src_port\":%u,\"dst_port\":%u,\"proto\":%u,\"bytes\":%" PRIu64
           ",\"packets\":%" PRIu64 ",\"if_in\":%u,\"if_out\":%u,\"tos\":%u,\"tcp_flags\":%u,\"src_as\":%u,\"dst_as\":%u"
           ",\"src_mask\":%u,\"dst_mask\":%u,\"t_first\":%" PRId64 ",\"t_last\":%" PRId64 ",\"sampling\":%u}\n",
           weir_ip_format(&flow->src_ip, src), weir_ip_format(&flow->dst_ip, dst), flow->src_port, flow->dst_port,
           flow->proto, flow->bytes, flow->packets, flow->if_in, flow->if_out, flow->tos, flow->tcp_flags, flow->src_as,
           flow->dst_as, flow->src_mask, flow->dst_mask, flow->start_ms, flow->end_ms, flow->sampling_one_in);
}

static int add_up(void *ctx, struct weir_batch **batch_p)
{
    struct sums *sums = ctx;
    struct weir_batch_totals totals = weir_batch_sum(*batch_p);
    sums->flows += totals.flows;
    sums->packets += totals.packets;
    sums->bytes += totals.bytes;
    for (uint32_t i = 0; sums->shows_flows && i < (*batch_p)->count; i++) {
        struct weir_flow flow;
        weir_batch_get(*batch_p, i, &flow);
        print_flow(&flow);
    }
    agent_pool_give(sums->pool, batch_p);
    return 0;
}

static struct weir_view read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct weir_view none = {0};
    if (file == NULL) return none;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
    size_t got = data == NULL ? 0 : fread(data, 1, (size_t)size, file);
    fclose(file);
    return weir_view_of(data, got);
}

static uint64_t sum_of(const struct agent_decode_counts *counts, int first, int rows)
{
    uint64_t sum = 0;
    for (int i = 0; i < rows; i++)
        sum += counts->n[first + i];
    return sum;
}

static int decode(const char *path, bool shows_flows)
{
    struct weir_view capture = read_file(path);
    struct pcap pcap;
    if (capture.data == NULL || pcap_begin(capture, &pcap) < 0) {
        fprintf(stderr, "weir-decode-pcap: %s is no capture\n", path);
        return 1;
    }
    struct sums sums = {.shows_flows = shows_flows};
    struct agent_gather *gather = NULL;
    struct agent_decoder *decoder = NULL;
    struct agent_gather_conf gather_conf = AGENT_GATHER_DEFAULTS;
    struct agent_decoder_conf decoder_conf = AGENT_DECODER_DEFAULTS;
    struct agent_sink sink = {add_up, &sums};
    if (agent_pool_create(1 << 20, &sums.pool) < 0) abort();
    if (agent_gather_create(&gather_conf, sums.pool, sink, &gather) < 0) abort();
    if (agent_decoder_create(&decoder_conf, gather, &decoder) < 0) abort();

    struct pcap_datagram datagram;
    int64_t now_ms = 1700000000000;
    while (pcap_next(&pcap, &datagram) == 1) {
        struct agent_peer peer = {datagram.src, datagram.src_port};
        agent_decode(decoder, &peer, datagram.payload, now_ms++);
    }
    agent_gather_flush(gather);

    const struct agent_decode_counts *counts = agent_decoder_counts(decoder);
    printf("{\"datagrams\":%" PRIu64 ",\"flows\":%" PRIu64 ",\"options\":%" PRIu64 ",\"packets\":%" PRIu64
           ",\"bytes\":%" PRIu64 ",\"parked\":%" PRIu64 ",\"counter_samples\":%" PRIu64 ",\"skipped_samples\":%" PRIu64
           ",\"refused\":{",
           sum_of(counts, AGENT_INPUT_datagrams_netflow5, AGENT_PROTOCOL_COUNT), sums.flows,
           counts->n[AGENT_INPUT_options_records], sums.packets, sums.bytes,
           counts->n[AGENT_INPUT_sets_parked] - counts->n[AGENT_INPUT_sets_replayed],
           counts->n[AGENT_INPUT_samples_counter], counts->n[AGENT_INPUT_samples_unknown]);
    const char *comma = "";
    for (int r = 1; r < AGENT_REFUSAL_COUNT; r++) {
        uint64_t refused = 0;
        for (int p = 0; p < AGENT_PROTOCOL_COUNT; p++)
            refused += counts->n[agent_input_refused((enum agent_protocol)p, (enum agent_refusal)r)];
        if (refused == 0) continue;
        printf("%s\"%s\":%" PRIu64, comma, agent_refusal_name((enum agent_refusal)r), refused);
        comma = ",";
    }
    printf("}}\n");
    agent_decoder_destroy(decoder);
    agent_gather_destroy(gather);
    agent_pool_destroy(sums.pool);
    free((void *)(uintptr_t)capture.data);
    return 0;
}

int main(int argc, char **argv)
{
    int rc = 0;
    bool shows_flows = argc > 1 && strcmp(argv[1], "--flows") == 0;
    for (int i = shows_flows ? 2 : 1; i < argc; i++)
        rc |= decode(argv[i], shows_flows);
    return rc;
}
