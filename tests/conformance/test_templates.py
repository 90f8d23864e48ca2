"""Templates by the SDK: made of an image in a registry, renamed, deleted; and how each is refused."""

import os

import pytest
from leap0 import Leap0ConflictError, Leap0Error, Leap0NotFoundError

# An image in a registry that this server may ask, and what its `/etc/motd` says.
IMAGE = os.environ.get("ATOLL_TEST_IMAGE")

with_image = pytest.mark.skipif(IMAGE is None, reason="ATOLL_TEST_IMAGE names no image")


@pytest.fixture
def template(client, request):
    """A template of this test's."""
    made = client.templates.create(name=f"{request.node.name.split('[')[0][:40]}-{id(client)}", uri=IMAGE)
    yield made
    try:
        client.templates.delete(made.id)
    except Leap0NotFoundError:
        pass


@with_image
def test_a_template_is_what_its_image_says(template):
    assert template.id.startswith("tpl-")
    assert template.digest.startswith("sha256:") and len(template.digest) == 71
    assert template.is_system is False
    assert template.image_config.working_dir.startswith("/")
    assert template.created_at


@with_image
def test_sandboxes_start_from_it_until_it_is_deleted_and_go_on_after_that(client, create, template):
    client.templates.rename(template.id, name=f"renamed-{id(template)}")
    sandbox = create(template_name=f"renamed-{id(template)}", timeout=600)
    assert sandbox.template_id == template.id
    client.templates.delete(template.id)
    assert sandbox.filesystem.exists(path="/etc/motd")
    with pytest.raises(Leap0NotFoundError):
        create(template_name=f"renamed-{id(template)}")
    with pytest.raises(Leap0NotFoundError):
        client.templates.delete(template.id)


@with_image
def test_a_name_is_given_once(client, template):
    with pytest.raises(Leap0ConflictError):
        client.templates.create(name=template.name, uri=IMAGE)


def refusal(status, action):
    with pytest.raises(Leap0Error) as caught:
        action()
    assert caught.value.status_code == status, caught.value
    return caught.value.error_message


def test_what_makes_no_sense_is_refused(client):
    # What a name may be, the SDK knows itself.
    for uri in ("https://r.example/it", "r.example/A", "oci:relative"):
        assert "uri" in refusal(400, lambda: client.templates.create(name="mine", uri=uri))
    nobody = "tpl-aaaaaaaaaaaaaaaaaaaa"
    refusal(404, lambda: client.templates.rename(nobody, name="other"))
    refusal(404, lambda: client.templates.delete(nobody))


def test_ours_are_not_the_apis_to_touch(client, http):
    ours = next(item for item in http.get("/v1/templates").json()["items"] if item["is_system"])
    refusal(409, lambda: client.templates.rename(ours["id"], name="mine"))
    refusal(409, lambda: client.templates.delete(ours["id"]))
