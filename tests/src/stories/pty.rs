//! Terminals.

use http::StatusCode;
use serde_json::{Value, json};
use testkit::lab::{Builder, Lab};
use testkit::socket::Socket;

use super::{run, sandbox};

/// A new terminal with a shell that prints no surprises.
async fn shell(lab: &Lab, sandbox: &str, id: &str) -> Value {
    let body = json!({ "id": id, "argv": ["/bin/sh"], "envs": { "PS1": "$ " } });
    lab.api.post(&format!("/v1/sandbox/{sandbox}/pty"), body).await.expect(201).json()
}

async fn connect(lab: &Lab, sandbox: &str, id: &str) -> Socket {
    lab.api.socket(&format!("/v1/sandbox/{sandbox}/pty/{id}/connect")).await.expect("the terminal is there")
}

async fn resize(lab: &Lab, sandbox: &str, id: &str, cols: u16, rows: u16) {
    let body = json!({ "cols": cols, "rows": rows });
    lab.api.post(&format!("/v1/sandbox/{sandbox}/pty/{id}/resize"), body).await.expect(200);
}

pub async fn a_shell_echoes_keeps_its_size_and_says_how_it_ended(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let made = lab.api.post(&format!("/v1/sandbox/{id}/pty"), json!({})).await.expect(201).json();
    assert!(made["id"].as_str().unwrap().starts_with("pty-"), "{made}");
    assert_eq!((&made["cols"], &made["rows"], &made["envs"]), (&json!(80), &json!(24), &json!({})));
    shell(&lab, &id, "main").await;
    let mut socket = connect(&lab, &id, "main").await;
    socket.type_in("echo a$((1+1))b; stty size\n").await;
    socket.until("a2b").await;
    socket.until("24 80").await;
    resize(&lab, &id, "main", 132, 50).await;
    socket.type_text("stty size; tty\n").await;
    socket.until("50 132").await;
    socket.until("/dev/pts/").await;
    socket.type_in("exit 7\n").await;
    assert_eq!(socket.closed().await, (1000, "exit_code=7".to_owned()));
    let shown = lab.api.get(&format!("/v1/sandbox/{id}/pty/main")).await.expect(200).json();
    assert_eq!(shown["active"], false);
    lab.end().await;
}

pub async fn a_viewer_who_comes_back_sees_the_present_screen(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    shell(&lab, &id, "a").await;
    shell(&lab, &id, "b").await;
    let (mut a, mut b) = (connect(&lab, &id, "a").await, connect(&lab, &id, "b").await);
    a.type_in("echo in$((1))a; seq 9 > nine; less -X nine\n").await;
    b.type_in("echo in$((1))b\n").await;
    a.until("in1a").await;
    b.until("in1b").await;
    assert!(!b.text().contains("in1a"), "one terminal shows another's text");
    drop(a);
    let mut again = connect(&lab, &id, "a").await;
    let mut beside = connect(&lab, &id, "a").await;
    again.until("in1a").await;
    again.type_in("q").await;
    again.type_in("echo still$((1))here\n").await;
    again.until("still1here").await;
    beside.until("still1here").await;
    lab.end().await;
}

pub async fn programs_that_fill_the_screen_follow_its_size(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    shell(&lab, &id, "t").await;
    let mut socket = connect(&lab, &id, "t").await;
    // Draws a mark in its last row whenever it is told of a size.
    let program = "import curses\ndef main(s):\n  while True:\n    rows, cols = s.getmaxyx(); s.clear()\n    \
                   s.addstr(rows - 1, 0, f'size {rows}x{cols}.'); s.refresh()\n    if s.getch() == ord('q'): return\n\
                   curses.wrapper(main)\n";
    let path = format!("/v1/sandbox/{id}/filesystem/write-file?path=fill.py");
    lab.api.post_bytes(&path, program).await.expect(204);
    socket.type_in("python3 fill.py; echo left$((1))it\n").await;
    socket.until("size 24x80.").await;
    resize(&lab, &id, "t", 100, 30).await;
    socket.until("size 30x100.").await;
    let mut second = connect(&lab, &id, "t").await;
    second.until("size 30x100.").await;
    socket.type_in("q").await;
    socket.until("left1it").await;
    socket.until("$ ").await;
    lab.end().await;
}

pub async fn vim_htop_and_less_follow_the_size_of_their_terminal(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    shell(&lab, &id, "t").await;
    let mut socket = connect(&lab, &id, "t").await;
    socket.type_in("seq -f 'line %g.' 500 > lines; echo so$((1))far\n").await;
    socket.until("so1far").await;
    for (pager, leave) in [("vim", ":q!\r"), ("less", "q")] {
        resize(&lab, &id, "t", 80, 24).await;
        socket.type_in(&format!("{pager} lines\n")).await;
        // All rows but the last, which is for what one asks of it.
        socket.until("line 23.").await;
        resize(&lab, &id, "t", 100, 30).await;
        socket.until("line 29.").await;
        let mut second = connect(&lab, &id, "t").await;
        second.until("line 29.").await;
        assert!(!second.text().contains("line 30."), "{pager}: {:?}", second.text());
        resize(&lab, &id, "t", 90, 20).await;
        socket.type_in("G").await;
        // What need not be drawn again is left as it is.
        socket.until("500.").await;
        connect(&lab, &id, "t").await.until("line 500.").await;
        socket.type_in(leave).await;
        // It gives the screen back; what is typed before is its own, and it may throw that away.
        socket.until("\u{1b}[?1049l").await;
        socket.type_in(&format!("echo {pager}$((1))left\n")).await;
        socket.until(&format!("{pager}1left")).await;
    }
    socket.type_in("htop\n").await;
    // Its last row.
    socket.until("Quit").await;
    for (cols, rows) in [(120, 40), (80, 24)] {
        resize(&lab, &id, "t", cols, rows).await;
        socket.until("Quit").await;
    }
    connect(&lab, &id, "t").await.until("Quit").await;
    socket.type_in("q").await;
    socket.until("\u{1b}[?1049l").await;
    socket.type_in("echo htop$((1))left\n").await;
    socket.until("htop1left").await;
    lab.end().await;
}

pub async fn a_lazy_terminal_starts_with_its_first_viewer(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let body = json!({ "id": "my term/1", "lazy_start": true, "command": "echo $MARK > begun; exec sh", "envs": { "MARK": "x" } });
    let made = lab.api.post(&format!("/v1/sandbox/{id}/pty"), body.clone()).await.expect(201).json();
    assert_eq!(
        (&made["active"], &made["lazy_start"], &made["envs"]["MARK"]),
        (&json!(false), &json!(true), &json!("x"))
    );
    lab.api.post(&format!("/v1/sandbox/{id}/pty"), body).await.expect(409);
    assert_ne!(run(&lab, &id, "cat begun").await["exit_code"], 0);
    let path = format!("/v1/sandbox/{id}/pty/my%20term%2F1");
    assert_eq!(lab.api.get(&path).await.expect(200).json()["id"], "my term/1");
    let mut socket = lab.api.socket(&format!("{path}/connect")).await.unwrap();
    socket.type_in("cat begun | tr x y\n").await;
    socket.until("y").await;
    assert_eq!(lab.api.get(&path).await.expect(200).json()["active"], true);
    lab.api.delete(&path).await.expect(204);
    assert_eq!(socket.closed().await.0, 1000);
    lab.api.get(&path).await.expect(404);
    lab.end().await;
}

pub async fn what_is_not_there_is_refused_before_the_upgrade(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let none = format!("/v1/sandbox/{id}/pty/none");
    assert_eq!(lab.api.socket(&format!("{none}/connect")).await.err(), Some(StatusCode::NOT_FOUND));
    lab.api.delete(&none).await.expect(404);
    lab.api.post(&format!("{none}/resize"), json!({ "cols": 1, "rows": 1 })).await.expect(404);
    shell(&lab, &id, "t").await;
    let path = format!("/v1/sandbox/{id}/pty/t/connect");
    lab.api.get(&path).await.expect(400);
    assert_eq!(lab.api.with_key("atoll_wrong").socket(&path).await.err(), Some(StatusCode::UNAUTHORIZED));
    let mut socket = lab.api.socket(&path).await.unwrap();
    socket.type_in("echo a$((1))b\n").await;
    socket.until("a1b").await;
    // The sandbox goes: another end than the program's own.
    lab.api.delete(&format!("/v1/sandbox/{id}/")).await;
    let (code, reason) = socket.closed().await;
    assert_eq!(code, 4410, "{reason}");
    lab.end().await;
}

pub async fn sixty_four_terminals_and_no_more(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    let path = format!("/v1/sandbox/{id}/pty");
    for number in 0..64 {
        let body = json!({ "id": number.to_string(), "lazy_start": true });
        lab.api.post(&path, body).await.expect(201);
    }
    let refused = lab.api.post(&path, json!({})).await.expect(409).json();
    assert_eq!(refused["code"], "too_many", "{refused}");
    assert_eq!(lab.api.get(&path).await.expect(200).json()["items"].as_array().unwrap().len(), 64);
    lab.api.delete(&format!("{path}/0")).await.expect(204);
    lab.api.post(&path, json!({})).await.expect(201);
    lab.end().await;
}

pub async fn a_deleted_terminal_takes_its_session_with_it(lab: Builder) {
    let lab = lab.start().await;
    let id = sandbox(&lab).await;
    shell(&lab, &id, "t").await;
    let mut socket = connect(&lab, &id, "t").await;
    socket
        .type_in("set -m; (trap '' HUP; sleep 4321) & sleep 4321 & echo $$ > shell; echo go$((1))ne\n")
        .await;
    socket.until("go1ne").await;
    lab.api.delete(&format!("/v1/sandbox/{id}/pty/t")).await.expect(204);
    socket.closed().await;
    let left = run(
        &lab,
        &id,
        "for f in /proc/[0-9]*/stat; do set -- $(sed 's/.*) //' $f 2>/dev/null); \
                               [ \"$4\" = \"$(cat shell)\" ] && [ \"$1\" != Z ] && echo $f; done; true",
    )
    .await;
    assert_eq!(left["stdout"], "", "{left}");
    lab.end().await;
}

pub async fn the_server_stops_with_a_terminal_open(lab: Builder) {
    let mut lab = lab.start().await;
    let id = sandbox(&lab).await;
    shell(&lab, &id, "t").await;
    let mut socket = connect(&lab, &id, "t").await;
    socket.type_in("echo a$((1))b\n").await;
    socket.until("a1b").await;
    let (closed, ()) = tokio::join!(socket.closed(), lab.stop_control());
    assert_eq!(closed.0, 1001);
    lab.start_control().await.unwrap();
    connect(&lab, &id, "t").await.until("a1b").await;
    lab.end().await;
}
