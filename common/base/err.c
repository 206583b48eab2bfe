#include "common/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *weir_err_name(int rc)
{
    if (rc >= 0) return "OK";
    switch (rc) {
#define WEIR_ERR_NAME(name, number, text) \
    case WEIR_##name: return #name;
        WEIR_ERRORS(WEIR_ERR_NAME)
#undef WEIR_ERR_NAME
    default: return "EUNKNOWN";
    }
}

const char *weir_err_text(int rc)
{
    if (rc >= 0) return "ok";
    switch (rc) {
#define WEIR_ERR_TEXT(name, number, text) \
    case WEIR_##name: return text;
        WEIR_ERRORS(WEIR_ERR_TEXT)
#undef WEIR_ERR_TEXT
    default: return "unknown error";
    }
}

int weir_why_set(struct weir_why *why, int rc, const char *format, ...)
{
    if (why == NULL) return rc;
    va_list args;
    va_start(args, format);
    vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    return rc;
}

int weir_why_prefix(struct weir_why *why, int rc, const char *format, ...)
{
    if (why == NULL) return rc;
    char rest[sizeof why->text];
    memcpy(rest, why->text, sizeof rest);
    rest[sizeof rest - 1] = '\0';

    va_list args;
    va_start(args, format);
    int used = vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    if (used < 0 || (size_t)used >= sizeof why->text) return rc;
    snprintf(why->text + used, sizeof why->text - (size_t)used, ": %.*s", (int)sizeof rest - 1, rest);
    return rc;
}
