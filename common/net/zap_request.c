#include "common/net/zap_request.h"

#include "common/net/net.h"

#include <zmq.h>

static bool is_text(struct weir_view view, const char *text)
{
    return weir_view_equal(view, weir_view_text(text));
}

/** Copy what fits, with a '?' for everything that could break a log line. */
static void copy_printable(char *out, size_t size, struct weir_view from)
{
    size_t used = from.size < size - 1 ? from.size : size - 1;
    for (size_t i = 0; i < used; i++)
        out[i] = from.data[i] > ' ' && from.data[i] < 0x7f ? (char)from.data[i] : '?';
    out[used] = '\0';
}

int weir_zap_request_read(const struct weir_view *frames, uint32_t count, struct weir_zap_request *ret)
{
    enum { VERSION, ID, DOMAIN, ADDRESS, ROUTING_ID, MECHANISM, KEY };
    if (count < WEIR_ZAP_REQUEST_FRAMES) return WEIR_ESHORT;
    if (!is_text(frames[VERSION], "1.0")) return WEIR_EVERSION;
    if (frames[ID].size > WEIR_ZAP_ID_BYTES) return WEIR_EFORMAT;
    *ret = (struct weir_zap_request){.id = frames[ID]};
    copy_printable(ret->address, sizeof ret->address, frames[ADDRESS]);
    if (frames[DOMAIN].size < sizeof ret->domain) copy_printable(ret->domain, sizeof ret->domain, frames[DOMAIN]);
    if (!is_text(frames[MECHANISM], "CURVE")) return WEIR_EUNSUPPORTED;
    if (count != WEIR_ZAP_REQUEST_FRAMES || frames[KEY].size != WEIR_CURVE_KEY_BYTES) return WEIR_EFORMAT;
    zmq_z85_encode(ret->key, frames[KEY].data, WEIR_CURVE_KEY_BYTES);
    return 0;
}

enum weir_zap_verdict weir_zap_judge(const struct weir_zap_request *request, const struct weir_zap_rule *rules,
                                     size_t count, const struct weir_allow *allow,
                                     const struct weir_allow_entry **entry)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rules[i].domain, request->domain) != 0) continue;
        *entry = weir_allow_find_key(allow, request->key);
        if (*entry == NULL) return WEIR_ZAP_UNKNOWN_KEY;
        return (*entry)->role == rules[i].role ? WEIR_ZAP_ACCEPTED : WEIR_ZAP_WRONG_ROLE;
    }
    return WEIR_ZAP_MALFORMED;
}
