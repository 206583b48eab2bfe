#include "common/flow/json_writer.h"

#include "common/flow/civil.h"

#include <inttypes.h>

static void separate(struct json_writer *json)
{
    if (json->comma) weir_buf_u8(json->out, ',');
    json->comma = true;
}

void jsonw_begin_object(struct json_writer *json)
{
    separate(json);
    weir_buf_u8(json->out, '{');
    json->comma = false;
}

void jsonw_end_object(struct json_writer *json)
{
    weir_buf_u8(json->out, '}');
    json->comma = true;
}

void jsonw_begin_array(struct json_writer *json)
{
    separate(json);
    weir_buf_u8(json->out, '[');
    json->comma = false;
}

void jsonw_end_array(struct json_writer *json)
{
    weir_buf_u8(json->out, ']');
    json->comma = true;
}

/** The bytes of the UTF-8 character at @at (RFC 3629), or 0 when there is none. */
static size_t utf8_size(const uint8_t *at, size_t left)
{
    size_t size = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;
    if (size == 0 || size > left) return 0;
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
    }
    if (at[0] == 0xe0 && at[1] < 0xa0) return 0; /* longer than needed */
    if (at[0] == 0xed && at[1] > 0x9f) return 0; /* surrogates */
    if (at[0] == 0xf0 && at[1] < 0x90) return 0;
    if (at[0] == 0xf4 && at[1] > 0x8f) return 0; /* past U+10FFFF */
    return size;
}

static void escape(struct weir_buf *out, uint8_t c)
{
    switch (c) {
    case '"': weir_buf_text(out, "\\\""); break;
    case '\\': weir_buf_text(out, "\\\\"); break;
    case '\n': weir_buf_text(out, "\\n"); break;
    case '\r': weir_buf_text(out, "\\r"); break;
    case '\t': weir_buf_text(out, "\\t"); break;
    default: weir_buf_printf(out, "\\u%04x", c); break;
    }
}

static void quote(struct weir_buf *out, const char *text, size_t size)
{
    const uint8_t *at = (const uint8_t *)text;
    weir_buf_u8(out, '"');
    for (size_t i = 0; i < size;) {
        if (at[i] < ' ' || at[i] == '"' || at[i] == '\\' || at[i] == 0x7f) {
            escape(out, at[i++]);
            continue;
        }
        size_t bytes = utf8_size(at + i, size - i);
        if (bytes == 0) {
            weir_buf_text(out, "\xef\xbf\xbd");
            i++;
        } else {
            weir_buf_append(out, at + i, bytes);
            i += bytes;
        }
    }
    weir_buf_u8(out, '"');
}

void jsonw_key(struct json_writer *json, const char *key)
{
    separate(json);
    quote(json->out, key, strlen(key));
    weir_buf_u8(json->out, ':');
    json->comma = false;
}

void jsonw_text_of_size(struct json_writer *json, const char *text, size_t size)
{
    separate(json);
    quote(json->out, text, size);
}

void jsonw_text(struct json_writer *json, const char *text)
{
    jsonw_text_of_size(json, text, strlen(text));
}

void jsonw_u64(struct json_writer *json, uint64_t number)
{
    separate(json);
    weir_buf_printf(json->out, "%" PRIu64, number);
}

void jsonw_i64(struct json_writer *json, int64_t number)
{
    separate(json);
    weir_buf_printf(json->out, "%" PRId64, number);
}

void jsonw_real(struct json_writer *json, double number, int digits)
{
    separate(json);
    weir_buf_printf(json->out, "%.*g", digits, number);
}

void jsonw_bool(struct json_writer *json, bool value)
{
    separate(json);
    weir_buf_text(json->out, value ? "true" : "false");
}

void jsonw_null(struct json_writer *json)
{
    separate(json);
    weir_buf_text(json->out, "null");
}

void jsonw_ratio(struct json_writer *json, uint64_t numerator, uint64_t denominator)
{
    separate(json);
    __extension__ unsigned __int128 scaled = numerator;
    uint64_t ratio = denominator == 0 ? 0 : (uint64_t)((scaled * 10000 + denominator / 2) / denominator);
    weir_buf_printf(json->out, "%" PRIu64 ".%04" PRIu64, ratio / 10000, ratio % 10000);
}

void jsonw_time(struct json_writer *json, int64_t ms)
{
    char text[WEIR_TIME_TEXT];
    jsonw_text(json, weir_time_rfc3339(ms, text));
}

void jsonw_key_text(struct json_writer *json, const char *key, const char *text)
{
    jsonw_key(json, key);
    jsonw_text(json, text);
}

void jsonw_key_u64(struct json_writer *json, const char *key, uint64_t number)
{
    jsonw_key(json, key);
    jsonw_u64(json, number);
}

void jsonw_key_bool(struct json_writer *json, const char *key, bool value)
{
    jsonw_key(json, key);
    jsonw_bool(json, value);
}

void jsonw_key_time(struct json_writer *json, const char *key, int64_t ms)
{
    jsonw_key(json, key);
    jsonw_time(json, ms);
}
