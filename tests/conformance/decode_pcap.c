/**
 * weir-decode-pcap FILE...: what the decoders make of captures, one line of JSON each: flows, options records, sums,
 * refusals. The conformance tests compare it with independent decoders.
 */
#include "agent/decode/decode.h"
#include "console/cli/pcap.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct sums {
    struct agent_pool *pool;
    uint64_t flows;
    uint64_t packets;
    uint64_t bytes;
};

static int add_up(void *ctx, struct weir_batch **batch_p)
{
    struct sums *sums = ctx;
    struct weir_batch_totals totals = weir_batch_sum(*batch_p);
    sums->flows += totals.flows;
    sums->packets += totals.packets;
    sums->bytes += totals.bytes;
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

static int decode(const char *path)
{
    struct weir_view capture = read_file(path);
    struct pcap pcap;
    if (capture.data == NULL || pcap_begin(capture, &pcap) < 0) {
        fprintf(stderr, "weir-decode-pcap: %s is no capture\n", path);
        return 1;
    }
    struct sums sums = {0};
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
    while (pcap_next(&pcap, &datagram) == 1)
        agent_decode(decoder, &datagram.src, datagram.payload, now_ms++);
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
    for (int i = 1; i < argc; i++)
        rc |= decode(argv[i]);
    return rc;
}
