//! The machine: found or built once, then started for each job.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};

use super::attempt::attempt;
use super::build;
use super::job::Job;
use super::lease::{Lease, sweep};
use super::program;
use super::qemu::JOB_DISK_FILE;
use super::recipe::Recipe;
use super::report::{Outcome, Report};

/// What a job cannot be run without, and is not asked for before.
const PROGRAMS: [&str; 2] = ["qemu-system-x86_64", "mke2fs"];

/// One machine at a time in a process: two would share the processors, and each watchdog would see the other.
static TURN: Mutex<()> = Mutex::new(());

/// A machine that is ready to be started, any number of times.
#[derive(Debug)]
pub struct Machine {
    dir: PathBuf,
    runs: PathBuf,
    /// Held, not used: keeps the machine from being swept.
    _user: File,
}

impl Machine {
    /// The machine of the current recipe. Builds it if it is not there, which takes a minute, a network and root.
    ///
    /// Of several callers, in several processes, one builds and the others wait.
    ///
    /// # Errors
    /// When a program is missing (with the command that installs it), or a package cannot be had.
    pub fn prepare() -> Result<Self> {
        for program in PROGRAMS {
            program::find(program)?;
        }
        let recipe = Recipe::current()?;
        let tcg = directory()?;
        let (machines, drafts, runs) = (tcg.join("machines"), tcg.join("drafts"), tcg.join("runs"));
        fs::create_dir_all(&machines).with_context(|| format!("create {}", machines.display()))?;
        let lock = File::create(tcg.join("lock")).context("create the lock of the test machines")?;
        lock.lock().context("wait for another process to prepare the machine")?;
        sweep(&drafts)?;
        sweep(&runs)?;
        let dir = machines.join(recipe.key());
        if !dir.exists() {
            sweep(&machines)?;
            let draft = Lease::new(&drafts)?;
            build::build(&recipe, draft.path()).context("build the test machine")?;
            fs::rename(draft.path(), &dir).with_context(|| format!("put {} in place", dir.display()))?;
        }
        let user = File::open(&dir).with_context(|| format!("open {}", dir.display()))?;
        user.lock_shared().with_context(|| format!("lock {}", dir.display()))?;
        Ok(Self { dir, runs, _user: user })
    }

    /// Runs a job, and tells each line of its output when it comes.
    ///
    /// An attempt in which the machine hangs or dies is given up for another one, from the start.
    ///
    /// # Errors
    /// When the job cannot be carried into the machine, or QEMU cannot be started.
    pub fn run(&self, job: &Job, mut on_line: impl FnMut(&str)) -> Result<Report> {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = Instant::now();
        let run = Lease::new(&self.runs)?;
        job.make_disk(run.path(), &run.path().join(JOB_DISK_FILE))?;
        let mut retries = Vec::new();
        loop {
            let last = attempt(&self.dir, run.path(), job, begin + job.bound, &mut on_line)?;
            let flaky = matches!(last.outcome, Outcome::NoProgress | Outcome::Died);
            if flaky && retries.len() + 1 < job.attempts_max {
                on_line(&format!("[the machine is started afresh: {:?}; it said:]", last.outcome));
                last.console.lines().for_each(&mut on_line);
                retries.push(last.outcome);
                continue;
            }
            let (outcome, output, boot, console) = (last.outcome, last.output, last.boot, last.console);
            return Ok(Report { outcome, output, retries, boot, elapsed: begin.elapsed(), console });
        }
    }
}

/// `target/tcg`, of the target directory that the running test lies in.
fn directory() -> Result<PathBuf> {
    let test = std::env::current_exe().context("a test knows its own path")?;
    let target = test.ancestors().nth(3).context("tests lie in target/<profile>/deps")?;
    Ok(target.join("tcg"))
}
