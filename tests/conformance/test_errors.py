"""Each failure is the exception that users of the SDK catch, with words that say what to do."""

import pytest
from leap0 import (
    FileEdit,
    Leap0ConflictError,
    Leap0Error,
    Leap0NotFoundError,
    Leap0PermissionError,
    Leap0RateLimitError,
)

from conftest import KEY

NOBODY = "sbx-aaaaaaaaaaaaaaaaaaaa"


def refusal(kind, status, action):
    with pytest.raises(Leap0Error) as caught:
        action()
    error = caught.value
    assert (type(error), error.status_code) == (kind, status), error
    assert error.error_message, "the body has a message"
    assert error.retryable == (status == 429 or status >= 500)
    return error


def test_what_is_not_there_is_not_found(client, sandbox):
    refusal(Leap0NotFoundError, 404, lambda: client.sandboxes.get(NOBODY))
    refusal(Leap0NotFoundError, 404, lambda: client.sandboxes.get("no id at all"))
    refusal(Leap0NotFoundError, 404, lambda: client.sandboxes.delete(NOBODY))
    refusal(Leap0NotFoundError, 404, lambda: client.sandboxes.create(template_name="no/such:template"))
    for ask in (
        lambda: sandbox.filesystem.read_bytes(path="/no/such"),
        lambda: sandbox.filesystem.stat(path="/no/such"),
        lambda: sandbox.filesystem.ls(path="/no/such"),
        lambda: sandbox.filesystem.delete(path="/no/such"),
        lambda: sandbox.filesystem.move(src_path="/no/such", dst_path="/tmp/other"),
        lambda: sandbox.filesystem.copy(src_path="/no/such", dst_path="/tmp/other"),
        lambda: sandbox.filesystem.edit_file(path="/no/such", edits=[FileEdit("x")]),
        lambda: sandbox.filesystem.read_files_bytes(paths=["/etc/hostname", "/no/such"]),
        lambda: sandbox.filesystem.set_permissions(path="/no/such", mode="600"),
        lambda: sandbox.filesystem.tree(path="/no/such"),
        lambda: sandbox.filesystem.glob(path="/no/such", pattern="*"),
        lambda: sandbox.filesystem.grep(path="/no/such", pattern="x"),
    ):
        assert "/no/such" in refusal(Leap0NotFoundError, 404, ask).error_message
    for ask in (
        lambda: sandbox.pty.get("no-such"),
        lambda: sandbox.pty.delete("no-such"),
        lambda: sandbox.pty.resize("no-such", cols=80, rows=24),
    ):
        refusal(Leap0NotFoundError, 404, ask)


def test_what_is_there_already_is_a_conflict(sandbox, home):
    refusal(Leap0ConflictError, 409, lambda: sandbox.filesystem.mkdir(path=home))
    sandbox.filesystem.write_files(files={f"{home}/a": "a", f"{home}/b": "b"})
    for act in (sandbox.filesystem.move, sandbox.filesystem.copy):
        refusal(Leap0ConflictError, 409, lambda: act(src_path=f"{home}/a", dst_path=f"{home}/b"))
    session = sandbox.pty.create(session_id="twice")
    refusal(Leap0ConflictError, 409, lambda: sandbox.pty.create(session_id="twice"))
    sandbox.pty.delete(session.id)


def test_what_the_user_of_the_sandbox_may_not_is_forbidden(sandbox, home):
    secret = f"{home}/secret"
    sandbox.filesystem.write_file(path=secret, content="x", permissions="000")
    for ask in (
        lambda: sandbox.filesystem.read_bytes(path=secret),
        lambda: sandbox.filesystem.read_bytes(path="/etc/shadow"),
        lambda: sandbox.filesystem.write_bytes(path="/etc/mine", content=b"x"),
        lambda: sandbox.filesystem.mkdir(path="/usr/mine"),
        lambda: sandbox.filesystem.delete(path="/etc/passwd"),
        lambda: sandbox.filesystem.ls(path="/root"),
        lambda: sandbox.filesystem.set_permissions(path="/etc/passwd", mode="666"),
    ):
        refusal(Leap0PermissionError, 403, ask)


def test_what_makes_no_sense_is_refused_with_the_field_that_is_wrong(http):
    for body, field in (
        ({"memory": 513}, "memory"),
        ({"vcpu": 0}, "vcpu"),
        ({"timeout": 28801}, "timeout"),
        ({"template_name": " "}, "template_name"),
        ({"env_vars": {"A": 1}}, "env_vars"),
    ):
        answer = http.post("/v1/sandbox", json=body)
        assert answer.status_code == 400, answer.text
        assert [error["field"].split(".")[0] for error in answer.json()["errors"]] == [field]
    answer = http.post("/v1/sandbox", content=b"{", headers={"content-type": "application/json"})
    assert (answer.status_code, bool(answer.json()["message"])) == (400, True)


def test_a_key_that_is_none_is_refused(connect):
    for key in ("atoll_wrong", f"{KEY}x", KEY[:-1]):
        refusal(Leap0Error, 401, lambda: connect(api_key=key).sandboxes.list())
    with pytest.raises(Leap0Error, match="401"):
        connect(api_key="atoll_wrong").get_sandbox(NOBODY).pty.connect("any")


@pytest.mark.parametrize("prefix", ["", "Bearer ", "bearer "])
@pytest.mark.parametrize("header", ["authorization", "leap0-authorization", "Leap0-Authorization"])
def test_keys_are_taken_wherever_clients_put_them(connect, header, prefix):
    client = connect(api_key=prefix + KEY, auth_header=header, bearer=False)
    assert client.sandboxes.list(page_size=1).total_items >= 0
    assert connect(api_key=KEY, auth_header=header).sandboxes.list(page_size=1).total_items >= 0


def test_our_own_header_is_the_one_that_counts(http):
    answer = http.get("/v1/sandboxes", headers={"authorization": "Basic app", "leap0-authorization": KEY})
    assert answer.status_code == 200
    answer = http.get("/v1/sandboxes", headers={"authorization": KEY, "leap0-authorization": "wrong"})
    assert answer.status_code == 401


def test_who_asks_too_often_is_told_when_to_come_back(team):
    hasty = team(requests_per_second=1, requests_burst=2)
    with pytest.raises(Leap0RateLimitError) as caught:
        for _ in range(100):
            hasty.sandboxes.list()
    assert caught.value.retryable and int(caught.value.headers["retry-after"]) >= 1


def test_other_teams_have_nothing_of_ours(team, sandbox):
    others = team()
    assert others.sandboxes.list().total_items == 0
    refusal(Leap0NotFoundError, 404, lambda: others.get_sandbox(sandbox.id))
    refusal(Leap0NotFoundError, 404, lambda: others.sandboxes.delete(sandbox.id))


def test_a_team_has_so_many_sandboxes_and_no_more(team):
    small = team(sandboxes=1)
    made = small.sandboxes.create()
    refusal(Leap0ConflictError, 409, small.sandboxes.create)
    made.delete()
    small.sandboxes.create().delete()


def test_a_server_that_is_not_there_is_worth_a_retry(connect):
    with pytest.raises(Leap0Error) as caught:
        connect(base_url="http://127.0.0.1:9").sandboxes.list()
    assert (caught.value.status_code, caught.value.retryable) == (None, True)


def test_no_answer_is_a_redirect(http, sandbox):
    for path in ("/v1/sandboxes", f"/v1/sandbox/{sandbox.id}", f"/v1/sandbox/{sandbox.id}/"):
        assert http.get(path, follow_redirects=False).status_code == 200
    for path in ("/v1/sandbox", "/v1/sandbox/"):
        answer = http.post(path, json={})
        assert answer.status_code == 201, answer.text
        assert http.delete(f"/v1/sandbox/{answer.json()['id']}/").status_code == 204


def test_every_error_is_json_with_a_message(http):
    for answer in (
        http.get("/v1/no/such/route"),
        http.put("/v1/sandboxes"),
        http.get("/v1/sandboxes?page=0"),
        http.get("/v1/sandboxes", headers={"authorization": "wrong"}),
    ):
        assert 400 <= answer.status_code < 500 and answer.json()["message"], answer.text
        assert answer.headers["content-type"].startswith("application/json")
