"""What the SDK can ask that is not served yet: refused clearly, so that nobody waits for it or believes it was done.

This list may only shrink. A line of it that starts to work fails here: take it out, and tell in the tests of its
subject what it does.
"""

import json

import pytest
from leap0 import Leap0Error

PROJECT = {"language_id": "python", "path_to_project": "/workspace"}
MOUNT = {
    "type": "object-storage",
    "bucket": "b",
    "mount_path": "/mnt/b",
    "endpoint": "https://storage.example",
}

NOT_YET = {
    "create with deny-all": lambda client, sandbox: client.sandboxes.create(network_policy={"mode": "deny-all"}),
    "create with a custom policy": lambda client, sandbox: client.sandboxes.create(
        network_policy={"mode": "custom", "allow_domains": ["example.com"]}
    ),
    "create with mounts": lambda client, sandbox: client.sandboxes.create(mounts=[MOUNT]),
    "mount add": lambda client, sandbox: sandbox.add_mount(MOUNT),
    "mount update": lambda client, sandbox: sandbox.update_mount("mnt-1", {"read_only": True}),
    "mount delete": lambda client, sandbox: sandbox.delete_mount("mnt-1"),
    "git clone": lambda client, sandbox: sandbox.git.clone(url="https://git.example/r", path="/workspace/r"),
    "git status": lambda client, sandbox: sandbox.git.status(path="/workspace"),
    "git branches": lambda client, sandbox: sandbox.git.branches(path="/workspace"),
    "git diff_unstaged": lambda client, sandbox: sandbox.git.diff_unstaged(path="/workspace"),
    "git diff_staged": lambda client, sandbox: sandbox.git.diff_staged(path="/workspace"),
    "git diff": lambda client, sandbox: sandbox.git.diff(path="/workspace", target="main"),
    "git reset": lambda client, sandbox: sandbox.git.reset(path="/workspace"),
    "git log": lambda client, sandbox: sandbox.git.log(path="/workspace"),
    "git show": lambda client, sandbox: sandbox.git.show(path="/workspace"),
    "git create_branch": lambda client, sandbox: sandbox.git.create_branch(path="/workspace", name="b"),
    "git checkout_branch": lambda client, sandbox: sandbox.git.checkout_branch(path="/workspace", branch="b"),
    "git delete_branch": lambda client, sandbox: sandbox.git.delete_branch(path="/workspace", name="b"),
    "git add": lambda client, sandbox: sandbox.git.add(path="/workspace", files=["a"]),
    "git commit": lambda client, sandbox: sandbox.git.commit(path="/workspace", message="m"),
    "git push": lambda client, sandbox: sandbox.git.push(path="/workspace"),
    "git pull": lambda client, sandbox: sandbox.git.pull(path="/workspace"),
    "lsp start": lambda client, sandbox: sandbox.lsp.start(**PROJECT),
    "lsp stop": lambda client, sandbox: sandbox.lsp.stop(**PROJECT),
    "lsp did_open": lambda client, sandbox: sandbox.lsp.did_open_path(**PROJECT, path="/workspace/a.py"),
    "lsp did_close": lambda client, sandbox: sandbox.lsp.did_close_path(**PROJECT, path="/workspace/a.py"),
    "lsp completions": lambda client, sandbox: sandbox.lsp.completions_path(
        **PROJECT, path="/workspace/a.py", line=0, character=0
    ),
    "lsp document_symbols": lambda client, sandbox: sandbox.lsp.document_symbols_path(**PROJECT, path="/workspace/a.py"),
    "ssh create": lambda client, sandbox: sandbox.ssh.create_access(),
    "ssh validate": lambda client, sandbox: sandbox.ssh.validate_access(id="ssh-1", password="p"),
    "ssh regenerate": lambda client, sandbox: sandbox.ssh.regenerate_access(id="ssh-1"),
    "ssh delete": lambda client, sandbox: sandbox.ssh.delete_access(id="ssh-1"),
    "code interpreter template": lambda client, sandbox: client.sandboxes.create(
        template_name=client.DEFAULT_CODE_INTERPRETER_TEMPLATE_NAME
    ),
    "desktop template": lambda client, sandbox: client.sandboxes.create(
        template_name=client.DEFAULT_DESKTOP_TEMPLATE_NAME
    ),
}


# How each is refused: the route is not there, a field of it is named, or the template is not.
REFUSALS = {
    (404, "no_such_route"): "nothing at this path",
    (405, "method_not_allowed"): "method",
    (400, "invalid_fields"): "not supported yet",
    (404, "not_found"): "there is no template",
}


@pytest.mark.parametrize("what", NOT_YET)
def test_what_is_not_served_yet_is_refused(client, sandbox, what):
    with pytest.raises(Leap0Error) as caught:
        NOT_YET[what](client, sandbox)
    body = json.loads(caught.value.body)
    assert REFUSALS[caught.value.status_code, body["code"]] in json.dumps(body), body
