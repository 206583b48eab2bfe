/**
 * Inside the decoder: what it knows of its exporters, and what the protocols share. Only files of agent/decode read
 * this.
 */
#ifndef WEIR_AGENT_DECODE_DECODER_H
#define WEIR_AGENT_DECODE_DECODER_H

#include "agent/decode/decode.h"
#include "agent/decode/link.h"
#include "agent/decode/plan.h"
#include "agent/decode/repeat.h"
#include "agent/decode/sequence.h"

enum { AGENT_TEMPLATE_BUCKETS = 16, AGENT_FLOWS = 64, AGENT_WITHDRAWN = 16, AGENT_EXPIRY_MS = 10000 };

/** A sampling rate and where it was learned. */
struct agent_rate {
    uint32_t one_in; /* 0 unknown */
    enum weir_sampling_origin origin;
};

/** What options data said of a sampler or selector of a domain. */
struct agent_sampler {
    enum agent_protocol protocol;
    uint32_t domain;
    uint64_t id;
    uint32_t one_in;
};

/** A template of a domain, of flows or of options. */
struct agent_template {
    struct agent_template *next; /* in its bucket */
    struct agent_link by_age;    /* of all templates */
    struct agent_link by_age_exporter;
    struct agent_domain *domain;
    uint16_t id;
    bool is_options;
    bool used;            /* since it was last considered for eviction */
    bool change_told;     /* that it was another template before */
    uint32_t unseen_ms;   /* time that its exporter spoke without repeating it */
    uint16_t scope_count; /* of options: so many of the specs come first */
    uint16_t spec_count;
    struct agent_spec *specs;
    struct agent_plan plan;
    size_t bytes; /* of memory, all in all */
};

/** A source: an observation domain, v9 source id, v5 engine or sFlow sub-agent, speaking one protocol in one session. */
struct agent_domain {
    struct agent_domain *next; /* of the exporter; last used first */
    struct agent_exporter *exporter;
    struct agent_stream *stream;
    struct weir_ip ip; /* what flows name as their exporter: the sender, or the agent in an sFlow datagram */
    enum agent_protocol protocol;
    uint32_t id;
    uint32_t session; /* of the exporter (struct agent_peer) */
    bool any_session; /* its ports mean nothing: this one is for all of them */
    int64_t first_heard_ms;
    struct agent_template *templates[AGENT_TEMPLATE_BUCKETS];
    uint32_t template_count;
    uint32_t parked_count;
    uint16_t withdrawn[AGENT_WITHDRAWN]; /* ids of templates, the last; 0 none */
    uint8_t withdrawn_next;

    struct agent_samples *samples; /* sFlow, once heard */
    struct agent_sequence sequence;
    struct agent_repeats repeats;
    struct agent_numbering numbering; /* IPFIX */
    uint32_t uptime_ms;               /* in the last datagram */
    int64_t boot_ms;                  /* IPFIX: systemInitTimeMilliseconds from options; 0 unknown */

    uint32_t override_one_in; /* by the operator's rules; 0 none */
    uint32_t default_one_in;
    struct agent_rate rate; /* of flows that say nothing themselves */
    uint32_t wide_one_in;   /* options data for the whole domain; 0 none */
    struct agent_rate last; /* of the last flow */

    uint64_t datagrams;
    uint64_t records; /* flows and options records */
    uint64_t flows;
    struct weir_loss loss;
    int64_t heard_ms;
    int64_t export_ms;
};

enum { AGENT_SKEWS = 31 };

/** How far a clock is from ours: the export time of one datagram a second, less the time it came at. */
struct agent_skew {
    int64_t ms[AGENT_SKEWS]; /* the last */
    uint32_t taken;
    int64_t heard_ms; /* of the last datagram that was taken */
    int64_t median_ms;
};

/** A sender. */
struct agent_exporter {
    struct agent_exporter *next; /* in its bucket */
    struct agent_link by_age;    /* of all exporters */
    struct weir_ip ip;
    struct agent_domain *domains;
    struct agent_skew skew;
    uint32_t domain_count;
    struct agent_link templates; /* of all its domains, by age */
    uint32_t template_count;
    struct agent_link parked; /* of all its domains, by age */
    size_t parked_bytes;
    struct agent_sampler *samplers;
    uint32_t sampler_count;
    uint32_t sampler_capacity;
    uint32_t wide_one_in; /* options data for the whole of any domain, the last heard; 0 none */
};

/** A data set that waits for its template. */
struct agent_parked {
    struct agent_link by_age; /* of all */
    struct agent_link by_age_exporter;
    struct agent_domain *domain;
    struct agent_gather_note note;
    struct agent_clock clock;
    uint16_t id;
    uint32_t size;
    uint8_t bytes[];
};

struct agent_decoder {
    struct agent_decoder_conf conf;
    struct agent_gather *gather;
    struct agent_decode_counts counts;
    uint32_t session;   /* of the datagram that is being decoded */
    bool blamed;        /* a domain, for what is refused of the datagram that is being decoded */
    bool refused_known; /* was one, for the last datagram that was refused */
    uint64_t learned_version;
    int64_t next_expiry_ms;

    struct agent_exporter **buckets;
    uint32_t bucket_mask;
    uint32_t exporter_count;
    struct agent_link exporters; /* the one heard last comes last */

    struct agent_link templates;
    uint32_t template_count;
    size_t template_bytes;
    struct agent_link parked;
    size_t parked_bytes;
    uint32_t data_source_count; /* of all domains */

    struct agent_spec *specs;                       /* most_fields: the template that is being read */
    uint16_t where[AGENT_OPS][AGENT_ROWS_VARIABLE]; /* the records of variable length that are being read */
    struct weir_flow flows[AGENT_FLOWS];            /* the samples that are being read */
    struct agent_plan netflow1;
    struct agent_plan netflow5;
    struct agent_plan netflow7;
};

static inline void agent_count(struct agent_decoder *decoder, enum agent_input_count what, uint64_t n)
{
    decoder->counts.n[what] += n;
}

/* ---- exporter.c: exporters and their domains ---- */

/** A new domain of an exporter, in the session decoder->session. NULL without memory. */
struct agent_domain *agent_domain_make(struct agent_decoder *decoder, struct agent_exporter *exporter,
                                       const struct weir_ip *named, enum agent_protocol protocol, uint32_t id);

/**
 * The domain of a datagram whose header was read, exporter and all, made when new; evicts the exporter not heard for
 * longest. NULL, with *refusal saying why.
 */
struct agent_domain *agent_domain_enter(struct agent_decoder *decoder, const struct weir_ip *ip,
                                        enum agent_protocol protocol, uint32_t id, int64_t received_ms,
                                        enum agent_refusal *refusal);

/** As above, for a sender @ip whose flows name another exporter: itself, or the one that it speaks for. */
struct agent_domain *agent_domain_enter_as(struct agent_decoder *decoder, const struct weir_ip *ip,
                                           const struct weir_ip *named, enum agent_protocol protocol, uint32_t id,
                                           int64_t received_ms, enum agent_refusal *refusal);

void agent_exporter_forget(struct agent_decoder *decoder, struct agent_exporter *exporter);

/** Forget one domain of an exporter: gives up what is parked, settles its sequence, hands its open batch over. */
void agent_domain_forget(struct agent_decoder *decoder, struct agent_domain *domain);

/** Add to the domain's losses: those that travel, those that are shown, those that are counted. */
void agent_domain_lose(struct agent_decoder *decoder, struct agent_domain *domain, const struct weir_loss *loss);

/** A datagram of the domain came before as it is: tell of it, and decode it no more. Returns AGENT_REFUSAL_NONE. */
enum agent_refusal agent_domain_repeat(struct agent_decoder *decoder, struct agent_domain *domain,
                                       struct weir_view datagram);

/** A datagram or set of the domain was refused, or a part of it. */
void agent_domain_refuse(struct agent_decoder *decoder, struct agent_domain *domain, enum agent_refusal refusal,
                         struct weir_view bytes);

/** A data set (the bytes after its header) has no template, for this reason: it is lost. */
void agent_domain_miss(struct agent_decoder *decoder, struct agent_domain *domain, enum weir_drop_reason reason,
                       uint16_t id, struct weir_view body, int64_t received_ms);

/** The count of the domain's datagrams begins anew: what is open in it is lost. */
void agent_domain_restart(struct agent_decoder *decoder, struct agent_domain *domain);

/**
 * Account for a datagram's place in the sequence, and for the exporter's uptime (0: the protocol has none). A restart
 * seen by either is one.
 */
enum agent_arrival agent_domain_order(struct agent_decoder *decoder, struct agent_domain *domain,
                                      const struct agent_order *said, const struct agent_clock *clock);

/** Compare the clock of the exporter with ours, once a second. */
void agent_skew_take(struct agent_exporter *exporter);

/** Say what is known of the domain, all of its sessions together, to go with its next batches. */
void agent_domain_describe(struct agent_domain *domain);

/** Count gaps that stayed open for too long as lost. */
void agent_domain_settle(struct agent_decoder *decoder, struct agent_domain *domain, int64_t now_ms);

/* ---- session.c: an exporter's sessions ---- */

/** Are both the same domain of an exporter, by the same or by different sessions? */
static inline bool agent_domain_same(const struct agent_domain *a, const struct agent_domain *b)
{
    return a->id == b->id && a->protocol == b->protocol && weir_ip_equal(&a->ip, &b->ip);
}

/** Another session's domain that is the same, or NULL. */
struct agent_domain *agent_session_other(const struct agent_domain *domain);

/** Does what comes by @session belong to the domain? */
static inline bool agent_session_is(const struct agent_domain *domain, uint32_t session)
{
    return domain->session == session || domain->any_session;
}

/**
 * The domain that a new UDP session of (protocol, id) takes over, because the exporter has had so many: the one not
 * heard for longest, or the one that serves all from now on. NULL: it is to have its own.
 */
struct agent_domain *agent_session_succeed(struct agent_decoder *decoder, struct agent_exporter *exporter,
                                           enum agent_protocol protocol, uint32_t id, int64_t now_ms);

/**
 * Learn template @id of @domain from a session of the same exporter that fell silent before this one began, for a data
 * set of @bytes. NULL: there is none.
 */
struct agent_template *agent_session_inherit(struct agent_decoder *decoder, struct agent_domain *domain, uint16_t id,
                                             size_t bytes, int64_t now_ms);

/* ---- learned.c ---- */

/** Teach the decoder what it knew of a new exporter before. */
void agent_learned_recall(struct agent_decoder *decoder, struct agent_exporter *exporter);

/* ---- sampling.c ---- */

/**
 * One packet in how many, by packet interval and space (RFC 5477 8.2): @interval packets are taken, then @space are not.
 * An interval without a space is the rate itself: IANA puts it in the place of element 34. @interval is not 0.
 */
double agent_sampling_of_interval(uint64_t interval, uint64_t space, bool has_space);

/** Work out domain->rate anew for all domains of the exporter. */
void agent_sampling_resolve(struct agent_exporter *exporter);

/** Options data: @one_in for the sampler @id of @domain, or (NULL) for all of it. */
void agent_sampling_learn(struct agent_decoder *decoder, struct agent_domain *domain, const uint64_t *id,
                          uint32_t one_in);

/** Forget the samplers of a domain whose last session goes. */
void agent_sampling_forget(struct agent_domain *domain);

/** Write the sampling columns of @rows; returns the columns written, 0 when nothing is known of any row. */
uint64_t agent_sampling_run(struct agent_domain *domain, const struct agent_plan *plan, const struct agent_rows *rows,
                            struct weir_batch *batch);

/** Write one rate for @count rows. Returns the columns written. */
uint64_t agent_sampling_fill(struct weir_batch *batch, uint32_t count, struct agent_rate rate);

/* ---- template.c ---- */

struct agent_template *agent_template_find(struct agent_domain *domain, uint16_t id);

/** What a template is, beside its elements. */
struct agent_template_head {
    uint16_t id;
    uint16_t scope_count;
    bool is_options;
};

/**
 * Learn a template of the @spec_count elements in decoder->specs, or see that it is known; @as counts it when it is
 * new. WEIR_EFORMAT, WEIR_ENOMEM. Data sets that waited for it are decoded.
 */
int agent_template_learn(struct agent_decoder *decoder, struct agent_domain *domain,
                         const struct agent_template_head *head, size_t spec_count, enum agent_input_count as);

/** Was the template withdrawn, and not sent again? */
bool agent_template_is_withdrawn(const struct agent_domain *domain, uint16_t id);

/** Forget templates that their exporters do not repeat; call it every AGENT_EXPIRY_MS. */
void agent_template_expire(struct agent_decoder *decoder, int64_t now_ms);

/** Withdraw one template, or (id 0) all of the domain's that are options or not. */
void agent_template_withdraw(struct agent_decoder *decoder, struct agent_domain *domain, uint16_t id, bool is_options);

void agent_template_forget(struct agent_decoder *decoder, struct agent_template *template);

/** Give all templates of @from to @to, but for those of which it has its own. */
void agent_template_move(struct agent_decoder *decoder, struct agent_domain *from, struct agent_domain *to);

/* ---- tail.c ---- */

/** What the values for extra columns take in a batch. */
size_t agent_tail_bytes(const struct agent_plan *plan, const struct agent_rows *rows);

/** Run the ops from plan->tail_at on, behind all others; returns the columns written. */
uint64_t agent_tail_run(struct agent_decoder *decoder, struct agent_domain *domain, const struct agent_plan *plan,
                        const struct agent_rows *rows, const struct agent_clock *clock, struct weir_batch *batch);

/* ---- lists.c ---- */

/** Write what the lists of the records say into columns that no element has; returns those written. */
uint64_t agent_lists_run(struct agent_decoder *decoder, struct agent_domain *domain, const struct agent_plan *plan,
                         const struct agent_rows *rows, const struct agent_clock *clock, struct weir_batch *batch);

/* ---- set.c: data sets of v9 and IPFIX ---- */

/**
 * Decode a data set. Adds the data records to *records; a set without template is parked and makes *uncertain true.
 * Returns a refusal when a record runs past the set.
 */
enum agent_refusal agent_set_decode(struct agent_decoder *decoder, struct agent_domain *domain, uint16_t id,
                                    struct weir_view body, const struct agent_gather_note *note,
                                    const struct agent_clock *clock, uint64_t *records, bool *uncertain);

/** Decode the rows of a plan into the domain's stream. @rate NULL: sampling as the plan and the domain know it. */
void agent_rows_decode(struct agent_decoder *decoder, struct agent_domain *domain, const struct agent_plan *plan,
                       const struct agent_rows *rows, const struct agent_gather_note *note,
                       const struct agent_clock *clock, const struct agent_rate *rate);

/** Append @count flows as rows; those of @columns that are zero everywhere need not be there. */
void agent_flows_append(struct agent_decoder *decoder, struct agent_domain *domain, const struct weir_flow *flows,
                        uint32_t count, uint64_t columns, const struct agent_gather_note *note);

/* ---- specs.c: templates as they stand in v9 and IPFIX ---- */

enum { AGENT_ENTERPRISE_SCOPE = 0xffffffff }; /* marks a scope of v9, which is no element */

/** Read all templates of a set. The first refusal, after which the rest of the set is skipped. */
enum agent_refusal agent_specs_netflow9(struct agent_decoder *decoder, struct agent_domain *domain,
                                        struct weir_view body, bool options);
enum agent_refusal agent_specs_ipfix(struct agent_decoder *decoder, struct agent_domain *domain, struct weir_view body,
                                     bool options);

/* ---- samples.c: the data sources of sFlow agents ---- */

/** What stands at the head of a sample. */
struct agent_sample_head {
    uint32_t sequence;
    uint32_t source_type;
    uint32_t source_index;
    uint32_t pool;
    uint32_t drops;
};

/** A datagram begins: @gap, its number says that some are missing before it. */
void agent_samples_datagram(struct agent_decoder *decoder, struct agent_domain *domain, bool gap,
                            enum agent_arrival arrival);

/** A flow sample, a discarded packet, the octets of an interface. */
void agent_samples_flow(struct agent_decoder *decoder, struct agent_domain *domain,
                        const struct agent_sample_head *head, const struct weir_flow *flow, int64_t now_ms);
void agent_samples_discard(struct agent_decoder *decoder, struct agent_domain *domain,
                           const struct agent_sample_head *head, int64_t now_ms);
void agent_samples_counters(struct agent_decoder *decoder, struct agent_domain *domain,
                            const struct agent_sample_head *head, uint64_t in_octets, uint64_t out_octets);

/** Count samples that were missing for too long as lost. */
void agent_samples_settle(struct agent_decoder *decoder, struct agent_domain *domain, int64_t now_ms);

/** @units more datagrams are lost; what they held is counted by the samples' own numbers. */
void agent_samples_lose_datagrams(struct agent_decoder *decoder, struct agent_domain *domain, uint64_t units);

struct agent_sample_sums agent_samples_sums(const struct agent_domain *domain);

/** Counts what is missing as lost. */
void agent_samples_destroy(struct agent_decoder *decoder, struct agent_domain *domain);

/* ---- options.c ---- */

void agent_options_record(struct agent_decoder *decoder, struct agent_domain *domain,
                          const struct agent_template *template, struct weir_cursor *record);

/* ---- park.c ---- */

/** Keep a data set for later, or give it up. */
void agent_park(struct agent_decoder *decoder, struct agent_domain *domain, uint16_t id, struct weir_view body,
                const struct agent_gather_note *note, const struct agent_clock *clock);

/** Decode what waited for template @id. */
void agent_park_replay(struct agent_decoder *decoder, struct agent_domain *domain, uint16_t id);

/** What waits for templates of @from waits for those of @to. */
void agent_park_move(struct agent_domain *from, struct agent_domain *to);

/** Give up what waited for too long. */
void agent_park_expire(struct agent_decoder *decoder, int64_t now_ms);

/** Give up all of the domain's. */
void agent_park_give_up(struct agent_decoder *decoder, const struct agent_domain *domain);

/* ---- the protocols: a whole datagram each, whose version was seen ---- */

int agent_netflow5_plans(struct agent_decoder *decoder);

enum agent_refusal agent_netflow1_decode(struct agent_decoder *decoder, const struct weir_ip *exporter,
                                         struct weir_view datagram, int64_t received_ms);
enum agent_refusal agent_netflow5_decode(struct agent_decoder *decoder, const struct weir_ip *exporter,
                                         struct weir_view datagram, int64_t received_ms, bool v7);
enum agent_refusal agent_netflow9_decode(struct agent_decoder *decoder, const struct weir_ip *exporter,
                                         struct weir_view datagram, int64_t received_ms);
enum agent_refusal agent_ipfix_decode(struct agent_decoder *decoder, const struct weir_ip *exporter,
                                      struct weir_view datagram, int64_t received_ms);
enum agent_refusal agent_sflow5_decode(struct agent_decoder *decoder, const struct weir_ip *exporter,
                                       struct weir_view datagram, int64_t received_ms);

#endif
