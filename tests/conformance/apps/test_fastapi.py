"""FastAPI on uvicorn, asked by httpx and websockets."""

import pytest
from websockets.exceptions import ConnectionClosed

from conftest import connect_socket


def connect(web, **how):
    url = f"wss://{web.host}/socket"
    how = {"additional_headers": web.headers, "proxy": web.proxy, "max_size": None, **how}
    return connect_socket(url, **how)


def test_the_app_knows_by_which_address_it_is_asked(web):
    with web.client() as client:
        seen = client.get("/seen", params={"q": "ü /"}).json()
    assert seen["url"].startswith(f"https://{web.host}/seen?q="), seen
    assert "authorization" not in seen["headers"]


def test_events_arrive_one_by_one(web):
    with web.client() as client, client.stream("GET", "/events/first") as events:
        lines = (line for line in events.iter_lines() if line.startswith("data:"))
        assert events.headers["content-type"].startswith("text/event-stream")
        for word in ("one", "two", "three"):
            # The next is not said before this one is here.
            assert client.post(f"/say/first/{word}").status_code == 204
            assert next(lines) == f'data: {{"said": "{word}"}}'


def test_the_app_learns_that_a_listener_has_left(web):
    with web.client() as client:
        with client.stream("GET", "/events/second") as events:
            client.post("/say/second/hello")
            next(events.iter_raw())
        assert client.get("/left/second").status_code == 204


def test_a_large_body_arrives_whole(web):
    with web.client() as client:
        pieces = (bytes(64 * 1024) for _ in range(256))
        assert client.post("/upload", content=pieces).json() == {"bytes": 16 * 1024 * 1024}


def test_a_socket_speaks_both_ways_and_says_how_it_ends(web):
    with connect(web, subprotocols=["other", "echo"]) as socket:
        assert socket.subprotocol == "echo"
        assert "permessage-deflate" in socket.response.headers["sec-websocket-extensions"]
        for message in ("text", b"\0\xff", "x" * 1_000_000, bytes(1_000_000)):
            socket.send(message)
            assert socket.recv(timeout=60) == message
        socket.ping().wait(60)
        socket.send("leave")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=60)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4321, "as you wish")
