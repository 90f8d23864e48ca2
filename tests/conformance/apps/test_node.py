"""Node.js on both sides: an app of `http` and `ws`, asked by `http2` and `ws`."""

import json

from conftest import node


def test_a_client_of_http2_has_many_requests_on_one_connection(sockets, installed):
    seen = json.loads(node("http2.mjs", sockets, installed))
    assert seen == {"many": True, "dialogue": ["one", "two", "three", ""], "large": 4 * 1024 * 1024, "alpn": "h2"}


def test_a_client_of_ws_meets_a_server_of_ws(sockets, installed):
    seen = json.loads(node("ws.mjs", sockets, installed))
    assert seen["hello"]["path"] == "/a%20socket?x=1"
    assert "permessage-deflate" in seen["hello"]["extensions"]
    assert (seen["text"], seen["binary"], seen["parts"]) == ("größer", 1024 * 1024, "in three parts")
    assert seen["ping"] == "a ping came"
    assert seen["closed"] == [4000, "enough"]
    assert seen["refused"] == 401
