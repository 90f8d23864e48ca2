"""Chromium without a window, told what to do in its own protocol (DevTools)."""

import base64
import itertools
import json
import os
import subprocess

import websockets.sync.client

ARGUMENTS = [
    "--headless",
    # Its own sandbox refuses root, who we are where this is tested.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--remote-debugging-port=0",
    "about:blank",
]
LISTENS = "DevTools listening on "
ANSWER_SECONDS_MAX = 60


class Chromium:
    """A browser with one page, whose home is a directory of its own, and which believes one more authority."""

    def __init__(self, home, ca):
        store = home / ".pki/nssdb"
        store.mkdir(parents=True)
        for command in (["-N", "--empty-password"], ["-A", "-n", "atoll", "-t", "C,,", "-i", ca]):
            subprocess.run(["certutil", "-d", f"sql:{store}", *command], check=True)
        command = ["chromium", f"--user-data-dir={home}/data", *ARGUMENTS]
        environment = {**os.environ, "HOME": str(home)}
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        address = next((line for line in self.process.stderr if line.startswith(LISTENS)), None)
        assert address, "chromium ended before it listened"
        address = address.removeprefix(LISTENS).strip()
        self.socket = websockets.sync.client.connect(address, max_size=None, proxy=None, legacy=True)
        self.numbers, self.session, self.events = itertools.count(1), None, []
        target = self.tell("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.tell("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def tell(self, method, **parameters):
        """Does something; what came of it."""
        number = next(self.numbers)
        order = {"id": number, "method": method, "params": parameters}
        self.socket.send(json.dumps(order | ({"sessionId": self.session} if self.session else {})))
        while (heard := self.hear()).get("id") != number:
            self.events.append(heard)
        assert "error" not in heard, heard
        return heard["result"]

    def until(self, is_it):
        """Waits for an event, which may have been."""
        while not any(is_it(event) for event in self.events):
            self.events.append(self.hear())

    def hear(self):
        return json.loads(self.socket.recv(timeout=ANSWER_SECONDS_MAX))

    def evaluate(self, expression):
        """The value of an expression in the page; of a promise, when it has one."""
        how = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        result = self.tell("Runtime.evaluate", **how)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def screenshot(self):
        """The page as a picture (PNG)."""
        return base64.b64decode(self.tell("Page.captureScreenshot")["data"])

    def close(self):
        self.socket.close()
        self.process.terminate()
        self.process.wait(ANSWER_SECONDS_MAX)
        self.process.stderr.close()
