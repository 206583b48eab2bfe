#include "tests/support/message.h"

#include <assert.h>

enum { SET_HEADER_BYTES = 4 };

void message_ipfix(struct message *m, uint32_t export_seconds, uint32_t sequence, uint32_t domain)
{
    weir_buf_clear(&m->buf);
    m->is_ipfix = true;
    m->set_at = 0;
    weir_buf_u16be(&m->buf, 10);
    weir_buf_u16be(&m->buf, 0);
    weir_buf_u32be(&m->buf, export_seconds);
    weir_buf_u32be(&m->buf, sequence);
    weir_buf_u32be(&m->buf, domain);
}

void message_netflow9(struct message *m, uint32_t export_seconds, uint32_t uptime_ms, uint32_t sequence,
                      uint32_t source_id)
{
    weir_buf_clear(&m->buf);
    m->is_ipfix = false;
    m->set_at = 0;
    m->count = 0;
    weir_buf_u16be(&m->buf, 9);
    weir_buf_u16be(&m->buf, 0);
    weir_buf_u32be(&m->buf, uptime_ms);
    weir_buf_u32be(&m->buf, export_seconds);
    weir_buf_u32be(&m->buf, sequence);
    weir_buf_u32be(&m->buf, source_id);
}

static void end_set(struct message *m)
{
    if (m->set_at != 0) weir_store_u16be(m->buf.data + m->set_at + 2, (uint16_t)(m->buf.size - m->set_at));
    m->set_at = 0;
}

void message_set(struct message *m, uint16_t id)
{
    end_set(m);
    m->set_at = m->buf.size;
    weir_buf_u16be(&m->buf, id);
    weir_buf_u16be(&m->buf, 0);
}

static void pairs(struct message *m, const uint16_t *elements_and_sizes, uint16_t fields)
{
    for (int i = 0; i < 2 * fields; i++)
        weir_buf_u16be(&m->buf, elements_and_sizes[i]);
    m->count++;
}

void message_template(struct message *m, uint16_t id, const uint16_t *elements_and_sizes, uint16_t fields)
{
    message_set(m, m->is_ipfix ? 2 : 0);
    weir_buf_u16be(&m->buf, id);
    weir_buf_u16be(&m->buf, fields);
    pairs(m, elements_and_sizes, fields);
}

void message_options(struct message *m, uint16_t id, const uint16_t *elements_and_sizes, uint16_t fields,
                     uint16_t scopes)
{
    message_set(m, m->is_ipfix ? 3 : 1);
    weir_buf_u16be(&m->buf, id);
    weir_buf_u16be(&m->buf, m->is_ipfix ? fields : (uint16_t)(scopes * 4));
    weir_buf_u16be(&m->buf, m->is_ipfix ? scopes : (uint16_t)((fields - scopes) * 4));
    pairs(m, elements_and_sizes, fields);
}

void message_u8(struct message *m, uint8_t value)
{
    weir_buf_u8(&m->buf, value);
}

void message_u16(struct message *m, uint16_t value)
{
    weir_buf_u16be(&m->buf, value);
}

void message_u32(struct message *m, uint32_t value)
{
    weir_buf_u32be(&m->buf, value);
}

void message_records(struct message *m, uint16_t id, uint16_t records, uint16_t bytes)
{
    message_set(m, id);
    for (int i = 0; i < records * bytes; i++)
        weir_buf_u8(&m->buf, 0);
    m->count = (uint16_t)(m->count + records);
}

struct weir_view message_end(struct message *m)
{
    end_set(m);
    assert(!m->buf.failed);
    weir_store_u16be(m->buf.data + 2, m->is_ipfix ? (uint16_t)m->buf.size : m->count);
    return weir_buf_view(&m->buf);
}

void message_fini(struct message *m)
{
    weir_buf_fini(&m->buf);
}
