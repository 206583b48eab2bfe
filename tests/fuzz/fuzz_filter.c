/** Any text is a filter or has an error that points into it; a filter survives printing and decides flows alike. */
#include "common/flow/filter.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void evaluate(const struct weir_filter *filter)
{
    struct weir_batch *batch = NULL;
    if (weir_batch_create(4, &batch) < 0) return;
    struct weir_flow flow = {.start_ms = 1,
                             .end_ms = 5001,
                             .bytes = 1000,
                             .packets = 3,
                             .src_port = 443,
                             .dst_port = 51000,
                             .proto = 6,
                             .tcp_flags = 0x12};
    static const uint8_t four[4] = {10, 0, 0, 1};
    flow.src_ip = weir_ip_from_v4(four);
    struct weir_flow other = {.proto = 1, .dst_port = 0x0800};
    assert(weir_batch_append(batch, &flow) == 0 && weir_batch_append(batch, &other) == 0);
    struct weir_where where = {.protocol = WEIR_PROTOCOL_IPFIX, .site = "fra1"};
    uint64_t selected[WEIR_FILTER_WORDS];
    weir_filter_batch(filter, batch, &where, selected);
    assert(weir_filter_flow(filter, &flow, &where) == (selected[0] & 1));
    assert(weir_filter_flow(filter, &other, &where) == (selected[0] >> 1 & 1));
    if (weir_filter_excludes(filter, &where)) assert(selected[0] == 0);
    struct weir_ip ips[8];
    weir_filter_anchor(filter, ips, 8);
    weir_filter_fits(filter, WEIR_DIM_BIT(WEIR_DIM_src_ip) | WEIR_DIM_BIT(WEIR_DIM_service));
    weir_batch_destroy(batch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_filter *filter = NULL;
    struct weir_filter_error error;
    struct weir_buf text = WEIR_BUF_INIT;
    if (weir_filter_parse((const char *)data, size, &filter, &error) < 0) {
        assert(error.column >= 1 && error.column <= size + 1 && error.length >= 1);
        weir_filter_error_print(&error, (const char *)data, size, &text);
        weir_buf_fini(&text);
        return 0;
    }
    weir_filter_print(filter, &text);
    struct weir_filter *again = NULL;
    if (text.size <= WEIR_FILTER_TEXT_MOST) { /* the canonical form may be the longer one */
        if (weir_filter_parse((const char *)text.data, text.size, &again, &error) < 0) {
            assert(error.message[0] == 't'); /* too many parts, too long or too deep: "the filter ..." */
        } else {
            assert(weir_filter_equal(filter, again));
        }
    }
    evaluate(filter);
    weir_filter_destroy(again);
    weir_filter_destroy(filter);
    weir_buf_fini(&text);
    return 0;
}
