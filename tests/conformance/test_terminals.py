"""Terminals: made, connected, resized, left and found again."""

import asyncio
import hashlib
import re
import time

import pytest
from leap0 import AsyncLeap0Client, Leap0Error, Leap0NotFoundError
from websockets.exceptions import ConnectionClosedOK

SEEN_SECONDS_MAX = 30


def read_until(connection, pattern):
    """What comes, up to where the pattern is in it. A silence is ended by the test's own time limit."""
    seen, deadline = "", time.monotonic() + SEEN_SECONDS_MAX
    while not re.search(pattern, seen):
        assert time.monotonic() < deadline, seen
        message = connection.recv()
        assert len(message) <= 1024 * 1024
        seen += message.decode(errors="replace")
    return seen


@pytest.fixture
def terminal(sandbox):
    """Makes sessions that are gone after the test."""
    made = []

    def terminal(**fields):
        made.append(sandbox.pty.create(**fields))
        return made[-1]

    yield terminal
    for session in made:
        try:
            sandbox.pty.delete(session.id)
        except Leap0NotFoundError:
            pass


def test_a_shell_speaks_in_a_terminal(sandbox, terminal):
    connection = sandbox.pty.connect(terminal(cols=100, rows=30).id)
    connection.send("tty; stty size; echo $((6 * 7))\n")
    seen = read_until(connection, "42\r\n")
    assert "/dev/pts/" in seen and "30 100" in seen
    connection.send(b"exit 3\n")
    with pytest.raises(ConnectionClosedOK) as caught:
        while True:
            connection.recv()
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1000, "exit_code=3")


def test_a_session_says_what_it_is(sandbox, terminal):
    made = terminal(session_id="mine", cols=132, rows=43, cwd="/tmp", envs={"WHAT": "this"})
    found = sandbox.pty.get("mine")
    for session in (made, found, next(each for each in sandbox.pty.list() if each.id == "mine")):
        assert (session.id, session.cols, session.rows, session.cwd) == ("mine", 132, 43, "/tmp")
        assert (session.envs.get("WHAT"), session.lazy_start) == ("this", False)
        assert session.created_at
    connection = sandbox.pty.connect("mine")
    connection.send("pwd; echo $WHAT $TERM.\n")
    assert "/tmp\r\n" in read_until(connection, r"this .+\.\r\n")
    connection.close()


def test_a_session_needs_nothing_to_be_said(sandbox, terminal):
    session = terminal()
    assert session.id and session.cols > 0 and session.rows > 0
    assert session.id in [each.id for each in sandbox.pty.list()]


def test_the_program_hears_of_a_new_size(sandbox, terminal):
    session = terminal(cols=80, rows=24)
    connection = sandbox.pty.connect(session.id)
    connection.send("trap 'echo resized $(stty size).' WINCH; echo trap-is-set-$((1 + 1)).\n")
    read_until(connection, r"trap-is-set-2\.\r\n")
    resized = sandbox.pty.resize(session.id, cols=120, rows=50)
    assert (resized.cols, resized.rows) == (120, 50)
    # Shells run their traps around a command, and an empty line is none.
    connection.send(":\n")
    read_until(connection, "resized 50 120")
    assert sandbox.pty.get(session.id).cols == 120
    connection.close()


def test_a_key_is_a_signal(sandbox, terminal):
    connection = sandbox.pty.connect(terminal().id)
    # A program that itself says that it runs, and a shell that has taken the keyboard back: until then, keys are lost.
    connection.send("sed -u s/down/up/\ndown\n")
    read_until(connection, "up\r\n")
    connection.send(b"\x03")
    # Not every engine's terminals show the key as two letters.
    read_until(connection, r"(\^C|\x03)\r\n(.|\n)*\$ ")
    connection.send("echo alive $((1 + 1)).\n")
    read_until(connection, r"alive 2\.")
    connection.close()


def test_a_shell_outlives_its_connection(sandbox, terminal):
    session = terminal()
    connection = sandbox.pty.connect(session.id)
    connection.send("KEPT=42; echo set-it.\n")
    read_until(connection, r"set-it\.\r\n")
    connection.close()
    for _ in range(2):
        connection = sandbox.pty.connect(session.id)
        connection.send("echo kept-$KEPT.\n")
        read_until(connection, r"kept-42\.")
        connection.close()


def test_two_see_the_same(sandbox, terminal):
    session = terminal()
    one, two = sandbox.pty.connect(session.id), sandbox.pty.connect(session.id)
    one.send("echo $((40 + 2))-to-all.\n")
    for connection in (one, two):
        read_until(connection, r"42-to-all\.")
        connection.close()


def test_a_lazy_shell_begins_with_the_first_connection(sandbox, terminal):
    session = terminal(lazy_start=True, envs={"MARK": "lazy-mark"})
    assert session.lazy_start and not session.active
    running = "grep -lz '^MARK=lazy-mark' /proc/[0-9]*/environ 2>/dev/null | wc -l"
    assert sandbox.process.execute(command=running).stdout == "0\n"
    connection = sandbox.pty.connect(session.id)
    connection.send("echo $MARK.\n")
    read_until(connection, r"lazy-mark\.")
    assert sandbox.pty.get(session.id).active
    connection.close()


def test_a_deleted_session_is_gone_with_its_shell(sandbox, terminal):
    session = terminal()
    connection = sandbox.pty.connect(session.id)
    connection.send("echo pid-$$.\n")
    pid = re.search(r"pid-(\d+)\.", read_until(connection, r"pid-\d+\.")).group(1)
    sandbox.pty.delete(session.id)
    assert sandbox.process.execute(command=f"kill -0 {pid}").exit_code != 0
    with pytest.raises(Leap0NotFoundError):
        sandbox.pty.get(session.id)
    with pytest.raises(Leap0Error, match="404"):
        sandbox.pty.connect(session.id)


@pytest.mark.parametrize("name", ["my term/1", "ümläut", "a%2Fb", "dots..", "x" * 64])
def test_names_of_sessions_are_encoded(sandbox, terminal, name):
    assert terminal(session_id=name).id == name
    assert sandbox.pty.get(name).id == name
    connection = sandbox.pty.connect(name)
    connection.send("echo in $((1 + 1)).\n")
    read_until(connection, r"in 2\.")
    connection.close()
    assert sandbox.pty.resize(name, cols=90, rows=20).cols == 90
    sandbox.pty.delete(name)
    assert name not in [each.id for each in sandbox.pty.list()]


def test_much_output_is_whole_and_in_frames_that_clients_take(sandbox, terminal):
    connection = sandbox.pty.connect(terminal(cols=200).id)
    connection.send("stty -echo; PS1=; head -c 3000000 /dev/zero | tr '\\0' x; echo END-OF-IT\n")
    seen = read_until(connection, "x\r?\n?END-OF-IT")
    assert max(len(run) for run in re.findall("x+", seen)) == 3_000_000
    connection.close()


def test_a_large_paste_arrives_whole(sandbox, terminal):
    connection = sandbox.pty.connect(terminal().id)
    connection.send("stty raw -echo; echo ready-for-it; head -c 200000 | md5sum; stty sane\n")
    read_until(connection, "ready-for-it\n")
    connection.send(b"y" * 200_000)
    assert hashlib.md5(b"y" * 200_000).hexdigest() in read_until(connection, r"[0-9a-f]{32}  -")
    connection.close()


async def test_terminals_of_the_asynchronous_client():
    async with AsyncLeap0Client() as client:
        sandbox = await client.sandboxes.create()
        try:
            sessions = [await sandbox.pty.create() for _ in range(4)]
            connections = await asyncio.gather(*(sandbox.pty.connect(session.id) for session in sessions))

            async def speak(number, connection):
                await connection.send(f"echo $(({number} * 1000))-there.\n")
                seen = ""
                while f"{number * 1000}-there." not in seen:
                    seen += (await asyncio.wait_for(connection.recv(), SEEN_SECONDS_MAX)).decode()
                await connection.close()

            await asyncio.gather(*(speak(number, each) for number, each in enumerate(connections, 1)))
        finally:
            await sandbox.delete()
