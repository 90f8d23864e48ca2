//! Terminals of a sandbox.

use serde_json::json;
use wire::public::pty::{CreatePty, Pty, PtyList, ResizePty};

use super::Noun;
use super::examples::CREATED_AT;
use super::failures::INSIDE;
use super::operation::{Operation, delete, get, post};
use super::sandboxes::of_one;

pub fn noun() -> Noun {
    Noun {
        tag: "Terminals",
        text: "Programs on a terminal of their own, a shell unless told otherwise. They go on when nobody is connected, and whoever connects is shown the present screen first. An id may be any text: in a path it is percent-encoded, slashes too.",
        operations: vec![create(), list(), read(), resize(), connect(), close()],
    }
}

fn pty() -> Pty {
    Pty {
        id: "main".into(),
        cwd: "/workspace".into(),
        envs: Default::default(),
        cols: 80,
        rows: 24,
        created_at: CREATED_AT.into(),
        active: true,
        lazy_start: false,
    }
}

fn of_terminal(operation: Operation) -> Operation {
    of_one(operation).in_path("pty_id", "The terminal.", &"main".to_owned())
}

fn create() -> Operation {
    let order = CreatePty { id: Some("main".into()), cols: Some(80), rows: Some(24), ..CreatePty::default() };
    of_one(post("/v1/sandbox/{sandbox_id}/pty", "create_pty", "Make a terminal"))
        .may_take(&order)
        .answers(201, "It is made.", &pty())
        .fails(INSIDE)
}

fn list() -> Operation {
    of_one(get("/v1/sandbox/{sandbox_id}/pty", "list_ptys", "List terminals"))
        .answers(200, "All of them, in the order they were made.", &PtyList { items: vec![pty()] })
        .fails(INSIDE)
}

fn read() -> Operation {
    of_terminal(get("/v1/sandbox/{sandbox_id}/pty/{pty_id}", "get_pty", "Look at a terminal"))
        .answers(200, "The terminal.", &pty())
        .fails(INSIDE)
}

fn resize() -> Operation {
    of_terminal(post("/v1/sandbox/{sandbox_id}/pty/{pty_id}/resize", "resize_pty", "Resize a terminal"))
        .says("Its program is told (`SIGWINCH`).")
        .takes(&ResizePty { cols: 132, rows: 50 })
        .answers(200, "The terminal, with its new size.", &Pty { cols: 132, rows: 50, ..pty() })
        .fails(INSIDE)
}

fn connect() -> Operation {
    of_terminal(get("/v1/sandbox/{sandbox_id}/pty/{pty_id}/connect", "connect_pty", "Connect to a terminal"))
        .says("A WebSocket of raw bytes: what the terminal shows in binary messages, what is typed in binary or text messages. When the program ends, the server closes with code 1000 and a reason such as `exit_code=0` or `exit_code=143 signal=15`; with 1001 when it stops, 1008 when a client took nothing for too long, 4410 when the sandbox has ended, 1011 when the connection to it broke.")
        .answers_raw(101, "The connection is a WebSocket.", "application/octet-stream", |_| json!({ "type": "string", "format": "binary" }))
        .fails(INSIDE)
}

fn close() -> Operation {
    of_terminal(delete("/v1/sandbox/{sandbox_id}/pty/{pty_id}", "delete_pty", "Close a terminal"))
        .says("Its program is hung up and then killed, with all of its session.")
        .answers_nothing(204, "It is gone.")
        .fails(INSIDE)
}
