"""A service that does what a file tells it, a line at a time: talker.py ORDERS.

    exit N | fd N (a newline there) | print TEXT | sleep SECONDS | ignore TERM | wait
    anything else is a datagram for NOTIFY_SOCKET; \\n in it is a newline
"""
import os
import signal
import socket
import sys
import time


def notify(text, fds=()):
    name = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect("\0" + name[1:] if name[0] == "@" else name)
        socket.send_fds(s, [text.encode()], list(fds))


def do(line):
    word, _, rest = line.partition(" ")
    if word == "exit":
        os._exit(int(rest))
    elif word == "fd":
        os.write(int(rest), b"\n")
    elif word == "print":
        print(rest, flush=True)
    elif word == "sleep":
        time.sleep(float(rest))
    elif word == "ignore":
        signal.signal(getattr(signal, "SIG" + rest), signal.SIG_IGN)
    else:
        notify(line.replace("\\n", "\n"))


def main(orders):
    at = 0
    while True:
        try:
            with open(orders) as file:
                file.seek(at)
                text = file.read()
        except FileNotFoundError:
            text = ""
        whole = text[:text.rfind("\n") + 1]
        at += len(whole)
        for line in whole.splitlines():
            do(line)
        time.sleep(0.01)


if __name__ == "__main__":
    main(sys.argv[1])
