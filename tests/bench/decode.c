/** CPU time to decode and gather a flow, without sockets: bench.decode [ROUNDS]. One line per format. */
#include "agent/decode/decode.h"
#include "common/base/mem.h"
#include "tests/bench/gen/gen.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { DATAGRAMS = 4000 };

struct datagram {
    uint8_t bytes[GEN_DATAGRAM_BYTES];
    size_t size;
};

static int take(void *ctx, struct weir_batch **batch_p)
{
    agent_pool_give(ctx, batch_p);
    return 0;
}

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void measure(enum gen_format format, int rounds, struct datagram *datagrams)
{
    struct gen_conf conf = GEN_DEFAULTS;
    conf.format = format;
    conf.ipv6_percent = 10;
    conf.boot_ms = 1699000000000;
    struct gen *gen = NULL;
    if (gen_create(&conf, &gen) < 0) abort();
    size_t bytes = 0;
    for (int i = 0; i < DATAGRAMS; i++) {
        datagrams[i].size = gen_next(gen, 0, 1700000000000 + i, GEN_MOST_FLOWS, datagrams[i].bytes, NULL, NULL);
        bytes += datagrams[i].size;
    }
    struct gen_totals made = gen_totals_all(gen);
    gen_destroy(gen);

    struct agent_pool *pool = NULL;
    struct agent_gather *gather = NULL;
    struct agent_decoder *decoder = NULL;
    struct agent_gather_conf gather_conf = AGENT_GATHER_DEFAULTS;
    struct agent_decoder_conf decoder_conf = AGENT_DECODER_DEFAULTS;
    if (agent_pool_create(8 << 20, &pool) < 0) abort();
    struct agent_sink sink = {take, pool};
    if (agent_gather_create(&gather_conf, pool, sink, &gather) < 0) abort();
    if (agent_decoder_create(&decoder_conf, gather, &decoder) < 0) abort();

    struct agent_peer exporter = {gen_exporter_ip(0), 50000};
    double best = 1e9;
    for (int round = 0; round < rounds; round++) {
        double began = cpu_seconds();
        for (int i = 0; i < DATAGRAMS; i++)
            agent_decode(decoder, &exporter, weir_view_of(datagrams[i].bytes, datagrams[i].size), 1700000000000 + i);
        double spent = cpu_seconds() - began;
        if (spent < best) best = spent;
        agent_decoder_forget(decoder); /* or the next round would be one of repetitions */
    }
    printf("%-6s %6.1f ns a flow %8.0f ns a datagram of %.1f flows %6.0f MB/s\n", gen_format_name(format),
           best * 1e9 / (double)made.flows, best * 1e9 / DATAGRAMS, (double)made.flows / DATAGRAMS,
           (double)bytes / best / 1e6);
    agent_decoder_destroy(decoder);
    agent_gather_destroy(gather);
    agent_pool_destroy(pool);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 30;
    struct datagram *datagrams = weir_calloc(DATAGRAMS, sizeof *datagrams);
    if (datagrams == NULL) return 1;
    for (int format = GEN_V5; format <= GEN_SFLOW; format++)
        measure((enum gen_format)format, rounds, datagrams);
    weir_free(datagrams);
    return 0;
}
