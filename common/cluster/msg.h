/**
 * The messages of delivery, as plain data: what the protocol cores of agent, broker and aggregator exchange.
 *
 * On ZeroMQ a message is one frame `Message` (proto/weir/v1/cluster.proto, read and written by common/wire/message.h);
 * WEIR_MSG_DATA and WEIR_MSG_STORE are followed by two frames that travel untouched from the agent's spool to the
 * aggregator's store: the `BatchHeader` and the body (batch.proto). docs/PROTOCOL.md tells the story.
 */
#ifndef WEIR_COMMON_CLUSTER_MSG_H
#define WEIR_COMMON_CLUSTER_MSG_H

#include "common/base/bytes.h"
#include "common/flow/batch.h"

enum {
    WEIR_PROTOCOL_VERSION = 1,
    WEIR_SHARDS = 128,    /* virtual shards; fixed when a cluster is made */
    WEIR_SCHEMA = 1,      /* version of the batch encoding that we write */
    WEIR_NAME_BYTES = 64, /* longest node, site or tenant name with its NUL */
    WEIR_REASON_BYTES = 160
};

enum weir_msg_kind {
    WEIR_MSG_NONE = 0,
    /* agent -> broker */
    WEIR_MSG_HELLO = 1, /* agent, inc, instance, schema, lanes{shard,next,first_avail} */
    WEIR_MSG_DATA = 2,  /* agent, inc, shard, seq, first_avail, crc, cum, spool; + header + body */
    /* broker -> agent */
    WEIR_MSG_WELCOME = 3, /* credit, max_bytes, schema, lanes{shard,expected} */
    WEIR_MSG_ACK = 4,     /* shard, seq (cumulative) */
    WEIR_MSG_NACK = 5,    /* shard, seq, code, expected, retry_ms, text */
    WEIR_MSG_CREDIT = 6,  /* credit */
    /* both ways, every link */
    WEIR_MSG_PING = 7,
    WEIR_MSG_PONG = 8,
    /* broker -> aggregator */
    WEIR_MSG_STORE = 9, /* DATA + epoch, tenant, site, name; + header + body */
    /* aggregator -> broker */
    WEIR_MSG_SACK = 10,  /* agent, inc, shard, seq, epoch, node */
    WEIR_MSG_SNACK = 11, /* agent, inc, shard, seq, epoch, node, code, expected, retry_ms, text */
    WEIR_MSG_KINDS
};

/** Why a message was refused. */
enum weir_code {
    WEIR_CODE_NONE = 0,
    WEIR_CODE_GAP = 1,       /* @expected is the sequence number that must come first */
    WEIR_CODE_EPOCH = 2,     /* the shard map moved on */
    WEIR_CODE_NOTOWNER = 3,  /* this node does not own the shard */
    WEIR_CODE_BUSY = 4,      /* again after @retry_ms: stalled, joining, disk low, out of credit */
    WEIR_CODE_POISON = 5,    /* arrived whole and cannot be decoded: never send it again */
    WEIR_CODE_REJECT = 6,    /* not allowed: key, site, shard or a second agent of this name */
    WEIR_CODE_RESET = 7,     /* no session: say HELLO */
    WEIR_CODE_TOOBIG = 8,    /* larger than max_bytes */
    WEIR_CODE_SCHEMA = 9,    /* a newer encoding than the owners of the shard can read */
    WEIR_CODE_CHECKSUM = 10, /* damaged on the way: send it again */
    WEIR_CODES
};

/** One stream of batches: an agent's spool log for one shard. */
struct weir_lane {
    uint32_t shard;
    uint64_t next;        /* HELLO: the sequence number that the next batch will get */
    uint64_t first_avail; /* HELLO: oldest sequence number still in the spool (== next when empty) */
    uint64_t expected;    /* WELCOME: the sequence number the owners wait for; 0 unknown */
};

/** Sums over all batches of a lane up to and including this one: the other side of the ledger. */
struct weir_cum {
    uint64_t flows;
    uint64_t packets;
    uint64_t bytes;
};

struct weir_msg {
    enum weir_msg_kind kind;
    enum weir_code code;
    uint8_t agent[16]; /* weir_agent_id of the enrolled name */
    uint64_t inc;      /* incarnation of the agent's spool */
    uint64_t instance; /* random per process start: tells a reconnect from a second agent of the same name */
    uint32_t shard;
    uint64_t seq; /* from 1 */
    uint64_t first_avail;
    uint64_t expected;
    uint32_t epoch;
    uint32_t credit;    /* batches that may be in flight for the whole session */
    uint32_t max_bytes; /* largest header + body */
    uint32_t schema;
    uint32_t crc; /* CRC32C over header + body */
    uint32_t retry_ms;
    struct weir_cum cum;
    uint64_t spool_bytes;         /* agent's state, for people */
    int64_t spool_oldest_ms;      /* when the oldest batch in the spool was received; 0 empty */
    char node[WEIR_NAME_BYTES];   /* answering aggregator */
    char tenant[WEIR_NAME_BYTES]; /* stamped by the broker from the agent's key */
    char site[WEIR_NAME_BYTES];   /* likewise */
    char name[WEIR_NAME_BYTES];   /* the agent's enrolled name: HELLO, and stamped by the broker */
    char text[WEIR_REASON_BYTES]; /* for people */
    uint32_t lane_count;          /* <= WEIR_SHARDS */
    struct weir_lane lanes[WEIR_SHARDS];
};

/** What a stored batch is. */
enum weir_record_kind {
    WEIR_RECORD_DATA = 1,
    WEIR_RECORD_LOSS = 2, /* takes the place of batches that the spool had to drop; no body */
};

/** How a body is compressed. */
enum weir_codec { WEIR_CODEC_NONE = 0, WEIR_CODEC_LZ4 = 1, WEIR_CODEC_ZSTD = 2 };

/** The header of a batch: all that is read of it on the way, and all that a scan reads before it decides to open it. */
struct weir_batch_header {
    enum weir_record_kind kind;
    uint32_t schema;
    struct weir_source source;
    enum weir_protocol protocol;
    struct weir_batch_totals totals; /* LOSS: what was dropped */
    int64_t first_received_ms;
    int64_t last_received_ms;
    int64_t last_export_ms;
    struct weir_loss loss;
    struct weir_health health; /* LOSS: nothing */
    enum weir_codec codec;
    uint32_t raw_bytes;   /* size of the body before compression */
    uint64_t lost_to_seq; /* LOSS: the record stands for seq..lost_to_seq; 0 otherwise */
    uint64_t present;     /* columns in the body, by this build's enum weir_field; 0 when unknown */
};

/** The id of an agent: a 128-bit hash of the name it is enrolled under. */
void weir_agent_id(const char *name, uint8_t out[16]);

const char *weir_msg_kind_name(enum weir_msg_kind kind);
const char *weir_code_name(enum weir_code code);

/** The shard of a source: stable for ever, the same in agent, broker and aggregator. */
uint32_t weir_shard_of(const char *tenant, const struct weir_source *source);

#endif
