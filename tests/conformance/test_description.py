"""The API's own description, `/v1/openapi.json`, against its answers: whatever is asked in its terms, sense or
nonsense, is answered as it says, and nothing makes the server fail.

What is asked is made up by schemathesis, the same in every run.
"""

import time

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from conftest import KEY, URL

EXAMPLES = 20
# Then whatever was not asked yet is asked once, so that a slow machine has an end in sight.
TOTAL_SECONDS_MAX = 120
ANSWER_SECONDS_MAX = 60
# Copies of one sandbox that are made at once.
FORKS_MAX = 2
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
    ignored_auth,
]
# Answered for as long as the client listens: looked at by tests of their own.
ENDLESS = "text/event-stream"

load_all_checks()
# Keys are ours: with one made up, nothing but 401 would be heard. That they are looked at is a check of its own.
config = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})
description = schemathesis.openapi.from_url(f"{URL}/v1/openapi.json", config=config)


@pytest.fixture(scope="module")
def target():
    """The sandbox that what is made up is asked of. It may end of it, and is then made anew."""
    with httpx.Client(base_url=URL, headers={"authorization": KEY}, timeout=ANSWER_SECONDS_MAX) as http:
        yield Target(http)
        # Whatever was made is taken away again.
        while items := http.get("/v1/sandboxes?page-size=100").json()["items"]:
            for item in items:
                http.delete(f"/v1/sandbox/{item['id']}")


class Target:
    def __init__(self, http):
        self.http, self.id = http, None

    def sandbox(self):
        if self.id is None or self.http.get(f"/v1/sandbox/{self.id}").json().get("state") != "running":
            made = self.http.post("/v1/sandbox", json={"timeout": 1800})
            assert made.status_code == 201, made.text
            self.id = made.json()["id"]
        return self.id


began, asked = time.monotonic(), set()


def is_late(case):
    """Whether there is no time for this one: there is for the first of each operation."""
    is_first = case.operation.label not in asked
    asked.add(case.operation.label)
    return not is_first and time.monotonic() - began > TOTAL_SECONDS_MAX


def keep_at_home(case):
    """A source that is made up may be somebody's: nobody is asked for it. And images here are those of other tests, too."""
    if case.operation.path.startswith("/v1/template") and isinstance(case.body, dict) and "uri" in case.body:
        if isinstance(case.body["uri"], str):
            case.body["uri"] = "oci:/nowhere"
    if case.operation.path == "/v1/templates/prune":
        body = case.body if isinstance(case.body, dict) else {}
        case.body = {**body, "dry_run": True}


    if case.operation.path.endswith("/fork") and isinstance(case.body, dict) and isinstance(case.body.get("count"), int):
        case.body = {**case.body, "count": min(case.body["count"], FORKS_MAX)}


def take_away(case, answer, target):
    """Sandboxes that were made go at once: there is room for so many."""
    makes = ("/v1/sandbox", "/v1/sandbox/", "/v1/snapshot/restore", "/v1/sandbox/{sandbox_id}/fork")
    if answer.status_code == 201 and case.operation.path in makes:
        made = answer.json()
        for item in made.get("items", [made]):
            target.http.delete(f"/v1/sandbox/{item['id']}")


def is_endless(case):
    answers = case.operation.definition.raw["responses"].values()
    return any(ENDLESS in answer.get("content", {}) for answer in answers)


@description.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_as_described(case, target):
    if "sandbox_id" in case.path_parameters and case.method != "DELETE":
        case.path_parameters["sandbox_id"] = target.sandbox()
    keep_at_home(case)
    if is_endless(case):
        pytest.skip("answers for as long as it is listened to")
    if is_late(case):
        return
    answer = case.call(headers={"authorization": KEY}, timeout=ANSWER_SECONDS_MAX)
    take_away(case, answer, target)
    case.validate_response(answer, checks=CHECKS, headers={"authorization": KEY})
