/**
 * A map store in etcd, over the JSON gateway that its client port serves beside gRPC (/v3/...; etcd 3.4 and later). The
 * only reader of curl/curl.h among the daemons.
 *
 * Several endpoints: one that does not answer, or says that it cannot, is followed by the next, and the one that works
 * is kept. A user gets a token from /v3/auth/authenticate; when it is refused (etcd forgets simple tokens after 300 s)
 * there is another one, once for each request. Certificates of users do not work through the gateway (etcd's
 * documentation says so), so there are none here.
 */
#ifndef WEIR_COMMON_ETCD_ETCD_H
#define WEIR_COMMON_ETCD_ETCD_H

#include "common/cluster/mapstore.h"

enum { ETCD_ENDPOINTS_MOST = 16 };

struct etcd_conf {
    const char *const *endpoints; /* "https://HOST:2379", 1 to ETCD_ENDPOINTS_MOST */
    size_t endpoint_count;
    const char *prefix;   /* of all keys: begins and ends with '/' */
    const char *user;     /* "": no password is asked for */
    const char *password; /* copied, and wiped when the store is destroyed */
    const char *ca;       /* file of certificates that are trusted; "": those of the system */
    int64_t timeout_ms;   /* of one request to one endpoint */
};

/** Everything is copied; nothing is connected yet. WEIR_EPARAM with a reason; WEIR_ENOMEM. */
int etcd_mapstore_create(const struct etcd_conf *conf, struct weir_mapstore **ret, struct weir_why *why);

#endif
