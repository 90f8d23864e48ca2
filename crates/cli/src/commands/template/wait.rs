//! Waits for the image of a template, and shows how far it is.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use wire::id::TemplateId;
use wire::node::{PullPhase, PullProgress};
use wire::public::template::{Template, TemplateState};

use crate::client::Session;
use crate::output::{Object, note};
use crate::size::size;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(250);
/// A pull that is not a byte further after so long is not waited for.
const STILLSTAND_MAX: Duration = Duration::from_secs(15 * 60);
/// Back to the beginning of the line, and nothing in it.
const CLEAR: &str = "\r\u{1b}[K";
/// Where nobody watches, lines are this many hundredths of the way apart.
const STEP_HUNDREDTHS: u64 = 25;

/// Whether the image is waited for.
#[derive(Debug, Args)]
pub struct Wait {
    /// Returns when the image is here, and shows how far it is; so it is unless the next one is given.
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Returns when it is known what the image is; layers go on by themselves.
    #[arg(long, overrides_with = "wait")]
    no_wait: bool,
}

impl Wait {
    /// The template when its image is here, or as it is if nobody waits.
    ///
    /// # Errors
    /// When the image cannot be had.
    pub async fn over(&self, session: &Session, id: &TemplateId) -> Result<Object<Template>> {
        let mut picture = Picture::new();
        loop {
            let template: Object<Template> = session.client.get(&format!("/v1/template/{id}")).await?;
            let is_coming = template.it.state == TemplateState::Pulling;
            if self.no_wait || !is_coming {
                picture.end();
                return settled(template);
            }
            picture.show(template.it.progress.as_ref())?;
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

fn settled(template: Object<Template>) -> Result<Object<Template>> {
    match &template.it.failure {
        Some(failure) => bail!("the image of {} cannot be had: {}", template.it.name, failure.message),
        None => Ok(template),
    }
}

/// How far it is, for whoever watches: a line that changes on a terminal, and else some lines.
struct Picture {
    on_terminal: bool,
    is_drawn: bool,
    last: Option<(PullPhase, u64)>,
    told: Option<(PullPhase, u64)>,
    moved: Instant,
}

impl Picture {
    fn new() -> Self {
        let on_terminal = io::stderr().is_terminal();
        Self { on_terminal, is_drawn: false, last: None, told: None, moved: Instant::now() }
    }

    fn show(&mut self, progress: Option<&PullProgress>) -> Result<()> {
        let now = progress.map(|progress| (progress.phase, progress.bytes_done));
        if now != self.last {
            (self.last, self.moved) = (now, Instant::now());
        }
        if self.moved.elapsed() > STILLSTAND_MAX {
            bail!("the pull has not come further for {} minutes", STILLSTAND_MAX.as_secs() / 60);
        }
        let Some(progress) = progress else { return Ok(()) };
        if self.on_terminal {
            let _ = write!(io::stderr(), "{CLEAR}  {}", told(progress));
            self.is_drawn = true;
        } else {
            let step = (progress.phase, hundredths(progress) / STEP_HUNDREDTHS);
            if self.told != Some(step) {
                self.told = Some(step);
                note(&format!("  {}", told(progress)));
            }
        }
        Ok(())
    }

    fn end(&self) {
        if self.is_drawn {
            let _ = write!(io::stderr(), "{CLEAR}");
        }
    }
}

fn hundredths(progress: &PullProgress) -> u64 {
    progress.bytes_done.saturating_mul(100).checked_div(progress.bytes_total).unwrap_or(0).min(100)
}

fn told(progress: &PullProgress) -> String {
    let (done, total) = (size(progress.bytes_done), size(progress.bytes_total));
    match progress.phase {
        PullPhase::Fetching => format!("fetching: {done} of {total}, {} %", hundredths(progress)),
        PullPhase::Packing => format!("packing {total}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_in_words_and_never_beyond_all() {
        let at = |phase, bytes_done, bytes_total| PullProgress { phase, bytes_done, bytes_total };
        assert_eq!(told(&at(PullPhase::Fetching, 1 << 20, 4 << 20)), "fetching: 1.0 MiB of 4.0 MiB, 25 %");
        assert_eq!(told(&at(PullPhase::Packing, 4 << 20, 4 << 20)), "packing 4.0 MiB");
        assert_eq!(hundredths(&at(PullPhase::Fetching, 0, 0)), 0);
        assert_eq!(hundredths(&at(PullPhase::Fetching, 9, 3)), 100);
    }
}
