//! One terminal: a program, what it shows, and who looks.
//!
//! ```text
//! made ──► (lazy: first viewer) ──► running ──► ended, its last screen kept
//!   └──────────── close ──────────────┴───────────┴──► gone
//! ```

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use tokio::sync::{OnceCell, oneshot, watch};
use wire::guest::pty::{PtyInfo, PtySpec};
use wire::guest::{Command, Error, ErrorCode, Exec, ExecEnd};

use super::master::Master;
use super::screen::{Screen, Size};
use super::viewers::{Place, Viewers};
use crate::failure;
use crate::process::kill::{kill_all, signal_session};
use crate::process::reaper::{Exit, Reaper};
use crate::process::spawner::{Seat, Seated, Spawner};
use crate::process::{START_SECONDS_MAX, exec_end};

/// What programs may believe the terminal to be.
const TERM: &str = "xterm-256color";
/// Between the hang-up and the kill, in seconds, at most.
const HANG_UP_SECONDS_MAX: u64 = 2;
/// For the kernel to end what was killed, in seconds, at most.
const KILL_SECONDS_MAX: u64 = 10;
/// What a program wrote before its end is shown, in bytes; what others go on to write is not.
const LAST_BYTES_MAX: usize = 1024 * 1024;

/// See the module.
pub struct Terminal {
    spec: PtySpec,
    cwd: String,
    size: Cell<Size>,
    created_at_ms: u64,
    screen: RefCell<Screen>,
    viewers: Rc<Viewers>,
    program: OnceCell<Program>,
    end: watch::Sender<Option<(ExecEnd, Instant)>>,
    is_closed: Cell<bool>,
}

/// The program in a terminal.
struct Program {
    /// Its number; also of its group and session.
    pid: i32,
    /// Gone when it has ended: whatever it left behind is on no terminal.
    master: RefCell<Option<Rc<Master>>>,
}

impl Terminal {
    /// Nothing runs in it yet. `cwd` is where it will.
    pub fn new(spec: PtySpec, cwd: String) -> Self {
        let size = Size { columns: spec.cols, rows: spec.rows };
        Self {
            spec,
            cwd,
            size: Cell::new(size),
            created_at_ms: wall_ms(),
            screen: RefCell::new(Screen::new(size)),
            viewers: Rc::default(),
            program: OnceCell::new(),
            end: watch::Sender::new(None),
            is_closed: Cell::new(false),
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.spec.id
    }

    /// How large it is.
    pub fn size(&self) -> Size {
        self.size.get()
    }

    /// How it is.
    pub fn info(&self) -> PtyInfo {
        let Size { columns: cols, rows } = self.size.get();
        PtyInfo {
            id: self.spec.id.clone(),
            cols,
            rows,
            cwd: self.cwd.clone(),
            env: self.spec.env.clone(),
            created_at_ms: self.created_at_ms,
            active: self.program.initialized() && self.end.borrow().is_none(),
            lazy: self.spec.lazy,
        }
    }

    /// When its program ended, if it did.
    pub fn ended_at(&self) -> Option<Instant> {
        self.end.borrow().as_ref().map(|(_, at)| *at)
    }

    /// How its program ended, if it did.
    pub fn end(&self) -> Option<ExecEnd> {
        self.end.borrow().as_ref().map(|(end, _)| end.clone())
    }

    /// Starts the program, unless it was started before.
    pub async fn start(self: &Rc<Self>, spawner: &Spawner, reaper: &Arc<Reaper>) -> Result<(), Error> {
        let started = self.program.get_or_try_init(|| async {
            let size = self.size.get();
            let Seated { pid, exit, terminal } = seat(spawner, self.seat()).await?;
            let master = Master::new(terminal);
            if let Ok(master) = &master {
                self.catch_up(master, size, pid).await;
            }
            if self.is_closed.get() || master.is_err() {
                kill_all(pid, reaper).await;
            }
            let master = master.map_err(|error| failure::of("watching the terminal", error))?;
            if self.is_closed.get() {
                return Err(Error::new(ErrorCode::WrongState, "the terminal was closed meanwhile"));
            }
            let master = Rc::new(master);
            tokio::task::spawn_local(self.clone().follow(master.clone(), exit));
            Ok(Program { pid, master: RefCell::new(Some(master)) })
        });
        started.await.map(drop)
    }

    /// It may have been resized while its program started. At worst that learns of it with the next change.
    async fn catch_up(&self, master: &Master, mut told: Size, session: i32) {
        while told != self.size.get() {
            told = self.size.get();
            let _ = tell_size(master, told, session).await;
        }
    }

    fn seat(&self) -> Seat {
        let mut env = self.spec.env.clone();
        env.entry("TERM".into()).or_insert_with(|| TERM.into());
        let exec = Exec {
            command: self.spec.command.clone().unwrap_or(Command::Argv(Vec::new())),
            cwd: Some(self.cwd.clone()),
            env,
            user: self.spec.user.clone(),
            timeout_ms: None,
            stdin: false,
            id: None,
        };
        Seat { exec, is_login: self.spec.command.is_none(), size: self.size.get() }
    }

    /// Shows what the program writes, until its end.
    async fn follow(self: Rc<Self>, master: Rc<Master>, mut exit: oneshot::Receiver<Exit>) {
        let exit = tokio::select! {
            biased;
            exit = &mut exit => exit,
            () = self.show_all(&master) => exit.await,
        };
        if self.is_closed.get() {
            // Until the last of the session is gone: who closes it sees to that.
            self.show_all(&master).await;
        }
        self.show_last(&master);
        drop(master);
        if let Some(program) = self.program.get() {
            program.master.replace(None);
        }
        self.end.send_replace(Some((exec_end(exit.ok()), Instant::now())));
        self.viewers.wake();
    }

    /// Until nobody holds the other end.
    async fn show_all(&self, master: &Master) {
        loop {
            self.viewers.room().await;
            match master.read().await {
                Some(bytes) => self.show(&bytes),
                None => return,
            }
        }
    }

    fn show_last(&self, master: &Master) {
        let mut left = LAST_BYTES_MAX;
        while left > 0
            && let Some(bytes) = master.read_now()
        {
            self.show(&bytes);
            left = left.saturating_sub(bytes.len());
        }
    }

    fn show(&self, bytes: &[u8]) {
        self.screen.borrow_mut().process(bytes);
        self.viewers.show(bytes);
    }

    /// One more viewer, who is shown the present screen first.
    pub fn view(&self) -> Result<Place, Error> {
        self.viewers.enter(self.screen.borrow().redraw())
    }

    /// Types these bytes, as fast as the program takes them. What is typed after its end is lost.
    pub async fn type_in(&self, bytes: &[u8]) {
        let master = self.program.get().and_then(|program| program.master.borrow().clone());
        if let Some(master) = master {
            master.write(bytes).await;
        }
    }

    /// Changes the size, and tells the program.
    pub async fn resize(&self, size: Size) -> Result<(), Error> {
        self.size.set(size);
        self.screen.borrow_mut().resize(size);
        let Some(program) = self.program.get() else { return Ok(()) };
        let master = program.master.borrow().clone();
        match master {
            Some(master) => tell_size(&master, size, program.pid)
                .await
                .map_err(|error| failure::of("changing the terminal's size", error)),
            None => Ok(()),
        }
    }

    /// Ends the program and all of its session: a hang-up first, then, for whoever stays, a kill.
    pub async fn close(&self, reaper: &Reaper) {
        self.is_closed.set(true);
        self.viewers.close();
        let Some(program) = self.program.get().filter(|_| self.end().is_none()) else { return };
        signal_session(program.pid, Signal::HUP).await;
        let _ = tokio::time::timeout(Duration::from_secs(HANG_UP_SECONDS_MAX), self.ended()).await;
        kill_all(program.pid, reaper).await;
        let _ = tokio::time::timeout(Duration::from_secs(KILL_SECONDS_MAX), self.ended()).await;
    }

    async fn ended(&self) {
        // The sender lives as long as `self`, so there is no error to see.
        let _ = self.end.subscribe().wait_for(Option::is_some).await;
    }
}

/// Gives a terminal a size, and tells the programs in front of it; all of its session, if it is not known which those
/// are: whoever does not look for a size does not hear of one.
async fn tell_size(master: &Master, size: Size, session: i32) -> io::Result<()> {
    if !master.resize(size)? {
        signal_session(session, Signal::WINCH).await;
    }
    Ok(())
}

/// Has a program started on a terminal.
async fn seat(spawner: &Spawner, seat: Seat) -> Result<Seated, Error> {
    let seated = async {
        let seated = spawner.seat(seat).await.await;
        seated.unwrap_or_else(|_| Err(Error::new(ErrorCode::Io, "nothing starts processes any more")))
    };
    let slow =
        |_| Error::new(ErrorCode::Io, "the program did not start in time: its file system does not answer");
    tokio::time::timeout(Duration::from_secs(START_SECONDS_MAX), seated).await.map_err(slow)?
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |time| time.as_millis() as u64)
}
