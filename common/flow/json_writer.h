/**
 * Writing JSON into a buffer, piece by piece. Commas are put where they belong; integers keep all their 64 bits; texts
 * are escaped, and bytes that are not UTF-8 become U+FFFD, so that what comes out always parses.
 *
 * The buffer's sticky failure is the writer's: check it once at the end.
 */
#ifndef WEIR_COMMON_FLOW_JSON_WRITER_H
#define WEIR_COMMON_FLOW_JSON_WRITER_H

#include "common/base/buf.h"

struct json_writer {
    struct weir_buf *out;
    bool comma; /* the next value needs one before it */
};

static inline struct json_writer json_writer_of(struct weir_buf *out)
{
    return (struct json_writer){.out = out, .comma = false};
}

void jsonw_begin_object(struct json_writer *json);
void jsonw_end_object(struct json_writer *json);
void jsonw_begin_array(struct json_writer *json);
void jsonw_end_array(struct json_writer *json);

/** The key of the next value. */
void jsonw_key(struct json_writer *json, const char *key);

void jsonw_text(struct json_writer *json, const char *text);
void jsonw_text_of_size(struct json_writer *json, const char *text, size_t size);
void jsonw_u64(struct json_writer *json, uint64_t number);
void jsonw_i64(struct json_writer *json, int64_t number);
/** A finite number with up to @digits digits. */
void jsonw_real(struct json_writer *json, double number, int digits);

void jsonw_bool(struct json_writer *json, bool value);
void jsonw_null(struct json_writer *json);

/** @numerator / @denominator with four decimals, computed in integers: 0.4127. 0 when the denominator is. */
void jsonw_ratio(struct json_writer *json, uint64_t numerator, uint64_t denominator);

/** RFC 3339 in UTC with milliseconds. */
void jsonw_time(struct json_writer *json, int64_t ms);

/* A key and its value. */
void jsonw_key_text(struct json_writer *json, const char *key, const char *text);
void jsonw_key_u64(struct json_writer *json, const char *key, uint64_t number);
void jsonw_key_bool(struct json_writer *json, const char *key, bool value);
void jsonw_key_time(struct json_writer *json, const char *key, int64_t ms);

#endif
