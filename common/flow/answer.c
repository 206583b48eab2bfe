#include "common/flow/answer.h"

#include "common/base/hash.h"
#include "common/base/mem.h"

#include <math.h>
#include <stdlib.h>

/* A group's key in the table: its values, then the time of its step. */
enum { KEY_MOST = WEIR_QUESTION_DIMS_MOST * sizeof(union weir_value) + sizeof(int64_t) };

static size_t values_size(const struct weir_answer *answer)
{
    return answer->dim_count * sizeof(union weir_value);
}

static size_t pack_key(const struct weir_answer *answer, const union weir_value *key, int64_t time_ms,
                       uint8_t out[KEY_MOST])
{
    size_t size = values_size(answer);
    memcpy(out, key, size);
    memcpy(out + size, &time_ms, sizeof time_ms);
    return size + sizeof time_ms;
}

/* ---- names ---- */

struct name_key {
    uint8_t hash[16];
};

int64_t weir_answer_name(struct weir_answer *answer, const char *name)
{
    struct weir_names *names = &answer->names;
    if (*name == '\0') return 0;
    struct name_key key;
    weir_hash128(name, strlen(name), key.hash);
    uint64_t hash = weir_load_u64le(key.hash);
    uint32_t *known = weir_table_find(&names->index, &key, hash);
    if (known != NULL) return *known;
    if (names->count >= WEIR_NAMES_MOST) return WEIR_ELIMIT;

    if (names->count == names->capacity) {
        uint32_t capacity = names->capacity == 0 ? 16 : 2 * names->capacity;
        char **text = weir_realloc(names->text, capacity * sizeof *text);
        if (text == NULL) return WEIR_ENOMEM;
        names->text = text;
        names->capacity = capacity;
    }
    char *copy = weir_strdup(name);
    if (copy == NULL) return WEIR_ENOMEM;
    uint32_t *index = weir_table_add(&names->index, &key, hash, NULL);
    if (index == NULL) {
        weir_free(copy);
        return WEIR_ENOMEM;
    }
    names->text[names->count++] = copy;
    *index = names->count; /* 0 is "" */
    return names->count;
}

const char *weir_answer_name_at(const struct weir_answer *answer, uint32_t index)
{
    return index == 0 || index > answer->names.count ? "" : answer->names.text[index - 1];
}

/* ---- life ---- */

static int take_picks(struct weir_answer *answer, const struct weir_question *question)
{
    for (uint32_t i = 0; i < question->pick_count; i++) {
        union weir_value key[WEIR_QUESTION_DIMS_MOST];
        memcpy(key, question->picks[i], sizeof key);
        for (uint32_t d = 0; d < question->dim_count; d++) {
            if (weir_dims[question->dims[d]].type != WEIR_DIM_TYPE_TEXT) continue;
            int64_t name = weir_answer_name(answer, question->pick_names[key[d].number]);
            if (name < 0) return (int)name;
            key[d].number = (uint64_t)name;
        }
        size_t size = values_size(answer);
        if (weir_table_add(&answer->picks, key, weir_hash64(key, size, 0), NULL) == NULL) return WEIR_ENOMEM;
    }
    return 0;
}

int weir_answer_init(struct weir_answer *answer, const struct weir_question *question)
{
    *answer = (struct weir_answer){.shape = question->shape,
                                   .dim_count = question->dim_count,
                                   .order = question->order,
                                   .ascending = question->ascending,
                                   .shard_local = weir_question_is_shard_local(question),
                                   .limit = question->limit,
                                   .step_ms = question->step_ms};
    memcpy(answer->dims, question->dims, sizeof answer->dims);
    weir_table_init(&answer->names.index, sizeof(struct name_key), sizeof(uint32_t));
    weir_table_init(&answer->groups, values_size(answer) + sizeof(int64_t), sizeof(struct weir_counts));
    weir_table_init(&answer->picks, values_size(answer) == 0 ? 1 : values_size(answer), 1);
    weir_table_init(&answer->exporter_index, sizeof(struct weir_source) + 3 * sizeof(uint32_t), sizeof(uint32_t));
    weir_table_init(&answer->drop_index, sizeof(struct weir_source) + 4 * sizeof(uint32_t), sizeof(uint32_t));
    weir_table_init(&answer->node_index, 2 * sizeof(uint32_t), sizeof(uint32_t));
    int rc = take_picks(answer, question);
    if (rc < 0) weir_answer_fini(answer);
    return rc;
}

static void forget_extras(struct weir_answer_flow *flow)
{
    weir_free((void *)(uintptr_t)flow->extras.data);
    flow->extras = (struct weir_view){0};
}

void weir_answer_fini(struct weir_answer *answer)
{
    for (uint32_t i = 0; i < answer->names.count; i++)
        weir_free(answer->names.text[i]);
    weir_free(answer->names.text);
    weir_table_fini(&answer->names.index);
    weir_table_fini(&answer->groups);
    weir_table_fini(&answer->picks);
    weir_table_fini(&answer->exporter_index);
    weir_table_fini(&answer->drop_index);
    weir_table_fini(&answer->node_index);
    weir_free(answer->rows);
    for (size_t i = 0; i < answer->flow_count; i++)
        forget_extras(&answer->flows[i]);
    weir_free(answer->flows);
    weir_free(answer->exporters);
    weir_free(answer->drops);
    weir_free(answer->nodes);
    weir_free(answer->sources);
    *answer = (struct weir_answer){0};
}

/* ---- counts ---- */

struct weir_counts weir_counts_of(uint64_t flows, uint64_t packets, uint64_t bytes, uint32_t sampling_one_in)
{
    struct weir_counts counts = {
        .flows = flows, .packets = packets, .bytes = bytes, .scaled_packets = packets, .scaled_bytes = bytes};
    if (sampling_one_in <= 1) return counts;
    double rate = sampling_one_in;
    counts.scaled_packets = packets * sampling_one_in;
    counts.scaled_bytes = bytes * sampling_one_in;
    counts.packets_variance = rate * (rate - 1) * (double)packets;
    if (packets > 0) {
        double mean = (double)bytes / (double)packets;
        counts.bytes_variance = rate * (rate - 1) * mean * mean * (double)packets;
    }
    return counts;
}

uint64_t weir_interval95(double variance)
{
    double half = 1.96 * sqrt(variance);
    return half < 1.8e19 ? (uint64_t)(half + 0.5) : UINT64_MAX;
}

/* ---- groups ---- */

static size_t groups_most(const struct weir_answer *answer)
{
    return answer->shape == WEIR_SHAPE_SERIES ? WEIR_QUESTION_CELLS_MOST : WEIR_QUESTION_GROUPS_MOST;
}

/** Rows go back into the table, so that more can be added to a ranked answer. */
static int unrank(struct weir_answer *answer)
{
    if (answer->rows == NULL) return 0;
    int rc = weir_table_reserve(&answer->groups, answer->row_count);
    if (rc < 0) return rc;
    for (size_t i = 0; i < answer->row_count; i++) {
        uint8_t key[KEY_MOST];
        size_t size = pack_key(answer, answer->rows[i].key, answer->rows[i].time_ms, key);
        struct weir_counts *counts = weir_table_add(&answer->groups, key, weir_hash64(key, size, 0), NULL);
        if (counts == NULL) return WEIR_ENOMEM; /* cannot be: room was reserved */
        *counts = answer->rows[i].counts;
    }
    weir_free(answer->rows);
    answer->rows = NULL;
    answer->row_count = 0;
    return 0;
}

static void add_to_other(struct weir_answer *answer, const struct weir_counts *counts)
{
    weir_counts_add(&answer->other, counts);
}

int weir_answer_add(struct weir_answer *answer, const union weir_value key[WEIR_QUESTION_DIMS_MOST], int64_t time_ms,
                    const struct weir_counts *counts)
{
    int rc = unrank(answer);
    if (rc < 0) return rc;
    if (answer->picks.count > 0 &&
        weir_table_find(&answer->picks, key, weir_hash64(key, values_size(answer), 0)) == NULL) {
        add_to_other(answer, counts);
        return 0;
    }
    uint8_t packed[KEY_MOST];
    size_t size = pack_key(answer, key, time_ms, packed);
    uint64_t hash = weir_hash64(packed, size, 0);
    struct weir_counts *group = answer->groups.count < groups_most(answer)
                                    ? weir_table_add(&answer->groups, packed, hash, NULL)
                                    : weir_table_find(&answer->groups, packed, hash);
    if (group != NULL) {
        weir_counts_add(group, counts);
        return 0;
    }
    if (answer->groups.count < groups_most(answer)) return WEIR_ENOMEM;
    add_to_other(answer, counts);
    answer->error_bound += weir_counts_metric(counts, answer->order);
    answer->coverage.clipped = true;
    return 0;
}

int weir_answer_count(struct weir_answer *answer, const union weir_value key[WEIR_QUESTION_DIMS_MOST], int64_t time_ms,
                      const struct weir_counts *counts)
{
    int rc = weir_answer_add(answer, key, time_ms, counts);
    if (rc == 0) weir_counts_add(&answer->total, counts);
    return rc;
}

/* ---- rows of other shapes ---- */

/** Room for one more entry of @size bytes, doubling. */
static int make_room(void **array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) return 0;
    size_t bigger = *capacity == 0 ? 16 : 2 * *capacity;
    void *moved = weir_realloc(*array, bigger * size);
    if (moved == NULL) return WEIR_ENOMEM;
    *array = moved;
    *capacity = bigger;
    return 0;
}

#define MAKE_ROOM(array, count, capacity)                                    \
    __extension__({                                                          \
        void *moved = (array);                                               \
        int made = make_room(&moved, (count), &(capacity), sizeof *(array)); \
        (array) = moved;                                                     \
        made;                                                                \
    })

/** Negative when @a comes before @b in the order of the answer. */
static int flow_order(const struct weir_answer *answer, const struct weir_place *a, const struct weir_place *b)
{
    int order = weir_place_compare(a, b);
    return answer->ascending ? order : -order;
}

/* Until they are ranked, the flows are a heap with the last of them on top: the one that gives way. */
static void sift_up(struct weir_answer *answer, size_t at)
{
    struct weir_answer_flow *flows = answer->flows;
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (flow_order(answer, &flows[parent].place, &flows[at].place) >= 0) return;
        struct weir_answer_flow swapped = flows[parent];
        flows[parent] = flows[at];
        flows[at] = swapped;
        at = parent;
    }
}

static void sift_down(struct weir_answer *answer, size_t at, size_t count)
{
    struct weir_answer_flow *flows = answer->flows;
    for (;;) {
        size_t last = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++) {
            if (flow_order(answer, &flows[last].place, &flows[child].place) < 0) last = child;
        }
        if (last == at) return;
        struct weir_answer_flow swapped = flows[last];
        flows[last] = flows[at];
        flows[at] = swapped;
        at = last;
    }
}

static void rank_flows(struct weir_answer *answer)
{
    if (answer->flows_ranked) return;
    for (size_t end = answer->flow_count; end > 1; end--) {
        struct weir_answer_flow swapped = answer->flows[0];
        answer->flows[0] = answer->flows[end - 1];
        answer->flows[end - 1] = swapped;
        sift_down(answer, 0, end - 1);
    }
    answer->flows_ranked = true;
}

/** An array in order, backwards, is a heap. */
static void unrank_flows(struct weir_answer *answer)
{
    if (!answer->flows_ranked) return;
    for (size_t i = 0; i < answer->flow_count / 2; i++) {
        struct weir_answer_flow swapped = answer->flows[i];
        answer->flows[i] = answer->flows[answer->flow_count - 1 - i];
        answer->flows[answer->flow_count - 1 - i] = swapped;
    }
    answer->flows_ranked = false;
}

bool weir_answer_wants_flow(const struct weir_answer *answer, const struct weir_place *place)
{
    if (answer->flow_count < answer->limit) return true;
    const struct weir_answer_flow *last = &answer->flows[answer->flows_ranked ? answer->flow_count - 1 : 0];
    return flow_order(answer, place, &last->place) < 0;
}

int weir_answer_add_flow(struct weir_answer *answer, const struct weir_answer_flow *flow)
{
    if (!weir_answer_wants_flow(answer, &flow->place)) {
        answer->more = true;
        return 0;
    }
    unrank_flows(answer);
    struct weir_answer_flow kept = *flow;
    if (flow->extras.size > 0) {
        uint8_t *copy = weir_malloc(flow->extras.size);
        if (copy == NULL) return WEIR_ENOMEM;
        memcpy(copy, flow->extras.data, flow->extras.size);
        kept.extras.data = copy;
    } else {
        kept.extras.data = NULL;
    }
    if (answer->flow_count == answer->limit) {
        forget_extras(&answer->flows[0]);
        answer->flows[0] = kept;
        sift_down(answer, 0, answer->flow_count);
        answer->more = true;
        return 0;
    }
    int rc = MAKE_ROOM(answer->flows, answer->flow_count, answer->flow_capacity);
    if (rc < 0) {
        forget_extras(&kept);
        return rc;
    }
    answer->flows[answer->flow_count] = kept;
    sift_up(answer, answer->flow_count++);
    return 0;
}

static void lost_add(struct weir_lost *to, const struct weir_lost *more)
{
    to->sequence += more->sequence;
    to->templates += more->templates;
    to->undecodable += more->undecodable;
    to->socket_drops += more->socket_drops;
    to->spool += more->spool;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static void sum_exporters(struct weir_answer_exporter *to, const struct weir_answer_exporter *more)
{
    to->batches += more->batches;
    to->flows += more->flows;
    to->packets += more->packets;
    to->bytes += more->bytes;
    lost_add(&to->lost, &more->lost);
    to->first_heard_ms = earlier(to->first_heard_ms, more->first_heard_ms);
    if (more->last_heard_ms > to->last_heard_ms) {
        to->last_heard_ms = more->last_heard_ms;
        to->last_export_ms = more->last_export_ms;
        to->health = more->health;
    }
    if (more->last_flows_ms > to->last_flows_ms) {
        to->last_flows_ms = more->last_flows_ms;
        to->sampling_one_in = more->sampling_one_in;
        to->sampling_origin = more->sampling_origin;
    }
}

/**
 * The position of the row with @key in an array of @count rows: an existing one, or @count when it is new (then it is
 * noted in the index). WEIR_ENOMEM.
 */
static int64_t position(struct weir_table *index, const void *key, size_t count)
{
    bool added;
    uint32_t *at = weir_table_add(index, key, weir_hash64(key, index->key_size, 0), &added);
    if (at == NULL) return WEIR_ENOMEM;
    if (added) *at = (uint32_t)count;
    return *at;
}

int weir_answer_add_exporter(struct weir_answer *answer, const struct weir_answer_exporter *exporter)
{
    struct {
        struct weir_source source;
        uint32_t protocol;
        uint32_t site;
        uint32_t agent;
    } key = {exporter->source, exporter->protocol, exporter->site, exporter->agent};
    int rc = MAKE_ROOM(answer->exporters, answer->exporter_count, answer->exporter_capacity);
    if (rc < 0) return rc;
    if (answer->exporter_count >= WEIR_ANSWER_EXPORTERS_MOST) {
        answer->coverage.clipped = true;
        return 0;
    }
    int64_t at = position(&answer->exporter_index, &key, answer->exporter_count);
    if (at < 0) return (int)at;
    if ((size_t)at < answer->exporter_count) {
        sum_exporters(&answer->exporters[at], exporter);
    } else {
        answer->exporters[answer->exporter_count++] = *exporter;
    }
    return 0;
}

int weir_answer_add_drop(struct weir_answer *answer, const struct weir_answer_drop *drop)
{
    struct {
        struct weir_source source;
        uint32_t protocol;
        uint32_t site;
        uint32_t agent;
        uint32_t reason;
    } key = {drop->source, drop->protocol, drop->site, drop->agent, drop->drop.reason};
    int rc = MAKE_ROOM(answer->drops, answer->drop_count, answer->drop_capacity);
    if (rc < 0) return rc;
    if (answer->drop_count >= WEIR_ANSWER_EXPORTERS_MOST) {
        answer->coverage.clipped = true;
        return 0;
    }
    int64_t at = position(&answer->drop_index, &key, answer->drop_count);
    if (at < 0) return (int)at;
    if ((size_t)at < answer->drop_count) {
        weir_drop_add(&answer->drops[at].drop, &drop->drop);
    } else {
        answer->drops[answer->drop_count++] = *drop;
    }
    return 0;
}

static void sum_nodes(struct weir_answer_node *to, const struct weir_answer_node *more)
{
    struct weir_answer_node sum = more->last_heard_ms > to->last_heard_ms ? *more : *to;
    sum.shards = to->shards + more->shards;
    sum.batches = to->batches + more->batches;
    sum.flows = to->flows + more->flows;
    sum.duplicates = to->duplicates + more->duplicates;
    sum.refused = to->refused + more->refused;
    sum.stored_bytes = to->stored_bytes + more->stored_bytes;
    *to = sum;
}

int weir_answer_add_node(struct weir_answer *answer, const struct weir_answer_node *node)
{
    uint32_t key[2] = {node->role, node->name};
    int rc = MAKE_ROOM(answer->nodes, answer->node_count, answer->node_capacity);
    if (rc < 0) return rc;
    if (answer->node_count >= WEIR_ANSWER_EXPORTERS_MOST) {
        answer->coverage.clipped = true;
        return 0;
    }
    int64_t at = position(&answer->node_index, key, answer->node_count);
    if (at < 0) return (int)at;
    if ((size_t)at < answer->node_count) {
        sum_nodes(&answer->nodes[at], node);
    } else {
        answer->nodes[answer->node_count++] = *node;
    }
    return 0;
}

int weir_answer_add_source(struct weir_answer *answer, const struct weir_answer_source *source)
{
    if (answer->source_count >= WEIR_ANSWER_EXPORTERS_MOST) {
        answer->coverage.clipped = true;
        return 0;
    }
    int rc = MAKE_ROOM(answer->sources, answer->source_count, answer->source_capacity);
    if (rc < 0) return rc;
    answer->sources[answer->source_count++] = *source;
    return 0;
}

/* ---- merge ---- */

/** The indices of all of @from's names in @into. */
static int map_names(struct weir_answer *into, const struct weir_answer *from, uint32_t **ret)
{
    uint32_t *map = weir_calloc((size_t)from->names.count + 1, sizeof *map);
    if (map == NULL) return WEIR_ENOMEM;
    for (uint32_t i = 1; i <= from->names.count; i++) {
        int64_t index = weir_answer_name(into, weir_answer_name_at(from, i));
        if (index < 0) {
            weir_free(map);
            return (int)index;
        }
        map[i] = (uint32_t)index;
    }
    *ret = map;
    return 0;
}

static uint32_t mapped(const struct weir_answer *from, const uint32_t *map, uint64_t name)
{
    return name <= from->names.count ? map[name] : 0;
}

static int merge_group(struct weir_answer *into, const struct weir_answer *from, const uint32_t *map,
                       const union weir_value *key, int64_t time_ms, const struct weir_counts *counts)
{
    union weir_value renamed[WEIR_QUESTION_DIMS_MOST] = {{.bytes = {0}}};
    memcpy(renamed, key, values_size(into));
    for (uint32_t d = 0; d < into->dim_count; d++) {
        if (weir_dims[into->dims[d]].type == WEIR_DIM_TYPE_TEXT) renamed[d].number = mapped(from, map, key[d].number);
    }
    return weir_answer_add(into, renamed, time_ms, counts);
}

static int merge_groups(struct weir_answer *into, const struct weir_answer *from, const uint32_t *map)
{
    for (size_t i = 0; i < from->row_count; i++) {
        const struct weir_answer_row *row = &from->rows[i];
        int rc = merge_group(into, from, map, row->key, row->time_ms, &row->counts);
        if (rc < 0) return rc;
    }
    size_t at = 0;
    void *counts;
    const uint8_t *packed;
    while ((packed = weir_table_next(&from->groups, &at, &counts)) != NULL) {
        union weir_value key[WEIR_QUESTION_DIMS_MOST] = {{.bytes = {0}}};
        int64_t time_ms;
        memcpy(key, packed, values_size(from));
        memcpy(&time_ms, packed + values_size(from), sizeof time_ms);
        int rc = merge_group(into, from, map, key, time_ms, counts);
        if (rc < 0) return rc;
    }
    return 0;
}

static int merge_others(struct weir_answer *into, const struct weir_answer *from, const uint32_t *map)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < from->flow_count; i++) {
        struct weir_answer_flow flow = from->flows[i];
        flow.site = mapped(from, map, flow.site);
        rc = weir_answer_add_flow(into, &flow);
    }
    for (size_t i = 0; rc == 0 && i < from->exporter_count; i++) {
        struct weir_answer_exporter exporter = from->exporters[i];
        exporter.site = mapped(from, map, exporter.site);
        exporter.agent = mapped(from, map, exporter.agent);
        rc = weir_answer_add_exporter(into, &exporter);
    }
    for (size_t i = 0; rc == 0 && i < from->drop_count; i++) {
        struct weir_answer_drop drop = from->drops[i];
        drop.site = mapped(from, map, drop.site);
        drop.agent = mapped(from, map, drop.agent);
        rc = weir_answer_add_drop(into, &drop);
    }
    for (size_t i = 0; rc == 0 && i < from->node_count; i++) {
        struct weir_answer_node node = from->nodes[i];
        node.name = mapped(from, map, node.name);
        node.role = mapped(from, map, node.role);
        node.site = mapped(from, map, node.site);
        node.version = mapped(from, map, node.version);
        node.state = mapped(from, map, node.state);
        rc = weir_answer_add_node(into, &node);
    }
    for (size_t i = 0; rc == 0 && i < from->source_count; i++) {
        struct weir_answer_source source = from->sources[i];
        source.name = mapped(from, map, source.name);
        source.reason = mapped(from, map, source.reason);
        rc = weir_answer_add_source(into, &source);
    }
    return rc;
}

void weir_coverage_merge(struct weir_coverage *into, const struct weir_coverage *from)
{
    if (from->tier > into->tier) into->tier = from->tier;
    into->sampled |= from->sampled;
    into->sampling_unknown |= from->sampling_unknown;
    into->behind |= from->behind;
    into->clipped |= from->clipped;
    into->from_ms = earlier(into->from_ms, from->from_ms);
    if (from->to_ms > into->to_ms) into->to_ms = from->to_ms;
    lost_add(&into->lost, &from->lost);
}

int weir_answer_merge(struct weir_answer *into, const struct weir_answer *from)
{
    if (from->shape != into->shape || from->dim_count != into->dim_count) return WEIR_EPARAM;
    if (memcmp(from->dims, into->dims, into->dim_count * sizeof *into->dims) != 0) return WEIR_EPARAM;

    uint32_t *map = NULL;
    int rc = map_names(into, from, &map);
    if (rc < 0) return rc;
    rc = merge_groups(into, from, map);
    if (rc == 0) rc = merge_others(into, from, map);
    weir_free(map);
    if (rc < 0) return rc;

    into->more |= from->more;
    into->error_bound += from->error_bound;
    weir_counts_add(&into->total, &from->total);
    weir_counts_add(&into->other, &from->other);
    weir_coverage_merge(&into->coverage, &from->coverage);
    return 0;
}

/* ---- rank ---- */

struct ranked {
    struct weir_answer_row row;
    uint64_t metric; /* of the group, over all its steps */
    uint32_t place;  /* of the group; UINT32_MAX when it is cut */
};

/** qsort has no context: these are sorted by what was written into them. Ties are broken by key, so that order is one. */
static int by_metric_down(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;
    if (x->metric != y->metric) return x->metric > y->metric ? -1 : 1;
    int order = memcmp(x->row.key, y->row.key, sizeof x->row.key);
    if (order != 0) return order;
    return x->row.time_ms < y->row.time_ms ? -1 : x->row.time_ms > y->row.time_ms;
}

static int by_metric_up(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;
    if (x->metric != y->metric) return x->metric < y->metric ? -1 : 1;
    return by_metric_down(a, b);
}

/** The sum of each group over its steps, written into all of them. */
static int sum_over_time(const struct weir_answer *answer, struct ranked *ranked, size_t count)
{
    struct weir_table sums;
    size_t size = sizeof ranked->row.key;
    weir_table_init(&sums, size, sizeof(uint64_t));
    int rc = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t *sum = weir_table_add(&sums, ranked[i].row.key, weir_hash64(ranked[i].row.key, size, 0), NULL);
        if (sum == NULL) {
            rc = WEIR_ENOMEM;
            break;
        }
        *sum += weir_counts_metric(&ranked[i].row.counts, answer->order);
    }
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const uint64_t *sum = weir_table_find(&sums, ranked[i].row.key, weir_hash64(ranked[i].row.key, size, 0));
        ranked[i].metric = sum == NULL ? 0 : *sum;
    }
    weir_table_fini(&sums);
    return rc;
}

/** Number the groups of sorted rows; returns how many rows lie in the first @groups. */
static size_t number_groups(struct ranked *ranked, size_t count, uint32_t groups)
{
    uint32_t group = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && memcmp(ranked[i].row.key, ranked[i - 1].row.key, sizeof ranked[i].row.key) != 0) group++;
        if (group >= groups) return i;
        ranked[i].place = group;
    }
    return count;
}

static int collect(struct weir_answer *answer, struct ranked **ret, size_t *ret_count)
{
    size_t count = answer->groups.count;
    struct ranked *ranked = weir_calloc(count == 0 ? 1 : count, sizeof *ranked);
    if (ranked == NULL) return WEIR_ENOMEM;
    size_t at = 0;
    void *counts;
    const uint8_t *packed;
    for (size_t i = 0; (packed = weir_table_next(&answer->groups, &at, &counts)) != NULL; i++) {
        struct weir_answer_row *row = &ranked[i].row;
        memcpy(row->key, packed, values_size(answer));
        memcpy(&row->time_ms, packed + values_size(answer), sizeof row->time_ms);
        memcpy(&row->counts, counts, sizeof row->counts);
        ranked[i].metric = weir_counts_metric(&row->counts, answer->order);
    }
    *ret = ranked;
    *ret_count = count;
    return 0;
}

int weir_answer_rank(struct weir_answer *answer, uint32_t groups, bool partial)
{
    rank_flows(answer);
    int rc = unrank(answer);
    if (rc < 0) return rc;
    struct ranked *ranked;
    size_t count;
    rc = collect(answer, &ranked, &count);
    if (rc < 0) return rc;
    if (answer->shape == WEIR_SHAPE_SERIES) rc = sum_over_time(answer, ranked, count);
    struct weir_answer_row *rows = rc < 0 ? NULL : weir_calloc(count == 0 ? 1 : count, sizeof *rows);
    if (rows == NULL) {
        weir_free(ranked);
        return WEIR_ENOMEM;
    }
    qsort(ranked, count, sizeof *ranked, answer->ascending ? by_metric_up : by_metric_down);
    size_t kept = partial && answer->ascending ? count : number_groups(ranked, count, groups);
    for (size_t i = 0; i < kept; i++)
        rows[i] = ranked[i].row;
    for (size_t i = kept; i < count; i++)
        weir_counts_add(&answer->other, &ranked[i].row.counts);
    if (partial && kept < count && !answer->shard_local) answer->error_bound += ranked[kept].metric;
    answer->rows = rows;
    answer->row_count = kept;
    weir_table_clear(&answer->groups);
    weir_free(ranked);
    return 0;
}

struct weir_shards_covered weir_answer_covered(const struct weir_answer *answer)
{
    struct weir_shards_covered covered = {0};
    bool unknown = false;
    for (size_t i = 0; i < answer->source_count; i++) {
        const struct weir_answer_source *source = &answer->sources[i];
        covered.asked += source->shards_asked;
        covered.answered += source->shards_answered;
        covered.scanned += source->scanned;
        if (!source->ok) continue;
        if (source->asof_ms == 0) unknown = true;
        covered.asof_ms = earlier(covered.asof_ms, source->asof_ms);
    }
    if (unknown) covered.asof_ms = 0;
    return covered;
}
