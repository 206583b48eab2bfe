#include "common/flow/timerange.h"

#include "common/base/err.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    MS_A_SECOND = 1000,
    MS_A_MINUTE = 60 * MS_A_SECOND,
    MS_A_HOUR = 60 * MS_A_MINUTE,
    MS_A_DAY = 24 * MS_A_HOUR,
    DAYS_MOST = 36525, /* of a duration: 100 years */
};

static const int64_t LATEST_MS = INT64_C(253402300799999); /* 9999-12-31T23:59:59.999Z */

/* A duration keeps its calendar days apart: how long they are depends on where they are counted from. */
struct span {
    int64_t days;
    int64_t ms;
};

enum point_kind {
    POINT_INSTANT, /* now, @EPOCH, today, with a clock time: nothing else can be read into it */
    POINT_DAY,     /* a date without a clock time: alone, it is that day */
    POINT_CLOCK,   /* a clock time without a date: as an end, it takes the date of the beginning */
};

struct point {
    enum point_kind kind;
    bool has_date;
    bool nfdump; /* written with slashes */
    int64_t ms;
    struct weir_civil civil;
};

struct parser {
    const char *text;
    size_t at;
    int64_t now_ms;
    const struct weir_zone *zone;
    struct weir_time_error *error;
};

static int fail_at(struct parser *p, int rc, size_t at, size_t length, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

static int fail_at(struct parser *p, int rc, size_t at, size_t length, const char *format, ...)
{
    if (p->error == NULL) return rc;
    p->error->column = at + 1;
    p->error->length = length == 0 ? 1 : length;
    va_list args;
    va_start(args, format);
    vsnprintf(p->error->message, sizeof p->error->message, format, args);
    va_end(args);
    return rc;
}

/* The rest of the word that stands at @at, for pointing at it. */
static size_t word_length(const struct parser *p, size_t at)
{
    size_t length = 0;
    while (p->text[at + length] != '\0' && !isspace((unsigned char)p->text[at + length]))
        length++;
    return length;
}

static int fail_here(struct parser *p, const char *expected)
{
    if (p->text[p->at] == '\0') return fail_at(p, WEIR_EFORMAT, p->at, 1, "it ends where %s is expected", expected);
    return fail_at(p, WEIR_EFORMAT, p->at, word_length(p, p->at), "%s is expected here", expected);
}

static bool is_digit_at(const struct parser *p, size_t at)
{
    return p->text[at] >= '0' && p->text[at] <= '9';
}

static void skip_blanks(struct parser *p)
{
    while (isspace((unsigned char)p->text[p->at]))
        p->at++;
}

static bool accept(struct parser *p, char c)
{
    if (p->text[p->at] != c) return false;
    p->at++;
    return true;
}

/* A word of letters and '-', whole: "now-1d" has the word "now", for a digit follows its '-'. */
static bool accept_word(struct parser *p, const char *word)
{
    size_t length = strlen(word);
    if (strncasecmp(p->text + p->at, word, length) != 0) return false;
    if (isalnum((unsigned char)p->text[p->at + length])) return false;
    p->at += length;
    return true;
}

/* Exactly @count digits, not followed by another. */
static bool accept_digits(struct parser *p, size_t count, int *ret)
{
    int value = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_digit_at(p, p->at + i)) return false;
        value = value * 10 + (p->text[p->at + i] - '0');
    }
    if (is_digit_at(p, p->at + count)) return false;
    p->at += count;
    *ret = value;
    return true;
}

/* "." and digits, in ms; finer digits are read and cut. Leaves ".." alone. */
static int accept_fraction(struct parser *p)
{
    if (p->text[p->at] != '.' || !is_digit_at(p, p->at + 1)) return 0;
    p->at++;
    int ms = 0;
    int weight = 100;
    for (; is_digit_at(p, p->at); p->at++) {
        ms += (p->text[p->at] - '0') * weight;
        weight /= 10;
    }
    return ms;
}

static int parse_span(struct parser *p, struct span *ret)
{
    static const char expected[] = "a duration such as 15m, 24h or 1h30m";
    struct span span = {0};
    size_t begin = p->at;
    if (!is_digit_at(p, p->at)) return fail_here(p, expected);
    do {
        int64_t number = 0;
        for (; is_digit_at(p, p->at); p->at++)
            if (number < INT64_C(1) << 40) number = number * 10 + (p->text[p->at] - '0');
        int64_t unit_ms = 0;
        int64_t unit_days = 0;
        switch (p->text[p->at]) {
        case 's': unit_ms = MS_A_SECOND; break;
        case 'm': unit_ms = MS_A_MINUTE; break;
        case 'h': unit_ms = MS_A_HOUR; break;
        case 'd': unit_days = 1; break;
        case 'w': unit_days = 7; break;
        default: return fail_here(p, "a unit (s, m, h, d or w)");
        }
        p->at++;
        if (isalpha((unsigned char)p->text[p->at])) {
            p->at--;
            return fail_here(p, "a unit (s, m, h, d or w)");
        }
        if (number > DAYS_MOST * (int64_t)MS_A_DAY / MS_A_SECOND) number = DAYS_MOST * (int64_t)MS_A_DAY / MS_A_SECOND;
        span.ms += number * unit_ms;
        span.days += number * unit_days;
        if (span.days > DAYS_MOST || span.ms > DAYS_MOST * (int64_t)MS_A_DAY) {
            return fail_at(p, WEIR_EPARAM, begin, p->at - begin, "a duration is 100 years at most");
        }
    } while (is_digit_at(p, p->at));
    *ret = span;
    return 0;
}

static int64_t span_add(const struct parser *p, int64_t ms, const struct span *span, int sign)
{
    if (span->days != 0) {
        struct weir_civil civil = weir_civil_of(ms, p->zone);
        weir_civil_add_days(&civil, sign * span->days);
        ms = weir_civil_to_ms(&civil, p->zone, WEIR_FOLD_FIRST);
    }
    return ms + sign * span->ms;
}

/* Midnight before @ms and then @days on; one o'clock where summer time begins at midnight. */
static int64_t day_begin(const struct parser *p, int64_t ms, int64_t days)
{
    struct weir_civil civil = weir_civil_of(ms, p->zone);
    civil.hour = civil.minute = civil.second = civil.ms = 0;
    weir_civil_add_days(&civil, days);
    return weir_civil_to_ms(&civil, p->zone, WEIR_FOLD_FIRST);
}

static int64_t week_begin(const struct parser *p, int64_t ms, int64_t weeks)
{
    return day_begin(p, ms, 7 * weeks - weir_civil_of(ms, p->zone).weekday);
}

typedef int64_t begin_fn(const struct parser *p, int64_t ms, int64_t units);

/* The words that are days or weeks: which one they begin, and how many back from this one. */
static const struct named {
    const char *word;
    begin_fn *begin;
    int back;
} named[] = {
    {"today", day_begin, 0}, {"yesterday", day_begin, -1}, {"this-week", week_begin, 0}, {"last-week", week_begin, -1}};

static const struct named *accept_named(struct parser *p)
{
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (accept_word(p, named[i].word)) return &named[i];
    return NULL;
}

/* "/" UNIT: back to where the unit begins on the clock. */
static int parse_rounding(struct parser *p, int64_t *ms_p)
{
    if (!accept(p, '/')) return 0;
    struct weir_civil civil = weir_civil_of(*ms_p, p->zone);
    int64_t into_minute = civil.second * (int64_t)MS_A_SECOND + civil.ms;
    char unit = p->text[p->at];
    if (unit != '\0' && isalnum((unsigned char)p->text[p->at + 1])) unit = '?';
    switch (unit) {
    case 's': *ms_p -= civil.ms; break;
    case 'm': *ms_p -= into_minute; break;
    case 'h': *ms_p -= civil.minute * (int64_t)MS_A_MINUTE + into_minute; break;
    case 'd': *ms_p = day_begin(p, *ms_p, 0); break;
    case 'w': *ms_p = week_begin(p, *ms_p, 0); break;
    default: return fail_here(p, "a unit to round down to (s, m, h, d or w)");
    }
    p->at++;
    return 0;
}

static int parse_now(struct parser *p, struct point *ret)
{
    size_t begin = p->at - strlen("now");
    int64_t ms = p->now_ms;
    int sign = p->text[p->at] == '-' ? -1 : p->text[p->at] == '+' ? 1 : 0;
    if (sign != 0) {
        p->at++;
        struct span span;
        int rc = parse_span(p, &span);
        if (rc < 0) return rc;
        ms = span_add(p, ms, &span, sign);
    }
    int rc = parse_rounding(p, &ms);
    if (rc < 0) return rc;
    if (ms < 0 || ms > LATEST_MS) {
        return fail_at(p, WEIR_EPARAM, begin, p->at - begin, "times are from 1970 to 9999");
    }
    *ret = (struct point){.kind = POINT_INSTANT, .ms = ms};
    return 0;
}

static int parse_epoch(struct parser *p, struct point *ret)
{
    size_t begin = p->at - 1;
    if (!is_digit_at(p, p->at)) return fail_here(p, "seconds since 1970");
    int64_t seconds = 0;
    for (; is_digit_at(p, p->at); p->at++)
        if (seconds < INT64_C(1) << 46) seconds = seconds * 10 + (p->text[p->at] - '0');
    int64_t ms = seconds * MS_A_SECOND + accept_fraction(p);
    if (ms > LATEST_MS) {
        return fail_at(p, WEIR_EPARAM, begin, p->at - begin, "times are from 1970 to 9999; after @ come seconds");
    }
    *ret = (struct point){.kind = POINT_INSTANT, .ms = ms};
    return 0;
}

/* HH:MM[:SS[.fraction]]. */
static int parse_clock(struct parser *p, struct weir_civil *civil)
{
    if (!accept_digits(p, 2, &civil->hour) || !accept(p, ':')) return fail_here(p, "a time such as 09:30");
    if (!accept_digits(p, 2, &civil->minute)) return fail_here(p, "two digits of minutes");
    if (!accept(p, ':')) return 0;
    if (!accept_digits(p, 2, &civil->second)) return fail_here(p, "two digits of seconds");
    civil->ms = accept_fraction(p);
    return 0;
}

static int32_t fixed_offset(void *ctx, int64_t utc_s)
{
    (void)utc_s;
    return *(const int32_t *)ctx;
}

/* "Z" or "+HH:MM" or "-HH:MM"; "+2h" and "-2026/..." are something else. Returns 1 with *offset_s, or 0. */
static int parse_offset(struct parser *p, int32_t *offset_s)
{
    char c = p->text[p->at];
    if (c == 'Z' || c == 'z') {
        p->at++;
        *offset_s = 0;
        return 1;
    }
    size_t begin = p->at;
    int hours;
    int minutes;
    if (c != '+' && c != '-') return 0;
    p->at++;
    if (!accept_digits(p, 2, &hours) || !accept(p, ':') || !accept_digits(p, 2, &minutes)) {
        p->at = begin;
        return 0;
    }
    if (hours > 23 || minutes > 59) {
        return fail_at(p, WEIR_EPARAM, begin, p->at - begin, "a zone is +HH:MM or -HH:MM, up to 23:59");
    }
    *offset_s = (c == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    return 1;
}

static int point_of_civil(struct parser *p, size_t begin, enum weir_fold fold, const struct weir_zone *zone,
                          struct point *point)
{
    if (!weir_civil_valid(&point->civil)) {
        return fail_at(p, WEIR_EPARAM, begin, p->at - begin, "there is no such date or time");
    }
    point->ms = weir_civil_to_ms(&point->civil, zone, fold);
    return 0;
}

/* YYYY-MM-DD[("T"|" ")CLOCK[ZONE]] or YYYY/MM/DD[.CLOCK]. */
static int parse_date(struct parser *p, enum weir_fold fold, struct point *ret)
{
    size_t begin = p->at;
    struct point point = {.kind = POINT_DAY, .has_date = true};
    if (!accept_digits(p, 4, &point.civil.year)) return fail_here(p, "a date such as 2026-03-04");
    char separator = p->text[p->at] == '/' ? '/' : '-';
    if (!accept(p, separator) || !accept_digits(p, 2, &point.civil.month) || !accept(p, separator) ||
        !accept_digits(p, 2, &point.civil.day)) {
        return fail_here(p, "the rest of a date such as 2026-03-04");
    }
    point.nfdump = separator == '/';

    char next = p->text[p->at];
    bool clock = point.nfdump ? next == '.' && p->text[p->at + 1] != '.' : next == 'T' || next == 't';
    if (!point.nfdump && next == ' ' && is_digit_at(p, p->at + 1)) clock = true;
    int32_t offset_s = 0;
    const struct weir_zone fixed = {.offset = fixed_offset, .ctx = &offset_s};
    const struct weir_zone *zone = p->zone;
    if (clock) {
        p->at++;
        int rc = parse_clock(p, &point.civil);
        if (rc < 0) return rc;
        point.kind = POINT_INSTANT;
        if (!point.nfdump) {
            rc = parse_offset(p, &offset_s);
            if (rc < 0) return rc;
            if (rc > 0) zone = &fixed;
        }
    }
    int rc = point_of_civil(p, begin, fold, zone, &point);
    if (rc < 0) return rc;
    *ret = point;
    return 0;
}

/* @date_of (may be NULL) is the beginning whose date a clock time takes. */
static int parse_point(struct parser *p, enum weir_fold fold, const struct point *date_of, struct point *ret)
{
    if (accept_word(p, "now")) return parse_now(p, ret);
    const struct named *day = accept_named(p);
    if (day != NULL) {
        *ret = (struct point){.kind = POINT_INSTANT, .ms = day->begin(p, p->now_ms, day->back)};
        return 0;
    }
    if (accept(p, '@')) return parse_epoch(p, ret);

    size_t digits = 0;
    while (is_digit_at(p, p->at + digits))
        digits++;
    if (digits == 0) return fail_here(p, "a time (now-1h, 09:30, 2026-03-04T09:30) or a duration (15m)");
    if (p->text[p->at + digits] != ':') return parse_date(p, fold, ret);

    size_t begin = p->at;
    int64_t day_ms = date_of != NULL && date_of->has_date ? date_of->ms : p->now_ms;
    struct weir_civil on = weir_civil_of(day_ms, p->zone);
    struct point point = {.kind = POINT_CLOCK, .civil = {.year = on.year, .month = on.month, .day = on.day}};
    int rc = parse_clock(p, &point.civil);
    if (rc < 0) return rc;
    rc = point_of_civil(p, begin, fold, p->zone, &point);
    if (rc < 0) return rc;
    *ret = point;
    return 0;
}

static int check_end(struct parser *p)
{
    skip_blanks(p);
    if (p->text[p->at] == '\0') return 0;
    return fail_at(p, WEIR_EFORMAT, p->at, strlen(p->text + p->at), "nothing more is expected here");
}

static int64_t at_most(int64_t ms, int64_t most_ms)
{
    return ms < most_ms ? ms : most_ms;
}

/* "today" and its like when nothing follows: the whole day or week, as far as it has gone. */
static bool accept_whole(struct parser *p, struct weir_timerange *ret)
{
    size_t begin = p->at;
    const struct named *day = accept_named(p);
    skip_blanks(p);
    if (day == NULL || p->text[p->at] != '\0') {
        p->at = begin;
        return false;
    }
    ret->from_ms = day->begin(p, p->now_ms, day->back);
    ret->to_ms = at_most(day->begin(p, p->now_ms, day->back + 1), p->now_ms);
    return true;
}

/* Is a duration next, and not a date or a clock time? */
static bool at_span(const struct parser *p)
{
    size_t at = p->at;
    while (is_digit_at(p, at))
        at++;
    return at > p->at && (isalpha((unsigned char)p->text[at]) || p->text[at] == '\0');
}

/* What follows the beginning @from: the end in one of its forms. */
static int parse_end(struct parser *p, const struct point *from, int64_t *to_ms)
{
    size_t before_blanks = p->at;
    skip_blanks(p);
    if (p->text[p->at] == '+') {
        p->at++;
        skip_blanks(p);
        struct span span;
        int rc = parse_span(p, &span);
        if (rc < 0) return rc;
        *to_ms = span_add(p, from->ms, &span, 1);
        return 0;
    }

    struct point to;
    bool nfdump = from->nfdump && p->text[p->at] == '-';
    if (nfdump) {
        p->at++;
    } else if (p->text[p->at] == '.' && p->text[p->at + 1] == '.') {
        p->at += 2;
        skip_blanks(p);
        if (p->text[p->at] == '\0') {
            *to_ms = p->now_ms;
            return 0;
        }
    } else if (p->text[p->at] == '\0' && from->kind == POINT_DAY) {
        *to_ms = at_most(day_begin(p, from->ms, 1), p->now_ms);
        return 0;
    } else {
        p->at = before_blanks;
        return fail_here(p, "\"..\" and an end, or \"+\" and a duration,");
    }
    int rc = parse_point(p, WEIR_FOLD_SECOND, from, &to);
    if (rc < 0) return rc;
    if (nfdump && !to.nfdump) {
        return fail_at(p, WEIR_EFORMAT, before_blanks, 1, "between these \"..\" is expected");
    }
    *to_ms = to.ms;
    return 0;
}

int weir_timerange_parse(const char *text, int64_t now_ms, const struct weir_zone *zone, struct weir_timerange *ret,
                         struct weir_time_error *error)
{
    struct parser p = {.text = text, .now_ms = now_ms, .zone = zone, .error = error};
    skip_blanks(&p);
    size_t begin = p.at;
    struct weir_timerange range = {.to_ms = now_ms};
    int rc = 0;
    if (at_span(&p)) {
        struct span span;
        rc = parse_span(&p, &span);
        if (rc == 0) range.from_ms = span_add(&p, now_ms, &span, -1);
        if (range.from_ms < 0) range.from_ms = 0;
    } else if (!accept_whole(&p, &range)) {
        struct point from;
        rc = parse_point(&p, WEIR_FOLD_FIRST, NULL, &from);
        if (rc == 0) rc = parse_end(&p, &from, &range.to_ms);
        if (rc == 0) range.from_ms = from.ms;
    }
    if (rc == 0) rc = check_end(&p);
    if (rc < 0) return rc;

    char from_text[WEIR_TIME_TEXT];
    char to_text[WEIR_TIME_TEXT];
    char now_text[WEIR_TIME_TEXT];
    if (range.to_ms > now_ms) {
        return fail_at(&p, WEIR_EPARAM, begin, p.at - begin, "%s .. %s ends in the future, it is %s",
                       weir_time_local(range.from_ms, zone, from_text), weir_time_local(range.to_ms, zone, to_text),
                       weir_time_local(now_ms, zone, now_text));
    }
    if (range.to_ms <= range.from_ms) {
        return fail_at(&p, WEIR_EPARAM, begin, p.at - begin, "%s .. %s ends before it begins",
                       weir_time_local(range.from_ms, zone, from_text), weir_time_local(range.to_ms, zone, to_text));
    }
    *ret = range;
    return 0;
}

int weir_timepoint_parse(const char *text, int64_t now_ms, const struct weir_zone *zone, int64_t *ret_ms,
                         struct weir_time_error *error)
{
    struct parser p = {.text = text, .now_ms = now_ms, .zone = zone, .error = error};
    skip_blanks(&p);
    struct point point;
    int rc = parse_point(&p, WEIR_FOLD_FIRST, NULL, &point);
    if (rc == 0) rc = check_end(&p);
    if (rc < 0) return rc;
    *ret_ms = point.ms;
    return 0;
}

int weir_duration_parse(const char *text, int64_t *ret_ms, struct weir_time_error *error)
{
    struct parser p = {.text = text, .zone = &weir_zone_utc, .error = error};
    skip_blanks(&p);
    struct span span;
    int rc = parse_span(&p, &span);
    if (rc == 0) rc = check_end(&p);
    if (rc < 0) return rc;
    *ret_ms = span.days * MS_A_DAY + span.ms;
    return 0;
}
