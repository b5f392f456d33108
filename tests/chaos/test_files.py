"""Configuration files that make no sense, some hundred of them: made from the options' table and by
changing the sample.  Each is told with file and line, none brings anything down, and what runs stays.
"""
import random
import re
import subprocess

import pytest
from form import rounds
from harness import BINARY, ROOT, Failed
from herd import Herd

pytestmark = pytest.mark.xdist_group("chaos_files")
VALUES = ("", "-1", "0", "99999999999999999999", "1e9", "NaN", "10 parsecs", "true false", "%", "%(",
          "%(nobody)s", "%(process_num)9999999d", "\"", "'", "\\", "a\tb", "\x01", "\xff", "\0", "x" * 5000,
          "[section]", "=", ";", "%(ENV_NOBODY)s", "/" * 4096, "\ud7ff", "../../../..", "name:with:colons")
LINES = ("[", "]", "[]", "[service]", "[service:]", "[service:a b]", "[what:ever]", "[service:web",
         "= value", "key", "key = ", "[service:web]", "[supervisor]", "[socket:x]", "[include]",
         "[program:p]", "[group:g]\nprograms = nobody", "\0", "\xff\xfe", "  continued", "#", "[" * 300,
         "k" * 3000 + " = v", "[service:w]\ncommand = a\nrequires = w", "[service:" + "n" * 300 + "]")


def options_of(section):
    """The keys of one kind of section, as the program itself lists them."""
    text = subprocess.run([BINARY, "options"], capture_output=True, text=True, check=True).stdout
    part = re.split(r"^\[(\w+)[:\]].*$", text, flags=re.M)
    return re.findall(r"^  (\w+)$", part[part.index(section) + 1], flags=re.M)


class Maker:
    """The same files for the same seed."""

    def __init__(self, seed, folder):
        self.seed, self.folder = seed, folder
        with open(f"{ROOT}/conf.d/supervisor.ini.sample") as file:
            self.sample = file.read()
        self.keys = {name: options_of(name) for name in ("supervisor", "service", "socket")}

    def one_value(self, chance):
        """A file that is right but for one key."""
        section = chance.choice(sorted(self.keys))
        key, value = chance.choice(self.keys[section]), chance.choice(VALUES)
        name = f"[{section}]" if section == "supervisor" else f"[{section}:bad]"
        need = {"service": "command = sleep 1000\n", "socket": "listen = @nobody\n"}.get(section, "")
        return f"[service:good]\ncommand = sleep 1000\n{name}\n{need}{key} = {value}\n"

    def changed_sample(self, chance):
        """The sample with its comments taken away, cut, mixed, and with nonsense in between."""
        lines = [line.lstrip(";") for line in self.sample.splitlines()
                 if re.match(r";(\[|\w+ = )", line)]
        begin = chance.randrange(len(lines))
        lines = lines[begin:begin + chance.randint(1, 60)]
        for _ in range(chance.randint(1, 5)):
            act, at = chance.random(), chance.randrange(len(lines))
            if act < 0.3:
                lines.insert(at, chance.choice(LINES))
            elif act < 0.5:
                lines[at] = lines[at][:chance.randint(0, len(lines[at]))]
            elif act < 0.7:
                other = chance.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            elif act < 0.8:
                lines.insert(at, lines[at])
            else:
                where = chance.randint(0, len(lines[at]))
                lines[at] = lines[at][:where] + chance.choice(VALUES) + lines[at][where:]
        return "\n".join(lines) + chance.choice(("\n", "", "\r\n", "\\"))

    def make(self, number):
        chance = random.Random(self.seed * 7919 + number)
        text = (self.one_value if chance.random() < 0.6 else self.changed_sample)(chance)
        return text.encode("utf-8", "surrogatepass")


def check_told(path, done, what):
    """Left by itself; each complaint has a file and, where there is one, a line."""
    assert done.returncode in (0, 1), (what, done.returncode, done.stderr[-500:])
    if done.returncode == 0:
        return False
    *errors, last = (line for line in done.stdout.decode(errors="replace").splitlines()
                     if ": warning: " not in line)
    assert re.fullmatch(r"\d+ errors?", last), (what, done.stdout)
    assert errors, what
    for line in errors:
        assert re.match(re.escape(path) + r":\d+: .", line), (what, line)
    return True


def test_check_and_start(tally, seed, tmp_path):
    """`check` of each; of the wrong ones every fourth is also started with, and is refused."""
    maker, path = Maker(seed, tmp_path), str(tmp_path / "bad.ini")
    wrong, started, count = 0, 0, rounds(160)
    for number in range(count):
        data = maker.make(number)
        with open(path, "wb") as file:
            file.write(data)
        done = subprocess.run([BINARY, "check", "-c", path], capture_output=True, timeout=20)
        if not check_told(path, done, data):
            continue
        wrong += 1
        if wrong % 4 == 0:
            done = subprocess.run([BINARY, "run", "-c", path, "-s", str(tmp_path / "sock")],
                                  capture_output=True, timeout=20)
            assert done.returncode == 1 and done.stderr, (data, done)
            started += 1
    assert wrong > count / 4
    tally["malformed files told by check"] += wrong
    tally["malformed files refused at the start"] += started


def test_reload(tally, seed, tmp_path):
    """Of a herd that runs: refused with file and line, and nothing of it is touched."""
    herd = Herd(means=None)
    try:
        maker, path = Maker(seed + 1, tmp_path), herd.supervisor.config
        before, refused = herd.pids("rock:0", "plain:0", "web:0", "site:0"), 0
        good = open(path, "rb").read()
        for number in range(rounds(60)):
            # Behind what is right, so that nothing else changes where the rest is right by chance.
            with open(path, "wb") as file:
                file.write(good + b"\n" + maker.make(number))
            try:
                herd.supervisor.call("reload", plan=True)
            except Failed:
                pass
            else:
                continue
            with pytest.raises(Failed) as failed:
                herd.supervisor.call("reload")
            told = str(failed.value) + str(failed.value.data)
            assert re.search(re.escape(path) + r":\d+", told), told
            refused += 1
            assert herd.pids(*before) == before
        assert refused > rounds(60) / 6
        tally["malformed files refused by reload"] += refused
        with open(path, "wb") as file:
            file.write(good)
        herd.check()
        herd.finish()
    finally:
        herd.close()
