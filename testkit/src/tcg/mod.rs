//! A machine with Debian 12's kernel, for tests of real engines.
//!
//! Whoever runs Atoll has Debian 12: kernel 6.1 and cgroup v2. Whoever works on
//! it may have any kernel. So the tests of real engines also run in here: QEMU
//! emulates the processor (TCG), which needs neither hardware nor rights, and
//! is 10 to 30 times slower. It says whether something works, never how fast.
//!
//! ```text
//! let machine = Machine::prepare()?;                    once: packages → disk, 40 s; then cached
//! let job = Job::new(["/job/suite"]).file("suite", path, 0o755);
//! let report = machine.run(&job, |line| println!("{line}"))?;
//! assert_eq!(report.outcome, Outcome::Exited(0), "{report}");
//! ```
//!
//! Everything is below `target/tcg/`, drawn in [`lease`]. A job's files and its
//! room to write are one ext4 disk at `/job`, thrown away afterwards. What the
//! machine gives a job, and how it resembles what systemd gives a service, is
//! in `init.sh`. There is no network but loopback and what the job makes.
//!
//! Two channels lead out: one carries the command's output, byte for byte and
//! live, the other our own `init`'s word that the command began and ended. The
//! kernel's messages are on neither, so they are not taken for progress.

mod attempt;
mod build;
mod job;
mod lease;
mod lines;
mod machine;
mod program;
mod qemu;
mod recipe;
mod report;

pub use job::Job;
pub use machine::Machine;
pub use report::{Outcome, Report};
