#!/usr/bin/env python3
"""What the ingress costs beside nginx and HAProxy, and what it adds to a sandbox.

`beside`: all three stand before one app, nginx with an answer of 128 bytes in a network namespace that is one pair of
interfaces away, as a sandbox's is. In turn, in each round: as many requests as there can be on connections that stay open
(wrk), plain and over TLS 1.3 with the same certificate; then so many a second that all can answer them, at all connections
at once (h2load), since whoever waits for an answer before the next request asks less of what is slow; and one large
download (curl). Counted are requests for each second that the proxy's processes were on a CPU; for ours also with control,
which nothing else here has: whose key it is and where it leads is asked there. Percentiles are medians over rounds, and of
the rounds' ratios and differences to nginx. The sandbox that is named is one of the fake engine, and the node's place is
taken by a few lines of Python that lend connections to the app (`proxies.Lender`), which a real one does as seldom.

`websockets`: memory of the proxy for so many of them that say nothing.

`sandbox`: a server of Python's in a sandbox on gVisor that listens for everybody, and the same on its loopback interface
alone; and how long a new connection takes there, by the first answer on it, of each in turn.
"""

import argparse
import contextlib
import glob
import json
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import time

import kit
import proxies

APP_PORT, INSIDE_PORT = proxies.APP_PORT, 8001
LARGE_BYTES, LARGE_SANDBOX_BYTES = 1 << 30, 1 << 28
CONNECTIONS = (10, 50, 200)
# Of the requests that the slowest can answer, when it is asked how long answers take.
STEADY_SHARE = 0.4
# Nothing that is measured here is to meet a limit, of the ingress or of the host.
LIMITS = [f"--ingress-{name}=20000" for name in
          ("connections-max", "address-connections-max", "sandbox-requests-max", "key-requests-max")]
WAIT_SECONDS_MAX = 60

# Answers what it is asked, and agrees to every WebSocket without a word more.
APP = """
import asyncio, sys
class App(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.seen = transport, b""
    def data_received(self, data):
        self.seen += data
        while b"\\r\\n\\r\\n" in self.seen:
            head, self.seen = self.seen.split(b"\\r\\n\\r\\n", 1)
            self.answer(head.lower())
    def answer(self, head):
        if b"upgrade: websocket" in head:
            front = b"HTTP/1.1 101 Switching Protocols\\r\\nconnection: upgrade\\r\\nupgrade: websocket\\r\\n"
            return self.transport.write(front + b"sec-websocket-accept: x\\r\\n\\r\\n")
        body = b"x" * (int(sys.argv[3]) if head.startswith(b"get /large ") else 128)
        self.transport.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body) + body)
async def main():
    server = await asyncio.get_running_loop().create_server(App, sys.argv[1], int(sys.argv[2]), backlog=4096)
    await server.serve_forever()
asyncio.run(main())
"""


@contextlib.contextmanager
def door(*flags, **how):
    """A server, and what it takes to ask its ingress: a client of the API, and a way to make a `Proxy` of a sandbox."""
    port = kit.free_port()
    before = set(proxies.family(os.getpid()))
    with kit.server("--ingress-listen", f"127.0.0.1:{port}", *flags, **how) as connect:
        ours = [process for process in proxies.family(os.getpid()) if process not in before]
        roles = {role: process for process in ours if (role := role_of(process))}

        def to(sandbox, app_port):
            key = connect().headers["authorization"]
            name = f"{sandbox}-{app_port}.sandbox.localhost"
            return proxies.Proxy(port, port, roles["ingress"], name, key)

        yield connect(), to, roles


def fake_door(work):
    """One before the fake engine, whose machines are processes of this one, and which takes images for their names alone."""
    images = f"{work}/data/node/images"
    if not os.path.exists(images):
        shutil.copytree(f"{kit.DATA_DIR}/node/images", images, copy_function=os.link)
        for path in glob.glob(f"{images}/*/config.json"):
            with open(path) as file:
                image = json.load(file)
            # The image's users are not this machine's.
            image["config"]["user"] = ""
            os.unlink(path)
            with open(path, "w") as file:
                json.dump(image, file)
    return door("--engine", "fake", "--unsafe-fake-engine", *LIMITS, data_dir=f"{work}/data")


@contextlib.contextmanager
def three_ways(work, client, to):
    """To the app that is far away: by the ingress, by nginx and by HAProxy."""
    with open(f"{work}/data/instance") as file:
        proxies.Lender(f"/run/atoll/{file.read().strip()}/ports.sock").start()
    ours = to(client.create(timeout=28800), proxies.APP_PORT)
    tls = [f"{work}/data/tls/ingress.pem", f"{work}/data/tls/ingress.key"]
    with proxies.nginx(work, *tls, ours) as nginx, proxies.haproxy(work, *tls, ours) as haproxy:
        yield {"atoll": ours, "nginx": nginx, "haproxy": haproxy}


def role_of(process):
    with open(f"/proc/{process}/cmdline") as file:
        words = file.read().split("\0")
    return words[2] if words[1:2] == ["role"] else None


def start(client, sandbox, *argv):
    client.call("POST", f"/v1/sandbox/{sandbox}/process/start", {"argv": argv})


def write(client, sandbox, path, content):
    ran = client.call("POST", f"/v1/sandbox/{sandbox}/process/execute",
                      {"argv": ["sh", "-c", f"cat > {path}"], "stdin": content})
    assert ran["exit_code"] == 0, ran


def said_to(proxy, names_host=True):
    """The headers, as the clients here take them."""
    named = ["-H", f"Host: {proxy.name}"] if names_host else []
    return ["-H", f"authorization: {proxy.key}", *named]


def load(proxy, others, scheme, connections, seconds):
    """What wrk says, and what the proxy's processes, and others, took meanwhile."""
    headers = said_to(proxy)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *headers, proxy.url(scheme)]
    before, others_before = proxy.cpu_seconds(), others() if others else 0
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    took, others_took = proxy.cpu_seconds() - before, others() - others_before if others else 0
    assert "Non-2xx" not in said and "Socket errors" not in said, said
    requests = int(re.search(r"(\d+) requests in", said)[1])
    times = {f"p{share}_ms": milliseconds(re.search(rf"(?m)^ +{share}% +(\S+)", said)[1]) for share in (50, 99)}
    rates = {"per_cpu_second": requests / max(took, 0.01)}
    if others:
        rates["per_cpu_second_with_control"] = requests / max(took + others_took, 0.01)
    return {"requests": requests, **rates, **times}


def steady(proxy, scheme, connections, rate, seconds, work):
    """How long answers take when all connections together ask for so many a second, whatever they wait for."""
    log, port = f"{work}/h2load.log", proxy.ports[scheme]
    # It adds to the file of a name that is there.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(log)
    command = ["h2load", "--h1", "-t1", f"-c{connections}", f"-D{seconds}", "--warm-up-time=1",
               f"--rps={max(rate / connections, 1):.0f}", f"--log-file={log}", f"--connect-to=127.0.0.1:{port}",
               *said_to(proxy, names_host=False), proxy.url(scheme, host=proxy.name)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    with open(log) as file:
        answers = [line.split() for line in file]
    assert answers and all(status == "200" for _, status, _ in answers), answers[:3]
    took = sorted(int(microseconds) / 1000 for _, _, microseconds in answers)
    return {f"p{share}_ms": took[len(took) * share // 100] for share in (50, 99)}


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}[unit]


def download(proxy, scheme):
    headers = said_to(proxy)
    command = ["curl", "-skf", "-o", "/dev/null", "-w", "%{size_download} %{time_total}", *headers]
    before = proxy.cpu_seconds()
    said = subprocess.run([*command, proxy.url(scheme, "/large")], capture_output=True, text=True, check=True)
    size, seconds = (float(number) for number in said.stdout.split())
    gib = size / 2**30
    return {"mib_per_second": gib * 1024 / seconds, "cpu_seconds_per_gib": (proxy.cpu_seconds() - before) / gib}


def answers(proxy, scheme="plain"):
    """Waits until the app answers through it."""
    headers = said_to(proxy)
    command = ["curl", "-sk", "-m", "20", "-w", "%{http_code}", *headers, proxy.url(scheme)]
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not (said := subprocess.run(command, capture_output=True, text=True).stdout).endswith("200"):
        assert time.monotonic() < deadline, f"{proxy.url(scheme)} answers {said}"
        time.sleep(0.1)


def medians(rounds):
    """Of figures that each round has, by their names."""
    return {name: round(statistics.median(each[name] for each in rounds), 3) for name in rounds[0]}


def beside(work, rounds, seconds):
    """The first table."""
    with proxies.app(work, LARGE_BYTES), fake_door(work) as (client, to, roles), three_ways(work, client, to) as ways:
        for way in ways.values():
            answers(way, "plain")
            answers(way, "tls")
        control = lambda: proxies.cpu_seconds(roles["control"])
        return compare(ways, control, rounds, seconds, work)


def compare(ways, control, rounds, seconds, work):
    requests, steadily, downloads = {}, {}, {}
    for number in range(rounds):
        # Each is first, second and last equally often.
        names = list(ways)[number % len(ways):] + list(ways)[:number % len(ways)]
        for scheme in ("plain", "tls"):
            for connections in CONNECTIONS:
                others = {"atoll": control}
                seen = {name: load(ways[name], others.get(name), scheme, connections, seconds) for name in names}
                # What none of them is at its limit with.
                rate = min(each["requests"] for each in seen.values()) / seconds * STEADY_SHARE
                held = {name: steady(ways[name], scheme, connections, rate, seconds, work) for name in names}
                for name in names:
                    case = f"{scheme} {connections} {name}"
                    requests.setdefault(case, []).append(beside_nginx(seen, name))
                    more = {f"{figure}_more": took - held["nginx"][figure] for figure, took in held[name].items()}
                    steadily.setdefault(case, []).append({"rate": rate, **held[name], **more})
            for name in names:
                downloads.setdefault(f"{scheme} {name}", []).append(download(ways[name], scheme))
    return {"requests": {case: medians(each) for case, each in requests.items()},
            "steady": {case: medians(each) for case, each in steadily.items()},
            "download": {case: medians(each) for case, each in downloads.items()}}


def beside_nginx(seen, name):
    """What one did in a round, and how that compares to what nginx did in the same."""
    ours, nginx = seen[name], seen["nginx"]
    ratios = {f"{figure}_to_nginx": ours[figure] / nginx["per_cpu_second"] for figure in ours if "cpu" in figure}
    more = {f"{figure}_more": ours[figure] - nginx[figure] for figure in ("p50_ms", "p99_ms")}
    return {**ours, **ratios, **more}


def websockets(work, wanted):
    """Memory for each of the proxies with so many WebSockets."""
    with open(f"{work}/app.py", "w") as file:
        file.write(APP)
    serve = ("python3", f"{work}/app.py", proxies.FAR, str(proxies.APP_PORT), "0")
    with proxies.far_away() as inside, proxies.started([(proxies.FAR, proxies.APP_PORT)], *inside, *serve):
        with fake_door(work) as (client, to, _), three_ways(work, client, to) as ways:
            return {name: hold(way, wanted) for name, way in ways.items()}


def hold(way, wanted):
    answers(way)
    before, held = way.resident_mib(), []
    try:
        for _ in range(wanted):
            held.append(upgraded(way))
    except OSError as error:
        print(f"no more than {len(held)} WebSockets: {error}")
    mib = way.resident_mib() - before
    for each in held:
        each.close()
    return {"websockets": len(held), "mib": round(mib, 1), "kib_each": round(mib * 1024 / max(len(held), 1), 2)}


def upgraded(proxy):
    """A WebSocket that has begun."""
    connection = socket.create_connection(("127.0.0.1", proxy.ports["plain"]), timeout=20)
    lines = ["GET / HTTP/1.1", f"Host: {proxy.name}", f"authorization: {proxy.key}", "connection: upgrade",
             "upgrade: websocket", "sec-websocket-version: 13", "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=="]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    said = connection.recv(4096)
    if not said.startswith(b"HTTP/1.1 101"):
        connection.close()
        raise ConnectionRefusedError(said[:200])
    return connection


def sandboxed(rounds, seconds):
    """The last table."""
    with door() as (client, to, roles):
        sandbox = client.create(vcpu=2, timeout=3600)
        write(client, sandbox, "/tmp/app.py", APP)
        for address, port in (("0.0.0.0", APP_PORT), ("127.0.0.1", INSIDE_PORT)):
            start(client, sandbox, "python3", "/tmp/app.py", address, str(port), str(LARGE_SANDBOX_BYTES))
        ways = {"outside": to(sandbox, APP_PORT), "loopback": to(sandbox, INSIDE_PORT)}
        for way in ways.values():
            answers(way)
        seen, control = {}, lambda: proxies.cpu_seconds(roles["control"])
        for number in range(rounds):
            for name in list(ways)[::1 if number % 2 else -1]:
                for connections in CONNECTIONS[:2]:
                    case = seen.setdefault(f"plain {connections} {name}", [])
                    case.append(load(ways[name], control, "plain", connections, seconds))
                seen.setdefault(f"download {name}", []).append(download(ways[name], "plain"))
        return {"requests": {case: medians(each) for case, each in seen.items()}, "new_connection_ms": fresh(ways)}


def fresh(ways, count=200):
    """How long a new connection to the app takes, by a WebSocket's beginning, of each way in turn."""
    times = {name: [] for name in ways}
    held = []
    for _ in range(count):
        for name, way in ways.items():
            took, connection = kit.timed(lambda: upgraded(way))
            times[name].append(took)
            held.append(connection)
    for each in held:
        each.close()
    return {name: kit.summary(taken) for name, taken in times.items()}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("-n", type=int, default=9, help="rounds")
    arguments.add_argument("--seconds", type=int, default=5, help="of load, for each way and case of a round")
    arguments.add_argument("--websockets", type=int, default=8000)
    arguments.add_argument("--only", choices=("sandbox", "beside", "websockets"), help="one table; it is not kept")
    given = arguments.parse_args()
    # As many descriptors as we may have: a WebSocket takes two of each proxy.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with kit.scratch() as work:
        os.chmod(work, 0o755)
        # The first has the template built.
        tables = {"sandbox": lambda: sandboxed(given.n, given.seconds),
                  "beside": lambda: beside(work, given.n, given.seconds),
                  "websockets": lambda: websockets(work, given.websockets)}
        if given.only:
            return print(json.dumps(tables[given.only](), indent=2))
        kit.report("ingress", {name: table() for name, table in tables.items()})


if __name__ == "__main__":
    main()
