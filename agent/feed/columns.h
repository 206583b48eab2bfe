/** Lines of columns whose order a header line, or the operator, says: which column is which field. Pure. */
#ifndef WEIR_AGENT_FEED_COLUMNS_H
#define WEIR_AGENT_FEED_COLUMNS_H

#include "common/base/bytes.h"

enum { FEED_COLUMNS_MOST = 128, FEED_FIELDS_MOST = 32, FEED_KEEP_MOST = 8 };

/** What an operator wants kept of a record, beside what becomes a flow's fields. Names borrow. */
struct feed_keep {
    struct weir_view name[FEED_KEEP_MOST];
    size_t count;
};

/** The fields that a format knows, and those that it knows of and does without. */
struct feed_names {
    const char *const *known; /* a field's number is its place here */
    size_t known_count;       /* at most FEED_FIELDS_MOST */
    const char *const *other;
    size_t other_count;
};

struct feed_columns {
    int8_t field[FEED_COLUMNS_MOST]; /* -1: a column that is not used */
    int8_t kept[FEED_COLUMNS_MOST];  /* its place in struct feed_keep; -1: it is not kept */
    size_t count;                    /* 0: nobody has said yet */
    char separator;                  /* ' ', ',' or '\t' */
};

/** Values by field; data NULL: the line has no such column. */
struct feed_values {
    struct weir_view at[FEED_FIELDS_MOST];
    struct weir_view kept[FEED_KEEP_MOST];
};

/** "name" of "${name}", as AWS writes it in some places. */
struct weir_view feed_columns_bare(struct weir_view word);

/** Are the names the same? "${name}", "name", upper case, '-', '_' and '.' (which some write for Zeek's) make no difference. */
bool feed_columns_same(struct weir_view name, struct weir_view word);

/** The place of a name among those that are kept, or -1. */
int feed_keep_find(const struct feed_keep *keep, struct weir_view word);

/** The number of a field, -1 of one that is known and not used, or WEIR_ENOTFOUND. */
int feed_columns_find(const struct feed_names *names, struct weir_view word);

/**
 * Take the names in @line for the columns.
 * WEIR_EFORMAT: a name is not known, which goes to *unknown, or there is none; WEIR_ELIMIT: too many.
 */
int feed_columns_take(struct feed_columns *columns, const struct feed_names *names, const struct feed_keep *keep,
                      struct weir_view line, char separator, struct weir_view *unknown);

/** Is the first word of @line the name of a column? */
bool feed_columns_is_header(const struct feed_names *names, struct weir_view line, char separator);

/** Which of the separators stands between the words of @line: a comma or a tab if there is one, else a blank. */
char feed_columns_separator(struct weir_view line);

/** Take the next word off *line; double quotes around it are taken off. False at the end. */
bool feed_columns_next(struct weir_view *line, char separator, struct weir_view *word);

/** Split a line. WEIR_EFORMAT when it has not as many columns as were said; *count is how many it has. */
int feed_columns_split(const struct feed_columns *columns, struct weir_view line, struct feed_values *values,
                       size_t *count);

#endif
