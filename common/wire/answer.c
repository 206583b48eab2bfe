#include "common/base/mem.h"
#include "common/wire/proto.h"
#include "common/wire/question.h"
#include "weir/v1/query.pb-c.h"

#include <assert.h>
#include <math.h>

/* Rows per chunk, so that the largest rows with their names stay below WEIR_CHUNK_BYTES_MOST. */
enum {
    GROUPS_PER_CHUNK = 1000,
    FLOWS_PER_CHUNK = 700,
    EXPORTERS_PER_CHUNK = 500,
    DROPS_PER_CHUNK = 400,
    NODES_PER_CHUNK = 250
};

enum { EXTRA_BYTES_PER_CHUNK = 48 << 10 };
enum { NAME_BYTES_MOST = 200 }; /* longer texts for people are cut */

/* ---- encode ---- */

/** One chunk being made. */
struct writer {
    const struct weir_answer *answer;
    Weir__V1__AnswerBody body;
    uint32_t *renumbered; /* index of a name in the answer -> in the chunk + 1; 0 not in it yet */
    char **names;         /* of the chunk, copies; [0] is "" */
    size_t name_count;    /* with [0] */
    size_t name_capacity;
    void *pieces[64]; /* memory of the chunk's parts */
    size_t piece_count;
    bool failed;
};

/** Memory that lives until the chunk is out, zeroed; NULL (and failed). */
static void *piece(struct writer *writer, size_t count, size_t size)
{
    assert(writer->piece_count < sizeof writer->pieces / sizeof *writer->pieces);
    void *memory = weir_calloc(count == 0 ? 1 : count, size);
    if (memory == NULL) {
        writer->failed = true;
        return NULL;
    }
    writer->pieces[writer->piece_count++] = memory;
    return memory;
}

static void forget_chunk(struct writer *writer)
{
    for (size_t i = 0; i < writer->piece_count; i++)
        weir_free(writer->pieces[i]);
    writer->piece_count = 0;
    for (size_t i = 1; i < writer->name_count; i++)
        weir_free(writer->names[i]);
    writer->name_count = 1;
    memset(writer->renumbered, 0, ((size_t)writer->answer->names.count + 1) * sizeof *writer->renumbered);
    weir__v1__answer_body__init(&writer->body);
}

/** The number of a name in the chunk. */
static uint32_t name_of(struct writer *writer, uint64_t index)
{
    if (index == 0 || index > writer->answer->names.count || writer->failed) return 0;
    if (writer->renumbered[index] != 0) return writer->renumbered[index] - 1;
    if (writer->name_count == writer->name_capacity) {
        size_t capacity = 2 * writer->name_capacity;
        char **names = weir_realloc(writer->names, capacity * sizeof *names);
        if (names == NULL) {
            writer->failed = true;
            return 0;
        }
        writer->names = names;
        writer->name_capacity = capacity;
    }
    const char *name = weir_answer_name_at(writer->answer, (uint32_t)index);
    size_t size = strnlen(name, NAME_BYTES_MOST);
    while (size == NAME_BYTES_MOST && ((unsigned char)name[size] & 0xc0) == 0x80 && size > 0)
        size--; /* not within a character */
    char *copy = weir_strndup(name, size);
    if (copy == NULL) {
        writer->failed = true;
        return 0;
    }
    writer->names[writer->name_count] = copy;
    writer->renumbered[index] = (uint32_t)writer->name_count + 1;
    return (uint32_t)writer->name_count++;
}

static void put_counts(const struct weir_counts *counts, Weir__V1__Counts *pb)
{
    weir__v1__counts__init(pb);
    pb->flows = counts->flows;
    pb->packets = counts->packets;
    pb->bytes = counts->bytes;
    pb->scaled_packets = counts->scaled_packets;
    pb->scaled_bytes = counts->scaled_bytes;
    pb->packets_variance = counts->packets_variance;
    pb->bytes_variance = counts->bytes_variance;
}

static Weir__V1__Lost *put_lost(const struct weir_lost *lost, Weir__V1__Lost *pb)
{
    weir__v1__lost__init(pb);
    pb->sequence = lost->sequence;
    pb->templates = lost->templates;
    pb->undecodable = lost->undecodable;
    pb->socket_drops = lost->socket_drops;
    pb->spool = lost->spool;
    return pb;
}

static void put_keys(struct writer *writer, Weir__V1__GroupRows *pb, const struct weir_answer_row *rows, size_t count)
{
    const struct weir_answer *answer = writer->answer;
    ProtobufCBinaryData *keys = piece(writer, answer->dim_count, sizeof *keys);
    if (keys == NULL) return;
    for (uint32_t d = 0; d < answer->dim_count; d++) {
        const struct weir_dim_info *dim = &weir_dims[answer->dims[d]];
        uint8_t *at = piece(writer, count, dim->width);
        if (at == NULL) return;
        keys[d] = (ProtobufCBinaryData){.len = count * dim->width, .data = at};
        for (size_t i = 0; i < count; i++, at += dim->width) {
            union weir_value value = rows[i].key[d];
            if (dim->type == WEIR_DIM_TYPE_TEXT) value.number = name_of(writer, value.number);
            memcpy(at, value.bytes, dim->width); /* numbers are little-endian in memory */
        }
    }
    pb->keys = keys;
    pb->n_keys = answer->dim_count;
}

/* A packed column of one member of the rows; left out when @unless holds for all of them. */
#define PUT_COLUMN(writer, pb, column, type, member, unless)   \
    do {                                                       \
        type *values = piece(writer, count, sizeof *values);   \
        bool needed = false;                                   \
        for (size_t i = 0; values != NULL && i < count; i++) { \
            values[i] = rows[i].member;                        \
            needed = needed || !(unless);                      \
        }                                                      \
        (pb)->column = values;                                 \
        (pb)->n_##column = needed ? count : 0;                 \
    } while (0)

static void put_groups(struct writer *writer, size_t from, size_t count)
{
    const struct weir_answer_row *rows = writer->answer->rows + from;
    Weir__V1__GroupRows *pb = piece(writer, 1, sizeof *pb);
    if (pb == NULL) return;
    weir__v1__group_rows__init(pb);
    pb->count = (uint32_t)count;
    put_keys(writer, pb, rows, count);
    PUT_COLUMN(writer, pb, times, int64_t, time_ms, rows[i].time_ms == 0);
    PUT_COLUMN(writer, pb, flows, uint64_t, counts.flows, rows[i].counts.flows == 0);
    PUT_COLUMN(writer, pb, packets, uint64_t, counts.packets, rows[i].counts.packets == 0);
    PUT_COLUMN(writer, pb, bytes, uint64_t, counts.bytes, rows[i].counts.bytes == 0);
    PUT_COLUMN(writer, pb, scaled_packets, uint64_t, counts.scaled_packets,
               rows[i].counts.scaled_packets == rows[i].counts.packets);
    PUT_COLUMN(writer, pb, scaled_bytes, uint64_t, counts.scaled_bytes,
               rows[i].counts.scaled_bytes == rows[i].counts.bytes);
    PUT_COLUMN(writer, pb, packets_variance, double, counts.packets_variance, rows[i].counts.packets_variance == 0);
    PUT_COLUMN(writer, pb, bytes_variance, double, counts.bytes_variance, rows[i].counts.bytes_variance == 0);
    writer->body.groups = pb;
}

static void put_flow_columns(struct writer *writer, Weir__V1__FlowRows *pb, const struct weir_answer_flow *rows,
                             size_t count)
{
    static const uint8_t zero[sizeof(struct weir_ip)];
    Weir__V1__FlowColumn *columns = piece(writer, WEIR_FIELD_COUNT, sizeof *columns);
    pb->columns = piece(writer, WEIR_FIELD_COUNT, sizeof *pb->columns);
    if (columns == NULL || pb->columns == NULL) return;
    for (int f = 0; f < WEIR_FIELD_COUNT; f++) {
        uint8_t width = weir_fields[f].width;
        bool present = false;
        for (size_t i = 0; i < count && !present; i++)
            present = memcmp((const uint8_t *)&rows[i].flow + weir_fields[f].at, zero, width) != 0;
        if (!present) continue;
        uint8_t *data = piece(writer, count, width);
        if (data == NULL) return;
        for (size_t i = 0; i < count; i++)
            memcpy(data + i * width, (const uint8_t *)&rows[i].flow + weir_fields[f].at, width);
        Weir__V1__FlowColumn *column = &columns[pb->n_columns];
        weir__v1__flow_column__init(column);
        column->ie = weir_fields[f].ie;
        column->width = width;
        column->data = (ProtobufCBinaryData){.len = count * width, .data = data};
        pb->columns[pb->n_columns++] = column;
    }
}

static void put_flow_extras(struct writer *writer, Weir__V1__FlowRows *pb, const struct weir_answer_flow *rows,
                            size_t count)
{
    bool present = false;
    for (size_t i = 0; i < count && !present; i++)
        present = rows[i].extras.size > 0;
    if (!present) return;
    ProtobufCBinaryData *extras = piece(writer, count, sizeof *extras);
    if (extras == NULL) return;
    for (size_t i = 0; i < count; i++) {
        extras[i].len = rows[i].extras.size;
        extras[i].data = (uint8_t *)(uintptr_t)rows[i].extras.data;
    }
    pb->extras = extras;
    pb->n_extras = count;
}

static void put_flows(struct writer *writer, size_t from, size_t count)
{
    const struct weir_answer_flow *rows = writer->answer->flows + from;
    Weir__V1__FlowRows *pb = piece(writer, 1, sizeof *pb);
    uint8_t *exporters = piece(writer, count, sizeof rows->source.exporter);
    uint32_t *sites = piece(writer, count, sizeof *sites);
    if (pb == NULL || exporters == NULL || sites == NULL) return;
    weir__v1__flow_rows__init(pb);
    pb->count = (uint32_t)count;
    PUT_COLUMN(writer, pb, times, int64_t, place.time_ms, false);
    PUT_COLUMN(writer, pb, shards, uint32_t, place.shard, false);
    PUT_COLUMN(writer, pb, blocks, uint64_t, place.block, false);
    PUT_COLUMN(writer, pb, rows, uint32_t, place.row, false);
    PUT_COLUMN(writer, pb, domains, uint32_t, source.domain, false);
    PUT_COLUMN(writer, pb, protocols, uint32_t, protocol, false);
    for (size_t i = 0; i < count; i++) {
        memcpy(exporters + i * sizeof rows->source.exporter, &rows[i].source.exporter, sizeof rows->source.exporter);
        sites[i] = name_of(writer, rows[i].site);
    }
    pb->exporters = (ProtobufCBinaryData){.len = count * sizeof rows->source.exporter, .data = exporters};
    pb->sites = sites;
    pb->n_sites = count;
    put_flow_columns(writer, pb, rows, count);
    put_flow_extras(writer, pb, rows, count);
    writer->body.flows = pb;
}

static void put_exporters(struct writer *writer, size_t from, size_t count)
{
    Weir__V1__ExporterRow *rows = piece(writer, count, sizeof *rows);
    Weir__V1__Lost *losses = piece(writer, count, sizeof *losses);
    struct weir_ip *addresses = piece(writer, count, sizeof *addresses);
    Weir__V1__ExporterRow **pointers = piece(writer, count, sizeof(Weir__V1__ExporterRow *));
    if (rows == NULL || losses == NULL || addresses == NULL || pointers == NULL) return;
    for (size_t i = 0; i < count; i++) {
        const struct weir_answer_exporter *row = &writer->answer->exporters[from + i];
        Weir__V1__ExporterRow *pb = pointers[i] = &rows[i];
        weir__v1__exporter_row__init(pb);
        addresses[i] = row->source.exporter;
        pb->exporter = (ProtobufCBinaryData){.len = sizeof addresses[i], .data = addresses[i].bytes};
        pb->domain = row->source.domain;
        pb->protocol = row->protocol;
        pb->site = name_of(writer, row->site);
        pb->agent = name_of(writer, row->agent);
        pb->batches = row->batches;
        pb->flows = row->flows;
        pb->packets = row->packets;
        pb->bytes = row->bytes;
        pb->lost = put_lost(&row->lost, &losses[i]);
        pb->sampling_one_in = row->sampling_one_in;
        pb->sampling_origin = row->sampling_origin;
        pb->first_heard_ms = row->first_heard_ms;
        pb->last_heard_ms = row->last_heard_ms;
        pb->last_export_ms = row->last_export_ms;
        pb->last_flows_ms = row->last_flows_ms;
        pb->templates = row->health.templates;
        pb->waiting = row->health.waiting;
        pb->skew_ms = row->health.skew_ms;
        pb->has_skew = row->health.has_skew;
    }
    writer->body.exporters = pointers;
    writer->body.n_exporters = count;
}

static void put_drops(struct writer *writer, size_t from, size_t count)
{
    Weir__V1__DropRow *rows = piece(writer, count, sizeof *rows);
    struct weir_answer_drop *copies = piece(writer, count, sizeof *copies);
    Weir__V1__DropRow **pointers = piece(writer, count, sizeof(Weir__V1__DropRow *));
    if (rows == NULL || copies == NULL || pointers == NULL) return;
    for (size_t i = 0; i < count; i++) {
        struct weir_answer_drop *row = &copies[i];
        Weir__V1__DropRow *pb = pointers[i] = &rows[i];
        *row = writer->answer->drops[from + i];
        weir__v1__drop_row__init(pb);
        pb->exporter = (ProtobufCBinaryData){.len = sizeof row->source.exporter, .data = row->source.exporter.bytes};
        pb->domain = row->source.domain;
        pb->protocol = row->protocol;
        pb->site = name_of(writer, row->site);
        pb->agent = name_of(writer, row->agent);
        pb->reason = row->drop.reason;
        pb->count = row->drop.count;
        pb->first_ms = row->drop.first_ms;
        pb->last_ms = row->drop.last_ms;
        pb->example_ms = row->drop.example_ms;
        pb->bytes = row->drop.bytes;
        pb->head = (ProtobufCBinaryData){.len = row->drop.head_size, .data = row->drop.head};
    }
    writer->body.drops = pointers;
    writer->body.n_drops = count;
}

static void put_nodes(struct writer *writer, size_t from, size_t count)
{
    Weir__V1__NodeRow *rows = piece(writer, count, sizeof *rows);
    Weir__V1__NodeRow **pointers = piece(writer, count, sizeof(Weir__V1__NodeRow *));
    if (rows == NULL || pointers == NULL) return;
    for (size_t i = 0; i < count; i++) {
        const struct weir_answer_node *row = &writer->answer->nodes[from + i];
        Weir__V1__NodeRow *pb = pointers[i] = &rows[i];
        weir__v1__node_row__init(pb);
        pb->name = name_of(writer, row->name);
        pb->role = name_of(writer, row->role);
        pb->site = name_of(writer, row->site);
        pb->version = name_of(writer, row->version);
        pb->up = row->up;
        pb->state = name_of(writer, row->state);
        pb->started_ms = row->started_ms;
        pb->last_heard_ms = row->last_heard_ms;
        pb->shards = row->shards;
        pb->batches = row->batches;
        pb->flows = row->flows;
        pb->duplicates = row->duplicates;
        pb->refused = row->refused;
        pb->stored_bytes = row->stored_bytes;
        pb->disk_free_bytes = row->disk_free_bytes;
        pb->lag_ms = row->lag_ms;
        pb->spool_bytes = row->spool_bytes;
        pb->spool_oldest_ms = row->spool_oldest_ms;
    }
    writer->body.nodes = pointers;
    writer->body.n_nodes = count;
}

static void put_sources(struct writer *writer)
{
    size_t count = writer->answer->source_count;
    Weir__V1__SourceRow *rows = piece(writer, count, sizeof *rows);
    Weir__V1__SourceRow **pointers = piece(writer, count, sizeof(Weir__V1__SourceRow *));
    if (rows == NULL || pointers == NULL) return;
    for (size_t i = 0; i < count; i++) {
        const struct weir_answer_source *row = &writer->answer->sources[i];
        Weir__V1__SourceRow *pb = pointers[i] = &rows[i];
        weir__v1__source_row__init(pb);
        pb->name = name_of(writer, row->name);
        pb->ok = row->ok;
        pb->reason = name_of(writer, row->reason);
        pb->shards_asked = row->shards_asked;
        pb->shards_answered = row->shards_answered;
        pb->scanned = row->scanned;
        pb->asof_ms = row->asof_ms;
        pb->elapsed_ms = row->elapsed_ms;
    }
    writer->body.sources = pointers;
    writer->body.n_sources = count;
}

/** What is said once, in the last chunk. */
static void put_whole(struct writer *writer)
{
    const struct weir_answer *answer = writer->answer;
    Weir__V1__Counts *counts = piece(writer, 2, sizeof *counts);
    Weir__V1__Coverage *coverage = piece(writer, 1, sizeof *coverage);
    Weir__V1__Lost *lost = piece(writer, 1, sizeof *lost);
    if (counts == NULL || coverage == NULL || lost == NULL) return;
    put_counts(&answer->total, &counts[0]);
    put_counts(&answer->other, &counts[1]);
    weir__v1__coverage__init(coverage);
    coverage->tier = answer->coverage.tier;
    coverage->sampled = answer->coverage.sampled;
    coverage->sampling_unknown = answer->coverage.sampling_unknown;
    coverage->behind = answer->coverage.behind;
    coverage->clipped = answer->coverage.clipped;
    coverage->from_ms = answer->coverage.from_ms;
    coverage->to_ms = answer->coverage.to_ms;
    coverage->lost = put_lost(&answer->coverage.lost, lost);
    writer->body.total = &counts[0];
    writer->body.other = &counts[1];
    writer->body.coverage = coverage;
    writer->body.error_bound = answer->error_bound;
    writer->body.more_flows = answer->more;
    put_sources(writer);
}

static int emit(struct writer *writer, struct weir_answer_header *header, struct weir_buf *buf,
                weir_answer_chunk_fn *chunk, void *ctx)
{
    uint32_t dims[WEIR_QUESTION_DIMS_MOST];
    for (uint32_t d = 0; d < writer->answer->dim_count; d++)
        dims[d] = weir_dims[writer->answer->dims[d]].number;
    writer->body.shape = writer->answer->shape;
    writer->body.dims = dims;
    writer->body.n_dims = writer->answer->dim_count;
    writer->body.names = writer->names + 1;
    writer->body.n_names = writer->name_count - 1;
    if (writer->failed) return WEIR_ENOMEM;

    weir_buf_clear(buf);
    int rc = weir_answer_header_encode(header, buf);
    if (rc < 0) return rc;
    size_t header_size = buf->size;
    size_t size = weir__v1__answer_body__get_packed_size(&writer->body);
    uint8_t *at = weir_buf_reserve(buf, size);
    if (at == NULL) return WEIR_ENOMEM;
    weir_buf_commit(buf, weir__v1__answer_body__pack(&writer->body, at));
    header->index++;
    return chunk(ctx, weir_view_of(buf->data, header_size), weir_view_of(buf->data + header_size, size));
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t groups_in_chunk(const struct weir_answer *answer, size_t from)
{
    return least(GROUPS_PER_CHUNK, answer->row_count - from);
}

/** Fewer where extra columns are long. */
static size_t flows_in_chunk(const struct weir_answer *answer, size_t from)
{
    size_t most = least(FLOWS_PER_CHUNK, answer->flow_count - from);
    size_t bytes = 0;
    for (size_t i = 0; i < most; i++) {
        bytes += answer->flows[from + i].extras.size;
        if (i > 0 && bytes > EXTRA_BYTES_PER_CHUNK) return i;
    }
    return most;
}

static size_t exporters_in_chunk(const struct weir_answer *answer, size_t from)
{
    return least(EXPORTERS_PER_CHUNK, answer->exporter_count - from);
}

static size_t drops_in_chunk(const struct weir_answer *answer, size_t from)
{
    return least(DROPS_PER_CHUNK, answer->drop_count - from);
}

static size_t nodes_in_chunk(const struct weir_answer *answer, size_t from)
{
    return least(NODES_PER_CHUNK, answer->node_count - from);
}

int weir_answer_encode(const struct weir_answer *answer, uint64_t id, const char *node, weir_answer_chunk_fn *chunk,
                       void *ctx)
{
    assert(answer->groups.count == 0); /* ranked */
    struct writer writer = {.answer = answer, .name_capacity = 16};
    struct weir_answer_header header = {.id = id};
    memcpy(header.node, node, strnlen(node, sizeof header.node - 1));
    struct weir_buf buf = WEIR_BUF_INIT;
    int rc = WEIR_ENOMEM;
    writer.renumbered = weir_calloc((size_t)answer->names.count + 1, sizeof *writer.renumbered);
    writer.names = weir_calloc(writer.name_capacity, sizeof *writer.names);
    if (writer.renumbered == NULL || writer.names == NULL) goto done;

    const struct {
        size_t count;
        size_t (*in_chunk)(const struct weir_answer *answer, size_t from);
        void (*put)(struct writer *writer, size_t from, size_t count);
    } kinds[] = {{answer->row_count, groups_in_chunk, put_groups},
                 {answer->flow_count, flows_in_chunk, put_flows},
                 {answer->exporter_count, exporters_in_chunk, put_exporters},
                 {answer->drop_count, drops_in_chunk, put_drops},
                 {answer->node_count, nodes_in_chunk, put_nodes}};
    forget_chunk(&writer);
    header.more = true;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        for (size_t from = 0; from < kinds[k].count;) {
            size_t count = kinds[k].in_chunk(answer, from);
            kinds[k].put(&writer, from, count);
            from += count;
            rc = emit(&writer, &header, &buf, chunk, ctx);
            if (rc < 0) goto done;
            forget_chunk(&writer);
        }
    }
    put_whole(&writer);
    header.more = false;
    rc = emit(&writer, &header, &buf, chunk, ctx);
done:
    if (writer.names != NULL && writer.renumbered != NULL) forget_chunk(&writer);
    weir_free(writer.names);
    weir_free(writer.renumbered);
    weir_buf_fini(&buf);
    return rc < 0 ? rc : 0;
}

/* ---- decode ---- */

/** A chunk being read: its names as numbers of the answer it goes into. */
struct reader {
    const Weir__V1__AnswerBody *body;
    struct weir_answer *into;
    uint32_t *names; /* [0] is 0 */
};

static bool name_at(const struct reader *reader, uint64_t index, uint32_t *ret)
{
    if (index > reader->body->n_names) return false;
    *ret = reader->names[index];
    return true;
}

static int take_names(struct reader *reader)
{
    for (size_t i = 0; i < reader->body->n_names; i++) {
        const char *name = reader->body->names[i];
        if (strlen(name) > NAME_BYTES_MOST) return WEIR_EFORMAT;
        int64_t index = weir_answer_name(reader->into, name);
        if (index < 0) return (int)index;
        reader->names[i + 1] = (uint32_t)index;
    }
    return 0;
}

static bool is_sum(double variance)
{
    return isfinite(variance) && variance >= 0;
}

static int take_counts(const Weir__V1__Counts *pb, struct weir_counts *into)
{
    if (pb == NULL) return 0;
    if (!is_sum(pb->packets_variance) || !is_sum(pb->bytes_variance)) return WEIR_EFORMAT;
    struct weir_counts counts = {.flows = pb->flows,
                                 .packets = pb->packets,
                                 .bytes = pb->bytes,
                                 .scaled_packets = pb->scaled_packets,
                                 .scaled_bytes = pb->scaled_bytes,
                                 .packets_variance = pb->packets_variance,
                                 .bytes_variance = pb->bytes_variance};
    weir_counts_add(into, &counts);
    return 0;
}

static void take_lost(const Weir__V1__Lost *pb, struct weir_lost *into)
{
    if (pb == NULL) return;
    into->sequence += pb->sequence;
    into->templates += pb->templates;
    into->undecodable += pb->undecodable;
    into->socket_drops += pb->socket_drops;
    into->spool += pb->spool;
}

/** The key of row @row. */
static bool key_of(const struct reader *reader, const Weir__V1__GroupRows *pb, size_t row,
                   union weir_value key[WEIR_QUESTION_DIMS_MOST])
{
    for (uint32_t d = 0; d < reader->into->dim_count; d++) {
        const struct weir_dim_info *dim = &weir_dims[reader->into->dims[d]];
        memcpy(key[d].bytes, pb->keys[d].data + row * dim->width, dim->width);
        if (dim->type != WEIR_DIM_TYPE_TEXT) continue;
        uint32_t name;
        if (!name_at(reader, key[d].number, &name)) return false;
        key[d].number = name;
    }
    return true;
}

/** A column is there for every row, or left out. */
#define HAS_COLUMN(pb, column)            ((pb)->n_##column == 0 || (pb)->n_##column == (pb)->count)
#define VALUE(pb, column, row, otherwise) ((pb)->n_##column == 0 ? (otherwise) : (pb)->column[row])

static bool groups_are_sound(const struct reader *reader, const Weir__V1__GroupRows *pb)
{
    if (pb->count > WEIR_CHUNK_BYTES_MOST || pb->n_keys != reader->into->dim_count) return false;
    for (uint32_t d = 0; d < reader->into->dim_count; d++) {
        if (pb->keys[d].len != (size_t)pb->count * weir_dims[reader->into->dims[d]].width) return false;
    }
    for (size_t i = 0; i < pb->n_packets_variance; i++) {
        if (!is_sum(pb->packets_variance[i])) return false;
    }
    for (size_t i = 0; i < pb->n_bytes_variance; i++) {
        if (!is_sum(pb->bytes_variance[i])) return false;
    }
    return HAS_COLUMN(pb, times) && HAS_COLUMN(pb, flows) && HAS_COLUMN(pb, packets) && HAS_COLUMN(pb, bytes) &&
           HAS_COLUMN(pb, scaled_packets) && HAS_COLUMN(pb, scaled_bytes) && HAS_COLUMN(pb, packets_variance) &&
           HAS_COLUMN(pb, bytes_variance);
}

static int take_groups(struct reader *reader)
{
    const Weir__V1__GroupRows *pb = reader->body->groups;
    if (pb == NULL) return 0;
    if (!groups_are_sound(reader, pb)) return WEIR_EFORMAT;
    for (size_t row = 0; row < pb->count; row++) {
        union weir_value key[WEIR_QUESTION_DIMS_MOST] = {{.bytes = {0}}};
        if (!key_of(reader, pb, row, key)) return WEIR_EFORMAT;
        struct weir_counts counts = {.flows = VALUE(pb, flows, row, 0),
                                     .packets = VALUE(pb, packets, row, 0),
                                     .bytes = VALUE(pb, bytes, row, 0),
                                     .packets_variance = VALUE(pb, packets_variance, row, 0),
                                     .bytes_variance = VALUE(pb, bytes_variance, row, 0)};
        counts.scaled_packets = VALUE(pb, scaled_packets, row, counts.packets);
        counts.scaled_bytes = VALUE(pb, scaled_bytes, row, counts.bytes);
        int rc = weir_answer_add(reader->into, key, VALUE(pb, times, row, 0), &counts);
        if (rc < 0) return rc;
    }
    return 0;
}

static bool flows_are_sound(const Weir__V1__FlowRows *pb)
{
    size_t count = pb->count;
    if (count > WEIR_CHUNK_BYTES_MOST) return false;
    if (pb->n_times != count || pb->n_shards != count || pb->n_blocks != count || pb->n_rows != count) return false;
    if (pb->n_domains != count || pb->n_protocols != count || pb->n_sites != count) return false;
    if (pb->exporters.len != count * sizeof(struct weir_ip)) return false;
    if (pb->n_extras != 0 && pb->n_extras != count) return false;
    for (size_t i = 0; i < pb->n_extras; i++) {
        struct weir_cursor c = weir_cursor_of(weir_view_of(pb->extras[i].data, pb->extras[i].len));
        struct weir_extra_value value;
        int rc = pb->extras[i].len > WEIR_EXTRA_ROW_MOST ? WEIR_EFORMAT : 1;
        while (rc > 0)
            rc = weir_extra_next(&c, &value);
        if (rc < 0) return false;
    }
    for (size_t i = 0; i < pb->n_columns; i++) {
        int field = weir_field_of_ie(pb->columns[i]->ie <= UINT16_MAX ? (uint16_t)pb->columns[i]->ie : 0);
        if (field < 0) continue; /* one that a newer build has */
        if (pb->columns[i]->width != weir_fields[field].width) return false;
        if (pb->columns[i]->data.len != count * weir_fields[field].width) return false;
    }
    return true;
}

static int take_flows(struct reader *reader)
{
    const Weir__V1__FlowRows *pb = reader->body->flows;
    if (pb == NULL) return 0;
    if (!flows_are_sound(pb)) return WEIR_EFORMAT;
    for (size_t row = 0; row < pb->count; row++) {
        struct weir_answer_flow flow = {.place = {.time_ms = pb->times[row],
                                                  .shard = pb->shards[row],
                                                  .block = pb->blocks[row],
                                                  .row = pb->rows[row]},
                                        .source = {.domain = pb->domains[row]},
                                        .protocol = (enum weir_protocol)(pb->protocols[row] & 0xff)};
        memcpy(&flow.source.exporter, pb->exporters.data + row * sizeof flow.source.exporter,
               sizeof flow.source.exporter);
        if (!name_at(reader, pb->sites[row], &flow.site)) return WEIR_EFORMAT;
        for (size_t c = 0; c < pb->n_columns; c++) {
            int field = weir_field_of_ie(pb->columns[c]->ie <= UINT16_MAX ? (uint16_t)pb->columns[c]->ie : 0);
            if (field < 0) continue;
            uint8_t width = weir_fields[field].width;
            memcpy((uint8_t *)&flow.flow + weir_fields[field].at, pb->columns[c]->data.data + row * width, width);
        }
        if (pb->n_extras > 0) flow.extras = weir_view_of(pb->extras[row].data, pb->extras[row].len);
        int rc = weir_answer_add_flow(reader->into, &flow);
        if (rc < 0) return rc;
    }
    return 0;
}

static int take_exporters(struct reader *reader)
{
    for (size_t i = 0; i < reader->body->n_exporters; i++) {
        const Weir__V1__ExporterRow *pb = reader->body->exporters[i];
        struct weir_answer_exporter row = {
            .source = {.domain = pb->domain},
            .protocol = (enum weir_protocol)(pb->protocol & 0xff),
            .batches = pb->batches,
            .flows = pb->flows,
            .packets = pb->packets,
            .bytes = pb->bytes,
            .sampling_one_in = pb->sampling_one_in,
            .sampling_origin = (uint8_t)pb->sampling_origin,
            .first_heard_ms = pb->first_heard_ms,
            .last_heard_ms = pb->last_heard_ms,
            .last_flows_ms = pb->last_flows_ms,
            .last_export_ms = pb->last_export_ms,
            .health = {
                .templates = pb->templates, .waiting = pb->waiting, .skew_ms = pb->skew_ms, .has_skew = pb->has_skew}};
        if (pb->exporter.len != sizeof row.source.exporter) return WEIR_EFORMAT;
        memcpy(&row.source.exporter, pb->exporter.data, sizeof row.source.exporter);
        if (!name_at(reader, pb->site, &row.site) || !name_at(reader, pb->agent, &row.agent)) return WEIR_EFORMAT;
        take_lost(pb->lost, &row.lost);
        int rc = weir_answer_add_exporter(reader->into, &row);
        if (rc < 0) return rc;
    }
    return 0;
}

static int take_drops(struct reader *reader)
{
    for (size_t i = 0; i < reader->body->n_drops; i++) {
        const Weir__V1__DropRow *pb = reader->body->drops[i];
        struct weir_answer_drop row = {.source = {.domain = pb->domain},
                                       .protocol = (enum weir_protocol)(pb->protocol & 0xff),
                                       .drop = {.reason = (enum weir_drop_reason)pb->reason,
                                                .count = pb->count,
                                                .first_ms = pb->first_ms,
                                                .last_ms = pb->last_ms,
                                                .example_ms = pb->example_ms,
                                                .bytes = pb->bytes,
                                                .head_size = (uint8_t)pb->head.len}};
        if (pb->exporter.len != sizeof row.source.exporter || pb->head.len > sizeof row.drop.head) return WEIR_EFORMAT;
        if (pb->reason == WEIR_DROP_NONE || pb->reason > WEIR_DROP_REASON_MOST) return WEIR_EFORMAT;
        memcpy(&row.source.exporter, pb->exporter.data, sizeof row.source.exporter);
        if (pb->head.len > 0) memcpy(row.drop.head, pb->head.data, pb->head.len);
        if (!name_at(reader, pb->site, &row.site) || !name_at(reader, pb->agent, &row.agent)) return WEIR_EFORMAT;
        int rc = weir_answer_add_drop(reader->into, &row);
        if (rc < 0) return rc;
    }
    return 0;
}

static int take_nodes(struct reader *reader)
{
    for (size_t i = 0; i < reader->body->n_nodes; i++) {
        const Weir__V1__NodeRow *pb = reader->body->nodes[i];
        struct weir_answer_node row = {.up = pb->up,
                                       .started_ms = pb->started_ms,
                                       .last_heard_ms = pb->last_heard_ms,
                                       .shards = pb->shards,
                                       .batches = pb->batches,
                                       .flows = pb->flows,
                                       .duplicates = pb->duplicates,
                                       .refused = pb->refused,
                                       .stored_bytes = pb->stored_bytes,
                                       .disk_free_bytes = pb->disk_free_bytes,
                                       .lag_ms = pb->lag_ms,
                                       .spool_bytes = pb->spool_bytes,
                                       .spool_oldest_ms = pb->spool_oldest_ms};
        if (!name_at(reader, pb->name, &row.name) || !name_at(reader, pb->role, &row.role) ||
            !name_at(reader, pb->site, &row.site) || !name_at(reader, pb->version, &row.version) ||
            !name_at(reader, pb->state, &row.state)) {
            return WEIR_EFORMAT;
        }
        int rc = weir_answer_add_node(reader->into, &row);
        if (rc < 0) return rc;
    }
    return 0;
}

static int take_sources(struct reader *reader)
{
    for (size_t i = 0; i < reader->body->n_sources; i++) {
        const Weir__V1__SourceRow *pb = reader->body->sources[i];
        struct weir_answer_source row = {.ok = pb->ok,
                                         .shards_asked = pb->shards_asked,
                                         .shards_answered = pb->shards_answered,
                                         .scanned = pb->scanned,
                                         .asof_ms = pb->asof_ms,
                                         .elapsed_ms = pb->elapsed_ms};
        if (pb->shards_asked > WEIR_SHARDS || pb->shards_answered > pb->shards_asked) return WEIR_EFORMAT;
        if (!name_at(reader, pb->name, &row.name) || !name_at(reader, pb->reason, &row.reason)) return WEIR_EFORMAT;
        int rc = weir_answer_add_source(reader->into, &row);
        if (rc < 0) return rc;
    }
    return 0;
}

static int take_coverage(struct reader *reader)
{
    const Weir__V1__Coverage *pb = reader->body->coverage;
    struct weir_coverage *into = &reader->into->coverage;
    if (pb == NULL) return 0;
    if (pb->tier > WEIR_TIER_1D) return WEIR_EFORMAT;
    struct weir_coverage coverage = {.tier = (enum weir_tier)pb->tier,
                                     .sampled = pb->sampled,
                                     .sampling_unknown = pb->sampling_unknown,
                                     .behind = pb->behind,
                                     .clipped = pb->clipped,
                                     .from_ms = pb->from_ms,
                                     .to_ms = pb->to_ms};
    take_lost(pb->lost, &coverage.lost);
    weir_coverage_merge(into, &coverage);
    return 0;
}

static bool is_of_question(const struct reader *reader)
{
    const Weir__V1__AnswerBody *pb = reader->body;
    if (pb->shape != (uint32_t)reader->into->shape || pb->n_dims != reader->into->dim_count) return false;
    for (uint32_t d = 0; d < reader->into->dim_count; d++) {
        if (pb->dims[d] != weir_dims[reader->into->dims[d]].number) return false;
    }
    return true;
}

int weir_answer_decode(struct weir_view body, struct weir_answer *into)
{
    if (body.size > WEIR_CHUNK_BYTES_MOST) return WEIR_ELIMIT;
    struct weir_proto_budget budget;
    ProtobufCMessage *unpacked = NULL;
    int rc = weir_proto_unpack_heap(&budget, &weir__v1__answer_body__descriptor, body, &unpacked);
    if (rc < 0) return rc;

    struct reader reader = {.body = (const Weir__V1__AnswerBody *)unpacked, .into = into};
    rc = WEIR_EFORMAT;
    if (!is_of_question(&reader)) goto done;
    reader.names = weir_calloc(reader.body->n_names + 1, sizeof *reader.names);
    rc = reader.names == NULL ? WEIR_ENOMEM : take_names(&reader);
    if (rc == 0) rc = take_groups(&reader);
    if (rc == 0) rc = take_flows(&reader);
    if (rc == 0) rc = take_exporters(&reader);
    if (rc == 0) rc = take_drops(&reader);
    if (rc == 0) rc = take_nodes(&reader);
    if (rc == 0) rc = take_sources(&reader);
    if (rc == 0) rc = take_counts(reader.body->total, &into->total);
    if (rc == 0) rc = take_counts(reader.body->other, &into->other);
    if (rc == 0) rc = take_coverage(&reader);
    if (rc == 0) {
        into->error_bound += reader.body->error_bound;
        into->more |= reader.body->more_flows != 0;
    }
done:
    weir_free(reader.names);
    protobuf_c_message_free_unpacked(unpacked, &budget.allocator);
    return rc;
}
