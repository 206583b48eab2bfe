/**
 * A shard of the map as text: how a map store holds it, and a line of the file in which a node keeps the map it knows.
 *
 *     epoch=7 members=agg-1,agg-2 joining=agg-4
 *
 * Nodes stand by name, because indices are those of one process's file. Fields are in this order, one space between
 * them; a list without names is left out. What else there is makes the text one that we do not read: a field that we do
 * not know may change what the others mean.
 */
#ifndef WEIR_COMMON_CLUSTER_ENTRY_H
#define WEIR_COMMON_CLUSTER_ENTRY_H

#include "common/base/buf.h"
#include "common/cluster/map.h"

enum { WEIR_ENTRY_BYTES_MOST = 512 }; /* longer text is none of ours */

struct weir_entry {
    uint32_t epoch; /* from 1 */
    uint32_t member_count;
    uint32_t joining_count;
    char members[WEIR_OWNERS_MOST][WEIR_NAME_BYTES];
    char joining[WEIR_JOINING_MOST][WEIR_NAME_BYTES];
};

/**
 * Read an entry. WEIR_EFORMAT with a reason: not of this form, a name that no node may have or that is there twice,
 * epoch 0, nobody at all; WEIR_ELIMIT more names, or more text, than an entry has.
 */
int weir_entry_parse(struct weir_view text, struct weir_entry *ret, struct weir_why *why);

/** Append the entry as text, without an end of line. */
void weir_entry_print(const struct weir_entry *entry, struct weir_buf *out);

/** The entry of a shard of @map. */
void weir_entry_of(const struct weir_map *map, const struct weir_shard *shard, struct weir_entry *ret);

/** The shard that the entry describes. WEIR_ENOTFOUND, with a reason, when @map has no aggregator of one of the names. */
int weir_entry_resolve(const struct weir_entry *entry, const struct weir_map *map, struct weir_shard *ret,
                       struct weir_why *why);

bool weir_entry_equal(const struct weir_entry *a, const struct weir_entry *b);

/** All shards as a store knows them, by shard; epoch 0: it knows none of this shard. */
struct weir_entries {
    struct weir_entry at[WEIR_SHARDS];
};

/**
 * Append @entries as the file in which a node keeps the map: a line that names the form, a line "shard SHARD entry" for
 * each that is known, and a CRC32C of what is before it.
 */
void weir_entries_print(const struct weir_entries *entries, struct weir_buf *out);

/**
 * Read such a file. WEIR_EFORMAT, with a reason that names the line; WEIR_ECHECKSUM cut or changed; WEIR_EVERSION of
 * another form. On failure @ret is not to be used.
 */
int weir_entries_parse(struct weir_view text, struct weir_entries *ret, struct weir_why *why);

#endif
