#include "broker/route_table.h"

#include "common/base/mem.h"

int route_table_init(struct route_table *table, uint32_t sessions, uint32_t entries)
{
    uint32_t buckets = 64;
    while (buckets < sessions)
        buckets *= 2;
    *table = (struct route_table){
        .session_capacity = sessions,
        .entry_capacity = entries,
        .bucket_mask = buckets - 1,
        .sessions = weir_calloc(sessions, sizeof *table->sessions),
        .by_peer = weir_calloc(buckets, sizeof *table->by_peer),
        .by_agent = weir_calloc(buckets, sizeof *table->by_agent),
        .entries = weir_calloc(entries, sizeof *table->entries),
    };
    if (table->sessions == NULL || table->by_peer == NULL || table->by_agent == NULL || table->entries == NULL)
        return WEIR_ENOMEM;
    for (uint32_t i = 0; i < entries; i++)
        table->entries[i].next = i + 1 < entries ? i + 2 : 0;
    table->free_entry = 1;
    return 0;
}

void route_table_fini(struct route_table *table)
{
    for (uint32_t i = 0; table->sessions != NULL && i < table->session_capacity; i++)
        weir_free(table->sessions[i]);
    weir_free(table->sessions);
    weir_free(table->by_peer);
    weir_free(table->by_agent);
    weir_free(table->entries);
    *table = (struct route_table){0};
}

static uint32_t *bucket_of_peer(const struct route_table *table, uint32_t peer)
{
    return &table->by_peer[(peer * 2654435769u >> 7) & table->bucket_mask];
}

/** An agent's id is a hash already. */
static uint32_t *bucket_of_agent(const struct route_table *table, const uint8_t agent[16])
{
    return &table->by_agent[weir_load_u32le(agent) & table->bucket_mask];
}

struct route_session *route_table_find_peer(const struct route_table *table, uint32_t peer)
{
    for (uint32_t link = *bucket_of_peer(table, peer); link != 0; link = table->sessions[link - 1]->next_by_peer) {
        if (table->sessions[link - 1]->peer == peer) return table->sessions[link - 1];
    }
    return NULL;
}

struct route_session *route_table_find_agent(const struct route_table *table, const uint8_t agent[16])
{
    for (uint32_t link = *bucket_of_agent(table, agent); link != 0; link = table->sessions[link - 1]->next_by_agent) {
        if (memcmp(table->sessions[link - 1]->agent, agent, 16) == 0) return table->sessions[link - 1];
    }
    return NULL;
}

static void link_peer(struct route_table *table, struct route_session *session)
{
    uint32_t *bucket = bucket_of_peer(table, session->peer);
    session->next_by_peer = *bucket;
    *bucket = session->index + 1;
}

static void unlink_peer(struct route_table *table, const struct route_session *session)
{
    uint32_t *link = bucket_of_peer(table, session->peer);
    while (*link != session->index + 1)
        link = &table->sessions[*link - 1]->next_by_peer;
    *link = session->next_by_peer;
}

struct route_session *route_table_add(struct route_table *table, uint32_t peer, const uint8_t agent[16])
{
    if (table->session_count == table->session_capacity) return NULL;
    struct route_session *session = weir_calloc(1, sizeof *session);
    if (session == NULL) return NULL;
    while (table->sessions[session->index] != NULL)
        session->index++;
    session->peer = peer;
    memcpy(session->agent, agent, sizeof session->agent);
    table->sessions[session->index] = session;
    table->session_count++;
    link_peer(table, session);
    uint32_t *bucket = bucket_of_agent(table, agent);
    session->next_by_agent = *bucket;
    *bucket = session->index + 1;
    return session;
}

void route_table_set_peer(struct route_table *table, struct route_session *session, uint32_t peer)
{
    unlink_peer(table, session);
    session->peer = peer;
    link_peer(table, session);
}

void route_table_remove(struct route_table *table, struct route_session *session)
{
    unlink_peer(table, session);
    uint32_t *link = bucket_of_agent(table, session->agent);
    while (*link != session->index + 1)
        link = &table->sessions[*link - 1]->next_by_agent;
    *link = session->next_by_agent;
    table->sessions[session->index] = NULL;
    table->session_count--;
    weir_free(session);
}

struct route_entry *route_table_find_entry(const struct route_table *table, const struct route_session *session,
                                           uint32_t shard, uint64_t seq)
{
    if (shard >= WEIR_SHARDS) return NULL;
    struct route_entry *entry = route_table_entry(table, session->lane[shard]);
    while (entry != NULL && entry->seq < seq)
        entry = route_table_entry(table, entry->next);
    return entry != NULL && entry->seq == seq ? entry : NULL;
}

/** The link after which an entry with @seq stands, or would stand. */
static uint32_t *place_of(const struct route_table *table, struct route_session *session, uint32_t shard, uint64_t seq)
{
    uint32_t *link = &session->lane[shard];
    while (*link != 0 && table->entries[*link - 1].seq < seq)
        link = &table->entries[*link - 1].next;
    return link;
}

struct route_entry *route_table_add_entry(struct route_table *table, struct route_session *session, uint32_t shard,
                                          uint64_t seq)
{
    struct route_entry *entry = route_table_entry(table, table->free_entry);
    if (entry == NULL) return NULL;
    uint32_t own_link = table->free_entry;
    table->free_entry = entry->next;
    uint32_t *link = place_of(table, session, shard, seq);
    *entry = (struct route_entry){.used = true, .seq = seq, .session = session->index, .shard = shard, .next = *link};
    *link = own_link;
    session->in_flight++;
    table->entry_count++;
    return entry;
}

void route_table_remove_entry(struct route_table *table, struct route_entry *entry)
{
    struct route_session *session = table->sessions[entry->session];
    uint32_t *link = place_of(table, session, entry->shard, entry->seq);
    uint32_t own_link = *link;
    *link = entry->next;
    *entry = (struct route_entry){.next = table->free_entry};
    table->free_entry = own_link;
    session->in_flight--;
    table->entry_count--;
}

/** The number of entries in the lanes of a session, or -1 where a lane is out of order or holds others' entries. */
static int64_t count_lanes(const struct route_table *table, const struct route_session *session)
{
    uint32_t found = 0;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        uint64_t before = 0;
        for (uint32_t link = session->lane[shard]; link != 0; link = table->entries[link - 1].next) {
            const struct route_entry *entry = &table->entries[link - 1];
            bool sound = entry->used && entry->session == session->index && entry->shard == shard;
            if (!sound || entry->seq <= before || found == table->entry_capacity) return -1;
            before = entry->seq;
            found++;
        }
    }
    return found;
}

bool route_table_check(const struct route_table *table)
{
    uint32_t sessions = 0, entries = 0, used = 0;
    for (uint32_t i = 0; i < table->session_capacity; i++) {
        const struct route_session *session = table->sessions[i];
        if (session == NULL) continue;
        sessions++;
        entries += session->in_flight;
        if (session->index != i || route_table_find_peer(table, session->peer) != session) return false;
        if (route_table_find_agent(table, session->agent) != session) return false;
        if (count_lanes(table, session) != session->in_flight) return false;
    }
    for (uint32_t i = 0; i < table->entry_capacity; i++)
        used += table->entries[i].used;
    return sessions == table->session_count && entries == table->entry_count && used == table->entry_count;
}
