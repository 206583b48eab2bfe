/*
 * Every parser of flow logs with whatever bytes; the first byte chooses the format and how the input is cut.
 *
 * Beyond memory errors it checks that cutting makes no difference: whole, and in pieces, the same flows, the same bad
 * lines and the same bytes used up.
 */
#include "agent/feed/feed.h"
#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/base/mem.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** What came out, each in order. */
struct seen {
    const struct feed_parser *parser;
    uint64_t flows;
    uint64_t told;
    uint64_t bad;
    uint64_t hash;
    size_t used;
};

static void see(struct seen *seen, const void *data, size_t size)
{
    seen->hash = weir_hash64(data, size, seen->hash);
}

static void on_flow(void *ctx, const struct feed_origin *origin, const struct weir_flow *flow)
{
    struct seen *seen = ctx;
    seen->flows++;
    see(seen, &origin->source.exporter, sizeof origin->source.exporter);
    see(seen, &flow->src_ip, sizeof flow->src_ip);
    see(seen, &flow->bytes, sizeof flow->bytes);
    for (size_t i = 0; i < feed_parser_keeps(seen->parser); i++) {
        struct weir_view kept = feed_parser_kept(seen->parser, i);
        if (kept.size > 0) see(seen, kept.data, kept.size);
    }
    assert(flow->start_ms >= 0 && flow->end_ms >= 0);
}

static void on_told(void *ctx, const struct feed_origin *origin, enum feed_told what)
{
    struct seen *seen = ctx;
    seen->told++;
    see(seen, origin->name, strlen(origin->name));
    see(seen, &what, sizeof what);
}

static void on_bad(void *ctx, uint64_t line, const char *reason)
{
    struct seen *seen = ctx;
    seen->bad++;
    see(seen, &line, sizeof line);
    see(seen, reason, strlen(reason));
}

/** What is kept of each format's records, as each has it. */
static const char *const keep[] = {"subnet-id interface-id", "rule macAddress properties.Version",
                                   "reporter src_instance.vm_name connection.protocol", "uid service orig_pkts"};

static struct seen parse(enum feed_format format, struct weir_view bytes, size_t step)
{
    struct seen seen = {0};
    struct weir_buf buf = WEIR_BUF_INIT;
    struct feed_parser *parser = NULL;
    const struct feed_out out = {.flow = on_flow, .told = on_told, .bad = on_bad, .ctx = &seen};
    if (feed_parser_create(format, NULL, keep[format], "fuzz", &parser, NULL) < 0) abort();
    seen.parser = parser;
    for (size_t at = 0; at < bytes.size;) {
        size_t more = bytes.size - at < step ? bytes.size - at : step;
        weir_buf_append(&buf, bytes.data + at, more);
        at += more;
        uint8_t *exact = weir_malloc(buf.size + 1); /* so that ASan sees one byte too many */
        if (exact == NULL) abort();
        uint8_t *tail = exact + 1;
        memcpy(tail, buf.data, buf.size);
        size_t used = feed_parse(parser, weir_view_of(tail, buf.size), at == bytes.size, &out);
        weir_free(exact);
        assert(used <= buf.size);
        seen.used += used;
        memmove(buf.data, buf.data + used, buf.size - used);
        buf.size -= used;
    }
    feed_parser_destroy(parser);
    weir_buf_fini(&buf);
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    enum feed_format format = (enum feed_format)(data[0] & 3);
    struct weir_view bytes = weir_view_of(data + 1, size - 1);
    struct seen whole = parse(format, bytes, bytes.size);
    struct seen parts = parse(format, bytes, (size_t)(data[0] >> 2) + 1);
    assert(whole.flows == parts.flows && whole.told == parts.told && whole.bad == parts.bad);
    assert(whole.hash == parts.hash && whole.used == bytes.size && parts.used == bytes.size);
    return 0;
}
