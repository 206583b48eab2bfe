/** weir-gen: sends made-up NetFlow, IPFIX or sFlow at a set rate, or writes it to a pcap, and prints what it sent. */
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "tests/bench/gen/gen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BURST = 32 };

static const char usage[] =
    "usage: weir-gen [options] HOST:PORT          send over UDP\n"
    "       weir-gen [options] --pcap FILE        write a capture instead (to 127.0.0.1:2055)\n"
    "\n"
    "  --format v5|v9|ipfix|sflow   what to speak (v5)\n"
    "  --flows N                    flows in all (10000)\n"
    "  --rate N                     flows a second; 0: as fast as it goes (0)\n"
    "  --exporters N                speak from 127.0.1.1, 127.0.1.2, ... in turn (1)\n"
    "  --hosts N                    hosts on each side, drawn by Zipf's law (100000)\n"
    "  --ipv6 PERCENT               datagrams with IPv6 flows; not v5 (0)\n"
    "  --sampling N                 announce 1 packet in N; 1 says unsampled, 0 says nothing (0)\n"
    "  --templates N                datagrams between templates (64)\n"
    "  --start SECONDS              export time of the first datagram, since 1970 (now); goes on at --rate\n"
    "  --repeat N                   make all of them first, then send them so many times; not sflow (1)\n"
    "  --seed N                     the same seed and --start give the same bytes (1)\n"
    "\n"
    "Prints one JSON object: flows, packets and bytes (raw), datagrams, first_ms, last_ms, and the same by exporter.\n";

struct options {
    struct gen_conf gen;
    uint64_t flows;
    uint64_t rate;
    uint64_t repeat;
    int64_t start_ms; /* 0: the wall clock */
    const char *pcap;
    const char *to;
};

/** One datagram ready to go. */
struct packet {
    uint8_t bytes[GEN_DATAGRAM_BYTES];
    size_t size;
};

/** Where datagrams go: a socket per exporter, or a capture file. */
struct output {
    FILE *pcap;
    struct sockaddr_storage to;
    socklen_t to_bytes;
    int *sockets;
    uint32_t exporters;
};

static uint64_t number(const char *text, const char *option, uint64_t least, uint64_t most)
{
    char *end = NULL;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno == 0 && end != text && *end == '\0' && value >= least && value <= most) return value;
    fprintf(stderr, "weir-gen: --%s takes a number from %" PRIu64 " to %" PRIu64 ", not '%s'\n", option, least, most,
            text);
    exit(2);
}

static void parse(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        {"format", required_argument, NULL, 'f'},   {"flows", required_argument, NULL, 'n'},
        {"rate", required_argument, NULL, 'r'},     {"exporters", required_argument, NULL, 'e'},
        {"hosts", required_argument, NULL, 'h'},    {"ipv6", required_argument, NULL, '6'},
        {"sampling", required_argument, NULL, 's'}, {"templates", required_argument, NULL, 't'},
        {"start", required_argument, NULL, 'S'},    {"repeat", required_argument, NULL, 'R'},
        {"seed", required_argument, NULL, 'x'},     {"pcap", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, '?'},           {NULL, 0, NULL, 0},
    };
    *o = (struct options){.gen = GEN_DEFAULTS, .flows = 10000, .repeat = 1};
    int c;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 'f': {
            int format = gen_format_of(optarg);
            if (format < 0) {
                fprintf(stderr, "weir-gen: --format is v5, v9, ipfix or sflow, not '%s'\n", optarg);
                exit(2);
            }
            o->gen.format = (enum gen_format)format;
            break;
        }
        case 'n': o->flows = number(optarg, "flows", 1, UINT64_MAX); break;
        case 'r': o->rate = number(optarg, "rate", 0, 1000000000); break;
        case 'e': o->gen.exporters = (uint32_t)number(optarg, "exporters", 1, 60000); break;
        case 'h': o->gen.hosts = (uint32_t)number(optarg, "hosts", 1, 10000000); break;
        case '6': o->gen.ipv6_percent = (uint32_t)number(optarg, "ipv6", 0, 100); break;
        case 's': o->gen.sampling = (uint32_t)number(optarg, "sampling", 0, 16383); break;
        case 't': o->gen.template_every = (uint32_t)number(optarg, "templates", 1, UINT32_MAX); break;
        case 'S': o->start_ms = (int64_t)number(optarg, "start", 1, UINT32_MAX) * 1000; break;
        case 'R': o->repeat = number(optarg, "repeat", 1, 1000000); break;
        case 'x': o->gen.seed = number(optarg, "seed", 0, UINT64_MAX); break;
        case 'p': o->pcap = optarg; break;
        default: fputs(usage, stderr); exit(2);
        }
    }
    o->to = argv[optind];
    bool unrepeatable = o->repeat > 1 && (o->gen.format == GEN_SFLOW || o->pcap != NULL);
    if ((o->to == NULL) == (o->pcap == NULL) || unrepeatable) {
        fputs(usage, stderr);
        exit(2);
    }
}

static void die(const char *what)
{
    fprintf(stderr, "weir-gen: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void resolve(const char *text, struct output *out)
{
    char host[256];
    snprintf(host, sizeof host, "%s", text);
    char *colon = strrchr(host, ':');
    if (colon == NULL) {
        fprintf(stderr, "weir-gen: '%s' is not HOST:PORT\n", text);
        exit(2);
    }
    *colon = '\0';
    char *name = host;
    if (name[0] == '[' && colon[-1] == ']') {
        colon[-1] = '\0';
        name++;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(name, colon + 1, &hints, &found);
    if (rc != 0) {
        fprintf(stderr, "weir-gen: %s: %s\n", text, gai_strerror(rc));
        exit(1);
    }
    memcpy(&out->to, found->ai_addr, found->ai_addrlen);
    out->to_bytes = found->ai_addrlen;
    freeaddrinfo(found);
}

/** A socket per exporter; towards IPv6 there is only one source address, ours. */
static void open_sockets(const struct options *o, struct output *out)
{
    resolve(o->to, out);
    out->exporters = o->gen.exporters;
    out->sockets = weir_calloc(out->exporters, sizeof *out->sockets);
    if (out->sockets == NULL) die("sockets");
    for (uint32_t i = 0; i < out->exporters; i++) {
        out->sockets[i] = socket(out->to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (out->sockets[i] < 0) die("socket");
        int bytes = 4 << 20;
        setsockopt(out->sockets[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
        if (out->to.ss_family != AF_INET) continue;
        struct weir_ip ip = gen_exporter_ip(i);
        struct sockaddr_in from = {.sin_family = AF_INET};
        memcpy(&from.sin_addr, ip.bytes + 12, 4);
        if (bind(out->sockets[i], (struct sockaddr *)&from, sizeof from) != 0) die("bind to the exporter's address");
    }
}

static void write_le32(FILE *file, uint32_t value)
{
    fwrite(&value, sizeof value, 1, file);
}

static void open_pcap(const char *path, struct output *out)
{
    out->pcap = fopen(path, "wb");
    if (out->pcap == NULL) die(path);
    static const uint32_t header[] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, 65535, 101 /* LINKTYPE_RAW */};
    for (size_t i = 0; i < 6; i++)
        write_le32(out->pcap, header[i]);
}

static void write_packet(FILE *file, uint32_t exporter, int64_t now_ms, const struct packet *packet)
{
    uint8_t head[28] = {0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 127, 0, 0, 1, 0xc3, 0x50, 0x08, 0x07};
    struct weir_ip ip = gen_exporter_ip(exporter);
    memcpy(head + 12, ip.bytes + 12, 4);
    weir_store_u16be(head + 2, (uint16_t)(sizeof head + packet->size));
    weir_store_u16be(head + 24, (uint16_t)(8 + packet->size));
    uint32_t sum = 0;
    for (int i = 0; i < 20; i += 2)
        sum += weir_load_u16be(head + i);
    sum = (sum & 0xffff) + (sum >> 16);
    weir_store_u16be(head + 10, (uint16_t) ~(sum + (sum >> 16)));

    write_le32(file, (uint32_t)(now_ms / 1000));
    write_le32(file, (uint32_t)(now_ms % 1000 * 1000));
    write_le32(file, (uint32_t)(sizeof head + packet->size));
    write_le32(file, (uint32_t)(sizeof head + packet->size));
    fwrite(head, sizeof head, 1, file);
    fwrite(packet->bytes, packet->size, 1, file);
}

static void emit(struct output *out, uint32_t exporter, int64_t now_ms, struct packet *packets, unsigned count)
{
    if (out->pcap != NULL) {
        for (unsigned i = 0; i < count; i++)
            write_packet(out->pcap, exporter, now_ms, &packets[i]);
        return;
    }
    struct mmsghdr messages[BURST] = {0};
    struct iovec parts[BURST];
    for (unsigned i = 0; i < count; i++) {
        parts[i] = (struct iovec){packets[i].bytes, packets[i].size};
        messages[i].msg_hdr =
            (struct msghdr){.msg_name = &out->to, .msg_namelen = out->to_bytes, .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    for (unsigned done = 0; done < count;) {
        int sent = sendmmsg(out->sockets[exporter], messages + done, count - done, 0);
        if (sent < 0 && errno != EINTR && errno != ENOBUFS && errno != ECONNREFUSED) die("sendmmsg");
        if (sent > 0) done += (unsigned)sent;
    }
}

/** As emit, but in one piece that the kernel cuts up (UDP_SEGMENT), where all datagrams but the last have one size. */
static void emit_whole(struct output *out, uint32_t exporter, int64_t now_ms, struct packet *packets, unsigned count)
{
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
    } control = {0};
    struct iovec parts[BURST];
    bool even = count > 1;
    for (unsigned i = 0; i < count; i++) {
        parts[i] = (struct iovec){packets[i].bytes, packets[i].size};
        even = even && (packets[i].size == packets[0].size || (i + 1 == count && packets[i].size < packets[0].size));
    }
    struct msghdr message = {.msg_name = &out->to,
                             .msg_namelen = out->to_bytes,
                             .msg_iov = parts,
                             .msg_iovlen = count,
                             .msg_control = &control,
                             .msg_controllen = sizeof control.bytes};
    uint16_t size = (uint16_t)packets[0].size;
    control.header =
        (struct cmsghdr){.cmsg_level = SOL_UDP, .cmsg_type = UDP_SEGMENT, .cmsg_len = CMSG_LEN(sizeof size)};
    memcpy(CMSG_DATA(&control.header), &size, sizeof size);
    if (!even || sendmsg(out->sockets[exporter], &message, 0) < 0) emit(out, exporter, now_ms, packets, count);
}

/** Flows that should have left by now, of @all. */
static uint64_t due(const struct options *o, int64_t began_us, uint64_t all)
{
    if (o->rate == 0 || o->pcap != NULL) return all;
    uint64_t flows = (uint64_t)(weir_mono_us() - began_us + 1000) * o->rate / 1000000;
    return flows < all ? flows : all;
}

static int64_t export_ms(const struct options *o, uint64_t sent)
{
    if (o->start_ms == 0) return weir_wall_ms();
    return o->start_ms + (o->rate == 0 ? 0 : (int64_t)(sent * 1000 / o->rate));
}

/** Datagrams that an exporter sends before it is the next one's turn: each has several turns in a run. */
static unsigned turn_of(const struct options *o)
{
    uint64_t turn = o->flows / o->gen.exporters / GEN_MOST_FLOWS / 8;
    return turn < 1 ? 1 : turn > BURST ? BURST : (unsigned)turn;
}

static void run(const struct options *o, struct gen *gen, struct output *out)
{
    static struct packet packets[BURST];
    unsigned turn = turn_of(o);
    int64_t began_us = weir_mono_us();
    uint64_t sent = 0;
    uint32_t exporter = 0;
    while (sent < o->flows) {
        uint64_t goal = due(o, began_us, o->flows);
        if (goal <= sent) {
            nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
            continue;
        }
        int64_t now_ms = export_ms(o, sent);
        unsigned count = 0;
        while (count < turn && sent < goal) {
            uint64_t wanted = o->flows - sent < GEN_MOST_FLOWS ? o->flows - sent : GEN_MOST_FLOWS;
            uint32_t made = 0;
            packets[count].size = gen_next(gen, exporter, now_ms, (uint32_t)wanted, packets[count].bytes, NULL, &made);
            sent += made;
            count++;
        }
        emit(out, exporter, now_ms, packets, count);
        exporter = (exporter + 1) % o->gen.exporters;
    }
}

/** Datagrams of one exporter that leave together, round after round. */
struct turn {
    uint32_t exporter;
    unsigned count;
    uint64_t flows;
    struct packet packets[BURST];
};

/** Make all datagrams, then send them --repeat times: what it takes to make them is not between them. */
static void run_repeatedly(const struct options *o, struct gen *gen, struct output *out)
{
    unsigned most = turn_of(o);
    size_t turns = 0;
    size_t room = 0;
    struct turn *turn = NULL;
    int64_t now_ms = export_ms(o, 0);
    for (uint64_t made = 0; made < o->flows; turns++) {
        if (turns == room) {
            room = room * 2 + 16;
            turn = weir_realloc(turn, room * sizeof *turn);
            if (turn == NULL) die("memory");
        }
        struct turn *at = &turn[turns];
        at->exporter = (uint32_t)(turns % o->gen.exporters);
        at->count = 0;
        at->flows = 0;
        for (; at->count < most && made < o->flows; at->count++) {
            uint64_t wanted = o->flows - made < GEN_MOST_FLOWS ? o->flows - made : GEN_MOST_FLOWS;
            struct packet *packet = &at->packets[at->count];
            uint32_t flows = 0;
            packet->size = gen_next(gen, at->exporter, now_ms, (uint32_t)wanted, packet->bytes, NULL, &flows);
            at->flows += flows;
            made += flows;
        }
    }
    int64_t began_us = weir_mono_us();
    uint64_t sent = 0;
    for (uint64_t round = 0; round < o->repeat; round++) {
        for (size_t i = 0; i < turns; i++) {
            while (due(o, began_us, o->flows * o->repeat) <= sent)
                nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
            for (unsigned k = 0; round > 0 && k < turn[i].count; k++)
                gen_again(gen, turn[i].exporter, turn[i].packets[k].bytes);
            emit_whole(out, turn[i].exporter, now_ms, turn[i].packets, turn[i].count);
            sent += turn[i].flows;
        }
    }
    weir_free(turn);
}

static void print_totals(const struct gen_totals *t, uint64_t times)
{
    printf("\"flows\":%" PRIu64 ",\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"datagrams\":%" PRIu64
           ",\"first_ms\":%" PRId64 ",\"last_ms\":%" PRId64,
           t->flows * times, t->packets * times, t->bytes * times, t->datagrams * times, t->first_ms, t->last_ms);
}

int main(int argc, char **argv)
{
    struct options o;
    parse(argc, argv, &o);
    o.gen.boot_ms = (o.start_ms == 0 ? weir_wall_ms() : o.start_ms) - 3 * 86400000ll;

    struct gen *gen = NULL;
    struct output out = {0};
    if (gen_create(&o.gen, &gen) < 0) die("memory");
    if (o.pcap != NULL) {
        open_pcap(o.pcap, &out);
    } else {
        open_sockets(&o, &out);
    }
    int64_t began_us = weir_mono_us();
    if (o.repeat > 1)
        run_repeatedly(&o, gen, &out);
    else
        run(&o, gen, &out);
    double seconds = (double)(weir_mono_us() - began_us) / 1e6;
    if (out.pcap != NULL && fclose(out.pcap) != 0) die(o.pcap);

    struct gen_totals all = gen_totals_all(gen);
    printf("{\"format\":\"%s\",", gen_format_name(o.gen.format));
    print_totals(&all, o.repeat);
    printf(",\"seconds\":%.3f,\"exporters\":[", seconds);
    for (uint32_t i = 0; i < o.gen.exporters; i++) {
        struct weir_ip ip = gen_exporter_ip(i);
        char text[WEIR_IP_TEXT];
        printf("%s{\"address\":\"%s\",", i == 0 ? "" : ",", weir_ip_format(&ip, text));
        print_totals(gen_totals_of(gen, i), o.repeat);
        printf("}");
    }
    printf("]}\n");

    for (uint32_t i = 0; i < out.exporters; i++)
        close(out.sockets[i]);
    weir_free(out.sockets);
    gen_destroy(gen);
    return 0;
}
