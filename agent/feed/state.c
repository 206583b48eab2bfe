#include "agent/feed/state.h"

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/mem.h"

#include <stdio.h>

#define MAGIC UINT32_C(0x46525257) /* "WRRF" */

/* All numbers little-endian: magic, CRC of the rest, next mark, count, then ten numbers a file. */
enum { HEAD_BYTES = 24, FILE_NUMBERS = 10, FILE_BYTES = FILE_NUMBERS * 8, ROOM_LEAST = 64 };

uint64_t feed_hash(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static int have_room(struct feed_state *state, size_t count)
{
    if (count <= state->room) return 0;
    size_t room = state->room < ROOM_LEAST ? ROOM_LEAST : state->room * 2;
    if (room < count) room = count;
    struct feed_file *more = weir_realloc(state->files, room * sizeof *more);
    if (more == NULL) return WEIR_ENOMEM;
    state->files = more;
    state->room = room;
    return 0;
}

static size_t slot_of(const struct feed_state *state, uint64_t feed, uint64_t device, uint64_t inode)
{
    const uint64_t key[] = {feed, device, inode};
    size_t slot = weir_hash64(key, sizeof key, 0) & (state->slot_count - 1);
    while (state->slots[slot] != 0) {
        const struct feed_file *file = &state->files[state->slots[slot] - 1];
        if (file->inode == inode && file->device == device && file->feed == feed) break;
        slot = (slot + 1) & (state->slot_count - 1);
    }
    return slot;
}

/** Make the slots anew, at most half full. */
static int index_files(struct feed_state *state)
{
    size_t wanted = ROOM_LEAST;
    while (wanted < state->room * 2)
        wanted *= 2;
    if (wanted != state->slot_count) {
        uint32_t *slots = weir_calloc(wanted, sizeof *slots);
        if (slots == NULL) return WEIR_ENOMEM;
        weir_free(state->slots);
        state->slots = slots;
        state->slot_count = wanted;
    }
    memset(state->slots, 0, state->slot_count * sizeof *state->slots);
    for (size_t i = 0; i < state->count; i++) {
        const struct feed_file *file = &state->files[i];
        state->slots[slot_of(state, file->feed, file->device, file->inode)] = (uint32_t)i + 1;
    }
    return 0;
}

static int decode(struct feed_state *state, struct weir_view bytes)
{
    if (bytes.size < HEAD_BYTES || weir_load_u32le(bytes.data) != MAGIC) return WEIR_ECORRUPT;
    if (weir_load_u32le(bytes.data + 4) != weir_crc32c(0, bytes.data + 8, bytes.size - 8)) return WEIR_ECORRUPT;
    uint64_t count = weir_load_u64le(bytes.data + 16);
    if (count > FEED_FILES_MOST || bytes.size != HEAD_BYTES + count * FILE_BYTES) return WEIR_ECORRUPT;
    int rc = have_room(state, count);
    if (rc < 0) return rc;
    state->next_mark = weir_load_u64le(bytes.data + 8);
    state->count = count;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *at = bytes.data + HEAD_BYTES + i * FILE_BYTES;
        state->files[i] = (struct feed_file){.feed = weir_load_u64le(at),
                                             .device = weir_load_u64le(at + 8),
                                             .inode = weir_load_u64le(at + 16),
                                             .offset = weir_load_u64le(at + 24),
                                             .hash = weir_load_u64le(at + 32),
                                             .take_to = weir_load_u64le(at + 40),
                                             .take_mark = weir_load_u64le(at + 48),
                                             .raw_bytes = weir_load_u64le(at + 56),
                                             .changed_ns = (int64_t)weir_load_u64le(at + 64),
                                             .seen_ms = (int64_t)weir_load_u64le(at + 72)};
    }
    return 0;
}

int feed_state_init(struct feed_state *state, const char *folder, bool durable)
{
    *state = (struct feed_state){.durable = durable, .next_mark = 1};
    size_t size = strlen(folder) + sizeof "/feeds";
    state->folder = weir_strdup(folder);
    state->path = weir_malloc(size);
    if (state->folder == NULL || state->path == NULL) return WEIR_ENOMEM;
    snprintf(state->path, size, "%s/feeds", folder);

    struct weir_buf buf = WEIR_BUF_INIT;
    int rc = weir_file_load(state->path, HEAD_BYTES + (size_t)FEED_FILES_MOST * FILE_BYTES, &buf);
    if (rc == 0) rc = decode(state, weir_buf_view(&buf));
    if (rc == WEIR_ELIMIT) rc = WEIR_ECORRUPT;
    weir_buf_fini(&buf);
    if (rc == 0 || rc == WEIR_ENOTFOUND) rc = index_files(state);
    return rc;
}

void feed_state_fini(struct feed_state *state)
{
    weir_free(state->folder);
    weir_free(state->path);
    weir_free(state->files);
    weir_free(state->slots);
    *state = (struct feed_state){0};
}

int feed_state_save(struct feed_state *state)
{
    size_t size = HEAD_BYTES + state->count * FILE_BYTES;
    uint8_t *bytes = weir_calloc(1, size);
    if (bytes == NULL) return WEIR_ENOMEM;
    weir_store_u32le(bytes, MAGIC);
    weir_store_u64le(bytes + 8, state->next_mark);
    weir_store_u64le(bytes + 16, state->count);
    for (size_t i = 0; i < state->count; i++) {
        const struct feed_file *file = &state->files[i];
        const uint64_t numbers[FILE_NUMBERS] = {file->feed,
                                                file->device,
                                                file->inode,
                                                file->offset,
                                                file->hash,
                                                file->take_to,
                                                file->take_mark,
                                                file->raw_bytes,
                                                (uint64_t)file->changed_ns,
                                                (uint64_t)file->seen_ms};
        for (size_t n = 0; n < FILE_NUMBERS; n++)
            weir_store_u64le(bytes + HEAD_BYTES + i * FILE_BYTES + n * 8, numbers[n]);
    }
    weir_store_u32le(bytes + 4, weir_crc32c(0, bytes + 8, size - 8));
    const struct weir_view part = weir_view_of(bytes, size);
    int rc = weir_file_replace(state->folder, state->path, &part, 1, state->durable);
    weir_free(bytes);
    return rc;
}

int feed_state_find(const struct feed_state *state, uint64_t feed, uint64_t device, uint64_t inode)
{
    uint32_t found = state->slots[slot_of(state, feed, device, inode)];
    return found == 0 ? WEIR_ENOTFOUND : (int)found - 1;
}

int feed_state_add(struct feed_state *state, const struct feed_file *file, int64_t since_ms)
{
    if (state->count == FEED_FILES_MOST) {
        size_t oldest = 0;
        for (size_t i = 1; i < state->count; i++) {
            if (state->files[i].seen_ms < state->files[oldest].seen_ms) oldest = i;
        }
        if (state->files[oldest].seen_ms >= since_ms) return WEIR_EFULL;
        state->files[oldest] = *file;
        (void)index_files(state); /* as many as before: needs no memory */
        return (int)oldest;
    }
    size_t room = state->room;
    int rc = have_room(state, state->count + 1);
    if (rc < 0) return rc;
    if (state->room != room) rc = index_files(state);
    if (rc < 0) return rc;
    state->files[state->count] = *file;
    state->slots[slot_of(state, file->feed, file->device, file->inode)] = (uint32_t)state->count + 1;
    return (int)state->count++;
}

void feed_state_remove(struct feed_state *state, size_t index)
{
    state->files[index] = state->files[--state->count];
    (void)index_files(state); /* fewer than before: needs no memory */
}
