//! The processes that are known by an id.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use wire::guest::frame::AGENT_MESSAGE_BYTES_MAX;
use wire::guest::process::{ENDED_MAX, ID_BYTES_MAX, PROCESSES_MAX, ProcessInfo, is_id};
use wire::guest::{Error, ErrorCode};

use super::card::cut;
use super::kept::Kept;
use crate::failure;

/// Of a command line or a directory, in bytes, so much is shown where all would be too long for one message.
const SHORT_BYTES: usize = 128;
/// What else is told of a process, in bytes of JSON, at most.
const INFO_BYTES: usize = 512;
/// Bytes of JSON that one byte of text may need.
const ESCAPED_BYTES_MAX: usize = 6;

const _: () = assert!(
    PROCESSES_MAX * (2 * SHORT_BYTES * ESCAPED_BYTES_MAX + INFO_BYTES + ID_BYTES_MAX)
        < AGENT_MESSAGE_BYTES_MAX
);

/// See the module.
#[derive(Default)]
pub struct Table {
    /// In the order of their starts.
    known: RefCell<Vec<Rc<Kept>>>,
    starting: RefCell<BTreeSet<String>>,
    kept_bytes: Rc<Cell<usize>>,
}

/// The right to an id, held while its process is being started.
pub struct Reservation {
    table: Rc<Table>,
    id: String,
}

impl Table {
    /// Takes an id for a process that is about to be started.
    pub fn reserve(self: &Rc<Self>, id: &str) -> Result<Reservation, Error> {
        check_id(id)?;
        if self.find(id).is_some() || self.starting.borrow().contains(id) {
            let message = format!("there is a process {id} already; forget it first, or choose another id");
            return Err(Error::new(ErrorCode::AlreadyExists, message));
        }
        let in_all = || self.known.borrow().len() + self.starting.borrow().len();
        if in_all() >= PROCESSES_MAX && !self.forget_oldest_ended() {
            let message = format!("{PROCESSES_MAX} processes with an id run already; end some of them first");
            return Err(Error::new(ErrorCode::TooMany, message));
        }
        self.starting.borrow_mut().insert(id.to_owned());
        Ok(Reservation { table: self.clone(), id: id.to_owned() })
    }

    /// Counts what is kept of all of them, in bytes.
    pub fn kept_bytes(&self) -> Rc<Cell<usize>> {
        self.kept_bytes.clone()
    }

    /// The process with this id.
    pub fn get(&self, id: &str) -> Result<Rc<Kept>, Error> {
        let unknown = || Error::new(ErrorCode::NotFound, format!("there is no process {id:?}"));
        check_id(id).map_err(|_| unknown())?;
        self.find(id).ok_or_else(unknown)
    }

    /// All of them, fit for one message.
    pub fn list(&self) -> Vec<ProcessInfo> {
        let mut all: Vec<_> = self.known.borrow().iter().map(|kept| kept.info()).collect();
        let texts: usize = all.iter().map(|info| info.command.len() + info.cwd.len()).sum();
        if texts * ESCAPED_BYTES_MAX + all.len() * INFO_BYTES > AGENT_MESSAGE_BYTES_MAX / 2 {
            for info in &mut all {
                info.command = cut(&info.command, SHORT_BYTES).to_owned();
                info.cwd = cut(&info.cwd, SHORT_BYTES).to_owned();
            }
        }
        all
    }

    /// Forgets this process.
    pub fn forget(&self, kept: &Rc<Kept>) {
        self.known.borrow_mut().retain(|other| !Rc::ptr_eq(other, kept));
    }

    /// Forgets those that ended first, while more are remembered than shall be.
    pub fn forget_surplus(&self) {
        let ended = || self.known.borrow().iter().filter(|kept| kept.end().is_some()).count();
        while ended() > ENDED_MAX && self.forget_oldest_ended() {}
    }

    /// False if none has ended.
    fn forget_oldest_ended(&self) -> bool {
        let mut known = self.known.borrow_mut();
        let ended = known.iter().enumerate().filter_map(|(index, kept)| Some((kept.ended_at_ms()?, index)));
        let Some((_, index)) = ended.min() else { return false };
        known.remove(index);
        true
    }

    fn find(&self, id: &str) -> Option<Rc<Kept>> {
        self.known.borrow().iter().find(|kept| kept.card.id == id).cloned()
    }
}

impl Reservation {
    /// The process runs: it is known from now on.
    pub fn fill(self, kept: &Rc<Kept>) {
        self.table.known.borrow_mut().push(kept.clone());
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.table.starting.borrow_mut().remove(&self.id);
    }
}

fn check_id(id: &str) -> Result<(), Error> {
    if is_id(id) {
        return Ok(());
    }
    Err(failure::invalid(format!(
        "the id of a process is 1 to {ID_BYTES_MAX} letters, digits, `-`, `_` and `.`"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::card::Card;
    use wire::guest::{ExecCause, ExecEnd};

    fn start(table: &Rc<Table>, id: &str) -> Result<Rc<Kept>, ErrorCode> {
        let reservation = table.reserve(id).map_err(|error| error.code)?;
        let kept = Kept::new(Card::for_tests(id), None, table.kept_bytes());
        reservation.fill(&kept);
        Ok(kept)
    }

    fn end(kept: &Kept) {
        kept.set_ended(ExecEnd { exit_code: Some(0), signal: None, cause: ExecCause::Itself });
    }

    #[test]
    fn an_id_is_one_processs_from_before_its_start_until_it_is_forgotten() {
        let table = Rc::new(Table::default());
        let reservation = table.reserve("a").unwrap();
        assert_eq!(table.reserve("a").err().unwrap().code, ErrorCode::AlreadyExists);
        drop(reservation);
        let kept = start(&table, "a").unwrap();
        end(&kept);
        assert_eq!(start(&table, "a").err(), Some(ErrorCode::AlreadyExists));
        table.forget(&kept);
        start(&table, "a").unwrap();
    }

    #[test]
    fn hostile_ids_are_no_ids() {
        let table = Rc::new(Table::default());
        for id in ["", "a/b", "a b", "é", "a\0", "a\nb", &"x".repeat(ID_BYTES_MAX + 1)] {
            assert_eq!(start(&table, id).err(), Some(ErrorCode::Invalid), "{id:?}");
            assert_eq!(table.get(id).err().unwrap().code, ErrorCode::NotFound, "{id:?}");
        }
        start(&table, &"x".repeat(ID_BYTES_MAX)).unwrap();
        start(&table, "prc-1_2.3").unwrap();
    }

    #[test]
    fn the_ended_make_room_and_the_living_do_not() {
        let table = Rc::new(Table::default());
        let all: Vec<_> = (0..PROCESSES_MAX).map(|id| start(&table, &id.to_string()).unwrap()).collect();
        assert_eq!(start(&table, "more").err(), Some(ErrorCode::TooMany));
        end(&all[5]);
        start(&table, "more").unwrap();
        assert_eq!(table.get("5").err().unwrap().code, ErrorCode::NotFound);
        assert_eq!(table.list().len(), PROCESSES_MAX);
    }

    #[test]
    fn only_so_many_ended_ones_are_remembered() {
        let table = Rc::new(Table::default());
        for id in 0..2 * ENDED_MAX {
            end(&start(&table, &id.to_string()).unwrap());
            table.forget_surplus();
        }
        assert_eq!(table.list().len(), ENDED_MAX);
    }

    #[test]
    fn a_list_of_everything_fits_into_one_message() {
        let table = Rc::new(Table::default());
        for id in 0..PROCESSES_MAX {
            let text = "\u{1}".repeat(1024);
            let card =
                Card { command: text.clone(), cwd: text.repeat(4), ..Card::for_tests(&id.to_string()) };
            table.reserve(&id.to_string()).unwrap().fill(&Kept::new(card, None, table.kept_bytes()));
        }
        assert!(serde_json::to_vec(&table.list()).unwrap().len() < AGENT_MESSAGE_BYTES_MAX);
    }
}
