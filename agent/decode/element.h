/** IANA's IPFIX information elements as a table (elements.def): their names, types, and what is done with each. */
#ifndef WEIR_AGENT_DECODE_ELEMENT_H
#define WEIR_AGENT_DECODE_ELEMENT_H

#include "common/flow/extra.h"
#include "common/flow/flow.h"

enum agent_element_use {
    AGENT_ELEMENT_COLUMN,  /* of flows */
    AGENT_ELEMENT_REVERSE, /* of flows in the other direction */
    AGENT_ELEMENT_OPTIONS, /* read from options data */
    AGENT_ELEMENT_PACKET,  /* a flow is read out of it */
    AGENT_ELEMENT_LIST,    /* of values of other elements */
    AGENT_ELEMENT_SKIPPED,
};

/** Static memory all through. */
struct agent_element {
    const char *name;
    const char *type;
    uint16_t number;
    uint8_t use;   /* enum agent_element_use */
    uint8_t field; /* enum weir_field; WEIR_FIELD_COUNT where there is none */
};

/** The element of this number without an enterprise; NULL: IANA has not assigned it. */
const struct agent_element *agent_element_of(uint16_t number);

/** All of them, in the order of their numbers. */
const struct agent_element *agent_elements(size_t *count);

/** How values of the element are read where nobody said it: as IANA's registry says, else octets. */
enum weir_extra_type agent_element_extra_type(uint32_t enterprise, uint16_t number);

#endif
