#include "tests/support/decoder_test.h"

struct input input;
struct weir_buf buf;
struct message m;

int set_up(void **state)
{
    (void)state;
    input_init(&input, NULL);
    return 0;
}

int tear_down(void **state)
{
    (void)state;
    input_fini(&input);
    weir_buf_fini(&buf);
    message_fini(&m);
    m = (struct message){0};
    return 0;
}
