#include "common/base/mem.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE_BYTES = 2 << 20, LARGE_BYTES = 4 << 20, MAPPED_BYTES = 256 << 10 };

static _Thread_local int64_t fail_after = -1;
static _Thread_local bool failed;

/** True when this allocation is the one that a test armed to fail. */
static inline bool must_fail(void)
{
    if (__builtin_expect(fail_after < 0, 1)) return false;
    if (fail_after-- > 0) return false;
    failed = true;
    return true;
}

void *weir_calloc(size_t count, size_t size)
{
    return must_fail() ? NULL : calloc(count, size);
}

void *weir_malloc(size_t size)
{
    return must_fail() ? NULL : malloc(size);
}

void *weir_realloc(void *memory, size_t size)
{
    return must_fail() ? NULL : realloc(memory, size);
}

char *weir_strdup(const char *text)
{
    return must_fail() ? NULL : strdup(text);
}

char *weir_strndup(const char *text, size_t size)
{
    return must_fail() ? NULL : strndup(text, size);
}

void weir_free(void *memory)
{
    free(memory);
}

void *weir_aligned_alloc(size_t alignment, size_t size)
{
    if (must_fail()) return NULL;
    bool is_large = size >= LARGE_BYTES;
    if (is_large && alignment < HUGE_PAGE_BYTES) alignment = HUGE_PAGE_BYTES;
    void *memory = NULL;
    if (posix_memalign(&memory, alignment, size) != 0) return NULL;
    if (is_large) (void)madvise(memory, size, MADV_HUGEPAGE); /* a wish: tables are read at random */
    return memory;
}

void weir_mem_keep(size_t bytes)
{
    (void)mallopt(M_TRIM_THRESHOLD, (int)bytes);
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
}

void weir_mem_fail_after(int64_t successes)
{
    fail_after = successes;
    failed = false;
}

bool weir_mem_failed(void)
{
    return failed;
}
