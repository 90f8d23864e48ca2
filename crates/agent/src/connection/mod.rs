//! One connection: a greeting, then frames until it breaks.

mod credit;
mod inbox;
pub mod loopback;
pub mod stream;
mod writer;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::guest::frame::{AGENT_MESSAGE_BYTES_MAX, Body, CONNECTION, Frame, STREAMS_MAX};
use wire::guest::{AgentHello, Error, ErrorCode, NodeHello, Outcome};

use self::stream::Stream;
use self::writer::Outgoing;
use crate::agent::{Agent, Session};
use crate::listen::ByteStream;
use crate::request;

/// Time for a `Hello` to arrive, in seconds.
const HELLO_SECONDS_MAX: u64 = 10;
/// A `Hello`, in bytes: room for the largest environment with every byte escaped. Strangers may send so much before they are dropped.
const HELLO_BYTES_MAX: usize = 1024 * 1024;
/// Bytes asked of the kernel at once.
const READ_BYTES: usize = 64 * 1024;

/// An outcome, in bytes of JSON: a node hangs up when a message is longer than it may be, header included.
const ANSWER_BYTES_MAX: usize = AGENT_MESSAGE_BYTES_MAX - 64;

const _: () = assert!(wire::sandbox::limits::ENV_BYTES_MAX * 6 < HELLO_BYTES_MAX);

/// A connection, and what was read of it beyond the last frame.
pub struct Wire {
    stream: Box<dyn ByteStream>,
    input: BytesMut,
}

/// Why a connection is over. None of them is worth a word: the node knows, or is none.
struct Over;

/// What a connection is for.
pub enum Greeted {
    /// For a node's requests.
    Requests(Wire, Session),
    /// For what listens in here.
    App(Wire, TcpStream),
}

/// Exchanges first words. `None` if there is nothing more to say.
pub async fn greet(agent: &Rc<Agent>, stream: Box<dyn ByteStream>) -> Option<Greeted> {
    let mut wire = Wire { stream, input: BytesMut::new() };
    let bound = Duration::from_secs(HELLO_SECONDS_MAX);
    let hello = tokio::time::timeout(bound, wire.hello()).await.ok()?.ok()?;
    let dial = hello.dial;
    let (answer, session) = agent.hello(hello);
    match (dial, session) {
        (Some(port), Some(session)) => {
            // It has shown that it is a node, and will ask for nothing else.
            drop(session);
            wire.dial(port, answer).await
        }
        (_, session) => {
            wire.answer(&answer).await.ok()?;
            session.map(|session| Greeted::Requests(wire, session))
        }
    }
}

/// Carries out requests until the connection breaks; then cancels those that are under way.
pub async fn serve(session: Session, wire: Wire) {
    let (reader, writer) = tokio::io::split(wire.stream);
    let (out, queue) = writer::queue();
    let mut writing = tokio::task::spawn_local(writer::write_all(queue, writer));
    let session = Rc::new(session);
    let mut connection = Connection { session: session.clone(), out, streams: Rc::default() };
    // A node that does not read is as gone as one that does not write.
    tokio::select! {
        Over = connection.read_all(reader, wire.input) => {}
        _ = &mut writing => {}
        () = session.is_over() => {}
    }
    connection.streams.cancel_all();
    writing.abort();
}

impl Wire {
    async fn dial(mut self, port: u16, mut answer: AgentHello) -> Option<Greeted> {
        let dialled = loopback::connect(port).await;
        answer.dialled = dialled.is_ok();
        answer.refused = dialled.as_ref().err().cloned();
        self.answer(&answer).await.ok()?;
        dialled.ok().map(|app| Greeted::App(self, app))
    }

    async fn answer(&mut self, answer: &AgentHello) -> Result<(), Over> {
        // A Hello is plain data: it always has a JSON form.
        let json = serde_json::to_vec(answer).unwrap_or_default();
        let mut frame = BytesMut::new();
        Frame::new(CONNECTION, Body::Hello(json.into())).encode(&mut frame);
        let bound = Duration::from_secs(HELLO_SECONDS_MAX);
        let written = tokio::time::timeout(bound, self.stream.write_all(&frame)).await;
        if let Ok(Ok(())) = written { Ok(()) } else { Err(Over) }
    }

    async fn hello(&mut self) -> Result<NodeHello, Over> {
        loop {
            match Frame::decode(&mut self.input).map_err(|_| Over)? {
                Some(Frame { stream: CONNECTION, body: Body::Hello(json) }) => {
                    return serde_json::from_slice(&json).map_err(|_| Over);
                }
                Some(_) => return Err(Over),
                None if self.input.len() > HELLO_BYTES_MAX => return Err(Over),
                None => {}
            }
            read_some(&mut self.stream, &mut self.input).await?;
        }
    }
}

async fn read_some(stream: &mut (impl AsyncReadExt + Unpin), input: &mut BytesMut) -> Result<(), Over> {
    if input.is_empty() {
        // Lets go of the buffer of a long message, and of any buffer while a connection is idle.
        *input = BytesMut::new();
    }
    input.reserve(READ_BYTES);
    match stream.read_buf(input).await {
        Ok(0) | Err(_) => Err(Over),
        Ok(_) => Ok(()),
    }
}

/// The streams open on a connection.
#[derive(Default)]
struct Streams(std::cell::RefCell<BTreeMap<u32, Rc<Stream>>>);

impl Streams {
    fn get(&self, number: u32) -> Option<Rc<Stream>> {
        self.0.borrow().get(&number).cloned()
    }

    fn len(&self) -> usize {
        self.0.borrow().len()
    }

    fn cancel_all(&self) {
        self.0.borrow().values().for_each(|stream| stream.cancel());
    }
}

struct Connection {
    session: Rc<Session>,
    out: Outgoing,
    streams: Rc<Streams>,
}

impl Connection {
    async fn read_all(&mut self, mut reader: impl AsyncReadExt + Unpin, mut input: BytesMut) -> Over {
        loop {
            match Frame::decode(&mut input) {
                Ok(Some(frame)) => match self.take(frame).await {
                    Ok(()) => continue,
                    Err(over) => return over,
                },
                Ok(None) => {}
                Err(_malformed) => return Over,
            }
            if let Err(over) = read_some(&mut reader, &mut input).await {
                return over;
            }
        }
    }

    async fn take(&mut self, frame: Frame) -> Result<(), Over> {
        let number = frame.stream;
        match frame.body {
            Body::Open(json) => return self.open(number, json).await,
            // What only an agent says, or what only comes first.
            Body::Hello(_) | Body::Head(_) | Body::End(_) => return Err(Over),
            _ => {}
        }
        // The node may not have seen our End yet.
        let Some(stream) = self.streams.get(number) else { return Ok(()) };
        match frame.body {
            Body::Data(channel, bytes) => stream.deliver(channel, &bytes).map_err(|_| Over)?,
            Body::Eof(channel) => stream.deliver_eof(channel).map_err(|_| Over)?,
            Body::Credit(bytes) => stream.grant(bytes),
            Body::Cancel => stream.cancel(),
            Body::Open(_) | Body::Hello(_) | Body::Head(_) | Body::End(_) => {}
        }
        Ok(())
    }

    async fn open(&mut self, number: u32, json: Bytes) -> Result<(), Over> {
        if number == CONNECTION || self.streams.get(number).is_some() {
            return Err(Over);
        }
        if self.streams.len() >= STREAMS_MAX {
            let message = format!("{STREAMS_MAX} requests are under way on this connection");
            end(&self.out, number, &Err(Error::new(ErrorCode::TooLarge, message))).await;
            return Ok(());
        }
        let stream = Rc::new(Stream::new(number, self.out.clone()));
        self.streams.0.borrow_mut().insert(number, stream.clone());
        tokio::task::spawn_local(run(self.session.clone(), self.streams.clone(), stream, json));
        Ok(())
    }
}

/// Carries out one request and says how it ended.
async fn run(session: Rc<Session>, streams: Rc<Streams>, stream: Rc<Stream>, json: Bytes) {
    let agent = &session.agent;
    agent.requests.set(agent.requests.get() + 1);
    let outcome = request::carry_out(&session, &stream, json).await;
    agent.requests.set(agent.requests.get().saturating_sub(1));
    end(stream.out(), stream.number(), &outcome).await;
    streams.0.borrow_mut().remove(&stream.number());
}

async fn end(out: &Outgoing, number: u32, outcome: &Outcome) {
    // An outcome is plain data: it always has a JSON form.
    let mut json = serde_json::to_vec(outcome).unwrap_or_default();
    if json.len() > ANSWER_BYTES_MAX {
        let message = format!("the answer is {} bytes long; {ANSWER_BYTES_MAX} are allowed", json.len());
        let refused: Outcome = Err(Error::new(ErrorCode::TooLarge, message));
        json = serde_json::to_vec(&refused).unwrap_or_default();
    }
    out.send(Frame::new(number, Body::End(json.into()))).await;
}
