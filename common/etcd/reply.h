/**
 * What etcd's JSON gateway answers (etcd 3.4, api/v3: rpc.proto as grpc-gateway writes it): numbers of 64 bits are
 * strings, bytes are base64, and what is 0, false or empty is left out. Bytes of a stranger: bounded, checked, fuzzed.
 */
#ifndef WEIR_COMMON_ETCD_REPLY_H
#define WEIR_COMMON_ETCD_REPLY_H

#include "common/base/buf.h"
#include "common/cluster/mapstore.h"

/** gRPC's status codes that we tell apart (google.rpc.Code). */
enum {
    ETCD_CODE_OK = 0,
    ETCD_CODE_INVALID_ARGUMENT = 3,
    ETCD_CODE_DEADLINE_EXCEEDED = 4,
    ETCD_CODE_NOT_FOUND = 5,
    ETCD_CODE_PERMISSION_DENIED = 7,
    ETCD_CODE_FAILED_PRECONDITION = 9,
    ETCD_CODE_OUT_OF_RANGE = 11,
    ETCD_CODE_UNAVAILABLE = 14,
    ETCD_CODE_UNAUTHENTICATED = 16
};

enum { ETCD_TOKEN_BYTES = 1024, ETCD_REASON_BYTES = 256 };

struct etcd_error {
    int64_t code; /* ETCD_CODE_OK: none */
    char message[ETCD_REASON_BYTES];
};

/** An error that stands in the place of an answer, or in a stream; false: @text is none. */
bool etcd_reply_error(struct weir_view text, struct etcd_error *ret);

/**
 * A RangeResponse. Keys are given without their first @skip bytes, which are the store's prefix.
 * WEIR_EFORMAT, WEIR_ELIMIT more keys than one get may give, or a key or value that is too long; WEIR_ENOMEM.
 */
int etcd_reply_range(struct weir_view text, size_t skip, weir_mapstore_item_fn *fn, void *ctx, int64_t *ret_revision);

/** A TxnResponse: did the comparison hold? An answer without `succeeded` is one in which it did not. WEIR_EFORMAT. */
int etcd_reply_txn(struct weir_view text, bool *ret);

/** The token of an AuthenticateResponse. WEIR_EFORMAT. */
int etcd_reply_token(struct weir_view text, char ret[ETCD_TOKEN_BYTES]);

/** Lease and time to live of a LeaseGrantResponse, or of a LeaseKeepAliveResponse within its stream (0 s: it has ended). */
int etcd_reply_lease(struct weir_view text, int64_t *ret_lease, int64_t *ret_ttl_s);

/**
 * A line of a watch: its events are given to @fn, and their number returned. @ret_revision is that of the store, 0 when
 * the line does not say it.
 *
 *   WEIR_ECANCELLED   the watch has ended, with etcd's @reason where it gives one
 *   WEIR_ENOTFOUND    ... because the revision that it began with was compacted away
 *   WEIR_EFORMAT, WEIR_ELIMIT, WEIR_ENOMEM
 */
int etcd_reply_watch(struct weir_view text, size_t skip, weir_mapstore_item_fn *fn, void *ctx, int64_t *ret_revision,
                     char reason[ETCD_REASON_BYTES]);

#endif
