#!/usr/bin/env python3
"""Pause, wake, snapshot and restore, beside the engine's own checkpoint of a sandbox that does the same, in the same run.

A program inside holds so much memory that nobody can compress, and renews all of it before each. In turn, snapshots apart
from pauses, since files of theirs are on their way to the disk for a while:

  pause      `POST …/pause` to its answer: what it is, is durable, and its compute is gone; and without what its node says
             that the latter took
  wake       the next command's answer, from asking for it
  snapshot   `POST …/snapshot/create` to its answer; beside it, how long the program inside stood still
  restore    `POST …/snapshot/restore` and the first command's answer, 1, 10 and 50 at once
  bare       `runsc pause`, `runsc checkpoint` and an fsync of what it wrote; `runsc restore` of that with a bundle, a network
             namespace and a control group that are there before: to its exit, and with what the first `runsc exec` takes
             longer than the next ones, until what is inside runs again
  command    a command in the sandbox as it runs, which is in the time of a wake too
"""

import argparse
import contextlib
import glob
import json
import os
import shutil
import socket
import subprocess
import threading
import time

import kit
from bare import CGROUP, FLAGS, without_membarrier

CHECKPOINT = ["checkpoint", "--compression=none", "--exclude-committed-zero-pages", "--leave-running"]
# Holds so many MiB, and writes down the longest time between two of its steps. Every 64 KiB differ from all others in
# their first bytes and are random else: nobody can compress them, or store them once for several.
HOLD = """
import itertools, os, sys, time
numbers, size = itertools.count(), 1 << 16
kept = bytearray(int(sys.argv[1]) << 20)
def renew():
    noise = os.urandom(size - 16)
    for at in range(0, len(kept), size): kept[at:at + size] = next(numbers).to_bytes(16, "big") + noise
renew()
open("held", "w").close()
last, longest = time.monotonic(), 0.0
while True:
    if os.path.exists("renew"):
        renew()
        os.unlink("renew")
        last, longest = time.monotonic(), 0.0
    now = time.monotonic()
    if now - last > longest:
        longest = now - last
        with open("longest.new", "w") as file: file.write(str(longest * 1000))
        os.rename("longest.new", "longest")
    last = now
    time.sleep(0.001)
"""
SHELL = {"timeout": 600}


def shell(client, sandbox, command):
    path = f"/v1/sandbox/{sandbox}/process/execute"
    ended = client.call("POST", path, {"command": command, **SHELL})
    assert ended["exit_code"] == 0, ended
    return ended["stdout"]


def holding(client, mib):
    memory = 512 if mib <= 64 else 1024 if mib <= 512 else 4096
    sandbox = client.create(memory=memory, timeout=3600)
    order = {"argv": ["python3", "-c", HOLD, str(mib)], "id": "hold"}
    client.call("POST", f"/v1/sandbox/{sandbox}/process/start", order)
    shell(client, sandbox, "until test -e held; do sleep 0.05; done")
    return sandbox


def renew(client, sandbox):
    shell(client, sandbox, "touch renew; while test -e renew; do sleep 0.01; done")


class Engine:
    """The engine's own commands on a sandbox of the server's."""

    def __init__(self, scratch):
        with open(f"{kit.DATA_DIR}/instance") as file:
            self.run_dir = f"/run/atoll/{file.read().strip()}/engine"
        self.records, self.scratch, self.count = f"{self.run_dir}/runsc", scratch, 0

    def runsc(self, *arguments):
        subprocess.run(["runsc", f"--root={self.records}", *arguments], check=True, stdout=subprocess.DEVNULL)

    def launcher(self):
        """The process whose mounts the sandboxes have."""
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            with contextlib.suppress(OSError), open(path, "rb") as file:
                if b"\0role\0launcher\0" in file.read():
                    return path.split("/")[2]
        raise RuntimeError("there is no launcher")

    def restore(self, sandbox, image):
        """A sandbox that goes on from an image: until runsc says that it does, and until it runs a command as soon as it
        does later. It is ended then."""
        name = f"bare-{os.getpid()}-{self.count}"
        bundle = f"{self.scratch}/{name}"
        os.makedirs(f"{bundle}/overlay")
        subprocess.run(["ip", "netns", "add", name], check=True)
        with open(f"{kit.DATA_DIR}/node/engine/bundles/{sandbox}/config.json") as file:
            config = json.load(file)
        config["linux"]["cgroupsPath"] = f"/{CGROUP}/{name}"
        for namespace in config["linux"]["namespaces"]:
            if namespace["type"] == "network":
                namespace["path"] = f"/run/netns/{name}"
        with open(f"{bundle}/config.json", "w") as file:
            json.dump(config, file)
        inside = ["nsenter", "-t", self.launcher(), "-m", "runsc", f"--root={self.scratch}/state"]
        flags = [*FLAGS, f"--overlay2=root:dir={bundle}/overlay"]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": None}
        restore = [*inside, *flags, "restore", f"--image-path={image}", "--detach", f"--bundle={bundle}", name]
        took, _ = kit.timed(lambda: subprocess.run(restore, check=True, preexec_fn=without_membarrier, **quiet))
        execute = [*inside, "exec", name, "/bin/true"]
        first, *others = [kit.timed(lambda: subprocess.run(execute, check=True, **quiet))[0] for _ in range(4)]
        subprocess.run([*inside, "delete", "--force", name], check=True, **quiet)
        subprocess.run(["ip", "netns", "del", name], check=True)
        return took, took + max(0, first - min(others))

    def checkpoint(self, sandbox):
        """Stops it, writes it down, has the disk take it, and lets it go on. How long until it was written, until it was
        durable, and how long a restore of it takes, by both measures."""
        self.count += 1
        image = f"{self.scratch}/image-{self.count}"
        os.mkdir(image)
        began = time.perf_counter()
        self.runsc("pause", sandbox)
        self.runsc(*CHECKPOINT, f"--image-path={image}", sandbox)
        written = time.perf_counter()
        for path in [*glob.glob(f"{image}/*"), image]:
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        durable = time.perf_counter()
        self.runsc("resume", sandbox)
        restored = self.restore(sandbox, image)
        subprocess.run(["rm", "-r", image], check=True)
        return (written - began) * 1000, (durable - began) * 1000, *restored

    def released(self, sandbox):
        """How long its node took to give back the compute of a sandbox that is paused."""
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as node:
            node.connect(f"{os.path.dirname(self.run_dir)}/node.sock")
            node.sendall(f"GET /v1/sandboxes/{sandbox} HTTP/1.0\r\nhost: node\r\n\r\n".encode())
            seen = json.loads(node.makefile().read().split("\n\n", 1)[1])
        return next(step["micros"] / 1000 for step in seen["steps"] if step["step"] == "released")


def once(client, engine, sandbox, twin, times):
    """A pause and a wake, and the engine's own of a twin: a checkpoint that nobody told the agent of cuts its connection in
    a way that ours do not."""
    renew(client, twin)
    bare = engine.checkpoint(twin)
    for name, took in zip(("checkpoint_written", "checkpoint_durable", "restore", "restore_to_first"), bare):
        note(times, f"bare_{name}", took)
    renew(client, sandbox)
    note(times, "command", kit.timed(lambda: client.execute(sandbox, "true"))[0])
    pausing, _ = kit.timed(lambda: client.call("POST", f"/v1/sandbox/{sandbox}/pause", {}))
    note(times, "pause_released", pausing)
    note(times, "pause_durable", pausing - engine.released(sandbox))
    note(times, "wake_to_first_command", kit.timed(lambda: client.execute(sandbox, "true"))[0])


def once_beside(client, sandbox, times, index):
    """A snapshot of what goes on, and what goes on from that."""
    renew(client, sandbox)
    taking, snapshot = kit.timed(
        lambda: client.call("POST", f"/v1/sandbox/{sandbox}/snapshot/create", {"name": f"{sandbox}-{index}"}))
    note(times, "snapshot_durable", taking)
    note(times, "snapshot_source_stood_still", float(shell(client, sandbox, "sleep 0.1; cat longest")))
    restoring, copy = kit.timed(lambda: restored(client, snapshot["name"]))
    note(times, "restore_to_first_command", restoring)
    client.delete(copy)
    client.call("DELETE", f"/v1/snapshot/{snapshot['id']}")


def note(times, name, value):
    times.setdefault(name, []).append(value)


def restored(client, name):
    sandbox = client.call("POST", "/v1/snapshot/restore", {"snapshot_name": name, "timeout": 3600})["id"]
    client.execute(sandbox, "true")
    return sandbox


def at_once(connect, client, name, count):
    """So many restores at the same moment: how long each took, and all of them."""
    took, made = [0.0] * count, [""] * count

    def restore(index):
        took[index], made[index] = kit.timed(lambda: restored(connect(), name))

    threads = [threading.Thread(target=restore, args=(index,)) for index in range(count)]
    whole, _ = kit.timed(lambda: [[t.start() for t in threads], [t.join() for t in threads]])
    for sandbox in made:
        client.delete(sandbox)
    return {**kit.summary(took), "all": round(whole, 2)}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("-n", type=int, default=7, help="counted rounds, after one that is not")
    arguments.add_argument("--mib", type=int, nargs="+", default=[64, 512, 2048])
    arguments.add_argument("--at-once", type=int, nargs="*", default=[1, 10, 50])
    asked = arguments.parse_args()
    figures = {}
    with kit.server("--memory-mib-max=65536") as connect, kit.scratch() as scratch:
        client, engine = connect(), Engine(scratch)
        for mib in asked.mib:
            times, sandbox, twin = {}, holding(client, mib), holding(client, mib)
            rounds = range((asked.n if mib < 1024 else min(asked.n, 3)) + 1)
            for _ in rounds:
                once(client, engine, sandbox, twin, times)
            for index in rounds:
                once_beside(client, sandbox, times, index)
            client.delete(sandbox)
            client.delete(twin)
            figures[f"{mib} MiB"] = {name: kit.summary(values[1:]) for name, values in times.items()}
        sandbox = client.create(memory=512, timeout=3600)
        name = client.call("POST", f"/v1/sandbox/{sandbox}/snapshot/create", {})["name"]
        figures["restores at once"] = {count: at_once(connect, client, name, count) for count in asked.at_once}
        for snapshot in client.call("GET", "/v1/snapshots?page-size=100")["items"]:
            client.call("DELETE", f"/v1/snapshot/{snapshot['id']}")
    # Its bytes would stay for an hour, and are many.
    shutil.rmtree(f"{kit.DATA_DIR}/node/snapshots")
    kit.report("pauses", {"unit": "ms", "figures": figures, "over_bare": over(figures)})


def over(figures):
    """What we add to the engine's own time, at p50."""
    added = {}
    for size, times in figures.items():
        if "bare_checkpoint_durable" in times:
            bare, ours = times["bare_checkpoint_durable"]["p50"], times["pause_durable"]["p50"]
            # What a command takes in any sandbox is not what a wake adds.
            wake = times["wake_to_first_command"]["p50"] - times["command"]["p50"]
            restore = times["bare_restore_to_first"]["p50"]
            added[size] = {"pause_ms": round(ours - bare, 2), "pause_ratio": round(ours / bare, 2),
                           "wake_ms": round(wake - restore, 2), "wake_ratio": round(wake / restore, 2)}
    return added


if __name__ == "__main__":
    main()
