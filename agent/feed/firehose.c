#include "agent/feed/firehose.h"

#include "agent/feed/gzip.h"
#include "common/base/base64.h"

#include <jansson.h>

/** A delivery while it is unpacked. */
struct unpacking {
    enum feed_format format;
    size_t most;
    struct weir_buf *out;
    struct weir_buf data; /* of a record, and unpacked */
    struct weir_buf text;
};

static int put(struct unpacking *un, struct weir_view text)
{
    if (text.size == 0) return 0;
    if (text.size >= un->most || un->out->size >= un->most - text.size) return WEIR_ELIMIT;
    weir_buf_append(un->out, text.data, text.size);
    if (text.data[text.size - 1] != '\n') weir_buf_u8(un->out, '\n');
    return un->out->failed ? WEIR_ENOMEM : 0;
}

static int put_string(struct unpacking *un, const json_t *string)
{
    return put(un, weir_view_of(json_string_value(string), json_string_length(string)));
}

/** 1: what the object wraps was put; 0: it is none of those that wrap. */
static int put_wrapped(struct unpacking *un, const json_t *object)
{
    const char *type = json_string_value(json_object_get(object, "messageType"));
    const json_t *events = json_object_get(object, "logEvents");
    const json_t *message = json_object_get(object, "message");
    if (type != NULL && strcmp(type, "CONTROL_MESSAGE") == 0) return 1;
    if (json_is_array(events)) {
        for (size_t i = 0; i < json_array_size(events); i++) {
            int rc = put_string(un, json_object_get(json_array_get(events, i), "message"));
            if (rc < 0) return rc;
        }
        return 1;
    }
    if (!json_is_string(message)) return 0;
    int rc = put_string(un, message);
    return rc < 0 ? rc : 1;
}

/** A line that may be JSON objects one after the other. From what wraps nothing on, it is put as it is. */
static int put_line(struct unpacking *un, struct weir_view line)
{
    while (line.size > 0 && line.data[0] == '{') {
        json_error_t error;
        json_t *object = json_loadb((const char *)line.data, line.size, JSON_DISABLE_EOF_CHECK, &error);
        if (object == NULL) break;
        int rc = put_wrapped(un, object);
        json_decref(object);
        if (rc < 0) return rc;
        if (rc == 0) break;
        line = weir_view_of(line.data + error.position, line.size - (size_t)error.position);
        while (line.size > 0 && (line.data[0] == ' ' || line.data[0] == '\r' || line.data[0] == '\n'))
            line = weir_view_of(line.data + 1, line.size - 1);
    }
    return put(un, line);
}

static int put_text(struct unpacking *un, struct weir_view text)
{
    if (un->format != FEED_AWS) return put(un, text);
    while (text.size > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.size);
        size_t size = end == NULL ? text.size : (size_t)(end - text.data) + 1;
        int rc = put_line(un, weir_view_of(text.data, size));
        if (rc < 0) return rc;
        text = weir_view_of(text.data + size, text.size - size);
    }
    return 0;
}

static int unpack_record(struct unpacking *un, const json_t *record)
{
    const json_t *data = json_object_get(record, "data");
    if (!json_is_string(data)) return WEIR_EFORMAT;
    weir_buf_clear(&un->data);
    weir_buf_clear(&un->text);
    int rc = weir_base64_decode(json_string_value(data), json_string_length(data), &un->data);
    if (rc < 0) return rc;
    if (!feed_is_gzip(weir_buf_view(&un->data))) return put_text(un, weir_buf_view(&un->data));
    rc = feed_gunzip(weir_buf_view(&un->data), un->most, &un->text);
    return rc < 0 ? rc : put_text(un, weir_buf_view(&un->text));
}

static int unpack_records(struct unpacking *un, const json_t *records, struct weir_why *why)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(records); i++) {
        rc = unpack_record(un, json_array_get(records, i));
        if (rc == WEIR_EFORMAT) weir_why_set(why, rc, "records[%zu]: data is not base64 of text or of whole gzip", i);
    }
    return rc;
}

int feed_firehose_unpack(struct weir_view body, const char *request_id, enum feed_format format, size_t most,
                         struct weir_buf *out, struct weir_why *why)
{
    json_error_t error;
    struct unpacking un = {.format = format, .most = most, .out = out};
    json_t *root = json_loadb(body.size == 0 ? "" : (const char *)body.data, body.size, 0, &error);
    if (root == NULL) return weir_why_set(why, WEIR_EFORMAT, "byte %d of the body: %s", error.position, error.text);

    int rc = 0;
    const char *id = json_string_value(json_object_get(root, "requestId"));
    const json_t *records = json_object_get(root, "records");
    if (id == NULL || strcmp(id, request_id) != 0)
        rc = weir_why_set(why, WEIR_EFORMAT, "requestId is not that of the head");
    else if (!json_is_array(records))
        rc = weir_why_set(why, WEIR_EFORMAT, "records is no array");
    else
        rc = unpack_records(&un, records, why);
    if (rc == WEIR_ELIMIT) weir_why_set(why, rc, "unpacked it is more than %zu bytes", most);
    if (rc == WEIR_ENOMEM) weir_why_set(why, rc, "out of memory");
    json_decref(root);
    weir_buf_fini(&un.data);
    weir_buf_fini(&un.text);
    return rc;
}

void feed_firehose_answer(const char *request_id, int64_t now_ms, const char *error, struct weir_buf *out)
{
    json_t *id = json_string(request_id);
    if (id == NULL) id = json_string(""); /* it is not UTF-8 */
    json_t *answer = json_pack("{s:o, s:I}", "requestId", id, "timestamp", (json_int_t)now_ms);
    if (answer != NULL && error != NULL) json_object_set_new(answer, "errorMessage", json_string(error));
    char *text = answer == NULL ? NULL : json_dumps(answer, JSON_COMPACT);
    if (text == NULL)
        out->failed = true;
    else
        weir_buf_text(out, text);
    free(text);
    json_decref(answer);
}
