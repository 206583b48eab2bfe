/** Random events to the aggregator's protocol core: the ledger stays even and nothing is acknowledged that is not stored. */
#include "aggregator/intake_core.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct agg_actions actions;

/** The store's side of the game: marks by lane; two bits of the input choose one of four, told apart by their inc. */
struct model {
    struct agg_mark durable[4];
    struct agg_mark group[4];
    bool in_group[4];
};

static void check_actions(struct model *model)
{
    for (uint32_t i = 0; i < actions.count; i++) {
        const struct agg_action *action = &actions.action[i];
        uint64_t lane = action->kind == AGG_ACTION_SEND ? action->reply.lane.inc : action->lane.inc;
        if (lane > 3) abort();
        if (action->kind == AGG_ACTION_WRITE || action->kind == AGG_ACTION_LOSS) {
            uint64_t before = model->in_group[lane] ? model->group[lane].seq : model->durable[lane].seq;
            if (action->mark.seq <= before) abort();
            model->group[lane] = action->mark;
            model->in_group[lane] = true;
        }
        if (action->kind == AGG_ACTION_SEND && action->reply.kind == WEIR_MSG_SACK &&
            action->reply.seq > model->durable[lane].seq)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct weir_source source;
    uint32_t shard = weir_shard_of("", &source);
    struct agg_held held[WEIR_SHARDS] = {{0}};
    held[shard] = (struct agg_held){.epoch = 2, .role = AGG_ROLE_MEMBER};
    struct agg_intake_conf conf = {.held = held, .lanes_most = 64, .auto_loss = size % 2 == 1};
    struct agg_intake *intake = NULL;
    if (agg_intake_create(&conf, &intake) < 0) abort();

    struct model model = {0};
    for (size_t at = 0; at + 8 <= size; at += 8) {
        const uint8_t *d = data + at;
        uint32_t lane = d[0] & 3;
        struct weir_msg msg = {.kind = (d[0] & 4) != 0 ? WEIR_MSG_PING : WEIR_MSG_STORE,
                               .epoch = 2 + (d[0] >> 3 & 1) - (d[0] >> 4 & 1),
                               .inc = lane,
                               .shard = (d[0] & 0x20) != 0 ? d[7] : shard,
                               .seq = d[1],
                               .first_avail = d[2],
                               .crc = d[3],
                               .cum = {.flows = d[4], .packets = d[4], .bytes = d[5]}};
        struct weir_batch_header header = {
            .kind = (d[6] & 1) != 0 ? WEIR_RECORD_LOSS : WEIR_RECORD_DATA, .schema = 1, .lost_to_seq = d[7]};
        header.totals.flows = d[6] >> 4;
        struct agg_event event = {.kind = AGG_EVENT_MESSAGE,
                                  .msg = &msg,
                                  .header = (d[6] & 2) != 0 ? NULL : &header,
                                  .opened = (d[6] & 2) == 0 || d[7] % 4 != 0,
                                  .crc = d[3],
                                  .decoded = -(int)(d[6] >> 2 & 3)};
        switch (d[0] >> 6) {
        case 0:
            if ((d[1] & 1) != 0) {
                for (uint32_t i = 0; i < 4; i++)
                    if (model.in_group[i]) model.durable[i] = model.group[i];
            }
            event.kind = (d[1] & 1) != 0 ? AGG_EVENT_COMMITTED : AGG_EVENT_FAILED;
            memset(model.in_group, 0, sizeof model.in_group);
            break;
        case 1:
            event.kind = AGG_EVENT_PRESSURE;
            event.busy = (d[1] & 7) == 1;
            break;
        default: break;
        }
        agg_intake_step(intake, &event, &actions);
        if (actions.count == 1 && actions.action[0].kind == AGG_ACTION_LOAD) {
            struct agg_event mark = {
                .kind = AGG_EVENT_MARK, .lane = actions.action[0].lane, .mark = model.durable[lane]};
            agg_intake_step(intake, &mark, &actions);
            agg_intake_step(intake, &event, &actions);
        }
        if (actions.count == 1 && actions.action[0].kind == AGG_ACTION_OPEN) {
            event.opened = true;
            agg_intake_step(intake, &event, &actions);
        }
        check_actions(&model);

        uint64_t sum = agg_intake_waiting(intake);
        for (int i = 0; i < AGG_FATES_COUNT; i++)
            sum += agg_intake_fates(intake)[i];
        if (sum != agg_intake_received(intake)) abort();
    }
    agg_intake_destroy(intake);
    return 0;
}
