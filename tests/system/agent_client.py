"""The other side of a conversation with `deployctl agent`, and a supervisor that does as told."""
import ctypes
import ctypes.util
import hashlib
import json
import os
import select
import socket
import struct
import subprocess
import threading
import time

MAGIC = b"\x89deployctl\r\n\x1a\n\x00\x01"
DEADLINE = 20
_zstd = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
_zstd.ZSTD_compressBound.restype = ctypes.c_size_t
_zstd.ZSTD_compressBound.argtypes = [ctypes.c_size_t]
_zstd.ZSTD_compress.restype = ctypes.c_size_t
_zstd.ZSTD_compress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p,
                                ctypes.c_size_t, ctypes.c_int]


def squeeze(data):
    out = ctypes.create_string_buffer(_zstd.ZSTD_compressBound(len(data)))
    size = _zstd.ZSTD_compress(out, len(out), data, len(data), 3)
    return out.raw[:size]


class Refused(Exception):
    def __init__(self, answer):
        super().__init__(answer.get("message"))
        self.answer, self.kind = answer, answer.get("kind")


class Gone(Exception):
    """The agent closed the conversation."""


class Release:
    """Entries: name -> bytes (file), (bytes, mode), ("link", target), ("folder",)."""

    def __init__(self, entries, number=1):
        rows = []
        for name, what in entries.items():
            if isinstance(what, tuple) and what[0] == "link":
                rows.append((name, "l", what[1], None))
            elif isinstance(what, tuple) and what[0] == "folder":
                rows.append((name, "d", "755", None))
            else:
                data, mode = what if isinstance(what, tuple) else (what, "444")
                rows.append((name, "f", mode, data))
        rows.sort(key=lambda row: os.fsencode(row[0]))
        self.contents = [row[3] for row in rows]
        self.full = self.text(rows, 64)
        self.short = self.text(rows, 16)
        self.digest = hashlib.sha256(self.full).hexdigest()
        self.id = f"{number:06d}-{self.digest[:8]}"
        self.entries = len(rows)
        self.bytes = sum(len(c) for c in self.contents if c is not None)

    @staticmethod
    def text(rows, digits):
        out = b""
        for name, kind, what, data in rows:
            name = os.fsencode(name)
            if kind == "l":
                target = os.fsencode(what)
                out += b"l %d %s %s\n" % (len(target), name, target)
            elif kind == "d":
                out += b"d %s %s\n" % (what.encode(), name)
            else:
                digest = hashlib.sha256(data).hexdigest()[:digits].encode()
                out += b"f %s %d %s %s\n" % (what.encode(), len(data), digest, name)
        return out


class Agent:
    def __init__(self, program, path, socket_path=None, hello=True):
        argv = [program, str(path)] + ([socket_path] if socket_path else [])
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, bufsize=0)
        self.fd = self.process.stdout.fileno()
        self.buffer = b""
        self.events = []
        self.answers = {}
        self.number = 0
        self.token = None
        if hello:
            self.hello = self.greet()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors = self.process.stderr.read().decode()
        self.process.stdout.close()
        self.process.stderr.close()
        return self.process.returncode

    def kill(self):
        self.process.kill()
        return self.close()

    # --- bytes

    def write(self, data):
        view = memoryview(data)
        while view:
            view = view[self.process.stdin.write(view):]

    def send(self, kind, payload):
        self.write(struct.pack(">IB", len(payload), ord(kind)) + payload)

    def fill(self, deadline):
        wait = deadline - time.monotonic()
        if wait <= 0 or not select.select([self.fd], [], [], wait)[0]:
            raise TimeoutError("the agent says nothing")
        piece = os.read(self.fd, 65536)
        if not piece:
            raise Gone(self.process.stderr.read().decode())
        self.buffer += piece

    def magic(self):
        deadline = time.monotonic() + DEADLINE
        while MAGIC not in self.buffer:
            self.fill(deadline)
        self.buffer = self.buffer[self.buffer.index(MAGIC) + len(MAGIC):]

    def frame(self, deadline):
        while True:
            if len(self.buffer) >= 5:
                size, kind = struct.unpack(">IB", self.buffer[:5])
                if len(self.buffer) >= 5 + size:
                    payload = self.buffer[5:5 + size]
                    self.buffer = self.buffer[5 + size:]
                    assert kind == ord("J")
                    return json.loads(payload)
            self.fill(deadline)

    def greet(self, lowest=1, highest=1):
        self.magic()
        hello = self.frame(time.monotonic() + DEADLINE)["hello"]
        self.send("J", json.dumps(
            {"hello": {"lowest": lowest, "highest": highest, "version": "test"}}).encode())
        return hello

    # --- requests

    def post(self, verb, **members):
        self.number += 1
        message = {"n": self.number, "do": verb, **members}
        if self.token:
            message.setdefault("token", self.token)
        self.send("J", json.dumps(message).encode())
        return self.number

    def wait(self, number, deadline=DEADLINE):
        end = time.monotonic() + deadline
        while number not in self.answers:
            message = self.frame(end)
            if "event" in message:
                self.events.append(message)
            else:
                self.answers[message["n"]] = message
        answer = self.answers.pop(number)
        if not answer["ok"]:
            raise Refused(answer)
        return answer

    def ask(self, verb, **members):
        return self.wait(self.post(verb, **members))

    def event(self, name, accept=lambda event: True, deadline=DEADLINE):
        end = time.monotonic() + deadline
        while True:
            for i, event in enumerate(self.events):
                if event["event"] == name and accept(event):
                    return self.events.pop(i)
            message = self.frame(end)
            if "event" in message:
                self.events.append(message)
            else:
                self.answers[message["n"]] = message

    # --- whole acts

    def hold(self, epoch=1, rollout="r1", who="test@here", services=()):
        self.ask("look", services=list(services), socket=None)
        self.ask("lock", who=who, rollout=rollout)
        self.ask("fence", epoch=epoch, rollout=rollout)
        self.token = f"{epoch}:{rollout}"

    def stage(self, release, **more):
        """Announces a release; the answer."""
        number = self.post("stage", id=release.id, digest=release.digest,
                           entries=release.entries, bytes=release.bytes,
                           **{"shared_dirs": [], "shared_files": [], "durability": "syncfs",
                              "owner": None, **more})
        packed = squeeze(release.short)
        for at in range(0, len(packed), 100000):
            self.send("M", packed[at:at + 100000])
        self.send("M", b"")
        return self.wait(number)

    def content(self, index, data, piece=200000, packed=None):
        packed = squeeze(data) if packed is None else packed
        for at in range(0, max(len(packed), 1), piece):
            last = at + piece >= len(packed)
            self.send("D", struct.pack(">IB", index, last) + packed[at:at + piece])

    def bring(self, release, **more):
        """Stages, sends what is missing, seals; the indices that were missing."""
        answer = self.stage(release, **more)
        if answer.get("have"):
            return []
        for index in answer["missing"]:
            self.content(index, release.contents[index])
        self.ask("seal", id=release.id)
        return answer["missing"]


class Supervisor:
    """Answers JSON-RPC on a unix socket; `methods`: name -> function(params) or a dictionary."""

    def __init__(self, path):
        self.path, self.methods, self.calls = str(path), {}, []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.closed = False
        self.connections = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            for line in connection.makefile("rb"):
                call = json.loads(line)
                reply = self.answer(call["method"], call.get("params", {}))
                if reply is None:  # dies before it has answered
                    connection.close()
                    return
                connection.sendall(json.dumps(
                    {"jsonrpc": "2.0", "id": call["id"], **reply}).encode() + b"\n")
        except (OSError, ValueError):
            pass

    def answer(self, method, params):
        self.calls.append((method, params))
        if method not in self.methods:
            return {"error": {"code": -32601, "message": f"unknown method {method}",
                              "data": {"kind": "not-found"}}}
        result = self.methods[method]
        result = result(params) if callable(result) else result
        if isinstance(result, dict) and "error" in result and "code" in result["error"]:
            return result
        return None if result is None else {"result": result}

    def drop_connections(self):
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.connections.clear()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.drop_connections()
