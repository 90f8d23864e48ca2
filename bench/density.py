#!/usr/bin/env python3
"""What an idle sandbox costs: proportional memory (PSS) and CPU, with 1, 10 and 50 of them."""

import glob
import time

import kit

IDLE_SECONDS = 10
SETTLE_SECONDS = 3
TICKS_PER_SECOND = 100


def sandbox_pids():
    """Processes in the cgroups of this server's sandboxes, by either version's layout."""
    with open(f"{kit.DATA_DIR}/instance") as file:
        parent = f"atoll-{file.read().strip()}"
    pids = set()
    for pattern in (f"/sys/fs/cgroup/{parent}/*/cgroup.procs", f"/sys/fs/cgroup/memory/{parent}/*/cgroup.procs"):
        for path in glob.glob(pattern):
            with open(path) as file:
                pids.update(int(line) for line in file)
    return pids


def pss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def measure(client, count):
    sandboxes = [client.create(memory=512, vcpu=1, timeout=3600) for _ in range(count)]
    for sandbox in sandboxes:
        client.execute(sandbox, "true")
    time.sleep(SETTLE_SECONDS)
    pids = sandbox_pids()
    before = {pid: cpu_ticks(pid) for pid in pids}
    time.sleep(IDLE_SECONDS)
    ticks = sum(cpu_ticks(pid) - before[pid] for pid in pids)
    memory = sum(pss_kib(pid) for pid in pids)
    for sandbox in sandboxes:
        client.delete(sandbox)
    return {
        "pss_mib_each": round(memory / 1024 / count, 2),
        "cpu_percent_of_a_core_each": round(100 * ticks / TICKS_PER_SECOND / IDLE_SECONDS / count, 3),
        "processes_each": round(len(pids) / count, 1),
    }


def main():
    # Promised memory is not used memory: fifty idle sandboxes fit where their sum would not.
    with kit.server("--memory-mib-max", "65536") as connect:
        client = connect()
        kit.report("density", {"sandboxes": {str(count): measure(client, count) for count in (1, 10, 50)}})


if __name__ == "__main__":
    main()
