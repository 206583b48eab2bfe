#include "common/base/err.h"
#include "common/wire/batch.h"
#include "common/wire/proto.h"
#include "weir/v1/batch.pb-c.h"

enum { PROTOCOL_MOST = 65535, CODEC_MOST = 15, FOUR = 4 };

/* Numbers that are added to stay below this. Sums of packets and bytes may be anything: exporters send anything. */
#define NUMBER_MOST (UINT64_MAX / 2)

int weir_batch_header_encode(const struct weir_batch_header *header, struct weir_buf *out)
{
    Weir__V1__BatchHeader pb;
    uint8_t exporter[sizeof header->source.exporter.bytes];
    uint32_t columns[WEIR_FIELD_COUNT];

    weir__v1__batch_header__init(&pb);
    memcpy(exporter, header->source.exporter.bytes, sizeof exporter);
    bool v4 = weir_ip_is_v4(&header->source.exporter);
    pb.kind = header->kind;
    pb.schema = header->schema;
    pb.exporter.data = v4 ? exporter + sizeof exporter - FOUR : exporter;
    pb.exporter.len = v4 ? FOUR : sizeof exporter;
    pb.domain = header->source.domain;
    pb.protocol = header->protocol;
    pb.flows = header->totals.flows;
    pb.packets = header->totals.packets;
    pb.bytes = header->totals.bytes;
    pb.min_start_ms = header->totals.min_start_ms;
    pb.max_end_ms = header->totals.max_end_ms;
    pb.first_received_ms = header->first_received_ms;
    pb.last_received_ms = header->last_received_ms;
    pb.last_export_ms = header->last_export_ms;
    pb.sequence_lost = header->loss.sequence_lost;
    pb.template_missing = header->loss.template_missing;
    pb.undecodable = header->loss.undecodable;
    pb.socket_drops = header->loss.socket_drops;
    pb.templates = header->health.templates;
    pb.waiting = header->health.waiting;
    pb.skew_ms = header->health.skew_ms;
    pb.has_skew = header->health.has_skew;
    pb.codec = header->codec;
    pb.raw_bytes = header->raw_bytes;
    pb.lost_to_seq = header->lost_to_seq;
    pb.columns = columns;
    for (int f = 0; f < WEIR_FIELD_COUNT; f++) {
        if (header->present >> f & 1) columns[pb.n_columns++] = weir_fields[f].ie;
    }

    size_t size = weir__v1__batch_header__get_packed_size(&pb);
    uint8_t *at = weir_buf_reserve(out, size);
    if (at == NULL) return WEIR_ENOMEM;
    weir_buf_commit(out, weir__v1__batch_header__pack(&pb, at));
    return 0;
}

/** The columns that this build knows, of those that the header lists. */
static uint64_t columns_known(const Weir__V1__BatchHeader *pb)
{
    uint64_t present = 0;
    for (size_t i = 0; i < pb->n_columns; i++) {
        if (pb->columns[i] > UINT16_MAX) continue;
        int field = weir_field_of_ie((uint16_t)pb->columns[i]);
        if (field >= 0) present |= 1ull << field;
    }
    return present;
}

static int check_kind(const Weir__V1__BatchHeader *pb)
{
    switch (pb->kind) {
    case WEIR_RECORD_DATA:
        if (pb->flows > WEIR_BATCH_MOST || pb->lost_to_seq != 0) return WEIR_EFORMAT;
        return 0;
    case WEIR_RECORD_LOSS:
        if (pb->lost_to_seq == 0 || pb->lost_to_seq > NUMBER_MOST || pb->flows > NUMBER_MOST) return WEIR_EFORMAT;
        return 0;
    default: return WEIR_EFORMAT;
    }
}

int weir_batch_header_decode(struct weir_view bytes, struct weir_batch_header *out)
{
    if (bytes.size > WEIR_HEADER_BYTES_MOST) return WEIR_ELIMIT;

    struct weir_proto_arena arena;
    weir_proto_arena_init(&arena);
    ProtobufCMessage *unpacked = NULL;
    int rc = weir_proto_unpack(&arena, &weir__v1__batch_header__descriptor, bytes, &unpacked);
    if (rc < 0) return rc;

    const Weir__V1__BatchHeader *pb = (const Weir__V1__BatchHeader *)unpacked;
    if (pb->schema == 0) return WEIR_EFORMAT;
    if (pb->schema > WEIR_SCHEMA) return WEIR_EVERSION;
    rc = check_kind(pb);
    if (rc < 0) return rc;
    if (pb->protocol > PROTOCOL_MOST || pb->codec > CODEC_MOST) return WEIR_EFORMAT;
    if (pb->raw_bytes > WEIR_BODY_RAW_MOST) return WEIR_EFORMAT;
    if (pb->first_received_ms < 0 || pb->last_received_ms < 0) return WEIR_EFORMAT;

    struct weir_batch_header header = {
        .kind = (enum weir_record_kind)pb->kind,
        .schema = pb->schema,
        .source.domain = pb->domain,
        .protocol = (enum weir_protocol)pb->protocol,
        .totals = {.flows = pb->flows,
                   .packets = pb->packets,
                   .bytes = pb->bytes,
                   .min_start_ms = pb->min_start_ms,
                   .max_end_ms = pb->max_end_ms},
        .first_received_ms = pb->first_received_ms,
        .last_received_ms = pb->last_received_ms,
        .last_export_ms = pb->last_export_ms,
        .loss = {.sequence_lost = pb->sequence_lost,
                 .template_missing = pb->template_missing,
                 .undecodable = pb->undecodable,
                 .socket_drops = pb->socket_drops},
        .health = {.templates = pb->templates,
                   .waiting = pb->waiting,
                   .skew_ms = pb->skew_ms,
                   .has_skew = pb->has_skew},
        .codec = (enum weir_codec)pb->codec,
        .raw_bytes = pb->raw_bytes,
        .lost_to_seq = pb->lost_to_seq,
        .present = columns_known(pb),
    };
    switch (pb->exporter.len) {
    case FOUR: header.source.exporter = weir_ip_from_v4(pb->exporter.data); break;
    case sizeof header.source.exporter: header.source.exporter = weir_ip_from_v6(pb->exporter.data); break;
    default: return WEIR_EFORMAT;
    }
    *out = header;
    return 0;
}
