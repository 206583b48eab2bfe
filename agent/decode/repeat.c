#include "agent/decode/repeat.h"

#include "common/base/hash.h"

/**
 * What stands in the header of every protocol (number, time, count), the first record and the last: no exporter sends two
 * datagrams that have all of it in common.
 */
static uint64_t print_of(struct weir_view datagram)
{
    enum { END = 64 };
    if (datagram.size <= 2 * END) return weir_hash64(datagram.data, datagram.size, datagram.size);
    uint64_t head = weir_hash64(datagram.data, END, datagram.size);
    return weir_hash64(datagram.data + datagram.size - END, END, head);
}

static bool is_known(const struct agent_repeats *repeats, uint64_t print)
{
    uint32_t count = repeats->taken < AGENT_SEQUENCE_WINDOW ? repeats->taken : AGENT_SEQUENCE_WINDOW;
    bool known = false;
    for (uint32_t i = 0; i < count; i++)
        known |= repeats->prints[i] == print;
    return known;
}

bool agent_repeats_take(struct agent_repeats *repeats, uint32_t number, struct weir_view datagram)
{
    uint64_t print = print_of(datagram);
    bool ahead = repeats->taken == 0 || (int32_t)(number - repeats->newest) > 0;
    if (!ahead && is_known(repeats, print)) return true;
    if (ahead) repeats->newest = number;
    repeats->prints[repeats->taken % AGENT_SEQUENCE_WINDOW] = print;
    if (++repeats->taken == 2 * AGENT_SEQUENCE_WINDOW) repeats->taken = AGENT_SEQUENCE_WINDOW;
    return false;
}
