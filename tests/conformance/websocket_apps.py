"""The apps of `test_websocket.py`, which run in a sandbox.

`echo` is a server of `websockets`, as its users have it: what it is sent comes back, and what breaks the rules it refuses. How
the connection with a path ended, `/ended/…` says as soon as it has.

`mirror` agrees to every upgrade and knows nothing of frames: it sees bytes, and its path says what becomes of them. What it
notes of a connection, `/told/…` says, and `/tell/…` lets it go on.
"""

import asyncio
import base64
import collections
import hashlib
import queue
import socket
import socketserver
import struct
import sys
import threading

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
WAIT_SECONDS_MAX = 60
# What can send nothing for so long has met a reader that stalls.
STALLED_SECONDS = 1
PIECE = bytes(65536)


async def echo(port):
    from websockets.asyncio.server import serve

    ends, changed = {}, asyncio.Condition()

    async def app(socket):
        try:
            async for message in socket:
                if message == "leave":
                    await socket.close(4321, "as you wish")
                elif message == "ping":
                    await (await socket.ping(b"from the app"))
                    await socket.send("ponged")
                else:
                    await socket.send(message)
        finally:
            async with changed:
                ends[socket.request.path] = socket.close_code
                changed.notify_all()

    async def ended(connection, request):
        if not request.path.startswith("/ended/"):
            return None
        path = request.path.removeprefix("/ended")
        async with changed:
            await asyncio.wait_for(changed.wait_for(lambda: path in ends), WAIT_SECONDS_MAX)
        return connection.respond(200, str(ends[path]))

    def chosen(connection, offered):
        return next((protocol for protocol in ("other", "echo") if protocol in offered), None)

    how = {"max_size": None, "ping_interval": None, "select_subprotocol": chosen}
    async with serve(app, "0.0.0.0", port, process_request=ended, **how):
        await asyncio.get_running_loop().create_future()


class Mirror(socketserver.StreamRequestHandler):
    rbufsize = 0
    notes = collections.defaultdict(queue.Queue)

    def handle(self):
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n"):
            self.head += self.request.recv(1)
        _, what, *self.words = self.head.split(b" ", 2)[1].decode().partition("?")[0].split("/")
        getattr(self, what)()

    def agree(self, protocol=b"websocket", more=b""):
        fields = dict(line.lower().split(b": ", 1) for line in self.head.splitlines()[1:-1])
        own = next(line for line in self.head.splitlines() if line.lower().startswith(b"sec-websocket-key: "))[19:]
        assert fields[b"upgrade"] == b"websocket" and fields[b"connection"] == b"upgrade", self.head
        accept = base64.b64encode(hashlib.sha1(own + MAGIC).digest())
        self.request.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: " + protocol
            + b"\r\nsec-websocket-accept: " + accept + b"\r\nsec-websocket-extensions: x-own; a=\"b, c\"\r\n"
            + b"set-cookie: a=b; Secure\r\nset-cookie: c=d\r\n\r\n" + more)

    def refuse(self):
        self.request.sendall(b"HTTP/1.1 403 Forbidden\r\nx-own: y\r\ncontent-length: 4\r\n\r\nnono")

    def other(self):
        self.agree(protocol=b"other")

    def mirror(self):
        """Says a word before it is asked, and then the same as it hears."""
        self.agree(more=b"first")
        while piece := self.request.recv(65536):
            self.request.sendall(piece)
        self.request.sendall(b"last")

    def asked(self):
        self.agree(more=struct.pack(">I", len(self.head)) + self.head)

    def leave(self):
        """Without a word, as what was killed."""
        self.agree()
        self.request.recv(1)
        if self.words == ["at", "once"]:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.request.close()

    def flood(self):
        """More than anybody is to hold for a reader who stalls; notes how much went before that was seen."""
        self.agree()
        size, name = int(self.words[0]), self.words[1]
        self.request.settimeout(STALLED_SECONDS)
        sent, is_noted = 0, False
        while sent < size:
            try:
                sent += self.request.send(PIECE[:size - sent])
            except TimeoutError:
                is_noted = is_noted or not self.notes[name].put(sent)
        if not is_noted:
            self.notes[name].put(sent)

    def sink(self):
        """Reads nothing before it is told to."""
        self.agree()
        self.notes[self.words[1]].get(timeout=WAIT_SECONDS_MAX)
        left = int(self.words[0])
        while left:
            left -= len(self.request.recv(min(left, 65536)))
        self.request.sendall(b"all of it")

    def told(self):
        self.say(str(self.notes[self.words[0]].get(timeout=WAIT_SECONDS_MAX)).encode())

    def tell(self):
        self.notes[self.words[0]].put(None)
        self.say(b"told")

    def say(self, text):
        self.request.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(text) + text)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True
    request_queue_size = 128


if __name__ == "__main__":
    threading.Thread(target=Server(("0.0.0.0", int(sys.argv[2])), Mirror).serve_forever, daemon=True).start()
    asyncio.run(echo(int(sys.argv[1])))
