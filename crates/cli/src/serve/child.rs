//! A process of the server: started, watched, started again, stopped.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use tokio::process::Command;

/// A part that lives shorter than this did not start properly.
const QUICK_DEATH: Duration = Duration::from_secs(10);
/// So many quick deaths in a row, and the server gives up.
const QUICK_DEATHS_MAX: u32 = 5;
/// Before a part is started again: so long, times its quick deaths.
const RESTART_PAUSE: Duration = Duration::from_millis(200);
/// Between two looks at whether a part is ready.
const READY_POLL: Duration = Duration::from_millis(10);

/// Which process, and what it needs to begin.
pub enum Role {
    /// Runs machines, as root.
    Node {
        /// What it is told, as a file.
        orders: PathBuf,
    },
    /// Serves the API, as the service user.
    Control {
        /// What it is told, as a file.
        orders: PathBuf,
        /// Where it serves. Ours, so that connections wait while control is started again.
        listener: TcpListener,
        /// Who it runs as; `None`: as we do.
        service_uid: Option<u32>,
    },
    /// Leads strangers into sandboxes, as a user of its own.
    Ingress {
        /// What it is told, as a file.
        orders: PathBuf,
        /// Where it serves. Ours, as control's.
        listener: TcpListener,
        /// Who it runs as; `None`: as we do.
        uid: Option<u32>,
    },
    /// Has certificates issued, as a user of its own.
    Acme {
        /// What it is told, as a file.
        orders: PathBuf,
        /// Who it runs as; `None`: as we do.
        uid: Option<u32>,
    },
}

impl Role {
    fn name(&self) -> &'static str {
        match self {
            Self::Node { .. } => "node",
            Self::Control { .. } => "control",
            Self::Ingress { .. } => "ingress",
            Self::Acme { .. } => "acme",
        }
    }

    fn command(&self) -> Result<Command> {
        // The running file itself, even if its path was replaced or is not for the service user to walk.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("atoll").process_group(0).kill_on_drop(true);
        match self {
            Self::Node { orders } => {
                command.args(["role", "node"]).arg(orders).stdin(Stdio::null());
            }
            Self::Control { orders, listener, service_uid: uid }
            | Self::Ingress { orders, listener, uid } => {
                let listener = OwnedFd::from(listener.try_clone().context("the listening socket")?);
                command.args(["role", self.name()]).arg(orders).stdin(Stdio::from(listener));
                become_user(&mut command, *uid);
            }
            Self::Acme { orders, uid } => {
                command.args(["role", self.name()]).arg(orders).stdin(Stdio::null());
                become_user(&mut command, *uid);
            }
        }
        Ok(command)
    }
}

/// For those who are nobody in particular, and are nowhere.
fn become_user(command: &mut Command, uid: Option<u32>) {
    command.current_dir("/");
    if let Some(uid) = uid {
        command.uid(uid).gid(uid);
    }
}

/// A process of the server.
pub struct Child {
    role: Role,
    process: tokio::process::Child,
    started: Instant,
    quick_deaths: u32,
}

impl Child {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(role: Role) -> Result<Self> {
        let process =
            role.command()?.spawn().with_context(|| format!("the {} cannot be started", role.name()))?;
        Ok(Self { role, process, started: Instant::now(), quick_deaths: 0 })
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// When it ends instead, or takes too long.
    pub async fn ready<F: Future<Output = bool>>(
        &mut self,
        bound: Duration,
        is_ready: impl Fn() -> F,
    ) -> Result<()> {
        let polling = async {
            while !is_ready().await {
                tokio::time::sleep(READY_POLL).await;
            }
        };
        tokio::select! {
            status = self.process.wait() => bail!("it ended with {}; what it said is above", status?),
            result = tokio::time::timeout(bound, polling) => {
                result.with_context(|| format!("it was not ready within {} s", bound.as_secs()))
            }
        }
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Starts it again after it ended unasked.
    ///
    /// # Errors
    /// When it ended too often right after its start.
    pub async fn again(&mut self, status: std::io::Result<ExitStatus>) -> Result<()> {
        let name = self.role.name();
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        self.quick_deaths = if self.started.elapsed() < QUICK_DEATH { self.quick_deaths + 1 } else { 0 };
        if self.quick_deaths >= QUICK_DEATHS_MAX {
            bail!(
                "the {name} ended {QUICK_DEATHS_MAX} times right after its start, the last time with {status}"
            );
        }
        tracing::error!(status, "the {name} ended; starting it again");
        tokio::time::sleep(RESTART_PAUSE * self.quick_deaths).await;
        self.process = self.role.command()?.spawn()?;
        self.started = Instant::now();
        Ok(())
    }

    /// Asks it to stop, and insists when it does not in time.
    pub async fn stop(&mut self, signal: Signal, bound: Duration) {
        let pid = self.process.id().and_then(|pid| Pid::from_raw(pid as i32));
        // Not yet waited for, so the number is still this process's; it may have ended, which is as good.
        let _ = pid.map(|pid| kill_process(pid, signal));
        if tokio::time::timeout(bound, self.process.wait()).await.is_err() {
            tracing::error!(
                "the {} did not stop within {} s and is killed",
                self.role.name(),
                bound.as_secs()
            );
            let _ = self.process.kill().await;
        }
    }
}

/// From now on this process ends when the server does, however that ends, and at once: a next server must not meet
/// it at work. What it was doing is found and finished by the next one, as after any crash.
///
/// # Errors
/// When the server has ended already.
pub fn die_with(server: u32) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    match getppid().map(|parent| parent.as_raw_nonzero().get() as u32) {
        Some(parent) if parent == server => Ok(()),
        _ => bail!("the server that started this has ended"),
    }
}
