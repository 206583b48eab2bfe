/*
 * A broker that stores nothing and acknowledges everything, so that an agent can be measured alone. Makes keys,
 * cluster.conf and agent.conf in a folder and serves until standard input ends; then prints what came.
 *
 *     build/release/bench/bench.acker FOLDER [UDP-PORT] < FIFO &
 *     build/release/bin/weir-agent --config FOLDER/agent.conf
 */
#include "common/base/err.h"
#include "common/net/zap.h"
#include "common/wire/batch.h"
#include "common/wire/message.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

enum { CREDIT = 256, MAX_BYTES = 1 << 20 };

struct tally {
    uint64_t batches;
    uint64_t flows;
    uint64_t lost;
    uint64_t bytes;
};

static void check(int rc, const struct weir_why *why)
{
    if (rc >= 0) return;
    fprintf(stderr, "acker: %s\n", why->text[0] != '\0' ? why->text : weir_err_text(rc));
    exit(1);
}

static void write_conf(const char *folder, const char *port, const char *endpoint, const char *key)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/cluster.conf", folder);
    FILE *cluster = fopen(path, "w");
    snprintf(path, sizeof path, "%s/agent.conf", folder);
    FILE *agent = fopen(path, "w");
    if (cluster == NULL || agent == NULL) exit(1);
    fprintf(cluster,
            "epoch = 1; tenant = \"bench\"; replication = 1;\n"
            "brokers = ( { name = \"acker\"; endpoint = \"%s\"; key = \"%s\"; } );\n"
            "aggregators = ( { name = \"nobody\"; endpoint = \"tcp://127.0.0.1:7002\";\n"
            "  ask_endpoint = \"tcp://127.0.0.1:7003\"; key = \"%s\"; } );\n",
            endpoint, key, key);
    fprintf(agent,
            "name = \"agent\"; listen = [\"127.0.0.1:%s\"]; key = \"%s/agent.key\"; cluster = \"%s/cluster.conf\";\n"
            "state = \"%s/state\";\n",
            port, folder, folder, folder);
    fclose(cluster);
    fclose(agent);
}

static struct weir_socket *serve(struct weir_net *net, const char *folder, const char *port)
{
    static const struct weir_zap_rule rules[] = {{"agents", WEIR_ROLE_AGENT}};
    struct weir_why why = {""};
    struct weir_keys agent;
    struct weir_keys ours;
    struct weir_zap *zap;
    struct weir_allow *allow;
    struct weir_socket *server;
    struct weir_allow_entry entry = {.name = "agent", .role = WEIR_ROLE_AGENT, .tenant = "bench"};
    check(weir_keys_make(&agent, &why), &why);
    check(weir_keys_make(&ours, &why), &why);
    check(weir_keys_write(&agent, folder, "agent", true, &why), &why);
    memcpy(entry.key, agent.public_key, sizeof entry.key);
    check(weir_allow_create(&allow), &why);
    check(weir_allow_add(allow, &entry, &why), &why);
    check(weir_zap_start(net, rules, 1, allow, &zap, &why), &why);
    const struct weir_server_conf conf = {
        .endpoint = "tcp://127.0.0.1:0", .domain = "agents", .keys = &ours, .max_bytes = MAX_BYTES};
    check(weir_server_create(net, &conf, &server, &why), &why);
    write_conf(folder, port, weir_socket_endpoint(server), ours.public_key);
    return server;
}

static void answer(struct weir_socket *server, uint32_t peer, const struct weir_msg *msg)
{
    struct weir_buf encoded = WEIR_BUF_INIT;
    struct weir_frames frames = WEIR_FRAMES_INIT;
    if (weir_msg_encode(msg, &encoded) == 0 && weir_frames_add(&frames, weir_buf_view(&encoded)) == 0)
        (void)weir_socket_send(server, peer, &frames);
    weir_frames_clear(&frames);
    weir_buf_fini(&encoded);
}

static void on_message(struct weir_socket *server, uint32_t peer, const struct weir_frames *frames, struct tally *tally)
{
    struct weir_msg msg;
    if (weir_msg_decode(weir_frames_view(frames, 0), &msg) < 0) return;
    if (msg.kind == WEIR_MSG_HELLO) {
        answer(server, peer, &(struct weir_msg){.kind = WEIR_MSG_WELCOME, .credit = CREDIT, .max_bytes = MAX_BYTES});
    } else if (msg.kind == WEIR_MSG_PING) {
        answer(server, peer, &(struct weir_msg){.kind = WEIR_MSG_PONG});
    } else if (msg.kind == WEIR_MSG_DATA && frames->count == 3) {
        struct weir_batch_header header;
        struct weir_view head = weir_frames_view(frames, 1);
        if (weir_batch_header_decode(head, &header) < 0) return;
        tally->batches++;
        if (header.kind == WEIR_RECORD_DATA)
            tally->flows += header.totals.flows;
        else
            tally->lost += header.totals.flows;
        tally->bytes += head.size + weir_frames_view(frames, 2).size;
        answer(server, peer, &(struct weir_msg){.kind = WEIR_MSG_ACK, .shard = msg.shard, .seq = msg.seq});
    }
}

int main(int argc, char **argv)
{
    struct weir_why why = {""};
    struct weir_net *net;
    struct tally tally = {0};
    if (argc < 2) {
        fprintf(stderr, "usage: bench.acker FOLDER [UDP-PORT]\n");
        return 2;
    }
    check(weir_net_create(1, &net), &why);
    struct weir_socket *server = serve(net, argv[1], argc > 2 ? argv[2] : "0");
    printf("ready\n");
    fflush(stdout);
    struct pollfd wait[] = {{.fd = 0, .events = POLLIN}, {.fd = weir_socket_fd(server), .events = POLLIN}};
    for (;;) {
        struct weir_frames frames = WEIR_FRAMES_INIT;
        struct weir_peer peer;
        while (weir_socket_recv(server, &frames, &peer) == 0)
            on_message(server, peer.id, &frames, &tally);
        weir_frames_clear(&frames);
        if (weir_socket_pending(server)) continue;
        char byte;
        if (poll(wait, 2, 1000) > 0 && wait[0].revents != 0 && fread(&byte, 1, 1, stdin) == 0) break;
    }
    printf("{\"batches\": %" PRIu64 ", \"flows\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"bytes_a_flow\": %.1f}\n",
           tally.batches, tally.flows, tally.lost, tally.flows == 0 ? 0 : (double)tally.bytes / (double)tally.flows);
    return 0;
}
