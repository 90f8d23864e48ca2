//! Commands in a sandbox.

use wire::public::process::{Execute, Executed, ProcessEvent, ProcessEventKind};

use super::Noun;
use super::failures::INSIDE;
use super::operation::{Operation, post};
use super::sandboxes::of_one;

pub fn noun() -> Noun {
    Noun {
        tag: "Processes",
        text: "Commands that run in a sandbox. How a command ends is said by the kernel or not at all: a stream without its last event has failed.",
        operations: vec![execute(), stream()],
    }
}

fn order() -> Execute {
    Execute {
        command: Some("echo hello; echo complaint >&2".into()),
        argv: None,
        cwd: Some("/workspace".into()),
        envs: None,
        timeout: Some(60),
    }
}

fn execute() -> Operation {
    let executed = Executed {
        exit_code: 0,
        stdout: "hello\n".into(),
        stderr: "complaint\n".into(),
        timed_out: false,
        out_of_memory: false,
        truncated: false,
    };
    of_one(post("/v1/sandbox/{sandbox_id}/process/execute", "execute", "Run a command to its end"))
        .says("A command that fails is a success of this operation: its `exit_code` says so. While it runs, the answer may begin with spaces, which keep the connection alive and are white space to JSON; if it is then not known how the command ended, the answer breaks off.")
        .takes(&order())
        .answers(200, "It ended.", &executed)
        .fails(INSIDE)
}

fn stream() -> Operation {
    let event = |seq, event| ProcessEvent { seq, event };
    let events = [
        event(0, ProcessEventKind::Started { pid: 7 }),
        event(1, ProcessEventKind::Stdout { data: "aGVsbG8K".into() }),
        event(2, ProcessEventKind::Stderr { data: "Y29tcGxhaW50Cg==".into() }),
        event(3, ProcessEventKind::Exit { exit_code: 0, signal: None, how: "exited".into() }),
    ];
    of_one(post("/v1/sandbox/{sandbox_id}/process/stream", "stream_process", "Run a command and listen to it"))
        .says("Comments (`: ping`) keep the connection alive. The last event is `exit` or `error`; a stream that ends without either has failed.")
        .takes(&order())
        .answers_events("What it says, as it says it, and how it ends.", &events)
        .fails(INSIDE)
}
