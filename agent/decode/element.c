#include "agent/decode/element.h"

#include <stdlib.h>

static const struct agent_element elements[] = {
#define COLUMN(n, text, data_type, into, kind, rank) \
    {.number = n, .name = #text, .type = #data_type, .field = WEIR_FIELD_##into, .use = AGENT_ELEMENT_COLUMN},
#define REVERSE(n, text, data_type, into) \
    {.number = n, .name = #text, .type = #data_type, .field = WEIR_FIELD_##into, .use = AGENT_ELEMENT_REVERSE},
#define OPTIONS(n, text, data_type) \
    {.number = n, .name = #text, .type = #data_type, .field = WEIR_FIELD_COUNT, .use = AGENT_ELEMENT_OPTIONS},
#define SKIPPED(n, text, data_type) \
    {.number = n, .name = #text, .type = #data_type, .field = WEIR_FIELD_COUNT, .use = AGENT_ELEMENT_SKIPPED},
#include "agent/decode/elements.def"
};

enum { ELEMENTS = sizeof elements / sizeof *elements };

static int compare(const void *key, const void *element)
{
    return *(const uint16_t *)key - ((const struct agent_element *)element)->number;
}

const struct agent_element *agent_element_of(uint16_t number)
{
    return bsearch(&number, elements, ELEMENTS, sizeof *elements, compare);
}

const struct agent_element *agent_elements(size_t *count)
{
    *count = ELEMENTS;
    return elements;
}
