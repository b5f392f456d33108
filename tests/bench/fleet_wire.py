#!/usr/bin/python3
"""fleet_wire.py OPERATOR-PID NETWORK-PID MS - a cable that takes MS milliseconds in each direction.

One TAP device in the network namespace of each: `eth0` at the operator, `op` in the network.  Frames
are held for their time and passed on in order, large ones whole (as between veth devices).
"""
import ctypes
import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

TUNSETIFF, TUNSETOFFLOAD, TUNSETTXQUEUE = 0x400454CA, 0x400454D0, 0x89F7
TAP, NO_PI, VNET_HDR = 0x2, 0x1000, 0x4000
CHECKSUM, TSO4, TSO6 = 1, 2, 4
CLONE_NEWNET = 0x40000000
FRAME_MAX = 65536 + 64
AT_ONCE = 64


def tap(pid, name):
    with open(f"/proc/{pid}/ns/net") as space:
        if ctypes.CDLL(None, use_errno=True).setns(space.fileno(), CLONE_NEWNET) != 0:
            sys.exit(f"setns: {os.strerror(ctypes.get_errno())}")
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), TAP | NO_PI | VNET_HDR))
    fcntl.ioctl(fd, TUNSETOFFLOAD, CHECKSUM | TSO4 | TSO6)
    return fd


def take(fd, queue, delay):
    for _ in range(AT_ONCE):
        try:
            queue.append((time.monotonic() + delay, os.read(fd, FRAME_MAX)))
        except BlockingIOError:
            return


def give(fd, queue):
    while queue and queue[0][0] <= time.monotonic():
        try:
            os.write(fd, queue.popleft()[1])
        except OSError:
            pass  # down, or full: lost, as on any cable


def main(operator, network, ms):
    ends = tap(operator, "eth0"), tap(network, "op")
    queues = {ends[0]: deque(), ends[1]: deque()}  # what came in at this end
    print("up", flush=True)
    poll = select.epoll()
    for fd in ends:
        poll.register(fd, select.EPOLLIN)
    while True:
        due = [queue[0][0] for queue in queues.values() if queue]
        poll.poll(max(0, min(due) - time.monotonic()) if due else -1)
        for fd, other in (ends, ends[::-1]):
            take(fd, queues[fd], float(ms) / 1000)
            give(other, queues[fd])


main(*sys.argv[1:])
