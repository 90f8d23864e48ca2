//! A plain request on its way to the app, and the answer on its way back.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use http::{Method, StatusCode};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::answer::{self, Head};
use super::request::{self, Plain};
use super::{End, Exchange, Over, poll_read};
use crate::dial::Wire;
use crate::ingress::door::{Admitted, bad_answer, no_longer};
use crate::ingress::passages::Stay;
use crate::ingress::refusal::Refusal;
use crate::ingress::upstream::{Line, broke_off};

/// What is read of an app at once, in bytes: so much at first, and up to so much while there is more each time.
const READ_BYTES: usize = 8 * 1024;
const READ_BYTES_MAX: usize = 256 * 1024;
/// The head of an app's answer, in bytes.
const HEAD_BYTES_MAX: usize = 256 * 1024;

/// An answer that has begun.
struct Begun {
    line: Line,
    head: Head,
}

/// A connection that the app closed before it answered.
struct Closed(io::Error);

impl<S: Wire> Exchange<'_, S> {
    /// Sends a request on, and the answer back.
    pub(super) async fn pass(&mut self, request: Box<Plain>) -> Result<(), End> {
        let Plain { head, body, .. } = *request;
        let door = self.door;
        let Admitted { head, path, mask, visit, .. } =
            self.meanwhile(None, door.admit(head, self.caller)).await??;
        let mut sent = std::mem::take(&mut self.out);
        sent.clear();
        request::write(&mut sent, &head.method, &path, &head.headers);
        sent.extend_from_slice(&body);
        let mut begun = self.ask(&visit.stay, &sent, &head.method).await?;
        mask.answer(&mut begun.head.headers);
        door.tally.answered(begun.head.status);
        let is_last = *self.caller.stopping.borrow();
        sent.clear();
        answer::write(&mut sent, &begun.head, is_last);
        let carried = self.carry(&mut begun, sent, &visit.stay).await;
        if carried.is_ok() && begun.head.stays && self.came.is_empty() {
            door.lines.put(visit.stay.route(), begun.line);
        }
        carried.and(if is_last { Err(Over) } else { Ok(()) }).map_err(|Over| End::Over)
    }

    /// Asks the app, on a connection that is there if it is still good, or on a new one.
    async fn ask(&mut self, stay: &Stay, sent: &[u8], method: &Method) -> Result<Begun, End> {
        let (door, route) = (self.door, stay.route());
        loop {
            let kept = door.lines.take(route);
            let is_fresh = kept.is_none();
            let line = match kept {
                Some(line) => line,
                None => self.meanwhile(Some(stay), door.upstreams.open(route)).await??,
            };
            match self.ask_on(line, stay, sent, method).await? {
                Ok(begun) => return Ok(begun),
                // It was closed while nobody needed it; asking twice is asking once.
                Err(_) if !is_fresh && method.is_idempotent() => {}
                Err(Closed(error)) => return Err(broke_off(route, &error.to_string()).into()),
            }
        }
    }

    async fn ask_on(
        &mut self,
        mut line: Line,
        stay: &Stay,
        sent: &[u8],
        method: &Method,
    ) -> Result<Result<Begun, Closed>, End> {
        let until = Instant::now() + self.door.limits.answer_wait;
        let mut left = sent;
        self.came.clear();
        let asked = std::future::poll_fn(|cx| {
            if let Err(error) = poll_send(&mut line, cx, &mut left) {
                return Poll::Ready(Ok(Err(Closed(error))));
            }
            if let Poll::Ready(head) = poll_head(&mut line, cx, &mut self.came, method) {
                return Poll::Ready(head);
            }
            if self.poll_left(cx).is_ready() {
                return Poll::Ready(Err(End::Over));
            }
            while self.looks.poll_tick(cx).is_ready() {
                if stay.is_over() {
                    return Poll::Ready(Err(no_longer().into()));
                }
                if Instant::now() >= until {
                    return Poll::Ready(Err(self.door.upstreams.no_answer(stay.route()).into()));
                }
            }
            Poll::Pending
        });
        Ok(asked.await?.map(|mut head| {
            // What it did not hear of this request it might take for the next.
            head.stays &= left.is_empty();
            Begun { line, head }
        }))
    }

    /// Carries the answer to the client: what is written of it already, and what follows.
    async fn carry(&mut self, begun: &mut Begun, mut out: BytesMut, stay: &Stay) -> Result<(), Over> {
        let Begun { line, head } = begun;
        let (body, mut room) = (&mut head.body, READ_BYTES);
        loop {
            let carried = body.carry(&mut self.came, &mut out);
            if stay.is_over() {
                return Err(Over);
            }
            if !out.is_empty() {
                self.write(line, &mut out, stay).await?;
            }
            carried.map_err(|_| Over)?;
            if body.is_done() {
                self.out = out;
                return Ok(());
            }
            // What was handed on with its buffer is gone, and that can be used again.
            out = BytesMut::new();
            let read = self.read_body(line, room, stay).await?;
            if read == 0 {
                body.end(&mut out).map_err(|_| Over)?;
            }
            if read >= room {
                room = READ_BYTES_MAX.min(room * 2);
            }
        }
    }

    async fn read_body(&mut self, line: &mut Line, room: usize, stay: &Stay) -> Result<usize, Over> {
        std::future::poll_fn(|cx| {
            if let Poll::Ready(read) = poll_read(line, cx, &mut self.came, room) {
                return Poll::Ready(read.map_err(|_| Over));
            }
            if self.poll_left(cx).is_ready() || self.poll_over(cx, stay).is_ready() {
                return Poll::Ready(Err(Over));
            }
            Poll::Pending
        })
        .await
    }

    /// Writes all of it to the client, which may take its time, unless the sandbox goes meanwhile.
    async fn write(&mut self, line: &mut Line, out: &mut BytesMut, stay: &Stay) -> Result<(), Over> {
        std::future::poll_fn(|cx| match self.poll_write(cx, out) {
            Poll::Ready(written) => Poll::Ready(written.map_err(|_| Over)),
            Poll::Pending if line.get_mut().poll_over(cx).is_ready() => Poll::Ready(Err(Over)),
            Poll::Pending => self.poll_over(cx, stay).map(|()| Err(Over)),
        })
        .await
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut BytesMut) -> Poll<io::Result<()>> {
        while !out.is_empty() {
            match ready!(Pin::new(&mut *self.client).poll_write(cx, out))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => out.advance(written),
            }
        }
        Pin::new(&mut *self.client).poll_flush(cx)
    }

    /// Completes when the request may be under way no longer.
    fn poll_over(&mut self, cx: &mut Context<'_>, stay: &Stay) -> Poll<()> {
        while self.looks.poll_tick(cx).is_ready() {
            if stay.is_over() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

/// Sends what is left, as far as it goes now.
fn poll_send(line: &mut Line, cx: &mut Context<'_>, left: &mut &[u8]) -> io::Result<()> {
    while !left.is_empty() {
        match Pin::new(&mut *line).poll_write(cx, left) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(written)) => *left = &left[written..],
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
    }
    Ok(())
}

/// Reads on until the head of the answer is there; what follows it is in `came` then.
fn poll_head(
    line: &mut Line,
    cx: &mut Context<'_>,
    came: &mut BytesMut,
    method: &Method,
) -> Poll<Result<Result<Head, Closed>, End>> {
    loop {
        let known = came.len();
        match ready!(poll_read(line, cx, came, READ_BYTES)) {
            Ok(0) if known > 0 => return Poll::Ready(Err(bad_answer("it breaks off in its head").into())),
            Ok(0) => return Poll::Ready(Ok(Err(Closed(io::ErrorKind::UnexpectedEof.into())))),
            Err(error) => return Poll::Ready(Ok(Err(Closed(error)))),
            // A head ends with a line.
            Ok(_) if came[known..].contains(&b'\n') => match head(came, method) {
                Ok(None) => {}
                Ok(Some(head)) => return Poll::Ready(Ok(Ok(head))),
                Err(refusal) => return Poll::Ready(Err(refusal.into())),
            },
            Ok(_) => {}
        }
        if came.len() > HEAD_BYTES_MAX {
            return Poll::Ready(Err(bad_answer("its head is too large").into()));
        }
    }
}

/// The head of the answer, if it has come; those that only say that it will come are passed over.
fn head(came: &mut BytesMut, method: &Method) -> Result<Option<Head>, Refusal> {
    while let Some(head) = answer::read(came, method)? {
        came.advance(head.bytes);
        match head.status {
            StatusCode::SWITCHING_PROTOCOLS => {
                return Err(bad_answer("it changed the protocol without being asked to"));
            }
            status if status.is_informational() => {}
            _ => return Ok(Some(head)),
        }
    }
    Ok(None)
}
