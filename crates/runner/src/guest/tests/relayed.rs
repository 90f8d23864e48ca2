//! Calls relayed between bodies of frames.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use bytes::BytesMut;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use tokio::sync::mpsc;
use wire::guest::frame::DATA_BYTES_MAX;
use wire::guest::part::{Parted, Rejoin};
use wire::guest::{ErrorCode, Outcome};
use wire::node::GUEST_STREAM;

use super::peer::json;
use super::*;
use crate::guest::relay::{self, Relay};

type Chunk = Result<Bytes, &'static str>;

fn encoded(bodies: impl IntoIterator<Item = Body>) -> Bytes {
    let mut out = BytesMut::new();
    bodies.into_iter().for_each(|body| Frame::new(GUEST_STREAM, body).encode(&mut out));
    out.freeze()
}

fn open(request: &Request) -> Body {
    Body::Open(json(request))
}

fn stdin(bytes: &'static [u8]) -> Body {
    Body::Data(Channel::Stdin, Bytes::from_static(bytes))
}

/// A body that is fed by hand.
fn fed() -> (mpsc::UnboundedSender<Chunk>, Pin<Box<dyn Stream<Item = Chunk> + Send>>) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    (sender, stream::poll_fn(move |cx| receiver.poll_recv(cx)).boxed())
}

fn whole(bytes: Bytes) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    stream::iter([Ok(bytes)])
}

/// Without a way back.
fn relay<E: Send + 'static>(
    body: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    connection: Connection,
) -> Relay {
    relay::relay(body, connection, async || None)
}

/// The frames of an answer, up to its end or its error.
async fn answer(relay: Relay) -> Result<Vec<Body>, GuestError> {
    let (mut relay, mut input, mut frames) = (relay, BytesMut::new(), Vec::new());
    while let Some(piece) = within(relay.next()).await {
        input.extend_from_slice(&piece?);
        while let Some(frame) = Frame::decode(&mut input).unwrap() {
            assert_eq!(frame.stream, GUEST_STREAM);
            frames.push(frame.body);
        }
    }
    assert!(input.is_empty(), "it ends inside a frame");
    Ok(frames)
}

fn ended_invalid(frames: &[Body]) -> String {
    let [Body::End(json)] = frames else { panic!("{frames:?}") };
    let outcome: Outcome = serde_json::from_slice(json).unwrap();
    let error = outcome.unwrap_err();
    assert_eq!(error.code, ErrorCode::Invalid);
    error.message
}

#[tokio::test]
async fn both_directions_go_on_at_once() {
    let (mut peer, connection) = Peer::connected().await;
    let (body, chunks) = fed();
    let mut relayed = relay(chunks, connection);
    for byte in &encoded([open(&exec(true))])[..] {
        body.send(Ok(Bytes::copy_from_slice(&[*byte]))).unwrap();
    }
    assert!(relayed.next().now_or_never().is_none());
    let stream = peer.opened().await;
    for round in 0..3 {
        body.send(Ok(encoded([stdin(b"ping")]))).unwrap();
        let echo = async {
            assert_eq!(peer.next().await.body, stdin(b"ping"), "round {round}");
            peer.say(stream, Body::Data(Channel::Stdout, Bytes::from_static(b"pong"))).await;
        };
        let (piece, ()) = within(async { tokio::join!(relayed.next(), echo) }).await;
        let pong = Body::Data(Channel::Stdout, Bytes::from_static(b"pong"));
        assert_eq!(piece.unwrap().unwrap(), encoded([pong]));
    }
    body.send(Ok(encoded([Body::Eof(Channel::Stdin)]))).unwrap();
    let ending = async {
        assert_eq!(peer.next().await.body, Body::Eof(Channel::Stdin));
        peer.say(stream, Body::Eof(Channel::Stdout)).await;
        peer.end(stream, &exited(5)).await;
    };
    let (frames, ()) = tokio::join!(answer(relayed), ending);
    assert_eq!(frames.unwrap(), [Body::End(json(&exited(5)))]);
}

#[tokio::test]
async fn a_body_that_makes_no_sense_is_invalid() {
    let (_peer, connection) = Peer::connected().await;
    let cases = [
        (encoded([stdin(b"x")]), "must start with an Open"),
        (Bytes::new(), "must start with an Open"),
        (Bytes::from_static(&[0, 0, 0, 5, 0, 0, 0, 1, 99]), "no frame is of kind 99"),
        (Bytes::from_static(&[0, 0, 0]), "ends inside a frame"),
        (encoded([Body::Open(Bytes::from_static(b"{\"op\":\"dance\"}"))]), "cannot be understood"),
        (encoded([open(&exec(true)), open(&exec(true))]), "only Data, Eof and Cancel"),
        (encoded([open(&exec(true)), Body::Credit(5)]), "only Data, Eof and Cancel"),
        (encoded([open(&exec(false)), stdin(b"x")]), "where none is taken"),
        (encoded([open(&write_file()), Body::Eof(Channel::Stdin), stdin(b"x")]), "where none is taken"),
    ];
    for (body, expected) in cases {
        let said = ended_invalid(&answer(relay(whole(body), connection.clone())).await.unwrap());
        assert!(said.contains(expected), "{said:?} does not contain {expected:?}");
    }
    let mut elsewhere = BytesMut::new();
    Frame::new(GUEST_STREAM + 1, open(&exec(false))).encode(&mut elsewhere);
    let said = ended_invalid(&answer(relay(whole(elsewhere.freeze()), connection)).await.unwrap());
    assert_eq!(said, "a frame is of stream 2, not 1");
}

#[tokio::test]
async fn a_body_that_makes_no_sense_later_cancels_what_it_began() {
    let (mut peer, connection) = Peer::connected().await;
    let body = encoded([open(&write_file()), stdin(b"half"), Body::Head(Bytes::from_static(b"{}"))]);
    ended_invalid(&answer(relay(whole(body), connection.clone())).await.unwrap());
    let stream = peer.opened().await;
    assert_eq!(peer.next().await.body, stdin(b"half"));
    assert_eq!(peer.next().await, Frame::new(stream, Body::Cancel));
}

/// How a body stops before the Eof of a file's content: each must cancel, and none may say Eof.
#[tokio::test]
async fn a_body_that_stops_before_the_eof_cancels() {
    let begin = encoded([open(&write_file()), stdin(b"half")]);
    let endings: [Vec<Chunk>; 3] = [
        vec![Ok(begin.clone())],
        vec![Ok(begin.clone()), Err("reset by peer")],
        vec![Ok(begin.clone()), Ok(encoded([Body::Cancel]))],
    ];
    for chunks in endings {
        let (mut peer, connection) = Peer::connected().await;
        let relayed = relay(stream::iter(chunks), connection);
        let cancelled = Err(wire::guest::Error::new(ErrorCode::Cancelled, "cancelled"));
        let watching = async {
            let stream = peer.opened().await;
            assert_eq!(peer.next().await.body, stdin(b"half"));
            assert_eq!(peer.next().await, Frame::new(stream, Body::Cancel));
            peer.end(stream, &cancelled).await;
        };
        let (frames, ()) = tokio::join!(answer(relayed), watching);
        assert_eq!(frames.unwrap(), [Body::End(json(&cancelled))]);
    }
}

#[tokio::test]
async fn a_body_without_input_may_end_at_once_or_never() {
    for keep_open in [false, true] {
        let (mut peer, connection) = Peer::connected().await;
        let (body, chunks) = fed();
        body.send(Ok(encoded([open(&exec(false))]))).unwrap();
        let held = keep_open.then_some(body);
        let answering = async {
            let stream = peer.opened().await;
            peer.end(stream, &exited(0)).await;
        };
        let (frames, ()) = tokio::join!(answer(relay(chunks, connection)), answering);
        assert_eq!(frames.unwrap(), [Body::End(json(&exited(0)))]);
        drop(held);
    }
}

#[tokio::test]
async fn a_dropped_answer_cancels() {
    let (mut peer, connection) = Peer::connected().await;
    let (_body, chunks) = fed();
    _body.send(Ok(encoded([open(&exec(true))]))).unwrap();
    let mut relayed = relay(chunks, connection.clone());
    assert!(relayed.next().now_or_never().is_none());
    let stream = peer.opened().await;
    drop(relayed);
    assert_eq!(peer.next().await, Frame::new(stream, Body::Cancel));
}

#[tokio::test]
async fn a_break_ends_the_answer_with_an_error_and_no_end() {
    let (mut peer, connection) = Peer::connected().await;
    let mut relayed = relay(whole(encoded([open(&exec(false))])), connection);
    let breaking = async {
        let stream = peer.opened().await;
        peer.say(stream, Body::Data(Channel::Stdout, Bytes::from_static(b"half"))).await;
        drop(peer);
    };
    let (first, ()) = tokio::join!(relayed.next(), breaking);
    assert_eq!(first.unwrap().unwrap(), encoded([Body::Data(Channel::Stdout, Bytes::from_static(b"half"))]));
    assert!(matches!(within(relayed.next()).await, Some(Err(GuestError::Broken(_)))));
    assert!(within(relayed.next()).await.is_none());
}

#[tokio::test]
async fn input_for_a_process_that_ended_is_read_and_dropped() {
    let (mut peer, connection) = Peer::connected().await;
    let (body, chunks) = fed();
    body.send(Ok(encoded([open(&exec(true))]))).unwrap();
    let data = Body::Data(Channel::Stdin, Bytes::from(vec![0; DATA_BYTES_MAX]));
    for _ in 0..16 {
        body.send(Ok(encoded([data.clone()]))).unwrap();
    }
    let ending = async {
        let stream = peer.opened().await;
        peer.end(stream, &exited(0)).await;
    };
    let (frames, ()) = tokio::join!(answer(relay(chunks, connection)), ending);
    assert_eq!(frames.unwrap(), [Body::End(json(&exited(0)))]);
}

fn said(bytes: &'static [u8]) -> Body {
    Body::Data(Channel::Stdout, Bytes::from_static(bytes))
}

fn parted(received: u64, input: bool) -> Outcome {
    Ok(Done::Parted(Parted { ticket: 7, received, input }))
}

/// What a node asks when it has come back.
fn rejoin(input: bool) -> Body {
    open(&Request::Rejoin(Rejoin { ticket: 7, input }))
}

/// A relay whose way back leads to whatever connections are sent.
fn on_the_way(
    body: impl Stream<Item = Chunk> + Send + 'static,
    connection: Connection,
) -> (mpsc::UnboundedSender<Connection>, Relay) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
    let way_back = move || {
        let receiver = receiver.clone();
        async move { receiver.lock().await.recv().await }
    };
    (sender, relay::relay(body, connection, way_back))
}

#[tokio::test]
async fn a_call_that_is_parted_from_goes_on_over_the_next_connection_without_a_sign() {
    let (mut peer, connection) = Peer::connected().await;
    let (body, chunks) = fed();
    body.send(Ok(encoded([open(&exec(false))]))).unwrap();
    let (connections, relayed) = on_the_way(chunks, connection);
    let parting = async {
        for word in [&b"one"[..], b"two", b"three"] {
            let stream = peer.opened().await;
            peer.say(stream, Body::Data(Channel::Stdout, Bytes::from_static(word))).await;
            peer.end(stream, &parted(0, false)).await;
            let (next, connection) = Peer::connected().await;
            peer = next;
            connections.send(connection).unwrap();
        }
        let stream = peer.opened().await;
        peer.end(stream, &exited(3)).await;
    };
    let (frames, ()) = tokio::join!(answer(relayed), parting);
    assert_eq!(frames.unwrap(), [said(b"one"), said(b"two"), said(b"three"), Body::End(json(&exited(3)))]);
}

#[tokio::test]
async fn input_that_was_not_received_is_sent_again_and_what_comes_later_follows() {
    let (mut peer, connection) = Peer::connected().await;
    let (body, chunks) = fed();
    body.send(Ok(encoded([open(&exec(true)), stdin(b"abc"), stdin(b"defg")]))).unwrap();
    let (connections, relayed) = on_the_way(chunks, connection);
    let parting = async {
        let stream = peer.opened().await;
        assert_eq!((peer.next().await.body, peer.next().await.body), (stdin(b"abc"), stdin(b"defg")));
        peer.end(stream, &parted(4, true)).await;
        // Sent while nobody is there.
        body.send(Ok(encoded([stdin(b"hi")]))).unwrap();
        let (mut peer, connection) = Peer::connected().await;
        connections.send(connection).unwrap();
        assert_eq!(peer.next().await.body, rejoin(true));
        let mut input = Vec::new();
        while input.len() < 5 {
            let Body::Data(Channel::Stdin, bytes) = peer.next().await.body else { panic!("no data") };
            input.extend_from_slice(&bytes);
        }
        assert_eq!(input, b"efghi");
        peer.end(stream, &parted(3, true)).await;
        let (mut peer, connection) = Peer::connected().await;
        connections.send(connection).unwrap();
        assert_eq!(peer.next().await.body, rejoin(true));
        assert_eq!(peer.next().await.body, stdin(b"hi"));
        body.send(Ok(encoded([Body::Eof(Channel::Stdin)]))).unwrap();
        assert_eq!(peer.next().await.body, Body::Eof(Channel::Stdin));
        peer.end(stream, &exited(0)).await;
        peer
    };
    let (frames, _peer) = tokio::join!(answer(relayed), parting);
    assert_eq!(frames.unwrap(), [Body::End(json(&exited(0)))]);
}

#[tokio::test]
async fn an_end_of_input_that_was_not_received_is_said_again_and_one_that_was_is_not() {
    for input in [true, false] {
        let (mut peer, connection) = Peer::connected().await;
        let whole = whole_body(encoded([open(&exec(true)), stdin(b"abc"), Body::Eof(Channel::Stdin)]));
        let (connections, relayed) = on_the_way(whole, connection);
        let parting = async {
            let stream = peer.opened().await;
            assert_eq!(
                (peer.next().await.body, peer.next().await.body),
                (stdin(b"abc"), Body::Eof(Channel::Stdin))
            );
            peer.end(stream, &parted(3, input)).await;
            let (mut peer, connection) = Peer::connected().await;
            connections.send(connection).unwrap();
            assert_eq!(peer.next().await.body, rejoin(input));
            if input {
                assert_eq!(peer.next().await.body, Body::Eof(Channel::Stdin));
            }
            peer.end(stream, &exited(0)).await;
            peer
        };
        let (frames, _peer) = tokio::join!(answer(relayed), parting);
        assert_eq!(frames.unwrap(), [Body::End(json(&exited(0)))]);
    }
}

fn whole_body(bytes: Bytes) -> impl Stream<Item = Chunk> + Send {
    stream::iter([Ok(bytes)])
}

#[tokio::test]
async fn an_agent_that_miscounts_its_input_ends_the_call() {
    let (mut peer, connection) = Peer::connected().await;
    let (body, chunks) = fed();
    body.send(Ok(encoded([open(&exec(true)), stdin(b"abc")]))).unwrap();
    let (connections, relayed) = on_the_way(chunks, connection);
    let lying = async {
        let stream = peer.opened().await;
        assert_eq!(peer.next().await.body, stdin(b"abc"));
        peer.end(stream, &parted(4, true)).await;
        let (peer, connection) = Peer::connected().await;
        connections.send(connection).unwrap();
        peer
    };
    let (frames, _peer) = tokio::join!(answer(relayed), lying);
    assert!(ended_invalid(&frames.unwrap()).contains("4 bytes of 3"));
}

#[tokio::test]
async fn one_that_nobody_comes_back_to_has_broken_behind_its_last_words() {
    let (mut peer, connection) = Peer::connected().await;
    let mut relayed = relay(whole(encoded([open(&exec(false))])), connection);
    let parting = async {
        let stream = peer.opened().await;
        peer.say(stream, said(b"half")).await;
        peer.end(stream, &parted(0, false)).await;
        peer
    };
    let (first, _peer) = tokio::join!(relayed.next(), parting);
    assert_eq!(first.unwrap().unwrap(), encoded([said(b"half")]));
    assert!(matches!(within(relayed.next()).await, Some(Err(GuestError::Broken(_)))));
    assert!(within(relayed.next()).await.is_none());
}
