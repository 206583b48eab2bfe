#include "common/base/mutant.h"
#include "tests/support/river/parts.h"

#include <assert.h>
#include <inttypes.h>

enum { QUESTIONS_MOST = 4 }; /* of a core about one message: load, open, and then the answer */

static struct river_mark *find_mark(struct river_mark *marks, uint32_t count, const struct agg_lane *lane)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct agg_lane *of = &marks[i].lane;
        if (of->inc == lane->inc && of->shard == lane->shard && memcmp(of->agent, lane->agent, 16) == 0)
            return &marks[i];
    }
    return NULL;
}

struct river_mark *river_node_mark(struct river_node *node, const struct agg_lane *lane)
{
    return find_mark(node->marks, node->mark_count, lane);
}

struct river_mark *river_mark_of(struct river_mark *marks, uint32_t *count, const struct agg_lane *lane)
{
    struct river_mark *mark = find_mark(marks, *count, lane);
    if (mark != NULL) return mark;
    assert(*count < RIVER_MARKS_MOST);
    mark = &marks[(*count)++];
    *mark = (struct river_mark){.lane = *lane};
    return mark;
}

static void reply(struct river *river, uint32_t index, const struct agg_action *action)
{
    static struct river_parcel parcel;
    char name[WEIR_NAME_BYTES] = "agg";
    parcel = (struct river_parcel){.to = RIVER_TO_BROKER,
                                   .index = action->peer % RIVER_BROKERS,
                                   .from = index,
                                   .from_node = true,
                                   .link = action->peer / RIVER_BROKERS};
    parcel.process = river->brokers[parcel.index].processes;
    agg_reply_message(&action->reply, name, &parcel.msg);
    river_post(river, &parcel);
}

static void write(struct river *river, struct river_node *node, const struct agg_action *action,
                  const struct river_parcel *parcel)
{
    bool is_data = action->kind == AGG_ACTION_WRITE && parcel->header.kind == WEIR_RECORD_DATA;
    struct river_write *write = &node->writes[node->write_count++];
    *write = (struct river_write){
        .lane = action->lane, .mark = action->mark, .first_seq = action->first_seq, .journal = action->journal};
    if (!is_data) {
        write->lost = action->lost;
        return;
    }
    write->first_seq = parcel->msg.seq; /* whatever the core makes of it */
    write->batch = parcel->batch;
    write->source = river->batches[parcel->batch].source;
    write->sums = (struct weir_cum){.flows = parcel->header.totals.flows,
                                    .packets = parcel->header.totals.packets,
                                    .bytes = parcel->header.totals.bytes};
}

/** What the core asks for before it can judge the message. */
struct question {
    bool load; /* the mark of @lane */
    bool journal;
    bool open; /* the bytes */
    struct agg_lane lane;
};

static void check_ledger(struct river *river, uint32_t index)
{
    const struct agg_intake *core = river->nodes[index].core;
    uint64_t passed = agg_intake_waiting(core);
    for (int i = 0; i < AGG_FATES_COUNT; i++)
        passed += agg_intake_fates(core)[i];
    if (passed != agg_intake_received(core)) river_complain(river, "the ledger of aggregator %u is not even", index);
}

static struct question carry_out(struct river *river, uint32_t index, const struct river_parcel *parcel)
{
    struct river_node *node = &river->nodes[index];
    struct question question = {0};
    for (uint32_t i = 0; i < river->agg_actions.count; i++) {
        const struct agg_action *action = &river->agg_actions.action[i];
        river_trace(river, 0x300u + action->kind, action->lane.shard, action->mark.seq);
        switch (action->kind) {
        case AGG_ACTION_SEND: reply(river, index, action); break;
        case AGG_ACTION_WRITE:
        case AGG_ACTION_LOSS: write(river, node, action, parcel); break;
        case AGG_ACTION_LOAD:
            question.load = true;
            question.lane = action->lane;
            question.journal = action->journal;
            break;
        case AGG_ACTION_OPEN: question.open = true; break;
        case AGG_ACTION_READ_MAP: node->older[action->lane.shard] = true; break;
        case AGG_ACTION_REGRESSED: node->regressed[action->lane.shard] = true; break;
        case AGG_ACTION_ALARM:
            if (action->alarm != AGG_ALARM_FORKED || river->report->set_back == 0)
                river_complain(river, "aggregator %u raises the alarm %d", index, action->alarm);
            break;
        }
    }
    if (!question.load && !question.open) check_ledger(river, index);
    return question;
}

static void load_mark(struct river *river, uint32_t index, const struct question *question)
{
    struct river_node *node = &river->nodes[index];
    const struct river_mark *mark = question->journal
                                        ? find_mark(node->journal_marks, node->journal_mark_count, &question->lane)
                                        : river_node_mark(node, &question->lane);
    struct agg_event event = {.kind = AGG_EVENT_MARK, .lane = question->lane};
    if (mark != NULL) event.mark = mark->mark;
    agg_intake_step(node->core, &event, &river->agg_actions);
    carry_out(river, index, NULL);
}

void river_node_receive(struct river *river, const struct river_parcel *parcel)
{
    uint32_t index = parcel->index;
    struct river_node *node = &river->nodes[index];
    if (parcel->from_node) {
        river_replica_receive(river, parcel);
        return;
    }
    if (node->core == NULL || river->brokers[parcel->from].links[index] != parcel->link) return;
    struct agg_event event = {.kind = AGG_EVENT_MESSAGE,
                              .peer = parcel->link * RIVER_BROKERS + parcel->from,
                              .msg = &parcel->msg,
                              .header = &parcel->header};
    struct question question = {.open = true};
    for (int i = 0; i < QUESTIONS_MOST && (question.open || question.load); i++) {
        if (question.load) load_mark(river, index, &question);
        if (i > 0 && question.open) {
            event.opened = true;
            event.crc = parcel->msg.crc ^ (parcel->damaged ? 1 : 0);
        }
        agg_intake_step(node->core, &event, &river->agg_actions);
        question = carry_out(river, index, parcel);
    }
    assert(!question.open && !question.load);
    uint32_t shard = parcel->msg.shard;
    bool is_store = parcel->msg.kind == WEIR_MSG_STORE;
    if (is_store && node->older[shard] && river_below(river, 2) == 0) river_replica_read(river, index, shard);
    if (is_store) node->older[shard] = false;
    if (node->core != NULL) river_replica_regressed(river, index);
}

/** Remember it as the youngest of those that a bad disk may lose. */
static void remember(struct river_node *node, const struct river_write *write, const struct river_mark *before)
{
    if (node->tail_count == RIVER_TAIL_MOST)
        memmove(node->tail, node->tail + 1, --node->tail_count * sizeof *node->tail);
    node->tail[node->tail_count++] = (struct river_done){.write = *write, .before = *before};
}

static void append_journal(struct river_node *node, const struct river_write *write)
{
    assert(node->journal_count < RIVER_JOURNAL_MOST);
    node->journal[node->journal_count++] = *write;
    river_mark_of(node->journal_marks, &node->journal_mark_count, &write->lane)->mark = write->mark;
}

void river_node_apply(struct river *river, struct river_node *node, const struct river_write *write, bool with_mark)
{
    if (write->journal) {
        append_journal(node, write);
        return;
    }
    struct river_mark *mark = river_mark_of(node->marks, &node->mark_count, &write->lane);
    remember(node, write, mark);
    if (write->first_seq != mark->mark.seq + 1)
        river_complain(river, "%" PRIu64 " of a lane is stored after %" PRIu64, write->first_seq, mark->mark.seq);
    river_sum(&mark->stored, &write->sums);
    river_sum(&mark->lost, &write->lost);
    if (write->batch != 0) river_sum(&node->by_source[write->source], &write->sums);
    if (write->batch != 0 && ++node->stored[write->batch] > 1)
        river_complain(river, "batch %u is stored twice in an aggregator", write->batch);
    if (with_mark) mark->mark = write->mark;
}

void river_node_commit(struct river *river, uint32_t index)
{
    struct river_node *node = &river->nodes[index];
    bool fails = river_mishap(river, river->weather.failed_write);
    if (agg_intake_waiting(node->core) == 0 && node->write_count == 0) return;
    if (MUTANT(mark_not_atomic) && river_mishap(river, 20)) { /* a crash between the two */
        for (uint32_t i = 0; i < node->write_count; i++)
            river_node_apply(river, node, &node->writes[i], false);
        river_node_crash(river, index);
        return;
    }
    for (uint32_t i = 0; i < node->write_count && !fails; i++)
        river_node_apply(river, node, &node->writes[i], true);
    node->write_count = 0;
    river->report->commits++;
    agg_intake_step(node->core, &(struct agg_event){.kind = fails ? AGG_EVENT_FAILED : AGG_EVENT_COMMITTED},
                    &river->agg_actions);
    carry_out(river, index, NULL);
}

void river_node_press(struct river *river, uint32_t index, bool busy)
{
    struct agg_event event = {.kind = AGG_EVENT_PRESSURE, .busy = busy};
    agg_intake_step(river->nodes[index].core, &event, &river->agg_actions);
    carry_out(river, index, NULL);
}

void river_node_start(struct river *river, uint32_t index)
{
    struct river_node *node = &river->nodes[index];
    struct agg_held held[WEIR_SHARDS];
    river_replica_start(river, index);
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++)
        held[shard] = agg_replica_held(node->replica, shard);
    struct agg_intake_conf conf = {.held = held, .lanes_most = AGG_INTAKE_LANES_LEAST, .busy_retry_ms = 200};
    if (agg_intake_create(&conf, &node->core) < 0) river_complain(river, "no memory");
}

void river_node_crash(struct river *river, uint32_t index)
{
    struct river_node *node = &river->nodes[index];
    river->report->repeats += agg_intake_fates(node->core)[AGG_FATE_duplicate];
    agg_intake_destroy(node->core);
    agg_replica_destroy(node->replica);
    node->core = NULL;
    node->replica = NULL;
    node->write_count = 0;
    node->asleep_until_ms = 0;
    memset(node->regressed, 0, sizeof node->regressed);
    memset(node->older, 0, sizeof node->older);
    river_replica_spoil(river, index);
}
