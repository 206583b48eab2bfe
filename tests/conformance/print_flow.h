/** A flow as a JSON object, each field by its name in fields.def: what the programs of the conformance tests print. */
#ifndef WEIR_TESTS_CONFORMANCE_PRINT_FLOW_H
#define WEIR_TESTS_CONFORMANCE_PRINT_FLOW_H

#include "common/flow/flow.h"

void print_flow(const struct weir_flow *flow);

#endif
