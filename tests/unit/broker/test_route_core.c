#include "broker/route_core.h"
#include "common/base/mem.h"

#include <stdio.h>

#include "tests/support/cmocka.h"

enum { AGENTS = 4, BATCH = 1000, MAX_BYTES = 100000 };

/** A core with three aggregators, two owners a shard, and four enrolled agents; time is set by hand. */
struct bench {
    struct route_core *core;
    struct weir_map *map;
    struct weir_allow *allow;
    struct route_actions out;
    int64_t now;
    struct weir_source source; /* of the batches that are sent */
    uint32_t shard;            /* of that source */
};

static struct weir_allow *allow_of(uint32_t first, uint32_t count)
{
    struct weir_allow *allow;
    assert_int_equal(weir_allow_create(&allow), 0);
    for (uint32_t i = first; i < first + count; i++) {
        struct weir_allow_entry entry = {.role = WEIR_ROLE_AGENT, .site = "zurich", .tenant = "acme"};
        snprintf(entry.name, sizeof entry.name, "agent-%u", i);
        snprintf(entry.key, sizeof entry.key, "%040u", i);
        assert_int_equal(weir_allow_add(allow, &entry, NULL), 0);
    }
    return allow;
}

static void step(struct bench *b, const struct route_event *event)
{
    route_core_step(b->core, event, b->now, &b->out);
    assert_true(route_core_check(b->core));
}

static void tick(struct bench *b, int64_t ms)
{
    b->now += ms;
    step(b, &(struct route_event){.kind = ROUTE_EVENT_TICK});
}

static void node_says(struct bench *b, uint32_t node, const struct weir_msg *msg)
{
    step(b, &(struct route_event){.kind = ROUTE_EVENT_NODE, .node = node, .msg = msg});
}

static void node_pongs(struct bench *b, uint32_t node)
{
    node_says(b, node, &(struct weir_msg){.kind = WEIR_MSG_PONG});
}

static void bench_start(struct bench *b, size_t budget_bytes, uint32_t sessions_most)
{
    struct route_conf conf = {
        .budget_bytes = budget_bytes, .batch_bytes = BATCH, .max_bytes = MAX_BYTES, .sessions_most = sessions_most};
    *b = (struct bench){.now = 1000000, .source = {.domain = 7}};
    assert_int_equal(route_core_create(&conf, &b->core), 0);
    b->map = weir_malloc(sizeof *b->map);
    weir_map_init(b->map);
    b->map->replication = 2;
    b->map->epoch = 5;
    for (int i = 0; i < 3; i++) {
        struct weir_node node = {.weight = 100};
        snprintf(node.name, sizeof node.name, "agg-%d", i);
        weir_map_add_aggregator(b->map, &node);
    }
    weir_map_place(b->map);
    b->allow = allow_of(0, AGENTS);
    b->shard = weir_shard_of("acme", &b->source);
    step(b, &(struct route_event){.kind = ROUTE_EVENT_MAP, .map = b->map});
    step(b, &(struct route_event){.kind = ROUTE_EVENT_ALLOW, .allow = b->allow});
    for (uint32_t i = 0; i < 3; i++)
        node_pongs(b, i);
}

static void bench_stop(struct bench *b)
{
    route_core_destroy(b->core);
    route_actions_fini(&b->out);
    weir_allow_destroy(b->allow);
    weir_free(b->map);
}

/** Agents' connections: agent-@agent speaks over connection @peer with its own key. */
static void agent_event(struct bench *b, uint32_t agent, uint32_t peer, struct weir_msg *msg, size_t bytes)
{
    char name[WEIR_NAME_BYTES], key[WEIR_KEY_TEXT];
    snprintf(name, sizeof name, "agent-%u", agent);
    snprintf(key, sizeof key, "%040u", agent);
    struct weir_batch_header header = {.kind = WEIR_RECORD_DATA, .source = b->source};
    step(b, &(struct route_event){.kind = ROUTE_EVENT_AGENT,
                                  .peer = {.id = peer, .name = name, .key = key},
                                  .msg = msg,
                                  .header = bytes > 0 ? &header : NULL,
                                  .bytes = bytes});
}

static struct weir_msg msg_of(uint32_t agent, enum weir_msg_kind kind)
{
    char name[WEIR_NAME_BYTES];
    struct weir_msg msg = {.kind = kind, .inc = 1};
    snprintf(name, sizeof name, "agent-%u", agent);
    weir_agent_id(name, msg.agent);
    return msg;
}

static void hello_as(struct bench *b, uint32_t agent, uint32_t peer, uint64_t instance)
{
    struct weir_msg msg = msg_of(agent, WEIR_MSG_HELLO);
    msg.instance = instance;
    agent_event(b, agent, peer, &msg, 0);
}

/** agent-N over connection N + 1. */
static void hello(struct bench *b, uint32_t agent)
{
    hello_as(b, agent, agent + 1, 77);
}

static void data(struct bench *b, uint32_t agent, uint64_t seq)
{
    struct weir_msg msg = msg_of(agent, WEIR_MSG_DATA);
    msg.shard = b->shard;
    msg.seq = seq;
    agent_event(b, agent, agent + 1, &msg, BATCH);
}

static struct weir_msg answer_of(const struct bench *b, uint32_t agent, enum weir_msg_kind kind, uint64_t seq)
{
    struct weir_msg msg = msg_of(agent, kind);
    msg.shard = b->shard;
    msg.seq = seq;
    msg.epoch = b->map->epoch;
    return msg;
}

static uint32_t owner(const struct bench *b, uint32_t i)
{
    return b->map->shards[b->shard].members[i];
}

/** The node that does not own the shard of the bench's source. */
static uint32_t bystander(const struct bench *b)
{
    return 3 - owner(b, 0) - owner(b, 1);
}

static void sack(struct bench *b, uint32_t i, uint32_t agent, uint64_t seq)
{
    struct weir_msg msg = answer_of(b, agent, WEIR_MSG_SACK, seq);
    node_says(b, owner(b, i), &msg);
}

static void snack(struct bench *b, uint32_t i, uint64_t seq, enum weir_code code, uint64_t expected)
{
    struct weir_msg msg = answer_of(b, 0, WEIR_MSG_SNACK, seq);
    msg.code = code;
    msg.expected = expected;
    node_says(b, owner(b, i), &msg);
}

/** The only action of its kind in the last step, or NULL; more than one fails. */
static const struct route_action *the(const struct bench *b, enum route_action_kind kind, enum weir_msg_kind msg)
{
    const struct route_action *found = NULL;
    for (size_t i = 0; i < b->out.count; i++) {
        if (b->out.at[i].kind != kind || b->out.at[i].msg != msg) continue;
        assert_null(found);
        found = &b->out.at[i];
    }
    return found;
}

static const struct route_action *told(const struct bench *b, enum weir_msg_kind msg)
{
    return the(b, ROUTE_SEND_AGENT, msg);
}

static const struct route_action *nacked(const struct bench *b, enum weir_code code)
{
    const struct route_action *nack = told(b, WEIR_MSG_NACK);
    assert_non_null(nack);
    assert_string_equal(weir_code_name(nack->code), weir_code_name(code));
    return nack;
}

static bool noted(const struct bench *b, enum route_note note)
{
    for (size_t i = 0; i < b->out.count; i++) {
        if (b->out.at[i].kind == ROUTE_NOTE && b->out.at[i].note == note) return true;
    }
    return false;
}

static const struct route_state *seen(const struct bench *b)
{
    return route_core_state(b->core);
}

static void a_batch_goes_to_both_owners_with_epoch_tenant_site_and_name(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    hello(&b, 0);
    const struct route_action *welcome = told(&b, WEIR_MSG_WELCOME);
    assert_non_null(welcome);
    struct weir_msg msg;
    route_core_msg(b.core, welcome, &msg);
    assert_int_equal(msg.credit, 100);
    assert_int_equal(msg.max_bytes, MAX_BYTES);
    assert_int_equal(msg.schema, WEIR_SCHEMA);

    data(&b, 0, 1);
    assert_int_equal(b.out.count, 1);
    const struct route_action *forward = &b.out.at[0];
    assert_int_equal(forward->kind, ROUTE_FORWARD);
    assert_int_equal(forward->owner_count, 2);
    assert_int_equal(forward->owners[0], owner(&b, 0));
    assert_int_equal(forward->owners[1], owner(&b, 1));
    msg = msg_of(0, WEIR_MSG_DATA);
    strcpy(msg.tenant, "somebody-else");
    route_core_store(b.core, forward, &msg);
    assert_int_equal(msg.kind, WEIR_MSG_STORE);
    assert_int_equal(msg.epoch, 5);
    assert_string_equal(msg.tenant, "acme");
    assert_string_equal(msg.site, "zurich");
    assert_string_equal(msg.name, "agent-0");
    bench_stop(&b);
}

static void the_agent_hears_of_a_batch_when_both_owners_committed_it(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    hello(&b, 0);
    data(&b, 0, 1);
    sack(&b, 0, 0, 1);
    assert_int_equal(b.out.count, 0);
    sack(&b, 0, 0, 1);
    assert_int_equal(b.out.count, 0);
    sack(&b, 1, 0, 1);
    const struct route_action *ack = told(&b, WEIR_MSG_ACK);
    assert_non_null(ack);
    assert_int_equal(ack->peer, 1);
    assert_int_equal(ack->shard, b.shard);
    assert_int_equal(ack->seq, 1);
    assert_int_equal(seen(&b)->in_flight, 0);
    assert_int_equal(seen(&b)->ended[ROUTE_END_acked], 1);
    bench_stop(&b);
}

static void commits_are_in_order_so_one_answer_covers_those_before_it(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    hello(&b, 0);
    for (uint64_t seq = 1; seq <= 5; seq++)
        data(&b, 0, seq);
    sack(&b, 0, 0, 4); /* the answers to 1..3 were lost */
    assert_int_equal(b.out.count, 0);
    sack(&b, 1, 0, 2);
    assert_int_equal(told(&b, WEIR_MSG_ACK)->seq, 2);
    sack(&b, 1, 0, 5);
    assert_int_equal(told(&b, WEIR_MSG_ACK)->seq, 4);
    assert_int_equal(seen(&b)->in_flight, 1);
    sack(&b, 0, 0, 5);
    assert_int_equal(told(&b, WEIR_MSG_ACK)->seq, 5);
    assert_int_equal(seen(&b)->ended[ROUTE_END_acked], 5);
    bench_stop(&b);
}

static void an_acknowledgement_carries_what_the_owner_that_has_most_expects(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    hello(&b, 0);
    data(&b, 0, 3);
    struct weir_msg msg = answer_of(&b, 0, WEIR_MSG_SACK, 3);
    msg.expected = 100;
    node_says(&b, owner(&b, 0), &msg);
    msg.expected = 4;
    node_says(&b, owner(&b, 1), &msg);
    assert_int_equal(told(&b, WEIR_MSG_ACK)->seq, 3);
    assert_int_equal(told(&b, WEIR_MSG_ACK)->expected, 100);
    bench_stop(&b);
}

static void a_loss_is_acknowledged_when_all_that_it_stands_for_is_committed(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    hello(&b, 0);
    struct weir_msg msg = answer_of(&b, 0, WEIR_MSG_DATA, 5);
    struct weir_batch_header loss = {.kind = WEIR_RECORD_LOSS, .lost_to_seq = 7};
    step(&b, &(struct route_event){.kind = ROUTE_EVENT_AGENT,
                                   .peer = {.id = 1, .name = "agent-0", .key = weir_allow_at(b.allow, 0)->key},
                                   .msg = &msg,
                                   .header = &loss,
                                   .bytes = 100});
    msg = answer_of(&b, 0, WEIR_MSG_SACK, 5); /* of a batch 5 that the agent sent before it dropped it */
    msg.expected = 6;
    node_says(&b, owner(&b, 0), &msg);
    node_says(&b, owner(&b, 1), &msg);
    assert_int_equal(b.out.count, 0);
    msg.expected = 8;
    node_says(&b, owner(&b, 0), &msg);
    node_says(&b, owner(&b, 1), &msg);
    assert_int_equal(told(&b, WEIR_MSG_ACK)->seq, 5);
    bench_stop(&b);
}

static void answers_of_others_of_another_epoch_or_incarnation_count_for_nothing(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    hello(&b, 0);
    hello(&b, 1);
    data(&b, 0, 1);
    sack(&b, 0, 0, 1);
    struct weir_msg msg = answer_of(&b, 0, WEIR_MSG_SACK, 1);
    node_says(&b, bystander(&b), &msg);
    msg.epoch--;
    node_says(&b, owner(&b, 1), &msg);
    msg = answer_of(&b, 0, WEIR_MSG_SACK, 1);
    msg.inc++;
    node_says(&b, owner(&b, 1), &msg);
    msg = answer_of(&b, 1, WEIR_MSG_SACK, 1);
    node_says(&b, owner(&b, 1), &msg);
    msg = answer_of(&b, 0, WEIR_MSG_SACK, 1);
    msg.shard = WEIR_SHARDS + 5;
    node_says(&b, owner(&b, 1), &msg);
    node_says(&b, 60, &msg);
    assert_int_equal(b.out.count, 0);
    assert_int_equal(seen(&b)->in_flight, 1);
    bench_stop(&b);
}

static void a_gap_sends_the_agent_back_once_for_all_that_followed(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    hello(&b, 0);
    for (uint64_t seq = 1; seq <= 4; seq++)
        data(&b, 0, seq);
    snack(&b, 0, 2, WEIR_CODE_GAP, 1);
    const struct route_action *nack = nacked(&b, WEIR_CODE_GAP);
    assert_int_equal(nack->seq, 2);
    assert_int_equal(nack->expected, 1);
    snack(&b, 0, 3, WEIR_CODE_GAP, 1);
    assert_int_equal(b.out.count, 0);
    assert_int_equal(seen(&b)->in_flight, 1);
    for (uint64_t seq = 1; seq <= 4; seq++)
        data(&b, 0, seq);
    assert_int_equal(seen(&b)->repeated, 1);
    sack(&b, 0, 0, 4);
    sack(&b, 1, 0, 4);
    assert_int_equal(told(&b, WEIR_MSG_ACK)->seq, 4);
    bench_stop(&b);
}

static void a_repetition_goes_only_to_owners_that_did_not_commit_and_takes_no_credit(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 1 * BATCH, 10);
    hello(&b, 0);
    assert_int_equal(told(&b, WEIR_MSG_WELCOME)->credit, 1);
    data(&b, 0, 1);
    sack(&b, 1, 0, 1);
    data(&b, 0, 1);
    const struct route_action *forward = the(&b, ROUTE_FORWARD, WEIR_MSG_NONE);
    assert_int_equal(forward->owner_count, 1);
    assert_int_equal(forward->owners[0], owner(&b, 0));
    assert_int_equal(seen(&b)->in_flight, 1);
    bench_stop(&b);
}

static void a_batch_beyond_credit_is_refused_as_busy_and_counted(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 2 * BATCH, 10);
    hello(&b, 0);
    data(&b, 0, 1);
    data(&b, 0, 2);
    data(&b, 0, 3);
    assert_int_equal(nacked(&b, WEIR_CODE_BUSY)->retry_ms, ROUTE_BUSY_RETRY_MS);
    assert_int_equal(seen(&b)->refused[ROUTE_REFUSED_over_credit], 1);
    assert_int_equal(seen(&b)->in_flight, 2);
    bench_stop(&b);
}

static void credit_is_shared_out_anew_when_agents_come_and_go(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 6 * BATCH, 10);
    hello(&b, 0);
    assert_int_equal(told(&b, WEIR_MSG_WELCOME)->credit, 6);
    hello(&b, 1);
    assert_int_equal(told(&b, WEIR_MSG_WELCOME)->credit, 3);
    tick(&b, 1000);
    const struct route_action *credit = told(&b, WEIR_MSG_CREDIT);
    assert_int_equal(credit->peer, 1);
    assert_int_equal(credit->credit, 3);
    step(&b, &(struct route_event){.kind = ROUTE_EVENT_GONE, .peer = {.id = 1}});
    tick(&b, 1000);
    credit = told(&b, WEIR_MSG_CREDIT);
    assert_int_equal(credit->peer, 2);
    assert_int_equal(credit->credit, 6);
    bench_stop(&b);
}

static void many_agents_have_one_batch_each_within_the_budget_of_bytes(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 2 * BATCH, AGENTS);
    for (uint32_t i = 0; i < AGENTS; i++)
        hello(&b, i);
    assert_int_equal(told(&b, WEIR_MSG_WELCOME)->credit, 1);
    for (uint32_t i = 0; i < AGENTS; i++)
        data(&b, i, 1);
    assert_int_equal(seen(&b)->in_flight, 2);
    assert_int_equal(seen(&b)->refused[ROUTE_REFUSED_full], 2);
    assert_true(seen(&b)->in_flight_bytes <= 2 * BATCH);
    bench_stop(&b);
}

static void what_cannot_be_taken_is_refused_with_its_reason(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    struct weir_msg msg = answer_of(&b, 0, WEIR_MSG_DATA, 1);
    agent_event(&b, 0, 1, &msg, BATCH);
    nacked(&b, WEIR_CODE_RESET);
    hello(&b, 0);
    agent_event(&b, 0, 1, &msg, 0); /* no header */
    nacked(&b, WEIR_CODE_POISON);
    agent_event(&b, 0, 1, &msg, MAX_BYTES + 1);
    nacked(&b, WEIR_CODE_TOOBIG);
    msg.inc++;
    agent_event(&b, 0, 1, &msg, BATCH);
    nacked(&b, WEIR_CODE_RESET);
    msg.inc--;
    msg.shard = (msg.shard + 1) % WEIR_SHARDS;
    agent_event(&b, 0, 1, &msg, BATCH);
    nacked(&b, WEIR_CODE_REJECT);
    msg.shard = WEIR_SHARDS;
    agent_event(&b, 0, 1, &msg, BATCH);
    nacked(&b, WEIR_CODE_REJECT);
    msg = answer_of(&b, 0, WEIR_MSG_DATA, 0);
    agent_event(&b, 0, 1, &msg, BATCH);
    nacked(&b, WEIR_CODE_REJECT);
    msg = answer_of(&b, 1, WEIR_MSG_DATA, 1); /* agent-0's key, agent-1's id */
    agent_event(&b, 0, 1, &msg, BATCH);
    nacked(&b, WEIR_CODE_REJECT);
    msg = answer_of(&b, 9, WEIR_MSG_DATA, 1); /* not in the list */
    agent_event(&b, 9, 10, &msg, BATCH);
    nacked(&b, WEIR_CODE_REJECT);
    const struct route_state *s = seen(&b);
    assert_int_equal(s->refused[ROUTE_REFUSED_no_session], 2);
    assert_int_equal(s->refused[ROUTE_REFUSED_header], 1);
    assert_int_equal(s->refused[ROUTE_REFUSED_too_big], 1);
    assert_int_equal(s->refused[ROUTE_REFUSED_shard], 3);
    assert_int_equal(s->refused[ROUTE_REFUSED_agent], 1);
    assert_int_equal(s->refused[ROUTE_REFUSED_key], 1);
    assert_int_equal(s->accepted, 0);
    bench_stop(&b);
}

static void a_hello_under_another_name_than_the_keys_is_refused(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    struct weir_msg msg = msg_of(1, WEIR_MSG_HELLO);
    agent_event(&b, 0, 1, &msg, 0);
    nacked(&b, WEIR_CODE_REJECT);
    assert_true(noted(&b, ROUTE_NOTE_KEY_REFUSED));
    hello_as(&b, 9, 10, 1);
    nacked(&b, WEIR_CODE_REJECT);
    assert_int_equal(seen(&b)->sessions, 0);
    assert_int_equal(seen(&b)->hellos_refused, 2);
    bench_stop(&b);
}

static void a_batch_is_poison_only_when_no_owner_can_decode_it(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    hello(&b, 0);
    data(&b, 0, 1);
    data(&b, 0, 2);
    snack(&b, 0, 1, WEIR_CODE_POISON, 1);
    assert_int_equal(b.out.count, 0);
    snack(&b, 0, 2, WEIR_CODE_GAP, 1); /* no news: the owner waits for what it could not decode */
    assert_int_equal(b.out.count, 0);
    snack(&b, 1, 1, WEIR_CODE_POISON, 1);
    assert_int_equal(nacked(&b, WEIR_CODE_POISON)->seq, 1);
    assert_int_equal(seen(&b)->in_flight, 0);

    data(&b, 0, 1); /* the loss in its place */
    snack(&b, 1, 1, WEIR_CODE_POISON, 1);
    sack(&b, 0, 0, 1);
    assert_int_equal(b.out.count, 0);
    data(&b, 0, 1);
    sack(&b, 1, 0, 1);
    assert_int_equal(told(&b, WEIR_MSG_ACK)->seq, 1);

    data(&b, 0, 2);
    sack(&b, 0, 0, 2);
    snack(&b, 1, 2, WEIR_CODE_POISON, 2);
    nacked(&b, WEIR_CODE_SCHEMA);
    assert_true(noted(&b, ROUTE_NOTE_DISAGREE));
    bench_stop(&b);
}

static void refusals_of_owners_reach_the_agent_with_what_it_needs(void **state)
{
    (void)state;
    struct bench b;
    static const struct {
        enum weir_code said, told;
        bool reread;
    } cases[] = {
        {WEIR_CODE_BUSY, WEIR_CODE_BUSY, false},     {WEIR_CODE_CHECKSUM, WEIR_CODE_CHECKSUM, false},
        {WEIR_CODE_SCHEMA, WEIR_CODE_SCHEMA, false}, {WEIR_CODE_REJECT, WEIR_CODE_REJECT, false},
        {WEIR_CODE_EPOCH, WEIR_CODE_BUSY, true},     {WEIR_CODE_NOTOWNER, WEIR_CODE_BUSY, true},
    };
    bench_start(&b, 100 * BATCH, 10);
    hello(&b, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        data(&b, 0, 1);
        snack(&b, 1, 1, cases[i].said, 0);
        const struct route_action *nack = nacked(&b, cases[i].told);
        if (cases[i].told == WEIR_CODE_BUSY) assert_true(nack->retry_ms > 0);
        assert_int_equal(the(&b, ROUTE_REREAD_MAP, WEIR_MSG_NONE) != NULL, cases[i].reread);
        assert_int_equal(seen(&b)->in_flight, 0);
    }
    bench_stop(&b);
}

static void a_batch_without_an_answer_is_dropped_in_time(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    hello(&b, 0);
    data(&b, 0, 1);
    for (int i = 0; i < 49; i++) { /* both owners are alive and answer others */
        sack(&b, 0, 1, 1);
        sack(&b, 1, 1, 1);
        node_pongs(&b, bystander(&b));
        struct weir_msg ping = msg_of(0, WEIR_MSG_PING);
        agent_event(&b, 0, 1, &ping, 0);
        tick(&b, 100);
    }
    assert_int_equal(seen(&b)->in_flight, 1);
    tick(&b, 100);
    assert_int_equal(seen(&b)->in_flight, 0);
    assert_int_equal(seen(&b)->ended[ROUTE_END_expired], 1);
    bench_stop(&b);
}

static void a_dead_aggregator_makes_its_own_shards_busy_and_no_others(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    hello(&b, 0);
    data(&b, 0, 1);
    data(&b, 0, 2);
    bool down = false, back = false;
    for (int i = 0; i < 40 && !down; i++) {
        sack(&b, 1, 1, 1);
        node_pongs(&b, bystander(&b));
        tick(&b, 100);
        if (noted(&b, ROUTE_NOTE_NODE_STUCK)) { /* two seconds before it counts as dead */
            assert_int_equal(nacked(&b, WEIR_CODE_BUSY)->seq, 1);
            back = true;
        }
        down = noted(&b, ROUTE_NOTE_NODE_DOWN);
    }
    assert_true(down && back);
    assert_int_equal(the(&b, ROUTE_RECONNECT, WEIR_MSG_NONE)->node, owner(&b, 0));
    assert_int_equal(seen(&b)->in_flight, 0);
    data(&b, 0, 1);
    assert_int_equal(nacked(&b, WEIR_CODE_BUSY)->retry_ms, ROUTE_NODE_RETRY_MS);
    assert_int_equal(seen(&b)->refused[ROUTE_REFUSED_owner_down], 1);

    while (weir_map_owns(b.map, owner(&b, 0), weir_shard_of("acme", &b.source)))
        b.source.domain++;
    struct weir_msg msg = msg_of(0, WEIR_MSG_DATA);
    msg.shard = weir_shard_of("acme", &b.source);
    msg.seq = 1;
    agent_event(&b, 0, 1, &msg, BATCH);
    assert_int_equal(the(&b, ROUTE_FORWARD, WEIR_MSG_NONE)->owner_count, 2);
    bench_stop(&b);
}

static void a_silent_aggregator_gets_a_new_socket_again_and_again_and_is_used_when_it_speaks(void **state)
{
    (void)state;
    struct bench b;
    uint32_t reconnects = 0;
    bench_start(&b, 100 * BATCH, 10);
    for (int i = 0; i < 200; i++) {
        tick(&b, 100);
        for (size_t k = 0; k < b.out.count; k++)
            reconnects += b.out.at[k].kind == ROUTE_RECONNECT && b.out.at[k].node == 0;
    }
    assert_in_range(reconnects, 3, 5);
    node_pongs(&b, 0);
    assert_true(noted(&b, ROUTE_NOTE_NODE_UP));
    assert_true(route_core_node(b.core, 0)->up);
    bench_stop(&b);
}

static void a_stuck_aggregator_is_left_alone_for_longer_each_time_until_it_answers(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    hello(&b, 0);
    int64_t retries[3] = {0};
    for (int found = 0; found < 3;) {
        data(&b, 0, 1);
        for (uint32_t i = 0; i < 3; i++)
            node_pongs(&b, i);
        tick(&b, 100);
        if (!route_core_node(b.core, owner(&b, 0))->stuck || !noted(&b, ROUTE_NOTE_NODE_STUCK)) continue;
        for (size_t i = 0; i < b.out.count; i++) {
            if (b.out.at[i].kind == ROUTE_SEND_AGENT && b.out.at[i].code == WEIR_CODE_BUSY)
                retries[found] = b.out.at[i].retry_ms;
        }
        found++;
    }
    assert_int_equal(retries[0], 1000);
    assert_int_equal(retries[1], 2000);
    assert_int_equal(retries[2], 4000);
    sack(&b, 0, 1, 1);
    assert_false(route_core_node(b.core, owner(&b, 0))->stuck);
    bench_stop(&b);
}

static void what_the_queue_to_an_owner_did_not_take_goes_back_to_the_agent(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    hello(&b, 0);
    data(&b, 0, 1);
    data(&b, 0, 2);
    struct weir_msg msg = msg_of(0, WEIR_MSG_DATA);
    step(&b, &(struct route_event){
                 .kind = ROUTE_EVENT_UNSENT, .node = owner(&b, 1), .agent = msg.agent, .shard = b.shard, .seq = 2});
    assert_int_equal(nacked(&b, WEIR_CODE_BUSY)->seq, 2);
    assert_int_equal(seen(&b)->in_flight, 1);
    bench_stop(&b);
}

static void a_second_agent_of_a_name_is_refused_while_the_first_one_lives(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    hello_as(&b, 0, 1, 77);
    hello_as(&b, 0, 2, 88);
    assert_null(told(&b, WEIR_MSG_WELCOME));
    assert_int_equal(told(&b, WEIR_MSG_PING)->peer, 1);
    struct weir_msg pong = msg_of(0, WEIR_MSG_PONG);
    agent_event(&b, 0, 1, &pong, 0);
    assert_int_equal(nacked(&b, WEIR_CODE_REJECT)->peer, 2);
    assert_true(noted(&b, ROUTE_NOTE_SECOND_REFUSED));
    assert_int_equal(seen(&b)->seconds_refused, 1);
    tick(&b, 3000);
    assert_null(told(&b, WEIR_MSG_WELCOME));
    bench_stop(&b);
}

static void a_second_agent_of_a_name_takes_over_when_the_first_one_is_silent_or_gone(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    hello_as(&b, 0, 1, 77);
    data(&b, 0, 1);
    hello_as(&b, 0, 2, 88);
    hello_as(&b, 0, 2, 88); /* it asks again meanwhile */
    assert_int_equal(b.out.count, 0);
    tick(&b, ROUTE_CHALLENGE_MS);
    assert_int_equal(told(&b, WEIR_MSG_WELCOME)->peer, 2);
    assert_true(noted(&b, ROUTE_NOTE_TAKEN_OVER));
    assert_int_equal(seen(&b)->sessions, 1);
    assert_int_equal(seen(&b)->in_flight, 0);

    hello_as(&b, 0, 3, 99);
    step(&b, &(struct route_event){.kind = ROUTE_EVENT_GONE, .peer = {.id = 2}});
    assert_int_equal(told(&b, WEIR_MSG_WELCOME)->peer, 3);
    assert_int_equal(seen(&b)->sessions, 1);
    bench_stop(&b);
}

static void the_same_process_over_a_new_connection_is_welcome_at_once(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    hello_as(&b, 0, 1, 77);
    data(&b, 0, 1);
    hello_as(&b, 0, 5, 77);
    assert_int_equal(told(&b, WEIR_MSG_WELCOME)->peer, 5);
    assert_int_equal(seen(&b)->sessions, 1);
    assert_int_equal(seen(&b)->ended[ROUTE_END_forgotten], 1);
    data(&b, 0, 1); /* over the old one */
    nacked(&b, WEIR_CODE_RESET);
    bench_stop(&b);
}

static void silent_agents_are_asked_and_then_forgotten(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    hello(&b, 0);
    tick(&b, ROUTE_AGENT_QUIET_MS - 1);
    assert_null(told(&b, WEIR_MSG_PING));
    tick(&b, 1);
    assert_int_equal(told(&b, WEIR_MSG_PING)->peer, 1);
    tick(&b, ROUTE_AGENT_DEAD_MS - ROUTE_AGENT_QUIET_MS);
    assert_true(noted(&b, ROUTE_NOTE_AGENT_WENT));
    assert_int_equal(seen(&b)->sessions, 0);
    struct weir_msg ping = msg_of(0, WEIR_MSG_PING);
    agent_event(&b, 0, 1, &ping, 0);
    nacked(&b, WEIR_CODE_RESET);
    bench_stop(&b);
}

static void a_key_taken_off_the_list_ends_its_session_at_once(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    hello(&b, 0);
    hello(&b, 1);
    data(&b, 0, 1);
    struct weir_allow *without = allow_of(1, AGENTS - 1);
    step(&b, &(struct route_event){.kind = ROUTE_EVENT_ALLOW, .allow = without});
    assert_int_equal(nacked(&b, WEIR_CODE_REJECT)->peer, 1);
    assert_int_equal(seen(&b)->sessions, 1);
    weir_allow_destroy(b.allow);
    b.allow = without;
    data(&b, 0, 2);
    nacked(&b, WEIR_CODE_REJECT);
    assert_int_equal(seen(&b)->refused[ROUTE_REFUSED_key], 1);
    data(&b, 1, 1);
    assert_non_null(the(&b, ROUTE_FORWARD, WEIR_MSG_NONE));
    bench_stop(&b);
}

/** A copy of the map that holds, to be changed and given to use_map. */
static struct weir_map *copy_map(const struct bench *b)
{
    struct weir_map *map = weir_malloc(sizeof *map);
    *map = *b->map;
    return map;
}

static void use_map(struct bench *b, struct weir_map *map)
{
    step(b, &(struct route_event){.kind = ROUTE_EVENT_MAP, .map = map});
    weir_free(b->map);
    b->map = map;
}

static void a_shard_under_another_epoch_sends_back_what_is_in_flight_of_it_and_of_no_other(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    hello(&b, 0);
    data(&b, 0, 1);
    struct weir_map *next = copy_map(&b);
    next->shards[(b.shard + 1) % WEIR_SHARDS].epoch = 6;
    use_map(&b, next);
    assert_int_equal(b.out.count, 0);
    assert_int_equal(seen(&b)->in_flight, 1);

    sack(&b, 0, 0, 1);
    next = copy_map(&b);
    next->shards[b.shard].epoch = 6;
    use_map(&b, next);
    assert_int_equal(nacked(&b, WEIR_CODE_BUSY)->seq, 1);
    assert_int_equal(seen(&b)->in_flight, 0);

    data(&b, 0, 1); /* the aggregators are known as they were */
    const struct route_action *forward = the(&b, ROUTE_FORWARD, WEIR_MSG_NONE);
    struct weir_msg msg = {0};
    route_core_store(b.core, forward, &msg);
    assert_int_equal(msg.epoch, 6);
    sack(&b, 0, 0, 1); /* what was said under 5 counts no more, and answers under 5 do not either */
    sack(&b, 1, 0, 1);
    assert_int_equal(seen(&b)->in_flight, 1);
    struct weir_msg under = answer_of(&b, 0, WEIR_MSG_SACK, 1);
    under.epoch = 6;
    node_says(&b, owner(&b, 0), &under);
    assert_int_equal(seen(&b)->in_flight, 1);
    node_says(&b, owner(&b, 1), &under);
    assert_int_equal(told(&b, WEIR_MSG_ACK)->seq, 1);
    bench_stop(&b);
}

static void who_joins_a_shard_is_awaited_as_its_members_are(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    hello(&b, 0);
    struct weir_map *next = copy_map(&b);
    next->shards[b.shard].joining_count = 1;
    next->shards[b.shard].joining[0] = (uint8_t)bystander(&b);
    use_map(&b, next);
    data(&b, 0, 1);
    const struct route_action *forward = the(&b, ROUTE_FORWARD, WEIR_MSG_NONE);
    assert_int_equal(forward->owner_count, 3);
    assert_int_equal(forward->owners[2], bystander(&b));
    sack(&b, 0, 0, 1);
    sack(&b, 1, 0, 1);
    assert_int_equal(seen(&b)->in_flight, 1);
    struct weir_msg msg = answer_of(&b, 0, WEIR_MSG_SACK, 1);
    node_says(&b, bystander(&b), &msg);
    assert_int_equal(told(&b, WEIR_MSG_ACK)->seq, 1);
    bench_stop(&b);
}

static void a_shard_with_fewer_members_than_told_takes_nothing(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    struct route_conf conf = {.budget_bytes = 100 * BATCH,
                              .batch_bytes = BATCH,
                              .max_bytes = MAX_BYTES,
                              .sessions_most = 1,
                              .copies_least = 2};
    route_core_destroy(b.core);
    assert_int_equal(route_core_create(&conf, &b.core), 0);
    step(&b, &(struct route_event){.kind = ROUTE_EVENT_MAP, .map = b.map});
    step(&b, &(struct route_event){.kind = ROUTE_EVENT_ALLOW, .allow = b.allow});
    for (uint32_t i = 0; i < 3; i++)
        node_pongs(&b, i);
    hello(&b, 0);
    struct weir_map *next = copy_map(&b);
    next->shards[b.shard].member_count = 1;
    use_map(&b, next);
    data(&b, 0, 1);
    nacked(&b, WEIR_CODE_BUSY);
    assert_int_equal(seen(&b)->refused[ROUTE_REFUSED_few_copies], 1);
    next = copy_map(&b);
    next->shards[b.shard].member_count = 2;
    use_map(&b, next);
    data(&b, 0, 1);
    assert_non_null(the(&b, ROUTE_FORWARD, WEIR_MSG_NONE));
    bench_stop(&b);
}

static void other_aggregators_send_everything_in_flight_back(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    hello(&b, 0);
    data(&b, 0, 3);
    data(&b, 0, 4);
    struct weir_map *next = copy_map(&b);
    snprintf(next->aggregators[2].name, sizeof next->aggregators[2].name, "agg-9");
    use_map(&b, next);
    assert_int_equal(nacked(&b, WEIR_CODE_BUSY)->seq, 3);
    assert_int_equal(seen(&b)->in_flight, 0);
    data(&b, 0, 3);
    nacked(&b, WEIR_CODE_BUSY); /* nobody was heard of under this map */
    for (uint32_t i = 0; i < 3; i++)
        node_pongs(&b, i);
    data(&b, 0, 3);
    assert_non_null(the(&b, ROUTE_FORWARD, WEIR_MSG_NONE));
    bench_stop(&b);
}

static void agents_beyond_the_limit_are_told_to_wait(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b, 100 * BATCH, 2);
    hello(&b, 0);
    hello(&b, 1);
    hello(&b, 2);
    nacked(&b, WEIR_CODE_BUSY);
    assert_true(noted(&b, ROUTE_NOTE_OVER_LIMIT));
    assert_int_equal(seen(&b)->sessions, 2);
    step(&b, &(struct route_event){.kind = ROUTE_EVENT_GONE, .peer = {.id = 1}});
    hello(&b, 2);
    assert_non_null(told(&b, WEIR_MSG_WELCOME));
    bench_stop(&b);
}

static void running_out_of_memory_loses_actions_and_nothing_else(void **state)
{
    (void)state;
    bool failed = true;
    for (int64_t successes = 0; failed; successes++) {
        assert_true(successes < 20);
        struct route_conf conf = {.budget_bytes = 1000, .batch_bytes = 10, .max_bytes = 10, .sessions_most = 3};
        struct route_core *core = NULL;
        weir_mem_fail_after(successes);
        int rc = route_core_create(&conf, &core);
        failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        assert_int_equal(rc, failed ? WEIR_ENOMEM : 0);
        route_core_destroy(core);
    }
    struct bench b;
    bench_start(&b, 100 * BATCH, 10);
    weir_mem_fail_after(0);
    hello(&b, 0);
    weir_mem_fail_after(-1);
    nacked(&b, WEIR_CODE_BUSY);
    assert_int_equal(seen(&b)->sessions, 0);
    route_actions_fini(&b.out);
    weir_mem_fail_after(1);
    hello(&b, 0);
    weir_mem_fail_after(-1);
    assert_int_equal(seen(&b)->sessions, 1);
    assert_int_equal(b.out.lost, 1);
    hello(&b, 0);
    assert_non_null(told(&b, WEIR_MSG_WELCOME));
    bench_stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_goes_to_both_owners_with_epoch_tenant_site_and_name),
        cmocka_unit_test(the_agent_hears_of_a_batch_when_both_owners_committed_it),
        cmocka_unit_test(commits_are_in_order_so_one_answer_covers_those_before_it),
        cmocka_unit_test(an_acknowledgement_carries_what_the_owner_that_has_most_expects),
        cmocka_unit_test(a_loss_is_acknowledged_when_all_that_it_stands_for_is_committed),
        cmocka_unit_test(answers_of_others_of_another_epoch_or_incarnation_count_for_nothing),
        cmocka_unit_test(a_gap_sends_the_agent_back_once_for_all_that_followed),
        cmocka_unit_test(a_repetition_goes_only_to_owners_that_did_not_commit_and_takes_no_credit),
        cmocka_unit_test(a_batch_beyond_credit_is_refused_as_busy_and_counted),
        cmocka_unit_test(credit_is_shared_out_anew_when_agents_come_and_go),
        cmocka_unit_test(many_agents_have_one_batch_each_within_the_budget_of_bytes),
        cmocka_unit_test(what_cannot_be_taken_is_refused_with_its_reason),
        cmocka_unit_test(a_hello_under_another_name_than_the_keys_is_refused),
        cmocka_unit_test(a_batch_is_poison_only_when_no_owner_can_decode_it),
        cmocka_unit_test(refusals_of_owners_reach_the_agent_with_what_it_needs),
        cmocka_unit_test(a_batch_without_an_answer_is_dropped_in_time),
        cmocka_unit_test(a_dead_aggregator_makes_its_own_shards_busy_and_no_others),
        cmocka_unit_test(a_silent_aggregator_gets_a_new_socket_again_and_again_and_is_used_when_it_speaks),
        cmocka_unit_test(a_stuck_aggregator_is_left_alone_for_longer_each_time_until_it_answers),
        cmocka_unit_test(what_the_queue_to_an_owner_did_not_take_goes_back_to_the_agent),
        cmocka_unit_test(a_second_agent_of_a_name_is_refused_while_the_first_one_lives),
        cmocka_unit_test(a_second_agent_of_a_name_takes_over_when_the_first_one_is_silent_or_gone),
        cmocka_unit_test(the_same_process_over_a_new_connection_is_welcome_at_once),
        cmocka_unit_test(silent_agents_are_asked_and_then_forgotten),
        cmocka_unit_test(a_key_taken_off_the_list_ends_its_session_at_once),
        cmocka_unit_test(a_shard_under_another_epoch_sends_back_what_is_in_flight_of_it_and_of_no_other),
        cmocka_unit_test(who_joins_a_shard_is_awaited_as_its_members_are),
        cmocka_unit_test(a_shard_with_fewer_members_than_told_takes_nothing),
        cmocka_unit_test(other_aggregators_send_everything_in_flight_back),
        cmocka_unit_test(agents_beyond_the_limit_are_told_to_wait),
        cmocka_unit_test(running_out_of_memory_loses_actions_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
