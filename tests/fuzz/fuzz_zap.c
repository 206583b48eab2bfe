/** A ZAP request: frames, each with a byte of length before it. Whatever they hold, only the one key may get in. */
#include "common/net/zap_request.h"

#include <assert.h>
#include <stdlib.h>

static const char name[] = "agent-1";
static const uint8_t key[WEIR_CURVE_KEY_BYTES] = "0123456789abcdef0123456789abcdef";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct weir_allow *list(void)
{
    struct weir_allow *allow;
    struct weir_allow_entry entry = {.role = WEIR_ROLE_AGENT, .tenant = "acme"};
    struct weir_zap_request request;
    const struct weir_view frames[] = {weir_view_text("1.0"),        weir_view_text("1"), weir_view_text("agents"),
                                       weir_view_text("::1"),        weir_view_text(""),  weir_view_text("CURVE"),
                                       weir_view_of(key, sizeof key)};
    if (weir_zap_request_read(frames, WEIR_ZAP_REQUEST_FRAMES, &request) < 0) abort();
    memcpy(entry.name, name, sizeof name);
    memcpy(entry.key, request.key, sizeof entry.key);
    if (weir_allow_create(&allow) < 0 || weir_allow_add(allow, &entry, NULL) < 0) abort();
    return allow;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct weir_zap_rule rules[] = {{"agents", WEIR_ROLE_AGENT}, {"ask", WEIR_ROLE_CONSOLE}};
    static struct weir_allow *allow;
    if (allow == NULL) allow = list();
    struct weir_view frames[WEIR_ZAP_REQUEST_FRAMES + 1];
    uint32_t count = 0;
    struct weir_cursor c = weir_cursor_of(weir_view_of(data, size));
    while (weir_cursor_left(&c) > 0 && count < WEIR_ZAP_REQUEST_FRAMES + 1) {
        size_t length = weir_cursor_u8(&c);
        if (length > weir_cursor_left(&c)) length = weir_cursor_left(&c);
        frames[count++] = weir_view_of(weir_cursor_take(&c, length), length);
    }
    struct weir_zap_request request;
    const struct weir_allow_entry *entry = NULL;
    if (weir_zap_request_read(frames, count, &request) < 0) return 0;
    if (weir_zap_judge(&request, rules, 2, allow, &entry) == WEIR_ZAP_ACCEPTED) {
        assert(memcmp(frames[6].data, key, sizeof key) == 0);
        assert(weir_view_equal(frames[2], weir_view_text("agents")));
    }
    return 0;
}
