/** One HTTP exchange with a server of ours on loopback, for tests. */
#ifndef WEIR_TESTS_SUPPORT_HTTP_H
#define WEIR_TESTS_SUPPORT_HTTP_H

#include "common/http/server.h"

/**
 * Send a request and read the reply to its end: head and body as one text, freed by the caller with free().
 * @token: bearer token, or NULL. @extra: header lines, each with its \r\n, or NULL. @body: or NULL.
 */
char *test_http(const struct weir_http *server, const char *method, const char *target, const char *token,
                const char *extra, const char *body);

/** The same, with a server that is known by its address, "127.0.0.1:8080". */
char *test_http_at(const char *address, const char *method, const char *target, const char *token, const char *extra,
                   const char *body);

/** The body of such a reply. */
const char *test_http_body(const char *reply);

/** Its status. */
int test_http_status(const char *reply);

#endif
