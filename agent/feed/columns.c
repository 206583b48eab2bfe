#include "agent/feed/columns.h"

#include "common/base/err.h"

char feed_columns_separator(struct weir_view line)
{
    if (line.size > 0 && memchr(line.data, ',', line.size) != NULL) return ',';
    if (line.size > 0 && memchr(line.data, '\t', line.size) != NULL) return '\t';
    return ' ';
}

bool feed_columns_next(struct weir_view *line, char separator, struct weir_view *word)
{
    if (line->data == NULL) return false;
    if (separator == ' ') {
        while (line->size > 0 && *line->data == ' ')
            *line = weir_view_of(line->data + 1, line->size - 1);
        if (line->size == 0) return false;
    }
    const uint8_t *end = line->size > 0 ? memchr(line->data, separator, line->size) : NULL;
    size_t size = end == NULL ? line->size : (size_t)(end - line->data);
    *word = weir_view_of(line->data, size);
    *line = end == NULL ? weir_view_of(NULL, 0) : weir_view_of(end + 1, line->size - size - 1);
    if (size >= 2 && word->data[0] == '"' && word->data[size - 1] == '"')
        *word = weir_view_of(word->data + 1, size - 2);
    return true;
}

struct weir_view feed_columns_bare(struct weir_view word)
{
    bool wrapped = word.size > 3 && memcmp(word.data, "${", 2) == 0 && word.data[word.size - 1] == '}';
    return wrapped ? weir_view_of(word.data + 2, word.size - 3) : word;
}

static uint8_t folded(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') return (uint8_t)(c - 'A' + 'a');
    return c == '-' || c == '.' ? '_' : c;
}

bool feed_columns_same(struct weir_view name, struct weir_view word)
{
    name = feed_columns_bare(name);
    word = feed_columns_bare(word);
    if (name.size != word.size) return false;
    for (size_t i = 0; i < word.size; i++) {
        if (folded(name.data[i]) != folded(word.data[i])) return false;
    }
    return true;
}

int feed_keep_find(const struct feed_keep *keep, struct weir_view word)
{
    for (size_t i = 0; i < keep->count; i++) {
        if (feed_columns_same(keep->name[i], word)) return (int)i;
    }
    return -1;
}

/** The place of a name in a list, or -1. Most names are another one by their first letter. */
static int place(const char *const *list, size_t count, struct weir_view word)
{
    for (size_t i = 0; i < count; i++) {
        if (folded((uint8_t)list[i][0]) == folded(word.data[0]) && feed_columns_same(weir_view_text(list[i]), word))
            return (int)i;
    }
    return -1;
}

int feed_columns_find(const struct feed_names *names, struct weir_view word)
{
    word = feed_columns_bare(word);
    if (word.size == 0) return WEIR_ENOTFOUND;
    int field = place(names->known, names->known_count, word);
    if (field >= 0) return field;
    return place(names->other, names->other_count, word) < 0 ? WEIR_ENOTFOUND : -1;
}

bool feed_columns_is_header(const struct feed_names *names, struct weir_view line, char separator)
{
    struct weir_view word;
    return feed_columns_next(&line, separator, &word) && feed_columns_find(names, word) != WEIR_ENOTFOUND;
}

int feed_columns_take(struct feed_columns *columns, const struct feed_names *names, const struct feed_keep *keep,
                      struct weir_view line, char separator, struct weir_view *unknown)
{
    struct feed_columns fresh = {.separator = separator};
    struct weir_view word;
    *unknown = weir_view_of(NULL, 0);
    while (feed_columns_next(&line, separator, &word)) {
        if (fresh.count == FEED_COLUMNS_MOST) return WEIR_ELIMIT;
        int field = feed_columns_find(names, word);
        if (field == WEIR_ENOTFOUND && unknown->data == NULL) *unknown = word;
        fresh.kept[fresh.count] = (int8_t)feed_keep_find(keep, word);
        fresh.field[fresh.count++] = (int8_t)(field == WEIR_ENOTFOUND ? -1 : field);
    }
    if (fresh.count == 0) return WEIR_EFORMAT;
    *columns = fresh;
    return unknown->data == NULL ? 0 : WEIR_EFORMAT;
}

int feed_columns_split(const struct feed_columns *columns, struct weir_view line, struct feed_values *values,
                       size_t *count)
{
    struct weir_view word;
    *values = (struct feed_values){0};
    *count = 0;
    while (feed_columns_next(&line, columns->separator, &word)) {
        if (*count < columns->count && columns->field[*count] >= 0) values->at[columns->field[*count]] = word;
        if (*count < columns->count && columns->kept[*count] >= 0) values->kept[columns->kept[*count]] = word;
        (*count)++;
    }
    return *count == columns->count ? 0 : WEIR_EFORMAT;
}
