#!/usr/bin/env python3
"""Create, execute, delete, over and over, several at a time; every so often an engine is killed.

Counts what is left at the end: resources whose sandbox is gone, by the server's own audit; and descriptors of
the server's processes, and processes, mounts, interfaces, loop devices and cgroups against what there was before.
Then it plants a leak and sees the audit turn red. Exits with 1 unless all is well.

On a host where others work too: `unshare --mount --net --pid --fork --mount-proc sh -c 'ip link set lo up && …'`
gives it processes, mounts and interfaces of its own; cgroups and loop devices are counted if they are this server's.
"""

import argparse
import collections
import glob
import json
import os
import signal
import subprocess
import threading
import time

import kit

KILL_EVERY = 20
DEATH_SECONDS_MAX = 30


def host():
    """What there is of each kind on this host, and of this server's where kinds have no namespace."""
    return {
        "mounts": len(open("/proc/self/mounts").readlines()),
        "cgroups": sum(1 for path, _, _ in os.walk("/sys/fs/cgroup") if f"/atoll-{instance()}" in path),
        "interfaces": len(open("/proc/self/net/dev").readlines()) - 2,
        "loop_devices": sum(1 for path in glob.glob("/sys/block/loop*/loop/backing_file") if backed_by_us(path)),
        "runsc_processes": sum(1 for name in names() if name.startswith(("runsc", "exe"))),
    }


def instance():
    """The name of this server on the host."""
    with open(f"{kit.DATA_DIR}/instance") as file:
        return file.read().strip()


def backed_by_us(path):
    try:
        with open(path) as file:
            return file.read().startswith(kit.DATA_DIR)
    except OSError:
        return False


def names():
    for path in glob.glob("/proc/[0-9]*/comm"):
        try:
            with open(path) as file:
                yield file.read().strip()
        except OSError:
            pass


def of_each_server_process(measure):
    """What `measure` says of the `/proc` directory of each process of this server, by its role."""
    measured = {}
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path) as file:
                arguments = file.read().split("\0")
            if "role" in arguments and arguments[0] == "atoll" or kit.ATOLL in arguments[0]:
                measured[" ".join(arguments[1:3])] = measure(os.path.dirname(path))
        except OSError:
            pass
    return measured


def server_descriptors():
    """Open descriptors of each process of this server, by its role."""
    return of_each_server_process(lambda process: len(os.listdir(f"{process}/fd")))


def server_resident_mib():
    """Resident memory of each process of this server, in MiB, by its role."""
    def resident(process):
        with open(f"{process}/statm") as file:
            return round(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)
    return of_each_server_process(resident)


def engine_pid(client, sandbox):
    engine = client.call("GET", f"/v1/sandbox/{sandbox}/inspect")["engine"]
    return engine["pid"]


def cycle(client, number, tally):
    sandbox = client.create(memory=512, timeout=600)
    if number % KILL_EVERY == 0:
        os.kill(engine_pid(client, sandbox), signal.SIGKILL)
        deadline = time.monotonic() + DEATH_SECONDS_MAX
        while (seen := client.call("GET", f"/v1/sandbox/{sandbox}"))["state"] != "deleted":
            if time.monotonic() > deadline:
                raise RuntimeError(f"{sandbox} is still {seen['state']} after its engine was killed")
            time.sleep(0.01)
        tally[f"death: {seen.get('reason')}"] += 1
    else:
        ended = client.execute(sandbox, "true")
        tally[f"exit: {ended['exit_code']}"] += 1
    client.delete(sandbox)


def worker(connect, numbers, tally, failures, log):
    client = connect()
    while True:
        with tally_lock:
            if not numbers:
                return
            number = numbers.pop()
            log.line_if_due(client, len(numbers), tally, failures)
        try:
            cycle(client, number, tally)
        except Exception as error:
            failures.append(f"{number}: {error}")
            client = connect()


tally_lock = threading.Lock()


class Log:
    """A line every so many cycles, as far as it has come, in the file that was asked for."""

    EVERY_CYCLES = 100

    def __init__(self, path, cycles):
        self.file = open(path, "w", buffering=1) if path else None
        self.cycles, self.began = cycles, time.monotonic()

    def line_if_due(self, client, left, tally, failures):
        done = self.cycles - left - 1
        if not self.file or done % self.EVERY_CYCLES:
            return
        line = {
            "seconds": round(time.monotonic() - self.began, 1), "begun": done, "outcomes": dict(tally),
            "failures": len(failures), "leaks": client.call("GET", "/v1/leaks")["items"],
            "descriptors": server_descriptors(), "resident_mib": server_resident_mib(),
        }
        print(json.dumps(line), file=self.file)


def plant_a_leak():
    """A network namespace pinned where the server keeps its own, under a name no sandbox has."""
    pin = f"/run/atoll/{instance()}/engine/netns/sbx-plantedplantedplante"
    open(pin, "w").close()
    subprocess.run(["unshare", "-n", "mount", "--bind", "/proc/self/ns/net", pin], check=True)
    return pin


def remove_planted(pin):
    subprocess.run(["umount", pin], check=True)
    os.unlink(pin)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("-n", type=int, default=1000, help="cycles")
    arguments.add_argument("--at-a-time", type=int, default=8)
    arguments.add_argument("--log", help="a file for a line every 100 cycles")
    arguments = arguments.parse_args()
    tally, failures = collections.Counter(), []
    with kit.server() as connect:
        client = connect()
        cycle(client, 1, collections.Counter())
        before, descriptors_before = host(), server_descriptors()
        numbers, log = list(range(arguments.n)), Log(arguments.log, arguments.n)
        began = time.monotonic()
        workers = [threading.Thread(target=worker, args=(connect, numbers, tally, failures, log))
                   for _ in range(arguments.at_a_time)]
        [thread.start() for thread in workers]
        [thread.join() for thread in workers]
        seconds = time.monotonic() - began
        client = connect()
        leaks = client.call("GET", "/v1/leaks")["items"]
        after, descriptors_after = host(), server_descriptors()
        listed = client.call("GET", "/v1/sandboxes")["total_items"]
        pin = plant_a_leak()
        planted = client.call("GET", "/v1/leaks")["items"]
        remove_planted(pin)
    result = {
        "cycles": arguments.n, "at_a_time": arguments.at_a_time, "seconds": round(seconds, 1),
        "per_second": round(arguments.n / seconds, 2), "outcomes": dict(tally), "failures": failures[:20],
        "leaks": leaks, "sandboxes_listed": listed, "host_before": before, "host_after": after,
        "descriptors_before": descriptors_before, "descriptors_after": descriptors_after,
        "planted_leak_is_found": len(planted) > 0,
    }
    kit.report("cycles", result)
    grown = {kind for kind in before if after[kind] > before[kind]}
    well = not failures and not leaks and not listed and not grown and planted
    raise SystemExit(0 if well else f"not well: {failures[:3] or leaks or grown or 'see above'}")


if __name__ == "__main__":
    main()
