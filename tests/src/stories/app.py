"""An app of the stories: says what it is asked, in every way that HTTP has."""

import base64
import hashlib
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

GO_ON = threading.Event()
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body, kind="application/octet-stream"):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        whole = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def do_POST(self):
        body = self.body()
        if self.path.startswith("/sum"):
            return self.answer(hashlib.sha256(body).hexdigest().encode())
        seen = {"method": self.command, "path": self.path, "headers": dict(self.headers), "body": body.hex()}
        self.answer(json.dumps(seen).encode(), "application/json")

    do_PUT = do_PATCH = do_DELETE = do_POST

    def do_GET(self):
        if self.path == "/events":
            return self.events()
        if self.path == "/go-on":
            GO_ON.set()
            return self.answer(b"")
        if self.path == "/hang":
            GO_ON.wait()
        if self.path.startswith("/zeros/"):
            return self.answer(bytes(int(self.path.removeprefix("/zeros/"))))
        if self.path == "/websocket":
            return self.websocket()
        self.do_POST()

    def events(self):
        self.close_connection = True
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(b"data: one\n\n")
        GO_ON.wait()
        self.wfile.write(b"data: two\n\n")
        # Until whoever listens leaves, or we are ended.
        while self.rfile.read(1):
            pass

    def websocket(self):
        self.close_connection = True
        accept = hashlib.sha1((self.headers["sec-websocket-key"] + GUID).encode()).digest()
        self.send_response(101)
        self.send_header("upgrade", "websocket")
        self.send_header("connection", "Upgrade")
        self.send_header("sec-websocket-accept", base64.b64encode(accept).decode())
        self.end_headers()
        while head := self.rfile.read(2):
            length, mask = head[1] & 127, self.rfile.read(4)
            data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(length)))
            self.wfile.write(bytes([head[0], length]) + data)
            if head[0] & 15 == 8:
                return


class Server(ThreadingHTTPServer):
    def server_bind(self):
        # Without the question after our own name, which nobody answers here.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "app", self.server_address[1]


server = Server(("0.0.0.0", int(sys.argv[1])), App)
with open("port.new", "w") as file:
    file.write(str(server.server_address[1]))
os.rename("port.new", "port")
server.serve_forever()
