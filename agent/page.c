#include "agent/page.h"

#include "common/flow/json_writer.h"

static void key_ip(struct json_writer *json, const char *key, const struct weir_ip *ip)
{
    char text[WEIR_IP_TEXT];
    jsonw_key_text(json, key, weir_ip_format(ip, text));
}

/** What an sFlow agent's samples can be checked with: the rate by its pool, the volume by its interface counters. */
static void print_samples(struct json_writer *json, const struct agent_sample_sums *sums)
{
    jsonw_key(json, "samples");
    jsonw_begin_object(json);
    jsonw_key_u64(json, "datagrams_lost", sums->datagrams_lost);
    jsonw_key_u64(json, "dropped", sums->dropped);
    jsonw_key_u64(json, "taken", sums->taken);
    jsonw_key_u64(json, "pool", sums->pool);
    jsonw_key_u64(json, "counted_octets", sums->counted_octets);
    jsonw_key_u64(json, "sampled_octets", sums->sampled_octets);
    jsonw_end_object(json);
}

static void print_exporter(struct json_writer *json, const struct agent_exporter_stat *stat)
{
    jsonw_begin_object(json);
    key_ip(json, "exporter", &stat->source.exporter);
    jsonw_key_u64(json, "domain", stat->source.domain);
    key_ip(json, "sender", &stat->sender);
    jsonw_key_text(json, "protocol", weir_protocol_name(stat->protocol));
    jsonw_key_time(json, "heard", stat->last_heard_ms);
    if (stat->last_export_ms != 0) jsonw_key_time(json, "exported", stat->last_export_ms);
    jsonw_key_u64(json, "datagrams", stat->datagrams);
    jsonw_key_u64(json, "flows", stat->flows);
    jsonw_key_u64(json, "templates", stat->templates);
    if (stat->has_skew) {
        jsonw_key(json, "clock_skew_ms");
        jsonw_i64(json, stat->skew_ms);
    }
    jsonw_key_u64(json, "sampling", stat->sampling_one_in);
    jsonw_key_text(json, "sampling_origin", weir_sampling_origin_name(stat->sampling_origin));
    jsonw_key(json, "lost");
    jsonw_begin_object(json);
    jsonw_key_u64(json, "sequence", stat->loss.sequence_lost);
    jsonw_key_u64(json, "template_missing", stat->loss.template_missing);
    jsonw_key_u64(json, "undecodable", stat->loss.undecodable);
    jsonw_key_u64(json, "socket_drops", stat->loss.socket_drops);
    jsonw_end_object(json);
    if (stat->protocol == WEIR_PROTOCOL_SFLOW5) print_samples(json, &stat->samples);
    jsonw_end_object(json);
}

/** Nothing that a decoder refuses: it never saw it. */
static const struct weir_drop_info *reason_of(enum agent_refusal refusal)
{
    return weir_drop_info(agent_refused_reason(refusal));
}

static void print_example(struct json_writer *json, const struct agent_refused *refused)
{
    static const char digits[] = "0123456789abcdef";
    char head[2 * AGENT_REFUSED_BYTES];
    for (size_t i = 0; i < refused->excerpt; i++) {
        head[2 * i] = digits[refused->head[i] >> 4];
        head[2 * i + 1] = digits[refused->head[i] & 15];
    }
    jsonw_begin_object(json);
    jsonw_key_time(json, "at", refused->at_ms);
    jsonw_key_text(json, "protocol", agent_protocol_name(refused->protocol));
    jsonw_key_text(json, "reason", reason_of(refused->refusal)->name);
    jsonw_key_text(json, "meaning", reason_of(refused->refusal)->text);
    jsonw_key_u64(json, "port", refused->port);
    jsonw_key_u64(json, "bytes", refused->size);
    jsonw_key(json, "head");
    jsonw_text_of_size(json, head, 2 * (size_t)refused->excerpt);
    jsonw_end_object(json);
}

static void print_refused(struct json_writer *json, const struct agent_refused_of *of)
{
    jsonw_begin_object(json);
    key_ip(json, "sender", &of->ip);
    jsonw_key(json, "by_reason");
    jsonw_begin_object(json);
    for (int i = 0; i < AGENT_REFUSAL_COUNT; i++) {
        if (of->by[i] > 0) jsonw_key_u64(json, reason_of((enum agent_refusal)i)->name, of->by[i]);
    }
    jsonw_end_object(json);
    jsonw_key(json, "last");
    jsonw_begin_array(json);
    const struct agent_refused *refused = NULL;
    for (uint32_t back = 0; (refused = agent_refused_example(of, back)) != NULL; back++)
        print_example(json, refused);
    jsonw_end_array(json);
    jsonw_end_object(json);
}

void agent_page_exporters(const struct agent_exporter_stat *exporters, size_t exporter_count,
                          const struct agent_refusals *refused, size_t refused_count, struct weir_buf *out)
{
    struct json_writer json = json_writer_of(out);
    jsonw_begin_object(&json);
    jsonw_key(&json, "exporters");
    jsonw_begin_array(&json);
    for (size_t i = 0; i < exporter_count; i++)
        print_exporter(&json, &exporters[i]);
    jsonw_end_array(&json);
    jsonw_key(&json, "refused");
    jsonw_begin_array(&json);
    for (size_t i = 0; i < refused_count; i++) {
        for (size_t k = 0; k < AGENT_REFUSALS_PLACES; k++) {
            if (refused[i].places[k].total > 0) print_refused(&json, &refused[i].places[k]);
        }
    }
    jsonw_end_array(&json);
    jsonw_end_object(&json);
    weir_buf_u8(out, '\n');
}
