#!/usr/bin/env python3
"""Stands between `neuronc serve` and a real worker, and spoils the answers to runs while a file `fault` beside it says
how. Frames are described in docs/executors.md."""

import json
import pathlib
import socket
import struct
import subprocess
import sys
import threading

HERE = pathlib.Path(sys.argv[0]).resolve().parent


def receive(stream):
    head = stream.recv(8, socket.MSG_WAITALL)
    if len(head) < 8:
        return None
    header, payload = struct.unpack("<II", head)
    return head + stream.recv(header + payload, socket.MSG_WAITALL) if header + payload else head


def spoiled(frame, fault):
    header_bytes, _ = struct.unpack("<II", frame[:8])
    header = json.loads(frame[8 : 8 + header_bytes])
    if header["message"].get("reply") != "output":
        return frame
    payload = frame[8 + header_bytes :]
    if fault == "garbage":
        return b"HTTP/1.1 200 OK\r\n\r\n" * 8
    if fault == "too much":
        return struct.pack("<II", 100, 0xFFFFFFFF) + b"x" * 100
    if fault == "cut":
        return frame[: len(frame) // 2]
    if fault == "other id":
        header["message"]["id"] += 1
    if fault == "twice":
        return frame + frame
    if fault == "shape":
        shape = header["tensors"][0]["shape"]
        shape[0], shape[1] = shape[1], shape[0]
    if fault == "nan":
        payload = struct.pack("<f", float("nan")) * (len(payload) // 4)
    text = json.dumps(header).encode()
    return struct.pack("<II", len(text), len(payload)) + text + payload


def main():
    ours, theirs = socket.socketpair()
    worker = subprocess.Popen([HERE / "worker", *sys.argv[1:]], stdin=theirs)
    theirs.close()
    front = socket.socket(fileno=0)

    def requests():
        while frame := receive(front):
            ours.sendall(frame)
        ours.shutdown(socket.SHUT_RDWR)

    threading.Thread(target=requests, daemon=True).start()
    try:
        while frame := receive(ours):
            file = HERE / "fault"
            fault = file.read_text().strip() if file.exists() else None
            front.sendall(spoiled(frame, fault) if fault else frame)
            if fault == "cut":
                break
    except OSError:
        pass
    front.shutdown(socket.SHUT_RDWR)
    worker.terminate()
    worker.wait()


if len(sys.argv) > 1 and sys.argv[1] == "worker":
    main()
else:
    # What it says of itself.
    sys.exit(subprocess.run([HERE / "worker", *sys.argv[1:]]).returncode)
