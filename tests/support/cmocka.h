/** The door to cmocka: it needs these headers before it. */
#ifndef WEIR_TESTS_SUPPORT_CMOCKA_H
#define WEIR_TESTS_SUPPORT_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
