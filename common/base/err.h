/**
 * The error table: every function of ours that can fail returns 0 or a count, or one of these negative codes.
 *
 * A code says which class of thing went wrong, so that callers can act on it; `struct weir_why` carries the
 * sentence an operator can act on, where setting something up fails.
 */
#ifndef WEIR_COMMON_BASE_ERR_H
#define WEIR_COMMON_BASE_ERR_H

#define WEIR_ERRORS(X)                                \
    X(ENOMEM, 1, "out of memory")                     \
    X(ESHORT, 2, "the input ends too early")          \
    X(EFORMAT, 3, "the input breaks its format")      \
    X(EVERSION, 4, "the version is not one we speak") \
    X(ECHECKSUM, 5, "the checksum does not match")    \
    X(EAGAIN, 6, "not now, try again")                \
    X(EFULL, 7, "no room left")                       \
    X(ELIMIT, 8, "a configured limit is reached")     \
    X(ENOTFOUND, 9, "not found")                      \
    X(EEXIST, 10, "exists already")                   \
    X(EPARAM, 11, "a value is not allowed here")      \
    X(EIO, 12, "input or output failed")              \
    X(ENOSPACE, 13, "the disk is full")               \
    X(ETIMEOUT, 14, "the time is up")                 \
    X(EDENIED, 15, "not allowed")                     \
    X(ECLOSED, 16, "closed")                          \
    X(EUNREACHABLE, 17, "the peer cannot be reached") \
    X(ECORRUPT, 18, "stored data is damaged")         \
    X(EUNSUPPORTED, 19, "not supported")              \
    X(ECANCELLED, 20, "cancelled")

enum weir_err {
#define WEIR_ERR_ENUM(name, number, text) WEIR_##name = -(number),
    WEIR_ERRORS(WEIR_ERR_ENUM)
#undef WEIR_ERR_ENUM
};

/** The name of code @rc ("ESHORT"), or "OK" for 0 and counts, or "EUNKNOWN". Static memory. */
const char *weir_err_name(int rc);

/** A sentence fragment for code @rc, for people. Static memory. */
const char *weir_err_text(int rc);

/** Why setting something up failed, in words that tell an operator what to do. Cut at its size. */
struct weir_why {
    char text[512];
};

/** Write the reason; @why may be NULL. Returns @rc, so that a failing path is one line. */
int weir_why_set(struct weir_why *why, int rc, const char *format, ...) __attribute__((format(printf, 3, 4)));

/** Put "prefix: " before a reason that is already there; @why may be NULL. Returns @rc. */
int weir_why_prefix(struct weir_why *why, int rc, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
