#include "common/wire/message.h"

#include "common/base/err.h"
#include "common/wire/proto.h"
#include "weir/v1/cluster.pb-c.h"

/* Numbers that are added to stay below this, so that no sum of ours can wrap. */
#define NUMBER_MOST (UINT64_MAX / 2)

static const uint8_t no_agent[16];

int weir_msg_encode(const struct weir_msg *msg, struct weir_buf *out)
{
    Weir__V1__Message pb;
    Weir__V1__Lane lanes[WEIR_SHARDS];
    Weir__V1__Lane *lane_of[WEIR_SHARDS];
    uint8_t agent[sizeof msg->agent];

    weir__v1__message__init(&pb);
    memcpy(agent, msg->agent, sizeof agent);
    pb.proto = WEIR_PROTOCOL_VERSION;
    pb.kind = msg->kind;
    pb.code = msg->code;
    if (memcmp(agent, no_agent, sizeof agent) != 0) {
        pb.agent = (ProtobufCBinaryData){.len = sizeof agent, .data = agent};
    }
    pb.inc = msg->inc;
    pb.instance = msg->instance;
    pb.shard = msg->shard;
    pb.seq = msg->seq;
    pb.first_avail = msg->first_avail;
    pb.expected = msg->expected;
    pb.epoch = msg->epoch;
    pb.credit = msg->credit;
    pb.max_bytes = msg->max_bytes;
    pb.schema = msg->schema;
    pb.crc = msg->crc;
    pb.retry_ms = msg->retry_ms;
    pb.cum_flows = msg->cum.flows;
    pb.cum_packets = msg->cum.packets;
    pb.cum_bytes = msg->cum.bytes;
    pb.spool_bytes = msg->spool_bytes;
    pb.spool_oldest_ms = msg->spool_oldest_ms;
    pb.node = weir_proto_lent_text(msg->node);
    pb.tenant = weir_proto_lent_text(msg->tenant);
    pb.site = weir_proto_lent_text(msg->site);
    pb.name = weir_proto_lent_text(msg->name);
    pb.text = weir_proto_lent_text(msg->text);

    pb.n_lanes = msg->lane_count;
    pb.lanes = lane_of;
    for (uint32_t i = 0; i < msg->lane_count; i++) {
        weir__v1__lane__init(&lanes[i]);
        lanes[i].shard = msg->lanes[i].shard;
        lanes[i].next = msg->lanes[i].next;
        lanes[i].first_avail = msg->lanes[i].first_avail;
        lanes[i].expected = msg->lanes[i].expected;
        lane_of[i] = &lanes[i];
    }

    size_t size = weir__v1__message__get_packed_size(&pb);
    uint8_t *at = weir_buf_reserve(out, size);
    if (at == NULL) return WEIR_ENOMEM;
    weir_buf_commit(out, weir__v1__message__pack(&pb, at));
    return 0;
}

static int decode_lanes(const Weir__V1__Message *pb, struct weir_msg *msg)
{
    bool seen[WEIR_SHARDS] = {false};
    if (pb->n_lanes > WEIR_SHARDS) return WEIR_EFORMAT;
    for (size_t i = 0; i < pb->n_lanes; i++) {
        const Weir__V1__Lane *lane = pb->lanes[i];
        if (lane->shard >= WEIR_SHARDS || seen[lane->shard]) return WEIR_EFORMAT;
        if (lane->next > NUMBER_MOST || lane->first_avail > NUMBER_MOST || lane->expected > NUMBER_MOST)
            return WEIR_EFORMAT;

        seen[lane->shard] = true;
        msg->lanes[i] = (struct weir_lane){
            .shard = lane->shard, .next = lane->next, .first_avail = lane->first_avail, .expected = lane->expected};
    }
    msg->lane_count = (uint32_t)pb->n_lanes;
    return 0;
}

static int decode_names(const Weir__V1__Message *pb, struct weir_msg *msg)
{
    int rc = weir_proto_text(pb->node, msg->node, sizeof msg->node);
    if (rc == 0) rc = weir_proto_text(pb->tenant, msg->tenant, sizeof msg->tenant);
    if (rc == 0) rc = weir_proto_text(pb->site, msg->site, sizeof msg->site);
    if (rc == 0) rc = weir_proto_text(pb->name, msg->name, sizeof msg->name);
    if (rc == 0) rc = weir_proto_text(pb->text, msg->text, sizeof msg->text);
    if (rc < 0) return rc;

    for (char *at = msg->text; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f) *at = '?';
    }
    return 0;
}

int weir_msg_decode(struct weir_view frame, struct weir_msg *out)
{
    if (frame.size > WEIR_MSG_BYTES_MOST) return WEIR_ELIMIT;

    struct weir_proto_arena arena;
    weir_proto_arena_init(&arena);
    ProtobufCMessage *unpacked = NULL;
    int rc = weir_proto_unpack(&arena, &weir__v1__message__descriptor, frame, &unpacked);
    if (rc < 0) return rc;

    const Weir__V1__Message *pb = (const Weir__V1__Message *)unpacked;
    if (pb->proto != WEIR_PROTOCOL_VERSION) return WEIR_EVERSION;
    if (pb->kind == WEIR_MSG_NONE || pb->kind >= WEIR_MSG_KINDS || pb->code >= WEIR_CODES) return WEIR_EFORMAT;
    if (pb->agent.len != 0 && pb->agent.len != sizeof out->agent) return WEIR_EFORMAT;
    if (pb->shard >= WEIR_SHARDS) return WEIR_EFORMAT;
    if (pb->seq > NUMBER_MOST || pb->first_avail > NUMBER_MOST || pb->expected > NUMBER_MOST) return WEIR_EFORMAT;
    if (pb->spool_oldest_ms < 0) return WEIR_EFORMAT;

    struct weir_msg msg = {
        .kind = (enum weir_msg_kind)pb->kind,
        .code = (enum weir_code)pb->code,
        .inc = pb->inc,
        .instance = pb->instance,
        .shard = pb->shard,
        .seq = pb->seq,
        .first_avail = pb->first_avail,
        .expected = pb->expected,
        .epoch = pb->epoch,
        .credit = pb->credit,
        .max_bytes = pb->max_bytes,
        .schema = pb->schema,
        .crc = pb->crc,
        .retry_ms = pb->retry_ms,
        .cum = {.flows = pb->cum_flows, .packets = pb->cum_packets, .bytes = pb->cum_bytes},
        .spool_bytes = pb->spool_bytes,
        .spool_oldest_ms = pb->spool_oldest_ms,
    };
    if (pb->agent.len != 0) memcpy(msg.agent, pb->agent.data, sizeof msg.agent);
    rc = decode_names(pb, &msg);
    if (rc < 0) return rc;
    rc = decode_lanes(pb, &msg);
    if (rc < 0) return rc;

    *out = msg;
    return 0;
}
