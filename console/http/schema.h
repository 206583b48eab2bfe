/** GET /api/v1/schema: the contract for machines, written from the tables that the program itself is made of. */
#ifndef WEIR_CONSOLE_HTTP_SCHEMA_H
#define WEIR_CONSOLE_HTTP_SCHEMA_H

#include "common/base/buf.h"

void console_schema_json(struct weir_buf *out);

#endif
