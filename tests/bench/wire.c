/*
 * What a flow costs between the batch and the bytes: CPU ns per flow to encode and decode, and bytes per flow, for each
 * codec and for large and small batches. The flows are those of a NetFlow v5 exporter at a border: hosts by Zipf's law
 * on our side, the world on the other, well-known ports, heavy-tailed sizes.
 *
 *     build/release/bench/bench.wire [flows]
 */
#include "common/base/err.h"
#include "common/wire/batch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { HOSTS = 5000, PEERS = 20000 };

static uint64_t seed = 88172645463325252ull;

static uint64_t random_next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x2545f4914f6cdd1dull;
}

static double random_unit(void)
{
    return ((double)(random_next() >> 11) + 0.5) / 9007199254740992.0;
}

/** A rank of 0..n-1 by Zipf's law with exponent 1, by inverting its continuous form. */
static uint32_t random_zipf(uint32_t n)
{
    return (uint32_t)(exp(random_unit() * log((double)n + 1)) - 1);
}

static struct weir_ip ip_of(uint32_t address)
{
    uint8_t four[4];
    weir_store_u32be(four, address);
    return weir_ip_from_v4(four);
}

static struct weir_flow random_flow(int64_t now_ms)
{
    static const uint16_t ports[] = {443, 443, 443, 443, 80, 80, 53, 53, 22, 123, 25, 993, 3389, 8080, 5222, 1194};
    uint32_t host = 0x0a000000 + random_zipf(HOSTS) * 7919 % 65536;
    uint32_t peer = (random_zipf(PEERS) + 1) * 2654435761u;
    uint32_t packets = (uint32_t)exp(fabs(random_unit() + random_unit() - 1) * 9) + 1;
    uint16_t port = ports[random_next() % 16];
    uint16_t client = (uint16_t)(32768 + random_next() % 28000);
    bool out = random_next() & 1;
    int64_t duration = packets == 1 ? 0 : (int64_t)(exp(random_unit() * 10.3));
    int64_t end = now_ms - (int64_t)(random_next() % 15000);
    return (struct weir_flow){
        .start_ms = end - duration,
        .end_ms = end,
        .src_ip = ip_of(out ? host : peer),
        .dst_ip = ip_of(out ? peer : host),
        .next_hop = ip_of(out ? 0xc0000201 : 0x0a000001),
        .bytes = (uint64_t)packets * (40 + random_next() % 1400),
        .packets = packets,
        .if_in = out ? 12 : 3,
        .if_out = out ? 3 : 12,
        .src_as = out ? 64500 : 1000 + peer % 3000,
        .dst_as = out ? 1000 + peer % 3000 : 64500,
        .sampling_one_in = 1,
        .src_port = out ? client : port,
        .dst_port = out ? port : client,
        .tcp_flags = port == 53 || port == 123 ? 0
                     : random_next() % 4 == 0  ? 0x1f
                                               : 0x1b,
        .proto = port == 53 || port == 123 ? 17 : 6,
        .tos = random_next() % 20 == 0 ? 0x28 : 0,
        .src_mask = out ? 24 : (uint8_t)(16 + peer % 9),
        .dst_mask = out ? (uint8_t)(16 + peer % 9) : 24,
        .sampling_origin = WEIR_SAMPLING_RECORD,
    };
}

static double cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void check(int rc, const char *what)
{
    if (rc >= 0) return;
    fprintf(stderr, "%s: %s\n", what, weir_err_text(rc));
    exit(1);
}

/** Encode and decode @flows flows in batches of @rows, over as many different batches as fit 16,384 flows. */
static void measure(enum weir_codec codec, uint32_t rows, uint64_t flows)
{
    enum { VARIETY = 16384 };
    uint32_t variety = VARIETY / rows;
    struct weir_batch **batch = calloc(variety, sizeof *batch);
    struct weir_batch *out = NULL;
    struct weir_batch_encoder *encoder = NULL;
    struct weir_batch_decoder *decoder = NULL;
    struct weir_buf body = WEIR_BUF_INIT;
    struct weir_buf head = WEIR_BUF_INIT;
    if (batch == NULL) exit(1);
    check(weir_batch_create(rows, &out), "batch");
    check(weir_batch_encoder_create(codec, &encoder), "encoder");
    check(weir_batch_decoder_create(&decoder), "decoder");
    for (uint32_t b = 0; b < variety; b++) {
        check(weir_batch_create(rows, &batch[b]), "batch");
        for (uint32_t i = 0; i < rows; i++) {
            struct weir_flow flow = random_flow(1700000000000 + b * 40);
            check(weir_batch_append(batch[b], &flow), "append");
        }
    }

    uint64_t done = 0;
    uint64_t bytes = 0;
    uint64_t raw = 0;
    double encode_ns = 0;
    double decode_ns = 0;
    while (done < flows) {
        for (uint32_t b = 0; b < variety; b++) {
            struct weir_batch_header header;
            weir_buf_clear(&body);
            weir_buf_clear(&head);
            double begin = cpu_ns();
            check(weir_batch_encode(encoder, batch[b], &header, &body), "encode");
            check(weir_batch_header_encode(&header, &head), "header");
            double middle = cpu_ns();
            check(weir_batch_header_decode(weir_buf_view(&head), &header), "header");
            check(weir_batch_decode(decoder, &header, weir_buf_view(&body), WEIR_COLUMNS_ALL, out), "decode");
            double end = cpu_ns();
            encode_ns += middle - begin;
            decode_ns += end - middle;
            bytes += head.size + body.size;
            raw += header.raw_bytes;
            done += rows;
        }
    }
    printf("%-5s %5u flows a batch   encode %6.1f ns   decode %6.1f ns   raw %5.1f B   stored %5.1f B a flow\n",
           weir_codec_name(codec), rows, encode_ns / (double)done, decode_ns / (double)done, (double)raw / (double)done,
           (double)bytes / (double)done);
    for (uint32_t b = 0; b < variety; b++)
        weir_batch_destroy(batch[b]);
    free(batch);
    weir_batch_destroy(out);
    weir_batch_encoder_destroy(encoder);
    weir_batch_decoder_destroy(decoder);
    weir_buf_fini(&body);
    weir_buf_fini(&head);
}

int main(int argc, char **argv)
{
    uint64_t flows = argc > 1 ? strtoull(argv[1], NULL, 10) : 4000000;
    for (int codec = WEIR_CODEC_NONE; codec <= WEIR_CODEC_ZSTD; codec++) {
        measure(codec, WEIR_BATCH_MOST, flows);
        measure(codec, 300, flows);
        measure(codec, 30, flows / 4);
    }
    return 0;
}
