"""The live table at a real terminal: what is drawn, resized, interrupted, and where it is not."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

import pytest

from static_fleet import DEPLOYCTL, StaticFleet

PATIENCE = 60


class Screen:
    """A terminal as far as the live table needs one: rows of text, and a cursor."""

    def __init__(self, rows, columns):
        self.rows, self.columns, self.lines, self.y, self.x = rows, columns, [""], 0, 0
        self.rest = ""

    def feed(self, text):
        text = self.rest + text
        cut = re.search(r"\x1b(\[[0-9;?]*)?$", text)
        self.rest, text = (text[cut.start():], text[:cut.start()]) if cut else ("", text)
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n\b\a]|[^\x1b\r\n\b\a]+", text):
            self.one(part)

    def one(self, part):
        if part == "\r":
            self.x = 0
        elif part == "\n":
            self.y += 1
            if self.y == len(self.lines):
                self.lines.append("")
        elif part.startswith("\x1b["):
            self.order(part[2:-1], part[-1])
        elif part not in "\b\a":
            line = self.lines[self.y].ljust(self.x)
            self.lines[self.y] = line[:self.x] + part + line[self.x + len(part):]
            self.x += len(part)

    def order(self, number, letter):
        if letter == "A":
            up = int(number or 1)
            assert up < self.rows and up <= self.y, "the cursor leaves the screen"
            self.y -= up
        elif letter == "K":
            assert self.x < self.columns, f"this wraps: {self.lines[self.y]}"
            self.lines[self.y] = self.lines[self.y][:self.x]
        elif letter == "J":
            self.lines[self.y] = self.lines[self.y][:self.x]
            del self.lines[self.y + 1:]
        else:
            assert letter == "m", f"a live table wants no {letter!r}"


class Live:
    def __init__(self, fleet, *words, rows=24, columns=80, **environment):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            full = {**os.environ, "TERM": "xterm", **environment}
            full.pop("CI", None) if "CI" not in environment else None
            os.execve(DEPLOYCTL, [DEPLOYCTL, words[0], "-f", fleet.recipe, *words[1:]], full)
        self.screen, self.raw = Screen(rows, columns), ""
        self.before = termios.tcgetattr(self.fd)

    def read(self):
        if not select.select([self.fd], [], [], PATIENCE)[0]:
            raise AssertionError(self.raw)
        try:
            text = os.read(self.fd, 65536).decode(errors="replace")
        except OSError:
            return False
        self.raw += text
        self.screen.feed(text)
        return bool(text)

    def until(self, wanted):
        """Some picture has this text, however wide its columns are."""
        end = time.monotonic() + PATIENCE
        while not any(wanted in " ".join(line.split()) for line in self.screen.lines):
            assert time.monotonic() < end and self.read(), self.raw

    def resize(self, rows, columns):
        self.screen = Screen(rows, columns)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def end(self):
        while self.read():
            pass
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        return code

    def text(self):
        return "\n".join(self.screen.lines)


@pytest.fixture
def fleet():
    with StaticFleet(count=3) as fleet:
        fleet.put("index.html", "hello")
        yield fleet


def test_a_release_is_one_table_redrawn_in_place(fleet):
    live = Live(fleet, "release", "--yes", "--bake", "1s")
    live.until("bake")
    assert live.end() == 0
    lines = live.screen.lines
    heads = [i for i, line in enumerate(lines) if line.startswith("HOST")]
    assert len(heads) == 1, live.text()
    rows = lines[heads[0] + 1:heads[0] + 4]
    assert [row.split()[:2] for row in rows] == [[f"h{i}", "confirmed"] for i in (1, 2, 3)]
    assert "100%" in lines[heads[0] + 4] and "Released web" in live.text()
    assert "\x1b[32m" in live.raw and "\x1b[?" not in live.raw


def test_no_color_has_no_colours(fleet):
    live = Live(fleet, "release", "--yes", NO_COLOR="1")
    assert live.end() == 0
    assert "HOST" in live.text() and not re.search(r"\x1b\[[0-9;]*m", live.raw)


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"CI": "true"}], ids=str)
def test_plain_lines_where_no_table_belongs(fleet, environment):
    live = Live(fleet, "release", "--yes", **environment)
    assert live.end() == 0
    plain = re.sub(r"\x1b\[[0-9;]*m", "", live.raw)
    assert "\x1b" not in plain and re.search(r"\d+\.\ds +stage +h1 +1 file", plain)
    assert "\x1b" not in live.raw or environment != {"TERM": "dumb"}


def test_another_size_is_used_at_once(fleet):
    live = Live(fleet, "release", "--yes", "--bake", "600s")
    live.until("bake")
    live.resize(6, 30)
    os.kill(live.pid, signal.SIGWINCH)  # the kernel sends it to a terminal's foreground
    live.screen.y = 20  # what stands there is not ours to check
    live.screen.lines = [""] * 21
    live.until("switched")
    assert all(len(line) < 30 for line in live.screen.lines)
    os.kill(live.pid, signal.SIGTERM)
    assert live.end() == 6


def test_ctrl_c_leaves_the_terminal_as_it_was(fleet):
    live = Live(fleet, "release", "--yes", "--bake", "600s")
    live.until("bake")
    os.write(live.fd, b"\x03")
    live.until("stopping: nothing new is started")
    live.until("is paused")
    assert termios.tcgetattr(live.fd) == live.before
    assert live.end() == 6
    assert live.screen.x == 0 and live.raw.count("\x1b[32m") <= live.raw.count("\x1b[0m")


def test_many_hosts_leave_room_for_what_matters():
    with StaticFleet(count=40) as fleet:
        fleet.put("index.html", "hello")
        os.chmod(fleet.roots[30], 0o500)
        os.rmdir(fleet.roots[30])
        live = Live(fleet, "release", "--yes", rows=12, columns=60)
        assert live.end() == 4
        assert re.search(r"^h31 +problem ", live.text(), re.M), live.text()
        assert "40 hosts: 1 problem" in live.text()


def test_the_same_picture_is_not_drawn_twice(fleet):
    live = Live(fleet, "release", "--yes", "--hold", "--bake", "0s")
    assert live.end() == 6
    pictures = live.raw.split("HOST ")[1:]
    assert all(one != other for one, other in zip(pictures, pictures[1:]))
