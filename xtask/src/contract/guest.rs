//! `contract/guest.txt`: the guest protocol.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use wire::guest::file::FileCall;
use wire::guest::frame::{self, Body, Channel, Frame};
use wire::guest::part::{Parted, Rejoin};
use wire::guest::process::ProcessCall;
use wire::guest::pty::PtyCall;
use wire::guest::watch::Watch;
use wire::guest::{
    AGENT_TCP_PORT, AgentHello, Claim, Command, Done, Edited, Error, ErrorCode, Exec, ExecCause, ExecEnd,
    GENERATION, Head, NodeHello, OLDEST_GENERATION, Outcome, Part, ReadFile, Request, Shims, Status,
    WriteFile,
};

use super::{COMMAND, calls, every_variant, example};

/// The whole file.
pub fn text() -> Result<String> {
    let mut out = format!("The guest protocol, as `wire::guest` has it. Written by `{COMMAND}`.\n");
    section(&mut out, "Numbers", &numbers());
    section(&mut out, "Frames: kind, name, example on stream 7 in hexadecimal", &frames());
    section(&mut out, "NodeHello", &node_hello()?);
    section(&mut out, "AgentHello", &agent_hello()?);
    section(&mut out, "Open: Request", &requests()?);
    section(&mut out, "Open: Command, in Request::Exec", &commands()?);
    section(&mut out, "Open: Part, in Request::ReadFile", &parts()?);
    section(&mut out, "Open: FileCall, in Request::File", &calls::file_calls()?);
    section(&mut out, "Open: Walk, in Request::Walk", &calls::walks()?);
    section(&mut out, "Open: ProcessCall, in Request::Process", &calls::process_calls()?);
    section(&mut out, "Open: PtyCall, in Request::Pty", &calls::pty_calls()?);
    section(&mut out, "Open: Probe, in Request::Boot", &calls::probes()?);
    section(&mut out, "Open: RenewKind, in Request::Renew", &calls::renew_kinds()?);
    section(&mut out, "Data of a Walk: a line", &calls::findings()?);
    section(&mut out, "Data of a Watch: a line", &calls::changes()?);
    section(
        &mut out,
        "Data of ReadFiles and WriteFiles: a bundle of one file, in hexadecimal",
        &calls::bundle(),
    );
    section(&mut out, "Head", &heads()?);
    section(&mut out, "End: Outcome", &outcomes()?);
    section(&mut out, "End: ExecCause, in Done::Exec", &causes()?);
    section(&mut out, "End: ErrorCode, in Error", &error_codes()?);
    Ok(out)
}

fn section(out: &mut String, title: &str, lines: &[String]) {
    // Writing to a string cannot fail.
    let _ = write!(out, "\n{title}\n");
    lines.iter().for_each(|line| {
        let _ = writeln!(out, "  {line}");
    });
}

fn numbers() -> Vec<String> {
    let numbers = [
        ("GENERATION", u64::from(GENERATION)),
        ("OLDEST_GENERATION", u64::from(OLDEST_GENERATION)),
        ("AGENT_TCP_PORT", u64::from(AGENT_TCP_PORT)),
        ("frame::CONNECTION", u64::from(frame::CONNECTION)),
        ("frame::DATA_BYTES_MAX", frame::DATA_BYTES_MAX as u64),
        ("frame::MESSAGE_BYTES_MAX", frame::MESSAGE_BYTES_MAX as u64),
        ("frame::INITIAL_CREDIT_BYTES", u64::from(frame::INITIAL_CREDIT_BYTES)),
        ("frame::STREAMS_MAX", frame::STREAMS_MAX as u64),
    ];
    numbers.map(|(name, number)| format!("{name:<28} {number}")).to_vec()
}

fn frames() -> Vec<String> {
    let json = || Bytes::from_static(b"{}");
    let data = || Bytes::from_static(b"hi");
    [
        ("Hello", Body::Hello(json())),
        ("Open", Body::Open(json())),
        ("Data, Stdin", Body::Data(Channel::Stdin, data())),
        ("Data, Stdout", Body::Data(Channel::Stdout, data())),
        ("Data, Stderr", Body::Data(Channel::Stderr, data())),
        ("Eof", Body::Eof(Channel::Stdin)),
        ("Credit", Body::Credit(65_536)),
        ("Head", Body::Head(json())),
        ("End", Body::End(json())),
        ("Cancel", Body::Cancel),
    ]
    .map(|(name, body)| frame_line(name, body))
    .to_vec()
}

fn frame_line(name: &str, body: Body) -> String {
    // No kind without an example: this does not compile when there is one more.
    match body {
        Body::Hello(_) | Body::Open(_) | Body::Head(_) | Body::End(_) => {}
        Body::Data(Channel::Stdin | Channel::Stdout | Channel::Stderr, _) => {}
        Body::Eof(_) | Body::Credit(_) | Body::Cancel => {}
    }
    let mut bytes = BytesMut::new();
    Frame::new(7, body).encode(&mut bytes);
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}  {name:<13} {}", bytes[8], hex.join(" "))
}

fn env() -> BTreeMap<String, String> {
    BTreeMap::from([("LANG".into(), "C.UTF-8".into())])
}

fn node_hello() -> Result<Vec<String>> {
    let claim = Claim {
        hostname: "sbx".into(),
        env: env(),
        user: "user:group".into(),
        workdir: "/workspace".into(),
        processes_max: 4096,
        memory_reserve_bytes: 33_554_432,
        shims: Shims { mask_close_range: true, uncover_tmp: false },
    };
    let first = NodeHello { generation: 1, token: "00ff".into(), claim: Some(claim), dial: None };
    let again = NodeHello { claim: None, ..first.clone() };
    let for_an_app = NodeHello { dial: Some(5173), ..again.clone() };
    Ok(vec![example(&first)?, example(&again)?, example(&for_an_app)?])
}

fn agent_hello() -> Result<Vec<String>> {
    let agent_version = "0.1.0".into();
    let hello = AgentHello { generation: 1, agent_version, claimed_now: true, refused: None, dialled: false };
    let again = AgentHello { claimed_now: false, ..hello.clone() };
    let refusal = AgentHello { refused: Some("the token is wrong".into()), ..again.clone() };
    let for_an_app = AgentHello { dialled: true, ..again };
    Ok(vec![example(&hello)?, example(&refusal)?, example(&for_an_app)?])
}

fn requests() -> Result<Vec<String>> {
    let exec = Exec {
        command: Command::Shell("echo $A".into()),
        cwd: Some("src".into()),
        env: env(),
        user: Some("root".into()),
        timeout_ms: Some(30_000),
        stdin: true,
        id: Some("build".into()),
    };
    let bare = Exec::of(exec.command.clone());
    let mut examples = every_variant!(Request {
        Request::Exec(_) => Request::Exec(exec),
        Request::ReadFile(_) => Request::ReadFile(ReadFile { path: "a".into(), part: Part::Whole }),
        Request::WriteFile(_) => Request::WriteFile(WriteFile { path: "a".into(), mode: Some(0o755) }),
        Request::ReadFiles { .. } => Request::ReadFiles { paths: vec!["a".into(), "b".into()] },
        Request::WriteFiles => Request::WriteFiles,
        Request::File(_) => Request::File(FileCall::Stat { path: "a".into() }),
        Request::Walk(_) => Request::Walk(calls::list()),
        Request::Watch(_) => Request::Watch(Watch { path: "src".into(), recursive: true, exclude: vec![".git".into()] }),
        Request::Process(_) => Request::Process(ProcessCall::List),
        Request::Pty(_) => Request::Pty(PtyCall::List),
        Request::Boot(_) => Request::Boot(calls::boot()),
        Request::Whoami => Request::Whoami,
        Request::Pause { .. } => Request::Pause { rejoinable: true },
        Request::Rejoin(_) => Request::Rejoin(Rejoin { ticket: 7, input: true }),
        Request::Renew(_) => Request::Renew(calls::renew()),
        Request::Status => Request::Status,
    });
    examples.insert(1, example(&Request::Exec(bare))?);
    Ok(examples)
}

fn commands() -> Result<Vec<String>> {
    Ok(every_variant!(Command {
        Command::Argv(_) => Command::Argv(vec!["ls".into(), "-l".into()]),
        Command::Shell(_) => Command::Shell("ls -l".into()),
    }))
}

fn parts() -> Result<Vec<String>> {
    Ok(every_variant!(Part {
        Part::Whole => Part::Whole,
        Part::Bytes { .. } => Part::Bytes { offset: 10, limit: Some(20) },
        Part::Head { .. } => Part::Head { lines: 3 },
        Part::Tail { .. } => Part::Tail { lines: 3 },
    }))
}

fn heads() -> Result<Vec<String>> {
    Ok(every_variant!(Head {
        Head::File { .. } => Head::File { size_bytes: 5 },
        Head::Process { .. } => Head::Process { pid: 42 },
        Head::Attached { .. } => Head::Attached { pid: 42, from: 7 },
        Head::Watching => Head::Watching,
        Head::Pty(_) => Head::Pty(calls::pty_info()),
    }))
}

fn outcomes() -> Result<Vec<String>> {
    let exited = ExecEnd { exit_code: Some(3), signal: None, cause: ExecCause::Itself };
    let killed = ExecEnd { exit_code: None, signal: Some(9), cause: ExecCause::Timeout };
    let status = Status {
        agent_version: "0.1.0".into(),
        uptime_seconds: 60,
        processes: 2,
        requests: 1,
        memory_total_bytes: 1_073_741_824,
        memory_available_bytes: 536_870_912,
        agent_resident_bytes: 1_048_576,
        memory_kills: 0,
    };
    let mut examples = every_variant!(Outcome {
        Ok(Done::Exec(_)) => Ok(Done::Exec(exited)),
        Ok(Done::Read { .. }) => Ok(Done::Read { bytes: 5 }),
        Ok(Done::Write { .. }) => Ok(Done::Write { bytes: 5 }),
        Ok(Done::Nothing) => Ok(Done::Nothing),
        Ok(Done::Truth(_)) => Ok(Done::Truth(true)),
        Ok(Done::Info(_)) => Ok(Done::Info(calls::file_info())),
        Ok(Done::Edited(_)) => Ok(Done::Edited(Edited { diff: "--- a\n".into(), replacements: 1 })),
        Ok(Done::Walked { .. }) => Ok(Done::Walked { items: 3 }),
        Ok(Done::Processes(_)) => Ok(Done::Processes(vec![calls::process_info()])),
        Ok(Done::Ptys(_)) => Ok(Done::Ptys(vec![calls::pty_info()])),
        Ok(Done::Booted(_)) => Ok(Done::Booted(calls::booted())),
        Ok(Done::Whoami(_)) => Ok(Done::Whoami(calls::whoami())),
        Ok(Done::Parted(_)) => Ok(Done::Parted(Parted { ticket: 7, received: 5, input: true })),
        Ok(Done::Renewed(_)) => Ok(Done::Renewed(calls::renewed())),
        Ok(Done::Status(_)) => Ok(Done::Status(status)),
        Err(Error { .. }) => Err(Error { code: ErrorCode::NotFound, message: "a: no such file".into() }),
    });
    examples.insert(1, example::<Outcome>(&Ok(Done::Exec(killed)))?);
    Ok(examples)
}

fn causes() -> Result<Vec<String>> {
    Ok(every_variant!(ExecCause {
        ExecCause::Itself => ExecCause::Itself,
        ExecCause::Timeout => ExecCause::Timeout,
        ExecCause::OutOfMemory => ExecCause::OutOfMemory,
        ExecCause::Cancelled => ExecCause::Cancelled,
        ExecCause::NotStarted => ExecCause::NotStarted,
    }))
}

fn error_codes() -> Result<Vec<String>> {
    Ok(every_variant!(ErrorCode {
        ErrorCode::NotFound => ErrorCode::NotFound,
        ErrorCode::PermissionDenied => ErrorCode::PermissionDenied,
        ErrorCode::IsADirectory => ErrorCode::IsADirectory,
        ErrorCode::NotADirectory => ErrorCode::NotADirectory,
        ErrorCode::AlreadyExists => ErrorCode::AlreadyExists,
        ErrorCode::NotEmpty => ErrorCode::NotEmpty,
        ErrorCode::TooMany => ErrorCode::TooMany,
        ErrorCode::WrongState => ErrorCode::WrongState,
        ErrorCode::DiskFull => ErrorCode::DiskFull,
        ErrorCode::ProcessLimit => ErrorCode::ProcessLimit,
        ErrorCode::TooLarge => ErrorCode::TooLarge,
        ErrorCode::Invalid => ErrorCode::Invalid,
        ErrorCode::Unsupported => ErrorCode::Unsupported,
        ErrorCode::Cancelled => ErrorCode::Cancelled,
        ErrorCode::Stalled => ErrorCode::Stalled,
        ErrorCode::Io => ErrorCode::Io,
    }))
}
