#!/usr/bin/env python3
"""How long from `POST /v1/sandbox` to the exit of the first command, and to the answer of the delete.

Beside it, in the same run and in turn: `runsc run` of the same program by itself, and podman with crun and
with runc where they are installed. All with the same image, CPU and memory limits.
"""

import argparse
import glob
import shutil
import subprocess

import kit
from bare import Bare, enter_mount_namespace

MEMORY_MIB, VCPU = 1024, 1


def atoll_once(client):
    def create_and_run():
        sandbox = client.create(memory=MEMORY_MIB, vcpu=VCPU)
        ended = client.execute(sandbox, "true")
        assert ended["exit_code"] == 0, ended
        return sandbox

    ready_ms, sandbox = kit.timed(create_and_run)
    delete_ms, _ = kit.timed(lambda: client.delete(sandbox))
    return ready_ms, delete_ms


def bare_once(bare):
    prepared = bare.prepare()
    milliseconds, _ = kit.timed(lambda: bare.run(prepared))
    bare.clean(prepared)
    return milliseconds


def podman_once(runtime, root):
    command = ["podman", "--cgroup-manager=cgroupfs", "--runtime", runtime, "run", "--rm", "--network=none",
               f"--memory={MEMORY_MIB}m", f"--cpus={VCPU}", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024",
               "--rootfs", f"{root}:O", "/bin/true"]
    quiet = subprocess.DEVNULL
    return kit.timed(lambda: subprocess.run(command, check=True, stdout=quiet, stderr=quiet))[0]


def podman_runtimes(root):
    """Those that work here: some refuse this host's cgroups."""
    for runtime in ("crun", "runc"):
        if shutil.which("podman") and shutil.which(runtime):
            try:
                podman_once(runtime, root)
                yield runtime
            except subprocess.CalledProcessError:
                pass


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("-n", type=int, default=100, help="counted rounds, after three that are not")
    rounds = arguments.parse_args().n + 3
    times = {"atoll_ready": [], "atoll_delete": [], "bare_runsc": []}
    with kit.server() as connect, kit.scratch() as scratch:
        image = glob.glob(f"{kit.DATA_DIR}/node/images/*/root.erofs")[0]
        root = f"{scratch}/root"
        subprocess.run(["mkdir", root], check=True)
        enter_mount_namespace(image, root)
        client, bare = connect(), Bare(root, scratch, MEMORY_MIB, VCPU)
        runtimes = list(podman_runtimes(root))
        for _ in range(rounds):
            ready, delete = atoll_once(client)
            times["atoll_ready"].append(ready)
            times["atoll_delete"].append(delete)
            times["bare_runsc"].append(bare_once(bare))
            for runtime in runtimes:
                times.setdefault(f"podman_{runtime}", []).append(podman_once(runtime, root))
        bare.close()
        subprocess.run(["umount", root], check=True)
    figures = {name: kit.summary(values[3:]) for name, values in times.items()}
    over = {p: round(figures["atoll_ready"][p] - figures["bare_runsc"][p], 2) for p in ("p50", "p95", "p99")}
    kit.report("create", {"unit": "ms", "figures": figures, "atoll_ready_over_bare_runsc": over})


if __name__ == "__main__":
    main()
