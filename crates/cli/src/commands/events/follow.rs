//! `atoll events --follow`: what happens, for as long as somebody reads it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use wire::public::event::SandboxEvent;
use wire::public::sandbox::Sandbox;
use wire::sandbox::State;

use super::show::Shown;
use super::{Told, rest};
use crate::client::{Events, Session, may_pass};
use crate::interrupts::Interrupts;
use crate::output::{Object, note, printable, reader_left};

/// The first pause before a server that went away is asked again; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// And none is longer.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A server says something every few seconds; one that is silent for so long is not there any more.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Shows what happens until there will be no more, somebody interrupts, or nobody reads on.
///
/// # Errors
/// When the server cannot be reached at first, or refuses for good.
pub async fn follow(session: &Session, told: &mut Told, shown: &mut Shown<'_>) -> Result<ExitCode> {
    let mut interrupts = Interrupts::new()?;
    tokio::select! {
        done = listened(session, told, shown) => done.map(|()| ExitCode::SUCCESS),
        code = interrupts.next() => Ok(ExitCode::from(code)),
        gone = reader_left() => Err(gone.into()),
    }
}

async fn listened(session: &Session, told: &mut Told, shown: &mut Shown<'_>) -> Result<()> {
    // Whoever mistypes a URL wants to know; only one that has answered is waited for.
    let mut events = Some(open(session, told).await?);
    let mut pauses = Pauses::default();
    loop {
        let began = Instant::now();
        let outcome = match events.take() {
            Some(events) => heard(session, events, told, shown).await,
            None => match open(session, told).await {
                Ok(opened) => heard(session, opened, told, shown).await,
                Err(failure) => Err(failure),
            },
        };
        let why = match outcome {
            Ok(true) => return Ok(()),
            Ok(false) => "the server ended the stream".to_owned(),
            Err(failure) if may_pass(&failure) => format!("{failure:#}"),
            Err(failure) => return Err(failure),
        };
        let pause = pauses.next(began.elapsed());
        if pause == PAUSE_MIN {
            note(&format!("atoll: {}; asking again until it is there", printable(&why)));
        }
        tokio::time::sleep(pause).await;
    }
}

async fn open(session: &Session, told: &Told) -> Result<Events> {
    let path = format!("{}&follow=true", told.path());
    Ok(session.client.hear(&path).await?.silent_at_most(SILENCE_MAX))
}

/// Shows what a stream tells. True if there is no more to come, in any stream.
async fn heard(
    session: &Session,
    mut events: Events,
    told: &mut Told,
    shown: &mut Shown<'_>,
) -> Result<bool> {
    while !shown.is_enough() {
        let Some(event) = events.next::<Object<SandboxEvent>>().await? else {
            return is_over(session, told, shown).await;
        };
        shown.show(&event)?;
        told.after = event.it.id;
    }
    Ok(true)
}

/// Whether a stream ended because its sandbox did, and not because the server stops. What was told neither way is shown.
async fn is_over(session: &Session, told: &mut Told, shown: &mut Shown<'_>) -> Result<bool> {
    let Some(id) = &told.sandbox else { return Ok(false) };
    let sandbox: Sandbox = session.client.get(&format!("/v1/sandbox/{id}")).await?;
    if sandbox.state != State::Deleted {
        return Ok(false);
    }
    rest(session, told, shown).await?;
    Ok(true)
}

/// How long is waited before a server is asked again.
#[derive(Debug, Default)]
struct Pauses {
    last: Option<Duration>,
}

impl Pauses {
    /// The next one, after a connection that stood for so long.
    fn next(&mut self, stood: Duration) -> Duration {
        let last = self.last.filter(|_| stood < PAUSE_MAX);
        *self.last.insert(last.map_or(PAUSE_MIN, |last| (last * 2).min(PAUSE_MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_anew_after_a_connection_that_stood() {
        let mut pauses = Pauses::default();
        let brief: Vec<u128> = (0..8).map(|_| pauses.next(Duration::ZERO).as_millis()).collect();
        assert_eq!(brief, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(pauses.next(PAUSE_MAX), PAUSE_MIN);
        assert_eq!(pauses.next(Duration::ZERO), PAUSE_MIN * 2);
    }
}
