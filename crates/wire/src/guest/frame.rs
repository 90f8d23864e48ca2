//! The frame: what travels between a node and an agent.
//!
//! ```text
//!  0        4        8   9
//!  +--------+--------+---+----------------+
//!  | length | stream | k |    payload     |     numbers are big-endian
//!  +--------+--------+---+----------------+
//!           '------- length bytes --------'
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Payload of a `Data` frame, in bytes, at most.
pub const DATA_BYTES_MAX: usize = 64 * 1024;
/// Payload of any other frame, in bytes, at most: room for the longest command, escaped.
pub const MESSAGE_BYTES_MAX: usize = 24 * 1024 * 1024;
/// A message of an agent's (`Hello`, `Head`, `End`), in bytes, at most: room for a list of all processes. Far less than a
/// node may send, for what is long is Data.
pub const AGENT_MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Data bytes a side may send on a new stream before it is granted more.
pub const INITIAL_CREDIT_BYTES: u32 = 256 * 1024;
/// Streams open at once on one connection, at most.
pub const STREAMS_MAX: usize = 4096;

const HEADER_BYTES: usize = 4;
const PREFIX_BYTES: usize = 5;

const _: () = assert!(DATA_BYTES_MAX < INITIAL_CREDIT_BYTES as usize);
const _: () = assert!(6 * crate::sandbox::limits::PATH_BYTES_MAX < AGENT_MESSAGE_BYTES_MAX);
const _: () = assert!(crate::sandbox::limits::COMMAND_BYTES_MAX * 2 < MESSAGE_BYTES_MAX);

/// The stream of the connection itself.
pub const CONNECTION: u32 = 0;

/// Which of a stream's byte sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Channel {
    /// Towards the agent: a process's input, a file's content.
    Stdin = 0,
    /// From the agent: a process's output, a file's content.
    Stdout = 1,
    /// From the agent: a process's errors.
    Stderr = 2,
}

impl Channel {
    fn from_byte(byte: u8) -> Result<Self, Malformed> {
        match byte {
            0 => Ok(Channel::Stdin),
            1 => Ok(Channel::Stdout),
            2 => Ok(Channel::Stderr),
            _ => Err(Malformed::Channel(byte)),
        }
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Whose it is; [`CONNECTION`] for the connection's own.
    pub stream: u32,
    /// What it says.
    pub body: Body,
}

/// What a frame says. JSON payloads are left as bytes here: each side parses only what it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// [`super::NodeHello`] or [`super::AgentHello`] as JSON.
    Hello(Bytes),
    /// [`super::Request`] as JSON.
    Open(Bytes),
    /// Bytes of a channel; at most [`DATA_BYTES_MAX`], never none.
    Data(Channel, Bytes),
    /// No more bytes will come on this channel.
    Eof(Channel),
    /// The sender of this may be sent so many more Data bytes on this stream.
    Credit(u32),
    /// [`super::Head`] as JSON.
    Head(Bytes),
    /// [`super::Outcome`] as JSON.
    End(Bytes),
    /// The node lost interest in this stream.
    Cancel,
}

/// Why bytes are not frames. A connection that sent them is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The length says less than a header or more than the limit of its kind.
    #[error("a frame of kind {kind} says it is {length} bytes long")]
    Length {
        /// The kind byte.
        kind: u8,
        /// The length field.
        length: usize,
    },
    /// No such kind.
    #[error("no frame is of kind {0}")]
    Kind(u8),
    /// No such channel.
    #[error("no channel has number {0}")]
    Channel(u8),
}

impl Frame {
    /// A frame of this stream.
    pub fn new(stream: u32, body: Body) -> Self {
        Self { stream, body }
    }

    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        let (kind, channel, payload): (u8, Option<Channel>, &[u8]) = match &self.body {
            Body::Hello(json) => (0, None, json),
            Body::Open(json) => (1, None, json),
            Body::Data(channel, bytes) => (2, Some(*channel), bytes),
            Body::Eof(channel) => (3, Some(*channel), &[]),
            Body::Credit(bytes) => return encode_credit(self.stream, *bytes, out),
            Body::Head(json) => (5, None, json),
            Body::End(json) => (6, None, json),
            Body::Cancel => (7, None, &[]),
        };
        let length = PREFIX_BYTES + usize::from(channel.is_some()) + payload.len();
        out.reserve(HEADER_BYTES + length);
        put_prefix(length, self.stream, kind, out);
        if let Some(channel) = channel {
            out.put_u8(channel as u8);
        }
        out.put_slice(payload);
    }

    /// Takes the first frame off `input`, or `None` until all of it has arrived.
    ///
    /// # Errors
    /// [`Malformed`] as soon as the header shows that this is not a frame.
    pub fn decode(input: &mut BytesMut) -> Result<Option<Self>, Malformed> {
        if input.len() < HEADER_BYTES + PREFIX_BYTES {
            return Ok(None);
        }
        let length = u32::from_be_bytes([input[0], input[1], input[2], input[3]]) as usize;
        let kind = input[8];
        if !length_fits(kind, length)? {
            return Err(Malformed::Length { kind, length });
        }
        if input.len() < HEADER_BYTES + length {
            input.reserve((HEADER_BYTES + length - input.len()).min(DATA_BYTES_MAX));
            return Ok(None);
        }
        input.advance(HEADER_BYTES);
        let mut frame = input.split_to(length).freeze();
        let stream = frame.get_u32();
        let kind = frame.get_u8();
        Ok(Some(Self { stream, body: decode_body(kind, frame)? }))
    }
}

fn put_prefix(length: usize, stream: u32, kind: u8, out: &mut BytesMut) {
    out.put_u32(length as u32);
    out.put_u32(stream);
    out.put_u8(kind);
}

fn encode_credit(stream: u32, bytes: u32, out: &mut BytesMut) {
    put_prefix(PREFIX_BYTES + 4, stream, 4, out);
    out.put_u32(bytes);
}

/// Whether a frame of this kind may be this long.
fn length_fits(kind: u8, length: usize) -> Result<bool, Malformed> {
    let payload = match length.checked_sub(PREFIX_BYTES) {
        Some(payload) => payload,
        None => return Ok(false),
    };
    match kind {
        0 | 1 | 5 | 6 => Ok(payload <= MESSAGE_BYTES_MAX),
        2 => Ok((2..=DATA_BYTES_MAX + 1).contains(&payload)),
        3 => Ok(payload == 1),
        4 => Ok(payload == 4),
        7 => Ok(payload == 0),
        other => Err(Malformed::Kind(other)),
    }
}

/// The body of a frame whose length was found to fit its kind.
fn decode_body(kind: u8, mut payload: Bytes) -> Result<Body, Malformed> {
    Ok(match kind {
        0 => Body::Hello(payload),
        1 => Body::Open(payload),
        2 => Body::Data(Channel::from_byte(payload.get_u8())?, payload),
        3 => Body::Eof(Channel::from_byte(payload.get_u8())?),
        4 => Body::Credit(payload.get_u32()),
        5 => Body::Head(payload),
        6 => Body::End(payload),
        7 => Body::Cancel,
        other => return Err(Malformed::Kind(other)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_channel() -> impl Strategy<Value = Channel> {
        prop_oneof![Just(Channel::Stdin), Just(Channel::Stdout), Just(Channel::Stderr)]
    }

    fn any_body() -> impl Strategy<Value = Body> {
        let bytes = || prop::collection::vec(any::<u8>(), 1..2000).prop_map(Bytes::from);
        prop_oneof![
            bytes().prop_map(Body::Hello),
            bytes().prop_map(Body::Open),
            (any_channel(), bytes()).prop_map(|(channel, bytes)| Body::Data(channel, bytes)),
            any_channel().prop_map(Body::Eof),
            any::<u32>().prop_map(Body::Credit),
            bytes().prop_map(Body::Head),
            bytes().prop_map(Body::End),
            Just(Body::Cancel),
        ]
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        (any::<u32>(), any_body()).prop_map(|(stream, body)| Frame { stream, body })
    }

    proptest! {
        #[test]
        fn frames_arrive_as_sent_however_the_bytes_are_cut(
            frames in prop::collection::vec(any_frame(), 0..8),
            cut in 1usize..700,
        ) {
            let mut sent = BytesMut::new();
            frames.iter().for_each(|frame| frame.encode(&mut sent));
            let mut input = BytesMut::new();
            let mut arrived = Vec::new();
            for piece in sent.chunks(cut) {
                input.extend_from_slice(piece);
                while let Some(frame) = Frame::decode(&mut input).unwrap() {
                    arrived.push(frame);
                }
            }
            prop_assert_eq!(arrived, frames);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
            let mut input = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = Frame::decode(&mut input) {}
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_its_bytes_are_awaited() {
        let mut input = BytesMut::new();
        put_prefix(PREFIX_BYTES + DATA_BYTES_MAX + 2, 1, 2, &mut input);
        let length = PREFIX_BYTES + DATA_BYTES_MAX + 2;
        assert_eq!(Frame::decode(&mut input), Err(Malformed::Length { kind: 2, length }));
    }
}
