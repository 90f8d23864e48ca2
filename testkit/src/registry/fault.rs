//! What a registry does wrong, when a test asks for it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// One thing done wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The connection breaks after so many bytes of the answer's body.
    BreakAfter(usize),
    /// Another status, with no content.
    Status(u16),
    /// Too many requests: come again in so many seconds.
    RetryAfter(u64),
    /// The answer's last byte is another one.
    WrongByte,
    /// All bytes, whatever part was asked for.
    NoRange,
    /// The content is elsewhere.
    Redirect(String),
    /// After so many bytes nothing comes until the test says so.
    HoldAfter(usize, Arc<Notify>),
}

/// Faults by the requests they are for.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Planned>>);

#[derive(Debug)]
struct Planned {
    part: String,
    fault: Fault,
    times: usize,
}

impl Faults {
    /// The next requests, so many, whose path has this part in it, are answered so.
    pub(crate) fn plan(&self, part: &str, times: usize, fault: Fault) {
        self.lock().push(Planned { part: part.to_owned(), fault, times });
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// What goes wrong with this request.
    pub(crate) fn take(&self, path: &str) -> Option<Fault> {
        let mut planned = self.lock();
        let at = planned.iter().position(|planned| path.contains(&planned.part))?;
        let fault = planned[at].fault.clone();
        planned[at].times -= 1;
        if planned[at].times == 0 {
            planned.remove(at);
        }
        Some(fault)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Planned>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
