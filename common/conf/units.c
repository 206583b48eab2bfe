/** Sizes and durations as text with units. */
#include "common/conf/option.h"

#include <inttypes.h>
#include <stdio.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first, so that printing takes the first that divides; the binary ones before the decimal ones. */
static const struct unit sizes[] = {
    {"TiB", 1ull << 40}, {"GiB", 1ull << 30},      {"MiB", 1ull << 20},
    {"KiB", 1ull << 10}, {"TB", 1000000000000ull}, {"GB", 1000000000ull},
    {"MB", 1000000ull},  {"kB", 1000ull},          {"B", 1},
    {NULL, 0},
};
static const struct unit durations[] = {
    {"w", 604800000ull}, {"d", 86400000ull}, {"h", 3600000ull}, {"m", 60000ull}, {"s", 1000ull}, {"ms", 1}, {NULL, 0},
};

/** A run of digits; WEIR_EFORMAT when there is none, WEIR_ELIMIT when it does not fit. Moves @at_p behind it. */
static int number_parse(const char **at_p, uint64_t *ret)
{
    const char *at = *at_p;
    uint64_t value = 0;
    if (*at < '0' || *at > '9') return WEIR_EFORMAT;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(value, 10, &value)) return WEIR_ELIMIT;
        if (__builtin_add_overflow(value, (uint64_t)(*at - '0'), &value)) return WEIR_ELIMIT;
    }
    *at_p = at;
    *ret = value;
    return 0;
}

/** The unit named by the letters at @at, which end at a digit or at the end of the text. */
static const struct unit *unit_find(const struct unit *units, const char *at, size_t *size)
{
    *size = 0;
    while (at[*size] != '\0' && (at[*size] < '0' || at[*size] > '9'))
        (*size)++;
    for (; units->name != NULL; units++) {
        if (strlen(units->name) == *size && strncmp(units->name, at, *size) == 0) return units;
    }
    return NULL;
}

/** One or more of NUMBER UNIT, added up. */
static int quantity_parse(const char *text, const struct unit *units, bool repeated, uint64_t *ret)
{
    if (strcmp(text, "0") == 0) {
        *ret = 0;
        return 0;
    }
    uint64_t sum = 0;
    const char *at = text;
    do {
        uint64_t value;
        int rc = number_parse(&at, &value);
        if (rc < 0) return rc;
        size_t size;
        const struct unit *unit = unit_find(units, at, &size);
        if (unit == NULL) return WEIR_EFORMAT;
        at += size;
        if (__builtin_mul_overflow(value, unit->factor, &value)) return WEIR_ELIMIT;
        if (__builtin_add_overflow(sum, value, &sum) || sum > INT64_MAX) return WEIR_ELIMIT;
    } while (*at != '\0' && repeated);
    if (*at != '\0') return WEIR_EFORMAT;
    *ret = sum;
    return 0;
}

static void quantity_print(uint64_t value, const struct unit *units, struct weir_buf *out)
{
    while (value == 0 || value % units->factor != 0) {
        if (units[1].name == NULL) break;
        units++;
    }
    weir_buf_printf(out, "%" PRIu64 "%s", value / units->factor, units->name);
}

int weir_conf_size_parse(const char *text, uint64_t *ret)
{
    return quantity_parse(text, sizes, false, ret);
}

int weir_conf_duration_parse(const char *text, int64_t *ret_ms)
{
    uint64_t ms;
    int rc = quantity_parse(text, durations, true, &ms);
    if (rc < 0) return rc;
    *ret_ms = (int64_t)ms;
    return 0;
}

void weir_conf_size_print(uint64_t bytes, struct weir_buf *out)
{
    quantity_print(bytes, sizes, out);
}

void weir_conf_duration_print(int64_t ms, struct weir_buf *out)
{
    quantity_print((uint64_t)ms, durations, out);
}
