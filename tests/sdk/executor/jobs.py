"""Starts the executor as neuronc does, in an environment of the SDK, and reads its events."""

import json
import os
import pathlib
import socket
import struct
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[3]
EXECUTOR = ROOT / "src" / "executor" / "sdk"
HERE = pathlib.Path(__file__).resolve().parent

# That of the executor.
PROTOCOL = 4

# A busy machine imports transformers in half a minute.
SECONDS_MAX = 300


class Result:
    """How a job ended."""

    def __init__(self, status, events, log):
        self.status, self.events, self.log = status, events, log

    @property
    def last(self):
        return self.events[-1]

    def of(self, name):
        """The events of that name."""
        return [event for event in self.events if event["event"] == name]


class Environment:
    """An environment of the SDK: a folder with `bin/python3`, and the file that tells its double what goes wrong."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder).absolute()
        self.python = str(self.folder / "bin" / "python3")
        self.faults = self.folder / "neuronc-double.json"

    def set_faults(self, **faults):
        self.faults.write_text(json.dumps(faults))

    def run(self, name, job, protocol=PROTOCOL):
        """Does a job in a process of its own; every event must be JSON and the last one must end it."""
        text = job if isinstance(job, bytes) else json.dumps(dict(job, protocol=protocol)).encode()
        done = subprocess.run(
            [self.python, "-I", "-B", str(EXECUTOR), name],
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")},
            timeout=SECONDS_MAX,
        )
        log = done.stderr.decode(errors="replace")
        events = [json.loads(line) for line in done.stdout.splitlines()]
        if not events or events[-1]["event"] not in ("done", "failed"):
            raise AssertionError("{} ended with {} and no last event:\n{}".format(name, done.returncode, log))
        return Result(done.returncode, events, log)

    def script(self, name, *arguments):
        """Runs a script beside this one and returns the JSON that it prints last."""
        done = subprocess.run(
            [self.python, "-B", str(HERE / name)] + [str(each) for each in arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=SECONDS_MAX,
        )
        if done.returncode != 0:
            raise AssertionError("{} failed:\n{}".format(name, done.stderr.decode(errors="replace")))
        return json.loads(done.stdout.splitlines()[-1])

    def worker(self):
        return Worker(self.python)


class Worker:
    """A worker process and our end of its socket. Written without the executor's own code, from docs/executors.md."""

    def __init__(self, python):
        ours, theirs = socket.socketpair()
        self._stream = ours
        ours.settimeout(SECONDS_MAX)
        self.process = subprocess.Popen(
            [python, "-I", "-B", str(EXECUTOR), "worker"],
            stdin=theirs.fileno(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")},
        )
        theirs.close()

    def ask(self, message, tensors=()):
        """Sends a request with int64 tensors, given as (shape, values); returns the reply and its fp32 tensors."""
        layouts = [{"dtype": "i64", "shape": shape} for shape, _ in tensors]
        payload = b"".join(struct.pack("<{}q".format(len(values)), *values) for _, values in tensors)
        header = json.dumps({"message": message, "tensors": layouts}).encode()
        self.send(struct.pack("<II", len(header), len(payload)) + header + payload)
        return self.reply()

    def send(self, content):
        self._stream.sendall(content)

    def reply(self):
        header_size, payload_size = struct.unpack("<II", self._read(8))
        header = json.loads(self._read(header_size))
        payload = self._read(payload_size)
        tensors = []
        for layout in header["tensors"]:
            assert layout["dtype"] == "f32", layout
            count = 1
            for size in layout["shape"]:
                count *= size
            tensors.append((layout["shape"], struct.unpack_from("<{}f".format(count), payload)))
            payload = payload[4 * count :]
        assert payload == b""
        return header["message"], tensors

    def close(self):
        """Closes the socket; returns the worker's exit status and what it printed to stdout and to its log."""
        self._stream.close()
        output, log = self.process.communicate(timeout=SECONDS_MAX)
        return self.process.returncode, output.decode(), log.decode()

    def _read(self, size):
        content = b""
        while len(content) < size:
            part = self._stream.recv(size - len(content))
            if not part:
                raise AssertionError("the worker closed its socket:\n" + self.close()[2])
            content += part
        return content
