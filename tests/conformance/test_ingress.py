"""The addresses that the SDK makes for what runs in a sandbox, with the modes it can be set up in."""

import asyncio
import datetime
import os

import httpx
import pytest
import websockets.asyncio.client
from leap0 import Leap0NotFoundError

from conftest import KEY

DOOR = os.environ["ATOLL_INGRESS"]
PORT = 8000
# An app of few lines: what it was asked for.
APP = """
import http.server, socketserver
class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = "\\n".join([self.path, *(f"{name.lower()}: {value}" for name, value in self.headers.items())]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
# Not one that asks after its own name first, which nobody answers in a sandbox.
socketserver.ThreadingTCPServer(("0.0.0.0", %d), App).serve_forever()
""" % PORT


@pytest.fixture(scope="session")
def app(client):
    """A sandbox in which the app runs, on the port that its environment names."""
    made = client.sandboxes.create(timeout=1800, env_vars={"PORT": str(PORT)})
    made.filesystem.write_file(path="/tmp/app.py", content=APP)
    made.process.execute(command="setsid python3 /tmp/app.py >/dev/null 2>&1 &")
    yield made
    made.delete()


def asked(url, **how):
    with httpx.Client(timeout=60, **how) as http:
        answer = http.get(url)
    assert answer.status_code == 200, answer.text
    path, *headers = answer.text.split("\n")
    return path, dict(header.split(": ", 1) for header in headers)


def test_with_the_key_in_the_address_nothing_else_is_needed(connect, app):
    named = connect(sandbox_domain=f":{KEY}@{DOOR}").get_sandbox(app.id)
    for url in (named.invoke_url("/a?b=%20"), named.invoke_url("/a?b=%20", port=PORT)):
        path, headers = asked(url)
        assert path == "/a?b=%20"
        assert "authorization" not in headers and KEY not in str(headers)
        assert headers["x-forwarded-proto"] == "https"


def test_the_key_may_stay_out_of_the_address(connect, app):
    named = connect(sandbox_domain=f"x@{DOOR}").get_sandbox(app.id)
    path, headers = asked(named.invoke_url("/"), headers={"leap0-authorization": KEY})
    assert path == "/" and "leap0-authorization" not in headers and "authorization" not in headers


def test_a_proxy_needs_no_names(connect, app):
    named = connect(sandbox_domain="sandbox.localhost").get_sandbox(app.id)
    headers = {"leap0-authorization": KEY, "authorization": "Bearer the app's own"}
    path, headers = asked(named.invoke_url("/through"), proxy=f"http://{DOOR}", headers=headers)
    assert path == "/through"
    assert headers["host"] == f"{app.id}.sandbox.localhost"
    assert headers["authorization"] == "Bearer the app's own"


def test_a_presigned_url_needs_no_key_until_it_is_taken_back(client, app):
    made = app.create_presigned_url(port=PORT, expires_in=600)
    assert made.id.startswith("psu-") and (made.sandbox_id, made.port) == (app.id, PORT)
    # A proxy, since the names of the test resolve nowhere.
    path, headers = asked(f"{made.url}/a?b", proxy=f"http://{DOOR}", headers={"authorization": "Bearer the app's own"})
    assert path == "/a?b" and headers["authorization"] == "Bearer the app's own"
    assert made.token not in str(headers) and headers["host"].startswith(f"{app.id}-{PORT}.")
    app.delete_presigned_url(made.id)
    with httpx.Client(timeout=60, proxy=f"http://{DOOR}") as http:
        assert http.get(made.url).status_code == 404
    with pytest.raises(Leap0NotFoundError):
        app.delete_presigned_url(made.id)


def test_a_presigned_url_lives_for_an_hour_unless_more_is_said(client, app):
    made = app.create_presigned_url(port=1234)
    created, expires = (datetime.datetime.fromisoformat(time) for time in (made.created_at, made.expires_at))
    assert expires - created == datetime.timedelta(hours=1)
    app.delete_presigned_url(made.id)


def test_a_websocket_without_a_key_is_refused_and_not_led_elsewhere(connect, app):
    named = connect(sandbox_domain=DOOR).get_sandbox(app.id)
    url = named.websocket_url("/").replace(f"{app.id}.", "")


    async def connected():
        # In one thread: OpenSSL's connections are not made for two, and a request of the other client gets lost now and then.
        await websockets.asyncio.client.connect(f"{url}v1/sandbox/{app.id}/invoke/{PORT}/", ssl=context())

    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        asyncio.run(connected())
    assert refused.value.response.status_code == 401


def context():
    import ssl

    return ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
