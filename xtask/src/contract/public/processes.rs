//! Commands in a sandbox, and processes with an id.

use wire::public::process::{
    Batch, BatchRan, Execute, Executed, OnDisconnect, Process, ProcessEvent, ProcessEventKind, ProcessList,
    ProcessState, Ran, SendSignal, SignalName, Wait,
};
use wire::public::schema::{EventNumber, ProcessName};

use super::Noun;
use super::examples::CREATED_AT;
use super::failures::INSIDE;
use super::operation::{Operation, delete, get, post};
use super::sandboxes::of_one;
use super::schemas::Schemas;

const SERVER: &str = "prc-s6u2x8daq4hk3vwtn9bz";

const EVENTS: &str = "Each event has a number, `seq`, which is also its SSE `id:`. Event 0 is `started`, event *n* is the *n*th piece of output, over both channels, and the number after the last piece's is the end's. A piece of a process with an id has the same number in every stream. `gap` says that output was forgotten before it could be sent; `error` ends the stream without saying how the process ended, and repeats the number before it. Comments (`: ping`) keep the connection alive. The last event is `exit` or `error`; a stream that ends without either has failed.";

pub fn noun() -> Noun {
    Noun {
        tag: "Processes",
        text: "Commands that run in a sandbox, and processes that outlive the connection that started them. How one ends is said by the kernel or not at all: a stream without its last event has failed.",
        operations: vec![
            execute(),
            stream(),
            batch(),
            start(),
            list(),
            read(),
            attach(),
            stdin(),
            signal(),
            wait(),
            forget(),
        ],
    }
}

fn of_process(operation: Operation) -> Operation {
    of_one(operation).in_path_as::<ProcessName>("process_id", "The process.", SERVER)
}

pub fn order() -> Execute {
    Execute {
        command: Some("echo hello; echo complaint >&2".into()),
        cwd: Some("/workspace".into()),
        timeout: Some(60),
        ..Execute::default()
    }
}

pub fn executed() -> Executed {
    Executed {
        exit_code: 0,
        stdout: "hello\n".into(),
        stderr: "complaint\n".into(),
        timed_out: false,
        out_of_memory: false,
        truncated: false,
    }
}

fn process() -> Process {
    Process {
        id: SERVER.into(),
        pid: 7,
        command: "python3 -m http.server 8000".into(),
        cwd: "/workspace".into(),
        state: ProcessState::Running,
        started_at: CREATED_AT.into(),
        ended_at: None,
        exit_code: None,
        signal: None,
        how: None,
        first_seq: 1,
        last_seq: 4,
        stdin: false,
    }
}

fn execute() -> Operation {
    of_one(post("/v1/sandbox/{sandbox_id}/process/execute", "execute", "Run a command to its end"))
        .says("A command that fails is a success of this operation: its `exit_code` says so. While it runs, the answer may begin with spaces, which keep the connection alive and are white space to JSON; if it is then not known how the command ended, the answer breaks off. The command dies with the connection; what it left running in the background does not.")
        .takes(&order())
        .answers(200, "It ended.", &executed())
        .fails(INSIDE)
}

fn events(id: Option<&str>) -> [ProcessEvent; 4] {
    let event = |seq, event| ProcessEvent { seq, event };
    [
        event(0, ProcessEventKind::Started { pid: 7, id: id.map(str::to_owned) }),
        event(1, ProcessEventKind::Stdout { data: "aGVsbG8K".into() }),
        event(2, ProcessEventKind::Stderr { data: "Y29tcGxhaW50Cg==".into() }),
        event(3, ProcessEventKind::Exit { exit_code: 0, signal: None, how: "exited".into() }),
    ]
}

fn stream() -> Operation {
    of_one(post("/v1/sandbox/{sandbox_id}/process/stream", "stream_process", "Run a command and listen to it"))
        .says(EVENTS)
        .says("With `on_disconnect: \"detach\"` the command is a process with an id, which `started` tells: when the connection is lost it goes on, and `attach` goes on listening.")
        .takes(&Execute { on_disconnect: Some(OnDisconnect::Detach), ..order() })
        .answers_events("What it says, as it says it, and how it ends.", &events(Some(SERVER)))
        .fails(INSIDE)
}

fn batch() -> Operation {
    of_one(post("/v1/sandbox/{sandbox_id}/process/batch", "run_batch", "Run several commands to their ends"))
        .says("All are checked before any is run. A command that fails, or does not start, does not fail the request: its item says so. One that was not begun because of `stop_on_error` has the code `not_run`. The answer may begin with spaces, as that of `execute`.")
        .takes(&Batch { commands: vec![order()], parallel: Some(false), stop_on_error: Some(true) })
        .answers(200, "What came of each.", &BatchRan { items: vec![Ran::Executed(executed())] })
        .fails(INSIDE)
}

fn start() -> Operation {
    let order = Execute { command: Some(process().command), ..Execute::default() };
    of_one(post("/v1/sandbox/{sandbox_id}/process/start", "start_process", "Start a process that stays"))
        .says("It has an id, its own or one that you choose, and runs until it ends or its time is up, whoever is connected. Its newest output is kept, up to 1 MiB, so that `attach` hears what was said before.")
        .takes(&order)
        .answers(201, "It runs.", &process())
        .fails(INSIDE)
}

fn list() -> Operation {
    of_one(get("/v1/sandbox/{sandbox_id}/processes", "list_processes", "List processes"))
        .says("Those with an id: all that run, and the 64 that ended last.")
        .answers(200, "In the order of their starts.", &ProcessList { items: vec![process()] })
        .fails(INSIDE)
}

fn read() -> Operation {
    of_process(get("/v1/sandbox/{sandbox_id}/process/{process_id}", "get_process", "Look at a process"))
        .answers(200, "What it is, and how it ended if it has.", &process())
        .fails(INSIDE)
}

fn attach() -> Operation {
    of_process(get("/v1/sandbox/{sandbox_id}/process/{process_id}/attach", "attach_process", "Listen to a process"))
        .says(EVENTS)
        .says("From its first event, or from the one after `after`, or after `Last-Event-ID`, which counts where both are there. Any number of listeners hear all of it; a process waits for its slowest listener, but not for one that takes nothing for half a minute, which is told `error` with the code `stalled`. Listening ends with the connection, the process does not.")
        .in_query::<EventNumber>("after", "The event that was seen last.")
        .in_header::<EventNumber>("Last-Event-ID", "The same, as clients send it that come back by themselves.")
        .answers_events("What it has said and says, and how it ends.", &events(Some(SERVER)))
        .fails(INSIDE)
}

fn stdin() -> Operation {
    of_process(post("/v1/sandbox/{sandbox_id}/process/{process_id}/stdin", "write_stdin", "Send a process input"))
        .says("The body, of any length, goes into its input as it arrives. For one that was started with `open_stdin`.")
        .in_query::<bool>("eof", "Whether its input ends with this.")
        .takes_raw(false, "application/octet-stream", |_: &mut Schemas| {
            serde_json::json!({ "type": "string", "format": "binary" })
        })
        .answers_nothing(204, "Its pipe has all of it.")
        .fails(INSIDE)
}

fn signal() -> Operation {
    of_process(post(
        "/v1/sandbox/{sandbox_id}/process/{process_id}/signal",
        "signal_process",
        "Signal a process",
    ))
    .says("And all of its group, as long as it runs itself; one that has ended is a conflict.")
    .takes(&SendSignal { signal: SignalName::Name("TERM".into()) })
    .answers_nothing(204, "It is sent.")
    .fails(INSIDE)
}

fn wait() -> Operation {
    let ended = Process {
        state: ProcessState::Ended,
        ended_at: Some(CREATED_AT.into()),
        exit_code: Some(0),
        how: Some("exited".into()),
        last_seq: 5,
        ..process()
    };
    of_process(post("/v1/sandbox/{sandbox_id}/process/{process_id}/wait", "wait_process", "Wait for a process to end"))
        .says("Answers when it has ended, or shows it running when `timeout` is up. The answer may begin with spaces, as that of `execute`.")
        .may_take(&Wait { timeout: Some(60) })
        .answers(200, "What it is now.", &ended)
        .fails(INSIDE)
}

fn forget() -> Operation {
    of_process(delete(
        "/v1/sandbox/{sandbox_id}/process/{process_id}",
        "delete_process",
        "End and forget a process",
    ))
    .says("It is killed, if it runs, with its group and session; its output is gone, and its id is free.")
    .answers_nothing(204, "It is forgotten.")
    .fails(INSIDE)
}
