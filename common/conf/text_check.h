/** What libconfig 1.5 would take and get wrong, refused before it reads a text. */
#ifndef WEIR_COMMON_CONF_TEXT_CHECK_H
#define WEIR_COMMON_CONF_TEXT_CHECK_H

#include "common/base/bytes.h"
#include "common/base/err.h"

/**
 * Refuse integers that it would cut to 32 bits, @include (whose errors would name the wrong file) and zero bytes
 * (behind which it reads nothing). @name stands for the file in errors. WEIR_EPARAM, WEIR_EFORMAT.
 */
int weir_conf_text_check(struct weir_view text, const char *name, struct weir_why *why);

#endif
