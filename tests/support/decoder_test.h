/**
 * What the tests of one decoder share: an input, bytes from hex and a message, new for each test by set_up and freed by
 * tear_down (cmocka fixtures).
 */
#ifndef WEIR_TESTS_SUPPORT_DECODER_TEST_H
#define WEIR_TESTS_SUPPORT_DECODER_TEST_H

#include "tests/support/input.h"
#include "tests/support/message.h"

extern struct input input;
extern struct weir_buf buf;
extern struct message m;

int set_up(void **state);
int tear_down(void **state);

#endif
