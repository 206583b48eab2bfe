#include "aggregator/aggregator.h"

int main(int argc, char **argv)
{
    return weir_program_main(argc, argv, &aggregator_program);
}
