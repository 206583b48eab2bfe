/**
 * Decoding: a datagram of an exporter becomes rows in the open batch of its source.
 *
 * Pure: no sockets, no clocks. A listener thread owns one decoder, which holds what its exporters taught it (templates,
 * sampling, sequence numbers), bounded by agent_decoder_conf; what a bound drops is counted. Nothing is allocated per
 * datagram: only templates, exporters and domains that are new allocate.
 *
 * netflow5.c NetFlow v1, v5 and v7; netflow9.c RFC 3954; ipfix.c RFC 7011; sflow5.c sFlow version 5 (sflow.org).
 */
#ifndef WEIR_AGENT_DECODE_DECODE_H
#define WEIR_AGENT_DECODE_DECODE_H

#include "agent/decode/count.h"
#include "agent/decode/packet.h"
#include "agent/decode/plan.h"
#include "agent/gather.h"
#include "common/base/buf.h"

/** What the operator says about the sampling of exporters; the first rule of each kind that matches decides. */
struct agent_sampling_rule {
    struct weir_prefix exporters;
    uint32_t one_in; /* 1: unsampled */
    bool overrides;  /* true: whatever the exporter says; false: only where it says nothing */
};

/** Where a decoder asks what exporters that are new to it taught before. */
struct agent_recall {
    /** Append to @out the entry that agent_decoder_learned wrote of @sender; nothing when it is unknown. */
    void (*recall)(void *ctx, const struct weir_ip *sender, struct weir_buf *out);
    void *ctx;
};

/** A template whose definition changed under its id. */
struct agent_template_change {
    struct weir_source source;
    uint32_t session;
    uint16_t id;
    const struct agent_spec *before;
    const struct agent_spec *after;
    uint16_t before_count;
    uint16_t after_count;
};

/** Who is told of what an operator may want to know. Lent for the call. */
struct agent_watch {
    /** Once for each template, however often it changes. */
    void (*template_changed)(void *ctx, const struct agent_template_change *change);
    void *ctx;
};

/** Write elements as "8:4 12:4 9.33000:var" (number or vendor.number, and bytes), at most @size with the end; returns @out. */
const char *agent_specs_format(const struct agent_spec *specs, size_t count, char *out, size_t size);

struct agent_decoder_conf {
    uint32_t most_exporters;         /* evicted: the one not heard for longest */
    uint32_t most_domains;           /* of one exporter */
    uint32_t most_templates;         /* of one exporter */
    uint32_t most_templates_all;     /* of all exporters */
    uint32_t most_fields;            /* of one template */
    uint32_t most_samplers;          /* of one exporter */
    size_t most_template_bytes;      /* memory of all templates */
    size_t most_parked_bytes;        /* data sets of all exporters that wait for their template */
    size_t most_parked_bytes_each;   /* of one exporter */
    uint32_t parked_ms;              /* how long one may wait */
    uint32_t most_data_sources;      /* of all sFlow agents */
    uint32_t most_data_sources_each; /* of one sub-agent */
    uint32_t template_expiry_ms;     /* over UDP, of an exporter that speaks but does not repeat it; 0 never */
    struct agent_recall recall;      /* what exporters taught an earlier decoder; NULLs: nothing */
    struct agent_watch watch;        /* NULLs: nobody does */
    enum agent_tunnels tunnels;      /* of sampled packets */
    bool sflow_by_sender;            /* the exporter of sFlow: its sender, not the agent that it names */
    const struct agent_sampling_rule *sampling; /* lent for the decoder's life */
    size_t sampling_count;
    struct agent_extras extras; /* the same */
};

#define AGENT_DECODER_DEFAULTS                                       \
    ((struct agent_decoder_conf){.most_exporters = 4096,             \
                                 .most_domains = 256,                \
                                 .most_templates = 1024,             \
                                 .most_templates_all = 16384,        \
                                 .most_fields = 256,                 \
                                 .most_samplers = 256,               \
                                 .most_template_bytes = 8u << 20,    \
                                 .most_parked_bytes = 4u << 20,      \
                                 .most_parked_bytes_each = 1u << 20, \
                                 .most_data_sources = 65536,         \
                                 .most_data_sources_each = 4096,     \
                                 .parked_ms = 300000,                \
                                 .template_expiry_ms = 1800000})

/**
 * Who sends a datagram or message: an exporter, by one transport session. Templates and sequence numbers are a matter
 * of sessions (RFC 7011 8, 3.1), all else of exporters.
 */
struct agent_peer {
    struct weir_ip ip;
    uint32_t session; /* UDP: the source port; else AGENT_SESSION_CONNECTION and a number of its own */
};

/** Marks sessions that end (TCP): their templates end with them, and are nobody else's. */
enum { AGENT_SESSION_CONNECTION = 1 << 30 };

struct agent_decoder;

/** A decoder that writes into streams of @gather, which must outlive it. WEIR_ENOMEM. */
int agent_decoder_create(const struct agent_decoder_conf *conf, struct agent_gather *gather,
                         struct agent_decoder **ret);

/** Forget all exporters: open batches are handed over, and so is what was lost of them. */
void agent_decoder_forget(struct agent_decoder *decoder);

/** Forgets first. */
void agent_decoder_destroy(struct agent_decoder *decoder);

/**
 * Decode one datagram or message of @peer that arrived at @received_ms (wall clock).
 *
 * Returns AGENT_REFUSAL_NONE, or why the datagram or a part of it could not be used; what came before the bad part is
 * kept. Everything is counted (agent_decoder_counts), and refusals travel as loss.undecodable with the source's next
 * batch, if the source was known.
 */
enum agent_refusal agent_decode(struct agent_decoder *decoder, const struct agent_peer *peer, struct weir_view datagram,
                                int64_t received_ms);

/** Was the source of the last datagram known when it was refused, so that the source's next batch tells of it? */
bool agent_decoder_refused_known(const struct agent_decoder *decoder);

/** The protocol that a datagram or message begins like. */
enum agent_protocol agent_protocol_of(struct weir_view datagram);

/** The connection of @peer was closed: forget what it taught. */
void agent_decoder_session_end(struct agent_decoder *decoder, const struct agent_peer *peer);

/**
 * Once a second or so: settles sequence gaps that nothing filled, lets go of data sets that waited too long, reports of
 * exporters that send no flows.
 */
void agent_decoder_tick(struct agent_decoder *decoder, int64_t now_ms);

/**
 * What exporters taught (templates, samplers, rates), as one entry per exporter, to outlive the decoder: learned.c says
 * how. Connections are left out: what they taught ends with them.
 */
void agent_decoder_learned(const struct agent_decoder *decoder, struct weir_buf *out);

/** Grows with everything that is learned: whoever keeps it need not look while it stands still. */
uint64_t agent_decoder_learned_version(const struct agent_decoder *decoder);

/** The first entry that agent_decoder_learned wrote into @bytes, and the exporter it is of. WEIR_ESHORT, WEIR_EFORMAT (damaged). */
int agent_learned_next(struct weir_cursor *bytes, struct weir_ip *sender, int64_t *heard_ms, struct weir_view *entry);

/** Our kernel dropped @datagrams of the listener's socket: shared out to the exporters that were heard last. */
void agent_decoder_socket_drops(struct agent_decoder *decoder, uint64_t datagrams);

/** What was counted since the decoder was made. */
const struct agent_decode_counts *agent_decoder_counts(const struct agent_decoder *decoder);

/** What the samples of an sFlow agent can be checked against. */
struct agent_sample_sums {
    uint64_t datagrams_lost; /* by their numbers */
    uint64_t taken;          /* flow samples, by their numbers */
    uint64_t pool;           /* packets that these were chosen among: the true sampling is one in pool / taken */
    uint64_t dropped;        /* samples that never left the exporter */
    uint64_t counted_octets; /* by the interface counters, of interfaces that are sampled */
    uint64_t sampled_octets; /* in the same time by their flow samples, scaled */
};

/** One (exporter, domain), for people. */
struct agent_exporter_stat {
    struct weir_source source;
    struct weir_ip sender;       /* who sent for it: mostly itself */
    enum weir_protocol protocol; /* of the last datagram */
    enum weir_sampling_origin sampling_origin;
    uint32_t sampling_one_in; /* of the last flow; 0 unknown */
    uint32_t templates;
    uint64_t datagrams;
    uint64_t flows;
    struct weir_loss loss; /* since the exporter was first heard */
    struct agent_sample_sums samples;
    int64_t last_heard_ms;
    int64_t last_export_ms;
    int64_t skew_ms; /* its clock, less ours: the median of the last half minute */
    bool has_skew;
};

/** Fill @out with up to @most domains, in no particular order; returns how many there are in all. */
size_t agent_decoder_exporters(const struct agent_decoder *decoder, struct agent_exporter_stat *out, size_t most);

#endif
