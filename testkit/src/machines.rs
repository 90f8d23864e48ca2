//! Engines for tests, each with everything it leaves in one directory.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use engine::Engine;
use engine::fake::Fake;
use engine::gvisor::{Config, Gvisor};
use engine::steps::Faults;

use crate::bins;

/// Which engine a story runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The real agent, without isolation; any user, anywhere.
    Fake,
    /// gVisor; root.
    Gvisor,
}

impl Kind {
    /// The steps of a bring-up, each of which a test may fail.
    pub fn steps(self) -> &'static [&'static str] {
        match self {
            Self::Fake => Fake::STEPS,
            Self::Gvisor => &Gvisor::STEPS,
        }
    }

    /// The steps of a wake, each of which a test may fail.
    pub fn wake_steps(self) -> &'static [&'static str] {
        match self {
            // It makes nothing anew but lets its processes go on.
            Self::Fake => &["boot"],
            Self::Gvisor => &Gvisor::STEPS_FROM,
        }
    }

    /// The steps of a checkpoint, each of which a test may fail.
    pub fn checkpoint_steps(self) -> &'static [&'static str] {
        match self {
            Self::Fake => Fake::CHECKPOINT_STEPS,
            Self::Gvisor => &Gvisor::CHECKPOINT_STEPS,
        }
    }

    /// Opens an engine that keeps everything below `dir`; again on the same `dir`, it finds its machines.
    ///
    /// # Errors
    /// When this host lacks what the engine needs.
    pub fn open(self, dir: &Path, faults: Faults) -> Result<Engine> {
        match self {
            Self::Fake => Ok(Engine::Fake(Fake::new(dir.join("fake"), faults, Default::default())?)),
            Self::Gvisor => open_gvisor(dir, faults),
        }
    }
}

fn open_gvisor(dir: &Path, faults: Faults) -> Result<Engine> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "gVisor machines are made by root; run these tests as root"
    );
    let name = dir.file_name().context("the directory has a name")?.to_string_lossy().into_owned();
    let config = Config {
        runsc: std::env::var_os("ATOLL_RUNSC").unwrap_or_else(|| "runsc".into()).into(),
        agent: engine::agent::install(&dir.join("agent"))?,
        dir: dir.join("engine"),
        run_dir: dir.join("run"),
        cgroup_parent: format!("atoll-{}", name.trim_start_matches('.').to_lowercase()),
        launcher: vec![bins::atoll().into(), "role".into(), "launcher".into()],
        faults,
    };
    Ok(Engine::Gvisor(Gvisor::open(config)?))
}
