#include "common/flow/question.h"

#include "common/base/mem.h"

#include <string.h>
#include <strings.h>

enum { DEFAULT_LIMIT = 10, DEFAULT_DEADLINE_MS = 2000, DEADLINE_MOST_MS = 10 * 60 * 1000, FILTER_BYTES_MOST = 65536 };

static const int64_t TIME_MOST_MS = 253402300800000; /* the year 10000 */

static const struct {
    int value;
    const char *name;
} shapes[] = {{WEIR_SHAPE_TABLE, "table"},         {WEIR_SHAPE_SERIES, "series"}, {WEIR_SHAPE_FLOWS, "flows"},
              {WEIR_SHAPE_EXPORTERS, "exporters"}, {WEIR_SHAPE_NODES, "nodes"},   {WEIR_SHAPE_DROPS, "drops"}},
  metrics[] = {{WEIR_METRIC_OF_FLOWS, "flows"},
               {WEIR_METRIC_OF_PACKETS, "packets"},
               {WEIR_METRIC_OF_BYTES, "bytes"},
               {WEIR_METRIC_OF_PACKETS, "pps"},
               {WEIR_METRIC_OF_BYTES, "bps"}},
  tiers[] = {{WEIR_TIER_AUTO, "auto"},
             {WEIR_TIER_RAW, "raw"},
             {WEIR_TIER_1M, "1m"},
             {WEIR_TIER_1H, "1h"},
             {WEIR_TIER_1D, "1d"}};

#define NAME_IN(table, wanted)                                         \
    for (size_t i = 0; i < sizeof(table) / sizeof *(table); i++) {     \
        if ((table)[i].value == (int)(wanted)) return (table)[i].name; \
    }                                                                  \
    return "unknown"
#define VALUE_IN(table, wanted)                                                  \
    for (size_t i = 0; i < sizeof(table) / sizeof *(table); i++) {               \
        if (strcasecmp((table)[i].name, (wanted)) == 0) return (table)[i].value; \
    }                                                                            \
    return WEIR_ENOTFOUND

const char *weir_shape_name(enum weir_shape shape)
{
    NAME_IN(shapes, shape);
}

const char *weir_metric_name(enum weir_metric metric)
{
    NAME_IN(metrics, metric);
}

const char *weir_tier_name(enum weir_tier tier)
{
    NAME_IN(tiers, tier);
}

int weir_shape_of_name(const char *name)
{
    VALUE_IN(shapes, name);
}

int weir_metric_of_name(const char *name)
{
    VALUE_IN(metrics, name);
}

int weir_tier_of_name(const char *name)
{
    VALUE_IN(tiers, name);
}

void weir_question_init(struct weir_question *question)
{
    *question = (struct weir_question){.shape = WEIR_SHAPE_TABLE,
                                       .order = WEIR_METRIC_OF_BYTES,
                                       .limit = DEFAULT_LIMIT,
                                       .deadline_ms = DEFAULT_DEADLINE_MS};
    memset(question->shards, 0xff, sizeof question->shards);
}

void weir_question_fini(struct weir_question *question)
{
    weir_free(question->filter);
    weir_free(question->picks);
    for (uint32_t i = 0; i < question->pick_name_count; i++)
        weir_free(question->pick_names[i]);
    weir_free(question->pick_names);
    question->filter = NULL;
    question->picks = NULL;
    question->pick_names = NULL;
    question->pick_count = 0;
    question->pick_name_count = 0;
}

int weir_question_copy(struct weir_question *to, const struct weir_question *from)
{
    int rc = 0;
    *to = *from;
    to->filter = NULL;
    to->picks = NULL;
    to->pick_names = NULL;
    to->pick_count = 0;
    to->pick_name_count = 0;
    if (from->filter != NULL) rc = weir_question_set_filter(to, from->filter, strlen(from->filter));
    for (uint32_t i = 0; rc == 0 && i < from->pick_count; i++) {
        const char *names[WEIR_QUESTION_DIMS_MOST] = {0};
        for (uint32_t d = 0; d < from->dim_count; d++) {
            if (weir_dims[from->dims[d]].type == WEIR_DIM_TYPE_TEXT)
                names[d] = from->pick_names[from->picks[i][d].number];
        }
        rc = weir_question_pick(to, from->picks[i], names);
    }
    if (rc < 0) {
        weir_question_fini(to);
        weir_question_init(to);
    }
    return rc;
}

int weir_question_set_filter(struct weir_question *question, const char *text, size_t size)
{
    char *copy = weir_strndup(text, size);
    if (copy == NULL) return WEIR_ENOMEM;
    weir_free(question->filter);
    question->filter = copy;
    return 0;
}

/** Make room for one more entry in arrays that grow at powers of two. */
static int grow(void **array, uint32_t count, size_t size)
{
    if ((count & (count - 1)) != 0) return 0;
    void *bigger = weir_realloc(*array, (count == 0 ? 1 : 2 * (size_t)count) * size);
    if (bigger == NULL) return WEIR_ENOMEM;
    *array = bigger;
    return 0;
}

static int64_t pick_name(struct weir_question *question, const char *name)
{
    for (uint32_t i = 0; i < question->pick_name_count; i++) {
        if (strcmp(question->pick_names[i], name) == 0) return i;
    }
    void *names = question->pick_names;
    if (grow(&names, question->pick_name_count, sizeof *question->pick_names) < 0) return WEIR_ENOMEM;
    question->pick_names = names;
    char *copy = weir_strdup(name);
    if (copy == NULL) return WEIR_ENOMEM;
    question->pick_names[question->pick_name_count] = copy;
    return question->pick_name_count++;
}

int weir_question_pick(struct weir_question *question, const union weir_value key[WEIR_QUESTION_DIMS_MOST],
                       const char *const names[WEIR_QUESTION_DIMS_MOST])
{
    if (question->pick_count >= WEIR_QUESTION_LIMIT_MOST) return WEIR_ELIMIT;
    union weir_value picked[WEIR_QUESTION_DIMS_MOST] = {{.bytes = {0}}};
    for (uint32_t d = 0; d < question->dim_count; d++) {
        picked[d] = key[d];
        if (weir_dims[question->dims[d]].type != WEIR_DIM_TYPE_TEXT) continue;
        int64_t name = pick_name(question, names[d] == NULL ? "" : names[d]);
        if (name < 0) return (int)name;
        picked[d].number = (uint64_t)name;
    }
    void *picks = question->picks;
    if (grow(&picks, question->pick_count, sizeof *question->picks) < 0) return WEIR_ENOMEM;
    question->picks = picks;
    memcpy(question->picks[question->pick_count++], picked, sizeof picked);
    return 0;
}

static int check_dims(const struct weir_question *question, struct weir_why *why)
{
    if (question->dim_count > WEIR_QUESTION_DIMS_MOST) {
        return weir_why_set(why, WEIR_ELIMIT, "at most %d dimensions can be grouped by", WEIR_QUESTION_DIMS_MOST);
    }
    int eithers = 0;
    for (uint32_t i = 0; i < question->dim_count; i++) {
        enum weir_dim dim = question->dims[i];
        if (dim >= WEIR_DIM_COUNT) return weir_why_set(why, WEIR_EPARAM, "unknown dimension");
        for (uint32_t j = 0; j < i; j++) {
            if (question->dims[j] == dim) {
                return weir_why_set(why, WEIR_EPARAM, "%s is grouped by twice", weir_dims[dim].name);
            }
        }
        if (weir_dims[dim].origin == WEIR_DIM_EITHER && ++eithers > 1) {
            return weir_why_set(why, WEIR_EPARAM, "only one of ip and port can be grouped by: they count a flow twice");
        }
    }
    if (question->dim_count > 0 && question->shape != WEIR_SHAPE_TABLE && question->shape != WEIR_SHAPE_SERIES) {
        return weir_why_set(why, WEIR_EPARAM, "%s cannot be grouped", weir_shape_name(question->shape));
    }
    return 0;
}

static int check_step(const struct weir_question *question, struct weir_why *why)
{
    if (question->shape != WEIR_SHAPE_SERIES) {
        return question->step_ms == 0 ? 0 : weir_why_set(why, WEIR_EPARAM, "only a series has a step");
    }
    if (question->step_ms < 1000 || question->step_ms % 1000 != 0) {
        return weir_why_set(why, WEIR_EPARAM, "a series needs a step of whole seconds");
    }
    if ((question->to_ms - question->from_ms) / question->step_ms >= WEIR_QUESTION_STEPS_MOST) {
        return weir_why_set(why, WEIR_ELIMIT, "the step is so short that the series has more than %d steps",
                            WEIR_QUESTION_STEPS_MOST);
    }
    int64_t steps = (question->to_ms - question->from_ms) / question->step_ms + 2;
    if (question->dim_count > 0 && steps * question->limit > WEIR_QUESTION_CELLS_MOST) {
        return weir_why_set(why, WEIR_ELIMIT, "%lld steps of %u groups are more than %d values", (long long)steps,
                            question->limit, WEIR_QUESTION_CELLS_MOST);
    }
    return 0;
}

int weir_question_check(const struct weir_question *question, struct weir_why *why)
{
    if (question->shape < WEIR_SHAPE_TABLE || question->shape > WEIR_SHAPE_DROPS) {
        return weir_why_set(why, WEIR_EPARAM, "unknown shape");
    }
    if (question->order < WEIR_METRIC_OF_FLOWS || question->order > WEIR_METRIC_OF_BYTES) {
        return weir_why_set(why, WEIR_EPARAM, "unknown metric to order by");
    }
    if (question->tier > WEIR_TIER_1D) return weir_why_set(why, WEIR_EPARAM, "unknown tier");
    if (question->from_ms < 0 || question->to_ms > TIME_MOST_MS) {
        return weir_why_set(why, WEIR_EPARAM, "the time range is not between 1970 and 9999");
    }
    if (question->from_ms >= question->to_ms) {
        return weir_why_set(why, WEIR_EPARAM, "the time range ends before it begins");
    }
    if (question->limit < 1 || question->limit > WEIR_QUESTION_LIMIT_MOST) {
        return weir_why_set(why, WEIR_ELIMIT, "the limit must be between 1 and %d", WEIR_QUESTION_LIMIT_MOST);
    }
    if (question->deadline_ms < 1 || question->deadline_ms > DEADLINE_MOST_MS) {
        return weir_why_set(why, WEIR_ELIMIT, "the deadline must be between 1 ms and %d s", DEADLINE_MOST_MS / 1000);
    }
    if (question->has_cursor && question->shape != WEIR_SHAPE_FLOWS) {
        return weir_why_set(why, WEIR_EPARAM, "only flows can be continued from a cursor");
    }
    if (question->filter != NULL && strlen(question->filter) > FILTER_BYTES_MOST) {
        return weir_why_set(why, WEIR_ELIMIT, "the filter is longer than %d bytes", FILTER_BYTES_MOST);
    }
    if (question->pick_count > 0 && question->shape != WEIR_SHAPE_SERIES) {
        return weir_why_set(why, WEIR_EPARAM, "only a series picks groups");
    }
    int rc = check_dims(question, why);
    return rc < 0 ? rc : check_step(question, why);
}

uint64_t weir_question_dims(const struct weir_question *question)
{
    uint64_t dims = 0;
    for (uint32_t i = 0; i < question->dim_count; i++)
        dims |= WEIR_DIM_BIT(question->dims[i]);
    return dims;
}

bool weir_question_is_shard_local(const struct weir_question *question)
{
    uint64_t source = WEIR_DIM_BIT(WEIR_DIM_exporter) | WEIR_DIM_BIT(WEIR_DIM_domain);
    return (weir_question_dims(question) & source) == source;
}

uint32_t weir_question_partial_limit(const struct weir_question *question)
{
    uint32_t groups = question->limit * 5;
    return groups < 500 ? 500 : groups;
}

int weir_place_compare(const struct weir_place *a, const struct weir_place *b)
{
    if (a->time_ms != b->time_ms) return a->time_ms < b->time_ms ? -1 : 1;
    if (a->shard != b->shard) return a->shard < b->shard ? -1 : 1;
    if (a->block != b->block) return a->block < b->block ? -1 : 1;
    if (a->row != b->row) return a->row < b->row ? -1 : 1;
    return 0;
}
