#include "common/flow/civil.h"

#include <stdio.h>

enum { MS_A_SECOND = 1000, SECONDS_A_DAY = 86400 };

static int32_t no_offset(void *ctx, int64_t utc_s)
{
    (void)ctx;
    (void)utc_s;
    return 0;
}

const struct weir_zone weir_zone_utc = {.offset = no_offset};

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar; years begin in March, so that the leap day is last. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = floor_div(y, 400);
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_of(int64_t days, struct weir_civil *civil)
{
    int64_t z = days + 719468;
    int64_t era = floor_div(z, 146097);
    int64_t of_era = z - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    civil->day = (int)(of_year - (153 * month + 2) / 5 + 1);
    civil->month = (int)(month < 10 ? month + 3 : month - 9);
    civil->year = (int)(year + era * 400 + (civil->month <= 2));
    int64_t weekday = (days + 3) % 7; /* 1970-01-01 was a Thursday */
    civil->weekday = (int)(weekday < 0 ? weekday + 7 : weekday);
}

bool weir_civil_valid(const struct weir_civil *civil)
{
    static const int days_in[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (civil->year < 1970 || civil->year > 9999 || civil->month < 1 || civil->month > 12) return false;
    bool leap = (civil->year % 4 == 0 && civil->year % 100 != 0) || civil->year % 400 == 0;
    int days = days_in[civil->month - 1] + (civil->month == 2 && leap);
    return civil->day >= 1 && civil->day <= days && civil->hour >= 0 && civil->hour <= 23 && civil->minute >= 0 &&
           civil->minute <= 59 && civil->second >= 0 && civil->second <= 60 && civil->ms >= 0 && civil->ms <= 999;
}

struct weir_civil weir_civil_of(int64_t ms, const struct weir_zone *zone)
{
    int64_t utc_s = floor_div(ms, MS_A_SECOND);
    int64_t shown_s = utc_s + zone->offset(zone->ctx, utc_s);
    int64_t days = floor_div(shown_s, SECONDS_A_DAY);
    int of_day = (int)(shown_s - days * SECONDS_A_DAY);

    struct weir_civil civil = {.hour = of_day / 3600,
                               .minute = of_day / 60 % 60,
                               .second = of_day % 60,
                               .ms = (int)(ms - utc_s * MS_A_SECOND)};
    date_of(days, &civil);
    return civil;
}

int64_t weir_civil_to_ms(const struct weir_civil *civil, const struct weir_zone *zone, enum weir_fold fold)
{
    int64_t shown_s = days_of(civil->year, civil->month, civil->day) * SECONDS_A_DAY + civil->hour * 3600 +
                      civil->minute * 60 + civil->second;
    /* A day before and a day after, an offset is the one before and the one after whatever change is near. */
    int32_t before = zone->offset(zone->ctx, shown_s - SECONDS_A_DAY);
    int32_t after = zone->offset(zone->ctx, shown_s + SECONDS_A_DAY);
    int64_t with_before = shown_s - before;
    int64_t with_after = shown_s - after;
    bool before_holds = zone->offset(zone->ctx, with_before) == before;
    bool after_holds = zone->offset(zone->ctx, with_after) == after;

    int64_t utc_s = with_before; /* skipped: neither holds, and the old offset lands as far after the jump */
    if (after_holds && (!before_holds || fold == WEIR_FOLD_SECOND)) utc_s = with_after;
    return utc_s * MS_A_SECOND + civil->ms;
}

void weir_civil_add_days(struct weir_civil *civil, int64_t days)
{
    date_of(days_of(civil->year, civil->month, civil->day) + days, civil);
}

const char *weir_time_rfc3339(int64_t ms, char out[WEIR_TIME_TEXT])
{
    struct weir_civil c = weir_civil_of(ms, &weir_zone_utc);
    snprintf(out, WEIR_TIME_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", c.year, c.month, c.day, c.hour, c.minute,
             c.second, c.ms);
    return out;
}

const char *weir_time_local(int64_t ms, const struct weir_zone *zone, char out[WEIR_TIME_TEXT])
{
    struct weir_civil c = weir_civil_of(ms, zone);
    snprintf(out, WEIR_TIME_TEXT, "%04d-%02d-%02d %02d:%02d:%02d", c.year, c.month, c.day, c.hour, c.minute, c.second);
    return out;
}
