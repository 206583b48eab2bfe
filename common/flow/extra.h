/**
 * Extra columns: elements of exporters that fields.def has no column for, kept because an operator named them
 * (docs/decisions/0019). A batch carries each with its name and how to read it, so that whoever answers needs no
 * configuration.
 *
 * A value is kept as it was exported, in network order and at the length that the exporter chose; it is read where it
 * is shown. A flow whose record did not have the element has a value of no bytes.
 */
#ifndef WEIR_COMMON_FLOW_EXTRA_H
#define WEIR_COMMON_FLOW_EXTRA_H

#include "common/flow/json_writer.h"

enum {
    WEIR_EXTRAS_MOST = 8,        /* of a batch */
    WEIR_EXTRA_NAME_BYTES = 32,  /* of a name, with the end */
    WEIR_EXTRA_VALUE_MOST = 255, /* bytes; longer values are cut */
    /** Values of a batch, with a byte of length each, but for those that are empty because their record has no such element. */
    WEIR_EXTRA_BYTES_MOST = 128 << 10,
    WEIR_EXTRA_ROW_MOST = WEIR_EXTRAS_MOST * (WEIR_EXTRA_NAME_BYTES + WEIR_EXTRA_VALUE_MOST + 2),
};

/** How a value is read (RFC 7011 6.1). The numbers are those of the wire and the store: only ever added to. */
enum weir_extra_type {
    WEIR_EXTRA_OCTETS = 0, /* shown in hexadecimal, as whatever cannot be read */
    WEIR_EXTRA_UNSIGNED = 1,
    WEIR_EXTRA_SIGNED = 2,
    WEIR_EXTRA_FLOAT = 3,
    WEIR_EXTRA_BOOLEAN = 4,
    WEIR_EXTRA_ADDRESS = 5, /* IPv4 or IPv6, by its length */
    WEIR_EXTRA_MAC = 6,
    WEIR_EXTRA_STRING = 7,
    WEIR_EXTRA_SECONDS = 8, /* times: since 1970 */
    WEIR_EXTRA_MILLISECONDS = 9,
    WEIR_EXTRA_NTP = 10, /* dateTimeMicroseconds, dateTimeNanoseconds */
};

/** What an operator named. */
struct weir_extra {
    char name[WEIR_EXTRA_NAME_BYTES];
    uint32_t enterprise; /* 0: IANA's */
    uint16_t element;
    uint8_t type; /* enum weir_extra_type; others are octets */
};

/** A value of a flow, with its name. Borrows from what it was read from. */
struct weir_extra_value {
    uint8_t type;
    struct weir_view name;
    struct weir_view bytes;
};

/** 1 to 31 lower-case letters, digits and '_'? */
bool weir_extra_name_is_valid(struct weir_view name);

/** What a column of this type is called in answers: "integer", "number", "text", "ip", "time", "boolean". Static memory. */
const char *weir_extra_type_name(uint8_t type);

/** Append a value to the extra columns of one flow, a byte string that travels with it in answers. */
void weir_extra_put(struct weir_buf *row, const struct weir_extra *extra, struct weir_view bytes);

/** Step through the extra columns of one flow: 1 with *ret, 0 at the end, WEIR_EFORMAT. */
int weir_extra_next(struct weir_cursor *row, struct weir_extra_value *ret);

/** Write the value as JSON. */
void weir_extra_json(const struct weir_extra_value *value, struct json_writer *json);

#endif
