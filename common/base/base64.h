/** Base64 (RFC 4648, section 4): with padding, without line ends. */
#ifndef WEIR_COMMON_BASE_BASE64_H
#define WEIR_COMMON_BASE_BASE64_H

#include "common/base/buf.h"

/** Append what @text means. WEIR_EFORMAT not of this form; WEIR_ENOMEM. Bits that padding leaves over are not looked at. */
int weir_base64_decode(const char *text, size_t size, struct weir_buf *out);

/** Append @bytes as text. */
void weir_base64_encode(struct weir_view bytes, struct weir_buf *out);

#endif
