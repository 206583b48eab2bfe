/**
 * Deliveries of Amazon Data Firehose to an HTTP endpoint: AWS, "Understand HTTP endpoint delivery request and response
 * specifications" (protocol version 1.0), and for what CloudWatch Logs puts into them, "Subscription filters with Amazon
 * Data Firehose". Pure.
 */
#ifndef WEIR_AGENT_FEED_FIREHOSE_H
#define WEIR_AGENT_FEED_FIREHOSE_H

#include "agent/feed/feed.h"
#include "common/base/buf.h"

/**
 * Append the log that the records of a delivery are, each ended by a line end. A record is text, or gzip of text. Of an
 * AWS feed, JSON objects in it are looked into: {"message": "..."} as Amazon VPC writes flow logs to Firehose, and the
 * logEvents of CloudWatch Logs, whose CONTROL_MESSAGE is nothing. @request_id is what the head says.
 *
 *   WEIR_EFORMAT  the delivery is not as specified, or a record cannot be unpacked; @why says which
 *   WEIR_ELIMIT   the log would be more than @most bytes
 *   WEIR_ENOMEM
 */
int feed_firehose_unpack(struct weir_view body, const char *request_id, enum feed_format format, size_t most,
                         struct weir_buf *out, struct weir_why *why);

/** Append the answer to a delivery; @error is NULL when it was taken. */
void feed_firehose_answer(const char *request_id, int64_t now_ms, const char *error, struct weir_buf *out);

#endif
