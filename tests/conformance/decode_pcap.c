/**
 * weir-decode-pcap FILE: what the decoders make of a capture, one line of JSON for each datagram: how it was counted, and
 * its flows in order. Data that waited for their template show up with the datagram that brought it. A last line has what
 * was counted once gaps in sequence numbers had stayed open for long. The conformance tests compare this with independent
 * decoders.
 */
#include "agent/decode/decode.h"
#include "console/cli/pcap.h"
#include "tests/conformance/print_flow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct shown {
    struct agent_pool *pool;
    const char *comma;
};

static int show(void *ctx, struct weir_batch **batch_p)
{
    struct shown *shown = ctx;
    for (uint32_t i = 0; i < (*batch_p)->count; i++) {
        struct weir_flow flow;
        weir_batch_get(*batch_p, i, &flow);
        printf("%s", shown->comma);
        print_flow(&flow);
        shown->comma = ",";
    }
    agent_pool_give(shown->pool, batch_p);
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

/** The counters that the datagram moved, each with its id in counters_input.def. */
static void print_counts(const struct agent_decode_counts *before, const struct agent_decode_counts *after)
{
    static const char *const names[] = {
#define METRIC(id, kind, name, labels, help)     #id,
#define METRIC_EACH(id, kind, name, label, help) #id,
#include "agent/counters_input.def"
#undef METRIC
#undef METRIC_EACH
    };
    const char *comma = "";
    for (int i = 0; i < AGENT_INPUT_COUNT; i++) {
        if (after->n[i] == before->n[i]) continue;
        printf("%s\"%s\":%" PRIu64, comma, names[i], after->n[i] - before->n[i]);
        comma = ",";
    }
}

static int decode(const char *path)
{
    struct weir_view capture = read_file(path);
    struct pcap pcap;
    if (capture.data == NULL || pcap_begin(capture, &pcap) < 0) {
        fprintf(stderr, "weir-decode-pcap: %s is no capture\n", path);
        return 1;
    }
    struct shown shown = {.comma = ""};
    struct agent_gather *gather = NULL;
    struct agent_decoder *decoder = NULL;
    struct agent_gather_conf gather_conf = AGENT_GATHER_DEFAULTS;
    struct agent_decoder_conf decoder_conf = AGENT_DECODER_DEFAULTS;
    struct agent_sink sink = {show, &shown};
    if (agent_pool_create(1 << 20, &shown.pool) < 0) abort();
    if (agent_gather_create(&gather_conf, shown.pool, sink, &gather) < 0) abort();
    if (agent_decoder_create(&decoder_conf, gather, &decoder) < 0) abort();

    const struct agent_decode_counts *counts = agent_decoder_counts(decoder);
    struct agent_decode_counts before = *counts;
    struct pcap_datagram datagram;
    int rc = 0;
    while ((rc = pcap_next(&pcap, &datagram)) == 1) {
        printf("{\"flows\":[");
        struct agent_peer peer = {datagram.src, datagram.src_port};
        enum agent_refusal refusal = agent_decode(decoder, &peer, datagram.payload, datagram.time_us / 1000);
        agent_gather_flush(gather);
        printf("],\"refusal\":\"%s\",\"counts\":{", agent_refusal_name(refusal));
        print_counts(&before, counts);
        printf("}}\n");
        before = *counts;
        shown.comma = "";
    }
    agent_decoder_tick(decoder, (int64_t)1 << 48);
    printf("{\"settled\":{");
    print_counts(&before, counts);
    printf("}}\n");
    if (rc < 0) fprintf(stderr, "weir-decode-pcap: %s is damaged\n", path);
    agent_decoder_destroy(decoder);
    agent_gather_destroy(gather);
    agent_pool_destroy(shown.pool);
    free((void *)(uintptr_t)capture.data);
    return rc < 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: weir-decode-pcap FILE\n");
        return 2;
    }
    return decode(argv[1]);
}
