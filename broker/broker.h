/**
 * The broker as a program: sockets, files and clock around route_core.h. See docs/PROTOCOL.md for what it says and to
 * whom, common/daemon/program.h for how it is run.
 */
#ifndef WEIR_BROKER_BROKER_H
#define WEIR_BROKER_BROKER_H

#include "common/daemon/program.h"

extern const struct weir_program broker_program;

/** The endpoint on which a created broker listens for agents; for tests that start one in-process. */
const char *broker_endpoint(const void *broker);

#endif
