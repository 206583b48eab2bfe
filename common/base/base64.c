#include "common/base/base64.h"

#include "common/base/err.h"

enum { NO_DIGIT = 64 };

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static uint32_t digit_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') return c - (uint32_t)'A';
    if (c >= 'a' && c <= 'z') return c - (uint32_t)'a' + 26;
    if (c >= '0' && c <= '9') return c - (uint32_t)'0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : NO_DIGIT;
}

int weir_base64_decode(const char *text, size_t size, struct weir_buf *out)
{
    if (size % 4 != 0) return WEIR_EFORMAT;
    if (size == 0) return 0;
    uint8_t *to = weir_buf_reserve(out, size / 4 * 3);
    if (to == NULL) return WEIR_ENOMEM;
    size_t padding = (size_t)(text[size - 1] == '=') + (size_t)(text[size - 1] == '=' && text[size - 2] == '=');
    for (size_t i = 0; i < size; i += 4) {
        uint32_t group = 0;
        for (size_t j = i; j < i + 4; j++) {
            uint32_t digit = j >= size - padding ? 0 : digit_of((uint8_t)text[j]);
            if (digit == NO_DIGIT) return WEIR_EFORMAT;
            group = group << 6 | digit;
        }
        *to++ = (uint8_t)(group >> 16);
        *to++ = (uint8_t)(group >> 8);
        *to++ = (uint8_t)group;
    }
    weir_buf_commit(out, size / 4 * 3 - padding);
    return 0;
}

void weir_base64_encode(struct weir_view bytes, struct weir_buf *out)
{
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        uint32_t group = (uint32_t)bytes.data[i] << 16;
        if (left > 1) group |= (uint32_t)bytes.data[i + 1] << 8;
        if (left > 2) group |= bytes.data[i + 2];
        weir_buf_u8(out, (uint8_t)digits[group >> 18]);
        weir_buf_u8(out, (uint8_t)digits[group >> 12 & 63]);
        weir_buf_u8(out, left > 1 ? (uint8_t)digits[group >> 6 & 63] : '=');
        weir_buf_u8(out, left > 2 ? (uint8_t)digits[group & 63] : '=');
    }
}
