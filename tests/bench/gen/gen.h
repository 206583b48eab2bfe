/**
 * Made-up exporters for tests and measurements: datagrams of NetFlow v5, v9, IPFIX and sFlow v5 whose flows look like
 * a network's (Zipf hosts, usual ports, heavy-tailed sizes) and whose totals are known. The same seed gives the same
 * bytes.
 */
#ifndef WEIR_TESTS_BENCH_GEN_GEN_H
#define WEIR_TESTS_BENCH_GEN_GEN_H

#include "common/flow/flow.h"

enum gen_format { GEN_V5, GEN_V9, GEN_IPFIX, GEN_SFLOW };

enum {
    GEN_DATAGRAM_BYTES = 1472, /* what fits an Ethernet frame */
    GEN_MOST_FLOWS = 30        /* in one datagram */
};

struct gen_conf {
    enum gen_format format;
    uint64_t seed;
    uint32_t exporters;
    uint32_t hosts;          /* on each side */
    uint32_t ipv6_percent;   /* of datagrams; v5 has none */
    uint32_t sampling;       /* one in this many; 1 says "unsampled", 0 says nothing */
    uint32_t template_every; /* datagrams between templates (v9, IPFIX) */
    int64_t boot_ms;         /* when the exporters started, wall clock */
};

#define GEN_DEFAULTS ((struct gen_conf){.seed = 1, .exporters = 1, .hosts = 100000, .template_every = 64})

/** Sums over the flows made, raw (not scaled by sampling). */
struct gen_totals {
    uint64_t flows;
    uint64_t packets;
    uint64_t bytes;
    uint64_t datagrams;
    int64_t first_ms; /* least start, greatest end; 0 without flows. sFlow has no times */
    int64_t last_ms;
};

struct gen;

/** WEIR_ENOMEM. */
int gen_create(const struct gen_conf *conf, struct gen **ret);
void gen_destroy(struct gen *gen);

/** The name of a format ("v5", "v9", "ipfix", "sflow"), and back; WEIR_ENOTFOUND. */
const char *gen_format_name(enum gen_format format);
int gen_format_of(const char *name);

/** The address that exporter @index speaks from: 127.0.1.1 and on. */
struct weir_ip gen_exporter_ip(uint32_t index);

/**
 * The next datagram of @exporter, exported at @now_ms, with at most @flows flows. Returns its size.
 * @made (may be NULL) receives the flows as a decoder should see them, *count how many they are.
 */
size_t gen_next(struct gen *gen, uint32_t exporter, int64_t now_ms, uint32_t flows, uint8_t out[GEN_DATAGRAM_BYTES],
                struct weir_flow made[GEN_MOST_FLOWS], uint32_t *count);

/**
 * Make @datagram, which gen_next made for @exporter, the one of a round later: everything that was made is sent once more,
 * and only sequence numbers go on. Not for sFlow.
 */
void gen_again(const struct gen *gen, uint32_t exporter, uint8_t *datagram);

/** One flow, exported at @now_ms, that is in no datagram and no totals. */
struct weir_flow gen_flow(struct gen *gen, int64_t now_ms, bool v6);

/** What was made so far by one exporter, and by all. */
const struct gen_totals *gen_totals_of(const struct gen *gen, uint32_t exporter);
struct gen_totals gen_totals_all(const struct gen *gen);

#endif
