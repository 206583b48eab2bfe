/**
 * Values that are read one by one, behind all columns: those that an operator named, lists (lists.c), and the beginnings
 * of packets in records of PSAMP (RFC 5477 8.5) and of v9's random sampling. What an element of its own says is not touched by what
 * the packet says.
 */
#include "agent/decode/decoder.h"

#define COLUMN(field) (1ull << WEIR_FIELD_##field)

static const uint64_t packet_columns = COLUMN(src_mac) | COLUMN(dst_mac) | COLUMN(vlan_in) | COLUMN(cvlan_in) |
                                       COLUMN(src_ip) | COLUMN(dst_ip) | COLUMN(proto) | COLUMN(tos) |
                                       COLUMN(src_port) | COLUMN(dst_port) | COLUMN(tcp_flags) |
                                       COLUMN(icmp_type_code) | COLUMN(bytes) | COLUMN(packets);

size_t agent_tail_bytes(const struct agent_plan *plan, const struct agent_rows *rows)
{
    size_t bytes = 0;
    for (uint16_t op = plan->tail_at; op < plan->op_count; op++) {
        if (plan->ops[op].kind != AGENT_OP_EXTRA) continue;
        for (uint32_t row = 0; row < rows->count; row++)
            bytes += 1 + agent_plan_bytes(plan, rows, op, row).size;
    }
    return bytes;
}

static void run_extra(struct agent_decoder *decoder, const struct agent_plan *plan, const struct agent_rows *rows,
                      uint16_t op, struct weir_batch *batch)
{
    uint8_t at = plan->ops[op].field;
    struct weir_extra_column *column = weir_batch_extra(batch, at, &decoder->conf.extras.extra[at]);
    for (uint32_t row = 0; column != NULL && row < rows->count; row++) {
        struct weir_view value = agent_plan_bytes(plan, rows, op, row);
        agent_count(decoder, AGENT_INPUT_extras_cut, value.size > WEIR_EXTRA_VALUE_MOST);
        weir_extra_append(column, value);
    }
    bool lost = column == NULL || column->values.failed;
    if (lost) agent_count(decoder, AGENT_INPUT_extras_no_memory, rows->count);
}

/** The link layer of a section; an IP packet says its version itself. */
static enum agent_link_layer link_of(enum agent_op_kind kind, struct weir_view section)
{
    if (kind == AGENT_OP_FRAME) return AGENT_LINK_ETHERNET;
    return section.size > 0 && section.data[0] >> 4 == 6 ? AGENT_LINK_IPV6 : AGENT_LINK_IPV4;
}

/** Write what packets say into those columns of @open that it is about. */
static uint64_t run_packets(struct agent_decoder *decoder, const struct agent_plan *plan, const struct agent_rows *rows,
                            uint16_t op, uint64_t open, struct weir_batch *batch)
{
    uint64_t columns = packet_columns & open;
    for (uint64_t left = columns; left != 0; left &= left - 1)
        weir_batch_touch(batch, (enum weir_field)__builtin_ctzll(left));
    for (uint32_t row = 0; row < rows->count; row++) {
        struct weir_view section = agent_plan_bytes(plan, rows, op, row);
        struct weir_flow flow = {.packets = 1};
        uint32_t ip_bytes = 0;
        uint64_t read = agent_packet_read_section(link_of((enum agent_op_kind)plan->ops[op].kind, section), section,
                                                  decoder->conf.tunnels, &flow, &ip_bytes);
        agent_count(decoder, AGENT_INPUT_sections_unread, (read & COLUMN(src_ip)) == 0);
        flow.bytes = ip_bytes;
        for (uint64_t left = columns; left != 0; left &= left - 1) {
            const struct weir_field_info *info = &weir_fields[__builtin_ctzll(left)];
            uint8_t *column = batch->column[__builtin_ctzll(left)];
            memcpy(column + (size_t)(batch->count + row) * info->width, (const uint8_t *)&flow + info->at, info->width);
        }
    }
    return columns;
}

static bool is_packet(const struct agent_op *op)
{
    return op->kind == AGENT_OP_FRAME || op->kind == AGENT_OP_IP_PACKET;
}

static bool has_lists(const struct agent_plan *plan)
{
    bool has = false;
    for (uint16_t op = plan->tail_at; op < plan->op_count; op++)
        has |= plan->ops[op].kind >= AGENT_OP_BASIC_LIST;
    return has;
}

uint64_t agent_tail_run(struct agent_decoder *decoder, struct agent_domain *domain, const struct agent_plan *plan,
                        const struct agent_rows *rows, const struct agent_clock *clock, struct weir_batch *batch)
{
    uint64_t written = has_lists(plan) ? agent_lists_run(decoder, domain, plan, rows, clock, batch) : 0;
    for (uint16_t op = plan->tail_at; op < plan->op_count; op++) {
        if (plan->ops[op].kind == AGENT_OP_EXTRA) {
            run_extra(decoder, plan, rows, op, batch);
        } else if (is_packet(&plan->ops[op])) {
            written |= run_packets(decoder, plan, rows, op, ~(plan->written | written), batch);
        }
    }
    return written;
}
