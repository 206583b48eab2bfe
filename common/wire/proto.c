#include "common/wire/proto.h"

#include "common/base/err.h"
#include "common/base/mem.h"

static void *arena_alloc(void *ctx, size_t size)
{
    struct weir_proto_arena *arena = ctx;
    if (size > sizeof arena->bytes - arena->used) {
        arena->full = true;
        return NULL;
    }
    void *memory = arena->bytes + arena->used;
    arena->used += (size + 15) & ~(size_t)15;
    if (arena->used > sizeof arena->bytes) arena->used = sizeof arena->bytes;
    return memory;
}

static void arena_free(void *ctx, void *memory)
{
    (void)ctx;
    (void)memory;
}

void weir_proto_arena_init(struct weir_proto_arena *arena)
{
    arena->allocator = (ProtobufCAllocator){.alloc = arena_alloc, .free = arena_free, .allocator_data = arena};
    arena->used = 0;
    arena->full = false;
}

int weir_proto_unpack(struct weir_proto_arena *arena, const ProtobufCMessageDescriptor *type, struct weir_view bytes,
                      ProtobufCMessage **ret)
{
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &arena->allocator, bytes.size, bytes.data);
    if (message == NULL) return arena->full ? WEIR_ELIMIT : WEIR_EFORMAT;

    *ret = message;
    return 0;
}

static void *budget_alloc(void *ctx, size_t size)
{
    struct weir_proto_budget *budget = ctx;
    if (size > budget->left) {
        budget->spent = true;
        return NULL;
    }
    budget->left -= size;
    void *memory = weir_malloc(size);
    if (memory == NULL) budget->no_memory = true;
    return memory;
}

static void budget_free(void *ctx, void *memory)
{
    (void)ctx;
    weir_free(memory);
}

int weir_proto_unpack_heap(struct weir_proto_budget *budget, const ProtobufCMessageDescriptor *type,
                           struct weir_view bytes, ProtobufCMessage **ret)
{
    budget->allocator = (ProtobufCAllocator){.alloc = budget_alloc, .free = budget_free, .allocator_data = budget};
    budget->left = WEIR_PROTO_HEAP_MOST;
    budget->spent = false;
    budget->no_memory = false;
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &budget->allocator, bytes.size, bytes.data);
    if (message == NULL) return budget->no_memory ? WEIR_ENOMEM : budget->spent ? WEIR_ELIMIT : WEIR_EFORMAT;

    *ret = message;
    return 0;
}

int weir_proto_text(const char *field, char *out, size_t size)
{
    size_t length = strlen(field);
    if (length >= size) return WEIR_EFORMAT;
    memcpy(out, field, length + 1);
    return 0;
}
