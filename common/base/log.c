#include "common/base/log.h"

#include "common/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_name[] = {"error", "warn", "info", "debug"};
static const int level_priority[] = {3, 4, 6, 7}; /* syslog(3) */
static atomic_int least_severe = WEIR_LOG_INFO;

void weir_log_set_level(enum weir_log_level level)
{
    atomic_store(&least_severe, (int)level);
}

int weir_log_level_of(const char *name)
{
    for (int i = 0; i < 4; i++) {
        if (strcmp(level_name[i], name) == 0) return i;
    }
    return WEIR_EPARAM;
}

/** The journal adds the time itself and reads the priority from a prefix (sd-daemon(3)). */
static int print_prefix(char *line, size_t size, enum weir_log_level level, const char *event)
{
    if (getenv("JOURNAL_STREAM") != NULL) {
        return snprintf(line, size, "<%d>%s", level_priority[level], event);
    }
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    return snprintf(line, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %-5s %s", utc.tm_year + 1900, utc.tm_mon + 1,
                    utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, now.tv_nsec / 1000000, level_name[level], event);
}

void weir_log(enum weir_log_level level, const char *event, const char *format, ...)
{
    if ((int)level > atomic_load(&least_severe)) return;

    int kept_errno = errno;
    char line[2048];
    size_t used = (size_t)print_prefix(line, sizeof line, level, event);
    if (format[0] != '\0') {
        line[used++] = ' ';
        va_list args;
        va_start(args, format);
        int more = vsnprintf(line + used, sizeof line - used - 1, format, args);
        va_end(args);
        if (more > 0) used += (size_t)more;
        if (used > sizeof line - 2) used = sizeof line - 2;
    }
    for (size_t i = 0; i < used; i++) {
        if ((unsigned char)line[i] < ' ') line[i] = ' ';
    }
    line[used++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, used);
    (void)written;
    errno = kept_errno;
}

const char *weir_log_quote(const char *text, char *out, int size)
{
    int used = 0;
    if (size < 3) {
        if (size > 0) out[0] = '\0';
        return out;
    }
    out[used++] = '"';
    for (const char *at = text; *at != '\0' && used < size - 3; at++) {
        if (*at == '"' || *at == '\\') out[used++] = '\\';
        out[used++] = (unsigned char)*at < ' ' ? '?' : *at;
    }
    out[used++] = '"';
    out[used] = '\0';
    return out;
}

bool weir_log_allowed(struct weir_log_limit *limit, int64_t now_mono_ms, uint32_t per_second, uint64_t *held_back)
{
    int64_t second = now_mono_ms / 1000;
    if (second != limit->second) {
        limit->second = second;
        limit->in_second = 0;
    }
    if (limit->in_second >= per_second) {
        limit->held_back++;
        return false;
    }
    limit->in_second++;
    if (held_back != NULL) *held_back = limit->held_back;
    limit->held_back = 0;
    return true;
}
