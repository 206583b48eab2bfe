#include "console/http/query.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/flow/timerange.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum {
    LIMIT_OF_TABLE = 10,
    LIMIT_OF_FLOWS = 100,
    LIMIT_OF_FLEET = 10000,
    STEPS_WANTED = 120,
    SITES_MOST = 64,
    CURSOR_VERSION = 1,
    CURSOR_BYTES = 49
};

static const int64_t DAY_MS = 86400000;

struct reading {
    const json_t *body;
    const struct console_query_rules *rules;
    struct console_query *query;
    struct console_fault *fault;
};

static bool fail(const struct reading *reading, const char *key, const char *what)
{
    char pointer[40];
    snprintf(pointer, sizeof pointer, "#/%s", key);
    return console_fault_set(reading->fault, CONSOLE_PROBLEM_BAD_PARAMETER, pointer, "%s: %s", key, what);
}

/* ---- simple values ---- */

/** A text, or NULL when the key is absent. */
static bool read_text(const struct reading *reading, const char *key, const char **ret)
{
    const json_t *value = json_object_get(reading->body, key);
    *ret = json_string_value(value);
    return value == NULL || *ret != NULL || fail(reading, key, "a text is expected");
}

/** A whole number, also as text (URL parameters are); @ret stays as it is when the key is absent. */
static bool number_of(const json_t *value, int64_t *ret)
{
    if (json_is_integer(value)) {
        *ret = json_integer_value(value);
        return true;
    }
    const char *text = json_string_value(value);
    if (text == NULL || *text < '0' || *text > '9' || strlen(text) > 15) return false;
    char *end;
    long long number = strtoll(text, &end, 10);
    *ret = number;
    return *end == '\0';
}

static bool read_number(const struct reading *reading, const char *key, int64_t least, int64_t most, int64_t *ret)
{
    const json_t *value = json_object_get(reading->body, key);
    if (value == NULL) return true;
    char what[80];
    snprintf(what, sizeof what, "a whole number from %lld to %lld is expected", (long long)least, (long long)most);
    if (!number_of(value, ret) || *ret < least || *ret > most) return fail(reading, key, what);
    return true;
}

static bool read_flag(const struct reading *reading, const char *key, bool *ret)
{
    const json_t *value = json_object_get(reading->body, key);
    const char *text = json_string_value(value);
    if (value == NULL) return true;
    if (json_is_boolean(value)) {
        *ret = json_is_true(value);
    } else if (text != NULL && (strcmp(text, "true") == 0 || strcmp(text, "1") == 0 || *text == '\0')) {
        *ret = true;
    } else if (text != NULL && (strcmp(text, "false") == 0 || strcmp(text, "0") == 0)) {
        *ret = false;
    } else {
        return fail(reading, key, "true or false is expected");
    }
    return true;
}

/** Call @take with each text of a list; also of "a,b" (URL parameters are). */
static bool each_text(const struct reading *reading, const char *key,
                      bool (*take)(const struct reading *reading, const char *key, const char *text))
{
    const json_t *value = json_object_get(reading->body, key);
    if (value == NULL) return true;
    if (json_is_string(value)) {
        char *copy = weir_strdup(json_string_value(value));
        if (copy == NULL) return fail(reading, key, "out of memory");
        bool good = true;
        char *rest = NULL;
        for (char *word = strtok_r(copy, ", ", &rest); good && word != NULL; word = strtok_r(NULL, ", ", &rest))
            good = take(reading, key, word);
        weir_free(copy);
        return good;
    }
    if (!json_is_array(value)) return fail(reading, key, "a list of texts is expected");
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *text = json_string_value(json_array_get(value, i));
        if (text == NULL) return fail(reading, key, "a list of texts is expected");
        if (!take(reading, key, text)) return false;
    }
    return true;
}

/* ---- keys of a question ---- */

static bool check_keys(const struct reading *reading)
{
    static const char *const known[] = {"shape", "time",   "filter", "group", "metrics", "order",   "limit", "step",
                                        "sites", "fields", "plain",  "tier",  "budget",  "partial", "cursor"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)reading->body, key, value)
    {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof *known && !found; i++)
            found = strcmp(known[i], key) == 0;
        if (!found) {
            char shown[32];
            snprintf(shown, sizeof shown, "%.31s", key);
            return fail(reading, shown, "there is no such key");
        }
    }
    return true;
}

static bool read_shape(const struct reading *reading, enum weir_shape shape)
{
    const char *text;
    reading->query->question.shape = shape != 0 ? shape : WEIR_SHAPE_TABLE;
    if (!read_text(reading, "shape", &text)) return false;
    if (text == NULL) return true;
    int named = weir_shape_of_name(text);
    if (shape != 0 || named < WEIR_SHAPE_TABLE || named > WEIR_SHAPE_FLOWS) {
        return fail(reading, "shape", "table, series or flows is expected");
    }
    reading->query->question.shape = (enum weir_shape)named;
    return true;
}

static bool fail_time(const struct reading *reading, const char *pointer, const char *text,
                      const struct weir_time_error *error)
{
    return console_fault_set(reading->fault, CONSOLE_PROBLEM_TIME_RANGE, pointer, "\"%.60s\": %s (column %zu)", text,
                             error->message, error->column);
}

static bool read_point(const struct reading *reading, const json_t *value, const char *pointer, int64_t *ret)
{
    const char *text = json_string_value(value);
    struct weir_time_error error = {0};
    if (value == NULL || number_of(value, ret)) return true;
    if (text == NULL) {
        return console_fault_set(reading->fault, CONSOLE_PROBLEM_TIME_RANGE, pointer,
                                 "a time is expected: RFC 3339, milliseconds since 1970, or like now-1h");
    }
    if (weir_timepoint_parse(text, reading->rules->now_ms, &weir_zone_utc, ret, &error) == 0) return true;
    return fail_time(reading, pointer, text, &error);
}

static bool read_time(const struct reading *reading)
{
    struct weir_question *question = &reading->query->question;
    int64_t now_ms = reading->rules->now_ms;
    bool fleet = question->shape >= WEIR_SHAPE_EXPORTERS;
    question->to_ms = now_ms;
    question->from_ms = now_ms - (fleet ? DAY_MS : DAY_MS / 24);
    const json_t *value = json_object_get(reading->body, "time");
    if (value == NULL) return true;

    const char *text = json_string_value(value);
    if (text != NULL) {
        struct weir_timerange range;
        struct weir_time_error error;
        if (weir_timerange_parse(text, now_ms, &weir_zone_utc, &range, &error) < 0) {
            return fail_time(reading, "#/time", text, &error);
        }
        question->from_ms = range.from_ms;
        question->to_ms = range.to_ms;
        return true;
    }
    if (!json_is_object(value)) return fail(reading, "time", "a range or {\"from\",\"to\"} is expected");
    if (!read_point(reading, json_object_get(value, "to"), "#/time/to", &question->to_ms)) return false;
    question->from_ms = question->to_ms - DAY_MS / 24;
    if (!read_point(reading, json_object_get(value, "from"), "#/time/from", &question->from_ms)) return false;
    if (question->from_ms < question->to_ms && question->from_ms >= 0) return true;
    return console_fault_set(reading->fault, CONSOLE_PROBLEM_TIME_RANGE, "#/time",
                             "the time range ends before it begins (from %lld to %lld)", (long long)question->from_ms,
                             (long long)question->to_ms);
}

static bool take_group(const struct reading *reading, const char *key, const char *text)
{
    struct weir_question *question = &reading->query->question;
    int dim = weir_dim_of_name(text);
    char what[120];
    if (dim < 0) {
        snprintf(what, sizeof what, "\"%.40s\" is no dimension; GET /api/v1/schema lists them", text);
        return fail(reading, key, what);
    }
    if (question->dim_count == WEIR_QUESTION_DIMS_MOST) return fail(reading, key, "at most 4 dimensions");
    question->dims[question->dim_count++] = (enum weir_dim)dim;
    return true;
}

static const struct {
    const char *name;
    uint32_t bit;
} metrics[] = {{"flows", CONSOLE_METRIC_FLOWS}, {"packets", CONSOLE_METRIC_PACKETS}, {"bytes", CONSOLE_METRIC_BYTES},
               {"bps", CONSOLE_METRIC_BPS},     {"pps", CONSOLE_METRIC_PPS},         {"bpp", CONSOLE_METRIC_BPP},
               {"share", CONSOLE_METRIC_SHARE}};

static bool take_metric(const struct reading *reading, const char *key, const char *text)
{
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++) {
        if (strcasecmp(metrics[i].name, text) != 0) continue;
        reading->query->metrics |= metrics[i].bit;
        return true;
    }
    return fail(reading, key, "flows, packets, bytes, bps, pps, bpp and share are known");
}

static bool read_metrics(const struct reading *reading)
{
    if (!each_text(reading, "metrics", take_metric)) return false;
    if (reading->query->metrics != 0) return true;
    reading->query->metrics =
        CONSOLE_METRIC_FLOWS | CONSOLE_METRIC_PACKETS | CONSOLE_METRIC_BYTES |
        (reading->query->question.shape == WEIR_SHAPE_SERIES ? CONSOLE_METRIC_BPS : CONSOLE_METRIC_SHARE);
    return true;
}

static bool read_order(const struct reading *reading)
{
    const char *text;
    struct weir_question *question = &reading->query->question;
    if (!read_text(reading, "order", &text)) return false;
    if (text == NULL) return true;
    char name[16];
    const char *colon = strchr(text, ':');
    size_t size = colon == NULL ? strlen(text) : (size_t)(colon - text);
    if (size < sizeof name) {
        memcpy(name, text, size);
        name[size] = '\0';
        int metric = weir_metric_of_name(name);
        bool by_time = question->shape == WEIR_SHAPE_FLOWS && (strcmp(name, "t_first") == 0 || metric > 0);
        bool good_end = colon == NULL || strcmp(colon, ":asc") == 0 || strcmp(colon, ":desc") == 0;
        if ((metric > 0 || by_time) && good_end) {
            question->ascending = colon != NULL && strcmp(colon, ":asc") == 0;
            if (metric > 0) question->order = (enum weir_metric)metric;
            return true;
        }
    }
    return fail(reading, "order", "bytes, packets or flows is expected, perhaps with :asc");
}

/** The step that makes about 120 of the range, of those that people know. */
static int64_t automatic_step(int64_t range_ms)
{
    static const int64_t minutes[] = {1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080, 43200};
    for (size_t i = 0; i < sizeof minutes / sizeof *minutes; i++) {
        if (range_ms / (minutes[i] * 60000) <= STEPS_WANTED) return minutes[i] * 60000;
    }
    return 525600ll * 60000;
}

static bool read_step(const struct reading *reading)
{
    struct weir_question *question = &reading->query->question;
    const json_t *value = json_object_get(reading->body, "step");
    const char *text = json_string_value(value);
    if (question->shape != WEIR_SHAPE_SERIES) {
        return value == NULL || fail(reading, "step", "only a series has one");
    }
    question->step_ms = automatic_step(question->to_ms - question->from_ms);
    if (value == NULL || (text != NULL && strcmp(text, "auto") == 0)) return true;
    if (number_of(value, &question->step_ms)) return true;
    struct weir_time_error error;
    if (text != NULL && weir_duration_parse(text, &question->step_ms, &error) == 0) return true;
    return fail(reading, "step", "a duration like 5m, milliseconds or auto is expected");
}

static const struct {
    const char *name;
    uint8_t field;
} own_fields[] = {{"t_first", CONSOLE_FIELD_T_FIRST},
                  {"t_last", CONSOLE_FIELD_T_LAST},
                  {"duration_ms", CONSOLE_FIELD_DURATION},
                  {"packets", CONSOLE_FIELD_FLOWS_PACKETS},
                  {"bytes", CONSOLE_FIELD_FLOWS_BYTES},
                  {"bps", CONSOLE_FIELD_BPS},
                  {"pps", CONSOLE_FIELD_PPS},
                  {"bpp", CONSOLE_FIELD_BPP}};

const char *console_field_name(uint8_t field)
{
    if (field >= CONSOLE_FIELD_DIM) return weir_dims[field - CONSOLE_FIELD_DIM].name;
    for (size_t i = 0; i < sizeof own_fields / sizeof *own_fields; i++) {
        if (own_fields[i].field == field) return own_fields[i].name;
    }
    return "unknown";
}

static bool take_extra(const struct reading *reading, const char *key, const char *name)
{
    struct console_query *query = reading->query;
    if (!weir_extra_name_is_valid(weir_view_text(name)))
        return fail(reading, key, "behind extra. there are 1 to 31 lower-case letters, digits and '_'");
    for (uint32_t i = 0; i < query->extra_count; i++) {
        if (strcmp(query->extras[i], name) == 0) return true;
    }
    if (query->extra_count == CONSOLE_EXTRAS_MOST) return fail(reading, key, "too many extra columns");
    memcpy(query->extras[query->extra_count++], name, strlen(name) + 1);
    return true;
}

static bool take_field(const struct reading *reading, const char *key, const char *text)
{
    struct console_query *query = reading->query;
    if (strncmp(text, CONSOLE_EXTRA, strlen(CONSOLE_EXTRA)) == 0)
        return take_extra(reading, key, text + strlen(CONSOLE_EXTRA));
    int field = -1;
    for (size_t i = 0; i < sizeof own_fields / sizeof *own_fields && field < 0; i++) {
        if (strcasecmp(own_fields[i].name, text) == 0) field = own_fields[i].field;
    }
    int dim = field < 0 ? weir_dim_of_name(text) : -1;
    if (dim >= 0 && weir_dims[dim].origin != WEIR_DIM_EITHER) field = CONSOLE_FIELD_DIM + dim;
    char what[120];
    snprintf(what, sizeof what, "\"%.40s\" is no field of flows; GET /api/v1/schema lists them", text);
    if (field < 0) return fail(reading, key, what);
    for (uint32_t i = 0; i < query->field_count; i++) {
        if (query->fields[i] == field) return true;
    }
    if (query->field_count == CONSOLE_FIELDS_MOST) return fail(reading, key, "too many fields");
    query->fields[query->field_count++] = (uint8_t)field;
    return true;
}

static bool read_fields(const struct reading *reading)
{
    static const char *const usual[] = {"t_first", "t_last",   "duration_ms", "site",    "exporter",  "src_ip",
                                        "dst_ip",  "src_port", "dst_port",    "proto",   "tcp_flags", "packets",
                                        "bytes",   "if_in",    "if_out",      "sampling"};
    if (!each_text(reading, "fields", take_field)) return false;
    if (reading->query->field_count + reading->query->extra_count > 0) return true;
    reading->query->all_extras = true;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        take_field(reading, "fields", usual[i]);
    return true;
}

static bool read_budget(const struct reading *reading)
{
    int64_t ms = reading->rules->timeout_ms;
    const json_t *value = json_object_get(reading->body, "budget");
    if (value != NULL) {
        const json_t *budget = json_object_get(value, "ms");
        if (!json_is_object(value) || budget == NULL || !number_of(budget, &ms) || ms < 1) {
            return fail(reading, "budget", "{\"ms\":N} is expected");
        }
        if (ms > reading->rules->timeout_most_ms) {
            return console_fault_set(reading->fault, CONSOLE_PROBLEM_BUDGET_EXCEEDED, "#/budget/ms",
                                     "at most %lld ms are allowed", (long long)reading->rules->timeout_most_ms);
        }
    }
    reading->query->question.deadline_ms = (uint32_t)ms;
    return true;
}

static bool read_partial(const struct reading *reading)
{
    const char *text;
    if (!read_text(reading, "partial", &text)) return false;
    if (text == NULL || strcmp(text, "ok") == 0) return true;
    if (strcmp(text, "fail") != 0) return fail(reading, "partial", "ok or fail is expected");
    reading->query->partial_fails = true;
    return true;
}

static bool read_tier(const struct reading *reading)
{
    const char *text;
    if (!read_text(reading, "tier", &text)) return false;
    int tier = text == NULL ? WEIR_TIER_AUTO : weir_tier_of_name(text);
    if (tier < 0) return fail(reading, "tier", "auto, raw, 1m, 1h or 1d is expected");
    reading->query->question.tier = (enum weir_tier)tier;
    return true;
}

/* ---- the filter, and the sites that may be seen ---- */

static void append_site(struct weir_buf *out, const char *site, size_t size)
{
    weir_buf_text(out, out->size > 0 && out->data[out->size - 1] != '[' ? ", \"" : "\"");
    for (size_t i = 0; i < size; i++) {
        if (site[i] == '"' || site[i] == '\\') weir_buf_u8(out, '\\');
        weir_buf_u8(out, (uint8_t)site[i]);
    }
    weir_buf_u8(out, '"');
}

/** The sites asked for, which the token must see; or those that it sees, where it does not see all. */
static bool print_sites(const struct reading *reading, struct weir_buf *out)
{
    const struct console_token *token = reading->rules->token;
    const json_t *sites = json_object_get(reading->body, "sites");
    if (sites == NULL) {
        if (strcmp(token->sites, "*") == 0) return true;
        weir_buf_text(out, "site in [");
        for (const char *at = token->sites; *at != '\0';) {
            size_t size = strcspn(at, ",");
            append_site(out, at, size);
            at += size;
            if (*at == ',') at++;
        }
        weir_buf_text(out, "]");
        return true;
    }
    size_t count = json_array_size(sites);
    if (count < 1 || count > SITES_MOST) return fail(reading, "sites", "a list of 1 to 64 names is expected");
    weir_buf_text(out, "site in [");
    for (size_t i = 0; i < count; i++) {
        const char *site = json_string_value(json_array_get(sites, i));
        if (site == NULL) return fail(reading, "sites", "a list of names is expected");
        if (!console_token_sees(token, site)) {
            return console_fault_set(reading->fault, CONSOLE_PROBLEM_FORBIDDEN, "#/sites",
                                     "the token does not see site \"%.60s\"", site);
        }
        append_site(out, site, strlen(site));
    }
    weir_buf_text(out, "]");
    return true;
}

/** Keep the canonical text that was asked for, and the one with the sites for the question. */
static bool keep_filter(const struct reading *reading, const struct weir_filter *filter)
{
    struct console_query *query = reading->query;
    struct weir_buf canonical = WEIR_BUF_INIT;
    struct weir_buf sites = WEIR_BUF_INIT;
    struct weir_buf whole = WEIR_BUF_INIT;
    struct weir_filter *both = NULL;
    struct weir_filter_error error;
    weir_filter_print(filter, &canonical);
    bool good = print_sites(reading, &sites);
    if (good) {
        if (sites.size == 0) {
            weir_buf_text(&whole, weir_buf_cstr(&canonical));
        } else if (weir_filter_is_any(filter)) {
            weir_buf_text(&whole, weir_buf_cstr(&sites));
        } else {
            weir_buf_printf(&whole, "%s and (%s)", weir_buf_cstr(&sites), weir_buf_cstr(&canonical));
        }
        query->filter = weir_strdup(weir_buf_cstr(&canonical));
        if (query->filter == NULL || whole.failed ||
            weir_question_set_filter(&query->question, (const char *)whole.data, whole.size) < 0) {
            good = fail(reading, "filter", "out of memory");
        } else if (weir_filter_parse((const char *)whole.data, whole.size, &both, &error) < 0) {
            good = fail(reading, "filter", error.message); /* too long with the sites */
        }
    }
    weir_filter_destroy(both);
    weir_buf_fini(&canonical);
    weir_buf_fini(&sites);
    weir_buf_fini(&whole);
    return good;
}

static bool read_filter(const struct reading *reading)
{
    const char *text;
    struct weir_filter *filter = NULL;
    struct weir_filter_error error;
    if (!read_text(reading, "filter", &text)) return false;
    size_t size = text == NULL ? 0 : json_string_length(json_object_get(reading->body, "filter"));
    int rc = weir_filter_parse(text == NULL ? "" : text, size, &filter, &error);
    if (rc == WEIR_ENOMEM) return fail(reading, "filter", "out of memory");
    if (rc < 0) return console_fault_set_filter(reading->fault, &error);
    bool good = keep_filter(reading, filter);
    weir_filter_destroy(filter);
    return good;
}

/* ---- cursors ---- */

/* A cursor repeats the range of its first page, so that all pages see the same one, and ends with a check that it
 * belongs to this filter and order. Nothing in it is secret or trusted: it only says where to go on. */
static uint64_t cursor_check(const struct console_query *query, const uint8_t bytes[CURSOR_BYTES])
{
    uint64_t seed = weir_hash64(query->question.filter, strlen(query->question.filter), query->question.ascending);
    return weir_hash64(bytes, CURSOR_BYTES - 8, seed);
}

void console_cursor_print(const struct console_query *query, const struct weir_place *place, struct weir_buf *out)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[CURSOR_BYTES];
    bytes[0] = CURSOR_VERSION;
    weir_store_u64be(bytes + 1, (uint64_t)query->question.from_ms);
    weir_store_u64be(bytes + 9, (uint64_t)query->question.to_ms);
    weir_store_u64be(bytes + 17, (uint64_t)place->time_ms);
    weir_store_u64be(bytes + 25, place->block);
    weir_store_u32be(bytes + 33, place->shard);
    weir_store_u32be(bytes + 37, place->row);
    weir_store_u64be(bytes + 41, cursor_check(query, bytes));
    for (size_t i = 0; i < sizeof bytes; i++) {
        weir_buf_u8(out, (uint8_t)digits[bytes[i] >> 4]);
        weir_buf_u8(out, (uint8_t)digits[bytes[i] & 15]);
    }
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_cursor(const struct reading *reading)
{
    const char *text;
    struct weir_question *question = &reading->query->question;
    if (!read_text(reading, "cursor", &text)) return false;
    if (text == NULL) return true;
    if (question->shape != WEIR_SHAPE_FLOWS) return fail(reading, "cursor", "only flows have pages");
    uint8_t bytes[CURSOR_BYTES];
    bool good = strlen(text) == 2 * sizeof bytes;
    for (size_t i = 0; good && i < sizeof bytes; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);
        good = high >= 0 && low >= 0;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    if (!good || bytes[0] != CURSOR_VERSION || weir_load_u64be(bytes + 41) != cursor_check(reading->query, bytes)) {
        return fail(reading, "cursor", "it does not belong to this filter and order");
    }
    question->from_ms = (int64_t)weir_load_u64be(bytes + 1);
    question->to_ms = (int64_t)weir_load_u64be(bytes + 9);
    question->has_cursor = true;
    question->cursor = (struct weir_place){.time_ms = (int64_t)weir_load_u64be(bytes + 17),
                                           .block = weir_load_u64be(bytes + 25),
                                           .shard = weir_load_u32be(bytes + 33),
                                           .row = weir_load_u32be(bytes + 37)};
    return true;
}

/* ---- the whole ---- */

static bool read_limit(const struct reading *reading)
{
    struct weir_question *question = &reading->query->question;
    int64_t limit = question->shape == WEIR_SHAPE_FLOWS                                           ? LIMIT_OF_FLOWS
                    : question->shape == WEIR_SHAPE_TABLE || question->shape == WEIR_SHAPE_SERIES ? LIMIT_OF_TABLE
                                                                                                  : LIMIT_OF_FLEET;
    if (!read_number(reading, "limit", 1, WEIR_QUESTION_LIMIT_MOST, &limit)) return false;
    question->limit = (uint32_t)limit;
    return true;
}

static bool check_question(const struct reading *reading)
{
    struct weir_why why;
    int rc = weir_question_check(&reading->query->question, &why);
    if (rc == 0) return true;
    return console_fault_set(reading->fault,
                             rc == WEIR_ELIMIT ? CONSOLE_PROBLEM_BUDGET_EXCEEDED : CONSOLE_PROBLEM_BAD_PARAMETER, "",
                             "%.300s", why.text);
}

static bool read_body(const json_t *body, enum weir_shape shape, const struct console_query_rules *rules,
                      struct console_query *ret, struct console_fault *fault)
{
    *ret = (struct console_query){0};
    weir_question_init(&ret->question);
    struct reading reading = {.body = body, .rules = rules, .query = ret, .fault = fault};
    bool good = check_keys(&reading) && read_shape(&reading, shape) && read_time(&reading) &&
                each_text(&reading, "group", take_group) && read_metrics(&reading) && read_order(&reading) &&
                read_limit(&reading) && read_step(&reading) && read_fields(&reading) &&
                read_flag(&reading, "plain", &ret->plain) && read_tier(&reading) && read_budget(&reading) &&
                read_partial(&reading) && read_filter(&reading) && read_cursor(&reading) && check_question(&reading);
    if (!good) console_query_fini(ret);
    return good;
}

bool console_query_read_json(const char *text, size_t size, enum weir_shape shape,
                             const struct console_query_rules *rules, struct console_query *ret,
                             struct console_fault *fault)
{
    json_error_t error;
    json_t *body = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (body == NULL) {
        return console_fault_set(fault, CONSOLE_PROBLEM_UNSUPPORTED_MEDIA, "",
                                 "the body is not JSON: %.120s (line %d, column %d)", error.text, error.line,
                                 error.column);
    }
    bool good = json_is_object(body)
                    ? read_body(body, shape, rules, ret, fault)
                    : console_fault_set(fault, CONSOLE_PROBLEM_BAD_PARAMETER, "", "a JSON object is expected");
    json_decref(body);
    return good;
}

/** URL parameters as the object that a body would be. NULL when memory runs out. */
static json_t *object_of_parameters(const struct weir_http_request *request)
{
    static const char *const texts[] = {"shape", "time",   "filter", "group", "metrics", "order", "limit",
                                        "step",  "fields", "plain",  "tier",  "partial", "cursor"};
    json_t *body = json_object();
    int rc = body == NULL ? -1 : 0;
    for (size_t i = 0; rc == 0 && i < sizeof texts / sizeof *texts; i++) {
        const char *value = weir_http_query(request, texts[i]);
        if (value != NULL) rc = json_object_set_new(body, texts[i], json_string(value));
    }
    const char *from = weir_http_query(request, "from");
    const char *to = weir_http_query(request, "to");
    if (rc == 0 && (from != NULL || to != NULL)) {
        json_t *time = json_object();
        if (from != NULL) json_object_set_new(time, "from", json_string(from));
        if (to != NULL) json_object_set_new(time, "to", json_string(to));
        rc = json_object_set_new(body, "time", time);
    }
    const char *budget = weir_http_query(request, "budget_ms");
    if (rc == 0 && budget != NULL) rc = json_object_set_new(body, "budget", json_pack("{s:s}", "ms", budget));
    const char *sites = weir_http_query(request, "sites");
    if (rc == 0 && sites != NULL) {
        json_t *list = json_array();
        for (const char *at = sites; rc == 0 && *at != '\0';) {
            size_t size = strcspn(at, ",");
            rc = json_array_append_new(list, json_stringn(at, size));
            at += size + (at[size] == ',');
        }
        if (json_object_set_new(body, "sites", list) < 0) rc = -1;
    }
    if (rc == 0) return body;
    json_decref(body);
    return NULL;
}

bool console_query_read(const struct weir_http_request *request, enum weir_shape shape,
                        const struct console_query_rules *rules, struct console_query *ret, struct console_fault *fault)
{
    bool good;
    if (strcmp(request->method, "POST") == 0) {
        good = console_query_read_json((const char *)request->body.data, request->body.size, shape, rules, ret, fault);
    } else {
        json_t *body = object_of_parameters(request);
        if (body == NULL) {
            return console_fault_set(fault, CONSOLE_PROBLEM_BAD_PARAMETER, "",
                                     "the parameters are not UTF-8, or memory ran out");
        }
        good = read_body(body, shape, rules, ret, fault);
        json_decref(body);
    }
    const char *partial = weir_http_query(request, "partial");
    if (good && partial != NULL && strcmp(partial, "fail") == 0) ret->partial_fails = true;
    return good;
}

void console_query_fini(struct console_query *query)
{
    weir_question_fini(&query->question);
    weir_free(query->filter);
    query->filter = NULL;
}

bool console_filter_read(struct weir_view body, char **ret, size_t *size, struct console_fault *fault)
{
    json_error_t error;
    json_t *object = json_loadb((const char *)body.data, body.size, 0, &error);
    const json_t *filter = json_object_get(object, "filter");
    bool good = json_is_string(filter);
    if (object == NULL) {
        console_fault_set(fault, CONSOLE_PROBLEM_UNSUPPORTED_MEDIA, "", "the body is not JSON: %.120s", error.text);
    } else if (!good) {
        console_fault_set(fault, CONSOLE_PROBLEM_BAD_PARAMETER, "#/filter", "{\"filter\":TEXT} is expected");
    } else {
        *size = json_string_length(filter);
        *ret = weir_strndup(json_string_value(filter), *size);
        if (*ret == NULL) good = console_fault_set(fault, CONSOLE_PROBLEM_INTERNAL, "", "out of memory");
    }
    json_decref(object);
    return good;
}

bool console_flag_read(struct weir_view body, const char *name, bool *ret, struct console_fault *fault)
{
    json_error_t error;
    *ret = false;
    if (body.size == 0) return true;
    json_t *object = json_loadb((const char *)body.data, body.size, 0, &error);
    const json_t *flag = json_object_get(object, name);
    bool good = json_is_object(object) && (flag == NULL || json_is_boolean(flag));
    if (object == NULL) {
        console_fault_set(fault, CONSOLE_PROBLEM_UNSUPPORTED_MEDIA, "", "the body is not JSON: %.120s", error.text);
    } else if (!good) {
        console_fault_set(fault, CONSOLE_PROBLEM_BAD_PARAMETER, "", "{\"%.40s\":true or false} is expected", name);
    }
    *ret = json_is_true(flag);
    json_decref(object);
    return good;
}
