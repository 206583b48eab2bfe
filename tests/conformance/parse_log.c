/**
 * weir-parse-log FORMAT FILE: what the parsers make of a flow log, gzip or not. A line of JSON for each line of the log
 * that something came of: its number, its flows in order, each with who exported it, what else it told and what is bad.
 * A record that takes several lines comes with its last. The conformance tests compare this with independent readings.
 */
#include "agent/feed/feed.h"
#include "agent/feed/reader.h"
#include "common/flow/json_writer.h"
#include "tests/conformance/print_flow.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/** What came of the line at hand. */
struct came {
    struct weir_flow *flows;
    struct weir_source *sources;
    size_t count;
    size_t room;
    unsigned told[FEED_TOLD_COUNT];
    struct weir_buf bad; /* a JSON array that is open */
    struct json_writer json;
    bool any;
};

static void on_flow(void *ctx, const struct feed_origin *origin, const struct weir_flow *flow)
{
    struct came *came = ctx;
    if (came->count == came->room) {
        came->room = came->room * 2 + 16;
        came->flows = reallocarray(came->flows, came->room, sizeof *came->flows);
        came->sources = reallocarray(came->sources, came->room, sizeof *came->sources);
        if (came->flows == NULL || came->sources == NULL) abort();
    }
    came->flows[came->count] = *flow;
    came->sources[came->count++] = origin->source;
    came->any = true;
}

static void on_told(void *ctx, const struct feed_origin *origin, enum feed_told what)
{
    struct came *came = ctx;
    (void)origin;
    came->told[what]++;
    came->any = true;
}

static void on_bad(void *ctx, uint64_t line, const char *reason)
{
    struct came *came = ctx;
    jsonw_begin_array(&came->json);
    jsonw_u64(&came->json, line);
    jsonw_text(&came->json, reason);
    jsonw_end_array(&came->json);
    came->any = true;
}

static void begin(struct came *came)
{
    memset(came->told, 0, sizeof came->told);
    came->count = 0;
    came->any = false;
    came->bad.size = 0;
    came->json = json_writer_of(&came->bad);
    jsonw_begin_array(&came->json);
}

static void show(struct came *came, uint64_t line)
{
    static const char *const told[FEED_TOLD_COUNT] = {"nodata", "skipdata", "begun", "no_flow"};
    if (!came->any) return;
    printf("{\"line\":%" PRIu64 ",\"flows\":[", line);
    for (size_t i = 0; i < came->count; i++) {
        char exporter[WEIR_IP_TEXT];
        printf("%s{\"exporter\":\"%s\",\"domain\":%" PRIu32 ",\"flow\":", i > 0 ? "," : "",
               weir_ip_format(&came->sources[i].exporter, exporter), came->sources[i].domain);
        print_flow(&came->flows[i]);
        printf("}");
    }
    printf("],\"told\":{");
    const char *comma = "";
    for (int i = 0; i < FEED_TOLD_COUNT; i++) {
        if (came->told[i] == 0) continue;
        printf("%s\"%s\":%u", comma, told[i], came->told[i]);
        comma = ",";
    }
    jsonw_end_array(&came->json);
    printf("},\"bad\":%.*s}\n", (int)came->bad.size, (const char *)came->bad.data);
}

/** All of the log. The parsers do not care where they are cut (fuzz_feed): they get what there is a line at a time. */
static int read_log(struct feed_reader *reader, struct weir_buf *log)
{
    for (;;) {
        uint8_t *room = weir_buf_reserve(log, 1 << 16);
        if (room == NULL) return WEIR_ENOMEM;
        int64_t got = feed_reader_read(reader, room, 1 << 16);
        if (got <= 0) return (int)got;
        weir_buf_commit(log, (size_t)got);
    }
}

static void parse(struct feed_parser *parser, struct weir_view log)
{
    struct came came = {.bad = WEIR_BUF_INIT};
    const struct feed_out out = {.flow = on_flow, .told = on_told, .bad = on_bad, .ctx = &came};
    uint64_t line = 1;
    size_t from = 0; /* what the parser has not used up */
    for (size_t at = 0; at < log.size; line++) {
        const uint8_t *end = memchr(log.data + at, '\n', log.size - at);
        at = end == NULL ? log.size : (size_t)(end - log.data) + 1;
        begin(&came);
        from += feed_parse(parser, weir_view_of(log.data + from, at - from), at == log.size, &out);
        show(&came, line);
    }
    weir_buf_fini(&came.bad);
    free(came.flows);
    free(came.sources);
}

int main(int argc, char **argv)
{
    enum feed_format format = FEED_AWS;
    while (argc == 3 && format <= FEED_ZEEK && strcmp(argv[1], feed_format_name(format)) != 0)
        format++;
    if (argc != 3 || format > FEED_ZEEK) {
        fprintf(stderr, "usage: weir-parse-log " FEED_FORMATS " FILE\n");
        return 2;
    }
    struct feed_reader *reader = NULL;
    struct feed_parser *parser = NULL;
    struct weir_buf log = WEIR_BUF_INIT;
    int fd = open(argv[2], O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? WEIR_EIO : feed_reader_create(fd, &reader);
    if (rc == 0) rc = read_log(reader, &log);
    if (rc == 0) rc = feed_parser_create(format, NULL, NULL, "conformance", &parser, NULL);
    if (rc == 0) parse(parser, weir_buf_view(&log));
    if (rc < 0) fprintf(stderr, "weir-parse-log: %s: %s\n", argv[2], weir_err_name(rc));
    feed_parser_destroy(parser);
    feed_reader_destroy(reader);
    weir_buf_fini(&log);
    return rc < 0;
}
