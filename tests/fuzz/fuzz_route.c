/**
 * A broker's core under whatever agents and aggregators say, in any order: the bytes are a script of steps, two or more
 * bytes each. After each step the tables and the ledger must hold, and no list of actions may grow beyond the tables.
 */
#include "broker/route_core.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { AGENTS = 4, NODES = 3, SLOTS = 8, SESSIONS = 3, ACTIONS_MOST = 200, STEPS_MOST = 4000 };

static struct weir_map *maps[2];
static struct weir_allow *allows[2];
static char names[AGENTS][WEIR_NAME_BYTES];
static char keys[AGENTS][WEIR_KEY_TEXT];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void prepare(void)
{
    for (uint32_t i = 0; i < AGENTS; i++) {
        snprintf(names[i], sizeof names[i], "agent-%u", i);
        snprintf(keys[i], sizeof keys[i], "%040u", i);
    }
    for (uint32_t version = 0; version < 2; version++) {
        maps[version] = weir_malloc(sizeof *maps[version]);
        if (maps[version] == NULL || weir_allow_create(&allows[version]) < 0) abort();
        weir_map_init(maps[version]);
        maps[version]->epoch = 1 + version;
        maps[version]->replication = 2;
        for (uint32_t i = 0; i < NODES - version; i++) {
            struct weir_node node = {.weight = 1};
            snprintf(node.name, sizeof node.name, "agg-%u", i);
            weir_map_add_aggregator(maps[version], &node);
        }
        weir_map_place(maps[version]);
        for (uint32_t i = version; i < AGENTS; i++) {
            struct weir_allow_entry entry = {.role = i == AGENTS - 1 ? WEIR_ROLE_CONSOLE : WEIR_ROLE_AGENT,
                                             .tenant = "t"};
            memcpy(entry.name, names[i], sizeof entry.name);
            memcpy(entry.key, keys[i], sizeof entry.key);
            if (weir_allow_add(allows[version], &entry, NULL) < 0) abort();
        }
    }
}

/** A message about a few lanes and numbers, so that scripts meet themselves. */
static struct weir_msg random_msg(struct weir_cursor *c)
{
    static const uint8_t kinds[] = {WEIR_MSG_HELLO, WEIR_MSG_DATA, WEIR_MSG_DATA,  WEIR_MSG_DATA, WEIR_MSG_PING,
                                    WEIR_MSG_PONG,  WEIR_MSG_SACK, WEIR_MSG_SNACK, WEIR_MSG_STORE};
    uint8_t what = weir_cursor_u8(c), which = weir_cursor_u8(c), number = weir_cursor_u8(c);
    struct weir_msg msg = {.kind = kinds[what % sizeof kinds],
                           .code = (enum weir_code)(number % WEIR_CODES),
                           .inc = which >> 6 & 1,
                           .instance = which >> 5 & 1,
                           .shard = which >> 2 & 7,
                           .seq = number >> 2 & 15,
                           .expected = number & 15,
                           .epoch = 1 + (which >> 7),
                           .retry_ms = number * 16u};
    if ((number & 0xc3) == 0xc3) msg.shard = WEIR_SHARDS + number;
    weir_agent_id(names[which % AGENTS], msg.agent);
    return msg;
}

static struct route_event random_event(struct weir_cursor *c, struct weir_msg *msg, struct weir_batch_header *header)
{
    uint8_t what = weir_cursor_u8(c), who = weir_cursor_u8(c);
    struct route_event event = {.kind = ROUTE_EVENT_TICK, .msg = msg, .header = header, .agent = msg->agent};
    *msg = random_msg(c);
    *header = (struct weir_batch_header){.kind = WEIR_RECORD_LOSS, .lost_to_seq = msg->seq};
    event.peer = (struct route_peer){
        .id = 1 + who % 6u, .name = names[who / 6 % AGENTS], .key = keys[(who / 6 + who / 200) % AGENTS]};
    event.node = who % (NODES + 1);
    event.shard = msg->shard;
    event.seq = msg->seq;
    event.bytes = who * 8u;
    if (what < 100) {
        event.kind = ROUTE_EVENT_AGENT;
        if (what % 16 == 0) event.header = NULL;
    } else if (what < 200) {
        event.kind = ROUTE_EVENT_NODE;
    } else if (what < 210) {
        event.kind = ROUTE_EVENT_GONE;
    } else if (what < 220) {
        event.kind = ROUTE_EVENT_UNSENT;
    } else if (what < 224) {
        event.kind = ROUTE_EVENT_MAP;
        event.map = maps[what % 2];
    } else if (what < 228) {
        event.kind = ROUTE_EVENT_ALLOW;
        event.allow = allows[what % 2];
    }
    return event;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (maps[0] == NULL) prepare();
    struct route_conf conf = {
        .budget_bytes = SLOTS * 1000, .batch_bytes = 1000, .max_bytes = 2000, .sessions_most = SESSIONS};
    struct route_core *core;
    if (route_core_create(&conf, &core) < 0) abort();
    struct route_actions out = {0};
    struct weir_cursor c = weir_cursor_of(weir_view_of(data, size));
    int64_t now = 1000;
    route_core_step(core, &(struct route_event){.kind = ROUTE_EVENT_MAP, .map = maps[0]}, now, &out);
    route_core_step(core, &(struct route_event){.kind = ROUTE_EVENT_ALLOW, .allow = allows[0]}, now, &out);
    for (int step = 0; step < STEPS_MOST && weir_cursor_left(&c) > 0; step++) {
        struct weir_msg msg;
        struct weir_batch_header header;
        struct route_event event = random_event(&c, &msg, &header);
        if (event.kind == ROUTE_EVENT_TICK) now += 10 + event.peer.id * 100;
        route_core_step(core, &event, now, &out);
        const struct route_state *state = route_core_state(core);
        if (!route_core_check(core) || out.count > ACTIONS_MOST) abort();
        if (state->sessions > SESSIONS || state->in_flight > SLOTS + SESSIONS) abort();
        if (state->in_flight_bytes > conf.budget_bytes + conf.max_bytes) abort();
        for (size_t i = 0; i < out.count; i++)
            route_core_msg(core, &out.at[i], &msg);
    }
    route_actions_fini(&out);
    route_core_destroy(core);
    return 0;
}
