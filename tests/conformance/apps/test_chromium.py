"""A browser looks at an app that is being developed, and at one that tells it news."""

import pytest

from chromium import Chromium
from conftest import CA, DOOR

PORT = DOOR.rsplit(":", 1)[1]
# Until it is true, or the test's own time is over.
UNTIL = "new Promise(done => {{ const look = () => ({}) ? done(true) : setTimeout(look, 10); look() }})"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a browser whose every request carries the key, as test drivers have it."""
    browser = Chromium(tmp_path_factory.mktemp("home"), CA)
    browser.tell("Network.enable")
    yield browser
    browser.close()


def look(page, app, path):
    page.events.clear()
    page.tell("Network.setExtraHTTPHeaders", headers=app.headers)
    # Chromium takes what ends with `.localhost` for this machine.
    went = page.tell("Page.navigate", url=f"{app.url}:{PORT}{path}")
    assert "errorText" not in went, went
    assert page.evaluate(UNTIL.format("document.readyState == 'complete'"))


def is_connected(event):
    """Whether it is Vite's word that whatever changes is told from now on."""
    frame = event.get("params", {}).get("response", {})
    return event.get("method") == "Network.webSocketFrameReceived" and '"connected"' in frame["payloadData"]


def test_a_page_follows_what_changes_in_the_sandbox(page, vite, sandbox):
    look(page, vite, "/")
    note = "document.getElementById('note').textContent"
    assert page.evaluate(UNTIL.format(f"{note}.startsWith('as it ')"))
    page.until(is_connected)
    assert page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
    assert page.screenshot().startswith(b"\x89PNG")
    page.evaluate("window.mark = 'the same page'")
    sandbox.write("site/note.js", 'export const note = "as the browser sees it";\n')
    assert page.evaluate(UNTIL.format(f"{note} == 'as the browser sees it'"))
    assert page.evaluate("window.mark") == "the same page"


def test_a_page_hears_events_and_speaks_by_a_socket(page, web):
    look(page, web, "/seen")
    heard = page.evaluate("""new Promise(done => {
        const events = new EventSource("/events/page"), socket = new WebSocket("/socket")
        const heard = []
        const hear = text => { heard.push(text); if (heard.length == 2) done(heard.sort()) }
        events.onopen = () => fetch("/say/page/news", { method: "POST" })
        events.onmessage = event => { events.close(); hear(event.data) }
        socket.onopen = () => socket.send("to and fro")
        socket.onmessage = event => { socket.close(); hear(event.data) }
    })""")
    assert heard == ["to and fro", '{"said": "news"}']
