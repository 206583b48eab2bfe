/**
 * The aggregator as a program: store, intake, roll-up, answers, retention, and the guard of the disk, put together.
 * common/daemon/program.h says how it is run.
 */
#ifndef WEIR_AGGREGATOR_AGGREGATOR_H
#define WEIR_AGGREGATOR_AGGREGATOR_H

#include "common/daemon/program.h"

extern const struct weir_program aggregator_program;

/** Where a created aggregator listens for brokers and for consoles; for tests that start one in-process. */
const char *aggregator_endpoint(const void *aggregator);
const char *aggregator_ask_endpoint(const void *aggregator);

#endif
