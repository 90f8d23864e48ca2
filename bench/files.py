#!/usr/bin/env python3
"""How fast files go in and out: one of 64 MiB, and a thousand of 4 KiB, one by one and in one call.

Beside it, in the same run and in turn: `cp` of the same files into the same root, inside the sandbox and timed
there, which is what the sandbox's own disk takes without us.
"""

import argparse
import json
import os
import urllib.parse

import kit
from wire import Wire

MIB = 1024 * 1024
BIG_BYTES = 64 * MIB
SMALL_FILES, SMALL_BYTES = 1000, 4096
BOUNDARY = "----------------atoll-bench"
HOME = "/home/user"


class Files:
    """The files of one sandbox, over one connection."""

    def __init__(self, wire, sandbox):
        self.wire, self.base = wire, f"/v1/sandbox/{sandbox}"

    def write(self, path, content):
        self.wire.call("POST", f"{self.base}/filesystem/write-file?path={urllib.parse.quote_plus(path)}", content)

    def read(self, path):
        return self.call("read-file", path=path)

    def write_all(self, form):
        self.wire.call("POST", f"{self.base}/filesystem/write-files", form, f"multipart/form-data; boundary={BOUNDARY}")

    def call(self, operation, **fields):
        body = json.dumps(fields).encode()
        return self.wire.call("POST", f"{self.base}/filesystem/{operation}", body, "application/json")

    def run(self, script):
        ended = self.wire.post(f"{self.base}/process/execute", argv=["bash", "-euc", script], timeout=600)
        assert ended["exit_code"] == 0, ended
        return ended["stdout"]

    def timed_inside(self, script):
        """Milliseconds, by the sandbox's own clock."""
        micros = self.run(f"began=${{EPOCHREALTIME/./}}\n{script}\necho $((${{EPOCHREALTIME/./}} - began))")
        return int(micros) / 1000


def form(files):
    """What a client of `write-files` sends."""
    lines = []
    for path, content in files.items():
        head = f'content-disposition: form-data; name="{path}"; filename="upload"\r\ncontent-type: application/octet-stream'
        lines += [f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode(), content, b"\r\n"]
    return b"".join([*lines, f"--{BOUNDARY}--\r\n".encode()])


def big_round(files, content, times):
    def keep(name, milliseconds):
        times.setdefault(name, []).append(milliseconds)

    keep("write_file", kit.timed(lambda: files.write(f"{HOME}/big", content))[0])
    milliseconds, read = kit.timed(lambda: files.read(f"{HOME}/big"))
    assert read == content
    keep("read_file", milliseconds)
    keep("cp_inside", files.timed_inside(f"cp {HOME}/big {HOME}/copy"))
    files.run(f"cmp {HOME}/big {HOME}/copy; rm {HOME}/big {HOME}/copy")


def small_round(files, contents, times):
    def keep(name, action):
        times.setdefault(name, []).append(kit.timed(action)[0])

    paths = list(contents)
    encoded = form(contents)
    files.run(f"mkdir {HOME}/small")
    keep("write_file_each", lambda: [files.write(path, content) for path, content in contents.items()])
    keep("read_file_each", lambda: [files.read(path) for path in paths])
    files.run(f"rm -r {HOME}/small; mkdir {HOME}/small")
    keep("write_files", lambda: files.write_all(encoded))
    keep("read_files", lambda: files.call("read-files", paths=paths))
    times.setdefault("cp_inside", []).append(files.timed_inside(f"cp -r {HOME}/small {HOME}/copy"))
    assert files.run(f"diff -r {HOME}/small {HOME}/copy; ls {HOME}/copy | wc -l") == f"{SMALL_FILES}\n"
    files.run(f"rm -r {HOME}/small {HOME}/copy")


def rates(figures):
    return {name: round(BIG_BYTES / MIB / (figure["p50"] / 1000)) for name, figure in figures.items()}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("-n", type=int, default=10, help="counted rounds, after one that is not")
    rounds = arguments.parse_args().n + 1
    big, small = {}, {}
    content = os.urandom(BIG_BYTES)
    contents = {f"{HOME}/small/{number}": os.urandom(SMALL_BYTES) for number in range(SMALL_FILES)}
    with kit.server() as connect:
        client = connect()
        sandbox = client.create(timeout=28800, memory=2048)
        files = Files(Wire(client.connection.port, client.headers["authorization"]), sandbox)
        for _ in range(rounds):
            big_round(files, content, big)
            small_round(files, contents, small)
        client.delete(sandbox)
    big, small = ({name: kit.summary(values[1:]) for name, values in times.items()} for times in (big, small))
    kit.report("files", {"unit": "ms", "one_of_64_mib": big, "mib_per_second_p50": rates(big), "a_thousand_of_4_kib": small})


if __name__ == "__main__":
    main()
