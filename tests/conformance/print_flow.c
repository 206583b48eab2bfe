#include "tests/conformance/print_flow.h"

#include <inttypes.h>
#include <stdio.h>

static uint64_t number_of(const struct weir_flow *flow, const struct weir_field_info *info)
{
    const uint8_t *at = (const uint8_t *)flow + info->at;
    uint64_t number = 0;
    for (int i = info->width - 1; i >= 0; i--) /* little-endian, like the machines that we test on */
        number = number << 8 | at[i];
    return number;
}

void print_flow(const struct weir_flow *flow)
{
    const char *comma = "";
    printf("{");
    for (int f = 0; f < WEIR_FIELD_COUNT; f++) {
        const struct weir_field_info *info = &weir_fields[f];
        printf("%s\"%s\":", comma, info->name);
        if (info->is_ip) {
            char text[WEIR_IP_TEXT];
            printf("\"%s\"", weir_ip_format((const struct weir_ip *)((const uint8_t *)flow + info->at), text));
        } else {
            printf("%" PRId64, (int64_t)number_of(flow, info));
        }
        comma = ",";
    }
    printf("}");
}
