#include "console/http/schema.h"

#include "common/flow/filter.h"
#include "common/flow/json_writer.h"
#include "common/flow/question.h"
#include "console/http/query.h"

static const char *type_name(enum weir_dim_type type)
{
    switch (type) {
    case WEIR_DIM_TYPE_IP: return "ip";
    case WEIR_DIM_TYPE_NUMBER: return "integer";
    case WEIR_DIM_TYPE_PROTO: return "protocol";
    case WEIR_DIM_TYPE_FLAGS: return "tcp_flags";
    case WEIR_DIM_TYPE_MAC: return "mac";
    case WEIR_DIM_TYPE_DIRECTION: return "direction";
    case WEIR_DIM_TYPE_ACTION: return "action";
    case WEIR_DIM_TYPE_PROTOCOL: return "export_protocol";
    case WEIR_DIM_TYPE_SERVICE: return "service";
    case WEIR_DIM_TYPE_TEXT: return "text";
    }
    return "unknown";
}

static void dimensions(struct json_writer *json)
{
    jsonw_key(json, "dimensions");
    jsonw_begin_array(json);
    for (int dim = 0; dim < WEIR_DIM_COUNT; dim++) {
        jsonw_begin_object(json);
        jsonw_key_text(json, "name", weir_dims[dim].name);
        jsonw_key_text(json, "type", type_name(weir_dims[dim].type));
        jsonw_key_bool(json, "either", weir_dims[dim].origin == WEIR_DIM_EITHER);
        jsonw_key_text(json, "help", weir_dims[dim].help);
        jsonw_end_object(json);
    }
    jsonw_end_array(json);
}

static void words(struct json_writer *json, const char *key, const char *const *list)
{
    jsonw_key(json, key);
    jsonw_begin_array(json);
    for (; *list != NULL; list++)
        jsonw_text(json, *list);
    jsonw_end_array(json);
}

static void limits(struct json_writer *json)
{
    jsonw_key(json, "limits");
    jsonw_begin_object(json);
    jsonw_key_u64(json, "group", WEIR_QUESTION_DIMS_MOST);
    jsonw_key_u64(json, "rows", WEIR_QUESTION_LIMIT_MOST);
    jsonw_key_u64(json, "series_steps", WEIR_QUESTION_STEPS_MOST);
    jsonw_key_u64(json, "series_values", WEIR_QUESTION_CELLS_MOST);
    jsonw_key_u64(json, "groups_kept", WEIR_QUESTION_GROUPS_MOST);
    jsonw_key_u64(json, "filter_bytes", WEIR_FILTER_TEXT_MOST);
    jsonw_key_u64(json, "filter_depth", WEIR_FILTER_DEPTH_MOST);
    jsonw_key_u64(json, "filter_parts", WEIR_FILTER_NODES_MOST);
    jsonw_end_object(json);
}

void console_schema_json(struct weir_buf *out)
{
    static const char *const shapes[] = {"table", "series", "flows", NULL};
    static const char *const metrics[] = {"flows", "packets", "bytes", "bps", "pps", "bpp", "share", NULL};
    static const char *const orders[] = {"bytes", "packets", "flows", NULL};
    static const char *const tiers[] = {"raw", "1m", "1h", "1d", NULL};
    struct json_writer json = json_writer_of(out);
    jsonw_begin_object(&json);
    jsonw_key_text(&json, "api", "1.0");
    jsonw_key_text(&json, "version", WEIR_VERSION);
    words(&json, "shapes", shapes);
    words(&json, "metrics", metrics);
    words(&json, "orders", orders);
    words(&json, "tiers", tiers);
    dimensions(&json);
    jsonw_key(&json, "fields"); /* of flows: these, and every dimension that is not of either role */
    jsonw_begin_array(&json);
    for (uint8_t field = 0; field < CONSOLE_FIELD_DIM; field++)
        jsonw_text(&json, console_field_name(field));
    for (int dim = 0; dim < WEIR_DIM_COUNT; dim++) {
        if (weir_dims[dim].origin != WEIR_DIM_EITHER) jsonw_text(&json, weir_dims[dim].name);
    }
    jsonw_end_array(&json);
    limits(&json);
    jsonw_end_object(&json);
    weir_buf_u8(out, '\n');
}
