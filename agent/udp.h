/** Endpoints, and UDP sockets as the listener needs them: shared by threads, steered by source address, with large buffers. */
#ifndef WEIR_AGENT_UDP_H
#define WEIR_AGENT_UDP_H

#include "common/base/err.h"
#include "common/flow/ip.h"

#include <sys/socket.h>

/** An address and port to bind to. */
struct agent_endpoint {
    struct sockaddr_storage address;
    socklen_t bytes;
    bool stream; /* TCP */
};

/** Parse "192.0.2.1:2055", "[::]:2055" or "tcp://192.0.2.1:4739"; port 0 lets the system choose. WEIR_EPARAM. */
int agent_endpoint_parse(const char *text, struct agent_endpoint *ret, struct weir_why *why);

enum { AGENT_ENDPOINT_TEXT = 80 };

/** "192.0.2.1:2055", "tcp://[::]:4739"; returns @out. */
const char *agent_endpoint_text(const struct agent_endpoint *endpoint, char out[AGENT_ENDPOINT_TEXT]);

uint16_t agent_endpoint_port(const struct agent_endpoint *endpoint);
void agent_endpoint_set_port(struct agent_endpoint *endpoint, uint16_t port);
bool agent_endpoint_is_v4(const struct agent_endpoint *endpoint);

/** A bound TCP socket that does not block, not listening yet; @endpoint receives the port. WEIR_EIO with @why. */
int agent_endpoint_open_stream(struct agent_endpoint *endpoint, bool only_v6, struct weir_why *why);

/** How a socket is to be opened. */
struct agent_udp_conf {
    bool shared;                 /* several sockets of ours have this port */
    bool only_v6;                /* an IPv6 wildcard leaves IPv4 to others */
    size_t receive_buffer_bytes; /* asked with SO_RCVBUFFORCE, else SO_RCVBUF */
};

/**
 * Bind a socket that does not block; @endpoint receives the port that the system chose. @got_bytes receives the size
 * of the receive buffer. Returns the descriptor, or WEIR_EIO with @why.
 */
int agent_udp_open(struct agent_endpoint *endpoint, const struct agent_udp_conf *conf, size_t *got_bytes,
                   struct weir_why *why);

/** Is the endpoint free? Sockets that share a port do not notice a stranger's that does. WEIR_EIO with @why. */
int agent_udp_probe(const struct agent_endpoint *endpoint, const struct agent_udp_conf *conf, struct weir_why *why);

/** Steer each source address to one of the @sockets that share the port of @fd, in the order they were bound. WEIR_EIO. */
int agent_udp_steer(int fd, uint32_t sockets, struct weir_why *why);

/** Datagrams that the kernel dropped for want of buffer (or by their checksum) since the socket was opened. */
uint32_t agent_udp_drops(int fd);

/** The address and port of a sender, as recvmmsg wrote them. */
struct weir_ip agent_sender_ip(const struct sockaddr_storage *from);
uint16_t agent_sender_port(const struct sockaddr_storage *from);

#endif
