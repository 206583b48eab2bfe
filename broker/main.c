#include "broker/broker.h"

int main(int argc, char **argv)
{
    return weir_program_main(argc, argv, &broker_program);
}
