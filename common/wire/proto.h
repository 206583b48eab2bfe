/**
 * Unpacking protobuf-c messages that a stranger sent, without the heap: all parts of one message come from an arena of
 * fixed size in the caller's frame. A message that does not fit is refused. Internal to common/wire.
 */
#ifndef WEIR_COMMON_WIRE_PROTO_H
#define WEIR_COMMON_WIRE_PROTO_H

#include "common/base/bytes.h"

#include <protobuf-c/protobuf-c.h>

enum {
    WEIR_PROTO_ARENA_BYTES = 32768,
    WEIR_PROTO_HEAP_MOST = 8 << 20,
};

struct weir_proto_arena {
    ProtobufCAllocator allocator;
    size_t used;
    bool full; /* an allocation was refused */
    _Alignas(16) uint8_t bytes[WEIR_PROTO_ARENA_BYTES];
};

/** Prepare an empty arena; its memory need not be initialised. */
void weir_proto_arena_init(struct weir_proto_arena *arena);

/**
 * Unpack @bytes; *@ret lives as long as @arena, there is nothing to free.
 * WEIR_EFORMAT; WEIR_ELIMIT when it has more parts than the arena holds.
 */
int weir_proto_unpack(struct weir_proto_arena *arena, const ProtobufCMessageDescriptor *type, struct weir_view bytes,
                      ProtobufCMessage **ret);

/** Heap memory for one message, up to a budget: for messages that an arena cannot hold. */
struct weir_proto_budget {
    ProtobufCAllocator allocator;
    size_t left;
    bool spent; /* an allocation was refused for it */
    bool no_memory;
};

/**
 * Unpack @bytes on the heap, in at most WEIR_PROTO_HEAP_MOST bytes; free *@ret with
 * protobuf_c_message_free_unpacked(message, &budget->allocator). WEIR_EFORMAT; WEIR_ELIMIT; WEIR_ENOMEM.
 */
int weir_proto_unpack_heap(struct weir_proto_budget *budget, const ProtobufCMessageDescriptor *type,
                           struct weir_view bytes, ProtobufCMessage **ret);

/** Copy a string field to @out of @size bytes. WEIR_EFORMAT when it is too long. */
int weir_proto_text(const char *field, char *out, size_t size);

/** A lent C string as protobuf-c wants it: it never writes through it. */
static inline char *weir_proto_lent_text(const char *text)
{
    union {
        const char *lent;
        char *field;
    } as = {.lent = text};
    return as.field;
}

#endif
