#!/usr/bin/env python3
"""How long `true` takes in a warm sandbox over the API, and how much of it is the API.

The same is asked of the agent directly, by the node's own client over a connection of its own, in turn with the
calls over HTTP: one at a time, and sixteen at once. Then the first command of sandboxes that were left alone for
a while, beside the second one.
"""

import argparse
import glob
import json
import os
import subprocess
import time

import kit
from wire import Wire

EXAMPLE = os.path.join(os.path.dirname(kit.ATOLL), "examples/exec_latency")


def build_example():
    command = ["cargo", "build", "--quiet", "--release", "--locked", "-p", "runner", "--example", "exec_latency"]
    if "ATOLL_BIN" not in os.environ:
        subprocess.run(command, check=True, cwd=kit.ROOT)
    assert os.path.exists(EXAMPLE), f"{EXAMPLE} is not there; build it beside ATOLL_BIN"


def warm(port, key, sandbox, at_once, rounds):
    [namespace] = glob.glob(f"/run/atoll/*/engine/netns/{sandbox}")
    orders = {
        "api": f"127.0.0.1:{port}", "key": key, "sandbox": sandbox, "at_once": at_once, "rounds": rounds,
        "namespace": namespace, "record": f"{kit.DATA_DIR}/node/records/{sandbox}.json",
    }
    output = subprocess.run([EXAMPLE, json.dumps(orders)], check=True, stdout=subprocess.PIPE).stdout
    times = json.loads(output)
    figures = {name[:-3]: kit.summary([micros / 1000 for micros in values]) for name, values in times.items()}
    over = {p: round(figures["api"][p] - figures["direct"][p], 2) for p in ("p50", "p95", "p99")}
    return {**figures, "api_over_direct": over}


def after_idling(client, connect_wire, sandboxes, minutes):
    """First and second commands of sandboxes nobody spoke to."""
    # One more, on which the new connection is tried.
    ids = [client.create(timeout=28800, memory=512) for _ in range(sandboxes + 1)]
    path = "/v1/sandbox/{}/process/execute"
    for sandbox in ids:
        client.execute(sandbox, "true")
    time.sleep(minutes * 60)
    # A connection that says nothing for so long is closed by the server; one that was just opened is no idle sandbox's fault.
    wire, client = connect_wire()
    wire.post(path.format(ids[0]), argv=["true"])
    first, second = [], []
    for sandbox in ids[1:]:
        for times in (first, second):
            milliseconds, ended = kit.timed(lambda: wire.post(path.format(sandbox), argv=["true"]))
            assert ended["exit_code"] == 0, ended
            times.append(milliseconds)
    for sandbox in ids:
        client.delete(sandbox)
    return {"minutes": minutes, "first": kit.summary(first), "second": kit.summary(second)}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("-n", type=int, default=1000, help="commands each way, one at a time and at once")
    arguments.add_argument("--idle-minutes", type=float, default=10)
    arguments.add_argument("--idle-sandboxes", type=int, default=30)
    options = arguments.parse_args()
    build_example()
    with kit.server() as connect:
        client = connect()
        key, port = client.headers["authorization"], client.connection.port
        sandbox = client.create(timeout=28800)
        result = {
            "one_at_a_time": warm(port, key, sandbox, 1, options.n),
            "sixteen_at_once": warm(port, key, sandbox, 16, max(1, options.n // 16)),
        }
        client.delete(sandbox)
        result["after_idling"] = after_idling(
            client, lambda: (Wire(port, key), connect()), options.idle_sandboxes, options.idle_minutes
        )
    kit.report("exec", {"unit": "ms", **result})


if __name__ == "__main__":
    main()
