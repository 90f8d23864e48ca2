"""HTTP/2 frame by frame (RFC 9113): what breaks its rules ends the stream or the connection, with the code that it names.

Nothing here gets into a sandbox: who has no key is answered all the same, and the rules come first.
"""

import os
import socket
import ssl
import struct
import time

import hpack
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

HOST, PORT = os.environ["ATOLL_INGRESS"].rsplit(":", 1)
NAME = "sbx-hhhhhhhhhhhhhhhhhhhh-8000.sandbox.localhost"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 1, 3, 5, 6
REFUSED_STREAM, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 7, 9, 11
WAIT_SECONDS_MAX = 30
GET = [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", NAME)]
POST = [(":method", "POST"), *GET[1:]]


class Peer:
    """A connection on which anything can be said."""

    def __init__(self, greet=True):
        context = ssl.create_default_context()
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection((HOST, int(PORT)), timeout=WAIT_SECONDS_MAX)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = context.wrap_socket(plain, server_hostname=NAME)
        assert self.stream.selected_alpn_protocol() == "h2"
        self.encoder, self.decoder, self.read = hpack.Encoder(), hpack.Decoder(), b""
        if greet:
            self.say(PREFACE, SettingsFrame())

    def say(self, *what):
        """Frames, or bytes; who has heard enough may hang up in the middle."""
        try:
            self.stream.sendall(b"".join(each if isinstance(each, bytes) else each.serialize() for each in what))
        except OSError:
            pass

    def headers(self, fields=GET, stream=1, flags=("END_HEADERS", "END_STREAM")):
        return HeadersFrame(stream, self.encoder.encode(fields), flags=list(flags))

    def more(self, size):
        while len(self.read) < size:
            try:
                got = self.stream.recv(65536)
            except (ConnectionError, ssl.SSLError):
                got = b""
            if not got:
                return False
            self.read += got
        return True

    def next(self):
        """The next frame; None at the end."""
        if not self.more(9):
            return None
        frame, length = Frame.parse_frame_header(memoryview(self.read[:9]))
        if not self.more(9 + length):
            return None
        frame.parse_body(memoryview(self.read[9:9 + length]))
        self.read = self.read[9 + length:]
        return frame

    def until(self, is_it):
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while time.monotonic() < deadline:
            frame = self.next()
            if frame is None or is_it(frame):
                return frame
        raise TimeoutError

    def status(self, stream=1):
        """Of the answer on this stream."""
        headers = self.until(lambda frame: isinstance(frame, HeadersFrame) and frame.stream_id == stream)
        assert headers is not None, "the connection ended"
        return dict(self.decoder.decode(headers.data))[":status"]

    def lives(self):
        """Still answers."""
        self.say(PingFrame(0, b"12345678"))
        pong = self.until(lambda frame: isinstance(frame, PingFrame) and "ACK" in frame.flags)
        assert pong is not None and pong.opaque_data == b"12345678"

    def ends(self, *codes):
        """The connection ends, for one of these reasons, or for the general one."""
        away = self.until(lambda frame: isinstance(frame, GoAwayFrame) and frame.error_code != 0)
        assert away is None or away.error_code in (*codes, PROTOCOL_ERROR), away
        assert self.until(lambda _: False) is None

    def resets(self, *codes, stream=1):
        """The stream ends for one of these reasons, or its connection does, and that is allowed too (5.4.2)."""
        over = self.until(lambda frame: isinstance(frame, RstStreamFrame) and frame.stream_id == stream
                          or isinstance(frame, GoAwayFrame) and frame.error_code != 0)
        assert over is None or over.error_code in (*codes, PROTOCOL_ERROR), over


@pytest.fixture
def peer():
    made = Peer()
    yield made
    made.stream.close()


def raw(kind, flags, stream, body):
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def test_who_keeps_the_rules_is_answered(peer):
    peer.say(peer.headers())
    assert peer.status() == "401"
    peer.lives()


def test_a_preface_that_is_none_ends_the_connection():  # 3.4
    peer = Peer(greet=False)
    peer.say(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + SettingsFrame().serialize())
    peer.ends(PROTOCOL_ERROR)


def test_frames_of_kinds_that_nobody_knows_are_passed_over(peer):  # 4.1, 5.5
    peer.say(raw(0xfa, 0xff, 0, b"anything"), raw(0xfa, 0, 7, b""))
    peer.lives()


def test_frames_that_are_too_large_end_the_connection(peer):  # 4.2
    peer.say(peer.headers(POST, flags=["END_HEADERS"]), raw(0, 0, 1, bytes(16385)))
    peer.resets(FRAME_SIZE_ERROR)


def test_heads_that_cannot_be_unpacked_end_the_connection(peer):  # 4.3
    peer.say(HeadersFrame(1, b"\xff\xff\xff\xff\xff\xff\xff\xff", flags=["END_HEADERS", "END_STREAM"]))
    peer.ends(COMPRESSION_ERROR)


def test_nothing_comes_between_a_head_and_the_rest_of_it(peer):  # 4.3, 6.2
    peer.say(peer.headers(flags=["END_STREAM"]), PingFrame(0, bytes(8)))
    peer.ends(PROTOCOL_ERROR)


def test_a_stream_that_nobody_opened_gets_no_data(peer):  # 5.1
    peer.say(DataFrame(1, b"x"))
    peer.ends(PROTOCOL_ERROR)


def test_a_stream_that_was_ended_gets_no_data(peer):  # 5.1
    peer.say(peer.headers(), DataFrame(1, b"x"))
    peer.resets(STREAM_CLOSED)


def test_streams_of_clients_have_odd_numbers_that_grow(peer):  # 5.1.1
    peer.say(peer.headers(stream=2))
    peer.ends(PROTOCOL_ERROR)
    other = Peer()
    other.say(other.headers(stream=5), other.headers(stream=3))
    other.ends(PROTOCOL_ERROR, STREAM_CLOSED)


def test_streams_beyond_those_that_there_may_be_at_once_are_refused_and_all_else_goes_on(peer):  # 5.1.2
    most = peer.until(lambda frame: isinstance(frame, SettingsFrame)).settings[SettingsFrame.MAX_CONCURRENT_STREAMS]
    # Without a window, no answer comes to its end.
    peer.say(SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 0}))
    peer.say(*[peer.headers(stream=1 + 2 * number) for number in range(most + 1)])
    last = 1 + 2 * most
    refused = peer.until(lambda frame: isinstance(frame, RstStreamFrame))
    assert (refused.stream_id, refused.error_code) == (last, REFUSED_STREAM)
    peer.lives()
    # One that has ended makes room.
    peer.say(WindowUpdateFrame(1, 10000))
    assert "END_STREAM" in peer.until(lambda frame: isinstance(frame, DataFrame) and frame.data).flags
    peer.say(peer.headers(stream=last + 2))
    served = peer.until(lambda frame: frame.stream_id == last + 2)
    assert isinstance(served, HeadersFrame)


def test_data_belongs_to_a_stream(peer):  # 6.1
    peer.say(raw(0, 0, 0, b"x"))
    peer.ends(PROTOCOL_ERROR)


def test_padding_is_no_longer_than_its_frame(peer):  # 6.1
    peer.say(peer.headers(POST, flags=["END_HEADERS"]), raw(0, 0x8, 1, b"\x05ab"))
    peer.ends(PROTOCOL_ERROR)


def test_a_head_belongs_to_a_stream(peer):  # 6.2
    peer.say(raw(1, 0x5, 0, peer.encoder.encode(GET)))
    peer.ends(PROTOCOL_ERROR)


def test_a_priority_has_its_length(peer):  # 6.3
    peer.say(raw(2, 0, 1, bytes(4)))
    peer.resets(FRAME_SIZE_ERROR)


def test_a_stream_is_not_reset_before_it_is_there(peer):  # 6.4
    peer.say(RstStreamFrame(1, error_code=8))
    peer.ends(PROTOCOL_ERROR)


@pytest.mark.parametrize(("frame", "code"), [
    (raw(4, 0x1, 0, bytes(6)), FRAME_SIZE_ERROR),
    (raw(4, 0, 1, b""), PROTOCOL_ERROR),
    (raw(4, 0, 0, bytes(5)), FRAME_SIZE_ERROR),
    (raw(4, 0, 0, struct.pack(">HI", 2, 2)), PROTOCOL_ERROR),
    (raw(4, 0, 0, struct.pack(">HI", 4, 1 << 31)), FLOW_CONTROL_ERROR),
    (raw(4, 0, 0, struct.pack(">HI", 5, 100)), PROTOCOL_ERROR),
])
def test_settings_that_cannot_be_end_the_connection(peer, frame, code):  # 6.5, 6.5.2
    peer.say(frame)
    peer.ends(code)


def test_clients_promise_nothing(peer):  # 6.6, 8.4
    head = peer.headers(POST, flags=["END_HEADERS"])
    peer.say(head, PushPromiseFrame(1, 2, peer.encoder.encode(GET), flags=["END_HEADERS"]))
    peer.ends(PROTOCOL_ERROR)


@pytest.mark.parametrize(("frame", "code"), [
    (raw(6, 0, 1, bytes(8)), PROTOCOL_ERROR),
    (raw(6, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
    (raw(7, 0, 1, bytes(8)), PROTOCOL_ERROR),
    (raw(8, 0, 0, bytes(4)), PROTOCOL_ERROR),
    (raw(8, 0, 0, bytes(3)), FRAME_SIZE_ERROR),
    (raw(9, 0x4, 1, b""), PROTOCOL_ERROR),
])
def test_frames_of_a_connection_have_their_length_and_their_place(peer, frame, code):  # 6.7 to 6.10
    peer.say(frame)
    peer.ends(code)


def test_a_window_does_not_grow_beyond_bounds(peer):  # 6.9.1
    peer.say(WindowUpdateFrame(0, (1 << 31) - 1), WindowUpdateFrame(0, (1 << 31) - 1))
    peer.ends(FLOW_CONTROL_ERROR)


def test_no_more_is_sent_than_there_is_a_window_for(peer):  # 6.9
    peer.say(SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 1}), peer.headers())
    assert peer.status() == "401"
    first = peer.until(lambda frame: isinstance(frame, DataFrame))
    assert len(first.data) == 1 and "END_STREAM" not in first.flags
    peer.lives()
    peer.say(WindowUpdateFrame(1, 10000))
    rest = peer.until(lambda frame: isinstance(frame, DataFrame))
    assert "END_STREAM" in rest.flags


@pytest.mark.parametrize("fields", [
    [*GET, ("Upper", "x")],
    [*GET, ("connection", "close")],
    [*GET, ("te", "gzip")],
    [*GET, ("transfer-encoding", "chunked")],
    [*GET, ("x\n", "y")],
    [*GET, ("x", "y\r\nz: w")],
    [*GET[1:], ("x", "y")],
    [*GET, (":path", "/again")],
    [*GET, (":status", "200")],
    [("x", "y"), *GET],
    [(":method", "GET"), (":scheme", "https"), (":path", ""), (":authority", NAME)],
    [*GET, ("host", "elsewhere.test")],
    [*GET, ("content-length", "5")],
])
def test_heads_that_are_malformed_get_nowhere(peer, fields):  # 8.2, 8.3
    peer.say(peer.headers(fields))
    over = peer.until(lambda frame: isinstance(frame, (RstStreamFrame, GoAwayFrame, HeadersFrame))
                      and getattr(frame, "error_code", 1) != 0)
    if isinstance(over, HeadersFrame):
        assert dict(peer.decoder.decode(over.data))[":status"] in ("400", "401")
    else:
        assert over is None or over.error_code == PROTOCOL_ERROR, over


def test_a_head_without_an_end_is_not_gathered_for_ever(peer):  # 10.5.1
    peer.say(peer.headers(flags=[]))
    for number in range(20000):
        peer.say(ContinuationFrame(1, peer.encoder.encode([(f"x-{number}", "y" * 100)])))
    peer.ends(PROTOCOL_ERROR, ENHANCE_YOUR_CALM, COMPRESSION_ERROR)


def test_empty_pieces_of_a_head_are_not_taken_for_ever(peer):  # 10.5
    peer.say(peer.headers(flags=[]), *[ContinuationFrame(1, b"")] * 20000)
    peer.ends(PROTOCOL_ERROR, ENHANCE_YOUR_CALM)


def test_streams_that_are_opened_and_reset_at_once_are_not_taken_for_ever(peer):  # 10.5
    for number in range(20000):
        stream = 1 + 2 * number
        peer.say(peer.headers(POST, stream=stream, flags=["END_HEADERS"]), RstStreamFrame(stream, error_code=8))
    peer.ends(ENHANCE_YOUR_CALM, PROTOCOL_ERROR)


def test_others_are_served_meanwhile(peer):
    for number in range(100):
        peer.say(peer.headers(POST, stream=1 + 2 * number, flags=["END_HEADERS"]))
    other = Peer()
    other.say(other.headers())
    assert other.status() == "401"
