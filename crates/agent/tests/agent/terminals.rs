//! Terminals: programs that stay when their viewers leave, and what viewers see.

use std::collections::BTreeMap;

use bytes::Bytes;
use wire::guest::frame::{Body, Channel};
use wire::guest::pty::{CELLS_MAX, PTYS_MAX, PtyCall, PtyInfo, PtySpec, SIDE_MAX};
use wire::guest::{Command, Done, Error, ErrorCode, ExecCause, ExecEnd, Head, Outcome, Request};

use crate::harness::{Agent, Client, claim_for_ordinary_user, eventually, is_alive, pid_in};

/// A terminal with a shell that prints no surprises.
fn spec(id: &str) -> PtySpec {
    PtySpec {
        id: id.into(),
        cols: 80,
        rows: 24,
        cwd: None,
        env: BTreeMap::from([("PS1".into(), "$ ".into())]),
        user: None,
        command: Some(Command::Argv(vec!["/bin/sh".into()])),
        lazy: false,
    }
}

fn ask(client: &mut Client, call: PtyCall) -> Outcome {
    let stream = client.open(&Request::Pty(call));
    client.collect(stream).3
}

fn infos(outcome: Outcome) -> Result<Vec<PtyInfo>, Error> {
    match outcome? {
        Done::Ptys(infos) => Ok(infos),
        other => panic!("no terminals: {other:?}"),
    }
}

fn open(client: &mut Client, spec: PtySpec) -> PtyInfo {
    infos(ask(client, PtyCall::Open(spec))).unwrap().pop().unwrap()
}

fn get(client: &mut Client, id: &str) -> Result<PtyInfo, Error> {
    infos(ask(client, PtyCall::Get { id: id.into() })).map(|mut infos| infos.pop().unwrap())
}

/// One viewer, and what it has seen.
struct View {
    stream: u32,
    seen: Vec<u8>,
    end: Option<Outcome>,
}

impl View {
    fn of(client: &mut Client, id: &str) -> Self {
        let stream = client.open(&Request::Pty(PtyCall::Attach { id: id.into() }));
        match client.next(stream) {
            Body::Head(json) => {
                let head: Head = serde_json::from_slice(&json).unwrap();
                assert!(matches!(head, Head::Pty(info) if info.id == id && info.active));
            }
            other => panic!("no head: {other:?}"),
        }
        Self { stream, seen: Vec::new(), end: None }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    fn type_in(&self, client: &mut Client, text: &str) {
        client.send(self.stream, Body::Data(Channel::Stdin, Bytes::copy_from_slice(text.as_bytes())));
    }

    /// Takes the next thing the terminal says.
    fn step(&mut self, client: &mut Client) {
        match client.next(self.stream) {
            Body::Data(Channel::Stdout, bytes) => {
                self.seen.extend_from_slice(&bytes);
                client.send(self.stream, Body::Credit(bytes.len() as u32));
            }
            Body::End(json) => self.end = Some(serde_json::from_slice(&json).unwrap()),
            Body::Credit(_) => {}
            other => panic!("a terminal does not say {other:?}"),
        }
    }

    /// Looks until this is seen.
    fn until(&mut self, client: &mut Client, text: &str) {
        while !self.text().contains(text) {
            assert!(self.end.is_none(), "{text:?} was never shown: {:?}, {:?}", self.text(), self.end);
            self.step(client);
        }
    }

    fn until_end(&mut self, client: &mut Client) -> Outcome {
        while self.end.is_none() {
            self.step(client);
        }
        self.end.take().unwrap()
    }

    fn leave(self, client: &mut Client) {
        client.send(self.stream, Body::Cancel);
        let mut this = self;
        assert_eq!(this.until_end(client).unwrap_err().code, ErrorCode::Cancelled);
    }
}

/// A test that fails shows what the viewer saw.
impl Drop for View {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("a viewer saw {:?}", self.text());
        }
    }
}

#[test]
fn what_is_typed_is_echoed_and_stays_when_the_viewer_leaves() {
    let (agent, mut client) = Agent::claimed();
    let info = open(&mut client, spec("main"));
    assert_eq!((info.cols, info.rows, info.active, info.lazy), (80, 24, true, false));
    assert_eq!(info.cwd, "/work");
    let mut view = View::of(&mut client, "main");
    view.type_in(&mut client, "x=kept; echo a$((1+1))b\n");
    view.until(&mut client, "a2b");
    assert!(view.text().contains("echo a$((1+1))b"), "it is echoed");
    view.leave(&mut client);
    drop(client);
    let mut client = agent.reconnect();
    let mut again = View::of(&mut client, "main");
    again.until(&mut client, "a2b");
    again.type_in(&mut client, "echo $x$x\n");
    again.until(&mut client, "keptkept");
}

#[test]
fn all_viewers_see_all_and_all_may_type() {
    let (agent, mut one) = Agent::claimed();
    let mut other = agent.reconnect();
    open(&mut one, spec("shared"));
    let (mut first, mut second) = (View::of(&mut one, "shared"), View::of(&mut other, "shared"));
    first.type_in(&mut one, "echo 1$((0))1\n");
    second.until(&mut other, "101");
    second.type_in(&mut other, "echo 2$((0))2\n");
    first.until(&mut one, "202");
    second.until(&mut other, "202");
}

#[test]
fn the_program_has_a_terminal_of_its_own_and_learns_of_its_size() {
    let (_agent, mut client) = Agent::claimed();
    open(&mut client, spec("t"));
    let mut view = View::of(&mut client, "t");
    view.type_in(
        &mut client,
        "echo $TERM; stty size; (exec </dev/tty && echo con'trolled'); tty | sed 's/^/<&/'\n",
    );
    view.until(&mut client, "xterm-256color");
    view.until(&mut client, "24 80");
    view.until(&mut client, "controlled");
    view.until(&mut client, "</dev/pts/");
    view.type_in(&mut client, "trap 'echo re'sized' $(stty size)' WINCH; echo s$((1))t\n");
    view.until(&mut client, "s1t");
    let resized = ask(&mut client, PtyCall::Resize { id: "t".into(), cols: 132, rows: 50 });
    assert_eq!(infos(resized).unwrap()[0].cols, 132);
    view.type_in(&mut client, "\n");
    view.until(&mut client, "resized 50 132");
    // The keys that end and stop a program do.
    // A program that itself says that it runs: what a key does to a shell that is about to start one is the shell's.
    view.type_in(&mut client, "sed -u s/down/up/\ndown\n");
    view.until(&mut client, "up\r\n");
    view.type_in(&mut client, "\x03");
    // What is typed before the shell has taken the keyboard back is thrown away with the key.
    view.until(&mut client, "^C\r\n$ ");
    view.type_in(&mut client, "echo on$((1))\n");
    view.until(&mut client, "on1");
}

#[test]
fn without_a_command_the_users_shell_is_a_login_shell_and_lazy_ones_start_late() {
    let (_agent, mut client) = Agent::claimed_with(claim_for_ordinary_user());
    let env = BTreeMap::from([("TERM".into(), "vt100".into())]);
    let spec =
        PtySpec { command: None, lazy: true, env: env.clone(), cwd: Some("sub".into()), ..spec("lazy") };
    let info = open(&mut client, spec);
    assert!(!info.active && info.lazy && info.env == env && info.cwd == "/work/sub");
    let resized = ask(&mut client, PtyCall::Resize { id: "lazy".into(), cols: 33, rows: 7 });
    assert!(!infos(resized).unwrap()[0].active);
    let stream = client.open(&Request::Pty(PtyCall::Attach { id: "lazy".into() }));
    let missing = client.collect(stream).3.unwrap_err();
    assert_eq!(missing.code, ErrorCode::NotFound, "{missing:?}");
    client.sh("mkdir sub");
    let mut view = View::of(&mut client, "lazy");
    view.type_in(&mut client, "echo \"<$0> $TERM $(stty size)\"; pwd\n");
    view.until(&mut client, "<-");
    view.until(&mut client, "sh> vt100 7 33");
    view.until(&mut client, "/work/sub");
    assert!(get(&mut client, "lazy").unwrap().active);
}

#[test]
fn the_end_of_the_program_is_told_and_its_last_screen_kept() {
    let (_agent, mut client) = Agent::claimed();
    open(&mut client, spec("t"));
    let mut view = View::of(&mut client, "t");
    view.type_in(&mut client, "echo last$((0))words; sleep 1000 & exit 7\n");
    let end = Done::Exec(ExecEnd { exit_code: Some(7), signal: None, cause: ExecCause::Itself });
    assert_eq!(view.until_end(&mut client), Ok(end.clone()));
    assert!(view.text().contains("last0words"));
    assert!(!get(&mut client, "t").unwrap().active);
    let stream = client.open(&Request::Pty(PtyCall::Attach { id: "t".into() }));
    let (head, shown, _, outcome) = client.collect(stream);
    assert!(matches!(head, Some(Head::Pty(info)) if !info.active));
    assert!(String::from_utf8_lossy(&shown).contains("last0words"));
    assert_eq!(outcome, Ok(end));
}

#[test]
fn a_program_that_nobody_looks_at_never_waits() {
    let (_agent, mut client) = Agent::claimed();
    let command = Command::Shell(
        "head -c 3000000 /dev/zero | tr '\\0' 'x'; echo; echo all said; exec sleep 1000".into(),
    );
    open(&mut client, PtySpec { command: Some(command), ..spec("t") });
    eventually("it has said all", || {
        let mut view = View::of(&mut client, "t");
        view.until(&mut client, "x");
        let said = view.text().contains("all said");
        client.send(view.stream, Body::Cancel);
        said
    });
}

#[test]
fn a_program_waits_for_a_slow_viewer_and_nothing_is_lost() {
    let (agent, mut client) = Agent::claimed();
    let command = Command::Shell(
        "read go; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); echo $i; done; echo done > done".into(),
    );
    open(&mut client, PtySpec { command: Some(command), ..spec("t") });
    let mut view = View::of(&mut client, "t");
    let mut other = agent.reconnect();
    let typist = View::of(&mut other, "t");
    typist.type_in(&mut other, "go\n");
    typist.leave(&mut other);
    // What fits into all buffers on the way is said; then it waits.
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(!agent.outside("/work/done").exists(), "it did not wait");
    assert!(view.until_end(&mut client).is_ok());
    let text = view.text();
    let numbers: Vec<u32> = text.lines().filter_map(|line| line.trim().parse().ok()).collect();
    assert_eq!(numbers, Vec::from_iter(1..=100_000));
}

#[test]
fn closing_one_ends_its_whole_session() {
    let (agent, mut client) = Agent::claimed();
    open(&mut client, spec("t"));
    let mut view = View::of(&mut client, "t");
    // One that ignores the hang-up, one in a group of its own, one that has left the terminal.
    view.type_in(
        &mut client,
        "set -m; (trap '' HUP; echo $$ > leader; sh -c 'echo $PPID > stubborn; sleep 1000') & \
         sh -c 'echo $$ > quiet; exec sleep 1000 <&- >&- 2>&-' &\n",
    );
    let pids = ["leader", "stubborn", "quiet"].map(|name| pid_in(&agent.outside(&format!("/work/{name}"))));
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    assert_eq!(ask(&mut client, PtyCall::Close { id: "t".into() }), Ok(Done::Nothing));
    assert!(pids.iter().all(|pid| !is_alive(*pid)), "somebody is left: {pids:?}");
    match view.until_end(&mut client) {
        Ok(Done::Exec(end)) => assert!(end.signal.is_some() || end.exit_code.is_some()),
        other => panic!("no end: {other:?}"),
    }
    assert_eq!(get(&mut client, "t").unwrap_err().code, ErrorCode::NotFound);
    open(&mut client, spec("t"));
}

#[test]
fn there_are_limits_and_those_that_ended_make_room() {
    let (_agent, mut client) = Agent::claimed();
    let lazy = |id: &str| PtySpec { lazy: true, ..spec(id) };
    let short = PtySpec { command: Some(Command::Shell("exit".into())), ..spec("ended") };
    open(&mut client, short);
    eventually("it ends", || !get(&mut client, "ended").unwrap().active);
    (1..PTYS_MAX).for_each(|number| drop(open(&mut client, lazy(&format!("a/{number} ü")))));
    let refused = |client: &mut Client, spec: PtySpec| ask(client, PtyCall::Open(spec)).unwrap_err().code;
    assert_eq!(refused(&mut client, lazy("ended")), ErrorCode::AlreadyExists);
    open(&mut client, lazy("one more"));
    assert_eq!(get(&mut client, "ended").unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(refused(&mut client, lazy("too many")), ErrorCode::TooMany);
    let list = infos(ask(&mut client, PtyCall::List)).unwrap();
    assert_eq!(
        (list.len(), list[0].id.as_str(), list.last().unwrap().id.as_str()),
        (PTYS_MAX, "a/1 ü", "one more")
    );
    for (cols, rows) in
        [(0, 24), (80, 0), (SIDE_MAX + 1, 1), (SIDE_MAX, (CELLS_MAX / u32::from(SIDE_MAX)) as u16 + 1)]
    {
        assert_eq!(refused(&mut client, PtySpec { cols, rows, ..spec("s") }), ErrorCode::Invalid);
        let resize = ask(&mut client, PtyCall::Resize { id: "one more".into(), cols, rows });
        assert_eq!(resize.unwrap_err().code, ErrorCode::Invalid);
    }
    for id in ["", "a\0b", &"x".repeat(1000)] {
        assert!(matches!(refused(&mut client, spec(id)), ErrorCode::Invalid | ErrorCode::TooLarge));
    }
    let call = |call: PtyCall, client: &mut Client| ask(client, call).unwrap_err().code;
    assert_eq!(call(PtyCall::Attach { id: "none".into() }, &mut client), ErrorCode::NotFound);
    assert_eq!(call(PtyCall::Close { id: "none".into() }, &mut client), ErrorCode::NotFound);
}

#[test]
fn what_cannot_be_started_leaves_no_terminal() {
    let (_agent, mut client) = Agent::claimed();
    for spec in [
        PtySpec { command: Some(Command::Argv(vec!["no-such-program".into()])), ..spec("t") },
        PtySpec { cwd: Some("/no/such/place".into()), ..spec("t") },
        PtySpec { user: Some("nobody-of-this-name".into()), ..spec("t") },
    ] {
        assert_eq!(ask(&mut client, PtyCall::Open(spec)).unwrap_err().code, ErrorCode::NotFound);
    }
    assert_eq!(infos(ask(&mut client, PtyCall::List)).unwrap(), []);
}
