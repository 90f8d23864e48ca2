//! The way to what listens on a sandbox's loopback interface alone, as development servers do unless told otherwise: its
//! agent makes the connection, and what we have to the agent becomes one to the app.
//!
//! Only the greeting passes through here, so the descriptor can be lent like any other.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use engine::{Engine, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::guest::frame::{Body, CONNECTION, Frame};
use wire::guest::{AgentHello, GENERATION, NodeHello};
use wire::id::SandboxId;

/// How long the agent may take: somewhat longer than it gives an app that listens and has no room.
const AGENT_WAIT: Duration = Duration::from_secs(15);
/// An agent's Hello, in bytes, at most.
const HELLO_BYTES_MAX: usize = 4096;
/// The length of a frame precedes it.
const LENGTH_BYTES: usize = 4;

/// A connection to what listens there; `None` if nobody does, or the agent cannot be asked for it. `token` is the sandbox's.
pub(crate) async fn dial(engine: &Engine, id: &SandboxId, token: String, port: u16) -> Option<Stream> {
    let asked = tokio::time::timeout(AGENT_WAIT, ask(engine, id, token, port)).await;
    match asked.map_err(|_| io::ErrorKind::TimedOut.into()).flatten() {
        Ok(dialled) => dialled,
        Err(error) => {
            tracing::debug!(sandbox = %id, port, %error, "an agent dials no port for us");
            None
        }
    }
}

async fn ask(engine: &Engine, id: &SandboxId, token: String, port: u16) -> io::Result<Option<Stream>> {
    let dialled = engine.dial_inside(id, port, AGENT_WAIT).await;
    let mut stream = dialled.map_err(|error| io::Error::other(wire::causes::chain(&error)))?;
    let hello = NodeHello { generation: GENERATION, token, claim: None, dial: Some(port) };
    let mut frame = BytesMut::new();
    Frame::new(CONNECTION, Body::Hello(serde_json::to_vec(&hello)?.into())).encode(&mut frame);
    stream.write_all(&frame).await?;
    let answer = read_hello(&mut stream).await?;
    Ok(answer.dialled.then_some(stream))
}

/// Reads the agent's first words and not a byte more: the next is the app's.
async fn read_hello(stream: &mut Stream) -> io::Result<AgentHello> {
    let mut frame = BytesMut::zeroed(LENGTH_BYTES);
    stream.read_exact(&mut frame).await?;
    let length = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
    if length > HELLO_BYTES_MAX {
        return Err(io::Error::other(format!("a Hello of {length} bytes")));
    }
    frame.resize(LENGTH_BYTES + length, 0);
    stream.read_exact(&mut frame[LENGTH_BYTES..]).await?;
    match Frame::decode(&mut frame) {
        Ok(Some(Frame { stream: CONNECTION, body: Body::Hello(json) })) => Ok(serde_json::from_slice(&json)?),
        _ => Err(io::Error::other("it does not greet")),
    }
}
