"""What the tests share: Sandbox0's client, another team's, and our own API to see what has become of a template."""

import itertools
import os
import time

import httpx
import pytest
from sandbox0 import Client

URL = os.environ["ATOLL_URL"]
KEY = os.environ["ATOLL_API_KEY"]
# Of images in a registry: one that runs, another one, and one of which a layer is missing.
IMAGE = os.environ["TEST_IMAGE"]
OTHER_IMAGE = os.environ["TEST_OTHER_IMAGE"]
TORN_IMAGE = os.environ["TEST_TORN_IMAGE"]

numbers = itertools.count()


def connect(token):
    return Client(token=token, base_url=URL, timeout=60)


@pytest.fixture(scope="session")
def client():
    return connect(KEY)


@pytest.fixture(scope="session")
def http():
    """Our own API."""
    with httpx.Client(base_url=URL, headers={"authorization": KEY}, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def other(http):
    """A client of another team."""
    team = http.post("/v1/team", json={"name": "others"}).json()["id"]
    made = http.post("/v1/key", json={"name": "others", "scopes": ["team"], "team": team})
    assert made.status_code == 201, made.text
    return connect(made.json()["key"])


@pytest.fixture
def template_id(http):
    """An id that is free, before the test and after it."""
    name = f"py-{next(numbers)}"
    yield name
    for item in http.get("/v1/templates").json()["items"]:
        if item["name"] == name:
            http.delete(f"/v1/template/{item['id']}")


@pytest.fixture
def ours(http):
    """A template as our own API has it."""

    def ours(name):
        found = [item for item in http.get("/v1/templates").json()["items"] if item["name"] == name]
        return found[0] if found else None

    return ours


@pytest.fixture
def run(http):
    """Runs a command in a new sandbox of a template."""
    made = []

    def run(name, command):
        answer = http.post("/v1/sandbox", json={"template_name": name})
        assert answer.status_code == 201, answer.text
        sandbox = answer.json()
        made.append(sandbox["id"])
        path = f"/v1/sandbox/{sandbox['id']}/process/execute"
        ran = http.post(path, json={"command": command})
        assert ran.status_code == 200, ran.text
        return sandbox, ran.json()

    yield run
    for sandbox in made:
        http.delete(f"/v1/sandbox/{sandbox}")


def eventually(what, seconds=60):
    """Tries until it is so; what it was then."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
    return found
