"""What the tests share: clients of the server that LEAP0_BASE_URL and LEAP0_API_KEY name, and sandboxes of theirs."""

import contextlib
import itertools
import os

import httpx
import pytest
from leap0 import AsyncLeap0Client, Leap0Client

from flavours import Blocking, Loop

URL = os.environ["LEAP0_BASE_URL"]
KEY = os.environ["LEAP0_API_KEY"]


@pytest.fixture(scope="session", params=["sync", "async"])
def connect(request):
    """Makes clients of one flavour: takes what the SDK's constructors take."""
    with contextlib.ExitStack() as stack:
        loop = Loop()
        stack.callback(loop.close)

        def client(**settings):
            if request.param == "sync":
                made = Leap0Client(**settings)
            else:
                made = Blocking(AsyncLeap0Client(**settings), loop)
            stack.callback(made.close)
            return made

        yield client


@pytest.fixture(scope="session")
def client(connect):
    """A client as the environment has it."""
    return connect()


@pytest.fixture(scope="session")
def sandbox(client):
    """The sandbox most tests of a flavour share."""
    made = client.sandboxes.create(timeout=1800)
    yield made
    made.delete()


@pytest.fixture
def create(client):
    """Makes sandboxes for one test, which are gone after it."""
    made = []

    def create(**fields):
        made.append(client.sandboxes.create(**fields))
        return made[-1]

    yield create
    for sandbox in made:
        sandbox.delete()


numbers = itertools.count()


@pytest.fixture
def home(sandbox):
    """A directory in the shared sandbox that is this test's alone."""
    path = f"/home/user/test-{next(numbers)}"
    sandbox.filesystem.mkdir(path=path)
    return path


@pytest.fixture
def team(connect, http):
    """Makes clients of teams of their own, which are gone after the test."""
    undo = []

    def made(path, **fields):
        answer = http.post(path, json=fields)
        assert answer.status_code == 201, answer.text
        undo.append(f"{path}/{answer.json()['id']}")
        return answer.json()

    def team(**limits):
        name = f"team-{next(numbers)}"
        owner = made("/v1/team", name=name, limits=limits)
        return connect(api_key=made("/v1/key", name=name, scopes=["team"], team=owner["id"])["key"])

    yield team
    for path in reversed(undo):
        answer = http.delete(path)
        assert answer.status_code == 204, answer.text


@pytest.fixture(scope="session")
def http():
    """The same server, asked without the SDK."""
    with httpx.Client(base_url=URL, headers={"authorization": KEY}, timeout=60) as client:
        yield client
