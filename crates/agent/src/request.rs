//! From a request to the code that carries it out.

use bytes::Bytes;
use serde::Deserialize;
use wire::guest::{Done, Error, ErrorCode, Outcome, Request};

use crate::agent::Session;
use crate::connection::stream::Stream;
use crate::{boot, failure, file, process, pty, renew, status, whoami};

/// The requests this agent knows, by their `op`.
const KNOWN: [&str; 16] = [
    "exec",
    "read_file",
    "write_file",
    "process",
    "pty",
    "boot",
    "read_files",
    "write_files",
    "file",
    "walk",
    "whoami",
    "watch",
    "pause",
    "rejoin",
    "renew",
    "status",
];

/// Does what is asked.
pub async fn carry_out(session: &Session, stream: &Stream, json: Bytes) -> Outcome {
    let request = understand(&json)?;
    drop(json);
    let agent = &*session.agent;
    let claimed = agent.claimed()?;
    match request {
        Request::Exec(exec) => process::exec(agent, claimed, stream, exec).await,
        Request::ReadFile(read) => file::read(&agent.files, &claimed.sandbox, stream, read).await,
        Request::WriteFile(write) => file::write(&agent.files, &claimed.sandbox, stream, write).await,
        Request::Process(call) => process::call(agent, stream, call).await,
        Request::Pty(call) => pty::call(agent, claimed, stream, call).await,
        Request::Boot(order) => boot::boot(agent, claimed, stream, order).await,
        Request::ReadFiles { paths } => file::read_all(&agent.files, &claimed.sandbox, stream, paths).await,
        Request::WriteFiles => file::write_all(&agent.files, &claimed.sandbox, stream).await,
        Request::File(call) => file::call(&agent.files, &claimed.sandbox, stream, call).await,
        Request::Walk(walk) => file::walk(&agent.files, &claimed.sandbox, stream, walk).await,
        Request::Whoami => whoami::whoami(&claimed.sandbox),
        Request::Watch(watch) => file::watch(&agent.files, &claimed.sandbox, stream, watch).await,
        Request::Pause { rejoinable } => {
            agent.parting.part(rejoinable).await;
            Ok(Done::Nothing)
        }
        Request::Rejoin(rejoin) => agent.parting.rejoin(rejoin)?.talk(agent, stream).await,
        Request::Renew(order) => renew::renew(session, claimed, order).await,
        Request::Status => status::status(agent, claimed).await,
    }
}

/// Tells a request of a newer node from a wrong one.
fn understand(json: &[u8]) -> Result<Request, Error> {
    #[derive(Deserialize)]
    struct Named {
        op: String,
    }
    serde_json::from_slice(json).map_err(|error| match serde_json::from_slice(json) {
        Ok(Named { op }) if !KNOWN.contains(&op.as_str()) => {
            Error::new(ErrorCode::Unsupported, format!("this agent does not know `{op}`"))
        }
        _ => failure::invalid(format!("not a request: {error}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::guest::boot::Boot;
    use wire::guest::file::{FileCall, Walk};
    use wire::guest::part::Rejoin;
    use wire::guest::process::ProcessCall;
    use wire::guest::pty::PtyCall;
    use wire::guest::renew::{Renew, RenewKind};
    use wire::guest::watch::Watch;
    use wire::guest::{Command, Exec, Part, ReadFile, WriteFile};

    #[test]
    fn every_request_is_known() {
        let exec = Exec {
            command: Command::Shell(String::new()),
            cwd: None,
            env: Default::default(),
            user: None,
            timeout_ms: None,
            stdin: false,
            id: None,
        };
        let renew = Renew {
            token: String::new(),
            hostname: "a".into(),
            wall_ms: 0,
            kind: RenewKind::Wake,
            entropy: String::new(),
        };
        let requests = [
            Request::Exec(exec),
            Request::ReadFile(ReadFile { path: "/a".into(), part: Part::Whole }),
            Request::WriteFile(WriteFile { path: "/a".into(), mode: None }),
            Request::Process(ProcessCall::List),
            Request::Pty(PtyCall::List),
            Request::Boot(Boot { argv: vec!["true".into()], ready: None }),
            Request::ReadFiles { paths: vec!["/a".into()] },
            Request::WriteFiles,
            Request::File(FileCall::Stat { path: "/a".into() }),
            Request::Walk(Walk::List { path: "/a".into(), recursive: false, exclude: Vec::new() }),
            Request::Whoami,
            Request::Watch(Watch { path: "/a".into(), recursive: false, exclude: Vec::new() }),
            Request::Pause { rejoinable: true },
            Request::Rejoin(Rejoin { ticket: 1, input: false }),
            Request::Renew(renew),
            Request::Status,
        ];
        for (request, op) in requests.iter().zip(KNOWN) {
            let json = serde_json::to_value(request).unwrap();
            assert_eq!(json["op"], op);
            assert_eq!(understand(json.to_string().as_bytes()).as_ref(), Ok(request));
        }
    }

    #[test]
    fn a_newer_request_and_a_wrong_one_fail_differently() {
        let code = |json: &str| understand(json.as_bytes()).unwrap_err().code;
        assert_eq!(code(r#"{"op":"teleport"}"#), ErrorCode::Unsupported);
        assert_eq!(code(r#"{"op":"read_file"}"#), ErrorCode::Invalid);
        assert_eq!(code("[]"), ErrorCode::Invalid);
    }

    #[test]
    fn a_pause_of_an_older_node_has_nobody_come_back() {
        let pause = understand(br#"{"op":"pause"}"#);
        assert_eq!(pause, Ok(Request::Pause { rejoinable: false }));
    }
}
