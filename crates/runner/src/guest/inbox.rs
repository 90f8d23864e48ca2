//! What an agent has said on one stream and nobody has taken yet. Pure.
//!
//! Bytes are copied together as they come, beside a list of their lengths: so
//! what is kept is in proportion to the bytes granted, however small the
//! pieces. A piece leaves as it came, for some are counted by who reads them.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use wire::guest::frame::{Channel, INITIAL_CREDIT_BYTES};
use wire::guest::{Head, Outcome};

use super::Event;
use super::error::Violation;

/// So many bytes are taken before the agent is granted them again: few `Credit` frames, never an idle agent.
const GRANT_BYTES: u32 = INITIAL_CREDIT_BYTES / 4;

/// See the module.
#[derive(Debug)]
pub(super) struct Inbox {
    head: Option<Head>,
    bytes: BytesMut,
    runs: VecDeque<Run>,
    end: Option<Outcome>,
    /// Nothing has come yet, so a Head still may.
    fresh: bool,
    stdout_open: bool,
    stderr_open: bool,
    /// Bytes the agent may still send.
    window: u32,
    /// Bytes taken and not granted again yet.
    taken: u32,
}

#[derive(Debug, Clone, Copy)]
enum Run {
    Data(Channel, u32),
    Eof(Channel),
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            head: None,
            bytes: BytesMut::new(),
            runs: VecDeque::new(),
            end: None,
            fresh: true,
            stdout_open: true,
            stderr_open: true,
            window: INITIAL_CREDIT_BYTES,
            taken: 0,
        }
    }

    pub(super) fn push_head(&mut self, head: Head) -> Result<(), Violation> {
        if !std::mem::take(&mut self.fresh) {
            return Err(Violation::LateHead);
        }
        self.head = Some(head);
        Ok(())
    }

    pub(super) fn push_data(&mut self, channel: Channel, data: &Bytes) -> Result<(), Violation> {
        self.check_open(channel)?;
        let length = u32::try_from(data.len()).map_err(|_| Violation::Credit)?;
        self.window = self.window.checked_sub(length).ok_or(Violation::Credit)?;
        self.fresh = false;
        self.bytes.extend_from_slice(data);
        self.runs.push_back(Run::Data(channel, length));
        Ok(())
    }

    pub(super) fn push_eof(&mut self, channel: Channel) -> Result<(), Violation> {
        self.check_open(channel)?;
        self.fresh = false;
        match channel {
            Channel::Stdout => self.stdout_open = false,
            Channel::Stderr => self.stderr_open = false,
            Channel::Stdin => return Err(Violation::Channel(channel)),
        }
        self.runs.push_back(Run::Eof(channel));
        Ok(())
    }

    pub(super) fn push_end(&mut self, outcome: Outcome) {
        self.end = Some(outcome);
    }

    /// The next event, if there is one, in the order they came.
    pub(super) fn take(&mut self) -> Option<Event> {
        if let Some(head) = self.head.take() {
            return Some(Event::Head(head));
        }
        match self.runs.pop_front() {
            Some(Run::Data(channel, length)) => Some(self.take_data(channel, length)),
            Some(Run::Eof(channel)) => Some(Event::Eof(channel)),
            None => self.end.take().map(Event::End),
        }
    }

    fn take_data(&mut self, channel: Channel, length: u32) -> Event {
        self.taken += length;
        Event::Data(channel, self.bytes.split_to(length as usize).freeze())
    }

    /// How many bytes to grant the agent now, if any.
    pub(super) fn grant(&mut self) -> Option<u32> {
        if self.taken < GRANT_BYTES || self.end.is_some() {
            return None;
        }
        self.window += self.taken;
        Some(std::mem::take(&mut self.taken))
    }

    /// Forgets what was kept, because nobody will take it. The rules still hold for what comes.
    pub(super) fn discard(&mut self) {
        self.head = None;
        self.bytes = BytesMut::new();
        self.runs = VecDeque::new();
        self.end = None;
    }

    fn check_open(&self, channel: Channel) -> Result<(), Violation> {
        match channel {
            Channel::Stdin => Err(Violation::Channel(channel)),
            Channel::Stdout if self.stdout_open => Ok(()),
            Channel::Stderr if self.stderr_open => Ok(()),
            Channel::Stdout | Channel::Stderr => Err(Violation::AfterEof(channel)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Channel::{Stderr, Stdin, Stdout};
    use wire::guest::frame::DATA_BYTES_MAX;

    fn data(length: usize) -> Bytes {
        Bytes::from(vec![7; length])
    }

    #[test]
    fn events_come_in_the_order_they_were_said() {
        let mut inbox = Inbox::new();
        inbox.push_head(Head::Process { pid: 4 }).unwrap();
        inbox.push_data(Stdout, &Bytes::from_static(b"a")).unwrap();
        inbox.push_data(Stdout, &Bytes::from_static(b"b")).unwrap();
        inbox.push_data(Stderr, &Bytes::from_static(b"c")).unwrap();
        inbox.push_eof(Stdout).unwrap();
        let events: Vec<_> = std::iter::from_fn(|| inbox.take()).collect();
        assert_eq!(
            events,
            [
                Event::Head(Head::Process { pid: 4 }),
                Event::Data(Stdout, Bytes::from_static(b"a")),
                Event::Data(Stdout, Bytes::from_static(b"b")),
                Event::Data(Stderr, Bytes::from_static(b"c")),
                Event::Eof(Stdout),
            ]
        );
    }

    #[test]
    fn an_agent_may_send_what_it_was_granted_and_not_a_byte_more() {
        let mut inbox = Inbox::new();
        for _ in 0..INITIAL_CREDIT_BYTES as usize / DATA_BYTES_MAX {
            inbox.push_data(Stdout, &data(DATA_BYTES_MAX)).unwrap();
        }
        assert_eq!(inbox.push_data(Stderr, &data(1)), Err(Violation::Credit));
        assert_eq!(inbox.grant(), None, "nothing was taken yet");
        assert!(inbox.take().is_some());
        assert_eq!(inbox.grant(), Some(DATA_BYTES_MAX as u32));
        inbox.push_data(Stderr, &data(DATA_BYTES_MAX)).unwrap();
        assert_eq!(inbox.push_data(Stderr, &data(1)), Err(Violation::Credit));
    }

    #[test]
    fn what_is_discarded_does_not_lift_the_limit() {
        let mut inbox = Inbox::new();
        inbox.push_data(Stdout, &data(DATA_BYTES_MAX)).unwrap();
        inbox.discard();
        assert_eq!(inbox.take(), None);
        for _ in 1..INITIAL_CREDIT_BYTES as usize / DATA_BYTES_MAX {
            inbox.push_data(Stdout, &data(DATA_BYTES_MAX)).unwrap();
        }
        assert_eq!(inbox.push_data(Stdout, &data(1)), Err(Violation::Credit));
    }

    #[test]
    fn words_out_of_place_are_violations() {
        let mut inbox = Inbox::new();
        assert_eq!(inbox.push_data(Stdin, &data(1)), Err(Violation::Channel(Stdin)));
        assert_eq!(inbox.push_eof(Stdin), Err(Violation::Channel(Stdin)));
        inbox.push_eof(Stderr).unwrap();
        assert_eq!(inbox.push_data(Stderr, &data(1)), Err(Violation::AfterEof(Stderr)));
        assert_eq!(inbox.push_eof(Stderr), Err(Violation::AfterEof(Stderr)));
        assert_eq!(inbox.push_head(Head::Process { pid: 1 }), Err(Violation::LateHead));
        let mut inbox = Inbox::new();
        inbox.push_head(Head::Process { pid: 1 }).unwrap();
        assert_eq!(inbox.push_head(Head::Process { pid: 1 }), Err(Violation::LateHead));
    }

    #[test]
    fn alternating_single_bytes_stay_in_proportion() {
        let mut inbox = Inbox::new();
        for n in 0..INITIAL_CREDIT_BYTES {
            inbox.push_data(if n % 2 == 0 { Stdout } else { Stderr }, &data(1)).unwrap();
        }
        let kept = inbox.runs.capacity() * size_of::<Run>() + inbox.bytes.capacity();
        assert!(kept <= 16 * INITIAL_CREDIT_BYTES as usize, "{kept} bytes kept");
    }
}
