/**
 * Who gets in: the ZAP handler (ZeroMQ RFC 27), a thread that answers for every handshake of the process's servers from
 * the allow-list. A server names its domain, a domain has the role that may connect to it.
 *
 * Two traps it guards against: CURVE without a handler accepts every key, so servers can only be made while one runs;
 * and weir_zap_self_test proves at start that a key made up on the spot is refused.
 */
#ifndef WEIR_COMMON_NET_ZAP_H
#define WEIR_COMMON_NET_ZAP_H

#include "common/net/socket.h"

enum { WEIR_ZAP_RULES_MOST = 8 };

/** The role that may connect to the servers of a domain. */
struct weir_zap_rule {
    const char *domain; /* static */
    enum weir_role role;
};

struct weir_zap;

enum weir_zap_verdict {
    WEIR_ZAP_ACCEPTED,
    WEIR_ZAP_UNKNOWN_KEY, /* not in the allow-list */
    WEIR_ZAP_WRONG_ROLE,  /* in it, with a role that has no business at this listener */
    WEIR_ZAP_MALFORMED,   /* not a request that we understand, an unknown domain or mechanism */
    WEIR_ZAP_VERDICTS
};

/**
 * Start the handler's thread with a share of @allow. Before any server; one per net.
 * WEIR_EEXIST when one runs already, WEIR_EPARAM, WEIR_ENOMEM, WEIR_EIO.
 */
int weir_zap_start(struct weir_net *net, const struct weir_zap_rule *rules, size_t count, struct weir_allow *allow,
                   struct weir_zap **ret, struct weir_why *why);

/** Stop it, after the servers. NULL is allowed. */
void weir_zap_stop(struct weir_zap *zap);

/** Use another allow-list from the next handshake on; takes a share of it. Any thread. */
void weir_zap_swap(struct weir_zap *zap, struct weir_allow *allow);

/**
 * Try to get in with a key that nobody knows, through a server of each domain on a loopback port of its own.
 * Waits up to @timeout_ms. WEIR_EDENIED when it got in: exit. WEIR_ETIMEOUT when nobody answered: exit too.
 */
int weir_zap_self_test(struct weir_zap *zap, int64_t timeout_ms, struct weir_why *why);

/** How many handshakes ended so, the self-test's not counted. Any thread. */
uint64_t weir_zap_count(const struct weir_zap *zap, enum weir_zap_verdict verdict);

/** "accepted", "unknown_key", "wrong_role", "malformed". Static memory. */
const char *weir_zap_verdict_name(enum weir_zap_verdict verdict);

#endif
