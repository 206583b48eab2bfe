#include "agent/udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/sock_diag.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int agent_endpoint_parse(const char *text, struct agent_endpoint *ret, struct weir_why *why)
{
    static const char tcp[] = "tcp://";
    const char *whole = text;
    bool stream = strncmp(text, tcp, sizeof tcp - 1) == 0;
    if (stream) text += sizeof tcp - 1;
    char host[INET6_ADDRSTRLEN + 32];
    const char *colon = strrchr(text, ':');
    size_t size = colon == NULL ? 0 : (size_t)(colon - text);
    bool bracketed = size >= 2 && text[0] == '[' && text[size - 1] == ']';
    size_t from = bracketed ? 1 : 0;
    if (size <= 2 * from || size - 2 * from >= sizeof host)
        return weir_why_set(why, WEIR_EPARAM, "'%s' is not ADDRESS:PORT or [ADDRESS]:PORT", whole);
    memcpy(host, text + from, size - 2 * from);
    host[size - 2 * from] = '\0';

    char *end = NULL;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end != '\0' || port > 65535)
        return weir_why_set(why, WEIR_EPARAM, "'%s': the port is a number from 0 to 65535", whole);

    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return weir_why_set(why, WEIR_EPARAM, "'%s': '%s' is not an IPv4 or IPv6 address", whole, host);
    if ((found->ai_family == AF_INET6) != bracketed) {
        freeaddrinfo(found);
        return weir_why_set(why, WEIR_EPARAM, "'%s': write IPv6 addresses, and only those, in brackets", whole);
    }
    *ret = (struct agent_endpoint){.bytes = found->ai_addrlen, .stream = stream};
    memcpy(&ret->address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return 0;
}

bool agent_endpoint_is_v4(const struct agent_endpoint *endpoint)
{
    return endpoint->address.ss_family == AF_INET;
}

/* The port has the same place in sockaddr_in and sockaddr_in6, but memcpy keeps that no secret of ours. */
uint16_t agent_endpoint_port(const struct agent_endpoint *endpoint)
{
    struct sockaddr_in6 six = {0};
    struct sockaddr_in four = {0};
    memcpy(&six, &endpoint->address, sizeof six);
    memcpy(&four, &endpoint->address, sizeof four);
    return ntohs(agent_endpoint_is_v4(endpoint) ? four.sin_port : six.sin6_port);
}

void agent_endpoint_set_port(struct agent_endpoint *endpoint, uint16_t port)
{
    size_t at = agent_endpoint_is_v4(endpoint) ? offsetof(struct sockaddr_in, sin_port)
                                               : offsetof(struct sockaddr_in6, sin6_port);
    uint8_t bytes[2];
    weir_store_u16be(bytes, port);
    memcpy((uint8_t *)&endpoint->address + at, bytes, sizeof bytes);
}

const char *agent_endpoint_text(const struct agent_endpoint *endpoint, char out[AGENT_ENDPOINT_TEXT])
{
    char host[INET6_ADDRSTRLEN] = "?";
    getnameinfo((const struct sockaddr *)&endpoint->address, endpoint->bytes, host, sizeof host, NULL, 0,
                NI_NUMERICHOST);
    snprintf(out, AGENT_ENDPOINT_TEXT, agent_endpoint_is_v4(endpoint) ? "%s%s:%u" : "%s[%s]:%u",
             endpoint->stream ? "tcp://" : "", host, agent_endpoint_port(endpoint));
    return out;
}

/** Ask for a buffer past the system's limit where we may, else up to it. Returns what we got. */
static size_t set_buffer(int fd, size_t bytes)
{
    int asked = bytes > INT32_MAX / 2 ? INT32_MAX / 2 : (int)bytes;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &asked, sizeof asked) != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &asked, sizeof asked);
    int got = 0;
    socklen_t size = sizeof got;
    if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &got, &size) != 0) return 0;
    return (size_t)got / 2; /* the kernel doubles it for its own bookkeeping */
}

static int open_and_bind(const struct agent_endpoint *endpoint, const struct agent_udp_conf *conf, struct weir_why *why)
{
    char text[AGENT_ENDPOINT_TEXT];
    int on = 1;
    int only_v6 = conf->only_v6;
    int type = endpoint->stream ? SOCK_STREAM : SOCK_DGRAM;
    int fd = socket(endpoint->address.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return weir_why_set(why, WEIR_EIO, "a socket: %s", strerror(errno));
    if (!agent_endpoint_is_v4(endpoint) && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof only_v6) != 0)
        goto fail;
    if (conf->shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) goto fail;
    /* Connections of the agent before us that are dying out do not hold the port. */
    if (endpoint->stream && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) goto fail;
    if (bind(fd, (const struct sockaddr *)&endpoint->address, endpoint->bytes) != 0) goto fail;
    return fd;

fail:
    weir_why_set(why, WEIR_EIO, "listen on %s: %s%s", agent_endpoint_text(endpoint, text), strerror(errno),
                 errno == EADDRINUSE ? " (another program, or another agent, has it)" : "");
    close(fd);
    return WEIR_EIO;
}

/** As open_and_bind; @endpoint receives the port that the system chose. */
static int open_and_learn(struct agent_endpoint *endpoint, const struct agent_udp_conf *conf, struct weir_why *why)
{
    int fd = open_and_bind(endpoint, conf, why);
    if (fd < 0) return fd;
    endpoint->bytes = sizeof endpoint->address;
    if (getsockname(fd, (struct sockaddr *)&endpoint->address, &endpoint->bytes) == 0) return fd;
    weir_why_set(why, WEIR_EIO, "the port of a socket: %s", strerror(errno));
    close(fd);
    return WEIR_EIO;
}

int agent_udp_open(struct agent_endpoint *endpoint, const struct agent_udp_conf *conf, size_t *got_bytes,
                   struct weir_why *why)
{
    int fd = open_and_learn(endpoint, conf, why);
    if (fd >= 0) *got_bytes = set_buffer(fd, conf->receive_buffer_bytes);
    return fd;
}

int agent_endpoint_open_stream(struct agent_endpoint *endpoint, bool only_v6, struct weir_why *why)
{
    return open_and_learn(endpoint, &(struct agent_udp_conf){.only_v6 = only_v6}, why);
}

int agent_udp_probe(const struct agent_endpoint *endpoint, const struct agent_udp_conf *conf, struct weir_why *why)
{
    struct agent_udp_conf alone = *conf;
    alone.shared = false;
    int fd = open_and_bind(endpoint, &alone, why);
    if (fd < 0) return fd;
    close(fd);
    return 0;
}

int agent_udp_steer(int fd, uint32_t sockets, struct weir_why *why)
{
    enum { V4_SOURCE = 12, V6_SOURCE = 8, HASH = 0x9e3779b1 };
    const uint32_t net = (uint32_t)SKF_NET_OFF;
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, net), /* version and header length */
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 4, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, net + V4_SOURCE),
        BPF_JUMP(BPF_JMP | BPF_JA, 10, 0, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, net + V6_SOURCE),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, net + V6_SOURCE + 4),
        BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, net + V6_SOURCE + 8),
        BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, net + V6_SOURCE + 12),
        BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
        BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, HASH), /* v4 arrives here */
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 16),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, sockets),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    struct sock_fprog attach = {.len = sizeof program / sizeof *program, .filter = program};
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &attach, sizeof attach) == 0) return 0;
    return weir_why_set(why, WEIR_EIO, "steer datagrams by source address: %s", strerror(errno));
}

/* The number that SO_RXQ_OVFL would attach to each datagram, without a cost per datagram, and also when none follows. */
uint32_t agent_udp_drops(int fd)
{
    uint32_t info[SK_MEMINFO_VARS] = {0};
    socklen_t size = sizeof info;
    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &size) != 0) return 0;
    return info[SK_MEMINFO_DROPS];
}

struct weir_ip agent_sender_ip(const struct sockaddr_storage *from)
{
    const uint8_t *bytes = (const uint8_t *)from;
    if (from->ss_family == AF_INET) return weir_ip_from_v4(bytes + offsetof(struct sockaddr_in, sin_addr));
    return weir_ip_from_v6(bytes + offsetof(struct sockaddr_in6, sin6_addr));
}

uint16_t agent_sender_port(const struct sockaddr_storage *from)
{
    const uint8_t *bytes = (const uint8_t *)from;
    return weir_load_u16be(bytes + (from->ss_family == AF_INET ? offsetof(struct sockaddr_in, sin_port)
                                                               : offsetof(struct sockaddr_in6, sin6_port)));
}
