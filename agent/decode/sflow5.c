/**
 * sFlow version 5 (sflow.org/sflow_version_5.txt): flow samples, compact and expanded, and discarded packets
 * (sflow.org/sflow_drops.txt). Every count is bounded by the bytes that are left: each sample and record takes at
 * least its header of 8 bytes, or the reading ends.
 */
#include "agent/decode/decoder.h"
#include "agent/decode/packet.h"

enum { ADDRESS_IPV4 = 1, ADDRESS_IPV6 = 2 };
enum {
    SAMPLE_FLOW = 1,
    SAMPLE_COUNTERS = 2,
    SAMPLE_FLOW_EXPANDED = 3,
    SAMPLE_COUNTERS_EXPANDED = 4,
    SAMPLE_DISCARDED = 5,
};
enum {
    RECORD_HEADER = 1,
    RECORD_ETHERNET = 2,
    RECORD_IPV4 = 3,
    RECORD_IPV6 = 4,
    RECORD_SWITCH = 1001,
    RECORD_ROUTER = 1002,
    RECORD_GATEWAY = 1003,
};
enum { INTERFACE_SINGLE = 0, INTERFACE_DISCARDED = 1 }; /* 2: several, whose number the value is */

#define COLUMN(field) (1ull << WEIR_FIELD_##field)

/** What is being read. */
struct sample {
    struct weir_flow *flow; /* of the decoder, zero but for its times */
    uint64_t columns;
    bool has_packet; /* a record told how long it was */
    enum agent_tunnels tunnels;
};

/**
 * The forwarding status (RFC 7270 4.12) of a packet that was discarded for @reason: up to 255 a code of ICMP
 * destination unreachable, above one of sFlow's own.
 */
static uint8_t dropped_status(uint32_t reason)
{
    enum {
        UNKNOWN = 128,
        ACL_DENY = 129,
        ACL_DROP = 130,
        UNROUTABLE = 131,
        ADJACENCY = 132,
        FRAGMENTATION = 133,
        BAD_CHECKSUM = 134,
        BAD_TTL = 137,
        POLICER = 138,
        WRED = 139,
        RPF = 140,
        BAD_OUTPUT = 142,
        HARDWARE = 143,
    };
    switch (reason) {
    case 0: /* net, host, network and host unknown, for their type of service */
    case 1:
    case 6:
    case 7:
    case 11:
    case 12: return UNROUTABLE;
    case 4: return FRAGMENTATION;
    case 9: /* prohibited */
    case 10:
    case 13: return ACL_DENY;
    case 257: return BAD_TTL;
    case 258: return ACL_DROP;
    case 260: return WRED;
    case 261: return POLICER;
    case 262: return FRAGMENTATION; /* too big */
    case 269:                       /* black hole route */
    case 281: return UNROUTABLE;    /* not routable */
    case 279: return ADJACENCY;     /* neighbour not resolved */
    case 267:                       /* no port to send to */
    case 268: return BAD_OUTPUT;    /* the port it came from */
    case 275: return BAD_CHECKSUM;  /* IP header corrupted */
    case 280:                       /* reverse path, multicast, unicast, either */
    case 302:
    case 335: return RPF;
    case 259: /* no buffer space */
    case 287: return HARDWARE;
    default: return UNKNOWN;
    }
}

/** An address as (type, bytes); false for a type that there is none of. */
static bool read_address(struct weir_cursor *c, struct weir_ip *ip)
{
    static const uint8_t none[16];
    const uint8_t *bytes = none;
    switch (weir_cursor_u32(c)) {
    case 0: *ip = (struct weir_ip){{0}}; return !c->ran_out;
    case ADDRESS_IPV4:
        bytes = weir_cursor_take(c, 4);
        if (bytes != NULL) *ip = weir_ip_from_v4(bytes);
        return bytes != NULL;
    case ADDRESS_IPV6:
        bytes = weir_cursor_take(c, 16);
        if (bytes != NULL) *ip = weir_ip_from_v6(bytes);
        return bytes != NULL;
    default: return false;
    }
}

static void read_header(struct weir_cursor *c, struct sample *sample)
{
    uint32_t link = weir_cursor_u32(c);
    uint32_t frame_bytes = weir_cursor_u32(c);
    weir_cursor_skip(c, 4); /* stripped */
    uint32_t header_bytes = weir_cursor_u32(c);
    if (c->ran_out) return;
    sample->flow->bytes = frame_bytes;
    sample->has_packet = true;
    if (header_bytes > weir_cursor_left(c)) header_bytes = (uint32_t)weir_cursor_left(c);
    struct weir_view bytes = {.data = c->at, .size = header_bytes};
    sample->columns |= agent_packet_read((enum agent_link_layer)link, bytes, sample->tunnels, sample->flow);
}

static void read_ethernet(struct weir_cursor *c, struct sample *sample)
{
    uint32_t frame_bytes = weir_cursor_u32(c);
    uint64_t src_mac = weir_cursor_u64(c) >> 16; /* 6 bytes, padded to 8 */
    uint64_t dst_mac = weir_cursor_u64(c) >> 16;
    if (c->ran_out) return;
    if (!sample->has_packet) sample->flow->bytes = frame_bytes;
    sample->has_packet = true;
    sample->flow->src_mac = src_mac;
    sample->flow->dst_mac = dst_mac;
    sample->columns |= COLUMN(src_mac) | COLUMN(dst_mac);
}

static void read_ip(struct weir_cursor *c, bool v6, struct sample *sample)
{
    uint32_t packet_bytes = weir_cursor_u32(c);
    uint32_t proto = weir_cursor_u32(c);
    const uint8_t *src = weir_cursor_take(c, v6 ? 16 : 4);
    const uint8_t *dst = weir_cursor_take(c, v6 ? 16 : 4);
    uint32_t src_port = weir_cursor_u32(c);
    uint32_t dst_port = weir_cursor_u32(c);
    uint32_t tcp_flags = weir_cursor_u32(c);
    uint32_t tos = weir_cursor_u32(c);
    if (c->ran_out) return;
    struct weir_flow *flow = sample->flow;
    if (!sample->has_packet) flow->bytes = packet_bytes;
    sample->has_packet = true;
    if ((sample->columns & COLUMN(src_ip)) != 0) return; /* its header was sampled, too, and says more */
    flow->proto = (uint8_t)proto;
    flow->src_ip = v6 ? weir_ip_from_v6(src) : weir_ip_from_v4(src);
    flow->dst_ip = v6 ? weir_ip_from_v6(dst) : weir_ip_from_v4(dst);
    flow->src_port = (uint16_t)src_port;
    flow->dst_port = (uint16_t)dst_port;
    flow->tcp_flags = (uint16_t)tcp_flags;
    flow->tos = (uint8_t)tos;
    sample->columns |= COLUMN(proto) | COLUMN(src_ip) | COLUMN(dst_ip) | COLUMN(src_port) | COLUMN(dst_port) |
                       COLUMN(tcp_flags) | COLUMN(tos);
}

static void read_switch(struct weir_cursor *c, struct sample *sample)
{
    uint32_t src_vlan = weir_cursor_u32(c);
    weir_cursor_skip(c, 4); /* priority */
    uint32_t dst_vlan = weir_cursor_u32(c);
    if (c->ran_out) return;
    sample->flow->vlan_in = src_vlan < 4096 ? (uint16_t)src_vlan : 0;
    sample->flow->vlan_out = dst_vlan < 4096 ? (uint16_t)dst_vlan : 0;
    sample->columns |= COLUMN(vlan_in) | COLUMN(vlan_out);
}

static void read_router(struct weir_cursor *c, struct sample *sample)
{
    struct weir_ip next_hop;
    if (!read_address(c, &next_hop)) return;
    uint32_t src_mask = weir_cursor_u32(c);
    uint32_t dst_mask = weir_cursor_u32(c);
    if (c->ran_out) return;
    sample->flow->next_hop = next_hop;
    sample->flow->src_mask = (uint8_t)src_mask;
    sample->flow->dst_mask = (uint8_t)dst_mask;
    sample->columns |= COLUMN(next_hop) | COLUMN(src_mask) | COLUMN(dst_mask);
}

/** The AS path ends at the destination's AS; an empty one means that it is the router's own. */
static void read_gateway(struct weir_cursor *c, struct sample *sample)
{
    struct weir_ip next_hop;
    if (!read_address(c, &next_hop)) return;
    uint32_t own_as = weir_cursor_u32(c);
    uint32_t src_as = weir_cursor_u32(c);
    weir_cursor_skip(c, 4); /* source peer */
    uint32_t segments = weir_cursor_u32(c);
    uint32_t dst_as = own_as;
    for (uint32_t i = 0; i < segments && !c->ran_out; i++) {
        weir_cursor_skip(c, 4); /* set or sequence */
        uint32_t length = weir_cursor_u32(c);
        if (length > weir_cursor_left(c) / 4) return;
        const uint8_t *path = weir_cursor_take(c, (size_t)length * 4);
        if (path != NULL && length > 0) dst_as = weir_load_u32be(path + (size_t)(length - 1) * 4);
    }
    if (c->ran_out) return;
    sample->flow->src_as = src_as != 0 ? src_as : own_as;
    sample->flow->dst_as = dst_as;
    sample->columns |= COLUMN(src_as) | COLUMN(dst_as);
}

/** The records of a flow sample. A record that is cut loses only itself. False when one runs past the sample. */
static bool read_records(struct weir_cursor c, uint32_t count, struct sample *sample)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t tag = weir_cursor_u32(&c);
        uint32_t bytes = weir_cursor_u32(&c);
        struct weir_cursor record = weir_cursor_sub(&c, bytes);
        if (c.ran_out) return false;
        switch (tag) {
        case RECORD_HEADER: read_header(&record, sample); break;
        case RECORD_ETHERNET: read_ethernet(&record, sample); break;
        case RECORD_IPV4: read_ip(&record, false, sample); break;
        case RECORD_IPV6: read_ip(&record, true, sample); break;
        case RECORD_SWITCH: read_switch(&record, sample); break;
        case RECORD_ROUTER: read_router(&record, sample); break;
        case RECORD_GATEWAY: read_gateway(&record, sample); break;
        default: break;
        }
    }
    return true;
}

/** An interface as (format, value): in one word, or in two in expanded samples. */
struct interface {
    uint32_t format;
    uint32_t value;
};

static struct interface read_interface(struct weir_cursor *c, bool expanded)
{
    uint32_t word = weir_cursor_u32(c);
    if (expanded) return (struct interface){word, weir_cursor_u32(c)};
    return (struct interface){word >> 30, word & 0x3fffffff};
}

/** Its index, unless it says "discarded", "several" or "the device itself". */
static uint32_t index_of(struct interface interface)
{
    enum { INTERNAL = 0x3fffffff, INTERNAL_EXPANDED = 0xffffffff };
    bool internal = interface.value == INTERNAL || interface.value == INTERNAL_EXPANDED;
    return interface.format != INTERFACE_SINGLE || internal ? 0 : interface.value;
}

static void set_dropped(struct sample *sample, uint32_t reason)
{
    sample->flow->forwarding_status = dropped_status(reason);
    sample->flow->drop_reason = reason < UINT16_MAX ? (uint16_t)reason : UINT16_MAX;
    sample->columns |= COLUMN(forwarding_status) | COLUMN(drop_reason);
}

static const uint64_t sample_columns =
    COLUMN(packets) | COLUMN(bytes) | COLUMN(if_in) | COLUMN(if_out) | COLUMN(start_ms) | COLUMN(end_ms);

/** Where a sample comes from, as (type, index): in one word, or in two in expanded samples. */
static void read_source(struct weir_cursor *c, bool expanded, struct agent_sample_head *head)
{
    uint32_t word = weir_cursor_u32(c);
    head->source_type = expanded ? word : word >> 24;
    head->source_index = expanded ? weir_cursor_u32(c) : word & 0xffffff;
}

static bool read_flow_sample(struct weir_cursor *c, bool expanded, struct agent_sample_head *head,
                             struct sample *sample)
{
    head->sequence = weir_cursor_u32(c);
    read_source(c, expanded, head);
    uint32_t rate = weir_cursor_u32(c);
    head->pool = weir_cursor_u32(c);
    head->drops = weir_cursor_u32(c);
    struct interface input = read_interface(c, expanded);
    struct interface output = read_interface(c, expanded);
    uint32_t records = weir_cursor_u32(c);
    if (c->ran_out) return false;

    sample->flow->packets = 1;
    sample->flow->if_in = index_of(input);
    sample->flow->if_out = index_of(output);
    sample->flow->sampling_one_in = rate;
    sample->columns = sample_columns;
    if (output.format == INTERFACE_DISCARDED) {
        set_dropped(sample, output.value);
    }
    return read_records(*c, records, sample);
}

/** Every discarded packet is told of, up to a limit of the exporter's: unsampled. */
static bool read_discarded(struct weir_cursor *c, struct agent_sample_head *head, struct sample *sample)
{
    head->sequence = weir_cursor_u32(c);
    read_source(c, true, head);
    head->drops = weir_cursor_u32(c);
    uint32_t input = weir_cursor_u32(c);
    uint32_t output = weir_cursor_u32(c);
    uint32_t reason = weir_cursor_u32(c);
    uint32_t records = weir_cursor_u32(c);
    if (c->ran_out) return false;

    sample->flow->packets = 1;
    sample->flow->if_in = input;
    sample->flow->if_out = output;
    sample->flow->sampling_one_in = 1;
    sample->columns = sample_columns;
    set_dropped(sample, reason);
    return read_records(*c, records, sample);
}

/** The octets of the interface that a counter sample is about, if it holds them. False when a record runs past it. */
static bool read_counters(struct agent_decoder *decoder, struct agent_domain *domain, struct weir_cursor *c,
                          bool expanded)
{
    enum { GENERIC = 1, BEFORE_IN_BYTES = 24, BETWEEN_BYTES = 24 };
    struct agent_sample_head head = {.sequence = weir_cursor_u32(c)};
    read_source(c, expanded, &head);
    uint32_t records = weir_cursor_u32(c);
    for (uint32_t i = 0; i < records; i++) {
        uint32_t tag = weir_cursor_u32(c);
        uint32_t bytes = weir_cursor_u32(c);
        struct weir_cursor record = weir_cursor_sub(c, bytes);
        if (c->ran_out) return false;
        if (tag != GENERIC) continue;
        weir_cursor_skip(&record, BEFORE_IN_BYTES); /* index, type, speed, duplex, status */
        uint64_t in_octets = weir_cursor_u64(&record);
        weir_cursor_skip(&record, BETWEEN_BYTES); /* packets, discards, errors */
        uint64_t out_octets = weir_cursor_u64(&record);
        bool known = in_octets != UINT64_MAX && out_octets != UINT64_MAX;
        if (!record.ran_out && known) agent_samples_counters(decoder, domain, &head, in_octets, out_octets);
    }
    return !c->ran_out;
}

/** The sampling of a sample is its own, unless the operator knows better; discarded packets are all told of. */
static uint64_t set_sampling(struct agent_domain *domain, bool discarded, struct weir_flow *flow)
{
    struct agent_rate rate = {flow->sampling_one_in, WEIR_SAMPLING_RECORD};
    bool overruled = domain->rate.origin == WEIR_SAMPLING_OPERATOR && !discarded;
    if (rate.one_in == 0 || overruled) rate = domain->rate;
    flow->sampling_one_in = rate.one_in;
    flow->sampling_origin = (uint8_t)rate.origin;
    if (!discarded) domain->last = rate;
    return COLUMN(sampling_one_in) | COLUMN(sampling_origin);
}

/** Read a flow sample or a discarded packet. False when a record runs past it; what was read before is there. */
static bool read_sample(struct agent_decoder *decoder, struct agent_domain *domain, struct weir_cursor *c, uint32_t tag,
                        struct sample *sample)
{
    struct agent_sample_head head = {0};
    int64_t now_ms = sample->flow->end_ms;
    bool discarded = tag == SAMPLE_DISCARDED;
    bool whole =
        discarded ? read_discarded(c, &head, sample) : read_flow_sample(c, tag == SAMPLE_FLOW_EXPANDED, &head, sample);
    if (sample->columns == 0) return false; /* cut in its head */
    sample->columns |= set_sampling(domain, discarded, sample->flow);
    if (discarded)
        agent_samples_discard(decoder, domain, &head, now_ms);
    else
        agent_samples_flow(decoder, domain, &head, sample->flow, now_ms);
    return whole;
}

/** Blank flows for the next samples: cheaper all at once than one by one. */
static void blank_flows(struct agent_decoder *decoder, const struct weir_cursor *c, uint32_t count)
{
    enum { SAMPLE_LEAST_BYTES = 8 };
    size_t most = weir_cursor_left(c) / SAMPLE_LEAST_BYTES;
    if (most > count) most = count;
    if (most > AGENT_FLOWS) most = AGENT_FLOWS;
    memset(decoder->flows, 0, most * sizeof *decoder->flows);
}

static enum agent_refusal decode_samples(struct agent_decoder *decoder, struct agent_domain *domain,
                                         struct weir_cursor *c, uint32_t count, const struct agent_gather_note *note)
{
    enum agent_refusal refusal = AGENT_REFUSAL_NONE;
    uint64_t columns = 0;
    uint32_t flows = 0;
    blank_flows(decoder, c, count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t tag = weir_cursor_u32(c);
        uint32_t bytes = weir_cursor_u32(c);
        struct weir_cursor body = weir_cursor_sub(c, bytes);
        if (c->ran_out) {
            refusal = AGENT_REFUSAL_truncated;
            break;
        }
        struct sample sample = {.flow = &decoder->flows[flows], .tunnels = decoder->conf.tunnels};
        sample.flow->start_ms = sample.flow->end_ms = note->received_ms;
        bool whole = true;
        switch (tag) {
        case SAMPLE_COUNTERS:
        case SAMPLE_COUNTERS_EXPANDED:
            agent_count(decoder, AGENT_INPUT_samples_counter, 1);
            if (!read_counters(decoder, domain, &body, tag == SAMPLE_COUNTERS_EXPANDED)) refusal = AGENT_REFUSAL_record;
            continue;
        case SAMPLE_FLOW:
        case SAMPLE_FLOW_EXPANDED:
        case SAMPLE_DISCARDED: whole = read_sample(decoder, domain, &body, tag, &sample); break;
        default: break;
        }
        if (!whole) refusal = AGENT_REFUSAL_record;
        if (!sample.has_packet) {
            agent_count(decoder, AGENT_INPUT_samples_unknown, 1);
            *sample.flow = (struct weir_flow){0};
            continue;
        }
        columns |= sample.columns;
        if (++flows == AGENT_FLOWS) {
            agent_flows_append(decoder, domain, decoder->flows, flows, columns, note);
            flows = 0;
            columns = 0;
            blank_flows(decoder, c, count - i - 1);
        }
    }
    if (flows > 0) agent_flows_append(decoder, domain, decoder->flows, flows, columns, note);
    return refusal;
}

/**
 * Does an address tell one exporter from others? Not those that every host has: unset, loopback, link-local, multicast.
 */
static bool names_an_exporter(const struct weir_ip *ip)
{
    static const uint8_t zeros[15] = {0};
    const uint8_t *b = ip->bytes;
    if (weir_ip_is_v4(ip)) {
        bool link_local = b[12] == 169 && b[13] == 254;
        return b[12] != 0 && b[12] != 127 && b[12] < 224 && !link_local;
    }
    bool link_local = b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
    return memcmp(b, zeros, sizeof zeros) != 0 && b[0] != 0xff && !link_local;
}

enum agent_refusal agent_sflow5_decode(struct agent_decoder *decoder, const struct weir_ip *exporter,
                                       struct weir_view datagram, int64_t received_ms)
{
    struct weir_cursor c = weir_cursor_of(datagram);
    struct weir_ip agent;
    weir_cursor_skip(&c, 4);
    if (!read_address(&c, &agent)) return c.ran_out ? AGENT_REFUSAL_short : AGENT_REFUSAL_address;
    uint32_t sub_agent = weir_cursor_u32(&c);
    uint32_t sequence = weir_cursor_u32(&c);
    struct agent_clock clock = {.uptime_ms = weir_cursor_u32(&c), .has_uptime = true};
    uint32_t samples = weir_cursor_u32(&c);
    if (c.ran_out) return AGENT_REFUSAL_short;

    enum agent_refusal refusal = AGENT_REFUSAL_NONE;
    bool by_sender = decoder->conf.sflow_by_sender || !names_an_exporter(&agent);
    struct agent_domain *domain = agent_domain_enter_as(decoder, exporter, by_sender ? exporter : &agent,
                                                        AGENT_PROTOCOL_sflow5, sub_agent, received_ms, &refusal);
    if (domain == NULL) return refusal;
    if (agent_repeats_take(&domain->repeats, sequence, datagram)) return agent_domain_repeat(decoder, domain, datagram);

    struct agent_gather_note note = {WEIR_PROTOCOL_SFLOW5, received_ms, 0}; /* it has no wall clock */
    struct agent_order order = {.first = sequence, .units = 1, .clock = clock.uptime_ms, .now_ms = received_ms};
    bool gap = domain->sequence.known && (int32_t)(sequence - domain->sequence.next) > 0;
    enum agent_arrival arrival = agent_domain_order(decoder, domain, &order, &clock);
    agent_samples_datagram(decoder, domain, gap, arrival);
    refusal = decode_samples(decoder, domain, &c, samples, &note);
    if (refusal != AGENT_REFUSAL_NONE) agent_domain_refuse(decoder, domain, refusal, datagram);
    return refusal;
}
