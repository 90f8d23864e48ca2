"""What the benchmarks share: a server of their own, a client, percentiles, and the machine's line."""

import contextlib
import http.client
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ATOLL = os.environ.get("ATOLL_BIN", os.path.join(ROOT, "target/release/atoll"))
TEMPLATE = "system/debian:bookworm"
START_SECONDS_MAX = 60
# Images are kept between runs: building one is not what is measured.
DATA_DIR = "/var/tmp/atoll-bench"


class Client:
    """One keep-alive connection to the API."""

    def __init__(self, port, key):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}

    def call(self, method, path, body=None, expect=(200, 201, 204)):
        data = None if body is None else json.dumps(body)
        self.connection.request(method, path, data, self.headers)
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status not in expect:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:500]}")
        return json.loads(content) if content else None

    def create(self, **fields):
        return self.call("POST", "/v1/sandbox", fields)["id"]

    def execute(self, sandbox, *argv):
        return self.call("POST", f"/v1/sandbox/{sandbox}/process/execute", {"argv": argv})

    def delete(self, sandbox):
        self.call("DELETE", f"/v1/sandbox/{sandbox}")


@contextlib.contextmanager
def server(*flags, data_dir=DATA_DIR, template=TEMPLATE):
    """A server on a free port, with this template built, if any; every sandbox is deleted at the end."""
    port = free_port()
    command = [ATOLL, "serve", "--ephemeral", "--data-dir", data_dir, "--listen", f"127.0.0.1:{port}", *flags]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_ready(process, port)
        with open(f"{data_dir}/api-key") as file:
            key = file.read().strip()
        environment = {**os.environ, "ATOLL_URL": f"http://127.0.0.1:{port}", "ATOLL_API_KEY": key}
        if template:
            subprocess.run([ATOLL, "template", "build", template], env=environment, check=True, stdout=sys.stderr)
        yield lambda: Client(port, key)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_ready(process, port):
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise RuntimeError("the server was not ready in time")


def percentile(values, share):
    """The smallest value that at least this share of them does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


def summary(values):
    """Milliseconds: p50, p95, p99, the least and the most, and how many."""
    figures = {f"p{share}": round(percentile(values, share), 2) for share in (50, 95, 99)}
    return {**figures, "min": round(min(values), 2), "max": round(max(values), 2), "n": len(values)}


def timed(action):
    began = time.perf_counter()
    result = action()
    return (time.perf_counter() - began) * 1000, result


def machine():
    with open("/proc/meminfo") as file:
        memory_kib = int(file.readline().split()[1])
    cgroup = "v2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "v1"
    runsc = subprocess.run(["runsc", "--version"], capture_output=True, text=True).stdout.split("\n")[0]
    return f"{os.cpu_count()} CPUs, {memory_kib >> 20} GiB, Linux {platform.release()}, cgroup {cgroup}, {runsc}"


def report(name, result):
    """Prints the result and keeps it in bench/results/<name>.json."""
    result = {"benchmark": name, "machine": machine(), "date": time.strftime("%Y-%m-%d"), **result}
    path = os.path.join(ROOT, "bench/results", f"{name}.json")
    with open(path, "w") as file:
        json.dump(result, file, indent=2)
        file.write("\n")
    print(json.dumps(result, indent=2))


def scratch():
    return tempfile.TemporaryDirectory(prefix="atoll-bench-", dir="/var/tmp")
