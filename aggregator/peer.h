/** Is who sent this still allowed to? A connection outlives its handshake, so each message asks (common/net/zap.h). */
#ifndef WEIR_AGGREGATOR_PEER_H
#define WEIR_AGGREGATOR_PEER_H

#include "common/net/zap.h"

#include <string.h>

static inline bool agg_peer_is_allowed(const struct weir_allow *allow, const struct weir_peer *peer,
                                       enum weir_role role)
{
    const struct weir_allow_entry *entry = weir_allow_find_key(allow, peer->key);
    return entry != NULL && entry->role == role && strcmp(entry->name, peer->name) == 0;
}

#endif
