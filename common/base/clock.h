/**
 * The two clocks. Only shells (main loops, daemons) call these; pure code takes `now_ms`.
 */
#ifndef WEIR_COMMON_BASE_CLOCK_H
#define WEIR_COMMON_BASE_CLOCK_H

#include <stdint.h>

/** Milliseconds since 1970-01-01 UTC. Any thread. */
int64_t weir_wall_ms(void);

/** Milliseconds of a clock that never jumps, for every timeout. Any thread. */
int64_t weir_mono_ms(void);

/** Microseconds of the same clock. Any thread. */
int64_t weir_mono_us(void);

#endif
