//! Bytes both ways between two who may say nothing for hours: nothing is held for them but what the other side does not
//! take at once.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::poll_proceed;

/// What is read at once, and held at most for each way.
const PIECE_BYTES: usize = 16 * 1024;

/// Carries what either says to the other until both have ended, or one is gone.
///
/// # Errors
/// When a connection breaks.
pub async fn relay<A, B>(a: &mut A, b: &mut B) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut there, mut back) = (Way::default(), Way::default());
    poll_fn(|cx| {
        let there = there.poll(cx, a, b)?;
        let back = back.poll(cx, b, a)?;
        if there.is_ready() && back.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// One of the two ways.
#[derive(Default)]
struct Way {
    /// What was read and is not yet taken, and how much of it is.
    held: Vec<u8>,
    taken: usize,
    /// Something may be taken and not yet on its way.
    is_unsent: bool,
    at: Stage,
}

#[derive(Default)]
enum Stage {
    #[default]
    Open,
    /// Nothing more will come.
    Ending,
    Over,
}

impl Way {
    /// Ready when it has come to its end, and that has been passed on.
    fn poll<F, T>(&mut self, cx: &mut Context<'_>, from: &mut F, to: &mut T) -> Poll<io::Result<()>>
    where
        F: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        loop {
            match self.at {
                Stage::Open => {
                    let turn = ready!(poll_proceed(cx));
                    ready!(self.give(cx, to))?;
                    ready!(self.take(cx, from, to))?;
                    turn.made_progress();
                }
                Stage::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.at = Stage::Over;
                }
                Stage::Over => return Poll::Ready(Ok(())),
            }
        }
    }

    /// What is held goes first.
    fn give<T: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, to: &mut T) -> Poll<io::Result<()>> {
        while self.taken < self.held.len() {
            self.taken += ready!(write(cx, to, &self.held[self.taken..]))?;
        }
        (self.held, self.taken) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    /// Reads a piece, and holds what of it is not taken at once.
    fn take<F, T>(&mut self, cx: &mut Context<'_>, from: &mut F, to: &mut T) -> Poll<io::Result<()>>
    where
        F: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        let mut space = [MaybeUninit::uninit(); PIECE_BYTES];
        let mut piece = ReadBuf::uninit(&mut space);
        if Pin::new(from).poll_read(cx, &mut piece)?.is_pending() {
            // While nothing comes, all that came is to arrive.
            if self.is_unsent {
                ready!(Pin::new(to).poll_flush(cx))?;
                self.is_unsent = false;
            }
            return Poll::Pending;
        }
        let mut piece = piece.filled();
        if piece.is_empty() {
            self.at = Stage::Ending;
        }
        self.is_unsent = true;
        while !piece.is_empty() {
            match write(cx, to, piece)? {
                Poll::Ready(taken) => piece = &piece[taken..],
                Poll::Pending => break,
            }
        }
        self.held = piece.to_vec();
        Poll::Ready(Ok(()))
    }
}

fn write<T: AsyncWrite + Unpin>(cx: &mut Context<'_>, to: &mut T, bytes: &[u8]) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(to).poll_write(cx, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        taken => Poll::Ready(Ok(taken)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    /// More than there is room for on the way.
    const BYTES: usize = 1 << 20;

    /// Two who are connected by way of a relay, with so much room between them; and that.
    fn pair(room: usize) -> (DuplexStream, DuplexStream, tokio::task::JoinHandle<io::Result<()>>) {
        let (client, mut a) = duplex(room);
        let (app, mut b) = duplex(room);
        (client, app, tokio::spawn(async move { relay(&mut a, &mut b).await }))
    }

    fn bytes(salt: usize) -> Vec<u8> {
        (0..BYTES).map(|at| ((at * 31) ^ (at >> 8) ^ salt) as u8).collect()
    }

    #[tokio::test]
    async fn all_that_is_said_arrives_both_ways_at_once_whatever_is_taken_at_once() {
        for room in [1, 7, 4096, PIECE_BYTES * 3] {
            let (client, app, relaying) = pair(room);
            let speak = async |stream: DuplexStream, salt| {
                let (mut reader, mut writer) = tokio::io::split(stream);
                let said = bytes(salt);
                let saying = async {
                    writer.write_all(&said[..BYTES.min(room * 500)]).await.unwrap();
                    writer.shutdown().await.unwrap();
                };
                let mut heard = Vec::new();
                let ((), read) = tokio::join!(saying, reader.read_to_end(&mut heard));
                read.unwrap();
                heard
            };
            let (by_client, by_app) = tokio::join!(speak(client, 1), speak(app, 2));
            assert!(by_client == bytes(2)[..by_client.len()] && by_app == bytes(1)[..by_app.len()]);
            assert_eq!((by_client.len(), by_app.len()), (BYTES.min(room * 500), BYTES.min(room * 500)));
            relaying.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn who_has_nothing_more_to_say_still_hears() {
        let (mut client, mut app, relaying) = pair(64);
        client.write_all(b"bye").await.unwrap();
        client.shutdown().await.unwrap();
        let mut heard = Vec::new();
        app.read_to_end(&mut heard).await.unwrap();
        app.write_all(b"the last word").await.unwrap();
        drop(app);
        let mut last = Vec::new();
        client.read_to_end(&mut last).await.unwrap();
        assert_eq!((heard, last), (b"bye".to_vec(), b"the last word".to_vec()));
        relaying.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_does_not_hear_is_sent_no_more_than_there_is_room_for() {
        let (mut client, app, _relaying) = pair(4096);
        let mut sent = 0;
        // Ends when nothing moves: every task has had its turn.
        let mut still = 0;
        while still < 100 {
            let written = tokio::select! {
                biased;
                written = client.write(&[0; 1024]) => written.unwrap(),
                () = tokio::task::yield_now() => 0,
            };
            sent += written;
            still = if written == 0 { still + 1 } else { 0 };
        }
        assert!(sent <= 4096 * 2 + PIECE_BYTES, "{sent} bytes");
        drop(app);
    }
}
