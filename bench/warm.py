#!/usr/bin/env python3
"""A Python process that has numpy and pandas at hand: started cold in a new sandbox, beside gone on with from a snapshot.

  cold      a sandbox with the libraries in its files, and a command that imports both and computes something, to its answer
  warm      the same sandbox with a process that has imported both, and the same computed there, to its answer

In turn, both from a snapshot, so that neither fetches or unpacks anything.
"""

import argparse
import subprocess
import sys

import kit

LIBRARIES = ["numpy==2.2.6", "pandas==2.2.3"]
# What Debian 12's Python takes.
WHEELS = ["--only-binary=:all:", "--python-version=3.11", "--platform=manylinux2014_x86_64", "--implementation=cp"]
COMPUTE = "import numpy, pandas\nprint(int(pandas.Series(numpy.arange(1000)).sum()))"
ANSWER = "499500\n"
# Imports, and then computes for whoever connects.
SERVER = """
import contextlib, io, os, socket
import numpy, pandas
print(int(pandas.Series(numpy.arange(1000)).sum()))
server = socket.socket(socket.AF_UNIX)
server.bind("/tmp/warm.new")
server.listen()
os.rename("/tmp/warm.new", "/tmp/warm")
while True:
    connection, _ = server.accept()
    with connection, contextlib.redirect_stdout(io.StringIO()) as said:
        exec(connection.makefile().read())
        connection.sendall(said.getvalue().encode())
"""
ASK = """
import socket, sys
asked = socket.socket(socket.AF_UNIX)
asked.connect("/tmp/warm")
asked.sendall(sys.argv[1].encode())
asked.shutdown(socket.SHUT_WR)
sys.stdout.write(asked.makefile().read())
"""
MEMORY_MIB = 1024
ENVIRONMENT = {"PYTHONPATH": "/workspace/libraries", "PYTHONDONTWRITEBYTECODE": "1"}


def furnished(client, key, port, archive):
    """A sandbox with the libraries in it, compiled, as a package manager leaves them."""
    sandbox = client.create(memory=MEMORY_MIB, timeout=3600, env_vars=ENVIRONMENT)
    url = f"http://127.0.0.1:{port}/v1/sandbox/{sandbox}/filesystem/write-file?path=/tmp/libraries.tar"
    subprocess.run(["curl", "-sfS", "-X", "POST", "-H", f"authorization: {key}", "--data-binary", f"@{archive}", url], check=True)
    shell(client, sandbox, "mkdir libraries && tar -xf /tmp/libraries.tar -C libraries && rm /tmp/libraries.tar"
                           " && env -u PYTHONDONTWRITEBYTECODE python3 -m compileall -q libraries >/dev/null; true")
    return sandbox


def shell(client, sandbox, command):
    ended = client.call("POST", f"/v1/sandbox/{sandbox}/process/execute", {"command": command, "timeout": 600})
    assert ended["exit_code"] == 0, ended
    return ended["stdout"]


def snapshot(client, sandbox):
    return client.call("POST", f"/v1/sandbox/{sandbox}/snapshot/create", {})["name"]


def restored(client, name):
    return client.call("POST", "/v1/snapshot/restore", {"snapshot_name": name, "timeout": 3600})["id"]


def cold(client, name):
    """From files alone: what went on has no process of Python's."""
    sandbox = restored(client, name)
    answer = client.execute(sandbox, "python3", "-c", COMPUTE)
    assert answer["stdout"] == ANSWER, answer
    return sandbox


def warm(client, name):
    sandbox = restored(client, name)
    answer = client.execute(sandbox, "python3", "-c", ASK, COMPUTE)
    assert answer["stdout"] == ANSWER, answer
    return sandbox


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("-n", type=int, default=7, help="counted rounds, after one that is not")
    asked = arguments.parse_args()
    times = {"cold": [], "warm": []}
    with kit.server() as connect, kit.scratch() as scratch:
        target = f"{scratch}/libraries"
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"--target={target}", *WHEELS, *LIBRARIES], check=True)
        subprocess.run(["tar", "-cf", f"{scratch}/libraries.tar", "-C", target, "."], check=True)
        client = connect()
        source = furnished(client, client.headers["authorization"], client.connection.port, f"{scratch}/libraries.tar")
        names = {"cold": snapshot(client, source)}
        client.call("POST", f"/v1/sandbox/{source}/process/start", {"argv": ["python3", "-c", SERVER]})
        shell(client, source, "for i in $(seq 600); do test -e /tmp/warm && exit; sleep 0.05; done; exit 1")
        names["warm"] = snapshot(client, source)
        for index in range(asked.n + 1):
            for name, action in (("cold", cold), ("warm", warm)):
                took, sandbox = kit.timed(lambda: action(client, names[name]))
                client.delete(sandbox)
                if index:
                    times[name].append(took)
        client.delete(source)
    kit.report("warm", {"unit": "ms", "libraries": LIBRARIES, "figures": {name: kit.summary(took) for name, took in times.items()}})


if __name__ == "__main__":
    main()
