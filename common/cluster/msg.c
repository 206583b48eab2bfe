#include "common/cluster/msg.h"

#include "common/base/hash.h"

void weir_agent_id(const char *name, uint8_t out[16])
{
    weir_hash128(name, strlen(name), out);
}

const char *weir_msg_kind_name(enum weir_msg_kind kind)
{
    static const char *const name[WEIR_MSG_KINDS] = {"none",   "HELLO", "DATA", "WELCOME", "ACK",  "NACK",
                                                     "CREDIT", "PING",  "PONG", "STORE",   "SACK", "SNACK"};
    return kind < WEIR_MSG_KINDS ? name[kind] : "unknown";
}

const char *weir_code_name(enum weir_code code)
{
    static const char *const name[WEIR_CODES] = {"none",   "GAP",   "EPOCH",  "NOTOWNER", "BUSY",    "POISON",
                                                 "REJECT", "RESET", "TOOBIG", "SCHEMA",   "CHECKSUM"};
    return code < WEIR_CODES ? name[code] : "unknown";
}

uint32_t weir_shard_of(const char *tenant, const struct weir_source *source)
{
    uint8_t key[sizeof source->exporter.bytes + 4];
    memcpy(key, source->exporter.bytes, sizeof source->exporter.bytes);
    weir_store_u32be(key + sizeof source->exporter.bytes, source->domain);
    uint64_t seed = weir_hash64(tenant, strlen(tenant), 0);
    return (uint32_t)(weir_hash64(key, sizeof key, seed) % WEIR_SHARDS);
}
