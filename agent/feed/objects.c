#include "agent/feed/objects.h"

static const char wrapper_key[] = "records";

enum { KEY_NONE, KEY_QUOTE, KEY_LETTERS }; /* then KEY_LETTERS + letters that agree */

void feed_objects_reset(struct feed_objects *objects)
{
    *objects = (struct feed_objects){.line = objects->line, .left = objects->left, .in_rubbish = true};
}

void feed_objects_skip(struct feed_objects *objects)
{
    objects->scanned = 0;
    objects->given_up = true;
}

/** Follow the first key of an outermost object: is it the one that holds the records? */
static void follow_key(struct feed_objects *objects, uint8_t c)
{
    size_t agree = (size_t)objects->key - KEY_LETTERS;
    if (objects->key == KEY_QUOTE) {
        if (c == '"')
            objects->key = KEY_LETTERS;
        else if (c != ' ' && c != '\t' && c != '\r' && c != '\n')
            objects->key = KEY_NONE;
    } else if (c == '"' && wrapper_key[agree] == '\0') {
        objects->key = KEY_NONE;
        objects->in_wrapper = true;
        objects->in_record = false;
    } else {
        objects->key = wrapper_key[agree] == (char)c && c != '\0' ? (uint8_t)(objects->key + 1) : KEY_NONE;
    }
}

static void begin_record(struct feed_objects *objects)
{
    objects->in_record = true;
    objects->given_up = false;
    objects->within = objects->depth;
    objects->record_line = objects->line;
    objects->at_left = objects->left;
    objects->key = objects->depth == 0 ? KEY_QUOTE : KEY_NONE;
}

/** May a record begin with a brace at this depth? */
static bool is_record_depth(const struct feed_objects *objects)
{
    switch (objects->depth) {
    case 0: return true;
    case 1: return objects->in_array;
    case 2: return objects->in_wrapper;
    default: return false;
    }
}

/** One byte outside of strings. True: it belongs to nothing. */
static bool take(struct feed_objects *objects, uint8_t c)
{
    switch (c) {
    case '"': objects->in_string = true; return objects->depth == 0 || (objects->depth == 1 && objects->in_array);
    case '{':
    case '[':
        if (objects->depth == 0) {
            objects->in_array = c == '[';
            objects->in_wrapper = false;
        }
        objects->depth++;
        return false;
    case '}':
    case ']':
        if (objects->depth == 0) return true;
        objects->depth--;
        return false;
    case ',':
    case ' ':
    case '\t':
    case '\r':
    case '\n': return false;
    default: return !objects->in_record && (objects->depth == 0 || (objects->depth == 1 && objects->in_array));
    }
}

enum feed_found feed_objects_next(struct feed_objects *objects, struct weir_view bytes, struct weir_view *record,
                                  size_t *used)
{
    size_t begin = 0; /* of the record, where we are in one: the caller took off what was before it */
    for (size_t i = objects->scanned; i < bytes.size; i++) {
        uint8_t c = bytes.data[i];
        bool left = objects->left;
        bool broken = objects->in_string ? c == '\n' : c == '{' && left && objects->in_record && objects->at_left;
        if (broken) {
            bool told = objects->in_record;
            feed_objects_reset(objects); /* this byte is looked at again */
            objects->in_rubbish = false;
            *used = i;
            if (told) return FEED_FOUND_BROKEN;
        }
        objects->left = c == '\n';
        if (c == '\n') {
            objects->line++;
            objects->in_rubbish = false;
        }
        if (objects->key != KEY_NONE) follow_key(objects, c);
        if (objects->in_string) {
            if (objects->escaped)
                objects->escaped = false;
            else if (c == '\\')
                objects->escaped = true;
            else if (c == '"')
                objects->in_string = false;
            continue;
        }
        if (c == '{' && !objects->in_record && is_record_depth(objects)) {
            objects->left = left;
            begin_record(objects);
            objects->left = false;
            begin = i;
        }
        bool rubbish = take(objects, c) && !objects->in_record;
        if (rubbish && !objects->in_rubbish) {
            objects->in_rubbish = true;
            objects->record_line = objects->line;
            *used = i + 1;
            objects->scanned = 0;
            return FEED_FOUND_RUBBISH;
        }
        bool ends = (c == '}' || c == ']') && objects->in_record && objects->depth == objects->within;
        if (!ends) continue;
        objects->in_record = false;
        objects->key = KEY_NONE;
        if (objects->given_up) continue;
        *record = weir_view_of(bytes.data + begin, i + 1 - begin);
        *used = i + 1;
        objects->scanned = 0;
        return FEED_FOUND_RECORD;
    }
    *used = objects->in_record && !objects->given_up ? begin : bytes.size;
    objects->scanned = bytes.size - *used;
    return FEED_FOUND_NONE;
}
