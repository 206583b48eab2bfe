/** Error replies of the API: application/problem+json (RFC 9457), from one table. */
#ifndef WEIR_CONSOLE_HTTP_PROBLEM_H
#define WEIR_CONSOLE_HTTP_PROBLEM_H

#include "common/flow/filter.h"
#include "common/flow/json_writer.h"
#include "common/http/server.h"

/* PROBLEM(id, status, type, title) */
#define CONSOLE_PROBLEMS(PROBLEM)                                                             \
    PROBLEM(FILTER_SYNTAX, 400, "filter-syntax", "Filter not understood")                     \
    PROBLEM(BAD_PARAMETER, 400, "bad-parameter", "A parameter is not allowed")                \
    PROBLEM(TIME_RANGE, 400, "time-range", "Time range not understood")                       \
    PROBLEM(UNAUTHENTICATED, 401, "unauthenticated", "A valid token is needed")               \
    PROBLEM(FORBIDDEN, 403, "forbidden", "The token does not allow this")                     \
    PROBLEM(NOT_FOUND, 404, "not-found", "There is no such resource")                         \
    PROBLEM(METHOD_NOT_ALLOWED, 405, "method-not-allowed", "The resource has no such method") \
    PROBLEM(CONFLICT, 409, "conflict", "Somebody else changed it meanwhile")                  \
    PROBLEM(NOT_POSSIBLE, 409, "not-possible", "It cannot be done as things are")             \
    PROBLEM(UNSUPPORTED_MEDIA, 415, "unsupported-media", "The body is not JSON")              \
    PROBLEM(BUDGET_EXCEEDED, 422, "budget-exceeded", "The answer would be too large")         \
    PROBLEM(INTERNAL, 500, "internal", "Something went wrong here")                           \
    PROBLEM(PARTIAL, 503, "partial", "Not every aggregator answered")                         \
    PROBLEM(NOT_READY, 503, "not-ready", "Nobody to ask")                                     \
    PROBLEM(STORE_UNREACHABLE, 503, "store-unreachable", "The map store does not answer")     \
    PROBLEM(TIMEOUT, 504, "timeout", "No aggregator answered in time")

enum console_problem {
    CONSOLE_NO_PROBLEM,
#define PROBLEM_ENUM(id, status, type, title) CONSOLE_PROBLEM_##id,
    CONSOLE_PROBLEMS(PROBLEM_ENUM)
#undef PROBLEM_ENUM
        CONSOLE_PROBLEM_KINDS
};

/** What is wrong with a request, found by whoever looks at it and told by console_problem_reply. */
struct console_fault {
    enum console_problem kind;
    char detail[320];
    char pointer[48]; /* "#/filter", or "" */
    bool in_filter;   /* @filter_error says where */
    struct weir_filter_error filter_error;
};

/** Note a fault; returns false, so that a check that fails is one line. */
bool console_fault_set(struct console_fault *fault, enum console_problem kind, const char *pointer, const char *format,
                       ...) __attribute__((format(printf, 4, 5)));

/** Note what is wrong with a filter; returns false. */
bool console_fault_set_filter(struct console_fault *fault, const struct weir_filter_error *error);

/** Make the reply of a fault. @instance: path, and the question's id where there is one. */
void console_problem_reply(const struct console_fault *fault, const char *instance, struct weir_http_reply *reply);

/** An error of a filter as the API shows it everywhere: {pointer, column, length, message, expected, suggest}. */
void console_filter_error_json(const struct weir_filter_error *error, struct json_writer *json);

#endif
