#include "common/conf/text_check.h"

#include <ctype.h>

/** A place in the text, and the last name before it, which is the option that a number belongs to. */
struct scan {
    const char *at;
    const char *end;
    unsigned line;
    struct weir_view option;
};

static bool starts(const struct scan *scan, const char *word)
{
    size_t size = strlen(word);
    return (size_t)(scan->end - scan->at) >= size && memcmp(scan->at, word, size) == 0;
}

static void skip(struct scan *scan, size_t count)
{
    for (; count > 0 && scan->at < scan->end; count--) {
        if (*scan->at++ == '\n') scan->line++;
    }
}

/** Skip up to and with @closing, or to the end. */
static void skip_to(struct scan *scan, const char *closing)
{
    while (scan->at < scan->end && !starts(scan, closing))
        skip(scan, 1);
    skip(scan, strlen(closing));
}

static void skip_string(struct scan *scan)
{
    skip(scan, 1);
    while (scan->at < scan->end && *scan->at != '"')
        skip(scan, *scan->at == '\\' ? 2 : 1);
    skip(scan, 1);
}

/** The letters and digits from here. */
static struct weir_view word(struct scan *scan)
{
    const char *from = scan->at;
    while (scan->at < scan->end && (isalnum((unsigned char)*scan->at) || memchr("_-*.", *scan->at, 4) != NULL))
        scan->at++;
    return weir_view_of(from, (size_t)(scan->at - from));
}

/** Does a number that libconfig keeps in 32 bits not fit there? Those with an L behind, and fractions, are others. */
static bool is_cut(struct weir_view number)
{
    bool is_hex = number.size > 2 && number.data[0] == '0' && (number.data[1] == 'x' || number.data[1] == 'X');
    uint64_t value = 0;
    for (size_t i = is_hex ? 2 : 0; i < number.size; i++) {
        int c = number.data[i];
        if (!(is_hex ? isxdigit(c) : isdigit(c))) return false;
        int digit = isdigit(c) ? c - '0' : (c | 0x20) - 'a' + 10;
        if (value <= INT32_MAX) value = value * (is_hex ? 16 : 10) + (uint64_t)digit;
    }
    return value > INT32_MAX;
}

int weir_conf_text_check(struct weir_view text, const char *name, struct weir_why *why)
{
    if (text.size > 0 && memchr(text.data, '\0', text.size) != NULL) {
        return weir_why_set(why, WEIR_EFORMAT, "%s: has a zero byte, so it is not a text", name);
    }
    struct scan scan = {.at = (const char *)text.data, .end = (const char *)text.data + text.size, .line = 1};
    while (scan.at < scan.end) {
        if (*scan.at == '#' || starts(&scan, "//")) {
            skip_to(&scan, "\n");
        } else if (starts(&scan, "/*")) {
            skip_to(&scan, "*/");
        } else if (*scan.at == '"') {
            skip_string(&scan);
        } else if (starts(&scan, "@include")) {
            return weir_why_set(why, WEIR_EPARAM, "%s:%u: @include is not supported", name, scan.line);
        } else if (isdigit((unsigned char)*scan.at)) {
            struct weir_view number = word(&scan);
            if (!is_cut(number)) continue;
            return weir_why_set(why, WEIR_EPARAM,
                                "%s:%u: %.*s: %.*s is too large for a plain number: write sizes and durations as "
                                "strings with a unit, \"64MiB\", other numbers with an L behind",
                                name, scan.line, (int)scan.option.size, (const char *)scan.option.data,
                                (int)number.size, (const char *)number.data);
        } else if (isalpha((unsigned char)*scan.at) || *scan.at == '*') {
            scan.option = word(&scan);
        } else {
            skip(&scan, 1);
        }
    }
    return 0;
}
