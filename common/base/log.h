/**
 * Logs as an event and key=value pairs, one line each, on stderr; with a priority prefix and without a time stamp
 * where stderr is the journal (JOURNAL_STREAM is set). Programs log, libraries return.
 *
 * error: someone must act. warn: we went on, and how. info: life cycle. debug: us.
 */
#ifndef WEIR_COMMON_BASE_LOG_H
#define WEIR_COMMON_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum weir_log_level { WEIR_LOG_ERROR, WEIR_LOG_WARN, WEIR_LOG_INFO, WEIR_LOG_DEBUG };

/** Set the least severe level that is written; WEIR_LOG_INFO until then. Any thread. */
void weir_log_set_level(enum weir_log_level level);

/** The level of a name ("error", "warn", "info", "debug"), or WEIR_EPARAM. */
int weir_log_level_of(const char *name);

/**
 * Write one line: `weir_log(WEIR_LOG_INFO, "listen.bound", "address=%s port=%d", address, port)`.
 * Values with blanks are quoted by the caller with weir_log_quote. Lines are whole even among threads. Any thread.
 */
void weir_log(enum weir_log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** Quote @text as a value: "..." with `"`, `\` and control bytes escaped. Writes at most @size; returns @out. */
const char *weir_log_quote(const char *text, char *out, int size);

/** A limiter for events that outsiders can trigger; zero it to begin. One thread, or under the owner's lock. */
struct weir_log_limit {
    int64_t second;
    uint32_t in_second;
    uint64_t held_back;
};

/**
 * May one more line be written in this second, @per_second at most? When true, *held_back (may be NULL) receives
 * how many were suppressed since the last line that was written: put it in the line.
 */
bool weir_log_allowed(struct weir_log_limit *limit, int64_t now_mono_ms, uint32_t per_second, uint64_t *held_back);

#endif
