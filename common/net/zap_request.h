/**
 * A ZAP request (ZeroMQ RFC 27) as plain data, and the verdict over it: pure, so that tests and the fuzzer reach it.
 */
#ifndef WEIR_COMMON_NET_ZAP_REQUEST_H
#define WEIR_COMMON_NET_ZAP_REQUEST_H

#include "common/net/zap.h"

enum { WEIR_ZAP_REQUEST_FRAMES = 7, WEIR_ZAP_ID_BYTES = 255, WEIR_CURVE_KEY_BYTES = 32 };

struct weir_zap_request {
    struct weir_view id;     /* to be sent back; borrowed from the frames */
    char domain[64];         /* "" when it was longer, which no rule has */
    char address[64];        /* of the peer, cut; only characters that a log line can carry */
    char key[WEIR_KEY_TEXT]; /* Z85 */
};

/** Read the frames of a request; @ret borrows from them. WEIR_ESHORT, WEIR_EVERSION, WEIR_EFORMAT, WEIR_EUNSUPPORTED. */
int weir_zap_request_read(const struct weir_view *frames, uint32_t count, struct weir_zap_request *ret);

/** May this peer in? On WEIR_ZAP_ACCEPTED, *entry (borrowed from @allow) says who it is. */
enum weir_zap_verdict weir_zap_judge(const struct weir_zap_request *request, const struct weir_zap_rule *rules,
                                     size_t count, const struct weir_allow *allow,
                                     const struct weir_allow_entry **entry);

#endif
