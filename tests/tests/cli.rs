//! The command line against the real binary on the fake engine: what people type, what they see, what scripts get.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testkit::bins;
use tests::cli::{Desk, Liar, Office, ended, fed, said, until};

const SANDBOX: &str = "sbx-aaaaaaaaaaaaaaaaaaaa";

/// `atoll sandbox exec -it` of a shell that prints no surprises.
fn shell_in_terminal(office: &Office, id: &str) -> Desk {
    let command = office.server.command(&["sandbox", "exec", "-it", "--env", "PS1=ready> ", id, "/bin/sh"]);
    let mut desk = Desk::new(command, 100, 30);
    desk.until("ready> ");
    desk
}

fn terminals(office: &Office, id: &str) -> usize {
    let path = format!("/v1/sandbox/{id}/pty");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let list = runtime.block_on(async { office.server.api().get(&path).await.expect(200).json() });
    list["items"].as_array().unwrap().len()
}

fn processes(office: &Office, id: &str) -> Vec<Value> {
    office.json(&["process", "ls", id])["items"].as_array().unwrap().clone()
}

#[test]
fn a_command_reads_our_input_while_it_runs() {
    let office = Office::open();
    let id = office.sandbox();
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let counted = office.fed(&["sandbox", "exec", "-i", &id, "--", "wc", "-c"], &large);
    assert_eq!((counted.code, counted.out.trim()), (Some(0), "3000000"), "{counted:?}");
    let first = office.fed(&["sandbox", "exec", "-i", &id, "head", "-c", "3"], &[b'x'; 10_000_000]);
    assert_eq!((first.code, &first.out[..], &first.err[..]), (Some(0), "xxx", ""));
    let nothing = office.fed(&["sandbox", "exec", &id, "cat"], b"not passed on");
    assert_eq!((nothing.code, &nothing.out[..]), (Some(0), ""));

    // It answers before its input has ended.
    let mut child =
        office.piped(&["sandbox", "exec", "-i", &id, "sh", "-c", "read a; echo $a; read b; exit $b"]);
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut lines = BufReader::new(stdout).lines();
    stdin.write_all(b"one\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "one");
    stdin.write_all(b"9\n").unwrap();
    assert_eq!(ended(&mut child).code(), Some(9));
    assert_eq!(processes(&office, &id), [] as [Value; 0], "ended ones are forgotten");

    let mut child = office.piped(&["sandbox", "exec", "-i", &id, "cat"]);
    until("it runs", || !processes(&office, &id).is_empty());
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::INT).unwrap();
    assert_eq!(ended(&mut child).code(), Some(130));
    assert_eq!(processes(&office, &id), [] as [Value; 0], "one that nobody waits for is killed");
    office.server.stop();
}

#[test]
fn a_terminal_follows_ours_and_ours_is_itself_again() {
    let office = Office::open();
    let id = office.sandbox();
    let mut desk = Desk::new(Command::new("true"), 80, 24);
    let ours = desk.treatment();
    assert_eq!(desk.code(), Some(0));

    let mut desk = shell_in_terminal(&office, &id);
    assert_ne!(desk.treatment(), ours, "keys are passed on as they are");
    desk.type_in("stty size; tty\r");
    desk.until("30 100");
    desk.until("/dev/pts/");
    desk.resize(120, 40);
    desk.type_in("while [ \"$(stty size)\" != '40 120' ]; do :; done; echo gro''wn\r");
    desk.until("grown");
    // Ctrl-C is the program's, not ours.
    desk.until("ready> ");
    desk.type_in("cat\rmirrored\r");
    desk.until("mirrored");
    desk.until("mirrored");
    desk.type_in("\u{3}");
    desk.until("ready> ");
    desk.type_in("echo still''here\r");
    desk.until("stillhere");
    desk.type_in("exit 7\r");
    assert_eq!(desk.code(), Some(7));
    assert_eq!(desk.treatment(), ours);
    assert_eq!(terminals(&office, &id), 0);

    let mut desk = shell_in_terminal(&office, &id);
    desk.signal(Signal::TERM);
    assert_eq!(desk.code(), Some(143));
    assert_eq!(desk.treatment(), ours);
    assert_eq!(terminals(&office, &id), 0, "nobody would ever end it");

    let mut desk = shell_in_terminal(&office, &id);
    office.done(&["sandbox", "rm", &id]);
    desk.until("the sandbox has ended");
    assert_eq!((desk.code(), desk.treatment()), (Some(125), ours));
    office.server.stop();
}

#[test]
fn a_terminal_without_a_keyboard_is_watched_and_needs_one_all_the_same() {
    let office = Office::open();
    let id = office.sandbox();
    for flags in ["-t", "-it"] {
        let refused = office.fed(&["sandbox", "exec", flags, &id, "sh"], b"");
        assert_eq!(refused.code, Some(125));
        assert!(refused.err.contains("standard input is not a terminal"), "{refused:?}");
    }
    let refused = office.fed(&["sandbox", "shell", &id], b"");
    assert!(refused.code == Some(125) && refused.err.contains("not a terminal"), "{refused:?}");

    let command =
        office.server.command(&["sandbox", "exec", "-t", &id, "sh", "-c", "test -t 1 && stty size; exit 4"]);
    let mut desk = Desk::new(command, 90, 20);
    desk.until("20 90");
    assert_eq!(desk.code(), Some(4));
    let missing = office.server.command(&["sandbox", "exec", "-it", &id, "no-such-program"]);
    let mut desk = Desk::new(missing, 80, 24);
    desk.until("no-such-program");
    assert_ne!(desk.code(), Some(0));
    assert_eq!(terminals(&office, &id), 0);
    office.server.stop();
}

#[test]
fn a_shell_is_the_users_own() {
    let office = Office::open();
    let id = office.sandbox();
    let command = office.server.command(&["sandbox", "shell", "--env", "GREETING=hello", &id[..12]]);
    let mut desk = Desk::new(command, 80, 24);
    desk.type_in("echo $GREETING''! ; exit 3\r");
    desk.until("hello!");
    assert_eq!(desk.code(), Some(3));
    office.server.stop();
}

fn write(path: &Path, content: impl AsRef<[u8]>, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    set_mode(path, mode);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Every path below a directory, with its bits, and its content if it is a file.
fn tree(root: &Path) -> Vec<(String, u32, Vec<u8>)> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.push((name, metadata.permissions().mode() & 0o7777, content));
            if metadata.is_dir() {
                waiting.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_directory_goes_into_a_sandbox_and_comes_out_the_same() {
    let office = Office::open();
    let id = office.sandbox();
    let dir = tempfile::tempdir().unwrap();
    let here = |name: &str| dir.path().join(name);
    let text = |name: &str| here(name).to_str().unwrap().to_owned();
    write(&here("a/run.sh"), "#!/bin/sh\necho ran\n", 0o755);
    write(&here("a/sub dir/ä -x.txt"), "secret", 0o600);
    write(&here("a/sub dir/large"), vec![7; 5_000_000], 0o644);
    write(&here("a/closed/file"), "", 0o444);
    fs::create_dir(here("a/empty")).unwrap();
    set_mode(&here("a/closed"), 0o555);
    let before = tree(&here("a"));
    symlink("/etc/passwd", here("a/link")).unwrap();

    let copied = office.atoll(&["sandbox", "cp", &text("a"), &format!("{id}:copy")]);
    assert_eq!((copied.code, &copied.out[..]), (Some(0), ""), "{copied:?}");
    assert!(copied.err.contains("link: it is a link"), "{copied:?}");
    assert_eq!(office.done(&["sandbox", "exec", &id, "./copy/run.sh"]), "ran");
    assert_eq!(office.done(&["sandbox", "exec", &id, "stat", "-c", "%a", "copy/sub dir/ä -x.txt"]), "600");
    office.done(&["sandbox", "exec", &id, "ln", "-s", "/etc/passwd", "copy/link"]);
    office.done(&["sandbox", "exec", &id, "mkfifo", "copy/pipe"]);

    let back = office.atoll(&["sandbox", "cp", &format!("{id}:copy"), &text("b"), "--json"]);
    let sums: Value = serde_json::from_str(&back.out).unwrap();
    assert_eq!(sums["files"], 4, "{back:?}");
    assert_eq!((back.code, &sums["skipped"], &sums["failed"]), (Some(1), &json!(1), &json!(1)), "{back:?}");
    assert!(back.err.contains("pipe") && back.err.contains("link: it is a link"), "{back:?}");
    assert_eq!(tree(&here("b")), before);

    // Below a directory that is there; its contents alone with a dot.
    office.atoll(&["sandbox", "cp", &format!("{id}:copy/sub dir"), &text("b")]);
    assert!(here("b/sub dir/large").is_file());
    fs::create_dir(here("c")).unwrap();
    office.done(&["sandbox", "cp", &format!("{id}:copy/sub dir/."), &text("c")]);
    assert!(here("c/large").is_file());
    office.done(&["sandbox", "cp", &text("c"), &format!("{id}:copy")]);
    office.done(&["sandbox", "exec", &id, "test", "-f", "copy/c/large"]);
    office.server.stop();
}

#[test]
fn one_file_goes_where_it_is_told_to() {
    let office = Office::open();
    let id = office.sandbox();
    let dir = tempfile::tempdir().unwrap();
    let here = |name: &str| dir.path().join(name);
    let text = |name: &str| here(name).to_str().unwrap().to_owned();
    write(&here("file"), "content", 0o640);
    office.done(&["sandbox", "exec", &id, "mkdir", "there"]);
    office.done(&["sandbox", "cp", &text("file"), &format!("{id}:there")]);
    office.done(&["sandbox", "cp", &text("file"), &format!("{id}:there/other")]);
    assert_eq!(office.done(&["sandbox", "exec", &id, "cat", "there/file", "there/other"]), "contentcontent");

    office.done(&["sandbox", "cp", &format!("{id}:there/file"), &text("out")]);
    office.done(&["sandbox", "cp", &format!("{id}:there/other"), dir.path().to_str().unwrap()]);
    assert_eq!(fs::read(here("other")).unwrap(), b"content");
    assert_eq!(fs::metadata(here("out")).unwrap().permissions().mode() & 0o777, 0o640);

    let streamed = office.fed(&["sandbox", "cp", "-", &format!("{id}:streamed")], b"from a pipe");
    assert_eq!(streamed.code, Some(0), "{streamed:?}");
    assert_eq!(office.done(&["sandbox", "cp", &format!("{id}:streamed"), "-"]), "from a pipe");

    let missing = office.atoll(&["sandbox", "cp", &format!("{id}:missing"), &text("x")]);
    assert!(missing.code == Some(1) && missing.err.contains("hint:"), "{missing:?}");
    let here_alone = office.atoll(&["sandbox", "cp", &text("nothing"), &format!("{id}:x")]);
    assert!(here_alone.code == Some(1) && here_alone.err.contains("nothing"), "{here_alone:?}");
    for (from, to) in [("./a", "./b"), ("-", "-"), ("a:b", "c:d")] {
        assert_eq!(office.atoll(&["sandbox", "cp", from, to]).code, Some(2), "{from} {to}");
    }
    office.server.stop();
}

/// A file as the API describes it.
fn file_info(name: &str, kind: &str, mode: &str) -> Value {
    json!({
        "name": name, "path": format!("/x/{name}"), "is_dir": kind == "dir", "size": 5, "mode": mode, "mtime": 0,
        "owner": "root", "group": "root", "is_symlink": kind == "link", "link_target": "/etc",
    })
}

#[test]
fn no_sandbox_says_where_its_files_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let target = dir.path().join("target");
    fs::create_dir_all(target.join("x")).unwrap();
    symlink(&outside, target.join("x/planted")).unwrap();
    let liar = Liar::new(|asked, body| {
        let items = match (asked.rsplit('/').next(), body.contains("planted"), body.contains("/./")) {
            (Some("stat"), ..) => return Some((200, file_info("x", "dir", "755").to_string())),
            (Some("read-file"), ..) => return Some((200, "taken".into())),
            (_, false, false) => json!([
                file_info("..", "dir", "755"),
                file_info("../outside/a", "file", "644"),
                file_info("/etc/atoll-was-here", "file", "644"),
                file_info("a\u{0}b", "file", "644"),
                file_info("", "file", "644"),
                file_info(".", "dir", "755"),
                file_info("planted", "dir", "755"),
                file_info("link", "link", "777"),
                file_info("link", "dir", "755"),
                file_info("fine", "file", "4755"),
                file_info("bits", "file", "rwx"),
            ]),
            (_, true, _) => json!([file_info("b", "file", "644")]),
            _ => json!([]),
        };
        Some((200, json!({ "items": items }).to_string()))
    });
    let copied = liar.atoll(&["sandbox", "cp", &format!("{SANDBOX}:/x"), target.to_str().unwrap(), "--json"]);
    assert_eq!(copied.code, Some(1), "{copied:?}");
    let sums: Value = serde_json::from_str(&copied.out).unwrap();
    assert_eq!(
        (&sums["files"], &sums["failed"], &sums["skipped"]),
        (&json!(1), &json!(8), &json!(1)),
        "{copied:?}"
    );
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{copied:?}");
    assert!(!Path::new("/etc/atoll-was-here").exists());
    let mut names: Vec<_> = tree(&target.join("x")).into_iter().map(|(name, mode, _)| (name, mode)).collect();
    names.retain(|(name, _)| name != "planted");
    assert_eq!(names, [("fine".to_owned(), 0o755), ("link".to_owned(), 0o755)], "{copied:?}");
    assert!(copied.err.contains("a sandbox may not choose where it is written"), "{copied:?}");
}

#[test]
fn a_process_lives_without_us() {
    let office = Office::open();
    let id = office.sandbox();
    let start = |arguments: &[&str]| office.done(&[&["process", "start", &id], arguments].concat());
    let script = "echo one; echo two >&2; read line; echo got $line; exit 5";
    assert_eq!(start(&["--id", "talker", "-i", "sh", "-c", script]), "talker");
    until("it has said two things", || office.json(&["process", "get", &id, "talker"])["last_seq"] == 2);
    let so_far = office.atoll(&["process", "logs", &id, "talker"]);
    assert_eq!((so_far.code, &so_far.out[..], &so_far.err[..]), (Some(0), "one\n", "two\n"));
    assert_eq!(office.done(&["process", "logs", &id, "talker", "--from", "3"]), "");
    let table = office.done(&["process", "ls", &id]);
    assert!(table.contains("talker") && table.contains("running") && table.starts_with("ID"), "{table}");
    let runs = office.atoll(&["process", "wait", &id, "talker", "--timeout", "1"]);
    assert!(runs.code == Some(1) && runs.err.contains("it still runs"), "{runs:?}");

    let sent = office.fed(&["process", "stdin", &id, "talker"], b"this\n");
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let attached = office.atoll(&["process", "attach", &id, "talker"]);
    assert_eq!((attached.code, &attached.out[..]), (Some(5), "one\ngot this\n"), "{attached:?}");
    let from = office.atoll(&["process", "attach", &id, "talker", "--from", "3"]);
    assert_eq!((from.code, &from.out[..]), (Some(5), "got this\n"), "{from:?}");
    let events = office.atoll(&["process", "attach", &id, "talker", "--json"]);
    let events = events.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let kinds: Vec<String> = events.map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    // Which of two pipes is read first is nobody's promise.
    assert_eq!(
        (kinds.len(), &kinds[0][..], &kinds[3..]),
        (5, "started", &["stdout".into(), "exit".into()][..])
    );
    assert_eq!(office.done(&["process", "wait", &id, "talker"]), "5");
    assert!(office.done(&["process", "inspect", &id, "talker"]).contains("ended with 5"));
    let late = office.fed(&["process", "stdin", &id, "talker"], b"late");
    assert!(late.code == Some(1) && late.err.contains("takes no input"), "{late:?}");

    let made = start(&["--timeout", "2h", "sleep", "1000"]);
    assert_eq!(office.done(&["process", "kill", &id, &made, "-s", "TERM"]), made);
    assert_eq!(office.json(&["process", "wait", &id, &made])["exit_code"], 143);
    assert_eq!(office.done(&["process", "rm", &id, &made, "talker"]), format!("{made}\ntalker"));
    let gone = office.atoll(&["process", "rm", &id, "talker"]);
    assert!(gone.code == Some(1) && gone.err.contains("hint:"), "{gone:?}");

    // Whoever leaves leaves it running; whoever attaches with input ends it by its end.
    assert_eq!(start(&["--id", "cat", "-i", "cat"]), "cat");
    let mut watcher = office.piped(&["process", "attach", &id, "cat"]);
    let mut err = BufReader::new(watcher.stderr.take().unwrap()).lines();
    office.fed(&["process", "stdin", &id, "cat"], b"a\n");
    let mut out = BufReader::new(watcher.stdout.take().unwrap()).lines();
    assert_eq!(out.next().unwrap().unwrap(), "a");
    kill_process(Pid::from_raw(watcher.id() as i32).unwrap(), Signal::INT).unwrap();
    assert_eq!(ended(&mut watcher).code(), Some(130));
    assert!(err.next().unwrap().unwrap().contains("it goes on"));
    let interactive = office.fed(&["process", "attach", &id, "cat", "-i", "--from", "1"], b"b\n");
    assert_eq!((interactive.code, &interactive.out[..]), (Some(0), "a\nb\n"), "{interactive:?}");
    office.server.stop();
}

#[test]
fn a_key_opens_until_it_is_revoked() {
    let office = Office::open();
    let key = office.done(&["key", "create", "--name", "ci", "--quiet", "--expires", "90d"]);
    assert!(!key.is_empty() && !key.contains(char::is_whitespace), "{key}");
    let with_key = |arguments: &[&str]| {
        said(office.server.command(arguments).env("ATOLL_API_KEY", &key).output().unwrap())
    };
    let me = with_key(&["whoami"]);
    assert!(me.code == Some(0) && me.out.contains("ci (") && me.out.contains("expires "), "{me:?}");
    let refused = with_key(&["team", "ls"]);
    assert!(refused.code == Some(1) && refused.err.contains("`atoll whoami` shows"), "{refused:?}");
    let list = office.json(&["key", "ls"]);
    let made = list["items"].as_array().unwrap().iter().find(|item| item["name"] == "ci").unwrap();
    let id = made["id"].as_str().unwrap();
    assert!(office.done(&["key", "ls"]).contains("ci") && !office.done(&["key", "ls"]).contains(&key));
    assert_eq!(office.done(&["key", "revoke", id]), id);
    let closed = with_key(&["whoami"]);
    assert!(closed.code == Some(1) && closed.err.contains("ATOLL_API_KEY"), "{closed:?}");
    let again = office.atoll(&["key", "revoke", id]);
    assert!(again.code == Some(1) && again.err.contains("hint:"), "{again:?}");

    let shown = office.atoll(&["key", "create", "--name", "ops", "--scope", "operator", "--scope", "team"]);
    assert!(shown.out.contains("operator, team") && shown.err.contains("not shown again"), "{shown:?}");
    office.server.stop();
}

#[test]
fn ports_are_opened_by_a_url_or_to_whoever_asks() {
    let office = Office::open();
    let id = office.sandbox();
    let made = office.atoll(&["sandbox", "url", &id, "8080", "--expires", "2h"]);
    let url = made.out.trim();
    let token = url.strip_prefix("https://").and_then(|rest| rest.split('.').next()).unwrap();
    assert!(
        made.code == Some(0) && token.starts_with("url-") && url.contains(".sandbox.localhost:"),
        "{made:?}"
    );
    assert!(made.err.starts_with("psu-") && made.err.contains("ends in"), "{made:?}");
    let list = office.done(&["sandbox", "urls", &id]);
    assert!(list.contains("8080") && !list.contains(token), "{list}");
    let psu = made.err.split(' ').next().unwrap();
    assert_eq!(office.done(&["sandbox", "url", &id, "--revoke", psu]), psu);
    let again = office.atoll(&["sandbox", "url", &id, "--revoke", psu]);
    assert!(again.code == Some(1) && again.err.contains("hint:"), "{again:?}");
    assert_eq!(office.json(&["sandbox", "urls", &id]), json!({"items": [], "total_items": 0}));
    for senseless in [&["8080", "--revoke", "psu-x"][..], &[], &["70000"]] {
        assert_eq!(
            office.atoll(&[&["sandbox", "url", &id], senseless].concat()).code,
            Some(2),
            "{senseless:?}"
        );
    }
    assert_eq!(office.done(&["sandbox", "expose", &id]), "none is open");
    assert_eq!(office.done(&["sandbox", "expose", &id, "8081", "8080"]), "8080, 8081");
    assert!(office.done(&["sandbox", "get", &id]).contains("8080, 8081"));
    assert_eq!(office.json(&["sandbox", "expose", &id, "8081", "--private"]), json!({"ports": [8080]}));
    let open = office.done(&["sandbox", "create", "--public", "80"]);
    assert_eq!(office.json(&["sandbox", "get", &open])["public_ports"], json!([80]));
    office.server.stop();
}

#[test]
fn a_team_has_limits() {
    let office = Office::open();
    let id = office.done(&["team", "create", "blue", "--sandboxes", "1"]);
    assert!(office.done(&["team", "ls"]).contains("0/1"));
    let key = office.done(&["key", "create", "--name", "b", "--team", "blue", "--quiet"]);
    let with_key = |arguments: &[&str]| {
        said(office.server.command(arguments).env("ATOLL_API_KEY", &key).output().unwrap())
    };
    let sandbox = with_key(&["sandbox", "create"]);
    assert_eq!(sandbox.code, Some(0), "{sandbox:?}");
    let refused = with_key(&["sandbox", "create"]);
    assert!(refused.code == Some(1) && refused.err.contains("hint:"), "{refused:?}");
    let set = office.done(&["team", "set", "blue", "--sandboxes", "2", "--vcpu", "7", "--name", "green"]);
    assert!(set.contains("1 of 2") && set.contains("of 7") && set.contains("green"), "{set}");
    let default = office.json(&["team", "set", &id, "--sandboxes", "default"]);
    assert_eq!((&default["limits"]["sandboxes"], &default["limits"]["vcpu"]), (&json!(1000), &json!(7)));
    assert_eq!(office.json(&["team", "get", "green"])["use"]["sandboxes"], 1);
    assert_eq!(office.atoll(&["team", "set", "green"]).code, Some(1), "nothing to change");
    let in_use = office.atoll(&["team", "rm", "green"]);
    assert!(in_use.code == Some(1) && in_use.err.contains("remove its sandboxes first"), "{in_use:?}");
    assert_eq!(with_key(&["sandbox", "rm", sandbox.out.trim()]).code, Some(0));
    assert_eq!(office.done(&["team", "rm", "green"]), "green");
    assert!(office.atoll(&["team", "get", "green"]).err.contains("`atoll team ls` shows them"));
    office.server.stop();
}

#[test]
fn programs_get_objects_and_people_get_tables() {
    let office = Office::open();
    let id = office.sandbox();
    for arguments in [
        &["sandbox", "ls"][..],
        &["sandbox", "get", &id],
        &["sandbox", "inspect", &id],
        &["process", "ls", &id],
        &["template", "ls"],
        &["template", "get", "system/debian:bookworm"],
        &["key", "ls"],
        &["team", "ls"],
        &["team", "get", "default"],
        &["whoami"],
    ] {
        assert!(office.json(arguments).is_object(), "{arguments:?}");
        let table = office.done(arguments);
        assert!(!table.is_empty() && !table.starts_with('{'), "{arguments:?}: {table}");
    }
    let ran = office.done(&["sandbox", "exec", "--json", &id, "echo", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&ran).unwrap()["stdout"], "--json\n");
    office.server.stop();
}

/// Events as `--json` prints them: what each sandbox became, and why.
fn became(line: &str) -> (String, String, Value) {
    let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let text = |name: &str| event[name].as_str().unwrap().to_owned();
    (text("sandbox_id"), text("state"), event["reason"].clone())
}

#[test]
fn what_became_of_sandboxes_is_told_from_anywhere_on() {
    let office = Office::open();
    let (one, other) = (office.sandbox(), office.sandbox());
    office.done(&["sandbox", "rm", &one]);
    let lines = |arguments: &[&str]| -> Vec<String> {
        let told = office.done(&[&["events", "--json"], arguments].concat());
        told.lines().map(str::to_owned).collect()
    };
    let all = lines(&[]);
    let of_one = lines(&["--sandbox", &one]);
    let states: Vec<_> = of_one.iter().map(|line| became(line)).collect();
    let expected = [("starting", Value::Null), ("running", Value::Null), ("deleting", json!("deleted"))];
    let expected = expected.into_iter().chain([("deleted", json!("deleted"))]);
    let expected: Vec<_> = expected.map(|(state, why)| (one.clone(), state.to_owned(), why)).collect();
    assert_eq!(states, expected);
    assert!(of_one.iter().all(|line| all.contains(line)) && all.len() > of_one.len(), "{all:?}");
    assert_eq!(lines(&["--sandbox", &one, "--follow"]), of_one, "nothing follows its end");
    assert_eq!(lines(&["--limit", "2"]), all[..2]);
    let second: Value = serde_json::from_str(&all[1]).unwrap();
    let after = second["id"].to_string();
    assert_eq!(lines(&["--after", &after]), all[2..]);
    assert_eq!(lines(&["--after", &after, "--follow", "--limit", "1"]), all[2..3]);
    let last: Value = serde_json::from_str(of_one.last().unwrap()).unwrap();
    assert_eq!(lines(&["--sandbox", &one, "--follow", "--after", &last["id"].to_string()]), [""; 0]);

    let table = office.done(&["events", "--sandbox", &one]);
    let (heading, end) = (table.lines().next().unwrap(), table.lines().last().unwrap());
    assert!(heading.starts_with("TIME ") && heading.ends_with("SEEN"), "{table}");
    assert!(end.contains(&one) && end.contains("deleted       deleted"), "{table}");
    assert!(office.done(&["sandbox", "inspect", &one]).starts_with("reason   deleted\n"));
    assert!(!office.done(&["sandbox", "inspect", &other]).starts_with("reason"));
    for unknown in [SANDBOX, "sbx-999"] {
        for follow in [&[][..], &["--follow"]] {
            let refused = office.atoll(&[&["events", "--sandbox", unknown], follow].concat());
            assert!(refused.code == Some(1) && refused.err.contains(unknown), "{refused:?}");
        }
    }
    assert_eq!(office.atoll(&["events", "--limit", "0"]).code, Some(2));
    office.server.stop();
}

#[test]
fn whoever_follows_events_misses_none_when_the_server_is_started_again() {
    let office = Office::open();
    let mut child = office.piped(&["events", "--follow", "--json"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut next = || became(&lines.next().expect("it goes on"));
    for _ in 0..2 {
        let id = office.sandbox();
        for state in ["starting", "running"] {
            assert_eq!(next(), (id.clone(), state.to_owned(), Value::Null));
        }
        office.server.kill("control");
        until("the server answers again", || office.atoll(&["sandbox", "ls"]).code == Some(0));
        office.done(&["sandbox", "rm", &id]);
        for state in ["deleting", "deleted"] {
            assert_eq!(next(), (id.clone(), state.to_owned(), json!("deleted")));
        }
    }
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::INT).unwrap();
    assert_eq!(ended(&mut child).code(), Some(130));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("asking again") && said.lines().count() <= 2, "{said}");

    let mut child = office.piped(&["events", "--follow"]);
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut String::new()).unwrap();
    drop(reader);
    assert_eq!(ended(&mut child).code(), Some(141), "it does not wait for something to write");
    office.server.stop();
}

#[test]
fn only_a_server_that_was_there_is_waited_for_and_not_one_that_says_no() {
    let stream = json!({
        "id": 1, "sandbox_id": SANDBOX, "state": "running", "at": "2026-01-01T00:00:00Z", "new": true,
    });
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let liar = Liar::new(move |_, _| match asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => Some((200, format!(": ping\n\ndata: {stream}\nid: 1\n\ndata: {{\"half"))),
        1 => Some((503, json!({ "message": "later", "code": "no_node" }).to_string())),
        2 => None,
        _ => Some((401, json!({ "message": "no", "code": "unauthorized" }).to_string())),
    });
    let told = liar.atoll(&["events", "--follow", "--json"]);
    assert_eq!((told.code, told.out.lines().count()), (Some(1), 1), "{told:?}");
    assert!(told.out.contains("\"new\":true") && told.err.contains("atoll: no\n"), "{told:?}");
    let heard: Vec<String> = liar.heard().into_iter().map(|(asked, _)| asked).collect();
    let again = "GET /v1/events?after=1&follow=true";
    assert_eq!(heard, ["GET /v1/events?after=0&follow=true", again, again, again]);
    let mut nobody = Command::new(bins::atoll());
    nobody.args(["events", "--follow", "--url", "http://127.0.0.1:9", "--api-key", "any"]);
    let refused = said(nobody.output().unwrap());
    assert!(refused.code == Some(1) && refused.err.contains("is `atoll serve` running?"), "{refused:?}");
}

#[test]
fn a_sandbox_is_given_more_time() {
    let body = json!({
        "id": SANDBOX, "template_id": "tpl-aaaaaaaaaaaaaaaaaaaa", "state": "running", "vcpu": 1, "memory": 512,
        "disk": 1024, "timeout": 60, "auto_pause": false, "created_at": "2026-01-01T00:00:00Z", "mounts": [],
        "timeout_at": 1,
    });
    let liar = Liar::new(move |_, _| Some((200, body.to_string())));
    let said = liar.atoll(&["sandbox", "timeout", SANDBOX, "15m"]);
    assert!(said.code == Some(0) && said.out.starts_with(&format!("{SANDBOX} ends ")), "{said:?}");
    assert_eq!(liar.atoll(&["sandbox", "timeout", SANDBOX, "--extend", "1h"]).code, Some(0));
    for senseless in [&[][..], &["15m", "--extend", "1h"], &["soon"]] {
        assert_eq!(liar.atoll(&[&["sandbox", "timeout", SANDBOX], senseless].concat()).code, Some(2));
    }
    let asked = format!("POST /v1/sandbox/{SANDBOX}/timeout");
    let heard = [(asked.clone(), r#"{"timeout":900}"#.to_owned()), (asked, r#"{"extend":3600}"#.to_owned())];
    assert_eq!(liar.heard(), heard);
}

#[test]
fn more_time_is_given_and_no_more_than_there_is() {
    let office = Office::open();
    let id = office.done(&["sandbox", "create", "--timeout", "100"]);
    let given = |arguments: &[&str]| {
        office.json(&[&["sandbox", "timeout", &id], arguments].concat())["timeout"].clone()
    };
    assert_eq!(given(&["15m"]), 900);
    assert_eq!(given(&["--extend", "1h"]), 4500);
    let refused = office.atoll(&["sandbox", "timeout", &id, "--extend", "8h"]);
    assert!(refused.code == Some(1) && refused.err.contains("28800"), "{refused:?}");
    office.server.stop();
}

#[test]
fn what_is_paused_wakes_when_something_is_run_in_it() {
    let office = Office::open();
    let id = office.done(&["sandbox", "create", "--auto-pause"]);
    assert_eq!(office.json(&["sandbox", "get", &id])["auto_pause"], true);
    assert_eq!(office.done(&["sandbox", "pause", &id]), format!("{id} is paused"));
    assert_eq!(office.json(&["sandbox", "pause", &id])["state"], "paused");
    assert_eq!(office.done(&["sandbox", "exec", &id, "echo", "on"]), "on");
    assert_eq!(office.json(&["sandbox", "get", &id])["state"], "running");
    office.server.stop();
}

#[test]
fn what_cannot_be_is_said_with_what_may_help() {
    let atoll = |arguments: &[&str]| said(Command::new(bins::atoll()).args(arguments).output().unwrap());
    for senseless in [
        &["sandbox"][..],
        &["sandbox", "exec"],
        &["sandbox", "exec", "-it", "--json", SANDBOX, "sh"],
        &["process", "start", SANDBOX],
        &["key", "create"],
        &["key", "create", "--name", "a", "--scope", "root"],
        &["team", "create", "a", "--keys", "many"],
        &["nonsense"],
    ] {
        let refused = atoll(senseless);
        assert!(refused.code == Some(2) && refused.out.is_empty() && !refused.err.is_empty(), "{refused:?}");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = atoll(&["completions", shell]);
        assert!(script.code == Some(0) && script.out.contains("whoami"), "{shell}");
        assert!(script.out.contains("follow"), "{shell}");
    }
    let failing = |status: u16, code: &'static str| {
        Liar::new(move |_, _| Some((status, json!({ "message": "no\u{1b}[2J", "code": code }).to_string())))
    };
    for (status, code, hint) in [
        (503, "no_node", "try again"),
        (401, "unauthorized", "ATOLL_API_KEY"),
        (409, "team_limit", "atoll team set"),
        (404, "not_found", "`ls` shows"),
        (403, "operator_only", "atoll whoami"),
    ] {
        let refused = failing(status, code).atoll(&["sandbox", "get", SANDBOX]);
        let (complaint, advice) = refused.err.split_once('\n').unwrap();
        assert_eq!((refused.code, complaint), (Some(1), "atoll: no\\u{1b}[2J"), "{refused:?}");
        assert!(advice.contains("hint:") && advice.contains(hint), "{refused:?}");
    }
    let broken = Liar::new(|_, _| None).atoll(&["whoami"]);
    assert!(broken.code == Some(1) && broken.err.contains("hint: was the server stopped"), "{broken:?}");
    let other = Liar::new(|_, _| Some((404, "<html>".into()))).atoll(&["whoami"]);
    assert!(other.err.contains("does that URL belong to an Atoll server"), "{other:?}");
    let nobody = fed(
        {
            let mut command = Command::new(bins::atoll());
            command.args(["sandbox", "exec", "-i", SANDBOX, "cat", "--url", "http://127.0.0.1:9"]);
            command.args(["--api-key", "any"]);
            command.env("ATOLL_URL", "http://127.0.0.1:9").env("ATOLL_API_KEY", "any");
            command
        },
        b"",
    );
    assert!(nobody.code == Some(125) && nobody.err.contains("is `atoll serve` running?"), "{nobody:?}");
}

/// A template as the API shows it, in this state.
fn template(state: &str, more: Value) -> Value {
    let mut template = json!({
        "id": "tpl-aaaaaaaaaaaaaaaaaaaa", "name": "mine", "digest": format!("sha256:{}", "0".repeat(64)),
        "image_config": {"working_dir": "/app", "user": ""}, "is_system": false, "version": 1,
        "created_at": "2026-01-15T09:30:00Z", "updated_at": "2026-01-15T09:30:00Z", "visibility": "team",
        "uri": "r.test/it:v1", "state": state,
    });
    template.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    template
}

/// A server whose template comes in steps, one each time it is looked at.
fn pulling(steps: Vec<Value>) -> Liar {
    let looks = std::sync::atomic::AtomicUsize::new(0);
    Liar::new(move |asked, _| {
        if asked.starts_with("POST") {
            return Some((201, template("pulling", json!({})).to_string()));
        }
        let look = looks.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Some((200, steps[look.min(steps.len() - 1)].to_string()))
    })
}

#[test]
fn a_template_is_waited_for_and_how_far_it_is_is_told() {
    let at =
        |bytes: u64| json!({"progress": {"phase": "fetching", "bytes_done": bytes, "bytes_total": 4 << 20}});
    let steps = vec![
        template("pulling", at(0)),
        template("pulling", at(1 << 20)),
        template("pulling", at((1 << 20) + 1)),
        template("ready", json!({})),
    ];
    let liar = pulling(steps.clone());
    let said =
        liar.atoll(&["template", "create", "mine", "r.test/it:v1", "--vcpu", "2", "--ready-port", "80"]);
    assert_eq!((said.code, said.out.trim()), (Some(0), "tpl-aaaaaaaaaaaaaaaaaaaa"), "{said:?}");
    assert_eq!(said.err, "  fetching: 0 B of 4.0 MiB, 0 %\n  fetching: 1.0 MiB of 4.0 MiB, 25 %\n");
    let heard = liar.heard();
    let body: Value = serde_json::from_str(&heard[0].1).unwrap();
    let expect = json!({"name": "mine", "uri": "r.test/it:v1", "vcpu": 2,
        "ready_check": {"port": 80, "timeout_seconds": 60}});
    assert_eq!((heard[0].0.as_str(), body), ("POST /v1/template", expect));

    let liar = pulling(steps.clone());
    let said = liar.atoll(&["template", "create", "mine", "r.test/it:v1", "--no-wait"]);
    assert_eq!((said.code, &said.err[..], liar.heard().len()), (Some(0), "", 2), "{said:?}");

    let failure =
        json!({"failure": {"code": "invalid_image", "message": "a layer is not what it should be"}});
    let said = pulling(vec![steps[0].clone(), template("failed", failure)]).atoll(&[
        "template",
        "create",
        "mine",
        "r.test/it:v1",
    ]);
    assert_eq!((said.code, &said.out[..]), (Some(1), ""));
    assert!(said.err.contains("a layer is not what it should be"), "{said:?}");

    let mut command = Command::new(bins::atoll());
    let liar = pulling(steps);
    command.args(["template", "create", "mine", "r.test/it:v1", "--url", &liar.url(), "--api-key", "any"]);
    let mut desk = Desk::new(command, 80, 24);
    desk.until("fetching: 1.0 MiB of 4.0 MiB, 25 %");
    desk.until("tpl-aaaaaaaaaaaaaaaaaaaa");
    assert_eq!(desk.code(), Some(0));
}

#[test]
fn secrets_of_a_registry_come_from_files_and_never_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let (password, aws, bad) =
        (folder.path().join("password"), folder.path().join("aws.json"), folder.path().join("bad.json"));
    fs::write(&password, "hunter2\n").unwrap();
    fs::write(&aws, r#"{"type": "aws", "aws_access_key_id": "a", "aws_secret_access_key": "b"}"#).unwrap();
    fs::write(&bad, "hunter2").unwrap();
    let liar = pulling(vec![template("ready", json!({}))]);
    let create = |options: &[&str], input: &[u8]| {
        let mut command = Command::new(bins::atoll());
        command.args(["template", "create", "mine", "r.test/it:v1"]).args(options);
        fed(command_at(command, &liar), input)
    };
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    assert_eq!(create(&["--username", "me", "--password-file", &text(&password)], b"").code, Some(0));
    assert_eq!(create(&["--username", "me", "--password-file", "-"], b"piped").code, Some(0));
    assert_eq!(create(&["--credentials-file", &text(&aws)], b"").code, Some(0));
    let given = |index: usize| {
        let posts: Vec<_> = liar.heard().into_iter().filter(|(asked, _)| asked.starts_with("POST")).collect();
        serde_json::from_str::<Value>(&posts[index].1).unwrap()["credentials"].clone()
    };
    assert_eq!(given(0), json!({"type": "basic", "username": "me", "password": "hunter2"}));
    assert_eq!(given(1)["password"], "piped");
    assert_eq!(given(2)["type"], "aws");
    let refused = create(&["--credentials-file", &text(&bad)], b"");
    assert!(refused.code == Some(1) && refused.err.contains("bad.json"), "{refused:?}");
    assert!(!refused.err.contains("hunter2"), "{refused:?}");
    for senseless in [&["--username", "me"][..], &["--password-file", "x"], &["--password", "x"]] {
        assert_eq!(create(senseless, b"").code, Some(2), "{senseless:?}");
    }
}

/// A command that asks this server.
fn command_at(mut command: Command, liar: &Liar) -> Command {
    command.args(["--url", &liar.url(), "--api-key", "any"]);
    command
}

#[test]
fn templates_are_changed_renamed_removed_and_pruned_by_name() {
    let liar = Liar::new(|asked, _| {
        let list = json!({"items": [
            template("ready", json!({"id": "tpl-bbbbbbbbbbbbbbbbbbbb", "visibility": "public"})),
            template("ready", json!({})),
        ], "total_items": 2});
        let pruned = json!({"bytes": 2048, "items": [
            {"kind": "layer", "name": "sha256:1", "bytes": 2048, "reason": "no image has it"}]});
        match asked.split_once(' ').unwrap() {
            ("GET", "/v1/templates") => Some((200, list.to_string())),
            ("GET", _) => Some((200, template("ready", json!({"memory": 4096})).to_string())),
            ("POST", _) => Some((200, pruned.to_string())),
            _ => Some((204, String::new())),
        }
    });
    let own = "/v1/template/tpl-aaaaaaaaaaaaaaaaaaaa";
    let update =
        ["template", "update", "mine", "--memory", "4096", "--unset", "start", "--unset", "credentials"];
    let said = liar.atoll(&update);
    assert!(said.code == Some(0) && said.out.contains("4096 MiB"), "{said:?}");
    assert_eq!(liar.atoll(&["template", "rename", "mine", "yours"]).code, Some(0));
    let said = liar.atoll(&["template", "rm", "mine"]);
    assert_eq!((said.code, &said.out[..]), (Some(0), "mine\n"));
    let said = liar.atoll(&["template", "prune", "--dry-run", "--idle", "2h"]);
    assert!(said.out.contains("layer") && said.out.contains("no image has it"), "{said:?}");
    assert_eq!(said.err, "2.0 KiB would be freed\n");
    let asked: Vec<_> = liar.heard().into_iter().filter(|(asked, _)| !asked.starts_with("GET")).collect();
    let body = |index: usize| serde_json::from_str::<Value>(&asked[index].1).unwrap();
    assert_eq!(asked[0].0, format!("PATCH {own}"), "its team's own, not the public one");
    assert_eq!(body(0), json!({"memory": 4096, "start_cmd": null, "credentials": null}));
    assert_eq!((asked[1].0.clone(), body(1)), (format!("PATCH {own}"), json!({"name": "yours"})));
    assert_eq!(asked[2].0, format!("DELETE {own}"));
    assert_eq!(body(3), json!({"dry_run": true, "idle_seconds": 7200}));
    let said = liar.atoll(&["template", "update", "mine"]);
    assert!(said.code == Some(1) && said.err.contains("nothing to change"), "{said:?}");
}
