//! Who waits for a sandbox to be paused or to run again, and what they are told.

use wire::node::{NodeError, NodeErrorCode, Observed};
use wire::sandbox::State;

use super::handle::Answer;
use crate::supervisor::ending;

/// Those who wait.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pauses: Vec<Answer>,
    /// Those who came while a snapshot was being taken.
    later: Vec<Answer>,
    wakes: Vec<Answer>,
    /// Why the last of either came to nothing.
    refusal: Option<NodeError>,
    /// The wake that came to nothing last, by its generation.
    refused_wake: Option<(u64, NodeError)>,
}

impl Orders {
    /// Somebody waits for it to be paused.
    pub(super) fn wait_for_pause(&mut self, answer: Answer) {
        self.pauses.push(answer);
    }

    /// Somebody waits for it to be paused, when what is under way is done.
    pub(super) fn wait_for_later_pause(&mut self, answer: Answer) {
        self.later.push(answer);
    }

    /// Whether somebody has waited for that. From now on, they wait for a pause.
    pub(super) fn is_now_later(&mut self) -> bool {
        self.pauses.append(&mut self.later);
        !self.pauses.is_empty()
    }

    /// Somebody waits for it to run.
    pub(super) fn wait_for_wake(&mut self, answer: Answer) {
        self.wakes.push(answer);
    }

    /// What is under way comes to nothing, for this reason.
    pub(super) fn refused(&mut self, refusal: NodeError) {
        self.refusal = Some(refusal);
    }

    /// The wake of this generation comes to nothing, for this reason.
    pub(super) fn refused_wake(&mut self, generation: u64, refusal: NodeError) {
        self.refused_wake = Some((generation, refusal.clone()));
        self.refused(refusal);
    }

    /// Why the wake of this generation came to nothing, if it did: who orders it once more has not heard of that yet.
    pub(super) fn why_no_wake(&self, generation: u64) -> Option<NodeError> {
        let refused = self.refused_wake.as_ref().filter(|(refused, _)| *refused == generation);
        refused.map(|(_, refusal)| refusal.clone())
    }

    /// Tells those whose waiting is over, now that it has entered this state.
    pub(super) fn answer(&mut self, observed: &Observed) {
        let (paused, woken) = match observed.state {
            State::Paused => (Ok(observed.clone()), Err(self.why(observed))),
            State::Running => (Err(self.why(observed)), Ok(observed.clone())),
            State::Deleting | State::Deleted => {
                self.pauses.append(&mut self.later);
                (Err(self.why(observed)), Err(self.why(observed)))
            }
            State::Starting | State::Snapshotting | State::Unpausing => return,
        };
        self.refusal = None;
        self.pauses.drain(..).for_each(|answer| tell(answer, paused.clone()));
        self.wakes.drain(..).for_each(|answer| tell(answer, woken.clone()));
    }

    fn why(&self, observed: &Observed) -> NodeError {
        match (&observed.death, &self.refusal) {
            (None, Some(refusal)) => refusal.clone(),
            (Some(_), _) => ending(observed),
            (None, None) => {
                NodeError::new(NodeErrorCode::WrongState, format!("the sandbox is {}", observed.state))
            }
        }
    }
}

/// Whoever asked may have gone; what was done holds all the same.
pub(super) fn tell(answer: Answer, said: Result<Observed, NodeError>) {
    let _ = answer.send(said);
}
