//! What can be done with files, each operation and how it is refused.

use serde_json::{Value, json};
use testkit::http::Answer;
use testkit::lab::{Builder, Lab};

use super::{read, run, sandbox, write};

/// One operation on files.
pub(super) async fn files(lab: &Lab, id: &str, operation: &str, body: Value) -> Answer {
    lab.api.post(&format!("/v1/sandbox/{id}/filesystem/{operation}"), body).await
}

/// The items of an answer.
pub(super) async fn items(lab: &Lab, id: &str, operation: &str, body: Value) -> Vec<Value> {
    let answer = files(lab, id, operation, body).await.expect(200);
    assert_eq!(answer.headers["content-type"], "application/json");
    answer.json()["items"].as_array().expect("items are a list").clone()
}

/// One thing of each item.
fn each(items: &[Value], name: &str) -> Vec<String> {
    items.iter().map(|item| item[name].as_str().expect("a text").to_owned()).collect()
}

/// A refusal, which says something and names its kind.
async fn refused(lab: &Lab, id: &str, operation: &str, body: Value, status: u16, code: &str) {
    let answer = files(lab, id, operation, body.clone()).await;
    assert_eq!(answer.status.as_u16(), status, "{operation} {body}: {answer:?}");
    let said = answer.json();
    assert_eq!(said["code"], code, "{operation} {body}: {said}");
    assert!(said["message"].as_str().is_some_and(|message| message.len() > 10), "{said}");
}

async fn exists(lab: &Lab, id: &str, path: &str) -> bool {
    files(lab, id, "exists", json!({ "path": path })).await.expect(200).json()["exists"] == true
}

pub async fn a_file_is_described_as_the_contract_says(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    run(&lab, &id, "umask 022; mkdir dir; printf 12345 > dir/f; chmod 640 dir/f; ln -s dir/f link; touch -d @1700000000 dir/f").await;
    let info = files(&lab, &id, "stat", json!({ "path": "dir/f" })).await.expect(200).json();
    let whoami = run(&lab, &id, "id -un; id -gn").await["stdout"].as_str().unwrap().to_owned();
    let mut names = whoami.lines();
    let (user, group) = (names.next().unwrap(), names.next().unwrap());
    let mut expect = json!({
        "name": "f", "path": "/workspace/dir/f", "is_dir": false, "size": 5, "mode": "640", "mtime": 1_700_000_000,
        "is_symlink": false,
    });
    if lab.kind != testkit::machines::Kind::Fake {
        expect["owner"] = json!(user);
        expect["group"] = json!(group);
    } else {
        // The fake's root has no users of its own; its numbers are shown.
        expect["owner"] = info["owner"].clone();
        expect["group"] = info["group"].clone();
    }
    assert_eq!(info, expect);
    let link = files(&lab, &id, "stat", json!({ "path": "/workspace/link" })).await.expect(200).json();
    assert_eq!((&link["is_symlink"], &link["link_target"]), (&json!(true), &json!("dir/f")), "{link}");
    refused(&lab, &id, "stat", json!({ "path": "gone" }), 404, "file_not_found").await;
    refused(&lab, &id, "stat", json!({ "path": "dir/f/below" }), 400, "not_a_directory").await;
    refused(&lab, &id, "stat", json!({}), 400, "invalid_fields").await;
    assert!(exists(&lab, &id, "link").await && !exists(&lab, &id, "gone").await);
    lab.end().await;
}

pub async fn directories_are_made_listed_and_shown_as_trees(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    files(&lab, &id, "mkdir", json!({ "path": "a" })).await.expect(204);
    refused(&lab, &id, "mkdir", json!({ "path": "a" }), 409, "already_exists").await;
    refused(&lab, &id, "mkdir", json!({ "path": "x/y" }), 404, "file_not_found").await;
    let deep = json!({ "path": "a/b/c", "recursive": true, "permissions": "0700" });
    files(&lab, &id, "mkdir", deep.clone()).await.expect(204);
    files(&lab, &id, "mkdir", deep).await.expect(204);
    write(&lab, &id, "a/f.txt", "1").await.expect(204);
    write(&lab, &id, "a/b/c/g.py", "2").await.expect(204);
    run(&lab, &id, "ln -s .. a/up").await;

    let listed = items(&lab, &id, "ls", json!({ "path": "a" })).await;
    assert_eq!(each(&listed, "name"), ["b", "f.txt", "up"]);
    assert_eq!((&listed[0]["mode"], &listed[0]["is_dir"]), (&json!("700"), &json!(true)));
    let all =
        items(&lab, &id, "ls", json!({ "path": "/workspace/a", "recursive": true, "exclude": ["*.txt"] }))
            .await;
    let expect = ["/workspace/a/b", "/workspace/a/b/c", "/workspace/a/b/c/g.py", "/workspace/a/up"];
    assert_eq!(each(&all, "path"), expect);
    assert_eq!(items(&lab, &id, "ls", json!({ "path": "a/b/c", "exclude": ["*"] })).await, [json!(null); 0]);
    refused(&lab, &id, "ls", json!({ "path": "gone" }), 404, "file_not_found").await;
    refused(&lab, &id, "ls", json!({ "path": "a", "exclude": ["[x"] }), 400, "invalid").await;

    let tree = items(&lab, &id, "tree", json!({ "path": "a" })).await;
    let python = json!({ "name": "g.py", "type": "file" });
    let inner = json!({ "name": "c", "type": "directory", "children": [python] });
    assert_eq!(
        tree,
        [
            json!({ "name": "b", "type": "directory", "children": [inner] }),
            json!({ "name": "f.txt", "type": "file" }),
            json!({ "name": "up", "type": "file" }),
        ]
    );
    let shallow =
        items(&lab, &id, "tree", json!({ "path": "a", "max_depth": 1, "exclude": ["*.txt", "up"] })).await;
    assert_eq!(shallow, [json!({ "name": "b", "type": "directory", "children": [] })]);
    refused(&lab, &id, "tree", json!({ "path": "a/f.txt" }), 400, "not_a_directory").await;
    lab.end().await;
}

pub async fn files_are_found_by_name_and_by_what_is_in_them(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    write(&lab, &id, "p/src/a.py", "import os\nneedle = 'é'\n").await.expect(204);
    write(&lab, &id, "p/src/deep/b.js", "needle").await.expect(204);
    write(&lab, &id, "p/node_modules/c.js", "needle").await.expect(204);
    write(&lab, &id, "p/data.bin", &b"needle\0"[..]).await.expect(204);
    run(&lab, &id, "mkfifo p/pipe.py").await;
    let paths = |found: Vec<Value>| -> Vec<String> {
        found
            .iter()
            .map(|path| path.as_str().unwrap().strip_prefix("/workspace/p/").unwrap().to_owned())
            .collect()
    };
    let glob = async |pattern: &str, exclude: Value| {
        paths(items(&lab, &id, "glob", json!({ "path": "p", "pattern": pattern, "exclude": exclude })).await)
    };
    assert_eq!(glob("*.py", json!(null)).await, ["pipe.py", "src/a.py"]);
    assert_eq!(glob("**/*.{js,bin}", json!(["node_modules"])).await, ["data.bin", "src/deep/b.js"]);
    assert_eq!(glob("src/*", json!(null)).await, ["src/a.py", "src/deep"]);
    assert!(glob("*.rs", json!(null)).await.is_empty());
    refused(&lab, &id, "glob", json!({ "path": "p", "pattern": "{a" }), 400, "invalid").await;
    refused(&lab, &id, "glob", json!({ "path": "gone", "pattern": "*" }), 404, "file_not_found").await;

    let found =
        items(&lab, &id, "grep", json!({ "path": "p", "pattern": "needle", "exclude": ["node_modules"] }))
            .await;
    assert_eq!(
        found,
        [
            json!({ "path": "/workspace/p/src/a.py", "line": 2, "content": "needle = 'é'" }),
            json!({ "path": "/workspace/p/src/deep/b.js", "line": 1, "content": "needle" }),
        ]
    );
    let found =
        items(&lab, &id, "grep", json!({ "path": "p", "pattern": "needle", "include": "*.js" })).await;
    assert_eq!(each(&found, "path"), ["/workspace/p/node_modules/c.js", "/workspace/p/src/deep/b.js"]);
    assert!(items(&lab, &id, "grep", json!({ "path": "p", "pattern": "n.edle" })).await.is_empty());
    refused(&lab, &id, "grep", json!({ "path": "p/pipe.py", "pattern": "x" }), 400, "invalid").await;
    refused(&lab, &id, "grep", json!({ "path": "p", "pattern": "" }), 400, "invalid_fields").await;
    // All there is, the kernel's own files too: it ends, and finds what is there.
    let everywhere = json!({ "path": "/", "pattern": "needle = 'é'", "include": "*.py" });
    assert_eq!(items(&lab, &id, "grep", everywhere).await.len(), 1);
    lab.end().await;
}

pub async fn files_are_moved_copied_and_deleted(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    run(
        &lab,
        &id,
        "mkdir -p d/in; echo a > a; echo b > b; echo f > d/in/f; chmod 751 d/in/f; ln -s /gone d/link",
    )
    .await;
    let pair = |from: &str, to: &str| json!({ "src_path": from, "dst_path": to });
    let with = |mut body: Value, flags: &[&str]| {
        flags.iter().for_each(|flag| body[*flag] = json!(true));
        body
    };
    refused(&lab, &id, "copy", pair("a", "b"), 409, "already_exists").await;
    refused(&lab, &id, "copy", pair("d", "e"), 400, "is_a_directory").await;
    refused(&lab, &id, "copy", pair("gone", "e"), 404, "file_not_found").await;
    refused(&lab, &id, "copy", with(pair("d", "d/in"), &["recursive"]), 400, "invalid").await;
    files(&lab, &id, "copy", with(pair("a", "b"), &["overwrite"])).await.expect(204);
    files(&lab, &id, "copy", with(pair("d", "e"), &["recursive"])).await.expect(204);
    let seen = run(&lab, &id, "cat b e/in/f; stat -c %a e/in/f; readlink e/link").await;
    assert_eq!(seen["stdout"], "a\nf\n751\n/gone\n");

    refused(&lab, &id, "move", pair("a", "b"), 409, "already_exists").await;
    refused(&lab, &id, "move", with(pair("a", "a"), &["overwrite"]), 400, "invalid").await;
    refused(&lab, &id, "move", pair("d", "d/in/x"), 400, "invalid").await;
    refused(&lab, &id, "move", pair("gone", "x"), 404, "file_not_found").await;
    files(&lab, &id, "move", with(pair("a", "b"), &["overwrite"])).await.expect(204);
    files(&lab, &id, "move", pair("b", "d")).await.expect(204);
    files(&lab, &id, "move", pair("d", "/workspace/moved")).await.expect(204);
    assert_eq!(run(&lab, &id, "cat moved/b; ls").await["stdout"], "a\ne\nmoved\n");

    refused(&lab, &id, "delete", json!({ "path": "e" }), 409, "not_empty").await;
    refused(&lab, &id, "delete", json!({ "path": "gone" }), 404, "file_not_found").await;
    refused(&lab, &id, "delete", json!({ "path": "/", "recursive": true }), 400, "invalid").await;
    refused(&lab, &id, "delete", json!({ "path": "..", "recursive": true }), 400, "invalid").await;
    files(&lab, &id, "delete", json!({ "path": "e/link" })).await.expect(204);
    files(&lab, &id, "delete", json!({ "path": "e", "recursive": true })).await.expect(204);
    assert!(!exists(&lab, &id, "e").await && exists(&lab, &id, "moved/in/f").await);
    lab.end().await;
}

pub async fn permissions_are_the_users_to_change_and_bind_the_api_too(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    run(&lab, &id, "mkdir d; echo secret > d/f; echo x > g").await;
    let set = |path: &str, mode: &str| json!({ "path": path, "mode": mode });
    files(&lab, &id, "set-permissions", set("g", "0755")).await.expect(204);
    assert_eq!(run(&lab, &id, "stat -c %a g").await["stdout"], "755\n");
    refused(&lab, &id, "set-permissions", json!({ "path": "g" }), 400, "invalid_fields").await;
    refused(&lab, &id, "set-permissions", set("gone", "755"), 404, "file_not_found").await;
    refused(
        &lab,
        &id,
        "set-permissions",
        json!({ "path": "g", "owner": "nobody-knows" }),
        404,
        "file_not_found",
    )
    .await;
    refused(&lab, &id, "set-permissions", json!({ "path": "g", "owner": "0" }), 403, "permission_denied")
        .await;

    files(&lab, &id, "set-permissions", set("g", "000")).await.expect(204);
    files(&lab, &id, "set-permissions", set("d", "000")).await.expect(204);
    for (operation, body) in [
        ("read-file", json!({ "path": "g" })),
        ("read-files", json!({ "paths": ["g"] })),
        ("edit-file", json!({ "path": "g", "edits": [{ "find": "x" }] })),
        ("copy", json!({ "src_path": "g", "dst_path": "h" })),
        ("grep", json!({ "path": "g", "pattern": "x" })),
        ("ls", json!({ "path": "d" })),
        ("tree", json!({ "path": "d" })),
        ("glob", json!({ "path": "d", "pattern": "*" })),
        ("stat", json!({ "path": "d/f" })),
        ("exists", json!({ "path": "d/f" })),
        ("mkdir", json!({ "path": "d/x" })),
        ("delete", json!({ "path": "d/f" })),
        ("move", json!({ "src_path": "d/f", "dst_path": "f" })),
    ] {
        refused(&lab, &id, operation, body, 403, "permission_denied").await;
    }
    write(&lab, &id, "g", "y").await.expect(403);
    write(&lab, &id, "d/new", "y").await.expect(403);
    // Beside what may not be entered, everything is found.
    assert_eq!(
        each(&items(&lab, &id, "ls", json!({ "path": ".", "recursive": true })).await, "name"),
        ["d", "g"]
    );
    files(&lab, &id, "set-permissions", set("d", "755")).await.expect(204);
    assert_eq!(read(&lab, &id, json!({ "path": "d/f" })).await.expect(200).body, "secret\n");
    lab.end().await;
}

pub async fn edits_replace_text_and_show_what_changed(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    write(&lab, &id, "f&permissions=755", "one\ntwo\ntwo\nthree\n").await.expect(204);
    write(&lab, &id, "g", "two").await.expect(204);
    write(&lab, &id, "binary", &b"two\0"[..]).await.expect(204);
    let edits = json!({ "path": "f", "edits": [{ "find": "two", "replace": "2" }, { "find": "one\n" }, { "find": "absent" }] });
    let edited = files(&lab, &id, "edit-file", edits).await.expect(200).json();
    let diff = "--- /workspace/f\n+++ /workspace/f\n@@ -1,4 +1,3 @@\n-one\n-two\n-two\n+2\n+2\n three\n";
    assert_eq!(edited, json!({ "diff": diff, "replacements": 3 }));
    assert_eq!(run(&lab, &id, "cat f; stat -c %a f").await["stdout"], "2\n2\nthree\n755\n");
    let nothing =
        files(&lab, &id, "edit-file", json!({ "path": "f", "edits": [{ "find": "absent" }] })).await;
    assert_eq!(nothing.expect(200).json(), json!({ "diff": "", "replacements": 0 }));
    refused(
        &lab,
        &id,
        "edit-file",
        json!({ "path": "gone", "edits": [{ "find": "x" }] }),
        404,
        "file_not_found",
    )
    .await;
    refused(
        &lab,
        &id,
        "edit-file",
        json!({ "path": ".", "edits": [{ "find": "x" }] }),
        400,
        "is_a_directory",
    )
    .await;
    refused(
        &lab,
        &id,
        "edit-file",
        json!({ "path": "binary", "edits": [{ "find": "two" }] }),
        400,
        "invalid",
    )
    .await;
    refused(&lab, &id, "edit-file", json!({ "path": "f", "edits": [{ "find": "" }] }), 400, "invalid_fields")
        .await;

    let many = json!({ "files": ["f", "gone", "g", "binary"], "find": "t", "replace": "T" });
    let edited = items(&lab, &id, "edit-files", many).await;
    assert_eq!(edited[0], json!({ "file": "f", "success": true }));
    assert_eq!(edited[2], json!({ "file": "g", "success": true }));
    for failed in [1, 3] {
        assert_eq!(edited[failed]["success"], false, "{edited:?}");
        assert!(edited[failed]["error"].as_str().unwrap().contains("/workspace/"), "{edited:?}");
    }
    assert_eq!(run(&lab, &id, "cat f g").await["stdout"], "2\n2\nThree\nTwo");
    lab.end().await;
}
