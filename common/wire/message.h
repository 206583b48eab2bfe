/**
 * The delivery message as bytes: struct weir_msg <-> protobuf `Message` (proto/weir/v1/cluster.proto).
 *
 * Decoding is safe for whatever a stranger sends: it allocates nothing, and every field is checked against its range
 * before the message is given out.
 */
#ifndef WEIR_COMMON_WIRE_MESSAGE_H
#define WEIR_COMMON_WIRE_MESSAGE_H

#include "common/base/buf.h"
#include "common/cluster/msg.h"

enum { WEIR_MSG_BYTES_MOST = 16384 }; /* of an encoded message; HELLO with all lanes takes less than 8 KiB */

/** Append the encoded message to @out; fields that are 0 or empty cost nothing. WEIR_ENOMEM (and @out has failed). */
int weir_msg_encode(const struct weir_msg *msg, struct weir_buf *out);

/**
 * Decode one frame. Any thread; @out is written only on success.
 *
 * Returns 0, or
 *   WEIR_EFORMAT   not a Message, or a field is out of its range (unknown kind or code, shard, text too long ...)
 *   WEIR_EVERSION  another version of the protocol
 *   WEIR_ELIMIT    larger than WEIR_MSG_BYTES_MOST, or more parts than a message of ours can have
 */
int weir_msg_decode(struct weir_view frame, struct weir_msg *out);

#endif
