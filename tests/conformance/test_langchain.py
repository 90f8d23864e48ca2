"""LangChain's Deep Agents on a sandbox: the standard tests of its kind, and what an agent does beyond them."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_leap0 import Leap0Sandbox
from langchain_tests.integration_tests.sandboxes import SandboxIntegrationTests
from leap0 import Leap0Client


@pytest.fixture(scope="module")
def backend():
    """What an agent is given."""
    with Leap0Client() as client:
        sandbox = client.sandboxes.create(timeout=1800)
        yield Leap0Sandbox(client=client, sandbox=sandbox)
        sandbox.delete()


class TestStandard(SandboxIntegrationTests):
    """The tests that LangChain asks every sandbox to pass."""

    @pytest.fixture(scope="class")
    def sandbox(self, backend):
        return backend


@pytest.fixture
def place(backend, request):
    path = "/workspace/" + hashlib.sha1(request.node.name.encode()).hexdigest()[:12]
    assert backend.execute(f"mkdir {path}").exit_code == 0
    return path


def test_commands_have_half_an_hour_unless_told(backend):
    assert backend._default_timeout == 1800
    ended = backend.execute("echo out; echo err >&2; exit 9")
    assert (ended.output, ended.exit_code, ended.truncated) == ("out\n\nerr\n", 9, False)
    assert backend.execute("sleep 60", timeout=1).exit_code == 124


def test_a_file_is_written_once_read_in_pages_and_edited(backend, place):
    path, lines = f"{place}/deep/er/notes.md", [f"line {n}: 'quotes' \"and\" $HOME `id` \\n 🦀" for n in range(3000)]
    assert backend.write(path, "\n".join(lines)).error is None
    assert "already exists" in backend.write(path, "again").error
    assert lines[0] in backend.read(path) and lines[2000] not in backend.read(path)
    assert lines[2999] in backend.read(path, offset=2990, limit=100)
    assert "not found" in backend.read(f"{place}/missing")
    assert backend.edit(path, "line 7:", "LINE 7:").occurrences == 1
    assert "multiple times" in backend.edit(path, "line", "LINE").error
    assert backend.edit(path, "line", "LINE", replace_all=True).occurrences == 2999
    assert "not found" in backend.edit(path, "not there", "x").error


def test_a_command_of_many_megabytes_is_taken(backend, place):
    content = "\n".join(f"{n:08d}" + "x" * 90 for n in range(30_000))
    assert backend.write(f"{place}/large", content).error is None
    [read] = backend.download_files([f"{place}/large"])
    same = read.content == content.encode()
    assert same


def test_names_and_text_are_found(backend, place):
    for name in ("a.py", "b.txt", "sub/c.py", ".hidden.py"):
        assert backend.write(f"{place}/{name}", f"first\nneedle (a|b) in {name}\n").error is None
    assert [item["path"] for item in backend.glob_info("**/*.py", path=place)] == ["a.py", "sub/c.py"]
    listed = {item["path"]: item["is_dir"] for item in backend.ls_info(place)}
    assert listed[f"{place}/sub"] and not listed[f"{place}/a.py"] and len(listed) == 4
    found = backend.grep_raw("(a|b)", path=place, glob="*.py")
    assert sorted((match["path"], match["line"]) for match in found) == [
        (f"{place}/.hidden.py", 2),
        (f"{place}/a.py", 2),
        (f"{place}/sub/c.py", 2),
    ]
    assert backend.ls_info(f"{place}/missing") == []


def test_ten_mebibytes_go_up_and_come_down(backend, place):
    content = b"0123456789abcdef" * 640 * 1024
    [up] = backend.upload_files([(f"{place}/new/large.bin", content)])
    assert up.error is None
    assert backend.execute(f"wc -c < {place}/new/large.bin").output.strip() == str(len(content))
    [down] = backend.download_files([f"{place}/new/large.bin"])
    same = down.content == content
    assert down.error is None and same


def test_each_file_fails_alone_and_says_how(backend, place):
    backend.execute(f"cd {place} && echo s > secret && chmod 000 secret && mkdir dir && mkdir -m 500 closed")
    down = backend.download_files([f"{place}/secret", f"{place}/missing", f"{place}/dir", "relative", "/etc/hostname"])
    assert [each.error for each in down] == [
        "permission_denied",
        "file_not_found",
        "is_directory",
        "invalid_path",
        None,
    ]
    up = backend.upload_files([(f"{place}/closed/x", b"x"), (f"{place}/dir", b"x"), (f"{place}/fine", b"x")])
    assert [each.error for each in up] == ["permission_denied", "is_directory", None]


def test_five_commands_with_half_a_megabyte_of_output_at_once(backend):
    command = "python -c \"import sys; sys.stdout.write('x' * (500 * 1024))\""
    with ThreadPoolExecutor(5) as pool:
        ended = list(pool.map(lambda _: backend.execute(command), range(5)))
    assert [(end.exit_code, len(end.output)) for end in ended] == [(0, 500 * 1024)] * 5


async def test_an_agent_that_does_not_block(backend, place):
    assert (await backend.awrite(f"{place}/a", "one\ntwo\n")).error is None
    assert "two" in await backend.aread(f"{place}/a")
    assert (await backend.aexecute(f"wc -l < {place}/a")).output.strip() == "2"
    assert [each.content for each in await backend.adownload_files([f"{place}/a"])] == [b"one\ntwo\n"]


def test_the_template_has_what_agents_reach_for(backend):
    for tool in ("python", "python3", "grep", "git", "curl", "sh", "bash", "find", "sed", "awk", "tar", "ps"):
        assert backend.execute(f"command -v {tool}").exit_code == 0, tool
