//! Carries crashes out on a server of its own, and says what does not hold afterwards.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use testkit::host::{self, Trace};
use testkit::http::{Answer, Client};
use testkit::lab::eventually;
use testkit::server::{Server, Site};
use tokio::task::JoinHandle;

use super::plan::{Moment, Operation, Plan, Victim};
use super::starts::Starts;
use super::victims;
use crate::id_of;

const TEMPLATE: &str = "system/debian:bookworm";
/// A step that is waited for, a request whose machine was killed, a death to be noticed and a rest to be cleaned have so
/// long.
const SOON: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(3);
/// What is written before a crash, and must be there after it, in bytes.
const FILE_BYTES: usize = 3_000_000;

/// A server with sandboxes to crash, and one that has nothing to do with it and must not notice.
pub struct Drill {
    site: Site,
    server: Option<Server>,
    api: Client,
    /// The bystander.
    keeper: String,
    /// The sandbox that execs, writes and deletes are done in; made anew when one has died.
    spare: Option<String>,
    /// The snapshot that others are made of, and the mark in it.
    base: Option<(String, u64)>,
    written: u64,
    /// How soon a server that was started had the bystander answer.
    starts: Starts,
}

/// What is under way while somebody is killed.
struct UnderWay {
    id: Option<String>,
    answer: JoinHandle<Option<Answer>>,
}

impl Drill {
    /// Starts a server with a bystander in it.
    pub async fn begin() -> Self {
        let site = Site::gvisor().await;
        let server = serve(&site);
        assert!(server.atoll(&["template", "build", TEMPLATE]).status.success());
        let api = server.api();
        let keeper = id_of(&api.post("/v1/sandbox", json!({ "timeout": 28_800 })).await.expect(201).json());
        let beat = "(while :; do date +%s%N > beat; sleep 0.02; done) > /dev/null 2>&1 &";
        let path = format!("/v1/sandbox/{keeper}/process/execute");
        api.post(&path, json!({ "command": beat })).await.expect(200);
        let (server, starts) = (Some(server), Starts::default());
        Self { site, server, api, keeper, spare: None, base: None, written: 0, starts }
    }

    /// Carries out one plan, and looks at everything afterwards.
    pub async fn carry_out(&mut self, plan: Plan) {
        if plan.operation != Operation::Create && self.spare.is_none() {
            self.spare = Some(self.make().await);
        }
        match plan.operation {
            Operation::Pause | Operation::Snapshot | Operation::Fork => self.mark(false).await,
            Operation::Wake => self.mark(true).await,
            Operation::Restore if self.base.is_none() => self.take_the_base().await,
            _ => {}
        }
        self.hold(plan.moment);
        let under_way = self.start(plan.operation);
        self.wait_for(plan.moment, &under_way).await;
        let doomed = under_way.id.clone().or_else(|| victims::newest(&self.site, &self.known()));
        self.kill(plan.victim, doomed.as_deref());
        self.release(plan.moment);
        self.bring_back().await;
        let Ok(answer) = tokio::time::timeout(SOON, under_way.answer).await else {
            panic!("{}\nthe request is not answered: {plan}", self.seen().await);
        };
        let answer = answer.expect("the request does not panic");
        self.judge(plan, doomed, under_way.id, answer).await;
        self.look_at_the_bystander().await;
        self.look_for_leaks().await;
    }

    /// Puts something on the host that nobody owns: the audits must see it.
    pub async fn plant_a_leak(&self) {
        let pin = self.site.run_dir().join("engine/netns/sbx-nobodysnobodysnobody");
        fs::write(&pin, "").unwrap();
        let leaks = self.leaks().await;
        assert!(
            leaks.iter().any(|leak| leak["kind"] == "netns"),
            "the planted leak is not listed: {leaks:?}"
        );
        assert!(
            !self.strangers(std::slice::from_ref(&self.keeper)).is_empty(),
            "the planted leak is not on the host"
        );
        fs::remove_file(pin).unwrap();
        assert_eq!(self.leaks().await, [] as [Value; 0]);
    }

    /// Deletes what is left, and stops; says how long starts took.
    pub async fn end(mut self) -> Starts {
        for id in self.living().await {
            self.api.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
        }
        eventually("control hears of every end", async || self.strangers(&[]).is_empty()).await;
        self.server.take().expect("it runs").stop();
        let left: Vec<Trace> = host::traces(&self.site);
        assert_eq!(left, [], "left after the end");
        assert!(!self.site.run_dir().exists(), "{} is left", self.site.run_dir().display());
        assert!(
            !self.site.log().contains("without a record"),
            "something was done before it was written down"
        );
        self.starts
    }

    async fn make(&self) -> String {
        id_of(&self.api.post("/v1/sandbox", json!({ "timeout": 28_800 })).await.expect(201).json())
    }

    /// Leaves a mark that must be there afterwards, in a sandbox that is paused then, or not.
    async fn mark(&mut self, paused: bool) {
        self.written += 1;
        let sandbox = format!("/v1/sandbox/{}", self.spare.as_deref().expect("it was made"));
        let mark = json!({ "command": format!("echo {} > mark", self.written) });
        self.api.post(&format!("{sandbox}/process/execute"), mark).await.expect(200);
        if paused {
            self.api.post(&format!("{sandbox}/pause"), json!({})).await.expect(201);
        }
    }

    /// Takes the snapshot that others are made of.
    async fn take_the_base(&mut self) {
        self.mark(false).await;
        let path = format!("/v1/sandbox/{}/snapshot/create", self.spare.as_deref().expect("it was made"));
        self.api.post(&path, json!({ "name": "base" })).await.expect(201);
        self.base = Some(("base".into(), self.written));
    }

    fn start(&mut self, operation: Operation) -> UnderWay {
        let makes = matches!(operation, Operation::Create | Operation::Restore);
        let id = self.spare.clone().filter(|_| !makes);
        let sandbox = format!("/v1/sandbox/{}", id.as_deref().unwrap_or_default());
        let (method, path, body): (_, _, Bytes) = match operation {
            Operation::Create => (Method::POST, "/v1/sandbox".into(), json!({}).to_string().into()),
            Operation::Execute => {
                let command = json!({ "command": "sleep 0.05; echo done; exit 7" });
                (Method::POST, format!("{sandbox}/process/execute"), command.to_string().into())
            }
            Operation::Write => {
                self.written += 1;
                let path = format!("{sandbox}/filesystem/write-file?path=file-{}", self.written);
                (Method::POST, path, vec![self.written as u8; FILE_BYTES].into())
            }
            Operation::Delete => (Method::DELETE, sandbox, Bytes::new()),
            Operation::Pause => (Method::POST, format!("{sandbox}/pause"), Bytes::new()),
            Operation::Wake => {
                let command = json!({ "command": "cat mark" });
                (Method::POST, format!("{sandbox}/process/execute"), command.to_string().into())
            }
            Operation::Snapshot => {
                let name = json!({ "name": self.written.to_string() });
                (Method::POST, format!("{sandbox}/snapshot/create"), name.to_string().into())
            }
            Operation::Restore => {
                let (name, _) = self.base.as_ref().expect("it was taken");
                let order = json!({ "snapshot_name": name });
                (Method::POST, "/v1/snapshot/restore".into(), order.to_string().into())
            }
            Operation::Fork => (Method::POST, format!("{sandbox}/fork"), r#"{"count": 2}"#.into()),
        };
        let api = self.api.clone();
        UnderWay { id, answer: tokio::spawn(async move { api.attempt(method, &path, body).await }) }
    }

    /// Those that were there before.
    fn known(&self) -> Vec<&String> {
        self.spare.iter().chain([&self.keeper]).collect()
    }

    fn hold(&self, moment: Moment) {
        if let Moment::Step(step) = moment {
            fs::write(holds(&self.site).join(step), "").unwrap();
        }
    }

    async fn wait_for(&self, moment: Moment, under_way: &UnderWay) {
        match moment {
            Moment::After(delay) => tokio::time::sleep(delay).await,
            Moment::Step(step) => {
                let held = holds(&self.site).join(format!("{step}.held"));
                let began = Instant::now();
                while !held.exists() {
                    assert!(!under_way.answer.is_finished(), "it was over before `{step}` was reached");
                    assert!(began.elapsed() < SOON, "`{step}` is not reached");
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    }

    fn release(&self, moment: Moment) {
        if let Moment::Step(step) = moment {
            for name in [step.to_owned(), format!("{step}.held")] {
                let _ = fs::remove_file(holds(&self.site).join(name));
            }
        }
    }

    /// Kills, if there is anybody to kill yet.
    fn kill(&mut self, victim: Victim, doomed: Option<&str>) {
        let server = self.server.as_ref().expect("it runs");
        let pid = match victim {
            Victim::Node => server.part("node"),
            Victim::Control => server.part("control"),
            Victim::Launcher => victims::launcher(&self.site),
            Victim::Server => return self.server.take().expect("it runs").crash(),
            Victim::Engine => doomed.and_then(victims::engine),
            Victim::Gofer => doomed.and_then(|id| victims::gofer(&self.site, id)),
        };
        pid.into_iter().for_each(victims::kill);
    }

    /// Starts the server, if it was killed or gave up, and waits until the bystander answers.
    async fn bring_back(&mut self) {
        let began = Instant::now();
        let mut started = None;
        let path = format!("/v1/sandbox/{}/process/execute", self.keeper);
        loop {
            // One that was killed too often in a row gives up, but not at once.
            if self.server.as_mut().is_none_or(|server| !server.runs()) {
                started = Some(Instant::now());
                let server = serve(&self.site);
                self.api = server.api();
                self.server = Some(server);
            }
            let asked = self.api.attempt(Method::POST, &path, json!({ "command": "echo here" }).to_string());
            let answer = tokio::time::timeout(SOON, asked).await;
            if let Ok(Some(answer)) = &answer
                && answer.status == 200
                && answer.json()["stdout"] == "here\n"
            {
                break;
            }
            if began.elapsed() >= SOON {
                panic!("{}\nthe bystander does not answer, the last was {answer:?}", self.seen().await);
            }
            tokio::time::sleep(LOOK).await;
        }
        if started.is_some_and(|started| self.starts.returned(started.elapsed())) {
            self.starts.started_empty(empty_start().await);
        }
    }

    /// Where everything is when nothing goes on.
    async fn seen(&self) -> String {
        let shown = tokio::time::timeout(SOON, self.api.get("/v1/sandboxes?page-size=100")).await;
        let server = self.server.as_ref();
        let parts = ["node", "control"].map(|part| (part, server.and_then(|server| server.part(part))));
        let stacks =
            parts.map(|(part, pid)| format!("{part}:\n{}", pid.map(host::stacks).unwrap_or_default()));
        let stacks = stacks.concat();
        format!("{}\n{stacks}\n{shown:?}", self.site.log())
    }

    /// What was acknowledged must be so, and what was not must be whole or not at all.
    async fn judge(
        &mut self,
        plan: Plan,
        doomed: Option<String>,
        id: Option<String>,
        answer: Option<Answer>,
    ) {
        let machine_died = matches!(plan.victim, Victim::Engine | Victim::Gofer);
        let acknowledged = answer.as_ref().filter(|answer| answer.status.is_success());
        match (plan.operation, acknowledged) {
            (Operation::Create, Some(answer)) => {
                let id = id_of(&answer.json());
                let dies = machine_died && doomed.as_ref() == Some(&id);
                self.lives_or_died_for_a_reason(&id, dies).await;
            }
            (Operation::Create, None) => {}
            (Operation::Delete, Some(_)) => {
                let id = self.spare.take().expect("it was deleted");
                assert_eq!(self.shown(&id).await["state"], "deleted");
            }
            (Operation::Delete, None) => {
                // Nobody knows: asked once more, it is gone.
                let id = self.spare.take().expect("it was to be deleted");
                self.api.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
                assert_eq!(self.shown(&id).await["state"], "deleted");
            }
            (Operation::Execute, acknowledged) => {
                if let Some(answer) = acknowledged {
                    let answer = answer.json();
                    assert_eq!((&answer["exit_code"], &answer["stdout"]), (&json!(7), &json!("done\n")));
                }
                self.lives_or_died_for_a_reason(&id.expect("it was asked"), machine_died).await;
            }
            (Operation::Pause | Operation::Wake, acknowledged) => {
                let id = id.expect("it was asked");
                if plan.operation == Operation::Pause && acknowledged.is_some() {
                    assert_eq!(self.shown(&id).await["state"], "paused", "an acknowledged pause is none");
                }
                if self.lives_or_died_for_a_reason(&id, machine_died).await {
                    self.mark_is(&id, self.written).await;
                }
            }
            (Operation::Snapshot, acknowledged) => {
                self.lives_or_died_for_a_reason(&id.expect("it was asked"), machine_died).await;
                self.snapshot_is_whole_or_absent(acknowledged.is_some()).await;
            }
            (Operation::Restore, Some(answer)) => {
                let id = id_of(&answer.json());
                let dies = machine_died && doomed.as_ref() == Some(&id);
                if self.lives_or_died_for_a_reason(&id, dies).await {
                    let (_, mark) = self.base.clone().expect("it was taken");
                    self.mark_is(&id, mark).await;
                }
            }
            (Operation::Restore, None) => {}
            (Operation::Fork, acknowledged) => {
                self.lives_or_died_for_a_reason(&id.expect("it was asked"), machine_died).await;
                for copy in acknowledged.iter().flat_map(|answer| copies(&answer.json())) {
                    self.lives_or_died_for_a_reason(&copy, false).await;
                    self.mark_is(&copy, self.written).await;
                }
            }
            (Operation::Write, acknowledged) => {
                let id = id.expect("it was asked");
                if self.lives_or_died_for_a_reason(&id, machine_died).await {
                    self.file_is_whole_or_absent(&id, acknowledged.is_some()).await;
                }
            }
        }
        if let Some(answer) = answer.filter(|answer| !answer.status.is_success()) {
            assert!(answer.json()["message"].is_string(), "{answer:?}");
        }
    }

    /// True if it lives.
    async fn lives_or_died_for_a_reason(&mut self, id: &str, may_die: bool) -> bool {
        let path = format!("/v1/sandbox/{id}/process/execute");
        let began = Instant::now();
        loop {
            let shown = self.shown(id).await;
            if shown["state"] == "deleted" {
                assert!(may_die, "an acknowledged sandbox died: {shown}");
                let reasons = [json!("engine_lost"), json!("checkpoint_failed")];
                assert!(reasons.contains(&shown["reason"]), "{shown}");
                assert!(shown["reason_detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{shown}");
                self.spare.take_if(|spare| spare == id);
                return false;
            }
            let asked = self.api.attempt(Method::POST, &path, json!({ "command": "echo on" }).to_string());
            if asked.await.is_some_and(|answer| answer.status == 200 && answer.json()["stdout"] == "on\n") {
                return true;
            }
            assert!(began.elapsed() < SOON, "neither lives nor died: {shown}");
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn mark_is(&self, id: &str, mark: u64) {
        let path = format!("/v1/sandbox/{id}/process/execute");
        let answer = self.api.post(&path, json!({ "command": "cat mark" })).await.expect(200).json();
        assert_eq!(answer["stdout"], format!("{mark}\n"), "what was acknowledged is lost");
    }

    async fn snapshot_is_whole_or_absent(&self, acknowledged: bool) {
        let name = self.written.to_string();
        let list =
            self.api.get(&format!("/v1/snapshots?query={name}&page-size=100")).await.expect(200).json();
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let Some(snapshot) = items.into_iter().find(|item| item["name"] == *name) else {
            assert!(!acknowledged, "an acknowledged snapshot is gone");
            return;
        };
        let made = self.api.post("/v1/snapshot/restore", json!({ "snapshot_name": name })).await.expect(201);
        let copy = id_of(&made.json());
        self.mark_is(&copy, self.written).await;
        self.api.delete(&format!("/v1/sandbox/{copy}")).await.expect(204);
        self.api.delete(&format!("/v1/snapshot/{}", id_of(&snapshot))).await.expect(204);
    }

    async fn file_is_whole_or_absent(&self, id: &str, acknowledged: bool) {
        let body = json!({ "path": format!("file-{}", self.written) });
        let read = self.api.post(&format!("/v1/sandbox/{id}/filesystem/read-file"), body).await;
        if read.status == 404 {
            assert!(!acknowledged, "an acknowledged file is gone");
        } else {
            let whole = vec![self.written as u8; FILE_BYTES];
            assert!(read.expect(200).body == whole, "the file is not whole");
        }
    }

    async fn look_at_the_bystander(&self) {
        let path = format!("/v1/sandbox/{}/process/execute", self.keeper);
        let beats = "a=$(cat beat); while test \"$a\" = \"$(cat beat)\"; do sleep 0.01; done; echo beating";
        let answer = self.api.post(&path, json!({ "command": beats })).await.expect(200).json();
        assert_eq!(answer["stdout"], "beating\n", "{answer}");
    }

    /// Everything comes to rest, and what is on the host belongs to what lives.
    async fn look_for_leaks(&mut self) {
        let began = Instant::now();
        let known: Vec<String> = self.known().into_iter().cloned().collect();
        loop {
            let items = self.listed().await;
            // Nobody was told of those: their create was not acknowledged.
            for item in items.iter().filter(|item| item["state"] == "running") {
                let id = id_of(item);
                if !known.contains(&id) {
                    self.api.delete(&format!("/v1/sandbox/{id}")).await.expect(204);
                }
            }
            let rest = items.iter().filter(|item| !known.contains(&id_of(item))).count();
            let (leaks, mut strangers) = (self.leaks().await, self.strangers(&known));
            // A record goes when control has heard of the end, which the last look of a run waits for.
            strangers.retain(|trace| trace.kind != "record");
            if rest == 0 && leaks.is_empty() && strangers.is_empty() {
                return;
            }
            assert!(
                began.elapsed() < SOON,
                "after {SOON:?} there is still: {items:#?}\n{leaks:#?}\n{strangers:#?}"
            );
            tokio::time::sleep(LOOK * 10).await;
        }
    }

    async fn shown(&self, id: &str) -> Value {
        self.api.get(&format!("/v1/sandbox/{id}")).await.expect(200).json()
    }

    async fn listed(&self) -> Vec<Value> {
        let list = self.api.get("/v1/sandboxes?page-size=100").await.expect(200).json();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    async fn living(&self) -> Vec<String> {
        self.listed().await.iter().map(id_of).collect()
    }

    async fn leaks(&self) -> Vec<Value> {
        let answer = self.api.get("/v1/leaks").await.expect(200).json();
        answer["items"].as_array().cloned().unwrap_or_default()
    }

    fn strangers(&self, living: &[String]) -> Vec<Trace> {
        let mut traces = host::traces(&self.site);
        traces.retain(|trace| !living.iter().any(|id| trace.name.contains(id)));
        traces
    }
}

/// The copies that a fork made.
fn copies(answer: &Value) -> Vec<String> {
    answer["items"].as_array().into_iter().flatten().map(id_of).collect()
}

/// How long a server without a sandbox takes until it answers.
async fn empty_start() -> Duration {
    let site = Site::gvisor().await;
    let began = Instant::now();
    let server = site.serve(&[]);
    server.api().get("/v1/sandboxes").await.expect(200);
    let took = began.elapsed();
    server.stop();
    took
}

/// Where the steps are named that the node is to be held at.
fn holds(site: &Site) -> PathBuf {
    site.data().with_file_name("holds")
}

fn serve(site: &Site) -> Server {
    fs::create_dir_all(holds(site)).unwrap();
    site.serve(&["--unsafe-hold-steps", &holds(site).display().to_string()])
}
