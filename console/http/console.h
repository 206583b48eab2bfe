/** weir-console as a program of common/daemon; main() is one call, and a test can start it in-process. */
#ifndef WEIR_CONSOLE_HTTP_CONSOLE_H
#define WEIR_CONSOLE_HTTP_CONSOLE_H

#include "common/daemon/program.h"

extern const struct weir_program console_program;

#endif
