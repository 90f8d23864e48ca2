//! A process that is known by an id, and outlives the connection that started it.
//!
//! ```text
//!  pipes ──► keep (two pumps) ──► Ring ──► Listener ──► stream      any number of listeners, each at its own place
//! ```
//!
//! The ring forgets what no listener is still to be told, and the pumps wait
//! while that is not enough: for the slowest listener, and not for ever. With
//! nobody listening they never wait.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::unix::pipe;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;
use wire::guest::frame::{Channel, DATA_BYTES_MAX};
use wire::guest::process::{KEPT_BYTES_MAX, ProcessInfo, STALL_SECONDS_MAX};
use wire::guest::{Error, ErrorCode, ExecCause, ExecEnd};

use super::card::{Card, cut, wall_ms};
use super::ring::{Cursor, PIECE_BYTES, Ring};

/// Listeners of one process at once.
const LISTENERS_MAX: usize = 64;
/// Output kept of all processes together, in bytes. Beyond it each keeps [`KEPT_BYTES_MIN`].
const KEPT_BYTES_IN_ALL_MAX: usize = 64 * 1024 * 1024;
/// Output kept of one process at least, in bytes.
const KEPT_BYTES_MIN: usize = 128 * 1024;
/// How long a listener may take nothing while a pump waits for it.
const STALL_MAX: Duration = Duration::from_secs(STALL_SECONDS_MAX);
/// Room that a pump wants before it reads, in bytes.
const PUMP_BYTES: usize = DATA_BYTES_MAX + PIECE_BYTES;

const _: () = assert!(KEPT_BYTES_MIN >= PUMP_BYTES && KEPT_BYTES_MIN <= KEPT_BYTES_MAX);

/// See the module.
pub struct Kept {
    /// What is shown of it.
    pub card: Card,
    /// Where what is sent to it goes. `None`: nothing can be sent, or no more.
    pub input: Mutex<Option<pipe::Sender>>,
    takes_input: Cell<bool>,
    ring: RefCell<Ring>,
    in_all: Rc<Cell<usize>>,
    seats: RefCell<Vec<Rc<Seat>>>,
    end: RefCell<Option<Ended>>,
    /// There is a new piece, or it has ended.
    said: Notify,
    /// A listener took a piece, or has gone.
    taken: Notify,
    /// It is to be killed.
    unwanted: Notify,
}

struct Ended {
    at_ms: u64,
    end: ExecEnd,
}

/// Where a listener is.
struct Seat {
    cursor: Cell<Cursor>,
    /// It is waited for however long that takes.
    is_dear: Cell<bool>,
    took_at: Cell<Instant>,
    is_let_go: Cell<bool>,
    let_go: Notify,
}

/// Somebody who is told what a process says.
pub struct Listener {
    kept: Rc<Kept>,
    seat: Rc<Seat>,
}

/// What comes next for a listener.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A piece of so many bytes.
    Piece(usize),
    /// The process's end: there are no more pieces.
    End(ExecEnd),
    /// The process waited for this listener for too long, and waits no more.
    LetGo,
}

impl Kept {
    /// A process that has just been started. `in_all` counts what is kept of all processes.
    pub fn new(card: Card, input: Option<pipe::Sender>, in_all: Rc<Cell<usize>>) -> Rc<Self> {
        Rc::new(Self {
            takes_input: Cell::new(input.is_some()),
            card,
            input: Mutex::new(input),
            ring: RefCell::default(),
            in_all,
            seats: RefCell::default(),
            end: RefCell::new(None),
            said: Notify::new(),
            taken: Notify::new(),
            unwanted: Notify::new(),
        })
    }

    /// One that could not be started: why is what it said.
    pub fn stillborn(card: Card, why: &Error, in_all: Rc<Cell<usize>>) -> Rc<Self> {
        let kept = Self::new(card.started(0), None, in_all);
        let said = format!("{}\n", cut(&why.message, DATA_BYTES_MAX - 1));
        kept.push(Channel::Stderr, said.as_bytes());
        kept.set_ended(ExecEnd { exit_code: None, signal: None, cause: ExecCause::NotStarted });
        kept
    }

    /// What is known of it.
    pub fn info(&self) -> ProcessInfo {
        let (ring, end) = (self.ring.borrow(), self.end.borrow());
        ProcessInfo {
            id: self.card.id.clone(),
            pid: self.card.pid as u32,
            command: self.card.command.clone(),
            cwd: self.card.cwd.clone(),
            started_at_ms: self.card.started_at_ms,
            ended_at_ms: end.as_ref().map(|ended| ended.at_ms),
            end: end.as_ref().map(|ended| ended.end.clone()),
            first_piece: ring.first(),
            next_piece: ring.next(),
            stdin: self.takes_input.get() && end.is_none(),
        }
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<ExecEnd> {
        self.end.borrow().as_ref().map(|ended| ended.end.clone())
    }

    /// When it ended, if it has, in wall-clock milliseconds.
    pub fn ended_at_ms(&self) -> Option<u64> {
        self.end.borrow().as_ref().map(|ended| ended.at_ms)
    }

    /// Waits for its end.
    pub async fn ended(&self) -> ExecEnd {
        loop {
            let said = self.said.notified();
            if let Some(end) = self.end() {
                return end;
            }
            said.await;
        }
    }

    /// Waits until it says something, or ends.
    pub async fn news(&self) {
        self.said.notified().await;
    }

    /// What it said last, over both channels; so many bytes, or all that are kept.
    pub fn last_bytes(&self, bytes_max: usize) -> Vec<u8> {
        self.ring.borrow().last_bytes(bytes_max)
    }

    /// It has ended, and everything it said has been pushed.
    pub fn set_ended(&self, end: ExecEnd) {
        self.ring.borrow_mut().shrink();
        *self.end.borrow_mut() = Some(Ended { at_ms: wall_ms(), end });
        // Whoever holds the input sees the end, and closes it.
        if let Ok(mut input) = self.input.try_lock() {
            *input = None;
        }
        self.said.notify_waiters();
    }

    /// Its input is closed.
    pub fn set_input_closed(&self) {
        self.takes_input.set(false);
    }

    /// Has it killed.
    pub fn discard(&self) {
        self.unwanted.notify_one();
    }

    /// Waits until somebody wants it killed.
    pub async fn unwanted(&self) {
        self.unwanted.notified().await;
    }

    // What the pumps do.

    /// Waits until a piece of any size can be pushed without forgetting what a listener is still to be told. Lets
    /// listeners go that take nothing for too long.
    pub async fn room(&self) {
        let since = Instant::now();
        loop {
            let taken = self.taken.notified();
            let Some(patience_ends) = self.patience(since, Instant::now()) else { return };
            tokio::select! {
                () = taken => {}
                () = tokio::time::sleep_until(patience_ends) => {}
            }
        }
    }

    /// Keeps a piece.
    pub fn push(&self, channel: Channel, bytes: &[u8]) {
        self.change_ring(|ring| ring.push(channel, bytes));
        self.trim();
        self.said.notify_waiters();
    }

    /// Lets go who has held the pumps up for too long, and says until when to wait for the others; `None` if nobody is in
    /// the way.
    fn patience(&self, since: Instant, now: Instant) -> Option<Instant> {
        let waits_since = |seat: &Seat| if seat.is_dear.get() { now } else { seat.took_at.get().max(since) };
        let ends = |seat: &Seat| waits_since(seat) + STALL_MAX;
        let room = self.bytes_max() - PUMP_BYTES;
        let ring = self.ring.borrow();
        let is_behind = |seat: &Seat| ring.cost_from(seat.cursor.get()) > room;
        let mut seats = self.seats.borrow_mut();
        seats.retain(|seat| {
            let is_stalled = is_behind(seat) && ends(seat) <= now;
            if is_stalled {
                seat.is_let_go.set(true);
                seat.let_go.notify_one();
            }
            !is_stalled
        });
        seats.iter().filter(|seat| is_behind(seat)).map(|seat| ends(seat)).min()
    }

    /// Forgets the oldest pieces that nobody is still to be told, while there is too much.
    fn trim(&self) {
        let seats = self.seats.borrow();
        let needed = seats.iter().map(|seat| seat.cursor.get().piece).min().unwrap_or(u64::MAX);
        let bytes_max = self.bytes_max();
        self.change_ring(|ring| {
            while ring.cost() > bytes_max && ring.first() < needed {
                ring.forget_first();
            }
        });
    }

    fn bytes_max(&self) -> usize {
        if self.in_all.get() > KEPT_BYTES_IN_ALL_MAX { KEPT_BYTES_MIN } else { KEPT_BYTES_MAX }
    }

    fn change_ring(&self, change: impl FnOnce(&mut Ring)) {
        let mut ring = self.ring.borrow_mut();
        let before = ring.cost();
        change(&mut ring);
        self.in_all.set(self.in_all.get() + ring.cost() - before);
    }

    // What listeners do.

    /// Listens from this piece on, or from the nearest one there is.
    pub fn listen(self: &Rc<Self>, from: u64) -> Result<Listener, Error> {
        let mut seats = self.seats.borrow_mut();
        if seats.len() >= LISTENERS_MAX {
            let message = format!("{LISTENERS_MAX} listen to this process already");
            return Err(Error::new(ErrorCode::TooMany, message));
        }
        let seat = Rc::new(Seat {
            cursor: Cell::new(self.ring.borrow().cursor(from)),
            is_dear: Cell::new(false),
            took_at: Cell::new(Instant::now()),
            is_let_go: Cell::new(false),
            let_go: Notify::new(),
        });
        seats.push(seat.clone());
        Ok(Listener { kept: self.clone(), seat })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.in_all.set(self.in_all.get() - self.ring.get_mut().cost());
    }
}

impl Listener {
    /// The number of the piece that comes next.
    pub fn from(&self) -> u64 {
        self.seat.cursor.get().piece
    }

    /// The process that it listens to.
    pub fn kept(&self) -> &Rc<Kept> {
        &self.kept
    }

    /// Whether the process waits for it however long that takes: whoever listens is away, or was promised every byte.
    pub fn set_dear(&self, is_dear: bool) {
        self.seat.is_dear.set(is_dear);
        self.seat.took_at.set(Instant::now());
    }

    /// Waits for what comes next.
    pub async fn next(&self) -> Next {
        loop {
            let said = self.kept.said.notified();
            if self.seat.is_let_go.get() {
                return Next::LetGo;
            }
            let length = self.kept.ring.borrow().length(self.seat.cursor.get());
            if let Some(length) = length {
                return Next::Piece(length);
            }
            if let Some(end) = self.kept.end() {
                return Next::End(end);
            }
            said.await;
        }
    }

    /// Takes the next piece; `None` if this listener was let go.
    pub fn take(&self) -> Option<(Channel, Bytes)> {
        if self.seat.is_let_go.get() {
            return None;
        }
        let (channel, bytes, behind) = self.kept.ring.borrow().take(self.seat.cursor.get())?;
        self.seat.cursor.set(behind);
        self.seat.took_at.set(Instant::now());
        self.kept.trim();
        self.kept.taken.notify_waiters();
        Some((channel, bytes))
    }

    /// Waits until the process waits for it no more.
    pub async fn let_go(&self) {
        self.seat.let_go.notified().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.kept.seats.borrow_mut().retain(|seat| !Rc::ptr_eq(seat, &self.seat));
        self.kept.trim();
        self.kept.taken.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// What a future is worth at this moment.
    fn poll_now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    fn kept(in_all: &Rc<Cell<usize>>) -> Rc<Kept> {
        Kept::new(Card::for_tests("a"), None, in_all.clone())
    }

    fn fill(kept: &Kept, bytes: usize) {
        for _ in 0..bytes.div_ceil(DATA_BYTES_MAX) {
            kept.push(Channel::Stdout, &[7; DATA_BYTES_MAX]);
        }
    }

    fn exited() -> ExecEnd {
        ExecEnd { exit_code: Some(0), signal: None, cause: ExecCause::Itself }
    }

    #[test]
    fn with_nobody_listening_the_oldest_is_forgotten_and_nobody_waits() {
        let kept = kept(&Rc::default());
        fill(&kept, 3 * KEPT_BYTES_MAX);
        assert!(poll_now(kept.room()).is_some());
        let info = kept.info();
        assert!(info.first_piece > 0 && info.next_piece == 48, "{info:?}");
        assert_eq!(kept.listen(0).unwrap().from(), info.first_piece);
        assert_eq!(kept.listen(1000).unwrap().from(), 48, "it has not been said yet");
    }

    /// Pushes as long as nobody is in the way; how many pieces that were.
    fn fill_up(kept: &Kept, meanwhile: impl Fn()) -> usize {
        let mut pieces = 0;
        while poll_now(kept.room()).is_some() {
            fill(kept, 1);
            meanwhile();
            pieces += 1;
        }
        pieces
    }

    #[tokio::test]
    async fn the_slowest_listener_is_waited_for_and_then_let_go() {
        let kept = kept(&Rc::default());
        let (slow, quick) = (kept.listen(0).unwrap(), kept.listen(0).unwrap());
        let pieces = fill_up(&kept, || drop(quick.take().unwrap()));
        assert_eq!(pieces, KEPT_BYTES_MAX / PUMP_BYTES);
        assert_eq!(kept.info().first_piece, 0, "what the slow one was still to be told is gone");
        let since = Instant::now();
        let ends = kept.patience(since, since).unwrap();
        assert_eq!(ends, since + STALL_MAX);
        assert!(kept.patience(since, ends - Duration::from_millis(1)).is_some());
        assert_eq!(kept.patience(since, ends), None, "it is still waited for");
        fill(&kept, 1);
        assert_eq!(poll_now(slow.next()), Some(Next::LetGo));
        assert!(slow.take().is_none());
        assert!(poll_now(slow.let_go()).is_some());
        assert_eq!(poll_now(quick.next()), Some(Next::Piece(DATA_BYTES_MAX)));
    }

    #[tokio::test]
    async fn a_listener_that_takes_a_little_now_and_then_is_kept() {
        let kept = kept(&Rc::default());
        let slow = kept.listen(0).unwrap();
        fill_up(&kept, || {});
        let long_ago = Instant::now();
        assert!(slow.take().is_some());
        fill_up(&kept, || {});
        assert!(kept.patience(long_ago, long_ago + STALL_MAX).is_some(), "it took a piece meanwhile");
        drop(slow);
        assert!(poll_now(kept.room()).is_some(), "one that has left is waited for");
    }

    #[tokio::test]
    async fn one_that_is_dear_is_waited_for_until_it_is_not_any_more() {
        let kept = kept(&Rc::default());
        let listener = kept.listen(0).unwrap();
        listener.set_dear(true);
        fill_up(&kept, || {});
        let since = Instant::now();
        assert!(kept.patience(since, since + 1000 * STALL_MAX).is_some());
        listener.set_dear(false);
        assert!(kept.patience(since, Instant::now() + STALL_MAX).is_none());
        assert_eq!(poll_now(listener.next()), Some(Next::LetGo));
    }

    #[test]
    fn everything_said_comes_before_the_end() {
        let kept = kept(&Rc::default());
        let listener = kept.listen(0).unwrap();
        assert!(poll_now(listener.next()).is_none());
        kept.push(Channel::Stderr, b"last");
        kept.set_ended(exited());
        assert_eq!(poll_now(listener.next()), Some(Next::Piece(4)));
        assert_eq!(listener.take().unwrap(), (Channel::Stderr, Bytes::from_static(b"last")));
        assert_eq!(poll_now(listener.next()), Some(Next::End(exited())));
        assert_eq!(poll_now(kept.ended()), Some(exited()));
    }

    #[test]
    fn all_processes_together_keep_so_much_and_each_a_little() {
        let in_all = Rc::default();
        let all: Vec<_> = (0..256).map(|_| kept(&in_all)).collect();
        all.iter().for_each(|kept| fill(kept, 2 * KEPT_BYTES_MAX));
        assert!(in_all.get() <= KEPT_BYTES_IN_ALL_MAX + 256 * KEPT_BYTES_MIN, "{}", in_all.get());
        assert!(all[255].info().first_piece < all[255].info().next_piece);
        drop(all);
        assert_eq!(in_all.get(), 0);
    }

    #[test]
    fn listeners_are_bounded() {
        let kept = kept(&Rc::default());
        let listeners: Vec<_> = (0..LISTENERS_MAX).map(|_| kept.listen(0).unwrap()).collect();
        assert_eq!(kept.listen(0).err().unwrap().code, ErrorCode::TooMany);
        drop(listeners);
        assert!(kept.listen(0).is_ok());
    }
}
