//! The input of a relayed call, over all the streams that it goes on in.

use std::collections::VecDeque;

use bytes::Bytes;
use wire::guest::frame::INITIAL_CREDIT_BYTES;

use super::upload::Fault;
use super::{GuestError, GuestSender};

/// Of what was sent, so much may be lost with a stream that is parted from: the agent grants no more at once.
const LOST_BYTES_MAX: usize = INITIAL_CREDIT_BYTES as usize;

/// The stream in which a call goes on.
pub(super) struct NextStream {
    pub(super) sender: GuestSender,
    /// Bytes of the one before that were received.
    pub(super) received: u64,
}

/// What was sent in the present stream, as far as it may have to be sent again.
#[derive(Default)]
pub(super) struct Sent {
    last: VecDeque<Bytes>,
    last_bytes: usize,
    /// Bytes before those.
    gone: u64,
    is_ended: bool,
    /// Nobody takes more.
    is_unwanted: bool,
}

impl Sent {
    /// Sends bytes. A process that ended early does not want the rest; one that is parted from gets it later.
    pub(super) async fn send(&mut self, sender: &mut GuestSender, bytes: Bytes) -> Result<(), Fault> {
        if self.is_unwanted && !self.is_ended {
            return Ok(());
        }
        self.keep(bytes.clone());
        pass(sender, bytes).await
    }

    /// Says that this was all.
    pub(super) fn eof(&mut self, sender: &mut GuestSender) {
        self.is_ended = true;
        sender.eof();
    }

    /// Sends in another stream what was not received in the one before.
    pub(super) async fn again(&mut self, sender: &mut GuestSender, received: u64) -> Result<(), Fault> {
        let end = self.gone + self.last_bytes as u64;
        if !sender.takes_input() {
            self.is_unwanted = true;
            return Ok(());
        }
        if received < self.gone || received > end {
            let reason = format!("the agent has received {received} bytes of {end}");
            return Err(Fault::Malformed(reason));
        }
        let mut known = received - self.gone;
        // From here on bytes are counted for the new stream.
        let last = std::mem::take(self).rest();
        for mut bytes in last.0 {
            let skipped = known.min(bytes.len() as u64);
            known -= skipped;
            let rest = bytes.split_off(skipped as usize);
            if !rest.is_empty() {
                self.keep(rest.clone());
                pass(sender, rest).await?;
            }
        }
        if last.1 {
            self.eof(sender);
        }
        Ok(())
    }

    fn rest(self) -> (VecDeque<Bytes>, bool) {
        (self.last, self.is_ended)
    }

    fn keep(&mut self, bytes: Bytes) {
        self.last_bytes += bytes.len();
        self.last.push_back(bytes);
        while let Some(first) = self.last.front()
            && self.last_bytes - first.len() >= LOST_BYTES_MAX
        {
            self.last_bytes -= first.len();
            self.gone += first.len() as u64;
            self.last.pop_front();
        }
    }
}

async fn pass(sender: &mut GuestSender, bytes: Bytes) -> Result<(), Fault> {
    match sender.send(bytes).await {
        Err(GuestError::TakesNoInput) => Err(Fault::Malformed("data was sent where none is taken".into())),
        // It has ended, is parted from, or its connection has: the receiver sees the same, and says so.
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_kept_as_may_be_lost_and_hardly_more() {
        let mut sent = Sent::default();
        let (piece, pieces) = (10_000, 500);
        for _ in 0..pieces {
            sent.keep(Bytes::from(vec![7; piece]));
        }
        assert!((LOST_BYTES_MAX..LOST_BYTES_MAX + piece).contains(&sent.last_bytes), "{}", sent.last_bytes);
        assert_eq!(sent.last.iter().map(Bytes::len).sum::<usize>(), sent.last_bytes);
        assert_eq!(sent.gone + sent.last_bytes as u64, (piece * pieces) as u64);
    }
}
