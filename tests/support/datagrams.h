/**
 * A script of datagrams for the decoders, as fuzz targets take it: a byte that chooses small limits and which flow of a
 * tunnel, then datagrams, each behind two bytes of its length, so that templates and the data after them are reached.
 */
#ifndef WEIR_TESTS_SUPPORT_DATAGRAMS_H
#define WEIR_TESTS_SUPPORT_DATAGRAMS_H

#include "common/base/bytes.h"

/**
 * Decode the datagrams of @script, every one of which begins with @version, whatever the script has there (empty: as it
 * is). Aborts when the ledger is not even: flows decoded = flows handed over + dropped.
 */
void datagrams_decode(struct weir_view script, struct weir_view version);

#endif
