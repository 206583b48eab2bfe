/**
 * Where a word of our filters is also one of nfdump's, both mean the same flows: the same NetFlow v5 records go through
 * nfcapd and nfdump and through our evaluation. Skips where nfdump is not installed.
 */
#include "common/flow/filter.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

enum { FLOWS = 300, PER_DATAGRAM = 30, HEADER_BYTES = 24, RECORD_BYTES = 48, LINES_MOST = 2 * FLOWS };

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/** Flow @number: few values per field, so that filters hit; its bytes are its name. */
static struct weir_flow made_up(uint32_t number, int64_t now_ms)
{
    static const uint16_t ports[] = {53, 80, 123, 443, 5353, 1024, 40000, 65535};
    static const uint8_t protos[] = {1, 6, 6, 6, 17, 17, 47};
    uint64_t seed = number * UINT64_C(0x9e3779b97f4a7c15) + 77;
    next_random(&seed);
    uint8_t src[4] = {10, 0, (uint8_t)(next_random(&seed) % 2), (uint8_t)(next_random(&seed) % 12)};
    uint8_t dst[4] = {(uint8_t)(next_random(&seed) % 2 ? 10 : 192), (uint8_t)(next_random(&seed) % 3), 0,
                      (uint8_t)(next_random(&seed) % 12)};
    struct weir_flow flow = {.src_ip = weir_ip_from_v4(src), .dst_ip = weir_ip_from_v4(dst)};
    flow.proto = protos[next_random(&seed) % sizeof protos];
    if (flow.proto == 6 || flow.proto == 17) {
        flow.src_port = ports[next_random(&seed) % 8];
        flow.dst_port = ports[next_random(&seed) % 8];
    }
    if (flow.proto == 6) flow.tcp_flags = (uint16_t)(next_random(&seed) % 64);
    flow.packets = 1 + next_random(&seed) % 20;
    flow.bytes = 100 + number * 67;
    flow.tos = (uint8_t)(next_random(&seed) % 4 * 16);
    flow.if_in = (uint32_t)(next_random(&seed) % 4);
    flow.if_out = (uint32_t)(next_random(&seed) % 4);
    flow.src_as = (uint32_t)(64512 + next_random(&seed) % 3);
    flow.dst_as = (uint32_t)(64512 + next_random(&seed) % 3);
    flow.start_ms = now_ms - 100000 + (int64_t)(next_random(&seed) % 50) * 1000;
    flow.end_ms = flow.start_ms + (int64_t)(next_random(&seed) % 5) * 500;
    return flow;
}

static void put_record(uint8_t *at, const struct weir_flow *flow, int64_t boot_ms)
{
    memcpy(at, flow->src_ip.bytes + 12, 4);
    memcpy(at + 4, flow->dst_ip.bytes + 12, 4);
    weir_store_u16be(at + 12, (uint16_t)flow->if_in);
    weir_store_u16be(at + 14, (uint16_t)flow->if_out);
    weir_store_u32be(at + 16, (uint32_t)flow->packets);
    weir_store_u32be(at + 20, (uint32_t)flow->bytes);
    weir_store_u32be(at + 24, (uint32_t)(flow->start_ms - boot_ms));
    weir_store_u32be(at + 28, (uint32_t)(flow->end_ms - boot_ms));
    weir_store_u16be(at + 32, flow->src_port);
    weir_store_u16be(at + 34, flow->dst_port);
    at[37] = (uint8_t)flow->tcp_flags;
    at[38] = flow->proto;
    at[39] = flow->tos;
    weir_store_u16be(at + 40, (uint16_t)flow->src_as);
    weir_store_u16be(at + 42, (uint16_t)flow->dst_as);
}

static void send_flows(uint16_t port, const struct weir_flow *flows, int64_t now_ms)
{
    int64_t boot_ms = now_ms - 1000000;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (uint32_t from = 0; from < FLOWS; from += PER_DATAGRAM) {
        uint8_t datagram[HEADER_BYTES + PER_DATAGRAM * RECORD_BYTES] = {0};
        weir_store_u16be(datagram, 5);
        weir_store_u16be(datagram + 2, PER_DATAGRAM);
        weir_store_u32be(datagram + 4, (uint32_t)(now_ms - boot_ms));
        weir_store_u32be(datagram + 8, (uint32_t)(now_ms / 1000));
        weir_store_u32be(datagram + 16, from);
        for (uint32_t i = 0; i < PER_DATAGRAM; i++)
            put_record(datagram + HEADER_BYTES + i * RECORD_BYTES, &flows[from + i], boot_ms);
        assert_int_equal(sendto(fd, datagram, sizeof datagram, 0, (struct sockaddr *)&to, sizeof to), sizeof datagram);
    }
    close(fd);
}

/** A port that is free on loopback now. */
static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

/** Bytes that wait in the receive queue of the UDP port, from the kernel's table; -1 while nobody is bound to it. */
static long queued_at(uint16_t port)
{
    char line[256];
    char wanted[16];
    long queued = -1;
    snprintf(wanted, sizeof wanted, ":%04X ", port);
    FILE *table = fopen("/proc/net/udp", "r");
    while (table != NULL && queued < 0 && fgets(line, sizeof line, table) != NULL) {
        unsigned long sending;
        unsigned long receiving;
        const char *at = strstr(line, wanted);
        if (at != NULL && sscanf(at, "%*s %*s %*s %lx:%lx", &sending, &receiving) == 2) queued = (long)receiving;
    }
    if (table != NULL) fclose(table);
    return queued;
}

/** Have nfcapd write the flows into @folder; returns the file's path. False when they do not all arrive. */
static bool record_with_nfcapd(const char *folder, const struct weir_flow *flows, int64_t now_ms, char *path,
                               size_t path_size)
{
    char port_text[8];
    uint16_t port = free_port();
    snprintf(port_text, sizeof port_text, "%u", port);
    pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL || freopen("/dev/null", "w", stdout) == NULL) _exit(1);
        execlp("nfcapd", "nfcapd", "-b", "127.0.0.1", "-p", port_text, "-w", folder, "-t", "3600", "-l", folder, NULL);
        execlp("nfcapd", "nfcapd", "-b", "127.0.0.1", "-p", port_text, "-w", folder, "-t", "3600", NULL);
        _exit(127);
    }
    for (int i = 0; i < 500 && queued_at(port) < 0; i++)
        poll(NULL, 0, 10);
    send_flows(port, flows, now_ms);
    for (int i = 0; i < 500 && queued_at(port) > 0; i++)
        poll(NULL, 0, 10);
    kill(child, SIGTERM);
    waitpid(child, NULL, 0);

    path[0] = '\0';
    DIR *list = opendir(folder);
    for (struct dirent *entry; (entry = readdir(list)) != NULL;) {
        if (strncmp(entry->d_name, "nfcapd.", 7) == 0) snprintf(path, path_size, "%s/%.60s", folder, entry->d_name);
    }
    closedir(list);
    return path[0] != '\0';
}

/** Which flows nfdump lets pass: by their bytes, the 14th value of its CSV. Returns how many lines had one. */
static int passed_by_nfdump(const char *path, const char *filter, bool passed[FLOWS])
{
    char command[600];
    char line[2048];
    int count = 0;
    memset(passed, 0, FLOWS * sizeof *passed);
    snprintf(command, sizeof command, "nfdump -q -N -r '%s' -o csv '%s' 2>&1", path, filter);
    FILE *out = popen(command, "r");
    assert_non_null(out);
    while (fgets(line, sizeof line, out) != NULL) {
        char *at = line;
        for (int comma = 0; comma < 12 && at != NULL; comma++)
            at = strchr(at, ',') == NULL ? NULL : strchr(at, ',') + 1;
        long bytes = at == NULL ? -1 : atol(at);
        if (bytes < 100 || (bytes - 100) % 67 != 0 || (bytes - 100) / 67 >= FLOWS) continue;
        passed[(bytes - 100) / 67] = true;
        count++;
    }
    pclose(out);
    return count;
}

/* The same text for both. Not `as`: nfdump 1.7.1 filters on it only with a geo database. */
static const char *const filters[] = {
    "any",
    "ipv4",
    "ipv6",
    "proto tcp",
    "proto udp",
    "proto 47",
    "proto icmp",
    "not proto tcp",
    "src ip 10.0.0.1",
    "dst ip 10.1.0.2",
    "ip 10.0.0.3",
    "host 10.0.1.4",
    "src or dst ip 10.0.0.3",
    "ip in [10.0.0.1, 10.0.0.2, 192.1.0.5]",
    "src net 10.0.1.0/24",
    "net 192.0.0.0/8",
    "dst net 10.1.0.0 255.255.0.0",
    "src port 443",
    "port 53",
    "dst port > 1024",
    "dst port < 80",
    "src port = 80",
    "port in [53, 123]",
    "src and dst port 53",
    "bytes > 10000",
    "bytes < 5k",
    "bytes > 15k",
    "packets > 10",
    "packets 3",
    "duration > 1000",
    "duration = 500",
    "bps > 40k",
    "pps > 10",
    "bpp > 1000",
    "bpp < 100",
    "flags S",
    "flags SA",
    "flags AS",
    "not flags SA",
    "flags S and not flags AFRPU",
    "not flags S or proto udp",
    "in if 3",
    "out if 2",
    "if 1",
    "tos 16",
    "tos 48",
    "proto tcp and port 443 or proto udp and port 53",
    "(proto tcp or proto udp) and not port 443",
    "not (src ip 10.0.0.1 or dst port 80)",
    "proto udp or proto tcp and src port 80",
    "PROTO TCP AND SRC PORT 443",
};

static void a_word_that_nfdump_has_too_means_the_same_flows(void **state)
{
    (void)state;
    char folder[] = "/tmp/weir-nfdump-XXXXXX";
    char path[512];
    if (system("nfdump -V >/dev/null 2>&1 && command -v nfcapd >/dev/null 2>&1") != 0) {
        printf("nfdump is not installed: %zu comparisons skipped\n", sizeof filters / sizeof *filters);
        skip();
    }
    assert_non_null(mkdtemp(folder));
    int64_t now_ms = 1772600000000;
    static struct weir_flow flows[FLOWS];
    for (uint32_t i = 0; i < FLOWS; i++)
        flows[i] = made_up(i, now_ms);
    static bool passed[FLOWS];
    assert_true(record_with_nfcapd(folder, flows, now_ms, path, sizeof path));
    assert_int_equal(passed_by_nfdump(path, "any", passed), FLOWS);

    struct weir_where where = {.protocol = WEIR_PROTOCOL_NETFLOW5, .site = ""};
    int differ = 0;
    for (size_t f = 0; f < sizeof filters / sizeof *filters; f++) {
        struct weir_filter *filter = NULL;
        struct weir_filter_error error;
        if (weir_filter_parse(filters[f], strlen(filters[f]), &filter, &error) < 0) {
            fail_msg("%s: %s at column %u", filters[f], error.message, error.column);
        }
        int theirs = passed_by_nfdump(path, filters[f], passed);
        int ours = 0;
        uint32_t different = 0;
        for (uint32_t i = 0; i < FLOWS; i++) {
            bool passes = weir_filter_flow(filter, &flows[i], &where);
            ours += passes;
            different += passes != passed[i];
        }
        if (different > 0) {
            differ++;
            printf("%s: %d of ours, %d of nfdump's, %u flows differ\n", filters[f], ours, theirs, different);
        }
        weir_filter_destroy(filter);
    }
    char command[64];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(differ, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_word_that_nfdump_has_too_means_the_same_flows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
