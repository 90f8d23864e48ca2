//! The one task of a connection: it reads and delivers, gathers and writes,
//! until either way breaks. It waits for the socket and for nothing else, so
//! no consumer can hold it up.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use wire::guest::frame::{AGENT_MESSAGE_BYTES_MAX, Frame};

use super::Cause;
use super::error::Violation;
use super::shared::Shared;

/// A buffer larger than this is not kept for the next frames, in bytes.
const SPARE_BYTES_MAX: usize = 64 * 1024;

/// Free space a read is given at least.
const READ_BYTES: usize = 16 * 1024;

/// Drives the connection until it breaks, then fails everything on it. `input` is what was read with the greeting.
pub(super) async fn drive<R, W>(shared: Arc<Shared>, reader: R, writer: W, input: BytesMut)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let cause = tokio::select! {
        cause = read(&shared, reader, input) => cause,
        cause = write(&shared, writer) => cause,
        _ = shared.broken.wait() => return,
    };
    shared.fail(cause);
}

async fn read<R: AsyncRead + Unpin>(shared: &Shared, mut reader: R, mut input: BytesMut) -> Cause {
    loop {
        loop {
            match decode(&mut input) {
                Ok(Some(frame)) => match shared.deliver(frame) {
                    Ok(()) => {}
                    Err(cause) => return cause,
                },
                Ok(None) => break,
                Err(cause) => return cause,
            }
        }
        if let Err(cause) = fill(&mut reader, &mut input).await {
            return cause;
        }
    }
}

/// Reads what there is, once.
pub(super) async fn fill<R: AsyncRead + Unpin>(reader: &mut R, input: &mut BytesMut) -> Result<(), Cause> {
    if input.is_empty() && input.capacity() > SPARE_BYTES_MAX {
        *input = BytesMut::new();
    }
    input.reserve(READ_BYTES);
    match reader.read_buf(input).await {
        Ok(0) => Err(Cause::HungUp),
        Ok(_) => Ok(()),
        Err(source) => Err(Cause::Io(source)),
    }
}

/// The first frame of `input`, if all of it is there.
pub(super) fn decode(input: &mut BytesMut) -> Result<Option<Frame>, Cause> {
    if let Some((stream, length)) = oversized(input) {
        return Err(Cause::Violation { stream, violation: Violation::Oversized(length) });
    }
    Frame::decode(input).map_err(Cause::Malformed)
}

/// The stream and length of a message that is longer than an agent's may be, as soon as its header shows it.
fn oversized(input: &[u8]) -> Option<(u32, usize)> {
    const DATA: u8 = 2;
    let &[a, b, c, d, s, t, u, v, kind, ..] = input else { return None };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    let fits = kind == DATA || length <= AGENT_MESSAGE_BYTES_MAX;
    (!fits).then_some((u32::from_be_bytes([s, t, u, v]), length))
}

async fn write<W: AsyncWrite + Unpin>(shared: &Shared, mut writer: W) -> Cause {
    let mut spare = BytesMut::new();
    loop {
        let batch = tokio::select! {
            batch = shared.outbox.take(spare) => batch,
            _ = shared.finishing.wait() => return finish(writer).await,
        };
        if let Err(source) = writer.write_all(&batch.bytes).await {
            return Cause::Io(source);
        }
        spare = shared.outbox.written(batch);
    }
}

/// Says that nothing more comes, and leaves it to the agent to hang up.
async fn finish<W: AsyncWrite + Unpin>(mut writer: W) -> Cause {
    match writer.shutdown().await {
        Ok(()) => std::future::pending().await,
        Err(source) => Cause::Io(source),
    }
}
