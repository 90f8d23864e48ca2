"""Commands, as `process.execute` runs them."""

import asyncio
import time

import pytest
from leap0 import AsyncLeap0Client, Leap0Error


def test_a_command_is_told_by_its_output_and_its_exit_code(sandbox):
    ended = sandbox.process.execute(command="echo out; echo err >&2; exit 3")
    assert (ended.exit_code, ended.stdout, ended.stderr) == (3, "out\n", "err\n")


def test_a_command_runs_where_and_with_what_it_was_told(sandbox):
    ended = sandbox.process.execute(command="pwd; echo $WHAT", cwd="/tmp", env={"WHAT": "näh 'quoted'"})
    assert ended.stdout == "/tmp\nnäh 'quoted'\n"
    with pytest.raises(Leap0Error, match="/no/such"):
        sandbox.process.execute(command="true", cwd="/no/such")


def test_a_shell_runs_it_as_the_user_of_the_sandbox(sandbox):
    ended = sandbox.process.execute(command="id -un; ps -o comm= -p $$; set -- a b; echo $#")
    assert ended.stdout.splitlines() == ["user", "sh", "2"]


def test_a_command_that_takes_too_long_is_stopped_with_all_it_started(sandbox):
    began = time.monotonic()
    ended = sandbox.process.execute(command="echo begun; sleep 987 & sleep 987", timeout=1)
    assert (ended.exit_code, ended.stdout) == (124, "begun\n")
    assert time.monotonic() - began < 30
    assert sandbox.process.execute(command="ps -eo args").stdout.count("sleep 987") == 0


def test_a_child_in_the_background_does_not_hold_the_answer(sandbox):
    ended = sandbox.process.execute(command="sleep 100 & echo $!")
    assert sandbox.process.execute(command=f"kill {ended.stdout.strip()}").exit_code == 0


def test_standard_input_is_at_its_end(sandbox):
    assert sandbox.process.execute(command="cat; echo done", timeout=10).stdout == "done\n"


def test_output_that_is_no_text_is_read_as_well_as_it_can_be(sandbox):
    assert sandbox.process.execute(command=r"printf 'a\377b\000c'").stdout == "a\ufffdb\0c"


def test_long_commands_and_much_output_are_whole(sandbox):
    text = "0123456789abcdef" * 64 * 1024
    ended = sandbox.process.execute(command=f"cat <<'END'\n{text}\nEND\necho {'x' * 200_000} >&2", timeout=60)
    # Compared without printing: a failure need not show megabytes.
    assert (ended.exit_code, len(ended.stdout), len(ended.stderr)) == (0, len(text) + 1, 200_001)
    same = ended.stdout == text + "\n"
    assert same


def test_line_ends_of_other_worlds_arrive(sandbox):
    text = "a\u0085b\u2028c\u2029d\r\ne\u0000f"
    sandbox.filesystem.write_file(path="/tmp/lines", content=text)
    assert sandbox.process.execute(command="cat /tmp/lines").stdout == text


def test_a_command_longer_than_the_patience_of_the_client_is_kept_alive(connect, sandbox):
    hasty = connect(timeout=9)
    ended = hasty.get_sandbox(sandbox.id).process.execute(command="sleep 12; echo still here; exit 5", timeout=60)
    assert (ended.exit_code, ended.stdout) == (5, "still here\n")


async def test_many_commands_run_at_once():
    async with AsyncLeap0Client() as client:
        sandbox = await client.sandboxes.create()
        try:
            commands = [f"sleep 0.5; echo {number}; exit {number}" for number in range(32)]
            began = time.monotonic()
            ended = await asyncio.gather(*(sandbox.process.execute(command=command) for command in commands))
            seconds = time.monotonic() - began
        finally:
            await sandbox.delete()
    assert [(end.exit_code, end.stdout) for end in ended] == [(n, f"{n}\n") for n in range(32)]
    assert seconds < 32 * 0.5, "they ran one after the other"
