"""A service of gRPC's, without a compiler: its messages are bytes."""

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import grpc

# By the names that callers give themselves: whether they have left.
left = defaultdict(Event)


def upper(request, context):
    context.send_initial_metadata([("x-early", "yes")])
    context.set_trailing_metadata([("x-late", "too"), ("x-late-bin", b"\x00\xff")])
    return request.upper()


def refuse(request, context):
    context.set_trailing_metadata([("x-why", "it was asked to")])
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: größer")


def count(request, context):
    yield from (str(number).encode() for number in range(int(request)))


def total(requests, context):
    return str(sum(len(request) for request in requests)).encode()


def echo(requests, context):
    name = dict(context.invocation_metadata()).get("x-name", "")
    context.add_callback(left[name].set)
    yield from requests


def when_left(request, context):
    left[request.decode()].wait()
    return b""


service = {
    "Upper": grpc.unary_unary_rpc_method_handler(upper),
    "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Echo": grpc.stream_stream_rpc_method_handler(echo),
    "WhenLeft": grpc.unary_unary_rpc_method_handler(when_left),
}
server = grpc.server(ThreadPoolExecutor(8))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("words.Words", service)])
server.add_insecure_port("[::]:50051")
server.start()
server.wait_for_termination()
