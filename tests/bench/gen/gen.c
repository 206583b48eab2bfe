#include "tests/bench/gen/gen.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <math.h>

struct exporter {
    uint32_t sequence; /* in the unit of the format */
    uint32_t samples;  /* sFlow: of its one data source */
    struct gen_totals totals;
};

struct gen {
    struct gen_conf conf;
    uint64_t random;
    double log_hosts;
    struct exporter *exporters;
};

static const char *const format_names[] = {"v5", "v9", "ipfix", "sflow"};

const char *gen_format_name(enum gen_format format)
{
    return format_names[format];
}

int gen_format_of(const char *name)
{
    for (int i = 0; i < 4; i++) {
        if (strcmp(format_names[i], name) == 0) return i;
    }
    return WEIR_ENOTFOUND;
}

struct weir_ip gen_exporter_ip(uint32_t index)
{
    uint32_t host = 256 + index / 250 * 256 + index % 250 + 1;
    uint8_t four[4] = {127, (uint8_t)(host >> 16), (uint8_t)(host >> 8), (uint8_t)host};
    return weir_ip_from_v4(four);
}

int gen_create(const struct gen_conf *conf, struct gen **ret)
{
    struct gen *gen = weir_calloc(1, sizeof *gen);
    if (gen == NULL) return WEIR_ENOMEM;
    gen->conf = *conf;
    gen->random = conf->seed * 0x9e3779b97f4a7c15u + 1;
    gen->log_hosts = log((double)conf->hosts);
    gen->exporters = weir_calloc(conf->exporters, sizeof *gen->exporters);
    if (gen->exporters == NULL) {
        gen_destroy(gen);
        return WEIR_ENOMEM;
    }
    *ret = gen;
    return 0;
}

void gen_destroy(struct gen *gen)
{
    if (gen == NULL) return;
    weir_free(gen->exporters);
    weir_free(gen);
}

/** splitmix64. */
static uint64_t draw(struct gen *gen)
{
    uint64_t z = gen->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static double draw_unit(struct gen *gen)
{
    return (double)(draw(gen) >> 11) * 0x1p-53;
}

static uint32_t draw_below(struct gen *gen, uint32_t bound)
{
    return (uint32_t)((draw(gen) >> 32) * bound >> 32);
}

/** A rank with probability in proportion to 1/rank (Zipf with exponent 1, by its continuous form). */
static uint32_t draw_host(struct gen *gen)
{
    uint32_t rank = (uint32_t)exp(draw_unit(gen) * gen->log_hosts) - 1;
    return rank < gen->conf.hosts ? rank : gen->conf.hosts - 1;
}

/** @rank on the inside (10/8, 2001:db8::/32) or outside (198.18/15 and on, 2001:db8:ffff::/48); ranks are scattered. */
static struct weir_ip host_ip(uint32_t rank, bool inside, bool v6)
{
    uint32_t scattered = rank * 2654435761u >> 8; /* a bijection on the low 24 bits of the product */
    if (v6) {
        struct weir_ip ip = {{0x20, 0x01, 0x0d, 0xb8, inside ? 0 : 0xff, inside ? 0 : 0xff}};
        weir_store_u32be(ip.bytes + 12, rank + 1);
        weir_store_u16be(ip.bytes + 6, (uint16_t)(scattered & 0xff));
        return ip;
    }
    uint8_t four[4];
    weir_store_u32be(four, inside ? 10u << 24 | (rank & 0xffffff) : (198u << 24) + (18u << 16) + (rank & 0xffffff));
    return weir_ip_from_v4(four);
}

struct weir_flow gen_flow(struct gen *gen, int64_t now_ms, bool v6)
{
    static const uint16_t services[] = {443, 443, 443, 443, 443, 443, 80, 80, 53, 53, 53, 22, 123, 25, 993, 3306};
    struct weir_flow flow = {0};
    uint32_t client = draw_host(gen);
    uint32_t server = draw_host(gen);
    bool answer = (draw(gen) & 1) != 0;
    uint16_t service = services[draw_below(gen, 16)];
    if (draw_below(gen, 10) == 0) service = (uint16_t)(1024 + draw_below(gen, 64000));
    uint16_t port = (uint16_t)(32768 + draw_below(gen, 28232));

    flow.src_ip = host_ip(answer ? server : client, !answer, v6);
    flow.dst_ip = host_ip(answer ? client : server, answer, v6);
    flow.proto = service == 53 || service == 123 ? 17 : 6;
    flow.src_port = answer ? service : port;
    flow.dst_port = answer ? port : service;
    if (draw_below(gen, 50) == 0) {
        flow.proto = v6 ? 58 : 1;
        flow.src_port = 0;
        flow.dst_port = v6 ? 128 << 8 : 8 << 8; /* echo request, as exporters put it into the port */
        flow.icmp_type_code = flow.dst_port;
    }
    if (flow.proto == 6) flow.tcp_flags = draw_below(gen, 8) == 0 ? 0x02 : 0x1b;
    flow.tos = draw_below(gen, 16) == 0 ? 0xb8 : 0;
    flow.packets = flow.proto == 6 ? (uint64_t)(1 / (1 - draw_unit(gen) * 0.9999)) : 1 + draw_below(gen, 3);
    flow.bytes = flow.packets * (40 + draw_below(gen, 1461));
    flow.end_ms = now_ms - draw_below(gen, 5000);
    flow.start_ms = flow.packets == 1 ? flow.end_ms : flow.end_ms - draw_below(gen, 55000);
    flow.if_in = answer ? 1 : 2 + client % 40;
    flow.if_out = answer ? 2 + client % 40 : 1;
    uint32_t as = 64496 + server % 16;
    flow.src_as = answer ? as : 0;
    flow.dst_as = answer ? 0 : as;
    flow.src_mask = v6 ? 64 : 24;
    flow.dst_mask = v6 ? 48 : 16;
    if (!v6) {
        static const uint8_t router[4] = {192, 0, 2, 1};
        flow.next_hop = weir_ip_from_v4(router);
    }
    return flow;
}

/* ---- writing, big-endian ---- */

static uint8_t *put8(uint8_t *at, uint32_t value)
{
    *at = (uint8_t)value;
    return at + 1;
}

static uint8_t *put16(uint8_t *at, uint32_t value)
{
    weir_store_u16be(at, (uint16_t)value);
    return at + 2;
}

static uint8_t *put32(uint8_t *at, uint64_t value)
{
    weir_store_u32be(at, (uint32_t)value);
    return at + 4;
}

static uint8_t *put64(uint8_t *at, uint64_t value)
{
    weir_store_u64be(at, value);
    return at + 8;
}

static uint8_t *put_ip(uint8_t *at, const struct weir_ip *ip, bool v6)
{
    memcpy(at, v6 ? ip->bytes : ip->bytes + 12, v6 ? 16 : 4);
    return at + (v6 ? 16 : 4);
}

static uint8_t *put_zeros(uint8_t *at, size_t size)
{
    memset(at, 0, size);
    return at + size;
}

/* ---- NetFlow v5 ---- */

enum { V5_HEADER = 24, V5_RECORD = 48 };

static uint8_t *v5_header(const struct gen *gen, const struct exporter *exporter, int64_t now_ms, uint32_t flows,
                          uint8_t *at)
{
    at = put16(at, 5);
    at = put16(at, flows);
    at = put32(at, (uint64_t)(now_ms - gen->conf.boot_ms));
    at = put32(at, (uint64_t)(now_ms / 1000));
    at = put32(at, (uint64_t)(now_ms % 1000 * 1000000));
    at = put32(at, exporter->sequence);
    at = put16(at, 0);
    return put16(at, gen->conf.sampling == 0 ? 0 : 1u << 14 | gen->conf.sampling); /* mode 1: deterministic */
}

static uint8_t *v5_record(const struct gen *gen, const struct weir_flow *flow, uint8_t *at)
{
    at = put_ip(at, &flow->src_ip, false);
    at = put_ip(at, &flow->dst_ip, false);
    at = put_ip(at, &flow->next_hop, false);
    at = put16(at, flow->if_in);
    at = put16(at, flow->if_out);
    at = put32(at, flow->packets);
    at = put32(at, flow->bytes);
    at = put32(at, (uint64_t)(flow->start_ms - gen->conf.boot_ms));
    at = put32(at, (uint64_t)(flow->end_ms - gen->conf.boot_ms));
    at = put16(at, flow->src_port);
    at = put16(at, flow->dst_port);
    at = put8(at, 0);
    at = put8(at, flow->tcp_flags);
    at = put8(at, flow->proto);
    at = put8(at, flow->tos);
    at = put16(at, flow->src_as);
    at = put16(at, flow->dst_as);
    at = put8(at, flow->src_mask);
    at = put8(at, flow->dst_mask);
    return put16(at, 0);
}

/* ---- NetFlow v9 (RFC 3954) and IPFIX (RFC 7011): templates of 19 and 15 fields, as routers send them ---- */

enum { TEMPLATE_V4 = 256, TEMPLATE_V6 = 257, TEMPLATE_OPTIONS = 258, SET_HEADER = 4 };

struct spec {
    uint16_t id;
    uint16_t size;
};

static const struct spec v9_v4[] = {{1, 4},  {2, 4},  {22, 4}, {21, 4}, {8, 4},  {12, 4}, {7, 2},
                                    {11, 2}, {10, 4}, {14, 4}, {16, 4}, {17, 4}, {4, 1},  {6, 1},
                                    {5, 1},  {9, 1},  {13, 1}, {15, 4}, {61, 1}};
static const struct spec v9_v6[] = {{1, 4},  {2, 4},  {22, 4}, {21, 4},  {27, 16}, {28, 16}, {7, 2},
                                    {11, 2}, {10, 4}, {14, 4}, {16, 4},  {17, 4},  {4, 1},   {6, 1},
                                    {5, 1},  {29, 1}, {30, 1}, {62, 16}, {61, 1}};
static const struct spec ipfix_v4[] = {{152, 8}, {153, 8}, {8, 4},  {12, 4}, {7, 2}, {11, 2}, {4, 1}, {6, 2},
                                       {1, 8},   {2, 8},   {10, 4}, {14, 4}, {5, 1}, {9, 1},  {13, 1}};
static const struct spec ipfix_v6[] = {{152, 8}, {153, 8}, {27, 16}, {28, 16}, {7, 2}, {11, 2}, {4, 1}, {6, 2},
                                       {1, 8},   {2, 8},   {10, 4},  {14, 4},  {5, 1}, {29, 1}, {30, 1}};

enum { V9_FIELDS = 19, IPFIX_FIELDS = 15 };

static size_t record_bytes(const struct spec *specs, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += specs[i].size;
    return bytes;
}

static uint8_t *template(uint8_t *at, uint32_t id, const struct spec *specs, uint32_t count)
{
    at = put16(at, id);
    at = put16(at, count);
    for (uint32_t i = 0; i < count; i++) {
        at = put16(at, specs[i].id);
        at = put16(at, specs[i].size);
    }
    return at;
}

/** Both templates, and with sampling an options template and its one record: 1 in N for the whole exporter. */
static uint8_t *templates(const struct gen *gen, uint8_t *at)
{
    bool v9 = gen->conf.format == GEN_V9;
    uint32_t fields = v9 ? V9_FIELDS : IPFIX_FIELDS;
    at = put16(at, v9 ? 0 : 2);
    at = put16(at, SET_HEADER + 2 * (4 + 4 * fields));
    at = template(at, TEMPLATE_V4, v9 ? v9_v4 : ipfix_v4, fields);
    at = template(at, TEMPLATE_V6, v9 ? v9_v6 : ipfix_v6, fields);
    if (gen->conf.sampling == 0) return at;

    if (v9) { /* scope: system; samplingInterval, samplingAlgorithm */
        static const uint16_t options[] = {1, 24, TEMPLATE_OPTIONS, 4, 8, 1, 4, 34, 4, 35, 1, 0};
        for (size_t i = 0; i < sizeof options / sizeof *options; i++)
            at = put16(at, options[i]);
        at = put16(at, TEMPLATE_OPTIONS);
        at = put16(at, SET_HEADER + 12);
        at = put32(at, 0);
        at = put32(at, gen->conf.sampling);
        at = put8(at, 1);
        return put_zeros(at, 3);
    }
    /* scope: exportingProcessId; samplingPacketInterval, samplingPacketSpace */
    static const uint16_t options[] = {3, 24, TEMPLATE_OPTIONS, 3, 1, 144, 4, 305, 4, 306, 4, 0};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        at = put16(at, options[i]);
    at = put16(at, TEMPLATE_OPTIONS);
    at = put16(at, SET_HEADER + 12);
    at = put32(at, 1);
    at = put32(at, 1);
    return put32(at, gen->conf.sampling - 1);
}

static uint8_t *templated_record(const struct gen *gen, const struct weir_flow *flow, bool v6, uint8_t *at)
{
    if (gen->conf.format == GEN_V9) {
        at = put32(at, flow->bytes);
        at = put32(at, flow->packets);
        at = put32(at, (uint64_t)(flow->start_ms - gen->conf.boot_ms));
        at = put32(at, (uint64_t)(flow->end_ms - gen->conf.boot_ms));
    } else {
        at = put64(at, (uint64_t)flow->start_ms);
        at = put64(at, (uint64_t)flow->end_ms);
    }
    at = put_ip(at, &flow->src_ip, v6);
    at = put_ip(at, &flow->dst_ip, v6);
    at = put16(at, flow->src_port);
    at = put16(at, flow->dst_port);
    if (gen->conf.format == GEN_V9) {
        at = put32(at, flow->if_in);
        at = put32(at, flow->if_out);
        at = put32(at, flow->src_as);
        at = put32(at, flow->dst_as);
        at = put8(at, flow->proto);
        at = put8(at, flow->tcp_flags);
        at = put8(at, flow->tos);
        at = put8(at, flow->src_mask);
        at = put8(at, flow->dst_mask);
        at = put_ip(at, &flow->next_hop, v6);
        return put8(at, flow->dir);
    }
    at = put8(at, flow->proto);
    at = put16(at, flow->tcp_flags);
    at = put64(at, flow->bytes);
    at = put64(at, flow->packets);
    at = put32(at, flow->if_in);
    at = put32(at, flow->if_out);
    at = put8(at, flow->tos);
    at = put8(at, flow->src_mask);
    return put8(at, flow->dst_mask);
}

/* ---- sFlow v5: flow samples with a raw packet header ---- */

enum { SFLOW_HEADER = 28, SFLOW_PACKET = 74 /* Ethernet, IPv6, TCP */, SFLOW_SAMPLE = 8 + 32 + 24 + SFLOW_PACKET + 2 };

static uint8_t *sflow_packet(const struct weir_flow *flow, bool v6, uint32_t frame_bytes, uint8_t *at)
{
    const uint8_t *end = at + SFLOW_PACKET + 2; /* padded to 4 */
    static const uint8_t macs[12] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
    memcpy(at, macs, sizeof macs);
    at = put16(at + sizeof macs, v6 ? 0x86dd : 0x0800);
    if (v6) {
        at = put32(at, 6u << 28 | (uint32_t)flow->tos << 20);
        at = put16(at, frame_bytes - 14 - 40 - 4);
        at = put8(at, flow->proto);
        at = put8(at, 64);
    } else {
        at = put8(at, 0x45);
        at = put8(at, flow->tos);
        at = put16(at, frame_bytes - 14 - 4);
        at = put32(at, 0);
        at = put8(at, 64);
        at = put8(at, flow->proto);
        at = put16(at, 0);
    }
    at = put_ip(at, &flow->src_ip, v6);
    at = put_ip(at, &flow->dst_ip, v6);
    if (flow->proto == 6 || flow->proto == 17) {
        at = put16(at, flow->src_port);
        at = put16(at, flow->dst_port);
        at = put_zeros(at, 8);
        at = put8(at, 5 << 4);
        at = put8(at, flow->tcp_flags);
    } else {
        at = put16(at, flow->icmp_type_code);
    }
    return put_zeros(at, (size_t)(end - at));
}

static uint8_t *sflow_sample(struct gen *gen, struct exporter *exporter, const struct weir_flow *flow, bool v6,
                             uint8_t *at)
{
    uint32_t rate = gen->conf.sampling == 0 ? 1 : gen->conf.sampling;
    at = put32(at, 1); /* flow_sample */
    at = put32(at, SFLOW_SAMPLE - 8);
    at = put32(at, ++exporter->samples);
    at = put32(at, 1); /* data source: ifIndex 1 */
    at = put32(at, rate);
    at = put32(at, (uint64_t)exporter->samples * rate);
    at = put32(at, 0);
    at = put32(at, flow->if_in);
    at = put32(at, flow->if_out);
    at = put32(at, 1);
    at = put32(at, 1); /* sampled_header */
    at = put32(at, 16 + SFLOW_PACKET + 2);
    at = put32(at, 1); /* Ethernet */
    at = put32(at, flow->bytes);
    at = put32(at, 4); /* the FCS was stripped */
    at = put32(at, SFLOW_PACKET);
    return sflow_packet(flow, v6, (uint32_t)flow->bytes, at);
}

/** What a sample can tell of the flow. */
static void as_sample(struct gen *gen, struct weir_flow *flow, int64_t now_ms)
{
    flow->start_ms = flow->end_ms = now_ms;
    flow->packets = 1;
    flow->bytes = 78 + draw_below(gen, 1441);
    flow->src_as = flow->dst_as = 0;
    flow->src_mask = flow->dst_mask = 0;
    flow->next_hop = (struct weir_ip){{0}};
    flow->src_mac = 0x020000000002;
    flow->dst_mac = 0x020000000001;
    if (flow->icmp_type_code != 0) flow->dst_port = 0;
}

/* ---- datagrams ---- */

static void add_up(struct gen_totals *totals, const struct weir_flow *flow)
{
    totals->flows++;
    totals->packets += flow->packets;
    totals->bytes += flow->bytes;
    if (totals->first_ms == 0 || flow->start_ms < totals->first_ms) totals->first_ms = flow->start_ms;
    if (flow->end_ms > totals->last_ms) totals->last_ms = flow->end_ms;
}

/** The header in front of the sets of v9 and IPFIX, or of the samples of sFlow; lengths and counts are filled in after. */
static uint8_t *open_datagram(const struct gen *gen, uint32_t index, int64_t now_ms, uint32_t flows, uint8_t *at)
{
    const struct exporter *exporter = &gen->exporters[index];
    struct weir_ip ip = gen_exporter_ip(index);
    switch (gen->conf.format) {
    case GEN_V5: return v5_header(gen, exporter, now_ms, flows, at);
    case GEN_V9:
        at = put32(at, 9u << 16);
        at = put32(at, (uint64_t)(now_ms - gen->conf.boot_ms));
        at = put32(at, (uint64_t)(now_ms / 1000));
        at = put32(at, exporter->sequence);
        return put32(at, 1);
    case GEN_IPFIX:
        at = put32(at, 10u << 16);
        at = put32(at, (uint64_t)(now_ms / 1000));
        at = put32(at, exporter->sequence);
        return put32(at, 1);
    case GEN_SFLOW:
        at = put32(at, 5);
        at = put32(at, 1);
        at = put_ip(at, &ip, false);
        at = put32(at, 0);
        at = put32(at, exporter->sequence);
        at = put32(at, (uint64_t)(now_ms - gen->conf.boot_ms));
        return put32(at, flows);
    }
    return at;
}

size_t gen_next(struct gen *gen, uint32_t index, int64_t now_ms, uint32_t flows, uint8_t out[GEN_DATAGRAM_BYTES],
                struct weir_flow made[GEN_MOST_FLOWS], uint32_t *count)
{
    struct exporter *exporter = &gen->exporters[index];
    enum gen_format format = gen->conf.format;
    bool templated = format == GEN_V9 || format == GEN_IPFIX;
    bool v6 = format != GEN_V5 && draw_below(gen, 100) < gen->conf.ipv6_percent;
    if (format == GEN_V9) now_ms -= now_ms % 1000; /* its header knows seconds only */

    const struct spec *specs = format == GEN_V9 ? v6 ? v9_v6 : v9_v4 : v6 ? ipfix_v6 : ipfix_v4;
    size_t each_bytes = format == GEN_V5      ? V5_RECORD
                        : format == GEN_SFLOW ? SFLOW_SAMPLE
                                              : record_bytes(specs, format == GEN_V9 ? V9_FIELDS : IPFIX_FIELDS);
    size_t header_bytes = format == GEN_V5      ? V5_HEADER
                          : format == GEN_SFLOW ? SFLOW_HEADER
                          : format == GEN_V9    ? 20
                                                : 16;
    uint8_t *at = out + header_bytes;
    bool teaches = templated && exporter->totals.datagrams % gen->conf.template_every == 0;
    if (teaches) at = templates(gen, at);
    uint8_t *set = at;
    if (templated) at += SET_HEADER;

    size_t room = (GEN_DATAGRAM_BYTES - (size_t)(at - out) - 3) / each_bytes; /* 3: padding of the set */
    if (flows > room) flows = (uint32_t)room;
    if (flows > GEN_MOST_FLOWS) flows = GEN_MOST_FLOWS;
    open_datagram(gen, index, now_ms, flows, out);

    for (uint32_t i = 0; i < flows; i++) {
        struct weir_flow flow = gen_flow(gen, now_ms, v6);
        if (format == GEN_SFLOW) as_sample(gen, &flow, now_ms);
        at = format == GEN_V5      ? v5_record(gen, &flow, at)
             : format == GEN_SFLOW ? sflow_sample(gen, exporter, &flow, v6, at)
                                   : templated_record(gen, &flow, v6, at);
        if (format == GEN_IPFIX) {
            flow.src_as = flow.dst_as = 0;
            flow.next_hop = (struct weir_ip){{0}};
        }
        flow.sampling_one_in = format == GEN_SFLOW && gen->conf.sampling == 0 ? 1 : gen->conf.sampling;
        add_up(&exporter->totals, &flow);
        if (made != NULL) made[i] = flow;
    }
    if (templated) {
        while (((size_t)(at - set) & 3) != 0)
            at = put8(at, 0);
        put16(set, v6 ? TEMPLATE_V6 : TEMPLATE_V4);
        put16(set + 2, (uint32_t)(at - set));
    }
    uint32_t options = teaches && gen->conf.sampling != 0;
    if (format == GEN_V9) put16(out + 2, flows + (teaches ? 2 + 2 * options : 0));
    if (format == GEN_IPFIX) put16(out + 2, (uint32_t)(at - out));
    exporter->sequence += format == GEN_V5 ? flows : format == GEN_IPFIX ? flows + options : 1;
    exporter->totals.datagrams++;
    if (count != NULL) *count = flows;
    return (size_t)(at - out);
}

void gen_again(const struct gen *gen, uint32_t exporter, uint8_t *datagram)
{
    static const uint8_t sequence_at[] = {[GEN_V5] = 16, [GEN_V9] = 12, [GEN_IPFIX] = 8};
    uint8_t *at = datagram + sequence_at[gen->conf.format];
    weir_store_u32be(at, weir_load_u32be(at) + gen->exporters[exporter].sequence);
}

const struct gen_totals *gen_totals_of(const struct gen *gen, uint32_t exporter)
{
    return &gen->exporters[exporter].totals;
}

struct gen_totals gen_totals_all(const struct gen *gen)
{
    struct gen_totals all = {0};
    for (uint32_t i = 0; i < gen->conf.exporters; i++) {
        const struct gen_totals *one = &gen->exporters[i].totals;
        all.flows += one->flows;
        all.packets += one->packets;
        all.bytes += one->bytes;
        all.datagrams += one->datagrams;
        if (one->first_ms != 0 && (all.first_ms == 0 || one->first_ms < all.first_ms)) all.first_ms = one->first_ms;
        if (one->last_ms > all.last_ms) all.last_ms = one->last_ms;
    }
    return all;
}
