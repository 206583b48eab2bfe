#include "agent/feed/json.h"

#include <stdio.h>

int feed_json_load(struct feed_parser *parser, struct weir_view text, json_t **ret)
{
    json_error_t error;
    json_t *root = json_loadb((const char *)text.data, text.size, 0, &error);
    if (root == NULL) return feed_bad(parser, "byte %d of the record: %s", error.position, error.text);
    if (!json_is_object(root)) {
        json_decref(root);
        return feed_bad(parser, "the record is no JSON object");
    }
    *ret = root;
    return 0;
}

struct weir_view feed_json_text(const json_t *value, char scratch[FEED_NUMBER_BYTES])
{
    int size = 0;
    if (json_is_string(value)) return weir_view_of(json_string_value(value), json_string_length(value));
    if (json_is_integer(value))
        size = snprintf(scratch, FEED_NUMBER_BYTES, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        size = snprintf(scratch, FEED_NUMBER_BYTES, "%.6f", json_real_value(value));
    return size > 0 && size < FEED_NUMBER_BYTES ? weir_view_of(scratch, (size_t)size) : weir_view_of(NULL, 0);
}

struct weir_view feed_json_member(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_string(value)) return weir_view_of(NULL, 0);
    return weir_view_of(json_string_value(value), json_string_length(value));
}

const json_t *feed_json_at(const json_t *object, struct weir_view path)
{
    while (object != NULL && path.size > 0) {
        const uint8_t *dot = memchr(path.data, '.', path.size);
        size_t size = dot == NULL ? path.size : (size_t)(dot - path.data);
        object = json_object_getn(object, (const char *)path.data, size);
        path = dot == NULL ? weir_view_of(NULL, 0) : weir_view_of(dot + 1, path.size - size - 1);
    }
    return object;
}
