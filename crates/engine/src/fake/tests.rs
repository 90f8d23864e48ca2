//! The fake engine with the real agent.

use std::fs;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::guest::frame::{Body, CONNECTION, Frame};
use wire::guest::{AgentHello, Claim, Command, Exec, GENERATION, NodeHello, Request};
use wire::id::ENTROPY_BYTES;
use wire::sandbox::Resources;

use super::*;

const BOUND: Duration = Duration::from_secs(10);

/// A directory of one test's own, and the engine in it. At the end nothing of either is left.
struct Lab {
    dir: PathBuf,
    faults: Faults,
    fake: Fake,
}

impl Lab {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("atoll-fake-{}-{name}", std::process::id()));
        let faults = Faults::default();
        let fake = Fake::new(dir.clone(), faults.clone(), Behaviour::default()).unwrap();
        Self { dir, faults, fake }
    }

    /// The engine as the next process of its owner finds it.
    fn restarted(&mut self) {
        self.fake = Fake::new(self.dir.clone(), self.faults.clone(), Behaviour::default()).unwrap();
    }

    async fn up(&self, id: &SandboxId) -> Machine {
        self.fake.up(&spec(id)).await.unwrap().machine
    }

    async fn is_empty(&self) -> bool {
        self.fake.owned().await.unwrap().is_empty()
    }

    /// An engine without machines, or the test fails.
    async fn end(self) {
        assert_eq!(self.fake.owned().await.unwrap(), []);
        fs::remove_dir_all(&self.dir).unwrap();
    }
}

impl Drop for Lab {
    /// A test that fails leaves no processes either.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let (dir, fresh) =
            (self.dir.clone(), Fake::new(self.dir.clone(), Faults::default(), Behaviour::default()));
        let down = async move {
            let fresh = fresh.unwrap();
            for owner in fresh.owned().await.unwrap().into_iter().filter_map(|owned| owned.owner) {
                let _ = fresh.down(&owner).await;
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = std::thread::spawn(move || runtime.block_on(down)).join();
        let _ = fs::remove_dir_all(dir);
    }
}

fn id(number: u8) -> SandboxId {
    SandboxId::from_entropy([number; ENTROPY_BYTES])
}

fn spec(id: &SandboxId) -> MachineSpec {
    let resources = Resources { vcpu: 1, memory_mib: 512, disk_mib: 100, processes_max: 100 };
    MachineSpec { id: id.clone(), image: "/nonexistent".into(), resources, from: None }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, future).await.expect("it took too long")
}

/// A node's end of a connection, without a node.
struct Node {
    stream: Stream,
    input: BytesMut,
}

impl Node {
    async fn greet(fake: &Fake, machine: &Machine) -> (Self, AgentHello) {
        let stream = fake.dial_agent(machine, BOUND).await.unwrap();
        let mut node = Self { stream, input: BytesMut::new() };
        let claim = Claim {
            hostname: "h".into(),
            env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
            user: String::new(),
            workdir: "/workspace".into(),
            processes_max: 100,
            memory_reserve_bytes: 0,
            shims: fake.shims(),
        };
        let (token, claim) = ("0".repeat(64), Some(claim));
        let hello = NodeHello { generation: GENERATION, token, claim, dial: None };
        node.say(CONNECTION, Body::Hello(serde_json::to_vec(&hello).unwrap().into())).await;
        let Body::Hello(json) = node.next().await else { panic!("no Hello") };
        (node, serde_json::from_slice(&json).unwrap())
    }

    async fn say(&mut self, stream: u32, body: Body) {
        let mut out = BytesMut::new();
        Frame::new(stream, body).encode(&mut out);
        self.stream.write_all(&out).await.unwrap();
    }

    async fn next(&mut self) -> Body {
        loop {
            if let Some(frame) = Frame::decode(&mut self.input).unwrap() {
                return frame.body;
            }
            assert!(within(self.stream.read_buf(&mut self.input)).await.unwrap() > 0, "the agent hung up");
        }
    }

    /// Runs a script until it prints something, and returns that.
    async fn run(&mut self, stream: u32, script: &str) -> Bytes {
        let command = Command::Shell(script.into());
        let exec = Exec {
            command,
            cwd: None,
            env: Default::default(),
            user: None,
            timeout_ms: None,
            stdin: false,
            id: None,
        };
        let json = serde_json::to_vec(&Request::Exec(exec)).unwrap();
        self.say(stream, Body::Open(json.into())).await;
        loop {
            match self.next().await {
                Body::Data(_, bytes) => return bytes,
                Body::End(json) => panic!("it ended with {json:?} before it printed anything"),
                _ => {}
            }
        }
    }
}

async fn processes(lab: &Lab) -> Vec<i32> {
    let owned = lab.fake.owned().await.unwrap();
    owned.iter().filter(|owned| owned.kind == "process").map(|owned| owned.name.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_machine_comes_up_answers_and_goes_without_a_trace() {
    let lab = Lab::new("life");
    let up = lab.fake.up(&spec(&id(1))).await.unwrap();
    let steps: Vec<_> = up.steps.iter().map(|time| time.step.as_str()).collect();
    assert_eq!(steps, Fake::STEPS);
    let (_node, hello) = Node::greet(&lab.fake, &up.machine).await;
    assert!(hello.claimed_now, "{hello:?}");
    let kinds: Vec<_> =
        lab.fake.owned().await.unwrap().into_iter().map(|owned| (owned.kind, owned.owner)).collect();
    assert_eq!(kinds, [("directory", Some(id(1))), ("process", Some(id(1))), ("socket", Some(id(1)))]);
    lab.fake.down(&id(1)).await.unwrap();
    assert!(within(up.machine.exited()).await.evidence.contains("signal 9"));
    lab.end().await;
}

#[tokio::test]
async fn machines_run_as_somebody_who_may_do_nothing() {
    if !rustix::process::geteuid().is_root() {
        return; // Then they run as we do.
    }
    let lab = Lab::new("user");
    let machine = lab.up(&id(1)).await;
    let (mut node, _) = Node::greet(&lab.fake, &machine).await;
    let said = node.run(1, "id -u; id -g; id -G; touch /root/x || echo no; echo $HOME").await;
    assert!(said.starts_with(b"65534\n"), "{said:?}");
    lab.fake.down(&id(1)).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn a_bring_up_that_fails_at_any_step_leaves_nothing() {
    let lab = Lab::new("steps");
    for step in Fake::STEPS {
        lab.faults.fail_at(step);
        let failed = lab.fake.up(&spec(&id(1))).await.unwrap_err();
        assert!(matches!(failed, Error::Step { step: said, .. } if said == *step), "{failed}");
        assert!(lab.is_empty().await, "after {step}");
        lab.faults.clear();
        lab.up(&id(1)).await;
        lab.fake.down(&id(1)).await.unwrap();
    }
    lab.end().await;
}

#[tokio::test]
async fn an_id_is_brought_up_once() {
    let lab = Lab::new("twice");
    let machine = lab.up(&id(1)).await;
    assert!(matches!(lab.fake.up(&spec(&id(1))).await, Err(Error::Exists { .. })));
    Node::greet(&lab.fake, &machine).await;
    lab.fake.down(&id(1)).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn down_is_the_same_twice_at_once_and_for_nobody() {
    let lab = Lab::new("down");
    lab.fake.down(&id(9)).await.unwrap();
    lab.up(&id(1)).await;
    let (id, fake) = (id(1), &lab.fake);
    let (a, b, c) = tokio::join!(fake.down(&id), fake.down(&id), fake.down(&id));
    a.and(b).and(c).unwrap();
    fake.down(&id).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn a_bring_up_that_is_given_up_is_taken_down_by_its_id() {
    let lab = Lab::new("given-up");
    let behaviour = Behaviour { bring_up_delay: Duration::from_secs(3600), ..Behaviour::default() };
    let slow = Fake::new(lab.dir.clone(), Faults::default(), behaviour).unwrap();
    let spec = spec(&id(1));
    let mut up = Box::pin(slow.up(&spec));
    // The latency begins when the agent runs.
    within(async {
        while processes(&lab).await.is_empty() {
            let _ = futures_util::poll!(&mut up);
        }
    })
    .await;
    drop(up);
    drop(slow);
    lab.fake.down(&id(1)).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn a_restarted_owner_finds_its_machines_and_sees_them_end() {
    let mut lab = Lab::new("restart");
    let machine = lab.up(&id(1)).await;
    Node::greet(&lab.fake, &machine).await;
    let before = processes(&lab).await;
    lab.restarted();
    let machine = lab.fake.find(&id(1)).await.unwrap().unwrap();
    assert_eq!(processes(&lab).await, before);
    let (_node, hello) = Node::greet(&lab.fake, &machine).await;
    assert!(!hello.claimed_now, "it is another agent: {hello:?}");
    assert!(lab.fake.find(&id(2)).await.unwrap().is_none());
    lab.fake.kill(&id(1)).await.unwrap();
    within(machine.exited()).await;
    assert!(lab.fake.find(&id(1)).await.unwrap().is_none());
    lab.fake.down(&id(1)).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn a_number_that_became_another_process_is_not_taken_for_the_agent() {
    let mut lab = Lab::new("reuse");
    lab.up(&id(1)).await;
    let noted = lab.dir.join(id(1).as_str()).join("agent.pid");
    let (pid, ticks) = {
        let text = fs::read_to_string(&noted).unwrap();
        let (pid, ticks) = text.trim().split_once(' ').unwrap();
        (pid.to_owned(), ticks.parse::<u64>().unwrap())
    };
    lab.restarted();
    fs::write(&noted, format!("{pid} {}\n", ticks - 1)).unwrap();
    assert!(lab.fake.find(&id(1)).await.unwrap().is_none(), "an earlier process of this number was found");
    let own = processes::Seen::of(std::process::id() as i32).unwrap();
    fs::write(&noted, format!("{} {}\n", own.pid, own.started_ticks)).unwrap();
    assert!(lab.fake.find(&id(1)).await.unwrap().is_none(), "a process that is no agent was found");
    lab.fake.down(&id(1)).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn a_crash_ends_everything_that_ran_inside() {
    let lab = Lab::new("crash");
    let machine = lab.up(&id(1)).await;
    let (mut node, _) = Node::greet(&lab.fake, &machine).await;
    let daemon =
        "(cd /; setsid sh -c 'sleep 1000 & sleep 1000' >/dev/null 2>&1 &) ; echo started; sleep 1000";
    node.run(1, daemon).await;
    // On a busy host not all of them have begun when it has said so.
    let all_begun = async {
        while processes(&lab).await.len() < 4 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within(all_begun).await;
    lab.fake.kill(&id(1)).await.unwrap();
    let exit = within(machine.exited()).await;
    assert!(!exit.out_of_memory && exit.evidence.contains("signal 9"), "{exit:?}");
    assert!(processes(&lab).await.is_empty(), "something outlived the machine");
    lab.fake.down(&id(1)).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn orphans_of_an_agent_that_somebody_killed_are_found_where_they_work() {
    let lab = Lab::new("orphans");
    let machine = lab.up(&id(1)).await;
    let (mut node, _) = Node::greet(&lab.fake, &machine).await;
    node.run(1, "echo started; sleep 1000").await;
    let agent = lab.fake.known(&id(1)).unwrap().pid();
    kill_process(Pid::from_raw(agent).unwrap(), Signal::KILL).unwrap();
    within(machine.exited()).await;
    assert!(processes(&lab).await.is_empty());
    lab.fake.down(&id(1)).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn an_agent_that_died_alone_leaves_a_machine_that_does_not_answer() {
    let lab = Lab::new("agent");
    let machine = lab.up(&id(1)).await;
    Node::greet(&lab.fake, &machine).await;
    lab.fake.kill_agent(&id(1)).await.unwrap();
    let silent = lab.fake.dial_agent(&machine, Duration::from_millis(30)).await;
    assert!(matches!(silent, Err(Error::Timeout { .. })), "{silent:?}");
    assert!(lab.fake.find(&id(1)).await.unwrap().is_some(), "the machine ended with its agent");
    lab.fake.down(&id(1)).await.unwrap();
    within(machine.exited()).await;
    lab.end().await;
}

#[tokio::test]
async fn a_machine_that_hangs_is_silent_and_can_be_taken_down() {
    let lab = Lab::new("hang");
    let machine = lab.up(&id(1)).await;
    let (mut node, _) = Node::greet(&lab.fake, &machine).await;
    lab.fake.hang(&id(1)).unwrap();
    node.say(1, Body::Open(Bytes::from_static(b"{\"op\":\"status\"}"))).await;
    let silent = tokio::time::timeout(Duration::from_millis(50), node.next()).await;
    assert!(silent.is_err(), "it answered: {silent:?}");
    lab.fake.down(&id(1)).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn a_death_for_memory_says_so() {
    let lab = Lab::new("memory");
    let machine = lab.up(&id(1)).await;
    lab.fake.out_of_memory(&id(1)).unwrap();
    lab.fake.kill(&id(1)).await.unwrap();
    assert!(within(machine.exited()).await.out_of_memory);
    lab.fake.down(&id(1)).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn what_belongs_to_nobody_known_is_listed() {
    let lab = Lab::new("leak");
    let planted = lab.dir.join("planted");
    fs::create_dir(&planted).unwrap();
    let mut sleeper = std::process::Command::new("sleep").arg("1000").current_dir(&planted).spawn().unwrap();
    let owned = lab.fake.owned().await.unwrap();
    let directory = Owned { kind: "directory", name: named(&planted), owner: None };
    let process = Owned { kind: "process", name: sleeper.id().to_string(), owner: None };
    assert_eq!(owned, [directory, process]);
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    fs::remove_dir(&planted).unwrap();
    lab.end().await;
}

#[tokio::test]
async fn whatever_is_inside_can_be_removed() {
    let lab = Lab::new("locked");
    let machine = lab.up(&id(1)).await;
    let (mut node, _) = Node::greet(&lab.fake, &machine).await;
    node.run(1, "mkdir -p a/b/c && touch a/b/c/d && chmod 0 a/b/c a/b a && echo locked").await;
    lab.fake.down(&id(1)).await.unwrap();
    lab.end().await;
}

#[test]
fn a_directory_too_deep_for_sockets_is_refused() {
    let deep = std::env::temp_dir().join("x".repeat(100));
    let refused = Fake::new(deep.clone(), Faults::default(), Behaviour::default()).err().unwrap();
    fs::remove_dir_all(deep).unwrap();
    assert!(matches!(refused, Error::Unfit { .. }), "{refused}");
}

fn named(path: &Path) -> String {
    path.canonicalize().unwrap().display().to_string()
}

#[tokio::test]
async fn a_checkpoint_stands_still_and_goes_on_also_under_the_next_owner() {
    let mut lab = Lab::new("checkpoint");
    let (mut node, _) = Node::greet(&lab.fake, &lab.up(&id(1)).await).await;
    node.run(1, "echo up; while :; do sleep 0.01; done").await;
    let into = tempfile::tempdir().unwrap();
    lab.fake.checkpoint(&id(1), into.path()).await.unwrap();
    for _ in 0..2 {
        lab.fake.release(&id(1)).await.unwrap();
        let living = processes::of(&lab.fake.layout.place(&id(1))).await.unwrap();
        let is_still = |state: &serde_json::Value| state == "T" || state == "D";
        assert!(
            living.len() > 1 && living.iter().all(|seen| is_still(&seen.present()["state"])),
            "{living:?}"
        );
        lab.restarted();
    }
    let from = Some(into.path().to_owned().into());
    let again = lab.fake.up(&MachineSpec { from, ..spec(&id(1)) }).await.unwrap().machine;
    let (_node, hello) = Node::greet(&lab.fake, &again).await;
    assert!(!hello.claimed_now, "{hello:?}");
    lab.fake.down(&id(1)).await.unwrap();
    let from = Some(into.path().to_owned().into());
    let gone = lab.fake.up(&MachineSpec { from, ..spec(&id(1)) }).await;
    assert!(matches!(gone, Err(Error::Ended { .. })), "{gone:?}");
    lab.end().await;
}
