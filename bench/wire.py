"""A lean client: HTTP/1.1 and WebSocket over one socket that stays open, so that what is measured is the server."""

import base64
import json
import os
import socket
import struct

RECEIVE_BYTES = 1 << 18


class Wire:
    """One connection to the API."""

    def __init__(self, port, key):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.common = f"host: 127.0.0.1:{port}\r\nauthorization: {key}\r\n"
        self.buffer = bytearray()

    def call(self, method, path, body=b"", kind="application/octet-stream"):
        """The body of the answer, which must be a success."""
        head = f"{method} {path} HTTP/1.1\r\n{self.common}content-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode())
        self.socket.sendall(body)
        status, headers = self.head()
        content = self.body(headers)
        if not 200 <= status < 300:
            raise RuntimeError(f"{method} {path}: {status} {bytes(content[:500])}")
        return content

    def post(self, path, **fields):
        content = self.call("POST", path, json.dumps(fields).encode(), "application/json")
        return json.loads(content) if content else None

    def upgrade(self, path):
        """Makes a WebSocket of the connection."""
        key = base64.b64encode(os.urandom(16)).decode()
        asked = f"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n"
        self.socket.sendall(f"GET {path} HTTP/1.1\r\n{self.common}{asked}\r\n".encode())
        status, headers = self.head()
        if status != 101:
            raise RuntimeError(f"GET {path}: {status} {bytes(self.body(headers))}")

    def send_frame(self, payload):
        """A binary frame of at most 125 bytes, masked with zeros as it has to be masked with something."""
        self.socket.sendall(bytes([0x82, 0x80 | len(payload), 0, 0, 0, 0]) + payload)

    def receive_frame(self):
        """The payload of the next frame with data in it."""
        while True:
            kind, length = self.take(2)
            if length == 126:
                [length] = struct.unpack(">H", self.take(2))
            elif length == 127:
                [length] = struct.unpack(">Q", self.take(8))
            payload = self.take(length)
            if kind & 0x0F in (0, 1, 2):
                return payload
            if kind & 0x0F == 8:
                raise RuntimeError(f"the connection was closed: {payload}")

    def head(self):
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            self.more()
        lines = self.take(end + 4).decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split(" ")[1]), {name.lower(): value for name, value in pairs}

    def body(self, headers):
        if headers.get("transfer-encoding") == "chunked":
            return b"".join(self.chunks())
        return self.take(int(headers.get("content-length", 0)))

    def chunks(self):
        while True:
            while (end := self.buffer.find(b"\r\n")) < 0:
                self.more()
            length = int(self.take(end + 2), 16)
            chunk = self.take(length)
            self.take(2)
            if not length:
                return
            yield chunk

    def take(self, length):
        if length <= len(self.buffer):
            taken = bytes(self.buffer[:length])
            del self.buffer[:length]
            return taken
        # Straight to where it belongs, without growing the buffer.
        taken, have = bytearray(length), len(self.buffer)
        taken[:have], self.buffer = self.buffer, bytearray()
        view = memoryview(taken)
        while have < length:
            received = self.socket.recv_into(view[have:], length - have)
            if not received:
                raise RuntimeError("the server closed the connection")
            have += received
        return taken

    def more(self):
        received = self.socket.recv(RECEIVE_BYTES)
        if not received:
            raise RuntimeError("the server closed the connection")
        self.buffer += received
