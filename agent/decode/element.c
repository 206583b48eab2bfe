#include "agent/decode/element.h"

#include <stdlib.h>
#include <string.h>

static const struct agent_element elements[] = {
#define COLUMN(n, text, data_type, into, kind, rank) \
    {.number = n, .name = #text, .type = #data_type, .field = WEIR_FIELD_##into, .use = AGENT_ELEMENT_COLUMN},
#define REVERSE(n, text, data_type, into) \
    {.number = n, .name = #text, .type = #data_type, .field = WEIR_FIELD_##into, .use = AGENT_ELEMENT_REVERSE},
#define OPTIONS(n, text, data_type) \
    {.number = n, .name = #text, .type = #data_type, .field = WEIR_FIELD_COUNT, .use = AGENT_ELEMENT_OPTIONS},
#define SKIPPED(n, text, data_type) \
    {.number = n, .name = #text, .type = #data_type, .field = WEIR_FIELD_COUNT, .use = AGENT_ELEMENT_SKIPPED},
#define PACKET(n, text, data_type, kind) \
    {.number = n, .name = #text, .type = #data_type, .field = WEIR_FIELD_COUNT, .use = AGENT_ELEMENT_PACKET},
#define LIST(n, text, data_type, kind) \
    {.number = n, .name = #text, .type = #data_type, .field = WEIR_FIELD_COUNT, .use = AGENT_ELEMENT_LIST},
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

enum weir_extra_type agent_element_extra_type(uint32_t enterprise, uint16_t number)
{
    static const struct {
        const char *name; /* what IANA's types begin with: sizes do not matter (RFC 7011 6.2) */
        enum weir_extra_type type;
    } types[] = {
        {"unsigned", WEIR_EXTRA_UNSIGNED},
        {"signed", WEIR_EXTRA_SIGNED},
        {"float", WEIR_EXTRA_FLOAT},
        {"boolean", WEIR_EXTRA_BOOLEAN},
        {"ipv4Address", WEIR_EXTRA_ADDRESS},
        {"ipv6Address", WEIR_EXTRA_ADDRESS},
        {"macAddress", WEIR_EXTRA_MAC},
        {"string", WEIR_EXTRA_STRING},
        {"dateTimeSeconds", WEIR_EXTRA_SECONDS},
        {"dateTimeMilliseconds", WEIR_EXTRA_MILLISECONDS},
        {"dateTimeMicroseconds", WEIR_EXTRA_NTP},
        {"dateTimeNanoseconds", WEIR_EXTRA_NTP},
    };
    const struct agent_element *element = enterprise == 0 ? agent_element_of(number) : NULL;
    if (element == NULL) return WEIR_EXTRA_OCTETS;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strncmp(element->type, types[i].name, strlen(types[i].name)) == 0) return types[i].type;
    }
    return WEIR_EXTRA_OCTETS;
}
