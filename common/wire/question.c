#include "common/wire/question.h"

#include "common/wire/proto.h"
#include "weir/v1/query.pb-c.h"

enum { KIND_ASK = 1, KIND_CANCEL = 2, VALUE_BYTES = sizeof(union weir_value) };

_Static_assert((int)WEIR_QUESTION_SHARDS == (int)WEIR_SHARDS, "a question can name every shard");

/* ---- encode ---- */

static int append(const ProtobufCMessage *message, struct weir_buf *out)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *at = weir_buf_reserve(out, size);
    if (at == NULL) return WEIR_ENOMEM;
    weir_buf_commit(out, protobuf_c_message_pack(message, at));
    return 0;
}

/** The picked groups, dimension by dimension, in one blob. */
static int append_picks(const struct weir_question *question, struct weir_buf *out)
{
    for (uint32_t i = 0; i < question->pick_count; i++)
        weir_buf_append(out, question->picks[i], question->dim_count * (size_t)VALUE_BYTES);
    return out->failed ? WEIR_ENOMEM : 0;
}

int weir_question_encode(const struct weir_question *question, struct weir_buf *out)
{
    Weir__V1__Question pb;
    weir__v1__question__init(&pb);
    uint32_t dims[WEIR_QUESTION_DIMS_MOST];
    for (uint32_t i = 0; i < question->dim_count; i++)
        dims[i] = weir_dims[question->dims[i]].number;
    uint64_t shards[WEIR_SHARDS / 64];
    memcpy(shards, question->shards, sizeof shards);
    Weir__V1__Place cursor;
    weir__v1__place__init(&cursor);
    cursor.time_ms = question->cursor.time_ms;
    cursor.shard = question->cursor.shard;
    cursor.block = question->cursor.block;
    cursor.row = question->cursor.row;
    struct weir_buf picks = WEIR_BUF_INIT;
    int rc = append_picks(question, &picks);
    if (rc < 0) goto done;

    pb.proto = WEIR_PROTOCOL_VERSION;
    pb.kind = KIND_ASK;
    pb.id = question->id;
    pb.shape = question->shape;
    pb.from_ms = question->from_ms;
    pb.to_ms = question->to_ms;
    pb.n_dims = question->dim_count;
    pb.dims = dims;
    pb.order = question->order;
    pb.ascending = question->ascending;
    pb.limit = question->limit;
    pb.step_ms = question->step_ms;
    pb.tier = question->tier;
    pb.deadline_ms = question->deadline_ms;
    pb.shards = (ProtobufCBinaryData){.len = sizeof shards, .data = (uint8_t *)shards};
    if (question->has_cursor) pb.cursor = &cursor;
    if (question->filter != NULL) pb.filter = question->filter;
    pb.pick_count = question->pick_count;
    pb.picks = (ProtobufCBinaryData){.len = picks.size, .data = picks.data};
    pb.n_pick_names = question->pick_name_count;
    pb.pick_names = question->pick_names;
    rc = append(&pb.base, out);
done:
    weir_buf_fini(&picks);
    return rc;
}

int weir_cancel_encode(uint64_t id, struct weir_buf *out)
{
    Weir__V1__Question pb;
    weir__v1__question__init(&pb);
    pb.proto = WEIR_PROTOCOL_VERSION;
    pb.kind = KIND_CANCEL;
    pb.id = id;
    return append(&pb.base, out);
}

/* ---- decode ---- */

static int decode_dims(const Weir__V1__Question *pb, struct weir_question *out)
{
    if (pb->n_dims > WEIR_QUESTION_DIMS_MOST) return WEIR_EFORMAT;
    for (size_t i = 0; i < pb->n_dims; i++) {
        int dim = weir_dim_of_number(pb->dims[i]);
        if (dim < 0) return WEIR_EFORMAT;
        out->dims[i] = (enum weir_dim)dim;
    }
    out->dim_count = (uint32_t)pb->n_dims;
    return 0;
}

static int decode_picks(const Weir__V1__Question *pb, struct weir_question *out)
{
    size_t size = out->dim_count * (size_t)VALUE_BYTES;
    if (pb->pick_count > WEIR_QUESTION_LIMIT_MOST || pb->picks.len != pb->pick_count * size) return WEIR_EFORMAT;
    for (uint32_t i = 0; i < pb->pick_count; i++) {
        union weir_value key[WEIR_QUESTION_DIMS_MOST] = {{.bytes = {0}}};
        const char *names[WEIR_QUESTION_DIMS_MOST] = {0};
        if (size > 0) memcpy(key, pb->picks.data + i * size, size);
        for (uint32_t d = 0; d < out->dim_count; d++) {
            if (weir_dims[out->dims[d]].type != WEIR_DIM_TYPE_TEXT) continue;
            if (key[d].number >= pb->n_pick_names) return WEIR_EFORMAT;
            names[d] = pb->pick_names[key[d].number];
        }
        int rc = weir_question_pick(out, key, names);
        if (rc < 0) return rc;
    }
    return 0;
}

static int decode_question(const Weir__V1__Question *pb, struct weir_question *out, struct weir_why *why)
{
    if (pb->shape > WEIR_SHAPE_DROPS || pb->order > WEIR_METRIC_OF_BYTES || pb->tier > WEIR_TIER_1D)
        return WEIR_EFORMAT;
    if (pb->shards.len != sizeof out->shards) return WEIR_EFORMAT;
    out->shape = (enum weir_shape)pb->shape;
    out->from_ms = pb->from_ms;
    out->to_ms = pb->to_ms;
    out->order = (enum weir_metric)pb->order;
    out->ascending = pb->ascending;
    out->limit = pb->limit;
    out->step_ms = pb->step_ms;
    out->tier = (enum weir_tier)pb->tier;
    out->deadline_ms = pb->deadline_ms;
    memcpy(out->shards, pb->shards.data, sizeof out->shards);
    if (pb->cursor != NULL) {
        out->has_cursor = true;
        out->cursor = (struct weir_place){.time_ms = pb->cursor->time_ms,
                                          .shard = pb->cursor->shard,
                                          .block = pb->cursor->block,
                                          .row = pb->cursor->row};
    }
    int rc = decode_dims(pb, out);
    if (rc == 0) rc = decode_picks(pb, out);
    if (rc == 0 && pb->filter[0] != '\0') rc = weir_question_set_filter(out, pb->filter, strlen(pb->filter));
    return rc < 0 ? rc : weir_question_check(out, why);
}

int weir_question_decode(struct weir_view frame, struct weir_question *out, struct weir_why *why)
{
    weir_question_init(out);
    if (frame.size > WEIR_QUESTION_BYTES_MOST) return weir_why_set(why, WEIR_ELIMIT, "the question is too large");
    struct weir_proto_budget budget;
    ProtobufCMessage *unpacked = NULL;
    int rc = weir_proto_unpack_heap(&budget, &weir__v1__question__descriptor, frame, &unpacked);
    if (rc < 0) return weir_why_set(why, rc, "not a question");

    const Weir__V1__Question *pb = (const Weir__V1__Question *)unpacked;
    out->id = pb->id;
    if (pb->proto != WEIR_PROTOCOL_VERSION) {
        rc = weir_why_set(why, WEIR_EVERSION, "protocol %u is not one we speak", pb->proto);
    } else if (pb->kind == KIND_CANCEL) {
        rc = 1;
    } else if (pb->kind != KIND_ASK) {
        rc = weir_why_set(why, WEIR_EFORMAT, "not a question");
    } else {
        weir_why_set(why, 0, "a part of the question is out of its range");
        rc = decode_question(pb, out, why);
    }
    if (rc < 0) {
        uint64_t id = out->id;
        weir_question_fini(out);
        weir_question_init(out);
        out->id = id;
    }
    protobuf_c_message_free_unpacked(unpacked, &budget.allocator);
    return rc;
}

/* ---- headers of answers ---- */

int weir_answer_header_encode(const struct weir_answer_header *header, struct weir_buf *out)
{
    Weir__V1__AnswerHeader pb;
    weir__v1__answer_header__init(&pb);
    pb.proto = WEIR_PROTOCOL_VERSION;
    pb.id = header->id;
    pb.index = header->index;
    pb.more = header->more;
    pb.code = (uint32_t)-header->code;
    pb.text = weir_proto_lent_text(header->text);
    pb.node = weir_proto_lent_text(header->node);
    return append(&pb.base, out);
}

int weir_answer_header_decode(struct weir_view frame, struct weir_answer_header *out)
{
    enum { CODE_MOST = 1000 };
    struct weir_proto_arena arena;
    weir_proto_arena_init(&arena);
    ProtobufCMessage *unpacked = NULL;
    int rc = weir_proto_unpack(&arena, &weir__v1__answer_header__descriptor, frame, &unpacked);
    if (rc < 0) return rc;
    const Weir__V1__AnswerHeader *pb = (const Weir__V1__AnswerHeader *)unpacked;
    if (pb->proto != WEIR_PROTOCOL_VERSION) return WEIR_EVERSION;
    if (pb->code > CODE_MOST) return WEIR_EFORMAT;
    struct weir_answer_header header = {.id = pb->id, .index = pb->index, .more = pb->more, .code = -(int)pb->code};
    rc = weir_proto_text(pb->node, header.node, sizeof header.node);
    if (rc == 0) rc = weir_proto_text(pb->text, header.text, sizeof header.text);
    if (rc < 0) return rc;
    for (char *at = header.text; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f) *at = '?';
    }
    *out = header;
    return 0;
}
