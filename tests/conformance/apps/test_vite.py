"""Vite's development server, and what it tells pages of a file that changes."""

import json
import re

from conftest import connect_socket


def test_a_changed_file_is_told_to_whoever_listens(vite, sandbox):
    with vite.client() as client:
        # What a page loads; only what was loaded is told of.
        assert "/@vite/client" in client.get("/").text
        assert "note.js" in client.get("/main.js").text and client.get("/note.js").status_code == 200
        token = re.search(r'wsToken = "([^"]+)"', client.get("/@vite/client").text)[1]
    how = {"subprotocols": ["vite-hmr"], "additional_headers": vite.headers, "proxy": vite.proxy}
    with connect_socket(f"wss://{vite.host}/?token={token}", **how) as socket:
        assert json.loads(socket.recv(timeout=60)) == {"type": "connected"}
        sandbox.write("site/note.js", 'export const note = "as it is now";\n')
        told = json.loads(socket.recv(timeout=60))
    assert told["type"] == "update"
    assert [update["path"] for update in told["updates"]] == ["/main.js"], told
