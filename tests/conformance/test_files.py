"""Files: every operation of the SDK, with bytes and names as people have them."""

import os
import time

import pytest
from leap0 import FileEdit, Leap0ConflictError, Leap0Error, Leap0NotFoundError

MIB = 1024 * 1024

# In the path of a query, the body of a form, JSON, a header and a shell, each of these has been known to go wrong.
ODD_NAMES = [
    "two words",
    " leading and trailing ",
    "quo\"te's",
    "back\\slash",
    "percent%20 %22 %",
    "plus+and&equals=?#;",
    "line\nbreak",
    "carriage\rreturn",
    "tab\there",
    "ümläut-日本-🦀",
    "-rf",
    "*[a]?{b}",
    "$HOME `id` $(id)",
    "x" * 255,
]


def names(paths):
    return [os.path.basename(path) for path in paths]


def test_text_is_written_and_read(sandbox, home):
    sandbox.filesystem.write_file(path=f"{home}/a", content="zwei\nZeilen 🦀\n")
    assert sandbox.filesystem.read_file(path=f"{home}/a") == "zwei\nZeilen 🦀\n"
    assert sandbox.process.execute(command=f"cat {home}/a").stdout == "zwei\nZeilen 🦀\n"
    sandbox.filesystem.write_file(path=f"{home}/a", content="kürzer", encoding="latin-1")
    assert sandbox.filesystem.read_file(path=f"{home}/a", encoding="latin-1") == "kürzer"


@pytest.mark.parametrize("content", [b"", b"\0", bytes(range(256)) * 40, b"\r\n--boundary--\r\n\r\n"], ids=len)
def test_bytes_are_what_they_were(sandbox, home, content):
    sandbox.filesystem.write_bytes(path=f"{home}/one", content=content)
    assert sandbox.filesystem.read_bytes(path=f"{home}/one") == content
    sandbox.filesystem.write_files_bytes(files={f"{home}/more": content, f"{home}/still": b"x" + content})
    read = sandbox.filesystem.read_files_bytes(paths=[f"{home}/more", f"{home}/still"])
    assert read == {f"{home}/more": content, f"{home}/still": b"x" + content}


def test_ten_mebibytes_are_no_trouble(sandbox, home):
    content = os.urandom(10 * MIB)
    sandbox.filesystem.write_bytes(path=f"{home}/big", content=content)
    # Compared without printing: a failure need not show megabytes.
    one = sandbox.filesystem.read_bytes(path=f"{home}/big") == content
    sandbox.filesystem.write_files_bytes(files={f"{home}/form": content})
    many = sandbox.filesystem.read_files_bytes(paths=[f"{home}/form"])[f"{home}/form"] == content
    assert one and many
    assert sandbox.process.execute(command=f"cmp {home}/big {home}/form").exit_code == 0


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_are_what_they_were(sandbox, home, name):
    path, other = f"{home}/{name}", f"{home}/other/{name}"
    sandbox.filesystem.write_bytes(path=path, content=b"one")
    assert sandbox.filesystem.read_bytes(path=path) == b"one"
    [item] = sandbox.filesystem.ls(path=home).items
    assert (item.name, item.path, item.size) == (name, path, 3)
    assert sandbox.filesystem.stat(path=path).name == name
    sandbox.filesystem.mkdir(path=f"{home}/other")
    sandbox.filesystem.copy(src_path=path, dst_path=other)
    assert sandbox.filesystem.exists(path=other)
    assert [(match.path, match.line) for match in sandbox.filesystem.grep(path=home, pattern="one")].count((path, 1))
    assert path in sandbox.filesystem.glob(path=home, pattern="*")
    assert name in [entry.name for entry in sandbox.filesystem.tree(path=home).items]
    sandbox.filesystem.delete(path=path)
    assert not sandbox.filesystem.exists(path=path)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_in_forms_are_what_they_were(sandbox, home, name):
    # httpx writes a quote in a field's name as %22 and leaves a percent sign alone: which of both it was is lost.
    if "%22" in name:
        name = name.replace("%22", "")
    path = f"{home}/{name}"
    sandbox.filesystem.write_files(files={path: "in a form"})
    assert [item.name for item in sandbox.filesystem.ls(path=home).items] == [name]
    # The client reads headers as ASCII in one line each: other names it cannot be told.
    if name.isascii() and name.isprintable():
        assert sandbox.filesystem.read_files(paths=[path]) == {path: "in a form"}


def test_relative_paths_begin_in_the_working_directory(sandbox):
    sandbox.filesystem.write_file(path="beside/me", content="x")
    assert sandbox.filesystem.stat(path="/workspace/beside/me").path == "/workspace/beside/me"
    assert sandbox.filesystem.ls(path="beside").items[0].path == "/workspace/beside/me"
    sandbox.filesystem.delete(path="beside", recursive=True)


def test_missing_directories_are_made_for_a_file(sandbox, home):
    sandbox.filesystem.write_file(path=f"{home}/a/b/c", content="x", permissions="640")
    sandbox.filesystem.write_files(files={f"{home}/d/e": "y", f"{home}/d/f/g": "z"})
    told = sandbox.process.execute(command=f"cd {home}; stat -c '%a %U %n' a/b/c d d/e").stdout
    assert told == "640 user a/b/c\n755 user d\n644 user d/e\n"


def test_a_file_keeps_its_permissions_when_it_is_written_again(sandbox, home):
    path = f"{home}/script"
    sandbox.filesystem.write_file(path=path, content="echo one", permissions="755")
    sandbox.filesystem.write_file(path=path, content="echo two")
    assert sandbox.filesystem.stat(path=path).mode == "755"
    assert sandbox.process.execute(command=path).stdout == "two\n"


def test_parts_of_files_are_read(sandbox, home):
    path = f"{home}/lines"
    sandbox.filesystem.write_file(path=path, content="".join(f"line {n}\n" for n in range(1, 1001)))
    for part, expected in (
        ({"offset": 7, "limit": 6}, "line 2"),
        ({"offset": 10_000_000}, ""),
        ({"limit": 4}, "line"),
        ({"head": 2}, "line 1\nline 2\n"),
        ({"tail": 2}, "line 999\nline 1000\n"),
        ({"head": 0}, ""),
        ({"head": 5000}, None),
        ({"tail": 5000}, None),
    ):
        whole = sandbox.filesystem.read_file(path=path)
        assert sandbox.filesystem.read_file(path=path, **part) == (whole if expected is None else expected), part
    sandbox.filesystem.write_file(path=path, content="no end")
    assert sandbox.filesystem.read_file(path=path, tail=1) == "no end"


def test_a_file_says_what_it_is(sandbox, home):
    before = time.time()
    sandbox.filesystem.write_file(path=f"{home}/file", content="12345", permissions="604")
    sandbox.process.execute(command=f"cd {home}; ln -s file link; ln -s nowhere broken; mkdir -m 750 dir")
    file = sandbox.filesystem.stat(path=f"{home}/file")
    assert (file.name, file.path, file.size, file.mode) == ("file", f"{home}/file", 5, "604")
    assert (file.owner, file.group, file.is_dir, file.is_symlink) == ("user", "user", False, False)
    assert abs(file.mtime - before) < 60
    directory = sandbox.filesystem.stat(path=f"{home}/dir")
    assert (directory.is_dir, directory.mode) == (True, "750")
    for name, target in (("link", "file"), ("broken", "nowhere")):
        link = next(item for item in sandbox.filesystem.ls(path=home).items if item.name == name)
        assert (link.is_symlink, link.link_target, link.is_dir) == (True, target, False)


def test_directories_are_listed(sandbox, home):
    sandbox.filesystem.write_files(files={f"{home}/b": "", f"{home}/d/c": "", f"{home}/.git/x": "", f"{home}/a.pyc": ""})
    assert sorted(names(item.path for item in sandbox.filesystem.ls(path=home).items)) == [".git", "a.pyc", "b", "d"]
    deep = sandbox.filesystem.ls(path=home, recursive=True, exclude=[".git", "*.pyc"])
    assert sorted(item.path for item in deep.items) == [f"{home}/b", f"{home}/d", f"{home}/d/c"]


def test_directories_are_made(sandbox, home):
    sandbox.filesystem.mkdir(path=f"{home}/a", permissions="700")
    assert sandbox.filesystem.stat(path=f"{home}/a").mode == "700"
    sandbox.filesystem.mkdir(path=f"{home}/b")
    assert sandbox.filesystem.stat(path=f"{home}/b").mode == "755"
    with pytest.raises(Leap0ConflictError):
        sandbox.filesystem.mkdir(path=f"{home}/a")
    with pytest.raises(Leap0NotFoundError):
        sandbox.filesystem.mkdir(path=f"{home}/c/d/e")
    for _ in range(2):
        sandbox.filesystem.mkdir(path=f"{home}/c/d/e", recursive=True)


def test_what_is_deleted_is_gone(sandbox, home):
    sandbox.filesystem.write_files(files={f"{home}/a": "", f"{home}/d/b": ""})
    sandbox.filesystem.mkdir(path=f"{home}/empty")
    for path in ("a", "empty"):
        sandbox.filesystem.delete(path=f"{home}/{path}")
    with pytest.raises(Leap0Error):
        sandbox.filesystem.delete(path=f"{home}/d")
    sandbox.filesystem.delete(path=f"{home}/d", recursive=True)
    assert sandbox.filesystem.ls(path=home).items == []


def test_a_deleted_link_takes_nothing_with_it(sandbox, home):
    sandbox.filesystem.write_file(path=f"{home}/d/kept", content="x")
    sandbox.process.execute(command=f"ln -s {home}/d {home}/link")
    sandbox.filesystem.delete(path=f"{home}/link", recursive=True)
    assert sandbox.filesystem.exists(path=f"{home}/d/kept")


def test_permissions_are_set(sandbox, home):
    path = f"{home}/file"
    sandbox.filesystem.write_file(path=path, content="x")
    for mode, told in (("0600", "600"), ("755", "755"), ("000", "0")):
        sandbox.filesystem.set_permissions(path=path, mode=mode)
        assert sandbox.process.execute(command=f"stat -c %a {path}").stdout == f"{told}\n"
    sandbox.filesystem.set_permissions(path=path, owner="user", group="user")
    with pytest.raises(Leap0Error):
        sandbox.filesystem.set_permissions(path=path, mode="rwx")
    with pytest.raises(Leap0Error):
        sandbox.filesystem.set_permissions(path=path, owner="nobody-of-that-name")


def test_names_are_found_by_patterns(sandbox, home):
    sandbox.filesystem.write_files(files={f"{home}/{name}": "" for name in ("a.py", "b.txt", "d/c.py", "d/e/f.py", "x/g.py")})

    def found(pattern, **more):
        return sorted(os.path.relpath(path, home) for path in sandbox.filesystem.glob(path=home, pattern=pattern, **more))

    assert found("*.py") == ["a.py", "d/c.py", "d/e/f.py", "x/g.py"]
    assert found("**/*.py") == ["a.py", "d/c.py", "d/e/f.py", "x/g.py"]
    assert found("d/*.py") == ["d/c.py"]
    assert found("d/**/*.py") == ["d/c.py", "d/e/f.py"]
    assert found("[ab].*") == ["a.py", "b.txt"]
    assert found("*.py", exclude=["d"]) == ["a.py", "x/g.py"]
    assert found("nothing*") == []


def test_text_is_found_in_files(sandbox, home):
    sandbox.filesystem.write_files_bytes(
        files={
            f"{home}/a.py": b"x = 1\nneedle = f(a.*b)\n",
            f"{home}/b.txt": b"needle\nhay\nneedle two\n",
            f"{home}/d/c.py": "nädel needle ü\n".encode(),
            f"{home}/binary": b"\0\1needle\n",
        }
    )

    def found(pattern, **more):
        matches = sandbox.filesystem.grep(path=home, pattern=pattern, **more)
        return sorted((os.path.relpath(match.path, home), match.line, match.content) for match in matches)

    assert found("needle") == [
        ("a.py", 2, "needle = f(a.*b)"),
        ("b.txt", 1, "needle"),
        ("b.txt", 3, "needle two"),
        ("d/c.py", 1, "nädel needle ü"),
    ]
    assert found("needle", include="*.py", exclude=["d"]) == [("a.py", 2, "needle = f(a.*b)")]
    assert found("f(a.*b)") == [("a.py", 2, "needle = f(a.*b)")], "the pattern is text"
    assert found("not there") == []


def test_a_file_is_edited(sandbox, home):
    path = f"{home}/main.py"
    sandbox.filesystem.write_file(path=path, content="import os\n\nname = 'a'\nprint(name, name)\n", permissions="755")
    edits = [FileEdit("name", "label"), FileEdit("import os\n\n"), FileEdit("not there", "x")]
    done = sandbox.filesystem.edit_file(path=path, edits=edits)
    assert done.replacements == 4
    assert {"-import os", "-name = 'a'", "+label = 'a'", "+print(label, label)"} <= set(done.diff.splitlines())
    assert sandbox.filesystem.read_file(path=path) == "label = 'a'\nprint(label, label)\n"
    assert sandbox.filesystem.stat(path=path).mode == "755"
    unchanged = sandbox.filesystem.edit_file(path=path, edits=[FileEdit("not there", "x")])
    assert (unchanged.replacements, unchanged.diff) == (0, "")


def test_files_are_edited_together(sandbox, home):
    sandbox.filesystem.write_files(files={f"{home}/a": "old old", f"{home}/b": "an old one"})
    paths = [f"{home}/a", f"{home}/b", f"{home}/missing"]
    done = sandbox.filesystem.edit_files(paths=paths, find="old", replace="new")
    assert [(each.file, each.success) for each in done] == list(zip(paths, (True, True, False)))
    assert done[2].error and not done[0].error
    assert sandbox.filesystem.read_files(paths=paths[:2]) == {paths[0]: "new new", paths[1]: "an new one"}


def test_files_and_directories_are_moved(sandbox, home):
    sandbox.filesystem.write_files(files={f"{home}/a": "a", f"{home}/b": "b", f"{home}/d/c": "c"})
    sandbox.filesystem.move(src_path=f"{home}/d", dst_path=f"{home}/e")
    assert sandbox.filesystem.read_file(path=f"{home}/e/c") == "c"
    with pytest.raises(Leap0ConflictError):
        sandbox.filesystem.move(src_path=f"{home}/a", dst_path=f"{home}/b")
    sandbox.filesystem.move(src_path=f"{home}/a", dst_path=f"{home}/b", overwrite=True)
    assert sandbox.filesystem.read_file(path=f"{home}/b") == "a"
    assert not sandbox.filesystem.exists(path=f"{home}/a") and not sandbox.filesystem.exists(path=f"{home}/d")


def test_files_are_moved_between_file_systems(sandbox, home):
    sandbox.filesystem.write_files(files={"/tmp/moved/a": "a", "/tmp/moved/d/b": "b"})
    sandbox.filesystem.move(src_path="/tmp/moved", dst_path=f"{home}/moved")
    assert sandbox.filesystem.read_file(path=f"{home}/moved/d/b") == "b"
    assert not sandbox.filesystem.exists(path="/tmp/moved")


def test_files_and_directories_are_copied(sandbox, home):
    sandbox.filesystem.write_file(path=f"{home}/d/e/a", content="a", permissions="700")
    with pytest.raises(Leap0Error):
        sandbox.filesystem.copy(src_path=f"{home}/d", dst_path=f"{home}/f")
    sandbox.filesystem.copy(src_path=f"{home}/d", dst_path=f"{home}/f", recursive=True)
    assert sandbox.filesystem.stat(path=f"{home}/f/e/a").mode == "700"
    sandbox.filesystem.write_file(path=f"{home}/g", content="g")
    with pytest.raises(Leap0ConflictError):
        sandbox.filesystem.copy(src_path=f"{home}/g", dst_path=f"{home}/f/e/a")
    sandbox.filesystem.copy(src_path=f"{home}/g", dst_path=f"{home}/f/e/a", overwrite=True)
    assert sandbox.filesystem.read_file(path=f"{home}/f/e/a") == "g"
    assert sandbox.filesystem.read_file(path=f"{home}/d/e/a") == "a"


def test_a_tree_is_drawn(sandbox, home):
    sandbox.filesystem.write_files(files={f"{home}/a": "", f"{home}/d/e/f": "", f"{home}/d/b": "", f"{home}/.git/x": ""})
    sandbox.filesystem.mkdir(path=f"{home}/empty")

    def drawn(entries):
        return {entry.name: drawn(entry.children) if entry.type == "directory" else entry.type for entry in entries}

    tree = sandbox.filesystem.tree(path=home, exclude=[".git"])
    assert drawn(tree.items) == {"a": "file", "d": {"b": "file", "e": {"f": "file"}}, "empty": {}}
    assert drawn(sandbox.filesystem.tree(path=home, max_depth=1, exclude=[".git"]).items) == {"a": "file", "d": {}, "empty": {}}


def test_a_directory_is_not_read_as_a_file(sandbox, home):
    with pytest.raises(Leap0Error, match="(?i)is a directory") as caught:
        sandbox.filesystem.read_bytes(path=home)
    assert caught.value.status_code == 400
    with pytest.raises(Leap0Error):
        sandbox.filesystem.write_bytes(path=home, content=b"x")


def test_a_file_is_listed_as_itself(sandbox, home):
    sandbox.filesystem.write_file(path=f"{home}/file", content="x")
    [item] = sandbox.filesystem.ls(path=f"{home}/file").items
    assert (item.name, item.path, item.is_dir, item.size) == ("file", f"{home}/file", False, 1)


def test_a_form_without_files_is_nothing_to_do(sandbox):
    sandbox.filesystem.write_files_bytes(files={})


def test_many_files_at_once(sandbox, home):
    files = {f"{home}/{n // 50}/{n}": f"content {n}" for n in range(500)}
    sandbox.filesystem.write_files(files=files)
    assert sandbox.filesystem.read_files(paths=list(files)) == files
    assert len(sandbox.filesystem.ls(path=home, recursive=True).items) == 510
