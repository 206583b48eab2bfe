#include "common/cluster/entry.h"

#include "common/base/hash.h"

#include <inttypes.h>
#include <stdio.h>

static const char form[] = "weir map 1\n";
static const char sum_word[] = "crc32c ";

/* ---- one entry ---- */

/** Step over @word when it is what comes next. */
static bool take_word(struct weir_cursor *c, const char *word)
{
    size_t size = strlen(word);
    if (weir_cursor_left(c) < size || memcmp(c->at, word, size) != 0) return false;
    weir_cursor_skip(c, size);
    return true;
}

/** Decimal digits without a zero before them, at most @most. */
static bool take_number(struct weir_cursor *c, uint64_t most, uint64_t *ret)
{
    uint64_t value = 0;
    const uint8_t *begin = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
        value = value * 10 + (uint64_t)(*c->at++ - '0');
        if (value > most) return false;
    }
    if (c->at == begin || (*begin == '0' && c->at - begin > 1)) return false;
    *ret = value;
    return true;
}

static int take_name(struct weir_cursor *c, char name[WEIR_NAME_BYTES], struct weir_why *why)
{
    size_t size = 0;
    while (c->at + size < c->end && c->at[size] != ',' && c->at[size] != ' ')
        size++;
    if (size >= WEIR_NAME_BYTES) return weir_why_set(why, WEIR_ELIMIT, "a name is longer than a name may be");
    memcpy(name, weir_cursor_take(c, size), size);
    name[size] = '\0';
    if (strlen(name) == size && weir_name_is_valid(name)) return 0;
    return weir_why_set(why, WEIR_EFORMAT, "a name is not one that a node may have");
}

static int take_names(struct weir_cursor *c, char names[][WEIR_NAME_BYTES], uint32_t most, uint32_t *count,
                      struct weir_why *why)
{
    do {
        if (*count == most) return weir_why_set(why, WEIR_ELIMIT, "more than %u names in a list", most);
        int rc = take_name(c, names[*count], why);
        if (rc < 0) return rc;
        (*count)++;
    } while (take_word(c, ","));
    return 0;
}

static const char *name_at(const struct weir_entry *entry, uint32_t i)
{
    return i < entry->member_count ? entry->members[i] : entry->joining[i - entry->member_count];
}

static bool has_name_twice(const struct weir_entry *entry)
{
    uint32_t count = entry->member_count + entry->joining_count;
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(name_at(entry, i), name_at(entry, j)) == 0) return true;
        }
    }
    return false;
}

int weir_entry_parse(struct weir_view text, struct weir_entry *ret, struct weir_why *why)
{
    struct weir_entry entry = {0};
    struct weir_cursor c = weir_cursor_of(text);
    uint64_t epoch = 0;
    int rc = 0;
    if (text.size > WEIR_ENTRY_BYTES_MOST)
        return weir_why_set(why, WEIR_ELIMIT, "an entry of %zu bytes; %d are the most", text.size,
                            WEIR_ENTRY_BYTES_MOST);
    if (!take_word(&c, "epoch=") || !take_number(&c, UINT32_MAX, &epoch) || epoch == 0)
        return weir_why_set(why, WEIR_EFORMAT, "an entry begins with epoch=NUMBER, from 1");
    entry.epoch = (uint32_t)epoch;
    if (take_word(&c, " members=")) rc = take_names(&c, entry.members, WEIR_OWNERS_MOST, &entry.member_count, why);
    if (rc == 0 && take_word(&c, " joining="))
        rc = take_names(&c, entry.joining, WEIR_JOINING_MOST, &entry.joining_count, why);
    if (rc < 0) return rc;
    if (weir_cursor_left(&c) > 0)
        return weir_why_set(why, WEIR_EFORMAT, "at byte %zu: not a field that is known",
                            text.size - weir_cursor_left(&c));
    if (entry.member_count + entry.joining_count == 0)
        return weir_why_set(why, WEIR_EFORMAT, "an entry without members");
    if (has_name_twice(&entry)) return weir_why_set(why, WEIR_EFORMAT, "a name is there twice");
    *ret = entry;
    return 0;
}

static void print_names(const char *field, const char names[][WEIR_NAME_BYTES], uint32_t count, struct weir_buf *out)
{
    for (uint32_t i = 0; i < count; i++)
        weir_buf_printf(out, "%s%s", i == 0 ? field : ",", names[i]);
}

void weir_entry_print(const struct weir_entry *entry, struct weir_buf *out)
{
    weir_buf_printf(out, "epoch=%" PRIu32, entry->epoch);
    print_names(" members=", entry->members, entry->member_count, out);
    print_names(" joining=", entry->joining, entry->joining_count, out);
}

static void copy_name(char to[WEIR_NAME_BYTES], const char from[WEIR_NAME_BYTES])
{
    memcpy(to, from, WEIR_NAME_BYTES);
}

void weir_entry_of(const struct weir_map *map, const struct weir_shard *shard, struct weir_entry *ret)
{
    *ret = (struct weir_entry){
        .epoch = shard->epoch, .member_count = shard->member_count, .joining_count = shard->joining_count};
    for (uint32_t i = 0; i < shard->member_count; i++)
        copy_name(ret->members[i], map->aggregators[shard->members[i]].name);
    for (uint32_t i = 0; i < shard->joining_count; i++)
        copy_name(ret->joining[i], map->aggregators[shard->joining[i]].name);
}

int weir_entry_resolve(const struct weir_entry *entry, const struct weir_map *map, struct weir_shard *ret,
                       struct weir_why *why)
{
    struct weir_shard shard = {.epoch = entry->epoch,
                               .member_count = (uint8_t)entry->member_count,
                               .joining_count = (uint8_t)entry->joining_count};
    for (uint32_t i = 0; i < entry->member_count + entry->joining_count; i++) {
        int index = weir_map_find_aggregator(map, name_at(entry, i));
        if (index < 0) return weir_why_set(why, WEIR_ENOTFOUND, "no aggregator is named %s", name_at(entry, i));
        uint8_t *place = i < entry->member_count ? &shard.members[i] : &shard.joining[i - entry->member_count];
        *place = (uint8_t)index;
    }
    *ret = shard;
    return 0;
}

bool weir_entry_equal(const struct weir_entry *a, const struct weir_entry *b)
{
    if (a->epoch != b->epoch || a->member_count != b->member_count || a->joining_count != b->joining_count)
        return false;
    for (uint32_t i = 0; i < a->member_count + a->joining_count; i++) {
        if (strcmp(name_at(a, i), name_at(b, i)) != 0) return false;
    }
    return true;
}

/* ---- all of them ---- */

void weir_entries_print(const struct weir_entries *entries, struct weir_buf *out)
{
    size_t begin = out->size;
    weir_buf_text(out, form);
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        if (entries->at[shard].epoch == 0) continue;
        weir_buf_printf(out, "shard %" PRIu32 " ", shard);
        weir_entry_print(&entries->at[shard], out);
        weir_buf_u8(out, '\n');
    }
    if (out->failed) return;
    uint32_t sum = weir_crc32c(0, out->data + begin, out->size - begin);
    weir_buf_printf(out, "%s%08" PRIx32 "\n", sum_word, sum);
}

/** Is the last line the right sum of those before it? Takes it off. */
static bool take_sum(struct weir_view *text)
{
    enum { SUM_LINE = sizeof sum_word - 1 + 8 + 1 };
    char line[SUM_LINE + 1];
    if (text->size < SUM_LINE) return false;
    struct weir_view before = weir_view_of(text->data, text->size - SUM_LINE);
    snprintf(line, sizeof line, "%s%08" PRIx32 "\n", sum_word, weir_crc32c(0, before.data, before.size));
    if (memcmp(text->data + before.size, line, SUM_LINE) != 0) return false;
    *text = before;
    return true;
}

int weir_entries_parse(struct weir_view text, struct weir_entries *ret, struct weir_why *why)
{
    struct weir_cursor c = weir_cursor_of(text);
    if (!take_word(&c, form)) return weir_why_set(why, WEIR_EVERSION, "not a map, or of another version");
    if (!take_sum(&text)) return weir_why_set(why, WEIR_ECHECKSUM, "the map is cut or was changed");
    c.end = text.data + text.size;
    memset(ret, 0, sizeof *ret);
    for (uint32_t line = 2; weir_cursor_left(&c) > 0; line++) {
        uint64_t shard = 0;
        if (!take_word(&c, "shard ") || !take_number(&c, WEIR_SHARDS - 1, &shard) || !take_word(&c, " ") ||
            ret->at[shard].epoch != 0)
            return weir_why_set(why, WEIR_EFORMAT, "line %" PRIu32 ": not the line of a shard", line);
        const uint8_t *end = memchr(c.at, '\n', weir_cursor_left(&c));
        if (end == NULL) return weir_why_set(why, WEIR_EFORMAT, "line %" PRIu32 " has no end", line);
        size_t size = (size_t)(end - c.at);
        int rc = weir_entry_parse(weir_view_of(weir_cursor_take(&c, size), size), &ret->at[shard], why);
        if (rc < 0) return weir_why_prefix(why, WEIR_EFORMAT, "line %" PRIu32, line);
        weir_cursor_skip(&c, 1);
    }
    return 0;
}
