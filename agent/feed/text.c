#include "agent/feed/text.h"

#include "common/flow/civil.h"

#include <netinet/in.h>
#include <strings.h>

bool feed_text_number(struct weir_view text, uint64_t most, uint64_t *ret)
{
    uint64_t value = 0;
    if (text.size == 0 || text.size > 20) return false;
    for (size_t i = 0; i < text.size; i++) {
        unsigned digit = text.data[i] - (unsigned)'0';
        if (digit > 9 || __builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, digit, &value))
            return false;
    }
    if (value > most) return false;
    *ret = value;
    return true;
}

/** Three digits of what follows a point, as thousandths. */
static bool thousandths(struct weir_view digits, int64_t *ret)
{
    int64_t value = 0;
    for (size_t i = 0; i < digits.size; i++) {
        unsigned digit = digits.data[i] - (unsigned)'0';
        if (digit > 9) return false;
        if (i < 3) value = value * 10 + digit;
    }
    for (size_t i = digits.size; i < 3; i++)
        value *= 10;
    *ret = value;
    return digits.size > 0;
}

bool feed_text_seconds(struct weir_view text, int64_t *ret_ms)
{
    enum { SECONDS_MOST = 253402300799 / 1000 }; /* in thousands: the year 9999 */
    const uint8_t *point = text.size > 0 ? memchr(text.data, '.', text.size) : NULL;
    size_t whole = point == NULL ? text.size : (size_t)(point - text.data);
    uint64_t seconds;
    int64_t ms = 0;
    if (!feed_text_number(weir_view_of(text.data, whole), (uint64_t)SECONDS_MOST * 1000, &seconds)) return false;
    if (point != NULL && !thousandths(weir_view_of(point + 1, text.size - whole - 1), &ms)) return false;
    *ret_ms = (int64_t)seconds * 1000 + ms;
    return true;
}

static bool part(struct weir_view *text, size_t digits, int *ret)
{
    uint64_t value;
    if (text->size < digits || !feed_text_number(weir_view_of(text->data, digits), 9999, &value)) return false;
    *ret = (int)value;
    *text = weir_view_of(text->data + digits, text->size - digits);
    return true;
}

static bool mark(struct weir_view *text, char a, char b)
{
    if (text->size == 0 || (text->data[0] != (uint8_t)a && text->data[0] != (uint8_t)b)) return false;
    *text = weir_view_of(text->data + 1, text->size - 1);
    return true;
}

/** "Z", "+02:00" or "-0530": what clocks there are ahead of UTC. */
static bool offset_ms(struct weir_view text, int64_t *ret)
{
    int hours;
    int minutes;
    *ret = 0;
    if (text.size == 1) return mark(&text, 'Z', 'z');
    if (text.size == 0) return false;
    int64_t sign = text.data[0] == '-' ? -1 : 1;
    if (!mark(&text, '+', '-') || !part(&text, 2, &hours)) return false;
    (void)mark(&text, ':', ':');
    if (!part(&text, 2, &minutes) || text.size != 0 || hours > 23 || minutes > 59) return false;
    *ret = sign * (hours * 60 + minutes) * 60000;
    return true;
}

bool feed_text_time(struct weir_view text, int64_t *ret_ms)
{
    struct weir_civil civil = {0};
    int64_t ms = 0;
    int64_t offset;
    if (!part(&text, 4, &civil.year) || !mark(&text, '-', '-') || !part(&text, 2, &civil.month) ||
        !mark(&text, '-', '-') || !part(&text, 2, &civil.day) || !mark(&text, 'T', ' ') ||
        !part(&text, 2, &civil.hour) || !mark(&text, ':', ':') || !part(&text, 2, &civil.minute) ||
        !mark(&text, ':', ':') || !part(&text, 2, &civil.second))
        return false;
    if (mark(&text, '.', ',')) {
        size_t digits = 0;
        while (digits < text.size && text.data[digits] >= '0' && text.data[digits] <= '9')
            digits++;
        if (!thousandths(weir_view_of(text.data, digits), &ms)) return false;
        text = weir_view_of(text.data + digits, text.size - digits);
    }
    if (!offset_ms(text, &offset) || civil.year < 1971 || !weir_civil_valid(&civil)) return false;
    *ret_ms = weir_civil_to_ms(&civil, &weir_zone_utc, WEIR_FOLD_FIRST) + ms - offset;
    return true;
}

bool feed_text_ip(struct weir_view text, struct weir_ip *ret)
{
    char copy[WEIR_IP_TEXT];
    if (text.size == 0 || text.size >= sizeof copy || memchr(text.data, 0, text.size) != NULL) return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return weir_ip_parse(copy, ret) == 0;
}

bool feed_text_mac(struct weir_view text, uint64_t *ret)
{
    uint64_t value = 0;
    size_t digits = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = c - (unsigned)'0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (c | 0x20u) - 'a' + 10;
        else if ((c == ':' || c == '-') && digits > 0)
            continue;
        else
            return false;
        if (++digits > 12) return false;
        value = value << 4 | digit;
    }
    *ret = value;
    return digits == 12;
}

bool feed_text_is(struct weir_view text, const char *word)
{
    if (text.size != strlen(word)) return false;
    return text.size == 0 || strncasecmp((const char *)text.data, word, text.size) == 0;
}

bool feed_text_protocol(struct weir_view text, uint8_t *ret)
{
    static const struct {
        const char *name;
        uint8_t number;
    } names[] = {{"tcp", IPPROTO_TCP}, {"udp", IPPROTO_UDP}, {"icmp", IPPROTO_ICMP}, {"icmp6", IPPROTO_ICMPV6},
                 {"t", IPPROTO_TCP},   {"u", IPPROTO_UDP},   {"sctp", IPPROTO_SCTP}};
    uint64_t number;
    if (feed_text_number(text, 255, &number)) {
        *ret = (uint8_t)number;
        return true;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!feed_text_is(text, names[i].name)) continue;
        *ret = names[i].number;
        return true;
    }
    return false;
}
