/* agent_main.c - nothing but the agent, for tests that talk to it: agent_main PATH [SOCKET]. */
#include "deployctl/agent/agent.h"

#include <stddef.h>

int main(int argc, char **argv)
{
    return argc < 2 ? 2 : agent_run(argv[1], argc > 2 ? argv[2] : NULL);
}
