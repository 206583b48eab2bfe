#include "agent/decode/sequence.h"

#include <string.h>

enum { JUMP_MOST = 1 << 24 }; /* more than this at once is no loss, it is another count */

static uint32_t close_oldest(struct agent_sequence *s)
{
    uint32_t units = s->gaps[0].units;
    s->gap_count--;
    memmove(s->gaps, s->gaps + 1, s->gap_count * sizeof *s->gaps);
    return units;
}

uint64_t agent_sequence_restart(struct agent_sequence *s)
{
    uint64_t lost = 0;
    while (s->gap_count > 0)
        lost += close_oldest(s);
    s->known = false;
    s->uncertain = false;
    return lost;
}

uint64_t agent_sequence_settle(struct agent_sequence *s, int64_t now_ms)
{
    uint64_t lost = 0;
    while (s->gap_count > 0 && (now_ms - s->gaps[0].opened_ms >= AGENT_SEQUENCE_SETTLE_MS ||
                                s->seen - s->gaps[0].seen >= AGENT_SEQUENCE_WINDOW)) {
        lost += close_oldest(s);
    }
    return lost;
}

static uint64_t open_gap(struct agent_sequence *s, uint32_t from, uint32_t units, int64_t now_ms)
{
    uint64_t lost = s->gap_count == AGENT_SEQUENCE_GAPS ? close_oldest(s) : 0;
    s->gaps[s->gap_count++] = (struct agent_gap){from, units, s->seen, now_ms};
    return lost;
}

/** Take [first, first + units) out of the gap it lies in. Returns false when it lies in none. */
static bool fill_gap(struct agent_sequence *s, uint32_t first, uint32_t units)
{
    for (uint32_t i = 0; i < s->gap_count; i++) {
        struct agent_gap *gap = &s->gaps[i];
        uint32_t before = first - gap->from;
        if (before >= gap->units) continue;

        uint32_t filled = units < gap->units - before ? units : gap->units - before;
        uint32_t behind = gap->units - before - filled;
        struct agent_gap rest = {gap->from + before + filled, behind, gap->seen, gap->opened_ms};
        gap->units = before;
        if (before > 0 && behind > 0) {
            if (s->gap_count == AGENT_SEQUENCE_GAPS) {
                gap->units += behind; /* the place in the gap is lost, its size is not */
                return true;
            }
            memmove(gap + 2, gap + 1, (s->gap_count - i - 1) * sizeof *gap);
            gap[1] = rest;
            s->gap_count++;
        } else if (behind > 0) {
            *gap = rest;
        } else if (before == 0) {
            s->gap_count--;
            memmove(gap, gap + 1, (s->gap_count - i) * sizeof *gap);
        }
        return true;
    }
    return false;
}

enum agent_arrival agent_sequence_step(struct agent_sequence *s, const struct agent_order *order, uint64_t *lost)
{
    enum agent_arrival arrival = AGENT_ARRIVAL_IN_ORDER;
    int32_t ahead = (int32_t)(order->first - s->next);
    s->seen++;
    if (s->known && ahead < 0) {
        if (fill_gap(s, order->first, order->units)) {
            *lost += agent_sequence_settle(s, order->now_ms);
            return AGENT_ARRIVAL_LATE;
        }
        /* A number that came before, sent by a later clock: the count began anew. */
        if (order->clock <= s->newest) return AGENT_ARRIVAL_DUPLICATE;
        arrival = AGENT_ARRIVAL_RESTART;
    } else if (s->known && ahead > JUMP_MOST) {
        arrival = AGENT_ARRIVAL_RESTART;
    }
    if (arrival == AGENT_ARRIVAL_RESTART) *lost += agent_sequence_restart(s);

    if (s->known && ahead > 0 && !s->uncertain) *lost += open_gap(s, s->next, (uint32_t)ahead, order->now_ms);
    s->known = true;
    s->uncertain = order->units_uncertain;
    s->next = order->first + order->units;
    if (order->clock > s->newest) s->newest = order->clock;
    if (arrival == AGENT_ARRIVAL_RESTART) s->newest = order->clock;
    if (s->gap_count > 0) *lost += agent_sequence_settle(s, order->now_ms);
    return arrival;
}

/* ---- which records are counted ---- */

/** 1: a message's own records are counted; 0: those before it are; -1: it does not tell. */
static int vote(const struct agent_numbering *n, const struct agent_order *order)
{
    if (!n->after_first || n->uncertain || order->units_uncertain || n->units == order->units) return -1;
    uint32_t step = order->first - n->number;
    if (step == n->units) return 0;
    return step == order->units ? 1 : -1;
}

bool agent_numbering_step(struct agent_numbering *n, struct agent_sequence *sequence, struct agent_order *order,
                          bool *switched)
{
    enum { CONVINCED = 4, CONVINCED_AT_FIRST = 2 };
    int said = vote(n, order);
    n->after_first = true;
    n->uncertain = order->units_uncertain;
    n->number = order->first;
    n->units = order->units;
    *switched = false;
    if (said >= 0 && (said == 1) == n->own) {
        n->known = true;
        n->contrary = 0;
    } else if (said >= 0 && ++n->contrary >= (n->known ? CONVINCED : CONVINCED_AT_FIRST)) {
        n->own = said == 1;
        n->known = true;
        n->contrary = 0;
        n->withheld = 0;
        *sequence = (struct agent_sequence){0};
        *switched = true;
    }
    if (!n->own) return true;

    if (!order->units_uncertain) {
        order->first -= order->units;
        return true;
    }
    /* It ends where its number says; where it begins cannot be known: as if it were the next. */
    if (!sequence->known || (int32_t)(order->first - sequence->next) < 0) return false;
    order->units = order->first - sequence->next;
    order->first = sequence->next;
    order->units_uncertain = false;
    return true;
}

uint64_t agent_numbering_release(struct agent_numbering *n, uint64_t lost)
{
    n->withheld += lost;
    if (n->contrary > 0) return 0;
    uint64_t all = n->withheld;
    n->withheld = 0;
    return all;
}
