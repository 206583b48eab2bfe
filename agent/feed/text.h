/** Values of text: numbers, times, addresses. Pure; each returns false when the text is anything else. */
#ifndef WEIR_AGENT_FEED_TEXT_H
#define WEIR_AGENT_FEED_TEXT_H

#include "common/flow/ip.h"

/** Decimal digits, at most @most. */
bool feed_text_number(struct weir_view text, uint64_t most, uint64_t *ret);

/** "1700000000" or "1700000000.123456" in seconds, to milliseconds (cut, not rounded). */
bool feed_text_seconds(struct weir_view text, int64_t *ret_ms);

/** RFC 3339: "2026-01-02T03:04:05.678901Z", "...+02:00", to milliseconds since 1970 UTC. */
bool feed_text_time(struct weir_view text, int64_t *ret_ms);

bool feed_text_ip(struct weir_view text, struct weir_ip *ret);

/** Twelve hex digits, with or without ':' or '-' between them. */
bool feed_text_mac(struct weir_view text, uint64_t *ret);

bool feed_text_is(struct weir_view text, const char *word);

/** The number of an IP protocol from its number, or its name where logs write names. */
bool feed_text_protocol(struct weir_view text, uint8_t *ret);

#endif
