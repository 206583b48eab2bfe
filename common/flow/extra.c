#include "common/flow/extra.h"

#include "common/base/err.h"
#include "common/flow/civil.h"
#include "common/flow/ip.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static const char *const type_names[] = {
    [WEIR_EXTRA_OCTETS] = "text",       [WEIR_EXTRA_UNSIGNED] = "integer", [WEIR_EXTRA_SIGNED] = "integer",
    [WEIR_EXTRA_FLOAT] = "number",      [WEIR_EXTRA_BOOLEAN] = "boolean",  [WEIR_EXTRA_ADDRESS] = "ip",
    [WEIR_EXTRA_MAC] = "text",          [WEIR_EXTRA_STRING] = "text",      [WEIR_EXTRA_SECONDS] = "time",
    [WEIR_EXTRA_MILLISECONDS] = "time", [WEIR_EXTRA_NTP] = "time",
};

bool weir_extra_name_is_valid(struct weir_view name)
{
    if (name.size < 1 || name.size >= WEIR_EXTRA_NAME_BYTES) return false;
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_') return false;
    }
    return true;
}

const char *weir_extra_type_name(uint8_t type)
{
    return type < sizeof type_names / sizeof *type_names ? type_names[type] : type_names[WEIR_EXTRA_OCTETS];
}

void weir_extra_put(struct weir_buf *row, const struct weir_extra *extra, struct weir_view bytes)
{
    size_t name_size = strlen(extra->name);
    weir_buf_u8(row, extra->type);
    weir_buf_u8(row, (uint8_t)name_size);
    weir_buf_append(row, extra->name, name_size);
    weir_buf_u8(row, (uint8_t)bytes.size);
    weir_buf_append(row, bytes.data, bytes.size);
}

int weir_extra_next(struct weir_cursor *row, struct weir_extra_value *ret)
{
    if (weir_cursor_left(row) == 0) return 0;
    ret->type = weir_cursor_u8(row);
    ret->name.size = weir_cursor_u8(row);
    ret->name.data = weir_cursor_take(row, ret->name.size);
    ret->bytes.size = weir_cursor_u8(row);
    ret->bytes.data = weir_cursor_take(row, ret->bytes.size);
    if (row->ran_out || !weir_extra_name_is_valid(ret->name)) return WEIR_EFORMAT;
    return 1;
}

/* ---- reading ---- */

static void write_octets(struct weir_view bytes, struct json_writer *json)
{
    static const char digits[] = "0123456789abcdef";
    char text[2 * WEIR_EXTRA_VALUE_MOST];
    for (size_t i = 0; i < bytes.size; i++) {
        text[2 * i] = digits[bytes.data[i] >> 4];
        text[2 * i + 1] = digits[bytes.data[i] & 0xf];
    }
    jsonw_text_of_size(json, text, 2 * bytes.size);
}

/** A signed number of 1 to 8 bytes (RFC 7011 6.1.2). */
static int64_t load_signed(struct weir_view bytes)
{
    uint64_t value = weir_load_ube(bytes.data, bytes.size);
    uint64_t sign = 1ull << (8 * bytes.size - 1);
    return (int64_t)((value ^ sign) - sign);
}

static double load_float(struct weir_view bytes)
{
    if (bytes.size == sizeof(float)) {
        uint32_t bits = weir_load_u32be(bytes.data);
        float single;
        memcpy(&single, &bits, sizeof single);
        return (double)single;
    }
    uint64_t bits = weir_load_u64be(bytes.data);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static bool write_float(struct weir_view bytes, struct json_writer *json)
{
    if (bytes.size != sizeof(float) && bytes.size != sizeof(double)) return false;
    double value = load_float(bytes);
    if (!isfinite(value)) return false; /* JSON has no such number */
    jsonw_real(json, value, bytes.size == sizeof(float) ? 9 : 17);
    return true;
}

static bool write_address(struct weir_view bytes, struct json_writer *json)
{
    char text[WEIR_IP_TEXT];
    struct weir_ip ip;
    if (bytes.size == 4) {
        ip = weir_ip_from_v4(bytes.data);
    } else if (bytes.size == 16) {
        ip = weir_ip_from_v6(bytes.data);
    } else {
        return false;
    }
    jsonw_text(json, weir_ip_format(&ip, text));
    return true;
}

static bool write_mac(struct weir_view bytes, struct json_writer *json)
{
    if (bytes.size != 6) return false;
    char text[18];
    const uint8_t *b = bytes.data;
    snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]);
    jsonw_text(json, text);
    return true;
}

/** Up to the first zero: exporters fill places of fixed size up with them. */
static void write_string(struct weir_view bytes, struct json_writer *json)
{
    jsonw_text_of_size(json, (const char *)bytes.data, strnlen((const char *)bytes.data, bytes.size));
}

static bool write_time(uint8_t type, struct weir_view bytes, struct json_writer *json)
{
    const int64_t year_10000_ms = 253402300800000;
    int64_t ms = 0;
    if (type == WEIR_EXTRA_NTP && bytes.size == 8) {
        ms = weir_ntp_ms(weir_load_u32be(bytes.data), weir_load_u32be(bytes.data + 4));
    } else if (type == WEIR_EXTRA_SECONDS && bytes.size == 4) {
        ms = (int64_t)weir_load_u32be(bytes.data) * 1000;
    } else if (type == WEIR_EXTRA_MILLISECONDS && bytes.size == 8) {
        ms = (int64_t)(weir_load_u64be(bytes.data) & INT64_MAX);
    } else {
        return false;
    }
    if (ms >= year_10000_ms) return false;
    jsonw_time(json, ms);
    return true;
}

static bool write_integer(uint8_t type, struct weir_view bytes, struct json_writer *json)
{
    if (bytes.size > sizeof(uint64_t)) return false; /* unsigned256 */
    uint64_t number = weir_load_ube(bytes.data, bytes.size);
    if (type == WEIR_EXTRA_SIGNED) {
        jsonw_i64(json, load_signed(bytes));
    } else if (number <= INT64_MAX) {
        jsonw_u64(json, number);
    } else { /* many readers of JSON have no such integers */
        char text[24];
        snprintf(text, sizeof text, "%" PRIu64, number);
        jsonw_text(json, text);
    }
    return true;
}

/** RFC 7011 6.1.5. */
static bool write_boolean(struct weir_view bytes, struct json_writer *json)
{
    if (bytes.size != 1 || bytes.data[0] < 1 || bytes.data[0] > 2) return false;
    jsonw_bool(json, bytes.data[0] == 1);
    return true;
}

static bool write_typed(const struct weir_extra_value *value, struct json_writer *json)
{
    switch (value->type) {
    case WEIR_EXTRA_UNSIGNED:
    case WEIR_EXTRA_SIGNED: return write_integer(value->type, value->bytes, json);
    case WEIR_EXTRA_FLOAT: return write_float(value->bytes, json);
    case WEIR_EXTRA_BOOLEAN: return write_boolean(value->bytes, json);
    case WEIR_EXTRA_ADDRESS: return write_address(value->bytes, json);
    case WEIR_EXTRA_MAC: return write_mac(value->bytes, json);
    case WEIR_EXTRA_STRING: write_string(value->bytes, json); return true;
    case WEIR_EXTRA_SECONDS:
    case WEIR_EXTRA_MILLISECONDS:
    case WEIR_EXTRA_NTP: return write_time(value->type, value->bytes, json);
    default: return false;
    }
}

void weir_extra_json(const struct weir_extra_value *value, struct json_writer *json)
{
    if (value->bytes.size == 0) {
        jsonw_null(json);
    } else if (!write_typed(value, json)) {
        write_octets(value->bytes, json);
    }
}
