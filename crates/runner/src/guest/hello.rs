//! The greeting, before anything else is said on a connection.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use wire::guest::frame::{Body, CONNECTION, Frame};
use wire::guest::{AgentHello, GENERATION, NodeHello, OLDEST_GENERATION};

use super::driver::{decode, fill};
use super::error::Violation;
use super::{Cause, GuestError};

/// Characters of an agent's reason that are passed on.
const REASON_CHARS_MAX: usize = 200;

/// Greets the agent. Returns its answer; what was read after it stays in `input`.
pub(super) async fn greet<R, W>(
    reader: &mut R,
    writer: &mut W,
    input: &mut BytesMut,
    hello: &NodeHello,
) -> Result<AgentHello, GuestError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let json = serde_json::to_vec(hello).map_err(|error| GuestError::broken(Cause::Io(error.into())))?;
    let mut out = BytesMut::new();
    Frame::new(CONNECTION, Body::Hello(Bytes::from(json))).encode(&mut out);
    writer.write_all(&out).await.map_err(|source| GuestError::broken(Cause::Io(source)))?;
    let answer = read_hello(reader, input).await.map_err(GuestError::broken)?;
    match &answer.refused {
        Some(reason) => Err(GuestError::Refused(presentable(reason))),
        None => Ok(answer),
    }
}

/// The generation both sides speak.
pub(super) fn agree(node: u32, agent: u32) -> Result<u32, GuestError> {
    let agreed = agent.min(node).min(GENERATION);
    if agreed < OLDEST_GENERATION {
        return Err(GuestError::Generation { agent, oldest: OLDEST_GENERATION });
    }
    Ok(agreed)
}

async fn read_hello<R: AsyncRead + Unpin>(reader: &mut R, input: &mut BytesMut) -> Result<AgentHello, Cause> {
    let frame = loop {
        match decode(input)? {
            Some(frame) => break frame,
            None => fill(reader, input).await?,
        }
    };
    let violation = |violation| Cause::Violation { stream: frame.stream, violation };
    match &frame.body {
        Body::Hello(json) if frame.stream == CONNECTION => {
            serde_json::from_slice(json).map_err(|_| violation(Violation::Json))
        }
        _ => Err(violation(Violation::Kind)),
    }
}

/// An agent's words, cut and freed of what would disturb a log or a terminal.
fn presentable(words: &str) -> String {
    words.chars().take(REASON_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_generation_is_spoken() {
        assert_eq!(agree(GENERATION, GENERATION + 5).unwrap(), GENERATION);
        assert_eq!(agree(GENERATION, GENERATION).unwrap(), GENERATION);
        let refused = agree(GENERATION, OLDEST_GENERATION - 1).unwrap_err();
        assert!(matches!(refused, GuestError::Generation { agent, .. } if agent == OLDEST_GENERATION - 1));
    }

    #[test]
    fn a_reason_cannot_disturb_a_terminal() {
        assert_eq!(presentable("no\x1b[2Jway"), "no [2Jway");
        assert_eq!(presentable(&"x".repeat(5000)).len(), REASON_CHARS_MAX);
    }
}
