#include "agent/agent.h"

int main(int argc, char **argv)
{
    return weir_program_main(argc, argv, &agent_program);
}
