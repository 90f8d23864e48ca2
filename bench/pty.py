#!/usr/bin/env python3
"""How long a key takes to show: a byte sent over the WebSocket of a terminal, and its echo.

Once echoed by the terminal itself, while a program reads it, and once by bash, which draws its line anew.
"""

import argparse
import time

import kit
from wire import Wire

# A fast typist's pause, so that no key waits for the one before.
PAUSE_SECONDS = 0.02
KEYS = b"abcdefghijklmnopqrstuvwxyz"
LINE_KEYS_MAX = 60


def connect_terminal(wire, sandbox, **fields):
    session = wire.post(f"/v1/sandbox/{sandbox}/pty", cols=200, rows=50, **fields)
    wire.upgrade(f"/v1/sandbox/{sandbox}/pty/{session['id']}/connect")


def read_until(wire, wanted):
    seen = b""
    while wanted not in seen:
        seen += wire.receive_frame()


def type_keys(wire, count):
    """Milliseconds of each key."""
    times = []
    for number in range(count):
        if number % LINE_KEYS_MAX == LINE_KEYS_MAX - 1:
            # Before the line is full and drawn otherwise; ^U forgets it, and shows no letter.
            wire.send_frame(b"\x15")
        time.sleep(PAUSE_SECONDS)
        key = KEYS[number % len(KEYS)].to_bytes()
        milliseconds, _ = kit.timed(lambda: (wire.send_frame(key), read_until(wire, key)))
        times.append(milliseconds)
    return times


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("-n", type=int, default=1000, help="keys, after 20 that are not counted")
    keys = arguments.parse_args().n + 20
    figures = {}
    with kit.server() as connect:
        client = connect()
        sandbox = client.create(timeout=28800)
        for name, command in (("terminal", "cat > /dev/null"), ("bash", "TERM=dumb PS1='> ' exec bash --norc -i")):
            wire = Wire(client.connection.port, client.headers["authorization"])
            connect_terminal(wire, sandbox)
            wire.send_frame(f"echo ready-$((40 + 2)); {command}\n".encode())
            read_until(wire, b"ready-42")
            figures[name] = kit.summary(type_keys(wire, keys)[20:])
        client.delete(sandbox)
    kit.report("pty", {"unit": "ms", "pause_seconds": PAUSE_SECONDS, "echo": figures})


if __name__ == "__main__":
    main()
