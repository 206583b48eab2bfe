/**
 * Plans: what a template becomes when it is learned. A list of copy operations, each of which moves one element of all
 * records of a set into one column of a batch (op-major). NetFlow v5 and v7 have fixed plans.
 */
#ifndef WEIR_AGENT_DECODE_PLAN_H
#define WEIR_AGENT_DECODE_PLAN_H

#include "common/flow/batch.h"

/** One element of a template. */
struct agent_spec {
    uint32_t enterprise; /* 0: IANA's */
    uint16_t element;    /* 0: padding */
    uint16_t size;       /* AGENT_VARIABLE: a length stands before the value (RFC 7011 7) */
};

enum { AGENT_VARIABLE = 0xffff, AGENT_OPS = 64, AGENT_ROWS_VARIABLE = 64 };

enum agent_op_kind {
    AGENT_OP_NONE,
    AGENT_OP_NUMBER, /* big-endian, 1 to 8 bytes */
    AGENT_OP_IPV4,
    AGENT_OP_IPV6,
    AGENT_OP_MPLS, /* RFC 3032: 20 bits of label, then traffic class and bottom of the stack */
    AGENT_OP_ICMP_TYPE,
    AGENT_OP_ICMP_CODE,
    AGENT_OP_TIME_SECONDS,
    AGENT_OP_TIME_NTP,    /* RFC 7011 6.1.9: seconds since 1900 and a fraction */
    AGENT_OP_TIME_UPTIME, /* milliseconds since the exporter started */
    AGENT_OP_TIME_DELTA,  /* microseconds before the export time */
    AGENT_OP_DURATION_MS, /* after the start of the flow */
    AGENT_OP_DURATION_US,
    AGENT_OP_SAMPLE_ONE_IN,
    AGENT_OP_SAMPLE_INTERVAL,
    AGENT_OP_SAMPLE_SPACE,
    AGENT_OP_SAMPLE_SELECTOR,
    AGENT_OP_FRAME,      /* the beginning of an Ethernet frame (RFC 5477 8.5.2) */
    AGENT_OP_IP_PACKET,  /* the same of an IP packet */
    AGENT_OP_EXTRA,      /* a value that the operator named: @field is its number */
    AGENT_OP_BASIC_LIST, /* lists (RFC 6313), here and behind */
    AGENT_OP_SUB_TEMPLATE_LIST,
    AGENT_OP_SUB_TEMPLATE_MULTI_LIST,
};

struct agent_op {
    uint8_t kind;
    uint8_t field; /* enum weir_field */
    uint16_t size; /* bytes in the record; AGENT_VARIABLE (behind tail_at only): @at is that of the length */
    uint16_t at;   /* in the segment */
    uint16_t segment : 15;
    uint16_t merges : 1; /* another operation wrote the column already */
};

/**
 * A record is @segments runs of fixed length with a value of variable length between each two; without such values it
 * is one segment, and records follow each other at a stride.
 */
struct agent_plan {
    uint64_t by_ops;           /* columns that the ops write */
    uint64_t written;          /* these and the times */
    uint32_t record_bytes;     /* of the fixed parts; with one segment the stride. At least 1 */
    uint32_t elements_unknown; /* values in a record that are skipped */
    uint16_t op_count;
    uint16_t sample_at; /* the ops from here on are about sampling and write nothing by themselves */
    uint16_t tail_at;   /* the ops from here on are the caller's, value by value (agent_plan_bytes) */
    uint16_t segments;
    bool icmp_from_port; /* there is no element for ICMP type and code, but a port they may be in */
    struct agent_op *ops;
    uint16_t *segment_bytes;
    struct agent_plan *reverse; /* of the same records, for the flow in the other direction; NULL: they have one only */
};

/** The elements that the operator named (docs/decisions/0019), at most WEIR_EXTRAS_MOST. */
struct agent_extras {
    const struct weir_extra *extra;
    size_t count;
};

/**
 * Compile @count elements. @extras NULL: nobody named any. WEIR_EFORMAT when a record would have no bytes, or more than a datagram holds; WEIR_ENOMEM.
 * Records that count both directions (RFC 5103, or initiator and responder) get a plan for each: the second reads the
 * other direction as a flow of its own.
 *
 * Elements we have no column for, or in a size that their type does not allow, are counted as unknown and skipped.
 */
int agent_plan_compile(const struct agent_spec *specs, size_t count, const struct agent_extras *extras,
                       struct agent_plan *ret);
void agent_plan_fini(struct agent_plan *plan);

/** The exporter's clock in a datagram. */
struct agent_clock {
    int64_t export_ms;
    uint32_t uptime_ms; /* at export_ms */
    bool has_uptime;
};

/** Where the records of a set are: at a stride, or (variable) at offsets per used segment. */
struct agent_rows {
    const uint8_t *base;
    uint32_t count;
    const uint16_t (*where)[AGENT_ROWS_VARIABLE]; /* [op]; NULL: at a stride of record_bytes */
};

/**
 * Find up to AGENT_ROWS_VARIABLE records of variable length in [@at, @end), filling @where for each op. Returns how
 * many, with *next behind the last one; *whole is false when a record ran past the end.
 */
uint32_t agent_plan_walk(const struct agent_plan *plan, const uint8_t *at, const uint8_t *end,
                         uint16_t where[][AGENT_ROWS_VARIABLE], const uint8_t **next, bool *whole);

/**
 * Write the columns of the plan for @rows into @batch, behind its flows; it has the room. Returns the columns written,
 * for weir_batch_commit. The ops about sampling are the caller's business.
 */
uint64_t agent_plan_run(const struct agent_plan *plan, const struct agent_rows *rows, const struct agent_clock *clock,
                        struct weir_batch *batch);

/**
 * Step over the record at @c, which has plan->record_bytes at least. @flow not NULL: write into it, which is zero, what
 * the ops that write columns say; times that no element gives are not there. Returns the columns.
 */
uint64_t agent_plan_read(const struct agent_plan *plan, struct weir_cursor *c, const struct agent_clock *clock,
                         struct weir_flow *flow);

/** The same for one value of an element, of spec->size bytes at @at: its column, or 0. */
uint64_t agent_plan_read_value(const struct agent_spec *spec, const uint8_t *at, const struct agent_clock *clock,
                               struct weir_flow *flow);

/** The length that stands before a value (RFC 7011 7). */
uint16_t agent_plan_length(struct weir_cursor *c);

/** The value of a sampling op (size 1 to 8) in row @row. */
uint64_t agent_plan_value(const struct agent_plan *plan, const struct agent_rows *rows, uint16_t op, uint32_t row);

/** The value of an op from tail_at on in row @row: of a variable one what stands behind its length. */
struct weir_view agent_plan_bytes(const struct agent_plan *plan, const struct agent_rows *rows, uint16_t op,
                                  uint32_t row);

#endif
