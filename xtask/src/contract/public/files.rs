//! Files in a sandbox.

use serde_json::json;
use wire::public::file::*;
use wire::public::schema::{Mode, Path};
use wire::public::watch::{WatchEvent, WatchEventKind, WatchFiles};

use super::Noun;
use super::failures::INSIDE;
use super::operation::{Operation, post};
use super::sandboxes::of_one;

const DIRECTORY: &str = "/workspace/src";
const FILE: &str = "/workspace/src/main.py";

pub fn noun() -> Noun {
    Noun {
        tag: "Files",
        text: "Files of a sandbox, read and written as the sandbox's user. Relative paths begin at the template's working directory, and no path leads out of the sandbox.\n\nShell patterns know `*`, `?`, `[a-z]`, `{this,that}` and `**`. One without `/` is about names, at any depth; one with `/` about paths below the directory that is asked about, or whole paths, if it begins with `/`; one that ends in `/` about directories alone.\n\nLists are written out while they are found: where nothing is found for a while they go on with spaces, which are white space to JSON, and where a walk fails they break off. What the user may not enter is left out.",
        operations: vec![
            write_file(),
            read_file(),
            write_files(),
            read_files(),
            list(),
            glob(),
            grep(),
            tree(),
            watch(),
            stat(),
            exists(),
            make_directory(),
            delete(),
            set_permissions(),
            relocate(),
            copy(),
            edit(),
            edit_all(),
        ],
    }
}

fn path(path: &str) -> String {
    path.to_owned()
}

fn write_file() -> Operation {
    of_one(post("/v1/sandbox/{sandbox_id}/filesystem/write-file", "write_file", "Write a file"))
        .says("The body is the file. It appears whole or not at all; directories that are missing are made.")
        .in_query_always::<Path>("path", "Where to write it.", "/workspace/hello.txt")
        .in_query::<Mode>("permissions", "Its permission bits, in octal. Absent: those it has, or 644.")
        .takes_raw(false, "application/octet-stream", |_| json!({ "type": "string", "format": "binary" }))
        .answers_nothing(204, "It is written.")
        .fails(INSIDE)
}

fn read_file() -> Operation {
    let example = ReadFile { path: path("/workspace/hello.txt"), ..ReadFile::default() };
    of_one(post("/v1/sandbox/{sandbox_id}/filesystem/read-file", "read_file", "Read a file"))
        .says("All of it, a range of its bytes (`offset`, `limit`), or its first or last lines (`head`, `tail`). The answer breaks off if the file cannot be read to its end.")
        .takes(&example)
        .answers_raw(200, "The bytes.", "application/octet-stream", |_| json!({ "type": "string", "format": "binary" }))
        .fails(INSIDE)
}

fn write_files() -> Operation {
    of_one(post("/v1/sandbox/{sandbox_id}/filesystem/write-files", "write_files", "Write files"))
        .says("Each field is a file, and its name is the path; file names are ignored. Each file appears whole or not at all; those before one that fails stay.")
        .takes_raw(false, "multipart/form-data", |_| {
            json!({ "type": "object", "additionalProperties": { "type": "string", "format": "binary" } })
        })
        .answers_nothing(204, "They are written.")
        .fails(INSIDE)
}

fn read_files() -> Operation {
    of_one(post("/v1/sandbox/{sandbox_id}/filesystem/read-files", "read_files", "Read files"))
        .says("All of them or none: if one cannot be read, the answer says which. It breaks off if one cannot be read to its end.")
        .takes(&ReadFiles { paths: vec![path(FILE), path("/workspace/hello.txt")] })
        .answers_raw(200, "A field for each file, named by its path as it was asked for.", "multipart/form-data", |_| {
            json!({ "type": "object", "additionalProperties": { "type": "string", "format": "binary" } })
        })
        .fails(INSIDE)
}

fn info() -> FileInfo {
    FileInfo {
        name: "main.py".into(),
        path: path(FILE),
        is_dir: false,
        size: 22,
        mode: "644".into(),
        mtime: 1_767_225_600,
        owner: "user".into(),
        group: "user".into(),
        is_symlink: false,
        link_target: None,
    }
}

fn list() -> Operation {
    of_one(post("/v1/sandbox/{sandbox_id}/filesystem/ls", "list_files", "List a directory"))
        .says("By name; a directory of very many names comes in several runs, each sorted.")
        .takes(&ListFiles {
            path: path(DIRECTORY),
            exclude: Some(vec!["*.pyc".into()]),
            ..ListFiles::default()
        })
        .answers(200, "What is in it.", &FileList { items: vec![info()] })
        .fails(INSIDE)
}

fn glob() -> Operation {
    of_one(post("/v1/sandbox/{sandbox_id}/filesystem/glob", "glob", "Look for files by name"))
        .takes(&Glob { path: path("/workspace"), pattern: "**/*.py".into(), exclude: None })
        .answers(200, "The paths that fit.", &PathList { items: vec![path(FILE)] })
        .fails(INSIDE)
}

fn grep() -> Operation {
    let found = Match { path: path(FILE), line: 1, content: "print('hello, world')".into() };
    of_one(post("/v1/sandbox/{sandbox_id}/filesystem/grep", "grep", "Look for a text in files"))
        .says("Files that are no text are left out, and so is what the kernel makes up below `/proc` and `/sys`, unless the path begins there.")
        .takes(&Grep { path: path("/workspace"), pattern: "hello".into(), include: Some("*.py".into()), exclude: None })
        .answers(200, "The lines with it.", &MatchList { items: vec![found] })
        .fails(INSIDE)
}

fn tree() -> Operation {
    let main = TreeNode { name: "main.py".into(), kind: NodeKind::File, children: None };
    let source = TreeNode { name: "src".into(), kind: NodeKind::Directory, children: Some(vec![main]) };
    of_one(post("/v1/sandbox/{sandbox_id}/filesystem/tree", "tree", "Show a tree"))
        .takes(&Tree { path: path("/workspace"), max_depth: Some(3), exclude: Some(vec![".git".into()]) })
        .answers(200, "What is in it, and in what is in it.", &FileTree { items: vec![source] })
        .fails(INSIDE)
}

fn watch() -> Operation {
    let event = |seq, event| WatchEvent { seq, event };
    let events = [
        event(0, WatchEventKind::Ready),
        event(1, WatchEventKind::Created { path: path(FILE), is_dir: false }),
        event(2, WatchEventKind::Modified { path: path(FILE) }),
        event(3, WatchEventKind::Written { path: path(FILE) }),
        event(
            4,
            WatchEventKind::Moved { from: path(FILE), to: path("/workspace/src/app.py"), is_dir: false },
        ),
    ];
    of_one(post("/v1/sandbox/{sandbox_id}/filesystem/watch", "watch_files", "Watch a directory"))
        .says("Answers when the watch stands, and not before: whoever looks at the directory after `ready` and takes what comes misses nothing. Each event has a number, `seq`, which is also its SSE `id:`. Comments (`: ping`) keep the connection alive. The watch ends with the connection, and cannot be taken up again: who lost it watches again, and looks again after `ready`.")
        .says("Nothing inside waits for a slow listener. What it has not taken is kept up to 512 KiB, and then one `rescan` stands for all that came until it was taken: look at everything again. In a new directory things may happen before it can be watched; when it is, what is in it is told as `created`.")
        .says("The last event is `gone`, when the directory itself was deleted or moved, or `error`, which says why the watch is lost: its sandbox has ended, say. A stream that ends without either has failed. A sandbox has 32 watches at once, and all of them together watch 32768 directories, 256 levels deep at most.")
        .takes(&WatchFiles { path: path("/workspace"), recursive: Some(true), exclude: Some(vec![".git".into()]) })
        .answers_events("What happens, as it happens.", &events)
        .fails(INSIDE)
}

fn stat() -> Operation {
    of_one(post("/v1/sandbox/{sandbox_id}/filesystem/stat", "stat_file", "Say what a path is"))
        .says("A link is described, not followed.")
        .takes(&OneFile { path: path(FILE) })
        .answers(200, "What it is.", &info())
        .fails(INSIDE)
}

fn exists() -> Operation {
    of_one(post(
        "/v1/sandbox/{sandbox_id}/filesystem/exists",
        "file_exists",
        "Say whether something is there",
    ))
    .takes(&OneFile { path: path(FILE) })
    .answers(200, "Whether it is, seen through links.", &Existence { exists: true })
    .fails(INSIDE)
}

fn make_directory() -> Operation {
    let example = MakeDirectory { path: path("/workspace/a/b"), recursive: Some(true), permissions: None };
    of_one(post("/v1/sandbox/{sandbox_id}/filesystem/mkdir", "make_directory", "Make a directory"))
        .takes(&example)
        .answers_nothing(204, "It is there.")
        .fails(INSIDE)
}

fn delete() -> Operation {
    of_one(post("/v1/sandbox/{sandbox_id}/filesystem/delete", "delete_file", "Delete a file or a tree"))
        .takes(&DeleteFile { path: path("/workspace/build"), recursive: Some(true) })
        .answers_nothing(204, "It is gone.")
        .fails(INSIDE)
}

fn set_permissions() -> Operation {
    let example = SetPermissions { path: path(FILE), mode: Some("755".into()), ..SetPermissions::default() };
    of_one(post(
        "/v1/sandbox/{sandbox_id}/filesystem/set-permissions",
        "set_permissions",
        "Change permissions or ownership",
    ))
    .takes(&example)
    .answers_nothing(204, "They are changed.")
    .fails(INSIDE)
}

fn relocate() -> Operation {
    let example = MoveFile { src_path: path(FILE), dst_path: path("/workspace/app.py"), overwrite: None };
    of_one(post("/v1/sandbox/{sandbox_id}/filesystem/move", "move_file", "Move or rename"))
        .takes(&example)
        .answers_nothing(204, "It is moved.")
        .fails(INSIDE)
}

fn copy() -> Operation {
    let (src_path, dst_path) = (path(DIRECTORY), path("/workspace/backup"));
    of_one(post("/v1/sandbox/{sandbox_id}/filesystem/copy", "copy_file", "Copy a file or a tree"))
        .says("A file or a new tree appears whole or not at all. A tree that may be copied onto one that is there goes into it, file by file.")
        .takes(&CopyFile { src_path, dst_path, recursive: Some(true), overwrite: None })
        .answers_nothing(204, "It is copied.")
        .fails(INSIDE)
}

fn edit() -> Operation {
    let edit = Edit { find: "hello".into(), replace: Some("goodbye".into()) };
    let diff = "--- /workspace/src/main.py\n+++ /workspace/src/main.py\n@@ -1 +1 @@\n-print('hello, world')\n+print('goodbye, world')\n";
    of_one(post("/v1/sandbox/{sandbox_id}/filesystem/edit-file", "edit_file", "Replace text in a file"))
        .says("The file appears changed whole or not at all, with the permissions it had. A text that is not there is no failure.")
        .takes(&EditFile { path: path(FILE), edits: vec![edit] })
        .answers(200, "What changed.", &Edited { diff: diff.into(), replacements: 1 })
        .fails(INSIDE)
}

fn edit_all() -> Operation {
    let files = vec![path(FILE), path("/workspace/gone.py")];
    let example = EditFiles { files, find: "hello".into(), replace: Some("goodbye".into()) };
    let done = FileEdited { file: path(FILE), success: true, error: None };
    let gone = "/workspace/gone.py: no such file or directory";
    let failed = FileEdited { file: path("/workspace/gone.py"), success: false, error: Some(gone.into()) };
    of_one(post(
        "/v1/sandbox/{sandbox_id}/filesystem/edit-files",
        "edit_files",
        "Replace text in several files",
    ))
    .says("One after the other; one that cannot be edited does not keep the others from being.")
    .takes(&example)
    .answers(200, "What became of each.", &FilesEdited { items: vec![done, failed] })
    .fails(INSIDE)
}
