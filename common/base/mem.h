/**
 * Allocation that tests can make fail.
 *
 * All memory of ours comes from here. Tests arm the n-th allocation to fail and check that every constructor
 * cleans up behind itself.
 */
#ifndef WEIR_COMMON_BASE_MEM_H
#define WEIR_COMMON_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** As calloc, malloc, realloc, strdup, strndup, free. NULL when memory (or the armed count) runs out. Any thread. */
void *weir_calloc(size_t count, size_t size);
void *weir_malloc(size_t size);
void *weir_realloc(void *memory, size_t size);
char *weir_strdup(const char *text);
char *weir_strndup(const char *text, size_t size);
void weir_free(void *memory);

/** Memory at a multiple of @alignment (a power of two of at least 8). Freed with weir_free. */
void *weir_aligned_alloc(size_t alignment, size_t size);

/**
 * Keep up to @bytes, in each thread's arena, of what was freed at its end: for programs whose batches come and go. The
 * system would zero those pages again and again, a fault each. Pieces of 256 KiB and more are not among them.
 */
void weir_mem_keep(size_t bytes);

/** Pages of zeros, of which only those that were touched are resident. NULL without memory. Any thread. */
void *weir_pages_map(size_t bytes);
void weir_pages_unmap(void *pages, size_t bytes);

/** Give the system back the pages that lie in @memory, @bytes of what weir_pages_map returned; they read as zeros then. */
void weir_pages_release(void *memory, size_t bytes);

/** Bytes of this process that are resident, as the system counts them; 0: it does not say. */
uint64_t weir_mem_resident(void);

/** To sanitizers, touching @memory is an error until it is shown again; without them nothing happens. */
void weir_mem_hide(const void *memory, size_t bytes);
void weir_mem_show(const void *memory, size_t bytes);

/** Tests: let @successes allocations of this thread succeed, then fail one. Negative disarms. */
void weir_mem_fail_after(int64_t successes);

/** Tests: true when an armed failure was delivered since arming. */
bool weir_mem_failed(void);

#endif
