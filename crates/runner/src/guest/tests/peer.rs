//! An agent's end of a connection, without the agent.

use bytes::BytesMut;
use engine::Stream;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;

pub struct Peer {
    stream: UnixStream,
    input: BytesMut,
}

impl Peer {
    /// A peer, and the node's end of the stream to it.
    pub fn pair() -> (Self, Stream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Self { stream: ours, input: BytesMut::new() }, Stream::Unix(theirs))
    }

    /// A peer that has greeted, and the connection to it.
    pub async fn connected() -> (Self, Connection) {
        let (mut peer, stream) = Self::pair();
        let greeting = async {
            assert!(matches!(peer.next().await, Frame { stream: CONNECTION, body: Body::Hello(_) }));
            peer.hello(GENERATION, None).await;
        };
        let (opened, ()) = tokio::join!(Connection::open(stream, node_hello(), BOUND), greeting);
        (peer, opened.unwrap().0)
    }

    pub async fn hello(&mut self, generation: u32, refused: Option<&str>) {
        let refused = refused.map(str::to_owned);
        let agent_version = "0".into();
        let hello = AgentHello { generation, agent_version, claimed_now: true, refused, dialled: false };
        self.say(CONNECTION, Body::Hello(json(&hello))).await;
    }

    /// The node's next frame.
    pub async fn next(&mut self) -> Frame {
        loop {
            if let Some(frame) = Frame::decode(&mut self.input).unwrap() {
                return frame;
            }
            let read = within(self.stream.read_buf(&mut self.input)).await.unwrap();
            assert!(read > 0, "the node hung up");
        }
    }

    /// The number of the stream the node opens next.
    pub async fn opened(&mut self) -> u32 {
        match self.next().await {
            Frame { stream, body: Body::Open(_) } => stream,
            other => panic!("not an Open: {other:?}"),
        }
    }

    pub async fn say(&mut self, stream: u32, body: Body) {
        let mut out = BytesMut::new();
        Frame::new(stream, body).encode(&mut out);
        self.say_raw(&out).await;
    }

    pub async fn say_raw(&mut self, bytes: &[u8]) {
        within(self.stream.write_all(bytes)).await.unwrap();
    }

    pub async fn end(&mut self, stream: u32, outcome: &wire::guest::Outcome) {
        self.say(stream, Body::End(json(outcome))).await;
    }

    /// Waits until the node hangs up, whatever it says before.
    pub async fn hung_up_on(&mut self) {
        while within(self.stream.read_buf(&mut self.input)).await.unwrap_or(0) > 0 {
            self.input.clear();
        }
    }
}

pub fn json<T: Serialize>(value: &T) -> Bytes {
    serde_json::to_vec(value).unwrap().into()
}
