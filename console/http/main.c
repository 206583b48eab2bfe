#include "console/http/console.h"

int main(int argc, char **argv)
{
    return weir_program_main(argc, argv, &console_program);
}
