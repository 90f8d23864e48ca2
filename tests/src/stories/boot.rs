//! What a sandbox starts with. Told to the node itself, with control away: there each has a part of its own to play.

use std::net::{Ipv4Addr, TcpListener};

use runner::guest::{Event, GuestCall};
use rustix::process::{Signal, kill_process};
use testkit::lab::{Builder, Lab, eventually};
use testkit::machines::Kind;
use wire::guest::boot::PROCESS_ID;
use wire::guest::process::{ProcessCall, ProcessInfo};
use wire::guest::{Command, Done, Exec, ExecCause, ExecEnd, Outcome, Request};
use wire::id::{ENTROPY_BYTES, SandboxId};
use wire::node::{DeleteSandbox, Observed};
use wire::sandbox::{Boot, HttpProbe, Probe, ReadyCheck, Reason, State};

use super::crash::machine;

/// A ready check that is to succeed has so long: emulated machines are slow.
const PATIENCE_SECONDS: u32 = 600;

/// Serves HTTP on the address and port it is told, and is healthy from the third time it is asked on.
const SERVICE: &str = r#"
import http.server, socket, sys
asked = 0
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global asked
        asked += 1
        self.send_response(200 if self.path == "/health" and asked > 2 else 503)
        self.end_headers()
class Server(http.server.HTTPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
Server((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"#;

async fn begin(lab: Builder) -> Lab {
    let mut lab = lab.start().await;
    lab.stop_control().await;
    lab
}

fn id(number: u8) -> SandboxId {
    SandboxId::from_entropy([number; ENTROPY_BYTES])
}

fn boot(argv: &[&str], ready: Option<(Probe, u32)>) -> Boot {
    let ready = ready.map(|(probe, timeout_seconds)| ReadyCheck { probe, timeout_seconds });
    Boot { argv: argv.iter().map(|word| (*word).to_owned()).collect(), ready, stop_signal: None }
}

fn shell(script: &str, ready: Option<(Probe, u32)>) -> Boot {
    boot(&["sh", "-c", script], ready)
}

fn command(line: &str) -> Option<(Probe, u32)> {
    Some((Probe::Command(line.into()), PATIENCE_SECONDS))
}

/// A port nobody listens on, here or in a machine that has none of its own.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// What came of a sandbox that must run.
async fn running(lab: &Lab, id: &SandboxId, boot: Boot) -> Observed {
    let observed = lab.put(id, boot).await.unwrap();
    assert_eq!((observed.state, observed.death.as_ref()), (State::Running, None));
    assert!(observed.steps.iter().any(|step| step.step == "ready"), "{:?}", observed.steps);
    observed
}

/// What was seen of a sandbox that must not come up.
async fn failed(lab: &Lab, id: &SandboxId, boot: Boot) -> String {
    let observed = lab.put(id, boot).await.unwrap();
    let death = observed.death.expect("it has ended");
    assert_eq!((observed.state, death.reason), (State::Deleted, Reason::CreateFailed), "{death:?}");
    assert_eq!(lab.runner().supervisor().node.engine.owned().await.unwrap(), []);
    death.evidence
}

async fn delete(lab: &Lab, id: &SandboxId) -> Observed {
    let delete = DeleteSandbox { generation: 2, reason: Reason::Deleted };
    lab.runner().supervisor().delete(id, delete).await
}

fn state(lab: &Lab, id: &SandboxId) -> Option<State> {
    lab.runner().supervisor().observed(id).map(|observed| observed.state)
}

async fn request(lab: &Lab, id: &SandboxId, request: &Request) -> GuestCall {
    let (connection, _talking) = lab.runner().supervisor().guest(id).await.unwrap();
    connection.request(request).await.unwrap()
}

/// All that is said, and the end.
async fn heard(mut call: GuestCall) -> (String, Outcome) {
    let mut said = Vec::new();
    loop {
        match call.next().await.unwrap() {
            Event::Data(_, bytes) => said.extend_from_slice(&bytes),
            Event::End(outcome) => return (String::from_utf8(said).unwrap(), outcome),
            Event::Head(_) | Event::Eof(_) => {}
        }
    }
}

fn script(text: &str) -> Request {
    let command = Command::Shell(text.into());
    let env = Default::default();
    Request::Exec(Exec { command, cwd: None, env, user: None, timeout_ms: None, stdin: false, id: None })
}

async fn run(lab: &Lab, id: &SandboxId, text: &str) -> String {
    heard(request(lab, id, &script(text)).await).await.0
}

/// Its process, as it is listed.
async fn info(lab: &Lab, id: &SandboxId) -> ProcessInfo {
    let outcome = heard(request(lab, id, &Request::Process(ProcessCall::List)).await).await.1;
    let Ok(Done::Processes(infos)) = outcome else { panic!("{outcome:?}") };
    infos.into_iter().find(|info| info.id == PROCESS_ID).expect("it is listed")
}

fn attach() -> Request {
    Request::Process(ProcessCall::Attach { id: PROCESS_ID.into(), from: 0 })
}

/// All it said, and how it ended.
async fn said(lab: &Lab, id: &SandboxId) -> (String, ExecEnd) {
    match heard(request(lab, id, &attach()).await).await {
        (said, Ok(Done::Exec(end))) => (said, end),
        other => panic!("{other:?}"),
    }
}

pub async fn a_server_is_up_when_its_port_answers(lab: Builder) {
    let lab = begin(lab).await;
    let port = free_port();
    let argv = ["python3", "-m", "http.server", &port.to_string(), "--bind", "127.0.0.1"];
    running(&lab, &id(1), boot(&argv, Some((Probe::Port(port), PATIENCE_SECONDS)))).await;
    let fetch = format!(
        "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:{port}\").status)'"
    );
    assert_eq!(run(&lab, &id(1), &fetch).await, "200\n");
    let server = info(&lab, &id(1)).await;
    assert_eq!((server.command.as_str(), server.end), (&*argv.join(" "), None));
    // It is a process like any other, and its end is not that of the sandbox.
    let kill = ProcessCall::Signal { id: PROCESS_ID.into(), signal: 9 };
    heard(request(&lab, &id(1), &Request::Process(kill)).await).await.1.unwrap();
    assert_eq!(said(&lab, &id(1)).await.1.signal, Some(9));
    assert_eq!(run(&lab, &id(1), "echo still here").await, "still here\n");
    lab.end().await;
}

pub async fn a_service_is_up_when_it_answers_well(lab: Builder) {
    let lab = begin(lab).await;
    for (number, address) in [(1, "127.0.0.1"), (2, "::1")] {
        if address == "::1" && lab.kind != Kind::Fake {
            // Machines have no IPv6 yet, not even to themselves.
            continue;
        }
        let port = free_port();
        let argv = ["python3", "-uc", SERVICE, address, &port.to_string()];
        let probe = Probe::Http(HttpProbe { port, path: "/health".into() });
        running(&lab, &id(number), boot(&argv, Some((probe, PATIENCE_SECONDS)))).await;
    }
    lab.end().await;
}

pub async fn a_command_says_when_it_is_up(lab: Builder) {
    let lab = begin(lab).await;
    let up = "until test -e asked; do sleep 0.02; done; touch up; exec sleep 1000";
    running(&lab, &id(1), shell(up, command("touch asked; test -e up"))).await;
    assert_eq!(run(&lab, &id(1), "test -e up && echo up").await, "up\n");
    lab.end().await;
}

pub async fn one_that_ends_before_it_is_up_fails_the_create_with_its_last_words(lab: Builder) {
    let lab = begin(lab).await;
    let port = free_port();
    let evidence = failed(
        &lab,
        &id(1),
        shell("echo no configuration >&2; exit 3", Some((Probe::Port(port), PATIENCE_SECONDS))),
    )
    .await;
    assert!(evidence.contains("exited with code 3") && evidence.contains("no configuration"), "{evidence}");
    lab.end().await;
}

pub async fn one_that_never_comes_up_fails_the_create_with_what_was_seen(lab: Builder) {
    let lab = begin(lab).await;
    let port = free_port();
    let evidence =
        failed(&lab, &id(1), shell("echo thinking; exec sleep 1000", Some((Probe::Port(port), 1)))).await;
    for part in ["runs", &format!("port {port}"), "connection refused", "thinking"] {
        assert!(evidence.contains(part), "{evidence}");
    }
    lab.end().await;
}

pub async fn what_cannot_be_started_loses_the_sandbox_only_where_it_was_to_be_waited_for(lab: Builder) {
    let lab = begin(lab).await;
    let missing = ["/nosuch/program", "-x"];
    running(&lab, &id(1), boot(&missing, None)).await;
    let (why, end) = said(&lab, &id(1)).await;
    assert!(why.contains("/nosuch/program"), "{why}");
    assert_eq!((end.exit_code, end.cause), (None, ExecCause::NotStarted));
    assert_eq!(info(&lab, &id(1)).await.command, missing.join(" "));
    delete(&lab, &id(1)).await;
    let evidence = failed(&lab, &id(2), boot(&missing, command("true"))).await;
    assert!(evidence.contains("could not be started") && evidence.contains("/nosuch/program"), "{evidence}");
    lab.end().await;
}

pub async fn it_starts_as_the_user_in_the_workdir_with_the_environment_and_no_input(lab: Builder) {
    let lab = begin(lab).await;
    running(&lab, &id(1), shell("pwd; echo \"$LANG\"; cat; echo done; id -un", None)).await;
    let (said, end) = said(&lab, &id(1)).await;
    assert_eq!(end.exit_code, Some(0));
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].ends_with("/workspace"), "{lines:?}");
    assert_eq!(lines[1..3], ["C.UTF-8", "done"]);
    if lab.kind != Kind::Fake {
        assert_eq!(lines[3], "user");
    }
    lab.end().await;
}

pub async fn it_is_asked_to_stop_before_the_machine_goes(lab: Builder) {
    let lab = begin(lab).await;
    let script = "trap 'echo bye; until test -e heard; do sleep 0.02; done; exit' USR1; touch up; while :; do sleep 0.02; done";
    let stop_signal = Some("SIGUSR1".into());
    running(&lab, &id(1), Boot { stop_signal, ..shell(script, command("test -e up")) }).await;
    let mut listener = request(&lab, &id(1), &attach()).await;
    // It does not end before it was heard, which is after the delete began.
    let listen = async {
        let mut said = String::new();
        while !said.contains("bye") {
            match listener.next().await.expect("its last words are heard") {
                Event::Data(_, bytes) => said += &String::from_utf8_lossy(&bytes),
                Event::End(outcome) => panic!("it did not say it: {said}{outcome:?}"),
                Event::Head(_) | Event::Eof(_) => {}
            }
        }
    };
    let id = id(1);
    let ((), gone) = tokio::join!(listen, delete(&lab, &id));
    assert_eq!(gone.state, State::Deleted);
    assert_eq!(gone.death.map(|death| death.reason), Some(Reason::Deleted));
    lab.end().await;
}

pub async fn one_that_does_not_stop_or_answer_goes_all_the_same(lab: Builder) {
    let lab = begin(lab).await;
    let deaf = "trap '' TERM; touch up; while :; do sleep 0.02; done";
    for number in [1, 2] {
        let stop_signal = Some("TERM".into());
        running(&lab, &id(number), Boot { stop_signal, ..shell(deaf, command("test -e up")) }).await;
    }
    kill_process(machine(&lab, id(2).as_str()).await, Signal::STOP).unwrap();
    let (deaf, hung) = (id(1), id(2));
    let (deaf, hung) = tokio::join!(delete(&lab, &deaf), delete(&lab, &hung));
    assert_eq!((deaf.state, hung.state), (State::Deleted, State::Deleted));
    lab.end().await;
}

pub async fn a_delete_does_not_wait_until_it_is_up(lab: Builder) {
    let lab = begin(lab).await;
    let id = id(1);
    let put = lab.put(&id, shell("touch begun; exec sleep 1000", command("touch tried; false")));
    let delete = async {
        eventually("it is being waited for", async || state(&lab, &id) == Some(State::Starting)).await;
        run(&lab, &id, "until test -e begun -a -e tried; do sleep 0.02; done").await;
        assert_eq!(state(&lab, &id), Some(State::Starting));
        delete(&lab, &id).await
    };
    let (put, deleted) = tokio::join!(put, delete);
    assert_eq!(deleted.death.as_ref().map(|death| death.reason), Some(Reason::Deleted));
    assert_eq!(put.unwrap().death, deleted.death);
    lab.end().await;
}

pub async fn a_node_that_restarts_meanwhile_starts_it_neither_twice_nor_never(lab: Builder) {
    let mut lab = begin(lab).await;
    let counts = "echo x >> starts; until test -e go; do sleep 0.02; done; touch up; exec sleep 1000";
    // Between its start and the record of it, and while it is waited for.
    for (number, ready) in [(1, None), (2, command("test -e up"))] {
        let id = id(number);
        let hold = ready.is_none().then(|| lab.hold("ready"));
        let interrupted = async {
            match &hold {
                Some(hold) => hold.reached().await,
                None => drop(run(&lab, &id, "until test -e starts; do sleep 0.02; done").await),
            }
        };
        let put = async {
            lab.put(&id, shell(counts, ready)).await.unwrap();
            panic!("it is up before it was to be");
        };
        tokio::select! {
            () = put => {}
            () = async {
                eventually("it has begun", async || state(&lab, &id).is_some()).await;
                interrupted.await;
            } => {}
        }
        lab.stop_node().await;
        hold.into_iter().for_each(|hold| hold.release());
        lab.start_node().await.unwrap();
        run(&lab, &id, "until test -e starts; do sleep 0.02; done; touch go").await;
        eventually("it runs", async || state(&lab, &id) == Some(State::Running)).await;
        assert_eq!(run(&lab, &id, "until test -e up; do sleep 0.02; done; cat starts").await, "x\n");
    }
    lab.end().await;
}
