/**
 * The broker's two tables, both bounded: sessions (one per agent, found by connection and by agent) and batches in
 * flight (found by session, shard and number; the batches of a lane are linked in order).
 *
 * Only for route_core.c, which keeps the counts that the ledger is made of.
 */
#ifndef WEIR_BROKER_ROUTE_TABLE_H
#define WEIR_BROKER_ROUTE_TABLE_H

#include "broker/route_core.h"

/** One batch in flight. */
struct route_entry {
    uint64_t seq;
    uint64_t expected;     /* by the owner that has most of the lane */
    uint64_t last;         /* number that it stands for: beyond @seq for a loss */
    int64_t since_mono_ms; /* when it was forwarded the last time */
    uint32_t session;      /* index */
    uint32_t shard;
    uint32_t bytes;
    uint32_t next; /* of its lane, or of the free ones: index + 1, 0 none */
    bool used;
    uint8_t owner_count;
    uint8_t owners[ROUTE_OWNERS_MOST]; /* aggregators that it was forwarded to */
    uint8_t got;                       /* bit i: owners[i] committed it */
    uint8_t poison;                    /* bit i: owners[i] cannot decode it */
};

/** A newcomer who claims the name of a session. */
struct route_challenger {
    uint32_t peer; /* 0: nobody */
    uint64_t inc;
    uint64_t instance;
    int64_t until_mono_ms;
    char key[WEIR_KEY_TEXT];
};

/** One agent. */
struct route_session {
    uint32_t index;
    uint32_t peer;
    const struct weir_allow_entry *who; /* in the allow-list that holds */
    char key[WEIR_KEY_TEXT];
    char name[WEIR_NAME_BYTES];
    uint8_t agent[16];
    uint64_t inc;
    uint64_t instance;
    int64_t heard_mono_ms;
    int64_t pinged_mono_ms;
    uint32_t credit;
    uint32_t in_flight;
    uint64_t batches;
    uint64_t spool_bytes;
    int64_t spool_oldest_ms;
    struct route_challenger challenger;
    uint32_t next_by_peer; /* in their bucket: index + 1, 0 none */
    uint32_t next_by_agent;
    uint32_t lane[WEIR_SHARDS]; /* first entry in flight: index + 1, 0 none */
};

struct route_table {
    struct route_session **sessions; /* by index; NULL where free */
    uint32_t session_capacity;
    uint32_t session_count;
    uint32_t *by_peer;
    uint32_t *by_agent;
    uint32_t bucket_mask;
    struct route_entry *entries;
    uint32_t entry_capacity;
    uint32_t entry_count;
    uint32_t free_entry;
};

/** WEIR_ENOMEM; fini in any case. */
int route_table_init(struct route_table *table, uint32_t sessions, uint32_t entries);
void route_table_fini(struct route_table *table);

struct route_session *route_table_find_peer(const struct route_table *table, uint32_t peer);
struct route_session *route_table_find_agent(const struct route_table *table, const uint8_t agent[16]);

/** A session for an agent that has none. NULL when the table is full or memory runs out. */
struct route_session *route_table_add(struct route_table *table, uint32_t peer, const uint8_t agent[16]);

/** The session is spoken to through another connection from now on. */
void route_table_set_peer(struct route_table *table, struct route_session *session, uint32_t peer);

/** Remove a session without entries in flight. */
void route_table_remove(struct route_table *table, struct route_session *session);

struct route_entry *route_table_find_entry(const struct route_table *table, const struct route_session *session,
                                           uint32_t shard, uint64_t seq);

/** A new entry, in its place in the lane. NULL when all are in use. */
struct route_entry *route_table_add_entry(struct route_table *table, struct route_session *session, uint32_t shard,
                                          uint64_t seq);
void route_table_remove_entry(struct route_table *table, struct route_entry *entry);

/** The entry of a link (route_session.lane, route_entry.next), or NULL. */
static inline struct route_entry *route_table_entry(const struct route_table *table, uint32_t link)
{
    return link == 0 ? NULL : &table->entries[link - 1];
}

bool route_table_check(const struct route_table *table);

#endif
