/** What the sources of this folder share; not for others. */
#ifndef WEIR_COMMON_NET_NET_H
#define WEIR_COMMON_NET_NET_H

#include "common/net/zap.h"

struct weir_net {
    void *context;
    struct weir_zap *zap; /* the one that runs, or NULL */
};

/** The metadata property in which our ZAP handler hands the peer's key to the messages of its connection. */
#define WEIR_ZAP_KEY_PROPERTY "Weir-Key"

/** Does the handler have a rule for @domain? */
bool weir_zap_knows(const struct weir_zap *zap, const char *domain);

#endif
