/** One JSON record with jansson, and its values as the text that all parsers read. */
#ifndef WEIR_AGENT_FEED_JSON_H
#define WEIR_AGENT_FEED_JSON_H

#include "agent/feed/parser.h"

#include <jansson.h>

/** Read an object; *ret is the caller's. WEIR_EFORMAT: parser->reason says where. */
int feed_json_load(struct feed_parser *parser, struct weir_view text, json_t **ret);

/** The text of a string or a number (which goes to @scratch); data NULL for anything else, and when @value is NULL. */
struct weir_view feed_json_text(const json_t *value, char scratch[FEED_NUMBER_BYTES]);

/** The member that @path leads to, '.' between levels; NULL when there is none. Names are as the record writes them. */
const json_t *feed_json_at(const json_t *object, struct weir_view path);

/** The string of a member; empty when there is none. */
struct weir_view feed_json_member(const json_t *object, const char *name);

#endif
