//! What an S3-compatible store does wrong, when a test asks for it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One thing done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An internal error.
    Status500,
    /// Too many requests.
    SlowDown,
    /// It is not done, and the connection breaks.
    Break,
    /// It is done, and the connection breaks before anybody hears so.
    BreakWhenDone,
    /// The connection breaks after so many bytes of the answer.
    BreakAfter(usize),
    /// The answer begins, and does not go on.
    Stall,
}

/// Faults by the requests they are for.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    planned: Vec<Planned>,
    shake: Option<(u64, u64)>,
}

#[derive(Debug)]
struct Planned {
    method: String,
    part: String,
    fault: Fault,
    times: usize,
}

impl Faults {
    pub(super) fn plan(&self, method: &str, part: &str, times: usize, fault: Fault) {
        let (method, part) = (method.to_owned(), part.to_owned());
        self.lock().planned.push(Planned { method, part, fault, times });
    }

    pub(super) fn shake(&self, seed: u64, one_of: u64) {
        self.lock().shake = Some((seed | 1, one_of));
    }

    pub(super) fn clear(&self) {
        *self.lock() = State::default();
    }

    /// What goes wrong with this request.
    pub(super) fn take(&self, method: &str, what: &str) -> Option<Fault> {
        let mut state = self.lock();
        let is_meant = |planned: &Planned| planned.method == method && what.contains(&planned.part);
        let Some(at) = state.planned.iter().position(is_meant) else { return shaken(&mut state) };
        let fault = state.planned[at].fault;
        state.planned[at].times -= 1;
        if state.planned[at].times == 0 {
            state.planned.remove(at);
        }
        Some(fault)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By chance (xorshift).
fn shaken(state: &mut State) -> Option<Fault> {
    let (random, one_of) = state.shake.as_mut()?;
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    let faults =
        [Fault::Status500, Fault::SlowDown, Fault::Break, Fault::BreakWhenDone, Fault::BreakAfter(100)];
    let at = usize::try_from(*random >> 40).unwrap_or_default() % faults.len();
    (*random % *one_of == 0).then_some(faults[at])
}
