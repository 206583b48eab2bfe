/**
 * NetFlow v9 and IPFIX datagrams for tests, written after RFC 3954 and RFC 7011. A message is begun, filled with sets of
 * numbers in network order, and ended:
 *
 *     message_ipfix(&m, 1700000000, sequence, domain);
 *     message_template(&m, 256, (const uint16_t[]){8, 4, 1, 4}, 2);
 *     message_set(&m, 256), message_u32(&m, 0x0a000001), message_u32(&m, 1500);
 *     input_take(&input, message_end(&m), now_ms);
 *
 * Zero it to begin; free with message_fini.
 */
#ifndef WEIR_TESTS_SUPPORT_MESSAGE_H
#define WEIR_TESTS_SUPPORT_MESSAGE_H

#include "common/base/buf.h"

struct message {
    struct weir_buf buf;
    bool is_ipfix;
    size_t set_at;  /* of the open set; 0 none */
    uint16_t count; /* of records, for the header of v9 */
};

void message_ipfix(struct message *m, uint32_t export_seconds, uint32_t sequence, uint32_t domain);
void message_netflow9(struct message *m, uint32_t export_seconds, uint32_t uptime_ms, uint32_t sequence,
                      uint32_t source_id);

/** Begin a set; the one before ends. */
void message_set(struct message *m, uint16_t id);

/** A set with one template of @fields (element, size) pairs; 0 fields withdraw it. */
void message_template(struct message *m, uint16_t id, const uint16_t *elements_and_sizes, uint16_t fields);

/** A set with one options template, whose first @scopes fields are scopes. */
void message_options(struct message *m, uint16_t id, const uint16_t *elements_and_sizes, uint16_t fields,
                     uint16_t scopes);

void message_u8(struct message *m, uint8_t value);
void message_u16(struct message *m, uint16_t value);
void message_u32(struct message *m, uint32_t value);

/** @records records of @bytes bytes each, of zeros, in a set of their own. */
void message_records(struct message *m, uint16_t id, uint16_t records, uint16_t bytes);

/** The whole datagram; valid until the next is begun. */
struct weir_view message_end(struct message *m);
void message_fini(struct message *m);

#endif
