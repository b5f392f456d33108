/* agent.h - the other end of the connection, on a host: deployctl/wire/proto.h on stdin and stdout.
 *
 * Crash-only: killed at any instruction it leaves no half release visible; what lies in
 * releases/.incoming and releases/.trash is removed by the next one that stages.
 */
#ifndef DEPLOYCTL_AGENT_AGENT_H
#define DEPLOYCTL_AGENT_AGENT_H

/* `path`: the folder of the app.  `socket`: the supervisor's control socket; NULL =
 * $SUPERVISOR_SOCKET, else its usual places (CONTRACT.md §1).  Returns the exit code: 0 the other
 * side ended the conversation, 1 it broke its rules, 2 this is not a pipe, 3 no memory. */
int agent_run(const char *path, const char *socket);

#endif
