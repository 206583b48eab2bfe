/**
 * Datagrams that could not be decoded, in a small capture file for people to look at with tshark or `weir replay`.
 *
 * A ring of two files: `undecodable.pcap` grows to half of the bytes allowed, then takes the place of
 * `undecodable.old.pcap` and begins anew, so that the newest datagrams are there at any time. Classic pcap, raw IP: the
 * address and port of the sender and of our socket stand in headers made for them. A thread writes; who offers a
 * datagram never waits, and is held to a few a second: what is not kept is counted.
 */
#ifndef WEIR_AGENT_RING_H
#define WEIR_AGENT_RING_H

#include "common/base/err.h"
#include "common/flow/ip.h"

enum { AGENT_RING_LEAST_BYTES = 64 << 10, AGENT_RING_PER_SECOND = 20 };

/** Where a datagram came from and went to. */
struct agent_ring_note {
    struct weir_ip from;
    struct weir_ip to; /* of the socket; all zeros where it takes every address */
    uint16_t from_port;
    uint16_t to_port;
    int64_t received_ms;
};

struct agent_ring;

/**
 * A ring in the folder @dir of at most @bytes_most (>= AGENT_RING_LEAST_BYTES). No file is touched before the first
 * datagram. WEIR_ENOMEM, WEIR_EIO; @why says more.
 */
int agent_ring_create(const char *dir, size_t bytes_most, struct agent_ring **ret, struct weir_why *why);

/** Writes what was offered, and ends the thread. */
void agent_ring_destroy(struct agent_ring *ring);

/** Keep a datagram, or its beginning where it is longer than a file may be. Returns false when it is not kept. Any thread. */
bool agent_ring_offer(struct agent_ring *ring, const struct agent_ring_note *note, struct weir_view datagram);

/** Wait until everything that was offered has been written, or could not be. For tests. */
void agent_ring_settle(struct agent_ring *ring);

#endif
