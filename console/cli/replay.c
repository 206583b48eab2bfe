/** weir replay: send the export datagrams of a capture again. */
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/table.h"
#include "console/cli/cli.h"
#include "console/cli/pcap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { RATE = 10000, SOCKETS_MOST = 1000, CAPTURE_MOST = 1 << 30 };

/** When a datagram is due: so many a second, or as in the capture, so many times faster. */
struct pace {
    int64_t begun_us; /* of the monotonic clock, this round */
    int64_t rate;     /* datagrams a second; 0: as fast as it goes */
    double speed;     /* 0: by rate */
    int64_t first_us; /* of the capture's clock; 0 before the first datagram */
};

/** Where the datagrams go, and one socket for each exporter and port that they came from. */
struct replay {
    struct sockaddr_storage to;
    socklen_t to_size;
    bool loopback4;            /* then exporters get loopback addresses of their own */
    struct weir_table sockets; /* exporter address, port -> descriptor + 1 */
    uint64_t sent;
    uint64_t bytes;
    uint64_t refused; /* ECONNREFUSED and the like */
};

struct from {
    struct weir_ip ip;
    uint16_t port;
};

static int read_capture(const char *path, struct weir_buf *ret, struct weir_why *why)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (file == NULL) return weir_why_set(why, WEIR_ENOTFOUND, "%s", strerror(errno));
    int rc = 0;
    for (;;) {
        uint8_t *at = weir_buf_reserve(ret, 1 << 16);
        size_t got = at == NULL ? 0 : fread(at, 1, 1 << 16, file);
        if (got == 0) break;
        weir_buf_commit(ret, got);
        if (ret->size > CAPTURE_MOST) {
            rc = weir_why_set(why, WEIR_ELIMIT, "larger than 1 GiB: split it with editcap -c");
            break;
        }
    }
    if (rc == 0 && ret->failed) rc = weir_why_set(why, WEIR_ENOMEM, "out of memory");
    if (rc == 0 && ferror(file)) rc = weir_why_set(why, WEIR_EIO, "%s", strerror(errno));
    if (file != stdin) fclose(file);
    return rc;
}

/** HOST:PORT or [HOST]:PORT. */
static int resolve(const char *text, struct replay *replay, struct weir_why *why)
{
    char host[256];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon[1] == '\0' || (size_t)(colon - text) >= sizeof host) {
        return weir_why_set(why, WEIR_EPARAM, "--to: \"%s\" is not HOST:PORT", text);
    }
    snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    size_t size = strlen(host);
    if (size > 1 && host[0] == '[' && host[size - 1] == ']') {
        host[size - 1] = '\0';
        memmove(host, host + 1, size - 1);
    }
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(host, colon + 1, &hints, &found);
    if (rc != 0) return weir_why_set(why, WEIR_EPARAM, "--to: %s: %s", text, gai_strerror(rc));
    memcpy(&replay->to, found->ai_addr, found->ai_addrlen);
    replay->to_size = found->ai_addrlen;
    if (found->ai_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, found->ai_addr, sizeof v4);
        replay->loopback4 = ntohl(v4.sin_addr.s_addr) >> 24 == 127;
    }
    freeaddrinfo(found);
    return 0;
}

/** An address of the loopback network for each exporter, the same in every run: 127.x.y.z by its hash. */
static struct sockaddr_in loopback_for(const struct weir_ip *exporter)
{
    uint32_t host = (uint32_t)weir_hash64(exporter, sizeof *exporter, 0) & 0xffffff;
    if (weir_ip_is_v4(exporter) && exporter->bytes[12] == 127) host = weir_ip_v4(exporter) & 0xffffff;
    if (host == 0 || host == 0xffffff) host = 1;
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000u | host)};
}

/** The connected socket for datagrams of this exporter and port; -1 when there can be no more. */
static int socket_for(struct replay *replay, const struct pcap_datagram *datagram)
{
    struct from from;
    memset(&from, 0, sizeof from);
    from.ip = datagram->src;
    from.port = datagram->src_port;
    bool added;
    int *slot = weir_table_add(&replay->sockets, &from, weir_hash64(&from, sizeof from, 0), &added);
    if (slot == NULL) return -1;
    if (!added) return *slot - 1;
    if (replay->sockets.count > SOCKETS_MOST) return -1;

    int fd = socket(replay->to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (replay->loopback4) {
        struct sockaddr_in source = loopback_for(&datagram->src);
        if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0) {
            close(fd);
            return -1;
        }
    }
    if (connect(fd, (struct sockaddr *)&replay->to, replay->to_size) < 0) {
        close(fd);
        return -1;
    }
    *slot = fd + 1;
    return fd;
}

/** Wait until datagram @number of this round, captured at @time_us, is due. */
static void wait_for_turn(struct pace *pace, uint64_t number, int64_t time_us)
{
    int64_t after_us = 0;
    if (pace->speed > 0) {
        if (pace->first_us == 0) pace->first_us = time_us;
        /* A capture's clock may have been set back: then it is due at once. */
        if (time_us > pace->first_us) after_us = (int64_t)((double)(time_us - pace->first_us) / pace->speed);
    } else if (pace->rate > 0) {
        after_us = (int64_t)(number * 1000000 / (uint64_t)pace->rate);
    }
    int64_t wait_us = pace->begun_us + after_us - weir_mono_us();
    if (wait_us < 500) return;
    struct timespec wait = {.tv_sec = wait_us / 1000000, .tv_nsec = wait_us % 1000000 * 1000};
    nanosleep(&wait, NULL);
}

/** Send the whole capture once. */
static int send_once(struct replay *replay, struct weir_view capture, struct pace *pace, struct pcap_counts *counts,
                     struct weir_why *why)
{
    uint64_t number = 0;
    pace->begun_us = weir_mono_us();
    pace->first_us = 0;
    struct pcap pcap;
    struct pcap_datagram datagram;
    int rc = pcap_begin(capture, &pcap);
    if (rc < 0) return weir_why_set(why, rc, "this is neither a pcap nor a pcapng file");
    while ((rc = pcap_next(&pcap, &datagram)) > 0) {
        int fd = socket_for(replay, &datagram);
        if (fd < 0) return weir_why_set(why, WEIR_EIO, "no socket for another exporter: %s", strerror(errno));
        wait_for_turn(pace, number++, datagram.time_us);
        if (send(fd, datagram.payload.data, datagram.payload.size, 0) < 0) {
            replay->refused++;
        } else {
            replay->sent++;
            replay->bytes += datagram.payload.size;
        }
    }
    *counts = pcap.counts;
    if (rc < 0) return weir_why_set(why, rc, "after packet %" PRIu64 ": %s", pcap.counts.packets, weir_err_text(rc));
    return 0;
}

static enum cli_exit parse_number(const struct cli_args *args, enum cli_option_id id, const char *name, int64_t preset,
                                  int64_t most, int64_t *ret)
{
    const char *text = args->values[id];
    *ret = preset;
    if (text == NULL) return CLI_OK;
    char *end;
    long long number = strtoll(text, &end, 10);
    if (*text == '\0' || *end != '\0' || number < 0 || number > most) {
        return cli_fail(CLI_USAGE, "--%s: \"%s\" is not a number from 0 to %" PRId64, name, text, most);
    }
    *ret = number;
    return CLI_OK;
}

static enum cli_exit parse_speed(const struct cli_args *args, double *ret)
{
    const char *text = args->values[CLI_OPTION_speed];
    if (text == NULL) return CLI_OK;
    if (args->values[CLI_OPTION_rate] != NULL) return cli_fail(CLI_USAGE, "--speed and --rate exclude each other");
    char *end;
    *ret = strtod(text, &end);
    if (*text == '\0' || *end != '\0' || !(*ret >= 0.001 && *ret <= 1e6)) {
        return cli_fail(CLI_USAGE, "--speed: \"%s\" is not a number from 0.001 to 1000000", text);
    }
    return CLI_OK;
}

static void tell(const struct replay *replay, const struct pcap_counts *counts, int64_t elapsed_us)
{
    fprintf(stderr,
            "sent %" PRIu64 " datagrams (%" PRIu64 " bytes) of %zu senders in %.2f s; not sent: %" PRIu64
            " refused by the host; "
            "passed over in each round: %" PRIu64 " not UDP, %" PRIu64 " fragments, %" PRIu64 " cut short, %" PRIu64
            " malformed\n",
            replay->sent, replay->bytes, replay->sockets.count, (double)elapsed_us / 1e6, replay->refused,
            counts->not_udp, counts->fragments, counts->cut, counts->malformed);
}

static void close_all(struct replay *replay)
{
    size_t at = 0;
    void *value;
    while (weir_table_next(&replay->sockets, &at, &value) != NULL) {
        int fd = *(int *)value - 1;
        if (fd >= 0) close(fd);
    }
    weir_table_fini(&replay->sockets);
}

enum cli_exit cli_replay(const struct cli_args *args)
{
    struct pace pace = {.rate = RATE};
    int64_t rounds;
    const char *to = args->values[CLI_OPTION_to];
    if (args->word_count != 1 || to == NULL) return cli_fail(CLI_USAGE, "usage: weir replay %s", args->verb->words);
    enum cli_exit status = parse_number(args, CLI_OPTION_rate, "rate", RATE, 100000000, &pace.rate);
    if (status == CLI_OK) status = parse_number(args, CLI_OPTION_loop, "loop", 1, 1000000, &rounds);
    if (status == CLI_OK) status = parse_speed(args, &pace.speed);
    if (status != CLI_OK) return status;

    struct replay replay = {.sent = 0};
    struct weir_why why = {""};
    struct weir_buf capture = WEIR_BUF_INIT;
    struct pcap_counts counts = {0};
    weir_table_init(&replay.sockets, sizeof(struct from), sizeof(int));
    int rc = resolve(to, &replay, &why);
    if (rc == 0) rc = read_capture(args->words[0], &capture, &why);
    int64_t begun_us = weir_mono_us();
    for (int64_t i = 0; rc == 0 && i < rounds; i++) {
        rc = send_once(&replay, weir_buf_view(&capture), &pace, &counts, &why);
    }
    if (rc == 0 || replay.sent > 0) tell(&replay, &counts, weir_mono_us() - begun_us);
    close_all(&replay);
    weir_buf_fini(&capture);
    return rc == 0 ? CLI_OK : cli_fail(rc == WEIR_EIO ? CLI_INTERNAL : CLI_USAGE, "%s: %s", args->words[0], why.text);
}
