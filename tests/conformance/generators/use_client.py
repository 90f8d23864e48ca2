"""A program that was written against the generated client, run against a server. Arguments: its URL and a key."""

import sys

from atoll_client import AuthenticatedClient, Client
from atoll_client.api.processes import execute
from atoll_client.api.sandboxes import create_sandbox, delete_sandbox, get_sandbox, list_sandboxes
from atoll_client.api.server import get_health
from atoll_client.models import CreateSandbox, ErrorBody, Execute, State

url, key = sys.argv[1:]

assert get_health.sync(client=Client(base_url=url)).ok

refused = get_sandbox.sync(sandbox_id="sbx-aaaaaaaaaaaaaaaaaaaa", client=AuthenticatedClient(base_url=url, token="x"))
assert isinstance(refused, ErrorBody) and refused.code == "unauthorized", refused

client = AuthenticatedClient(base_url=url, token=key)
sandbox = create_sandbox.sync(client=client, body=CreateSandbox(vcpu=1, memory=512, timeout=120))
try:
    assert sandbox.state == State.RUNNING, sandbox
    assert get_sandbox.sync(sandbox_id=sandbox.id, client=client).created_at == sandbox.created_at
    assert sandbox.id in [item.id for item in list_sandboxes.sync(client=client).items]
    executed = execute.sync(sandbox_id=sandbox.id, client=client, body=Execute(command="echo hello; exit 3"))
    assert (executed.exit_code, executed.stdout) == (3, "hello\n"), executed
    wrong = create_sandbox.sync(client=client, body=CreateSandbox(vcpu=99))
    assert isinstance(wrong, ErrorBody) and [error.field for error in wrong.errors] == ["vcpu"], wrong
finally:
    assert delete_sandbox.sync_detailed(sandbox_id=sandbox.id, client=client).status_code == 204
