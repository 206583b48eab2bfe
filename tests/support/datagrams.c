#include "tests/support/datagrams.h"

#include "common/base/mem.h"
#include "tests/support/input.h"

#include <assert.h>

void datagrams_decode(struct weir_view script, struct weir_view version)
{
    if (script.size < 1) return;
    struct agent_decoder_conf conf = AGENT_DECODER_DEFAULTS;
    if ((script.data[0] & 1) != 0) {
        conf.most_exporters = 2;
        conf.most_domains = 2;
        conf.most_templates = 3;
        conf.most_templates_all = 4;
        conf.most_samplers = 2;
        conf.most_parked_bytes = 512;
        conf.most_data_sources = 3;
        conf.most_data_sources_each = 2;
    }
    if ((script.data[0] & 2) != 0) conf.tunnels = AGENT_TUNNELS_INNER;
    static const struct weir_extra named[] = {{"name", 0, 82, WEIR_EXTRA_STRING},
                                              {"vendor", 9, 100, WEIR_EXTRA_OCTETS}};
    if ((script.data[0] & 4) != 0) conf.extras = (struct agent_extras){named, sizeof named / sizeof *named};
    struct input input;
    input_init(&input, &conf);

    struct weir_cursor c = weir_cursor_of(weir_view_of(script.data + 1, script.size - 1));
    int64_t now_ms = 1700000000000;
    while (weir_cursor_left(&c) >= 2) {
        uint16_t head = weir_cursor_u16(&c);
        size_t bytes = head & 0x3fff;
        if (bytes > weir_cursor_left(&c)) bytes = weir_cursor_left(&c);
        struct agent_peer peer = {{{[10] = 0xff, [11] = 0xff, [12] = 192, [15] = (uint8_t)(head >> 15)}},
                                  (head >> 14 & 1) == 0 ? 2055 : 2000 + bytes % 16};
        uint8_t *exact = weir_malloc(bytes == 0 ? 1 : bytes); /* so that ASan sees one byte too many */
        if (exact == NULL) break;
        memcpy(exact, c.at, bytes);
        if (version.size > 0 && bytes >= version.size) memcpy(exact, version.data, version.size);
        agent_decode(input.decoder, &peer, weir_view_of(exact, bytes), now_ms);
        weir_free(exact);
        weir_cursor_skip(&c, bytes);
        now_ms += 100;
        agent_decoder_tick(input.decoder, now_ms);
    }
    input_flush(&input);
    const struct agent_gather_counts *gathered = agent_gather_counted(input.gather);
    uint64_t decoded = 0;
    for (int p = 0; p < AGENT_PROTOCOL_COUNT; p++)
        decoded += agent_decoder_counts(input.decoder)->n[AGENT_INPUT_flows_netflow5 + p];
    assert(decoded == gathered->flows_in);
    assert(gathered->flows_in == gathered->flows_out + gathered->dropped_sink_full + gathered->dropped_no_memory);
    input_fini(&input);
}
