//! The node's side of the protocol against a peer that says what each test wants.

mod calls;
mod hostile;
mod peer;
mod relayed;

use std::time::Duration;

use bytes::Bytes;
use wire::guest::frame::{Body, CONNECTION, Channel, Frame};
use wire::guest::{
    AgentHello, Command, Done, Exec, ExecCause, ExecEnd, GENERATION, NodeHello, OLDEST_GENERATION, Request,
    WriteFile,
};

use super::{Cause, Connection, Event, GuestCall, GuestError};
use peer::Peer;

/// Anything that should happen happens within this.
const BOUND: Duration = Duration::from_secs(10);

fn node_hello() -> NodeHello {
    NodeHello { generation: GENERATION, token: "00".into(), claim: None, dial: None }
}

fn exec(stdin: bool) -> Request {
    let command = Command::Argv(vec!["true".into()]);
    Request::Exec(Exec {
        command,
        cwd: None,
        env: Default::default(),
        user: None,
        timeout_ms: None,
        stdin,
        id: None,
    })
}

fn write_file() -> Request {
    Request::WriteFile(WriteFile { path: "x".into(), mode: None })
}

fn exited(code: i32) -> Result<Done, wire::guest::Error> {
    Ok(Done::Exec(ExecEnd { exit_code: Some(code), signal: None, cause: ExecCause::Itself }))
}

fn cause(error: GuestError) -> String {
    match error {
        GuestError::Broken(cause) => cause.to_string(),
        other => panic!("not broken: {other:?}"),
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, future).await.expect("it took too long")
}
