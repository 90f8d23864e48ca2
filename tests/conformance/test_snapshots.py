"""Snapshots: taken, listed, gone on from, and given up."""

import time
import uuid

import pytest
from leap0 import Leap0Error, Leap0NotFoundError

GONE_SECONDS_MAX = 60


def test_a_snapshot_is_taken_listed_gone_on_from_and_deleted(client, sandbox):
    name = f"sdk-{uuid.uuid4().hex}"
    sandbox.filesystem.write_file(path="/tmp/kept", content="before")
    snapshot = sandbox.create_snapshot(name=name)
    assert (snapshot.name, snapshot.template_id) == (name, sandbox.template_id)
    with pytest.raises(Leap0Error) as taken:
        sandbox.create_snapshot(name=name)
    assert taken.value.status_code == 409
    sandbox.filesystem.write_file(path="/tmp/kept", content="after")
    listed = client.snapshots.list(query=name)
    assert [each.id for each in listed.items] == [snapshot.id] and listed.total_items == 1
    copy = client.snapshots.restore(snapshot_name=name, timeout=600)
    assert copy.id != sandbox.id and copy.filesystem.read_file(path="/tmp/kept") == "before"
    copy.delete()
    client.snapshots.delete(snapshot)
    with pytest.raises(Leap0NotFoundError):
        client.snapshots.restore(snapshot_name=name)
    assert sandbox.filesystem.read_file(path="/tmp/kept") == "after"


def test_a_sandbox_may_end_with_its_snapshot(client):
    made = client.sandboxes.create(timeout=600)
    made.filesystem.write_file(path="/tmp/kept", content="kept")
    snapshot = made.create_snapshot(kill_sandbox_after=True)
    deadline = time.monotonic() + GONE_SECONDS_MAX
    while client.sandboxes.get(made.id).state != "deleted":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    copy = client.snapshots.restore(snapshot_name=snapshot.name)
    assert copy.filesystem.read_file(path="/tmp/kept") == "kept"
    copy.delete()
    client.snapshots.delete(snapshot.id)
