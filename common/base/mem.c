#include "common/base/mem.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __has_feature /* clang's way to say it */
#if __has_feature(address_sanitizer)
#define WEIR_ADDRESS_SANITIZER
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(WEIR_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(memory, bytes)   ((void)(memory), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(memory, bytes) ((void)(memory), (void)(bytes))
#endif

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

void *weir_pages_map(size_t bytes)
{
    if (must_fail()) return NULL;
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

void weir_pages_unmap(void *pages, size_t bytes)
{
    if (pages == NULL) return;
    weir_mem_show(pages, bytes); /* the addresses may be somebody else's next */
    (void)munmap(pages, bytes);
}

void weir_pages_release(void *memory, size_t bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)memory + page - 1) / page * page;
    uintptr_t to = ((uintptr_t)memory + bytes) / page * page;
    if (from < to) (void)madvise((uint8_t *)memory + (from - (uintptr_t)memory), to - from, MADV_DONTNEED);
}

uint64_t weir_mem_resident(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) return 0;
    if (fscanf(file, "%*u %llu", &pages) != 1) pages = 0;
    (void)fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void weir_mem_hide(const void *memory, size_t bytes)
{
    ASAN_POISON_MEMORY_REGION(memory, bytes);
}

void weir_mem_show(const void *memory, size_t bytes)
{
    ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
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
