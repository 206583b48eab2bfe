#include "common/wire/batch.h"

#include "common/base/err.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/wire/body.h"

#include <assert.h>
#include <lz4.h>
#include <zstd.h>

/* Measured with tests/bench/wire on columns in bits: zstd level 1 takes 36 ns a flow to make 16.6 bytes of 18.6; lz4
 * takes 6 ns and gains nothing, unless rows repeat or addresses are IPv6. */
enum { ZSTD_LEVEL = 1, LZ4_ACCELERATION = 4, GAIN_SHARE = 16, REST = 15, REST_SLOTS = 256 };

static const char *const codec_names[] = {
    [WEIR_CODEC_NONE] = "none", [WEIR_CODEC_LZ4] = "lz4", [WEIR_CODEC_ZSTD] = "zstd"};

#define CODECS (sizeof codec_names / sizeof *codec_names)

struct weir_batch_encoder {
    enum weir_codec codec;
    struct weir_body_scratch *scratch;
    struct weir_buf raw;
    void *lz4;
    ZSTD_CCtx *zstd;
    uint8_t rest[REST_SLOTS]; /* bodies of a source, by its hash, that are not worth a try */
};

struct weir_batch_decoder {
    struct weir_buf raw;
    ZSTD_DCtx *zstd;
};

const char *weir_codec_name(enum weir_codec codec)
{
    return codec < CODECS ? codec_names[codec] : "unknown";
}

int weir_codec_of(const char *name)
{
    for (size_t i = 0; i < CODECS; i++) {
        if (strcmp(name, codec_names[i]) == 0) return (int)i;
    }
    return WEIR_EPARAM;
}

int weir_batch_encoder_create(enum weir_codec codec, struct weir_batch_encoder **ret)
{
    assert(codec < CODECS);
    struct weir_batch_encoder *encoder = weir_calloc(1, sizeof *encoder);
    if (encoder == NULL) return WEIR_ENOMEM;

    encoder->codec = codec;
    encoder->scratch = weir_calloc(1, sizeof *encoder->scratch);
    if (encoder->scratch == NULL) goto fail;
    if (codec == WEIR_CODEC_LZ4) {
        encoder->lz4 = weir_aligned_alloc(64, (size_t)LZ4_sizeofState());
        if (encoder->lz4 == NULL) goto fail;
    }
    if (codec == WEIR_CODEC_ZSTD) {
        encoder->zstd = ZSTD_createCCtx();
        if (encoder->zstd == NULL) goto fail;
    }
    *ret = encoder;
    return 0;

fail:
    weir_batch_encoder_destroy(encoder);
    return WEIR_ENOMEM;
}

void weir_batch_encoder_destroy(struct weir_batch_encoder *encoder)
{
    if (encoder == NULL) return;
    weir_buf_fini(&encoder->raw);
    weir_free(encoder->scratch);
    weir_free(encoder->lz4);
    ZSTD_freeCCtx(encoder->zstd);
    weir_free(encoder);
}

/** Compress into @out of @room bytes; the size, or 0 when it does not fit. */
static size_t compress(struct weir_batch_encoder *encoder, struct weir_view raw, uint8_t *out, size_t room)
{
    if (encoder->codec == WEIR_CODEC_LZ4) {
        int size = LZ4_compress_fast_extState(encoder->lz4, (const char *)raw.data, (char *)out, (int)raw.size,
                                              (int)room, LZ4_ACCELERATION);
        return size > 0 ? (size_t)size : 0;
    }
    size_t size = ZSTD_compressCCtx(encoder->zstd, out, room, raw.data, raw.size, ZSTD_LEVEL);
    return ZSTD_isError(size) ? 0 : size;
}

/** How much room lets the codec run without looking at the end of its output all the time. */
static size_t compress_bound(enum weir_codec codec, size_t size)
{
    return codec == WEIR_CODEC_LZ4 ? (size_t)LZ4_compressBound((int)size) : ZSTD_compressBound(size);
}

/** Append @raw to @body, compressed if that pays; else *rest says for how many bodies it is not tried again. */
static int append_compressed(struct weir_batch_encoder *encoder, struct weir_view raw, uint8_t *rest,
                             struct weir_batch_header *header, struct weir_buf *body)
{
    size_t room = compress_bound(encoder->codec, raw.size);
    uint8_t *at = weir_buf_reserve(body, room);
    if (at == NULL) return WEIR_ENOMEM;
    size_t size = compress(encoder, raw, at, room);
    if (size != 0 && size < raw.size - raw.size / GAIN_SHARE) {
        header->codec = encoder->codec;
        weir_buf_commit(body, size);
        return 0;
    }
    *rest = REST;
    weir_buf_append(body, raw.data, raw.size);
    return body->failed ? WEIR_ENOMEM : 0;
}

static int append_body(struct weir_batch_encoder *encoder, const struct weir_batch *batch,
                       struct weir_batch_header *header, struct weir_buf *body)
{
    uint8_t *rest = &encoder->rest[weir_hash64(&header->source, sizeof header->source, 0) % REST_SLOTS];
    bool plain = encoder->codec == WEIR_CODEC_NONE || *rest > 0;
    struct weir_buf *raw = plain ? body : &encoder->raw;
    if (!plain) weir_buf_clear(raw);
    uint8_t *at = weir_buf_reserve(raw, weir_body_bound(batch));
    if (at == NULL) return WEIR_ENOMEM;
    size_t size = weir_body_encode(encoder->scratch, batch, at);
    assert(size <= WEIR_BODY_RAW_MOST);
    header->raw_bytes = (uint32_t)size;
    if (!plain) return append_compressed(encoder, weir_view_of(at, size), rest, header, body);
    if (*rest > 0) --*rest;
    weir_buf_commit(body, size);
    return 0;
}

int weir_batch_encode(struct weir_batch_encoder *encoder, const struct weir_batch *batch,
                      struct weir_batch_header *header, struct weir_buf *body)
{
    *header = (struct weir_batch_header){
        .kind = WEIR_RECORD_DATA,
        .schema = WEIR_SCHEMA,
        .source = batch->source,
        .protocol = batch->protocol,
        .totals = weir_batch_sum(batch),
        .first_received_ms = batch->first_received_ms,
        .last_received_ms = batch->last_received_ms,
        .last_export_ms = batch->last_export_ms,
        .loss = batch->loss,
        .health = batch->health,
        .codec = WEIR_CODEC_NONE,
        .present = batch->present,
    };
    return batch->count == 0 && batch->drops.count == 0 ? 0 : append_body(encoder, batch, header, body);
}

int weir_batch_decoder_create(struct weir_batch_decoder **ret)
{
    struct weir_batch_decoder *decoder = weir_calloc(1, sizeof *decoder);
    if (decoder == NULL) return WEIR_ENOMEM;

    decoder->zstd = ZSTD_createDCtx();
    if (decoder->zstd == NULL) {
        weir_batch_decoder_destroy(decoder);
        return WEIR_ENOMEM;
    }
    *ret = decoder;
    return 0;
}

void weir_batch_decoder_destroy(struct weir_batch_decoder *decoder)
{
    if (decoder == NULL) return;
    weir_buf_fini(&decoder->raw);
    ZSTD_freeDCtx(decoder->zstd);
    weir_free(decoder);
}

/** Point @raw at the body without compression: the body itself, or the decoder's memory. */
static int decompress(struct weir_batch_decoder *decoder, const struct weir_batch_header *header, struct weir_view body,
                      struct weir_view *raw)
{
    if (header->raw_bytes > WEIR_BODY_RAW_MOST || body.size > WEIR_BODY_BYTES_MOST) return WEIR_EFORMAT;
    if (header->codec == WEIR_CODEC_NONE) {
        *raw = body;
        return body.size == header->raw_bytes ? 0 : WEIR_ECORRUPT;
    }

    weir_buf_clear(&decoder->raw);
    uint8_t *at = weir_buf_reserve(&decoder->raw, header->raw_bytes);
    if (at == NULL) return WEIR_ENOMEM;
    switch (header->codec) {
    case WEIR_CODEC_LZ4: {
        int size = LZ4_decompress_safe((const char *)body.data, (char *)at, (int)body.size, (int)header->raw_bytes);
        if (size < 0 || (uint32_t)size != header->raw_bytes) return WEIR_ECORRUPT;
        break;
    }
    case WEIR_CODEC_ZSTD: {
        size_t size = ZSTD_decompressDCtx(decoder->zstd, at, header->raw_bytes, body.data, body.size);
        if (ZSTD_isError(size) || size != header->raw_bytes) return WEIR_ECORRUPT;
        break;
    }
    default: return WEIR_EUNSUPPORTED;
    }
    *raw = weir_view_of(at, header->raw_bytes);
    return 0;
}

int weir_batch_decode(struct weir_batch_decoder *decoder, const struct weir_batch_header *header, struct weir_view body,
                      uint64_t wanted, struct weir_batch *out)
{
    weir_batch_clear(out);
    if (header->kind != WEIR_RECORD_DATA || header->totals.flows > WEIR_BATCH_MOST) return WEIR_EFORMAT;
    if (body.size == 0 && header->totals.flows == 0) {
        if (header->raw_bytes != 0) return WEIR_EFORMAT;
    } else {
        struct weir_view raw;
        int rc = decompress(decoder, header, body, &raw);
        if (rc == 0) rc = weir_body_decode(raw, (uint32_t)header->totals.flows, wanted, out);
        if (rc < 0) {
            weir_batch_clear(out);
            return rc;
        }
    }
    out->source = header->source;
    out->protocol = header->protocol;
    out->first_received_ms = header->first_received_ms;
    out->last_received_ms = header->last_received_ms;
    out->last_export_ms = header->last_export_ms;
    out->loss = header->loss;
    out->health = header->health;
    return 0;
}

uint32_t weir_batch_crc(struct weir_view header, struct weir_view body)
{
    return weir_crc32c(weir_crc32c(0, header.data, header.size), body.data, body.size);
}
