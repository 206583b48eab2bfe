/**
 * The agent as a program: listeners (listen.h) whose batches are packed, spooled and shipped (ship.h). See
 * common/daemon/program.h for how it is run.
 */
#ifndef WEIR_AGENT_AGENT_H
#define WEIR_AGENT_AGENT_H

#include "common/daemon/program.h"

extern const struct weir_program agent_program;

/** The port that listen endpoint @index of a created agent is bound to; for tests that start one in-process. */
uint16_t agent_port(const void *agent, size_t index);

#endif
