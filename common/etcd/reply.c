#include "common/etcd/reply.h"

#include "common/base/base64.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/** An object of one JSON text, or NULL. */
static json_t *load(struct weir_view text)
{
    json_t *root = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(root)) return root;
    json_decref(root);
    return NULL;
}

/** An int64 as a string or a number; what is left out is 0. */
static int read_int64(const json_t *object, const char *key, int64_t *ret)
{
    const json_t *value = json_object_get(object, key);
    *ret = 0;
    if (value == NULL) return 0;
    if (json_is_integer(value)) {
        *ret = json_integer_value(value);
        return 0;
    }
    const char *text = json_string_value(value);
    char *end = NULL;
    if (text == NULL || text[0] == '\0' || text[0] == ' ') return WEIR_EFORMAT;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0') return WEIR_EFORMAT;
    *ret = number;
    return 0;
}

static int read_bytes(const json_t *object, const char *key, size_t most, struct weir_buf *out)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL) return 0;
    if (!json_is_string(value)) return WEIR_EFORMAT;
    size_t size = json_string_length(value);
    if (size / 4 * 3 > most + 2) return WEIR_ELIMIT;
    int rc = weir_base64_decode(json_string_value(value), size, out);
    return rc == 0 && out->size > most ? WEIR_ELIMIT : rc;
}

static int read_revision(const json_t *reply, int64_t *ret)
{
    return read_int64(json_object_get(reply, "header"), "revision", ret);
}

static int give_item(const json_t *kv, bool gone, size_t skip, weir_mapstore_item_fn *fn, void *ctx)
{
    struct weir_buf key = WEIR_BUF_INIT, value = WEIR_BUF_INIT;
    struct weir_mapstore_item item = {.gone = gone};
    int rc = json_is_object(kv) ? 0 : WEIR_EFORMAT;
    if (rc == 0) rc = read_bytes(kv, "key", skip + WEIR_MAPSTORE_KEY_MOST, &key);
    if (rc == 0) rc = read_bytes(kv, "value", WEIR_MAPSTORE_VALUE_MOST, &value);
    if (rc == 0) rc = read_int64(kv, "mod_revision", &item.revision);
    bool is_text = key.size > skip && memchr(key.data, '\0', key.size) == NULL;
    if (rc == 0 && !is_text) rc = WEIR_EFORMAT;
    if (rc == 0) {
        item.key = weir_buf_cstr(&key) + skip;
        item.value = gone ? weir_view_of(NULL, 0) : weir_buf_view(&value);
        if (key.failed) rc = WEIR_ENOMEM;
    }
    if (rc == 0) fn(ctx, &item);
    weir_buf_fini(&key);
    weir_buf_fini(&value);
    return rc;
}

bool etcd_reply_error(struct weir_view text, struct etcd_error *ret)
{
    json_t *root = load(text);
    const json_t *within = json_object_get(root, "error"); /* an object in streams, a text in answers */
    const json_t *from = json_is_object(within) ? within : root;
    const char *message = json_string_value(json_object_get(from, "message"));
    int64_t code = 0;
    bool found = within != NULL;
    if (message == NULL) message = json_is_string(within) ? json_string_value(within) : "";
    if (found && read_int64(from, json_object_get(from, "code") != NULL ? "code" : "grpc_code", &code) < 0) code = 0;
    if (found) {
        *ret = (struct etcd_error){.code = code == 0 ? ETCD_CODE_UNAVAILABLE : code};
        snprintf(ret->message, sizeof ret->message, "%s", message);
    }
    json_decref(root);
    return found;
}

int etcd_reply_range(struct weir_view text, size_t skip, weir_mapstore_item_fn *fn, void *ctx, int64_t *ret_revision)
{
    json_t *root = load(text);
    if (root == NULL) return WEIR_EFORMAT;
    const json_t *kvs = json_object_get(root, "kvs");
    int rc = kvs != NULL && !json_is_array(kvs) ? WEIR_EFORMAT : read_revision(root, ret_revision);
    if (rc == 0 && *ret_revision <= 0) rc = WEIR_EFORMAT;
    if (rc == 0 && (json_array_size(kvs) > WEIR_MAPSTORE_KEYS_MOST || json_is_true(json_object_get(root, "more"))))
        rc = WEIR_ELIMIT;
    for (size_t i = 0; rc == 0 && i < json_array_size(kvs); i++)
        rc = give_item(json_array_get(kvs, i), false, skip, fn, ctx);
    json_decref(root);
    return rc;
}

int etcd_reply_txn(struct weir_view text, bool *ret)
{
    json_t *root = load(text);
    int64_t revision = 0;
    int rc = root == NULL ? WEIR_EFORMAT : read_revision(root, &revision);
    if (rc == 0 && revision <= 0) rc = WEIR_EFORMAT;
    if (rc == 0) *ret = json_is_true(json_object_get(root, "succeeded"));
    json_decref(root);
    return rc;
}

int etcd_reply_token(struct weir_view text, char ret[ETCD_TOKEN_BYTES])
{
    json_t *root = load(text);
    const char *token = json_string_value(json_object_get(root, "token"));
    bool sound = token != NULL && token[0] != '\0' && strlen(token) < ETCD_TOKEN_BYTES;
    for (const char *at = token; sound && *at != '\0'; at++)
        sound = *at > ' ' && *at <= '~'; /* it goes into a header */
    if (sound) snprintf(ret, ETCD_TOKEN_BYTES, "%s", token);
    json_decref(root);
    return sound ? 0 : WEIR_EFORMAT;
}

int etcd_reply_lease(struct weir_view text, int64_t *ret_lease, int64_t *ret_ttl_s)
{
    json_t *root = load(text);
    const json_t *within = json_object_get(root, "result");
    const json_t *reply = within != NULL ? within : root;
    int64_t lease = 0, ttl_s = 0;
    int rc = root == NULL ? WEIR_EFORMAT : read_int64(reply, "ID", &lease);
    if (rc == 0) rc = read_int64(reply, "TTL", &ttl_s);
    if (rc == 0 && (lease == 0 || ttl_s < 0)) rc = WEIR_EFORMAT;
    if (rc == 0) {
        *ret_lease = lease;
        *ret_ttl_s = ttl_s;
    }
    json_decref(root);
    return rc;
}

int etcd_reply_watch(struct weir_view text, size_t skip, weir_mapstore_item_fn *fn, void *ctx, int64_t *ret_revision,
                     char reason[ETCD_REASON_BYTES])
{
    json_t *root = load(text);
    const json_t *reply = json_object_get(root, "result");
    const json_t *events = json_object_get(reply, "events");
    int64_t compacted = 0;
    int rc = !json_is_object(reply) || (events != NULL && !json_is_array(events)) ? WEIR_EFORMAT : 0;
    if (rc == 0) rc = read_revision(reply, ret_revision);
    if (rc == 0) rc = read_int64(reply, "compact_revision", &compacted);
    const char *why = json_string_value(json_object_get(reply, "cancel_reason"));
    if (rc == 0 && json_is_true(json_object_get(reply, "canceled"))) {
        snprintf(reason, ETCD_REASON_BYTES, "%s", why == NULL ? "" : why);
        rc = compacted > 0 ? WEIR_ENOTFOUND : WEIR_ECANCELLED;
    }
    size_t count = json_array_size(events);
    if (rc == 0 && count > WEIR_MAPSTORE_KEYS_MOST) rc = WEIR_ELIMIT;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const json_t *event = json_array_get(events, i);
        const char *type = json_string_value(json_object_get(event, "type"));
        rc = give_item(json_object_get(event, "kv"), type != NULL && strcmp(type, "DELETE") == 0, skip, fn, ctx);
    }
    json_decref(root);
    return rc < 0 ? rc : (int)count;
}
