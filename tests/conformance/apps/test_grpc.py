"""gRPC, with all four kinds of calls, asked by gRPC's own client."""

import queue

import grpc
import pytest

from conftest import CA, DOOR, KEY

METADATA = [("authorization", f"Bearer {KEY}")]
SECONDS_MAX = 60


@pytest.fixture(scope="module")
def channel(rpc):
    with open(CA, "rb") as ca:
        trust = grpc.ssl_channel_credentials(ca.read())
    # The name of the app at an address that needs no name.
    options = [("grpc.ssl_target_name_override", rpc.host), ("grpc.default_authority", rpc.host)]
    with grpc.secure_channel(DOOR, trust, options) as channel:
        yield channel


def call(kind, name):
    return lambda request, **how: kind(f"/words.Words/{name}")(
        request, **{"metadata": METADATA, "timeout": SECONDS_MAX, **how}
    )


def test_a_call_has_metadata_before_and_after_its_answer(channel):
    answer, ended = channel.unary_unary("/words.Words/Upper").with_call(b"word", metadata=METADATA)
    assert answer == b"WORD"
    assert ("x-early", "yes") in ended.initial_metadata()
    assert {("x-late", "too"), ("x-late-bin", b"\x00\xff")} <= set(ended.trailing_metadata())
    assert ended.code() == grpc.StatusCode.OK


def test_a_call_that_fails_says_why(channel):
    with pytest.raises(grpc.RpcError) as failed:
        call(channel.unary_unary, "Refuse")(b"")
    assert failed.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert failed.value.details() == "not now: größer"
    assert ("x-why", "it was asked to") in failed.value.trailing_metadata()
    with pytest.raises(grpc.RpcError) as failed:
        call(channel.unary_unary, "Unknown")(b"")
    assert failed.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_stranger_is_told_that_it_is_one(channel):
    with pytest.raises(grpc.RpcError) as failed:
        call(channel.unary_unary, "Upper")(b"", metadata=[])
    assert failed.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_server_streams(channel):
    counted = list(call(channel.unary_stream, "Count")(b"1000"))
    assert counted == [str(number).encode() for number in range(1000)]


def test_a_client_streams(channel):
    pieces = (bytes(64 * 1024) for _ in range(128))
    assert call(channel.stream_unary, "Total")(pieces) == str(8 * 1024 * 1024).encode()


def test_both_stream_and_each_hears_the_other_at_once(channel):
    words = queue.Queue()
    answers = call(channel.stream_stream, "Echo")(iter(words.get, None))
    for word in (b"one", b"two", b"three"):
        words.put(word)
        assert next(answers) == word
    words.put(None)
    assert list(answers) == [] and answers.code() == grpc.StatusCode.OK


def test_the_service_learns_that_a_caller_has_left(channel):
    words = queue.Queue()
    metadata = [*METADATA, ("x-name", "leaver")]
    answers = call(channel.stream_stream, "Echo")(iter(words.get, None), metadata=metadata)
    words.put(b"one")
    assert next(answers) == b"one"
    answers.cancel()
    words.put(None)
    call(channel.unary_unary, "WhenLeft")(b"leaver")
