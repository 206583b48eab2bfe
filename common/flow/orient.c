#include "common/flow/orient.h"

#include "common/base/err.h"

#include <strings.h>

static const struct {
    uint8_t proto;
    uint16_t port;
    const char *name;
} services[] = {
#define SERVICE(protocol, number, text) {protocol, number, text},
#include "common/flow/service.def"
#undef SERVICE
};

enum { SERVICES = sizeof services / sizeof *services };

const char *weir_service_name(uint32_t service)
{
    switch (service) {
#define SERVICE(protocol, number, text)         \
    case (uint32_t)(protocol) << 16 | (number): \
        return text;
#include "common/flow/service.def"
#undef SERVICE
    default: return NULL;
    }
}

int64_t weir_service_of_name(const char *name)
{
    for (size_t i = 0; i < SERVICES; i++) {
        if (strcasecmp(services[i].name, name) == 0) return weir_service_of(services[i].proto, services[i].port);
    }
    return WEIR_ENOTFOUND;
}
