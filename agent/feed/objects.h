/**
 * The records of a JSON text that may be large: objects one after the other (JSON lines), the elements of an array, or
 * the elements of the array "records" of an object, as Azure writes them. Only where they begin and end is looked for;
 * a record that is sound is for jansson to say. Pure.
 */
#ifndef WEIR_AGENT_FEED_OBJECTS_H
#define WEIR_AGENT_FEED_OBJECTS_H

#include "common/base/bytes.h"

struct feed_objects {
    size_t scanned;  /* bytes at the front of the input that were looked at */
    uint32_t depth;  /* open brackets */
    uint32_t within; /* @depth when the record began */
    bool in_record;
    bool given_up; /* the record is too long: its end is looked for, and it is not returned */
    bool in_string;
    bool escaped;
    bool in_array;   /* the outermost bracket is '[' */
    bool in_wrapper; /* the outermost object has its records in an array */
    bool in_rubbish; /* of this line, something that is no JSON was told of */
    bool at_left;    /* the record began in the first column */
    bool left;       /* the next byte is in the first column */
    uint8_t key;     /* how much of "records" the first key of an outermost object is so far; see objects.c */
    uint64_t line;   /* of the next byte, from 0 */
    uint64_t record_line;
};

enum feed_found {
    FEED_FOUND_NONE,    /* all was looked at */
    FEED_FOUND_RECORD,  /* *record is one */
    FEED_FOUND_RUBBISH, /* bytes that belong to nothing; told of once per line */
    FEED_FOUND_BROKEN   /* a record has no end before the next one begins, or a string none in its line */
};

/**
 * Look on. @bytes is what is left of the input; *used: how much of its front is done with, which the caller must take
 * off before the next call (for a record: after it has looked at it). While FEED_FOUND_NONE is returned in the middle
 * of a record, *used is where it begins.
 */
enum feed_found feed_objects_next(struct feed_objects *objects, struct weir_view bytes, struct weir_view *record,
                                  size_t *used);

/** Give up the record that is being read, because it is too long: all that was looked at is done with. */
void feed_objects_skip(struct feed_objects *objects);

/** Begin anew, as at the beginning of the text, with the line kept. */
void feed_objects_reset(struct feed_objects *objects);

#endif
