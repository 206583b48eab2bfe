/** Answers of an etcd gateway, or of whatever stands in its place: keys and values that are given out are bounded. */
#include "common/etcd/reply.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_item(void *ctx, const struct weir_mapstore_item *item)
{
    (void)ctx;
    size_t length = strlen(item->key);
    assert(length > 0 && length <= WEIR_MAPSTORE_KEY_MOST);
    assert(item->value.size <= WEIR_MAPSTORE_VALUE_MOST && (!item->gone || item->value.size == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { SKIP = sizeof "/weir/t/" - 1 };
    struct weir_view text = weir_view_of(data, size);
    struct etcd_error error;
    char token[ETCD_TOKEN_BYTES], reason[ETCD_REASON_BYTES] = "";
    int64_t number = 0, other = 0;
    bool held = false;
    (void)etcd_reply_error(text, &error);
    (void)etcd_reply_range(text, SKIP, check_item, NULL, &number);
    (void)etcd_reply_txn(text, &held);
    (void)etcd_reply_watch(text, SKIP, check_item, NULL, &number, reason);
    if (etcd_reply_token(text, token) == 0) assert(strpbrk(token, "\r\n ") == NULL);
    if (etcd_reply_lease(text, &number, &other) == 0) assert(number != 0 && other >= 0);
    return 0;
}
