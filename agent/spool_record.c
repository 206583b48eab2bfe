#include "agent/spool_record.h"

#include "common/base/err.h"
#include "common/base/hash.h"

#define MAGIC     UINT32_C(0x52535257) /* "WRSR" */
#define ACK_MAGIC UINT32_C(0x41535257) /* "WRSA" */

enum { VERSION = 1, CRC_FROM = 8, MARK_SHIFT = 16 };

uint64_t spool_record_size(const struct spool_record *record)
{
    uint64_t size = SPOOL_HEAD_BYTES + (uint64_t)record->header_bytes + record->body_bytes;
    return (size + SPOOL_ALIGN - 1) & ~(uint64_t)(SPOOL_ALIGN - 1);
}

static void store_cum(uint8_t *at, const struct weir_cum *cum)
{
    weir_store_u64le(at, cum->flows);
    weir_store_u64le(at + 8, cum->packets);
    weir_store_u64le(at + 16, cum->bytes);
}

static struct weir_cum load_cum(const uint8_t *at)
{
    return (struct weir_cum){
        .flows = weir_load_u64le(at), .packets = weir_load_u64le(at + 8), .bytes = weir_load_u64le(at + 16)};
}

void spool_record_encode(const struct spool_record *record, uint8_t out[SPOOL_HEAD_BYTES])
{
    weir_store_u32le(out, MAGIC);
    weir_store_u32le(out + 8, record->payload_crc);
    weir_store_u32le(out + 12, VERSION | (uint32_t)record->kind << 16);
    weir_store_u32le(out + 16, record->header_bytes);
    weir_store_u32le(out + 20, record->body_bytes);
    weir_store_u64le(out + 24, record->shard | record->mark << MARK_SHIFT);
    weir_store_u64le(out + 32, record->first);
    weir_store_u64le(out + 40, record->last);
    weir_store_u64le(out + 48, (uint64_t)record->first_ms);
    weir_store_u64le(out + 56, (uint64_t)record->last_ms);
    store_cum(out + 64, &record->sums);
    store_cum(out + 88, &record->cum);
    weir_store_u32le(out + 4, weir_crc32c(0, out + CRC_FROM, SPOOL_HEAD_BYTES - CRC_FROM));
}

int spool_record_decode(const uint8_t in[SPOOL_HEAD_BYTES], struct spool_record *out)
{
    if (weir_load_u32le(in) != MAGIC) return WEIR_EFORMAT;
    if (weir_load_u32le(in + 4) != weir_crc32c(0, in + CRC_FROM, SPOOL_HEAD_BYTES - CRC_FROM)) return WEIR_ECHECKSUM;
    uint32_t version_kind = weir_load_u32le(in + 12);
    if ((version_kind & 0xffff) != VERSION) return WEIR_EVERSION;

    struct spool_record record = {
        .kind = (enum weir_record_kind)(version_kind >> 16),
        .payload_crc = weir_load_u32le(in + 8),
        .header_bytes = weir_load_u32le(in + 16),
        .body_bytes = weir_load_u32le(in + 20),
        .shard = weir_load_u32le(in + 24) & 0xffff,
        .mark = weir_load_u64le(in + 24) >> MARK_SHIFT,
        .first = weir_load_u64le(in + 32),
        .last = weir_load_u64le(in + 40),
        .first_ms = (int64_t)weir_load_u64le(in + 48),
        .last_ms = (int64_t)weir_load_u64le(in + 56),
        .sums = load_cum(in + 64),
        .cum = load_cum(in + 88),
    };
    if (record.kind != WEIR_RECORD_DATA && record.kind != WEIR_RECORD_LOSS) return WEIR_EFORMAT;
    if (record.first == 0 || record.last < record.first) return WEIR_EFORMAT;
    if (record.header_bytes > WEIR_HEADER_BYTES_MOST || record.body_bytes > WEIR_BODY_BYTES_MOST) return WEIR_EFORMAT;
    *out = record;
    return 0;
}

void spool_ack_encode(const struct spool_ack *ack, uint8_t out[SPOOL_ACK_BYTES])
{
    memset(out, 0, SPOOL_ACK_BYTES);
    weir_store_u32le(out, ACK_MAGIC);
    weir_store_u64le(out + 8, ack->generation);
    weir_store_u64le(out + 16, ack->acked);
    store_cum(out + 24, &ack->cum);
    weir_store_u64le(out + 48, ack->mark);
    weir_store_u32le(out + 4, weir_crc32c(0, out + CRC_FROM, SPOOL_ACK_BYTES - CRC_FROM));
}

bool spool_ack_decode(const uint8_t in[SPOOL_ACK_BYTES], struct spool_ack *out)
{
    if (weir_load_u32le(in) != ACK_MAGIC) return false;
    if (weir_load_u32le(in + 4) != weir_crc32c(0, in + CRC_FROM, SPOOL_ACK_BYTES - CRC_FROM)) return false;
    *out = (struct spool_ack){.generation = weir_load_u64le(in + 8),
                              .acked = weir_load_u64le(in + 16),
                              .cum = load_cum(in + 24),
                              .mark = weir_load_u64le(in + 48)};
    return true;
}

struct weir_cum spool_cum_add(struct weir_cum a, struct weir_cum b)
{
    return (struct weir_cum){.flows = a.flows + b.flows, .packets = a.packets + b.packets, .bytes = a.bytes + b.bytes};
}

struct weir_cum spool_cum_subtract(struct weir_cum a, struct weir_cum b)
{
    return (struct weir_cum){.flows = a.flows - b.flows, .packets = a.packets - b.packets, .bytes = a.bytes - b.bytes};
}
