//! The agent's state: unclaimed, or the agent of one sandbox for ever.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use rustix::process::Rlimit;
use subtle::ConstantTimeEq;
use tokio::sync::{Mutex, watch};
use wire::guest::{AgentHello, Claim, Error, GENERATION, NodeHello, OLDEST_GENERATION};

use crate::file::Files;
use crate::memory::Guard;
use crate::memory::activity::Activity;
use crate::process::Parting;
use crate::process::reaper::Reaper;
use crate::process::spawner::Spawner;
use crate::process::table::Table;
use crate::pty::Ptys;
use crate::root::Root;
use crate::sandbox::Sandbox;
use crate::{failure, init, renew};

/// Digits of a token: 32 random bytes in hexadecimal.
const TOKEN_DIGITS: usize = 64;
/// Connections of nodes at once. One is usual, two while a node restarts.
const SESSIONS_MAX: u32 = 16;

/// Everything there is one of.
pub struct Agent {
    /// The tree that file operations see.
    pub root: Arc<Root>,
    /// Knows the end of every process.
    pub reaper: Arc<Reaper>,
    /// Whether the sandbox has processes at all.
    pub activity: Arc<Activity>,
    /// Processes that have an id.
    pub processes: Rc<Table>,
    /// Threads for file operations.
    pub files: Files,
    /// Terminals.
    pub ptys: Ptys,
    /// Held while what the sandbox starts with is being started.
    pub booting: Mutex<()>,
    /// Who parts from their streams when the machine is about to be stopped for a while, and is come back to.
    pub parting: Rc<Parting>,
    /// Held while what goes on from a checkpoint is being renewed.
    pub renewing: Mutex<()>,
    /// When it all began.
    pub started: Instant,
    /// Requests under way.
    pub requests: Cell<u32>,
    sessions: Cell<u32>,
    /// How often the token was changed.
    changes: watch::Sender<u64>,
    file_limit: Rlimit,
    claimed: OnceCell<Claimed>,
}

/// What the claim made.
pub struct Claimed {
    token: RefCell<String>,
    /// The name it was told last.
    pub hostname: RefCell<String>,
    /// Who the sandbox is.
    pub sandbox: Arc<Sandbox>,
    /// Starts processes in it.
    pub spawner: Spawner,
    /// Keeps it from filling its memory; absent if the claim wanted none.
    pub guard: Option<Arc<Guard>>,
}

/// The right to speak with a claimed agent: held by a connection whose `Hello` was accepted.
pub struct Session {
    /// The agent.
    pub agent: Rc<Agent>,
    /// How often the token had been changed when it was shown, or when this session changed it.
    change: Cell<u64>,
}

impl Agent {
    /// An agent nobody has claimed.
    pub fn new(root: Root) -> Self {
        Self {
            root: Arc::new(root),
            reaper: Arc::default(),
            activity: Arc::default(),
            processes: Rc::default(),
            files: Files::default(),
            ptys: Ptys::default(),
            booting: Mutex::default(),
            parting: Rc::default(),
            renewing: Mutex::default(),
            started: Instant::now(),
            requests: Cell::new(0),
            sessions: Cell::new(0),
            changes: watch::Sender::new(0),
            file_limit: init::raise_file_limit(),
            claimed: OnceCell::new(),
        }
    }

    /// Answers a node's first words; with a session unless it is refused.
    pub fn hello(self: &Rc<Self>, hello: NodeHello) -> (AgentHello, Option<Session>) {
        let accepted = self.accept(hello);
        let answer = AgentHello {
            generation: GENERATION,
            agent_version: env!("CARGO_PKG_VERSION").into(),
            claimed_now: accepted == Ok(true),
            refused: accepted.as_ref().err().cloned(),
            dialled: false,
        };
        (answer, accepted.ok().map(|_| Session::new(self.clone())))
    }

    /// What the claim made. Fails before it; a session exists only after it.
    pub fn claimed(&self) -> Result<&Claimed, Error> {
        self.claimed.get().ok_or_else(|| failure::invalid("nobody has claimed this agent"))
    }

    /// Whether the agent was claimed just now; or why not to speak with this node.
    fn accept(&self, hello: NodeHello) -> Result<bool, String> {
        if hello.generation < OLDEST_GENERATION {
            let spoken = hello.generation;
            return Err(format!(
                "the node speaks generation {spoken}, this agent {OLDEST_GENERATION} to {GENERATION}"
            ));
        }
        if self.sessions.get() >= SESSIONS_MAX {
            return Err(format!("{SESSIONS_MAX} connections are open already"));
        }
        match (self.claimed.get(), hello.claim) {
            (Some(claimed), _) if claimed.knows(&hello.token) => Ok(false),
            (Some(_), _) => Err("the token is wrong".into()),
            (None, None) => Err("nobody has claimed this agent, and this Hello has no claim".into()),
            (None, Some(claim)) => self.claim(hello.token, claim).map(|()| true),
        }
    }

    fn claim(&self, token: String, claim: Claim) -> Result<(), String> {
        check_token(&token)?;
        let claimed = self.make(token, claim)?;
        renew::publish_first(&self.root);
        self.claimed.set(claimed).map_err(|_| "claimed meanwhile".to_owned())
    }

    fn make(&self, token: String, claim: Claim) -> Result<Claimed, String> {
        let reserve_bytes = claim.memory_reserve_bytes;
        let shims = claim.shims;
        let (token, hostname) = (RefCell::new(token), RefCell::new(claim.hostname.clone()));
        let sandbox = Arc::new(Sandbox::set_up(self.root.clone(), claim, self.file_limit)?);
        let spawner = Spawner::start(&sandbox, &self.reaper, &self.activity, shims)
            .map_err(|error| format!("starting the threads that start processes: {error}"))?;
        let guard = Guard::start(reserve_bytes, &self.reaper, &self.activity)
            .map_err(|error| format!("starting the thread that watches memory: {error}"))?;
        Ok(Claimed { token, hostname, sandbox, spawner, guard })
    }
}

impl Claimed {
    /// Takes as long for a token that is nearly right as for any other of the same length.
    fn knows(&self, token: &str) -> bool {
        self.token.borrow().as_bytes().ct_eq(token.as_bytes()).into()
    }
}

impl Session {
    fn new(agent: Rc<Agent>) -> Self {
        agent.sessions.set(agent.sessions.get() + 1);
        let change = Cell::new(*agent.changes.borrow());
        Self { agent, change }
    }

    /// Waits until another session has changed the token that opened this one.
    pub async fn is_over(&self) {
        // The sender lives as long as the agent, so there is no error to see.
        let _ = self.agent.changes.subscribe().wait_for(|change| *change != self.change.get()).await;
    }

    /// From now on this token opens sessions, and the old one none; what it has opened is over, but for this session.
    pub fn change_token(&self, claimed: &Claimed, token: String) -> Result<(), Error> {
        check_token(&token).map_err(failure::invalid)?;
        let change = *self.agent.changes.borrow();
        if change != self.change.get() {
            return Err(failure::cancelled());
        }
        self.change.set(change + 1);
        claimed.token.replace(token);
        self.agent.changes.send_replace(change + 1);
        Ok(())
    }
}

fn check_token(token: &str) -> Result<(), String> {
    if token.len() != TOKEN_DIGITS || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("the token is not {TOKEN_DIGITS} hexadecimal digits"));
    }
    Ok(())
}

impl Drop for Session {
    fn drop(&mut self) {
        self.agent.sessions.set(self.agent.sessions.get().saturating_sub(1));
    }
}
