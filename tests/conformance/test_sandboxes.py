"""Sandboxes: made, looked at, listed, ended."""

import re
import time
from datetime import datetime

import pytest
from leap0 import Leap0NotFoundError, SandboxState

GONE_SECONDS_MAX = 30


def test_a_sandbox_is_what_was_asked_for(create):
    made = create(vcpu=2, memory=512, timeout=600)
    assert (made.vcpu, made.memory, made.timeout, made.auto_pause) == (2, 512, 600, False)
    assert made.state == SandboxState.RUNNING
    assert re.fullmatch(r"sbx-[a-z0-9]{1,53}", made.id)
    assert made.template_id and made.disk > 0
    assert datetime.fromisoformat(made.created_at).tzinfo is not None


def test_a_sandbox_is_ready_when_it_is_made(create):
    assert create().process.execute(command="echo ready").stdout == "ready\n"


def test_every_process_has_the_environment_it_was_made_with(create):
    made = create(env_vars={"GREETING": "hällo = world", "EMPTY": ""})
    told = made.process.execute(command='printf "%s|%s|" "$GREETING" "${EMPTY-unset}"; printenv GREETING')
    assert told.stdout == "hällo = world||hällo = world\n"
    assert made.process.execute(command="echo $GREETING", env={"GREETING": "mine"}).stdout == "mine\n"


def test_where_telemetry_goes_is_environment_too(create, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://192.0.2.1:4318")
    made = create(otel_export=True)
    assert made.process.execute(command="echo $OTEL_EXPORTER_OTLP_ENDPOINT").stdout == "http://192.0.2.1:4318\n"


def test_a_sandbox_is_found_by_its_id(client, sandbox):
    for found in (client.sandboxes.get(sandbox.id), client.get_sandbox(sandbox.id), sandbox.refresh()):
        assert (found.id, found.state) == (sandbox.id, SandboxState.RUNNING)
    assert client.get_sandbox(sandbox.id).process.execute(command="true").exit_code == 0


def test_a_sandbox_knows_its_directories(sandbox):
    assert sandbox.get_user_home_dir() == "/home/user"
    assert sandbox.get_workdir() == "/workspace"
    assert sandbox.process.execute(command="echo ~; pwd").stdout == "/home/user\n/workspace\n"


def test_lists_are_filtered_sorted_and_paged(client, create):
    mine = [create().id for _ in range(3)]

    def ids(**query):
        listed = client.sandboxes.list(state="running", page_size=100, **query)
        assert listed.total_items == len(listed.items) and all(item.state == "running" for item in listed.items)
        return [item.id for item in listed.items if item.id in mine]

    assert ids(order_by="asc") == mine
    assert ids() == mine[::-1]
    assert sorted(ids(sort="state")) == sorted(mine)
    assert not [item for item in client.sandboxes.list(state="paused").items if item.id in mine]
    first, second = (client.sandboxes.list(page=page, page_size=2, order_by="asc") for page in (1, 2))
    assert len(first.items) == 2 and first.total_items == second.total_items >= 3
    assert {item.id for item in first.items}.isdisjoint(item.id for item in second.items)
    assert client.sandboxes.list(page=1000).items == []


def test_a_listed_sandbox_says_when_its_time_is_up(client, create):
    made = create(timeout=1000)
    item = next(item for item in client.sandboxes.list(page_size=100).items if item.id == made.id)
    assert isinstance(item.timeout_at, int) and 0 < item.timeout_at - time.time() <= 1001
    assert (item.template_id, item.created_at) == (made.template_id, made.created_at)


def test_a_sandbox_that_was_deleted_answers_nothing(client):
    made = client.sandboxes.create()
    client.sandboxes.delete(made)
    assert made.refresh().state == SandboxState.DELETED
    assert made.id not in [item.id for item in client.sandboxes.list(page_size=100).items]
    for ask in (
        lambda: made.process.execute(command="true"),
        lambda: made.filesystem.ls(path="/"),
        lambda: made.pty.create(),
        lambda: made.get_workdir(),
    ):
        with pytest.raises(Leap0NotFoundError, match=made.id):
            ask()


def test_a_sandbox_ends_when_its_time_is_up(client):
    made, deadline = client.sandboxes.create(timeout=1), time.monotonic() + GONE_SECONDS_MAX
    while made.refresh().state != SandboxState.DELETED:
        assert time.monotonic() < deadline, made
        time.sleep(0.05)
    with pytest.raises(Leap0NotFoundError):
        made.process.execute(command="true")


def test_a_network_policy_that_allows_all_is_accepted(create):
    assert create(network_policy={"mode": "allow-all"}).state == SandboxState.RUNNING


def test_a_sandbox_that_is_paused_is_woken_by_the_next_request(client, sandbox):
    sandbox.filesystem.write_file(path="kept", content="written before")
    assert sandbox.process.execute(command="sleep 1000 & echo $! > pid").exit_code == 0
    paused = sandbox.pause()
    assert (paused.id, paused.state) == (sandbox.id, SandboxState.PAUSED)
    assert sandbox.refresh().state == SandboxState.PAUSED
    assert sandbox.id in [item.id for item in client.sandboxes.list(state="paused").items]
    assert sandbox.filesystem.read_file(path="kept") == "written before"
    assert sandbox.refresh().state == SandboxState.RUNNING
    assert sandbox.process.execute(command="kill $(cat pid)").exit_code == 0


def test_a_sandbox_that_is_paused_can_be_deleted(client):
    made = client.sandboxes.create(auto_pause=True)
    assert made.auto_pause
    made.pause()
    client.sandboxes.delete(made)
    assert made.refresh().state == SandboxState.DELETED
