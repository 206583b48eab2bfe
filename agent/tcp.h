/**
 * Streams of IPFIX messages over TCP (RFC 7011 10.4): listening sockets, connections, and what keeps them in bounds.
 *
 * One thread owns it all. It reads what is there, at most READ_BYTES of one connection before the next has its turn,
 * and never waits for a peer: one that is slow, silent or in the middle of a message holds up nobody. A connection
 * that has no whole message for too long is closed; when there are as many as allowed, one that has never sent a whole
 * message makes room for a new one, and if there is none the new one is refused.
 */
#ifndef WEIR_AGENT_TCP_H
#define WEIR_AGENT_TCP_H

#include "agent/udp.h"

struct agent_tcp_conf {
    uint32_t most_connections;
    uint32_t idle_ms; /* without a whole message */
};

/** Why a connection ended, or was not taken. */
enum agent_tcp_end {
    AGENT_TCP_PEER,   /* the peer closed it */
    AGENT_TCP_ERROR,  /* the network did */
    AGENT_TCP_IDLE,   /* too long without a whole message */
    AGENT_TCP_FORMAT, /* what it sent is not IPFIX */
    AGENT_TCP_MEMORY, /* no memory for it */
    AGENT_TCP_STOP,   /* we leave */
    AGENT_TCP_LIMIT,  /* there are as many as allowed, or no memory for more */
    AGENT_TCP_DENIED, /* the owner does not want this peer */
    AGENT_TCP_ENDS
};

/** The name of an end, as in metrics and logs ("peer"). Static memory. */
const char *agent_tcp_end_name(enum agent_tcp_end end);

/** Who speaks by a connection. */
struct agent_tcp_peer {
    struct weir_ip ip;
    uint16_t port;
    uint32_t number;   /* of the connection: 1, 2, ... modulo 2^30 */
    uint32_t endpoint; /* it came to: as given to agent_tcp_listen */
};

/** Whose connections these are. Called in the thread that polls. */
struct agent_tcp_owner {
    bool (*allows)(void *ctx, const struct weir_ip *ip);
    void (*take)(void *ctx, const struct agent_tcp_peer *peer, struct weir_view message);
    /** It is over. @rest: what could not be followed (FORMAT), else empty. Not called for LIMIT and DENIED. */
    void (*ended)(void *ctx, const struct agent_tcp_peer *peer, enum agent_tcp_end end, struct weir_view rest);
    void *ctx;
};

struct agent_tcp_counts {
    uint64_t opened;
    uint64_t ended[AGENT_TCP_ENDS];
    uint64_t unfinished_bytes; /* of messages whose end never came, or that could not be followed */
};

struct agent_tcp;

/** WEIR_ENOMEM, WEIR_EIO. */
int agent_tcp_create(const struct agent_tcp_conf *conf, const struct agent_tcp_owner *owner, struct agent_tcp **ret,
                     struct weir_why *why);

/** End all connections (STOP). */
void agent_tcp_close(struct agent_tcp *tcp);

/** The connections that are left end without a word to the owner. */
void agent_tcp_destroy(struct agent_tcp *tcp);

/**
 * Listen; @endpoint receives the port that the system chose. @number: given back in struct agent_tcp_peer.
 * WEIR_EIO, WEIR_ENOMEM.
 */
int agent_tcp_listen(struct agent_tcp *tcp, struct agent_endpoint *endpoint, bool only_v6, uint32_t number,
                     struct weir_why *why);

/** Wake agent_tcp_poll when @fd becomes readable. WEIR_EIO. */
int agent_tcp_watch(struct agent_tcp *tcp, int fd, struct weir_why *why);

/** Wait up to @wait_ms for something to happen, and do it. Returns whether there was anything. */
bool agent_tcp_poll(struct agent_tcp *tcp, int wait_ms);

/** Once a second or so: close what was idle for too long. */
void agent_tcp_tick(struct agent_tcp *tcp, int64_t now_mono_ms);

/** What was counted since it was made. Open connections: opened minus all ended but LIMIT and DENIED. */
const struct agent_tcp_counts *agent_tcp_counted(const struct agent_tcp *tcp);

#endif
