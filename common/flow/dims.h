/**
 * Dimensions: what one can group by and filter on (dims.def), their values, and how values are written.
 */
#ifndef WEIR_COMMON_FLOW_DIMS_H
#define WEIR_COMMON_FLOW_DIMS_H

#include "common/flow/batch.h"

/** Indices of dims.def. Identity inside one build only; on the wire and on disk a dimension is its number. */
enum weir_dim {
#define DIM(id, number, name, type, width, origin, fields, help) WEIR_DIM_##id,
#include "common/flow/dims.def"
#undef DIM
    WEIR_DIM_COUNT
};

_Static_assert(WEIR_DIM_COUNT <= 64, "sets of dimensions are 64-bit masks");

/** The set that holds one dimension. */
#define WEIR_DIM_BIT(dim) (1ull << (dim))

/** What a value is, and so how it is written. */
enum weir_dim_type {
    WEIR_DIM_TYPE_IP,
    WEIR_DIM_TYPE_NUMBER,
    WEIR_DIM_TYPE_PROTO,     /* tcp, udp, 132 */
    WEIR_DIM_TYPE_FLAGS,     /* S.A or -: as nfdump writes them */
    WEIR_DIM_TYPE_MAC,       /* 00:11:22:33:44:55 */
    WEIR_DIM_TYPE_DIRECTION, /* ingress, egress */
    WEIR_DIM_TYPE_ACTION,    /* accept, reject, consumed, unknown */
    WEIR_DIM_TYPE_PROTOCOL,  /* netflow5, ... */
    WEIR_DIM_TYPE_SERVICE,   /* https, tcp/8443; number = proto x 65536 + port */
    WEIR_DIM_TYPE_TEXT       /* number = an index into a table of names that the holder of the value has */
};

enum weir_dim_origin { WEIR_DIM_FIELD, WEIR_DIM_SOURCE, WEIR_DIM_DERIVED, WEIR_DIM_EITHER };

struct weir_dim_info {
    const char *name;
    const char *help;
    uint64_t fields; /* columns (bit per enum weir_field) that the value is made from */
    enum weir_dim_type type;
    enum weir_dim_origin origin;
    uint8_t number;        /* on the wire and on disk */
    uint8_t width;         /* significant bytes of a value: 16 for an address, else its low bytes as a number */
    enum weir_field field; /* of a WEIR_DIM_FIELD */
};

extern const struct weir_dim_info weir_dims[WEIR_DIM_COUNT];

/** A value of a dimension. The bytes that its type does not use are 0, so that values compare by memcmp. */
union weir_value {
    struct weir_ip ip;
    uint64_t number;
    uint8_t bytes[16];
};

/** What a flow's batch says about all of its flows. Borrowed texts. */
struct weir_where {
    struct weir_source source;
    enum weir_protocol protocol;
    const char *site;     /* never NULL; "" unknown */
    uint32_t site_number; /* index of @site in the names of whoever will hold the values; 0 where none does */
};

enum { WEIR_DIM_TEXT = 64 };

/** The dimension of this name or number, or WEIR_ENOTFOUND. */
int weir_dim_of_name(const char *name);
int weir_dim_of_number(uint32_t number);

/** All that follows from a set of dimensions: service is proto and server_port, and the other way round. */
uint64_t weir_dims_close(uint64_t dims);

/** The columns that the values of these dimensions are made from. */
uint64_t weir_dims_fields(uint64_t dims);

/**
 * The value of @dim for one flow: 1, or 2 values for an EITHER dimension whose two roles differ. WEIR_DIM_site yields
 * where->site_number.
 */
int weir_dim_of_flow(enum weir_dim dim, const struct weir_flow *flow, const struct weir_where *where,
                     union weir_value values[2]);

/** The values of @dim, which is not an EITHER, for rows @from..@from+@rows-1 of @batch. */
void weir_dim_of_rows(enum weir_dim dim, const struct weir_batch *batch, const struct weir_where *where, uint32_t from,
                      uint32_t rows, union weir_value *values);

/** Write a value as filters and tables do; a TEXT as its number. Returns @out. */
const char *weir_dim_format(enum weir_dim dim, const union weir_value *value, char out[WEIR_DIM_TEXT]);

/** Read a value as weir_dim_format writes it, or as a plain number. WEIR_EFORMAT; WEIR_EUNSUPPORTED for a TEXT. */
int weir_dim_parse(enum weir_dim dim, const char *text, union weir_value *ret);

/** The largest number that a value can be; not for addresses. */
static inline uint64_t weir_dim_most(enum weir_dim dim)
{
    return weir_dims[dim].width >= 8 ? UINT64_MAX : (1ull << 8 * weir_dims[dim].width) - 1;
}

/** Does a value of this type go into JSON as a number (else as text)? */
bool weir_dim_is_number(enum weir_dim dim);

#endif
