"""WebSockets byte by byte (RFC 6455), and over HTTP/2 (RFC 8441), through the door to apps in a sandbox.

The door is to mend nothing and to break nothing: what an app and its client say to each other, by the rules or against
them, they say as if nobody were between.
"""

import base64
import hashlib
import io
import os
import pathlib
import socket
import struct
import tarfile
import time
import zlib

import pytest
import websockets
from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

import websocket_apps
from conftest import KEY
from test_http2 import HOST, PORT, WAIT_SECONDS_MAX, Peer

ECHO, MIRROR = 8001, 8002
DOMAIN = "sandbox.localhost"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
LENGTHS = (0, 1, 125, 126, 127, 65535, 65536, 1 << 20)
# More than a reader who stalls is to be sent, and what kernels and the door may hold on the way.
FLOOD_BYTES, HELD_BYTES_MAX = 96 << 20, 48 << 20
# As many as a busy page may send before anybody has read one.
MESSAGES = 1000
NO_ERROR, CANCEL = 0, 8


@pytest.fixture(scope="module")
def inside(http):
    """The name of a sandbox where the apps run."""
    made = http.post("/v1/sandbox", json={"timeout": 1800}).json()["id"]
    at = f"/v1/sandbox/{made}"
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(pathlib.Path(websockets.__file__).parent, "websockets", filter=as_it_is_anywhere)
        tar.add(websocket_apps.__file__, "apps.py")
    put = http.post(f"{at}/filesystem/write-file", params={"path": "/tmp/apps.tar"}, content=archive.getvalue())
    assert put.status_code == 204, put.text
    ran = http.post(f"{at}/process/execute", json={"command": "tar xf apps.tar", "cwd": "/tmp"}).json()
    assert ran["exit_code"] == 0, ran
    argv = ["python3", "apps.py", str(ECHO), str(MIRROR)]
    http.post(f"{at}/process/start", json={"argv": argv, "cwd": "/tmp"}).raise_for_status()
    for port, path in ((ECHO, "/"), (MIRROR, "/refuse")):
        until_it_listens(made, port, path)
    yield made
    http.delete(at)


def as_it_is_anywhere(entry):
    """Without what is made for one Python."""
    return None if entry.name.endswith((".so", "__pycache__")) else entry


def until_it_listens(name, port, path):
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while b"nothing_listens" in asked(name, port, path):
        assert time.monotonic() < deadline


def asked(name, port, path):
    """All that comes for a plain request."""
    with Plain(name, port, path, upgrade=(), expect=None) as plain:
        return plain.answer


def frame(opcode, payload=b"", fin=True, rsv=0, masked=True):
    first = fin << 7 | rsv << 4 | opcode
    size = len(payload)
    head = struct.pack(">BB", first, masked << 7 | (size if size < 126 else 126 if size < 65536 else 127))
    head += b"" if size < 126 else struct.pack(">H" if size < 65536 else ">Q", size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    pad = int.from_bytes((mask * (size // 4 + 1))[:size])
    return head + mask + (int.from_bytes(payload) ^ pad).to_bytes(size)


class Carrier:
    """Carries what two say to each other once a WebSocket was agreed to."""

    def __init__(self):
        self.read = bytearray()

    def exactly(self, size):
        while len(self.read) < size:
            assert self.more(), f"the end after {bytes(self.read[:100])}"
        taken = bytes(self.read[:size])
        del self.read[:size]
        return taken

    def next(self):
        """The first byte of the next frame, and what is in it."""
        first, size = self.exactly(2)
        if size >= 126:
            size = int.from_bytes(self.exactly(2 if size == 126 else 8))
        return first, self.exactly(size)

    def code(self):
        """With which the next frame says that this is the end, which it then is."""
        first, payload = self.next()
        assert first == 0x80 | CLOSE, (first, payload)
        self.ends()
        return int.from_bytes(payload[:2])

    def ends(self):
        """And is hung up then, for which the app waits."""
        assert self.rest() == b""
        self.close()

    def rest(self):
        while self.more():
            pass
        return bytes(self.read)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Plain(Carrier):
    """HTTP/1.1."""

    UPGRADE = ("connection: Upgrade", "upgrade: websocket", "sec-websocket-version: 13")

    def __init__(self, name, port, path, *fields, upgrade=UPGRADE, method="GET", version="1.1", key=KEY, nonce=None,
                 early=b"", expect=101):
        super().__init__()
        self.nonce = base64.b64encode(os.urandom(16)).decode() if nonce is None else nonce
        self.stream = socket.create_connection((HOST, int(PORT)), timeout=WAIT_SECONDS_MAX)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = [f"{method} {path} HTTP/{version}", f"host: {name}-{port}.{DOMAIN}", *upgrade, *fields]
        lines += [f"authorization: Bearer {key}"] * bool(key) + [f"sec-websocket-key: {self.nonce}"] * bool(self.nonce)
        # No other request follows where there is no upgrade.
        lines += ["connection: close"] * (not upgrade)
        self.stream.sendall("\r\n".join([*lines, "", ""]).encode() + early)
        while b"\r\n\r\n" not in self.read and self.more():
            pass
        head, _, self.read = self.read.partition(b"\r\n\r\n")
        first, *fields = bytes(head).decode().split("\r\n")
        self.status = int(first.split()[1])
        self.fields = [tuple(field.split(": ", 1)) for field in fields]
        if expect is None:
            self.answer = bytes(head) + b"\r\n\r\n" + self.rest()
        else:
            assert self.status == expect, (head, self.read)

    def field(self, name):
        return next((value for field, value in self.fields if field.lower() == name), None)

    def more(self):
        try:
            got = self.stream.recv(1 << 16)
        except ConnectionError:
            got = b""
        self.read += got
        return bool(got)

    def say(self, data):
        """Hears meanwhile, since who is not heard may hear no more."""
        self.stream.setblocking(False)
        view, deadline = memoryview(data), time.monotonic() + WAIT_SECONDS_MAX
        while view:
            assert time.monotonic() < deadline, "nobody takes it"
            try:
                view = view[self.stream.send(view):]
                deadline = time.monotonic() + WAIT_SECONDS_MAX
            except BlockingIOError:
                self.stream.settimeout(0.01)
                try:
                    self.read += self.stream.recv(1 << 16)
                except TimeoutError:
                    pass
                self.stream.setblocking(False)
        self.stream.settimeout(WAIT_SECONDS_MAX)

    def fill(self, size):
        """Sends until nobody has taken anything for a while; how much went."""
        self.stream.settimeout(websocket_apps.STALLED_SECONDS)
        sent, piece = 0, bytes(1 << 16)
        try:
            while sent < size:
                sent += self.stream.send(piece[:size - sent])
        except TimeoutError:
            pass
        self.stream.settimeout(WAIT_SECONDS_MAX)
        return sent

    def finish(self):
        self.stream.shutdown(socket.SHUT_WR)

    def vanish(self):
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.close()

    def close(self):
        self.stream.close()


class Multiplexed(Carrier):
    """A stream of HTTP/2. Its window is opened as what came is asked for."""

    def __init__(self, name, port, path, *fields, key=KEY, peer=None, stream=1, protocol="websocket", expect=200):
        super().__init__()
        self.peer, self.stream, self.is_over = peer or Peer(), stream, False
        head = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "https"), (":path", path),
                (":authority", f"{name}-{port}.{DOMAIN}"), ("sec-websocket-version", "13")]
        head += [("authorization", f"Bearer {key}")] * bool(key) + [tuple(field.split(": ", 1)) for field in fields]
        if peer is None:
            settings = self.peer.until(lambda frame: isinstance(frame, SettingsFrame)).settings
            assert settings[SettingsFrame.ENABLE_CONNECT_PROTOCOL] == 1
            self.room = {0: 65535, stream: settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, 65535)}
            self.piece = settings.get(SettingsFrame.MAX_FRAME_SIZE, 16384)
            self.peer.say(SettingsFrame(0, flags=["ACK"]))
        self.peer.say(self.peer.headers(head, stream=stream, flags=["END_HEADERS"]))
        self.fields = None
        while self.fields is None:
            assert self.more(), "no answer"
        assert int(self.field(":status")) == expect, self.fields

    def field(self, name):
        return dict(self.fields).get(name)

    def more(self):
        """Something of the stream; False at its end."""
        while not self.is_over:
            got = self.peer.next()
            if isinstance(got, WindowUpdateFrame) and got.stream_id in self.room:
                self.room[got.stream_id] += got.window_increment
                return True
            if isinstance(got, PingFrame) and "ACK" not in got.flags:
                # By the answer the window is measured.
                self.peer.say(PingFrame(0, got.opaque_data, flags=["ACK"]))
            if got is None or isinstance(got, GoAwayFrame) and got.error_code != NO_ERROR:
                self.is_over = True
            if getattr(got, "stream_id", None) != self.stream:
                continue
            self.is_over = self.is_over or isinstance(got, RstStreamFrame) or "END_STREAM" in got.flags
            if isinstance(got, HeadersFrame):
                self.fields = self.peer.decoder.decode(got.data)
                return True
            if isinstance(got, DataFrame):
                self.read += got.data
                if size := got.flow_controlled_length:
                    self.peer.say(WindowUpdateFrame(0, size), WindowUpdateFrame(self.stream, size))
                return True
        return False

    def say(self, data):
        view = memoryview(data)
        while view:
            size = min(len(view), self.piece, *self.room.values())
            if size == 0:
                assert self.more(), "nobody hears it"
                continue
            self.part(bytes(view[:size]))
            view = view[size:]

    def part(self, data, flags=()):
        self.room = {stream: room - len(data) for stream, room in self.room.items()}
        self.peer.say(DataFrame(self.stream, data, flags=list(flags)))

    def fill(self, size):
        self.peer.stream.settimeout(websocket_apps.STALLED_SECONDS)
        sent = 0
        try:
            while sent < size:
                if room := min(self.piece, *self.room.values(), size - sent):
                    self.part(bytes(room))
                    sent += room
                else:
                    assert self.more()
        except TimeoutError:
            pass
        self.peer.stream.settimeout(WAIT_SECONDS_MAX)
        return sent

    def finish(self):
        self.part(b"", ["END_STREAM"])

    def vanish(self):
        self.peer.say(RstStreamFrame(self.stream, error_code=CANCEL))

    def close(self):
        self.peer.stream.close()


@pytest.fixture(params=[Plain, Multiplexed], ids=["http1", "http2"])
def carry(request, inside):
    """Makes WebSockets, over each version of HTTP."""
    made = []

    def carry(port, path="/", *fields, **how):
        made.append(request.param(inside, port, path, *fields, **how))
        return made[-1]

    yield carry
    for each in made:
        each.close()


def head_seen(carrier):
    """With what the app was asked: the first line, and the fields."""
    first, *fields = carrier.exactly(int.from_bytes(carrier.exactly(4))).decode().split("\r\n")[:-2]
    return first, [tuple(field.split(": ", 1)) for field in fields]


# The handshake


def test_the_answer_is_to_the_client_s_own_question(inside):  # 4.1, 4.2.2
    for _ in range(3):
        with Plain(inside, ECHO, "/") as plain:
            accept = hashlib.sha1(plain.nonce.encode() + websocket_apps.MAGIC).digest()
            assert plain.field("sec-websocket-accept") == base64.b64encode(accept).decode()
            assert plain.field("upgrade").lower() == "websocket" and plain.field("connection").lower() == "upgrade"


@pytest.mark.parametrize("upgrade", [
    ("connection: keep-alive, Upgrade", "upgrade: WebSocket", "sec-websocket-version: 13"),
    ("connection: UPGRADE", "Upgrade: WEBSOCKET", "sec-websocket-version: 13"),
    ("connection: keep-alive", "connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"),
])
def test_what_is_asked_for_is_read_without_regard_to_case_and_place(inside, upgrade):  # 4.2.1
    with Plain(inside, ECHO, "/", upgrade=upgrade) as plain:
        plain.say(frame(TEXT, b"hello"))
        assert plain.next() == (0x80 | TEXT, b"hello")


@pytest.mark.parametrize(("how", "status", "says"), [
    ({"key": None}, 401, b"unauthorized"),
    ({"key": "wrong"}, 401, b"unauthorized"),
    # These are the app's to refuse.
    ({"nonce": ""}, 400, b"Sec-WebSocket-Key"),
    ({"nonce": "dG9vIHNob3J0"}, 400, b"Sec-WebSocket-Key"),
    ({"upgrade": (*Plain.UPGRADE[:2], "sec-websocket-version: 12")}, 400, b"Sec-WebSocket-Version"),
    ({"upgrade": Plain.UPGRADE[:2]}, 400, b"Sec-WebSocket-Version"),
    # These ask for no WebSocket.
    ({"upgrade": Plain.UPGRADE[1:]}, 426, b"Upgrade"),
    ({"upgrade": (Plain.UPGRADE[0], *Plain.UPGRADE[2:])}, 426, b"Upgrade"),
    ({"upgrade": ("connection: Upgrade", "upgrade: h2c", "sec-websocket-version: 13")}, 426, b"Upgrade"),
])
def test_handshakes_that_are_wrong_open_nothing_and_lead_nowhere_else(inside, how, status, says):  # 4.2.1, 4.2.2, 4.4
    with Plain(inside, ECHO, "/", "connection: close", expect=None, **how) as plain:
        assert plain.status == status and says in plain.answer, plain.answer
        assert plain.field("location") is None


def test_an_app_s_refusal_is_the_answer(carry):  # 4.2.2
    refused = carry(MIRROR, "/refuse", expect=403)
    assert refused.field("x-own") == "y" and refused.exactly(4) == b"nono"


def test_an_app_that_agrees_to_something_else_is_not_believed(carry):  # 4.1
    refused = carry(MIRROR, "/other", expect=502)
    assert refused.field("sec-websocket-accept") is None


def test_what_both_may_agree_on_passes_as_it_is(carry):  # 4.1, 9.1, 11.3
    said = [("sec-websocket-extensions", 'permessage-deflate; client_max_window_bits, x-unknown; a="b, c"'),
            ("sec-websocket-extensions", "x-other"), ("sec-websocket-protocol", "one, two"),
            ("sec-websocket-protocol", "three"), ("origin", "https://elsewhere.test"), ("x-own", "y")]
    carrier = carry(MIRROR, "/asked?a=%20&b", *(": ".join(field) for field in said))
    first, fields = head_seen(carrier)
    assert first == "GET /asked?a=%20&b HTTP/1.1"
    names = {name for name, _ in said}
    assert sorted(field for field in fields if field[0].lower() in names) == sorted(said)
    fields = dict(fields)
    assert fields["sec-websocket-version"] == "13" and len(base64.b64decode(fields["sec-websocket-key"])) == 16
    assert "authorization" not in fields
    # And back.
    assert carrier.field("sec-websocket-extensions") == 'x-own; a="b, c"'
    cookies = [value for name, value in carrier.fields if name.lower() == "set-cookie"]
    assert cookies == ["a=b; Secure", "c=d"]
    if isinstance(carrier, Plain):
        assert fields["sec-websocket-key"] == carrier.nonce


@pytest.mark.parametrize(("offered", "chosen"), [(["echo"], "echo"), (["none", "echo", "other"], "other"), ([], None)])
def test_a_protocol_is_chosen_of_those_that_were_offered(carry, offered, chosen):  # 1.9, 4.2.2
    carrier = carry(ECHO, "/", *([f"sec-websocket-protocol: {', '.join(offered)}"] if offered else []))
    assert carrier.field("sec-websocket-protocol") == chosen


def test_who_cannot_wait_for_the_answer_is_heard_all_the_same(inside):  # 4.1: who is to
    with Plain(inside, MIRROR, "/mirror", early=b"at once") as plain:
        assert plain.exactly(len(b"firstat once")) == b"firstat once"


# Frames


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
@pytest.mark.parametrize("length", LENGTHS)
def test_messages_of_every_length_go_and_come(carry, length, opcode):  # 5.2, 5.6
    payload = os.urandom(length) if opcode == BINARY else b"x" * length
    carrier = carry(ECHO)
    carrier.say(frame(opcode, payload))
    assert carrier.next() == (0x80 | opcode, payload)


def test_a_frame_in_pieces_of_one_byte_is_the_same_frame(carry):  # 5.2
    carrier, payload = carry(ECHO), os.urandom(100)
    for byte in frame(BINARY, payload):
        carrier.say(bytes([byte]))
    assert carrier.next() == (0x80 | BINARY, payload)


def test_many_short_messages_at_once_are_all_answered(carry):  # 5.4; 9113: 5.2
    carrier, numbers = carry(ECHO), [number.to_bytes(2) for number in range(MESSAGES)]
    for number in numbers:
        carrier.say(frame(BINARY, number))
    assert [carrier.next() for _ in numbers] == [(0x80 | BINARY, number) for number in numbers]


def test_a_message_is_as_many_frames_as_its_sender_likes(carry):  # 5.4
    carrier = carry(ECHO)
    parts = "zwölf Boxkämpfer".encode()
    carrier.say(frame(TEXT, parts[:4], fin=False))
    # Between them may be others, which are answered at once.
    carrier.say(frame(PING, b"between"))
    assert carrier.next() == (0x80 | PONG, b"between")
    # The third begins in the middle of a character.
    for part in (parts[4:9], b"", parts[9:10]):
        carrier.say(frame(0, part, fin=False))
    carrier.say(frame(0, parts[10:]))
    assert carrier.next() == (0x80 | TEXT, parts)


@pytest.mark.parametrize("payload", [b"", b"who is there", os.urandom(125)], ids=["empty", "short", "longest"])
def test_a_client_s_ping_is_answered_by_the_app(carry, payload):  # 5.5.2, 5.5.3
    carrier = carry(ECHO)
    carrier.say(frame(PONG, b"that nobody asked for") + frame(PING, payload))
    assert carrier.next() == (0x80 | PONG, payload)


def test_an_app_s_ping_is_answered_by_the_client(carry):  # 5.5.2, 5.5.3
    carrier = carry(ECHO)
    carrier.say(frame(TEXT, b"ping"))
    assert carrier.next() == (0x80 | PING, b"from the app")
    carrier.say(frame(PONG, b"from the app"))
    assert carrier.next() == (0x80 | TEXT, b"ponged")


def test_an_app_may_speak_first_and_many_bytes_go_both_ways_at_once(carry):  # 1.2
    carrier, said = carry(MIRROR, "/mirror"), os.urandom(8 << 20)
    assert carrier.exactly(5) == b"first"
    carrier.say(said)
    assert hashlib.sha256(carrier.exactly(len(said))).digest() == hashlib.sha256(said).digest()


# The end


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_a_client_says_how_it_ends_and_the_app_agrees(carry, inside, code):  # 5.5.1, 7.1, 7.4
    carrier = carry(ECHO, path := f"/close-{code}-{os.urandom(4).hex()}")
    carrier.say(frame(CLOSE, struct.pack(">H", code) + b"because"))
    assert carrier.code() == code
    assert ended(inside, path) == str(code)


def test_a_client_need_not_say_why_it_ends(carry, inside):  # 7.1.5
    carrier = carry(ECHO, path := f"/close-{os.urandom(4).hex()}")
    carrier.say(frame(CLOSE))
    assert carrier.next() == (0x80 | CLOSE, b"")
    carrier.ends()
    assert ended(inside, path) == "1005"


def test_an_app_says_how_it_ends(carry):  # 7.1.6
    carrier = carry(ECHO)
    carrier.say(frame(TEXT, b"leave"))
    assert carrier.next() == (0x80 | CLOSE, struct.pack(">H", 4321) + b"as you wish")
    carrier.say(frame(CLOSE, struct.pack(">H", 4321)))
    carrier.ends()


@pytest.mark.parametrize("how", ["vanish", "finish", "close"])
def test_an_app_hears_that_its_client_has_left_without_a_word(carry, inside, how):  # 7.1.7, 7.2.1
    carrier = carry(ECHO, path := f"/{how}-{os.urandom(4).hex()}")
    carrier.say(frame(TEXT, b"still here"))
    assert carrier.next() == (0x80 | TEXT, b"still here")
    getattr(carrier, how)()
    assert ended(inside, path) == "1006"


@pytest.mark.parametrize("how", ["/leave", "/leave/at/once"])
def test_a_client_hears_that_its_app_has_left_without_a_word(carry, how):  # 7.1.7, 7.2.1
    carrier = carry(MIRROR, how)
    carrier.say(b"x")
    carrier.ends()


def test_who_has_nothing_more_to_say_still_hears(carry):  # 7.1.1
    carrier = carry(MIRROR, "/mirror")
    carrier.say(b"bye")
    carrier.finish()
    assert carrier.rest() == b"firstbyelast"


def ended(name, path):
    """How the app saw a connection end."""
    return asked(name, ECHO, f"/ended{path}").partition(b"\r\n\r\n")[2].decode()


# What is against the rules


BROKEN = {
    "unmasked": (frame(TEXT, b"bare", masked=False), 1002),  # 5.1
    "the first reserved bit": (frame(TEXT, b"x", rsv=4), 1002),  # 5.2
    "the second reserved bit": (frame(TEXT, b"x", rsv=2), 1002),
    "the third reserved bit": (frame(PING, b"x", rsv=1), 1002),
    "an unknown kind": (frame(3, b"x"), 1002),
    "an unknown kind of control": (frame(0xb, b"x"), 1002),
    "a continuation of nothing": (frame(0, b"x"), 1002),  # 5.4
    "a message within another": (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
    "a ping in parts": (frame(PING, b"x", fin=False), 1002),  # 5.5
    "a ping that is too long": (frame(PING, bytes(126)), 1002),
    "an end with half a code": (frame(CLOSE, b"\x03"), 1002),  # 5.5.1
    "an end with a code that is none": (frame(CLOSE, struct.pack(">H", 999)), 1002),  # 7.4
    "an end with a code that is never sent": (frame(CLOSE, struct.pack(">H", 1006)), 1002),
    "an end without words in UTF-8": (frame(CLOSE, struct.pack(">H", 1000) + b"\xff"), 1007),
    "no UTF-8": (frame(TEXT, b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80"), 1007),  # 8.1
    "no UTF-8 in parts": (frame(TEXT, b"\xce", fin=False) + frame(0, b"\xce"), 1007),
}


@pytest.mark.parametrize(("bad", "code"), BROKEN.values(), ids=BROKEN)
def test_the_app_refuses_what_is_against_the_rules(carry, bad, code):
    carrier = carry(ECHO)
    carrier.say(bad)
    assert carrier.code() == code


def test_nobody_between_them_mends_what_is_against_the_rules(carry):
    carrier, bad = carry(MIRROR, "/mirror"), b"".join(bad for bad, _ in BROKEN.values()) + os.urandom(4096)
    carrier.say(bad)
    assert carrier.exactly(5 + len(bad)) == b"first" + bad


# Compression


@pytest.mark.parametrize("offer", ["permessage-deflate", "permessage-deflate; server_no_context_takeover"])
def test_messages_are_compressed_where_both_agree(carry, offer):  # RFC 7692
    carrier = carry(ECHO, "/", f"sec-websocket-extensions: {offer}")
    assert carrier.field("sec-websocket-extensions").startswith("permessage-deflate")
    packer, opener = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15)
    for payload in (b"to and fro " * 10000, os.urandom(1000).hex().encode()):
        packed = packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)
        carrier.say(frame(TEXT, packed[:-4], rsv=4))
        first, again = carrier.next()
        assert first == 0x80 | 0x40 | TEXT and opener.decompress(again + b"\0\0\xff\xff") == payload
        if "no_context" in offer:
            opener = zlib.decompressobj(wbits=-15)


def test_compressed_messages_that_cannot_be_opened_are_the_app_s_to_refuse(carry):  # RFC 7692, 7.2.2
    carrier = carry(ECHO, "/", "sec-websocket-extensions: permessage-deflate")
    carrier.say(frame(TEXT, b"\xff\xff\xff", rsv=4))
    assert carrier.code() in (1002, 1007)


# Those who do not keep up


def test_nobody_holds_what_a_client_does_not_read(carry, inside):
    carrier = carry(MIRROR, f"/flood/{FLOOD_BYTES}/{(name := os.urandom(4).hex())}")
    assert int(told(inside, f"/told/{name}")) < HELD_BYTES_MAX
    assert not any(carrier.exactly(FLOOD_BYTES))


def test_nobody_holds_what_an_app_does_not_read(carry, inside):
    carrier = carry(MIRROR, f"/sink/{FLOOD_BYTES}/{(name := os.urandom(4).hex())}")
    sent = carrier.fill(FLOOD_BYTES)
    assert sent < HELD_BYTES_MAX
    assert told(inside, f"/tell/{name}") == b"told"
    carrier.say(bytes(FLOOD_BYTES - sent))
    assert carrier.rest() == b"all of it"


def told(name, path):
    return asked(name, MIRROR, path).partition(b"\r\n\r\n")[2]


# HTTP/2 alone


def test_the_answer_of_http2_has_nothing_of_http1(inside):  # RFC 8441, 5
    with Multiplexed(inside, ECHO, "/") as socket:
        for name in ("upgrade", "connection", "sec-websocket-accept"):
            assert socket.field(name) is None


@pytest.mark.parametrize(("how", "status"), [({"key": None}, 401), ({"key": "wrong"}, 401), ({"protocol": "other"}, 501)])
def test_streams_that_may_not_or_want_something_else_get_nowhere(inside, how, status):  # RFC 8441, 4
    with Multiplexed(inside, ECHO, "/", expect=status, **how) as socket:
        assert socket.field("location") is None


def test_many_share_a_connection_and_one_that_ends_is_no_others_end(inside):  # RFC 8441, 5
    with Multiplexed(inside, ECHO, "/") as first:
        second = Multiplexed(inside, ECHO, "/", peer=first.peer, stream=3)
        second.room, second.piece = {0: 65535, 3: 65535}, first.piece
        first.say(frame(TEXT, b"one"))
        assert first.next() == (0x80 | TEXT, b"one")
        first.vanish()
        second.say(frame(TEXT, b"two"))
        assert second.next() == (0x80 | TEXT, b"two")
        second.peer.lives()
