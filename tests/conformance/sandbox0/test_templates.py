"""Every call about templates that the unmodified client has, and every answer its users may see."""

import datetime

import pytest
from sandbox0 import Client
from sandbox0.apispec.models.env_var import EnvVar
from sandbox0.apispec.models.sandbox_network_policy import SandboxNetworkPolicy
from sandbox0.apispec.models.sandbox_network_policy_mode import SandboxNetworkPolicyMode
from sandbox0.apispec.models.sandbox_template_spec import SandboxTemplateSpec
from sandbox0.apispec.types import Unset
from sandbox0.errors import APIError
from sandbox0.template_helpers import (
    container,
    ephemeral_mount,
    resources,
    template_create_request,
    template_from_sandbox_create_request,
    template_spec,
    template_update_request,
)

from conftest import IMAGE, OTHER_IMAGE, TORN_IMAGE, URL, eventually


def spec(memory="1Gi", image=IMAGE, **more):
    return template_spec(container(image, resources(memory)), **more)


def create(client, template_id, spec):
    return client.create_template(template_create_request(template_id, spec))


def refused(status, code, call, *arguments):
    """What is refused; a status that the client does not expect costs it the code, which is then in the text."""
    with pytest.raises(APIError) as caught:
        call(*arguments)
    error = caught.value
    assert error.status_code == status, error
    assert error.code == code or (error.code is None and f'"code":"{code}"' in error.message), error
    assert error.request_id.startswith("req-")
    return error


def test_a_template_from_its_making_to_its_end(client, http, template_id, ours, run):
    made = create(client, f"  {template_id.upper()} ", spec(display_name="It", env_vars={"FROM": "template"}))
    assert (made.template_id, made.scope) == (template_id, "team")
    assert made.team_id == http.get("/v1/me").json()["team"]["id"]
    assert isinstance(made.created_at, datetime.datetime) and made.updated_at >= made.created_at
    assert isinstance(made.status.creation, Unset)
    assert client.wait_template_ready(template_id, timeout_sec=5).template_id == template_id

    sandbox, ran = run(template_id, "echo $FROM $OWN; cat /etc/motd")
    assert (ran["stdout"], sandbox["memory"]) == ("template image\nhello\n", 1024)
    assert client.get_template(template_id).to_dict()["status"]["activeCount"] == 1

    changed = client.update_template(template_id, template_update_request(spec("2Gi", OTHER_IMAGE)))
    assert changed.spec.main_container.image == OTHER_IMAGE
    assert isinstance(changed.spec.display_name, Unset)
    eventually(lambda: ours(template_id)["state"] == "ready")
    sandbox, ran = run(template_id, "echo $FROM; cat /etc/motd")
    assert (ran["stdout"], sandbox["memory"]) == ("\nother\n", 2048)

    deleted = client.delete_template(template_id)
    assert deleted.success and deleted.data.message == "template deleted"
    assert http.post("/v1/sandbox", json={"template_name": template_id}).status_code == 404
    refused(404, "not_found", client.get_template, template_id)
    refused(404, "not_found", client.delete_template, template_id)
    refused(404, "not_found", client.update_template, template_id, template_update_request(spec()))
    assert create(client, template_id, spec()).template_id == template_id


def as_given(template):
    """The spec, but for the empty lists that the client shows where there are no rules."""
    shown = template.spec.to_dict()
    shown["network"]["egress"] = {kind: rules for kind, rules in shown["network"]["egress"].items() if rules}
    return shown


def test_everything_in_a_spec_comes_back(client, template_id, ours):
    given = {
        "displayName": "It",
        "description": "of all",
        "tags": ["a", "b"],
        "mainContainer": {
            "image": IMAGE,
            "resources": {"memory": "1.5Gi", "cpu": "500m", "ephemeralStorage": "8Gi", "gpu": "0"},
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": ""}],
            "securityClass": "privileged",
            "own": {"x": [1, None]},
        },
        "envVars": {"B": "2"},
        "ephemeralMounts": [],
        "network": {"mode": "allow-all", "egress": {}, "credentialBindings": []},
        "pool": {"minIdle": 1, "maxIdle": 3, "autoScale": True},
        "colour": "blue",
    }
    made = create(client, template_id, SandboxTemplateSpec.from_dict(given))
    got = client.get_template(template_id)
    listed = [template for template in client.list_templates() if template.template_id == template_id]
    for shown in (made, got, *listed):
        assert as_given(shown) == given
    assert len(listed) == 1
    mine = ours(template_id)
    assert (mine["memory"], mine["vcpu"], mine["disk"]) == (1536, 1, 8192)
    assert mine["env_vars"] == {"A": "1", "B": "2"}
    # What was got can be sent back, and is still the same.
    again = client.update_template(template_id, template_update_request(got.spec))
    assert as_given(again) == given
    reasons = {it["type"]: (it["status"], it["reason"]) for it in again.to_dict()["status"]["conditions"]}
    assert reasons["Ready"] in [("False", "ImagePulling"), ("False", "InsufficientIdlePods")]
    assert reasons["PoolHealthy"][0] == "True"


def test_what_our_own_api_changes_is_seen(client, http, template_id, ours):
    create(client, template_id, spec("2Gi"))
    path = f"/v1/template/{ours(template_id)['id']}"
    assert http.patch(path, json={"memory": 512, "env_vars": {"A": "b"}}).status_code == 204
    shown = client.get_template(template_id).spec.to_dict()
    assert shown["mainContainer"]["resources"]["memory"] == "512Mi"
    assert shown["envVars"] == {"A": "b"}


def test_a_name_that_is_taken_is_a_conflict_and_a_public_one_can_be_shadowed(client, other, http, template_id):
    create(client, template_id, spec())
    refused(409, "conflict", create, client, template_id.upper(), spec())
    body = {"name": f"public-{template_id}", "uri": IMAGE, "visibility": "public"}
    public = http.post("/v1/template", json=body).json()
    seen = other.get_template(public["name"])
    assert (seen.scope, seen.team_id) == ("public", seen.team_id) and isinstance(seen.team_id, Unset)
    refused(404, "not_found", other.update_template, public["name"], template_update_request(spec()))
    refused(404, "not_found", other.delete_template, public["name"])
    refused(404, "not_found", other.get_template, template_id)
    assert create(other, public["name"], spec("2Gi")).scope == "team"
    assert other.get_template(public["name"]).scope == "team"
    both = [it.scope for it in other.list_templates() if it.template_id == public["name"]]
    assert both == ["public", "team"]
    other.delete_template(public["name"])
    assert other.get_template(public["name"]).scope == "public"
    assert http.delete(f"/v1/template/{public['id']}").status_code == 204


def test_the_builtin_is_there_for_all(client, other):
    for one in (client, other):
        builtin = one.get_template("default")
        assert (builtin.template_id, builtin.scope) == ("default", "public")
        assert builtin.spec.main_container.resources.memory == "2Gi"
        assert builtin.spec["pool"] == {"minIdle": 1, "maxIdle": 5}
        assert builtin.spec.network.mode == SandboxNetworkPolicyMode.ALLOW_ALL
        ids = [template.template_id for template in one.list_templates()]
        assert "default" in ids and not any("/" in name for name in ids)
    refused(404, "not_found", client.delete_template, "default")


@pytest.mark.parametrize("memory, vcpu, mib", [("1000M", 1, 954), ("256Mi", 1, 512), ("8Gi", 2, 8192)])
def test_quantities_are_rounded_up(client, template_id, ours, memory, vcpu, mib):
    assert create(client, template_id, spec(memory)).spec.main_container.resources.memory == memory
    assert (ours(template_id)["vcpu"], ours(template_id)["memory"]) == (vcpu, mib)


BLOCK = SandboxNetworkPolicy(mode=SandboxNetworkPolicyMode.BLOCK_ALL)


@pytest.mark.parametrize(
    "wrong",
    [
        spec(memory="0"),
        spec(memory="plenty"),
        spec(image=""),
        spec(network=BLOCK),
        spec(ephemeral_mounts=[ephemeral_mount("/cache", "1Gi")]),
        template_spec(container(IMAGE, resources("1Gi"), env=[EnvVar(name="A=B", value="c")])),
    ],
)
def test_what_is_wrong_is_said(client, template_id, wrong):
    assert '"field":"spec.' in refused(400, "bad_request", create, client, template_id, wrong).message
    refused(404, "not_found", client.get_template, template_id)


@pytest.mark.parametrize("bad", ["", "   ", "a/b", "x" * 256])
def test_an_id_has_rules(client, bad):
    assert "template_id" in refused(400, "bad_request", create, client, bad, spec()).message


@pytest.mark.parametrize("key", ["lifecycle", "public", "allowedTeams"])
def test_fields_of_other_times_are_refused(client, template_id, key):
    wrong = spec()
    wrong[key] = {}
    refused(400, "bad_request", create, client, template_id, wrong)


@pytest.mark.parametrize("key", ["pod", "clusterId"])
def test_what_operators_say_is_forbidden(client, template_id, key):
    wrong = spec()
    wrong[key] = {}
    refused(403, "forbidden", create, client, template_id, wrong)


def test_more_than_there_is_is_forbidden(client, template_id):
    refused(403, "forbidden", create, client, template_id, spec("8193Mi"))


def test_an_image_that_is_not_there_is_said_at_once_and_one_that_is_torn_by_the_status(client, template_id):
    nowhere = IMAGE.rsplit(":", 1)[0] + ":nowhere"
    refused(400, "bad_request", create, client, template_id, spec(image=nowhere))
    create(client, template_id, spec(image=TORN_IMAGE))

    def ready():
        conditions = client.get_template(template_id).to_dict()["status"]["conditions"]
        return next(it for it in conditions if it["type"] == "Ready" and it["reason"] != "ImagePulling")

    def failed():
        try:
            return ready()
        except StopIteration:
            return None

    told = eventually(failed)
    assert (told["status"], told["reason"]) == ("False", "ImagePullFailed")
    assert told["message"]


def test_templates_of_sandboxes_are_for_later(client, template_id):
    request = template_from_sandbox_create_request(template_id, "sbx-any")
    error = refused(503, "unavailable", client.create_template_from_sandbox, request)
    assert error.code == "unavailable" and "snapshots" in error.message


def test_without_a_good_key_there_is_nothing(template_id):
    stranger = Client(token="atoll_nobody", base_url=URL, timeout=60)
    request = template_update_request(spec())
    calls = [
        (stranger.list_templates,),
        (stranger.get_template, template_id),
        (create, stranger, template_id, spec()),
        (stranger.update_template, template_id, request),
        (stranger.delete_template, template_id),
        (stranger.create_template_from_sandbox, template_from_sandbox_create_request(template_id, "x")),
    ]
    for call in calls:
        assert refused(401, "unauthorized", *call).code == "unauthorized"
