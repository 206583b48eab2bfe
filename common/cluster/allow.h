/**
 * The allow-list: who may connect, under which name, in which role, for which site and tenant. A key that is not in it
 * does not get in (common/net/zap.h asks at each handshake), and a key that is taken out of it is refused from the next
 * message on (programs ask per message, because a connection outlives the handshake).
 *
 * Built once, then never changed: a reload builds another one. A finished list may be shared among threads.
 */
#ifndef WEIR_COMMON_CLUSTER_ALLOW_H
#define WEIR_COMMON_CLUSTER_ALLOW_H

#include "common/base/err.h"
#include "common/cluster/msg.h"

enum {
    WEIR_KEY_TEXT = 41,     /* a CURVE key as text, Z85 (ZeroMQ RFC 32), with its NUL */
    WEIR_ALLOW_MOST = 65536 /* entries of one list */
};

enum weir_role {
    WEIR_ROLE_NONE = 0,
    WEIR_ROLE_AGENT = 1,
    WEIR_ROLE_BROKER = 2,
    WEIR_ROLE_AGGREGATOR = 3,
    WEIR_ROLE_CONSOLE = 4,
    WEIR_ROLES
};

struct weir_allow_entry {
    char name[WEIR_NAME_BYTES]; /* enrolled under; letters, digits, '.', '-', '_' */
    enum weir_role role;
    char site[WEIR_NAME_BYTES];   /* "" where a role has none */
    char tenant[WEIR_NAME_BYTES]; /* likewise; required of an agent */
    char key[WEIR_KEY_TEXT];      /* public */
    uint8_t agent[16];            /* weir_agent_id of the name; filled in by weir_allow_add */
};

struct weir_allow;

/** "agent", "broker", "aggregator", "console" or "none". Static memory. */
const char *weir_role_name(enum weir_role role);

/** The role of a name, or WEIR_ENOTFOUND. */
int weir_role_of(const char *name);

/** Is @text a name that a node, site or tenant may have: 1 to 63 letters, digits, '.', '-', '_'? */
bool weir_name_is_valid(const char *text);

/** Is @text a key: 40 characters of Z85, each group of five at most 2^32 - 1? Then one key has one text. */
bool weir_key_is_valid(const char *text);

/** An empty list, which refuses everybody. WEIR_ENOMEM. */
int weir_allow_create(struct weir_allow **ret);

/** Give up one share; the last one frees. NULL is allowed. Any thread. */
void weir_allow_destroy(struct weir_allow *allow);

/** One more share of a finished list; returns @allow. Any thread. */
struct weir_allow *weir_allow_share(struct weir_allow *allow);

/**
 * Add a copy of @entry. A name may have several keys (an overlap while keys are changed) if role, site and tenant are
 * the same in each; a key has one name.
 *
 *   WEIR_EPARAM   a name, role, key, site or tenant is not allowed; an agent without a tenant
 *   WEIR_EEXIST   the key is there already, or the name is with another role, site or tenant
 *   WEIR_ELIMIT   WEIR_ALLOW_MOST
 *   WEIR_ENOMEM
 */
int weir_allow_add(struct weir_allow *allow, const struct weir_allow_entry *entry, struct weir_why *why);

/** The entry of a key, or NULL. Borrowed while the list lives. */
const struct weir_allow_entry *weir_allow_find_key(const struct weir_allow *allow, const char *key);

/** The first entry of a name, or NULL. Borrowed while the list lives. */
const struct weir_allow_entry *weir_allow_find_name(const struct weir_allow *allow, const char *name);

size_t weir_allow_count(const struct weir_allow *allow);

/** Entry @index in the order they were added. */
const struct weir_allow_entry *weir_allow_at(const struct weir_allow *allow, size_t index);

#endif
