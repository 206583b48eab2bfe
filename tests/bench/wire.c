/*
 * What a flow costs between the batch and the bytes: CPU ns per flow to encode and decode, and bytes per flow, for each
 * codec and for large and small batches. The flows of tests/bench/gen.
 *
 *     build/release/bench/bench.wire [flows]
 */
#include "common/base/err.h"
#include "common/wire/batch.h"
#include "tests/bench/gen/gen.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

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
static void measure(struct gen *gen, enum weir_codec codec, uint32_t rows, uint64_t flows)
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
            struct weir_flow flow = gen_flow(gen, 1700000000000 + b * 40, false);
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
    struct gen *gen = NULL;
    check(gen_create(&GEN_DEFAULTS, &gen), "generator");
    for (int codec = WEIR_CODEC_NONE; codec <= WEIR_CODEC_ZSTD; codec++) {
        measure(gen, codec, WEIR_BATCH_MOST, flows);
        measure(gen, codec, 300, flows);
        measure(gen, codec, 30, flows / 4);
    }
    gen_destroy(gen);
    return 0;
}
