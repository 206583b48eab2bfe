/**
 * What exporters taught, as read back from the state directory: whatever bytes, behind a right checksum. Data is decoded
 * with what was learned, and what is written of it reads back as the same.
 */
#include "common/base/hash.h"
#include "tests/support/input.h"
#include "tests/support/message.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void recall(void *ctx, const struct weir_ip *sender, struct weir_buf *out)
{
    const struct weir_view *body = ctx;
    weir_buf_u32be(out, (uint32_t)(sizeof *sender + body->size));
    uint32_t crc = weir_crc32c(0, sender, sizeof *sender);
    weir_buf_u32be(out, weir_crc32c(crc, body->data, body->size));
    weir_buf_append(out, sender, sizeof *sender);
    weir_buf_append(out, body->data, body->size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_view body = weir_view_of(data, size);
    struct agent_decoder_conf conf = AGENT_DECODER_DEFAULTS;
    conf.most_domains = 8;
    conf.most_templates = 16;
    conf.recall = (struct agent_recall){recall, &body};
    struct input input;
    input_init(&input, &conf);
    struct message m = {0};
    for (uint32_t id = 0; id < 2; id++) {
        message_ipfix(&m, 1700000000, 0, id);
        message_records(&m, 256, 16, 8);
        input_take_by(&input, 2055, message_end(&m), 1700000000000);
    }
    struct weir_buf learned = WEIR_BUF_INIT;
    agent_decoder_learned(input.decoder, &learned);
    struct weir_cursor c = weir_cursor_of(weir_buf_view(&learned));
    while (weir_cursor_left(&c) > 0) {
        struct weir_ip sender;
        struct weir_view entry;
        int64_t heard_ms;
        int rc = agent_learned_next(&c, &sender, &heard_ms, &entry);
        assert(rc == 0);
    }
    weir_buf_fini(&learned);
    message_fini(&m);
    input_fini(&input);
    return 0;
}
