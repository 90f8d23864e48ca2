//! What an agent that means harm can and cannot do.

use wire::guest::Head;
use wire::guest::frame::{AGENT_MESSAGE_BYTES_MAX, DATA_BYTES_MAX, INITIAL_CREDIT_BYTES};

use super::peer::json;
use super::*;

/// Opens a stream, lets the peer misbehave on it, and returns why the connection was closed.
async fn closed_because(frames: impl IntoIterator<Item = Body>) -> String {
    let (mut peer, connection) = Peer::connected().await;
    let mut call = connection.request(&exec(false)).await.unwrap();
    let stream = peer.opened().await;
    for frame in frames {
        peer.say(stream, frame).await;
    }
    within(connection.closed()).await;
    peer.hung_up_on().await;
    loop {
        match call.next().await {
            Ok(Event::End(outcome)) => panic!("it ended with {outcome:?}"),
            Ok(_) => {}
            Err(error) => return cause(error),
        }
    }
}

#[tokio::test]
async fn who_sends_more_than_was_granted_loses_the_connection() {
    let full = || Body::Data(Channel::Stdout, Bytes::from(vec![0; DATA_BYTES_MAX]));
    let count = INITIAL_CREDIT_BYTES as usize / DATA_BYTES_MAX;
    let one_more = Body::Data(Channel::Stderr, Bytes::from_static(b"x"));
    let frames = (0..count).map(|_| full()).chain([one_more]);
    assert!(closed_because(frames).await.ends_with("more data than it was granted"));
}

#[tokio::test]
async fn who_breaks_the_rules_of_a_stream_loses_the_connection() {
    let stdout = || Body::Data(Channel::Stdout, Bytes::from_static(b"x"));
    let head = || Body::Head(json(&Head::Process { pid: 1 }));
    let cases = [
        (vec![stdout(), head()], "a head that does not come first"),
        (vec![head(), head()], "a head that does not come first"),
        (vec![Body::Eof(Channel::Stdout), stdout()], "Stdout went on after its end"),
        (vec![Body::Data(Channel::Stdin, Bytes::from_static(b"x"))], "Stdin is not the agent's to send on"),
        (vec![Body::Cancel], "a kind of frame that does not belong there"),
        (vec![Body::Open(Bytes::from_static(b"{}"))], "a kind of frame that does not belong there"),
        (vec![Body::End(Bytes::from_static(b"{}"))], "a message that cannot be understood"),
        (vec![Body::Head(Bytes::from_static(b"nonsense"))], "a message that cannot be understood"),
    ];
    for (frames, expected) in cases {
        let said = closed_because(frames).await;
        assert!(said.ends_with(expected), "{said}");
    }
}

#[tokio::test]
async fn a_stream_nobody_opened_closes_the_connection() {
    let (mut peer, connection) = Peer::connected().await;
    peer.say(77, Body::Data(Channel::Stdout, Bytes::from_static(b"x"))).await;
    within(connection.closed()).await;
    assert!(cause(connection.broken().unwrap()).ends_with("no such request is under way"));
}

#[tokio::test]
async fn an_end_cannot_come_twice() {
    let (mut peer, connection) = Peer::connected().await;
    let mut call = connection.request(&exec(false)).await.unwrap();
    let stream = peer.opened().await;
    peer.end(stream, &exited(0)).await;
    peer.end(stream, &exited(1)).await;
    within(connection.closed()).await;
    assert_eq!(call.next().await.unwrap(), Event::End(exited(0)), "the first End stands");
    assert!(cause(connection.broken().unwrap()).ends_with("no such request is under way"));
}

#[tokio::test]
async fn a_long_message_is_refused_at_its_header() {
    let (mut peer, connection) = Peer::connected().await;
    let _call = connection.request(&exec(false)).await.unwrap();
    let stream = peer.opened().await;
    let mut header = u32::try_from(AGENT_MESSAGE_BYTES_MAX + 1).unwrap().to_be_bytes().to_vec();
    header.extend_from_slice(&stream.to_be_bytes());
    header.push(6);
    peer.say_raw(&header).await;
    within(connection.closed()).await;
    assert!(cause(connection.broken().unwrap()).contains("a message of 1048577 bytes"));
}

#[tokio::test]
async fn credit_without_end_is_only_credit() {
    let (mut peer, connection) = Peer::connected().await;
    let mut call = connection.request(&exec(false)).await.unwrap();
    let stream = peer.opened().await;
    for _ in 0..1000 {
        peer.say(stream, Body::Credit(u32::MAX)).await;
    }
    peer.end(stream, &exited(0)).await;
    assert_eq!(within(call.next()).await.unwrap(), Event::End(exited(0)));
}

#[tokio::test]
async fn a_refusal_is_passed_on() {
    let (mut peer, stream) = Peer::pair();
    let refusing = async {
        peer.next().await;
        peer.hello(GENERATION, Some("wrong token")).await;
    };
    let (opened, ()) = tokio::join!(Connection::open(stream, node_hello(), BOUND), refusing);
    assert!(matches!(opened, Err(GuestError::Refused(reason)) if reason == "wrong token"));
}

#[tokio::test]
async fn a_forgotten_generation_is_refused() {
    let (mut peer, stream) = Peer::pair();
    let greeting = async {
        peer.next().await;
        peer.hello(OLDEST_GENERATION - 1, None).await;
    };
    let (opened, ()) = tokio::join!(Connection::open(stream, node_hello(), BOUND), greeting);
    assert!(matches!(opened, Err(GuestError::Generation { .. })));
}

#[tokio::test]
async fn a_newer_agent_is_spoken_to_in_our_generation() {
    let (mut peer, stream) = Peer::pair();
    let greeting = async {
        peer.next().await;
        peer.hello(GENERATION + 1, None).await;
    };
    let (opened, ()) = tokio::join!(Connection::open(stream, node_hello(), BOUND), greeting);
    assert_eq!(opened.unwrap().0.generation(), GENERATION);
}

#[tokio::test]
async fn an_agent_that_does_not_greet_is_given_up() {
    let (_peer, stream) = Peer::pair();
    let opened = Connection::open(stream, node_hello(), Duration::from_millis(20)).await;
    assert!(matches!(opened, Err(GuestError::Timeout { .. })));
    let (mut peer, stream) = Peer::pair();
    peer.say(CONNECTION, Body::Cancel).await;
    let opened = Connection::open(stream, node_hello(), BOUND).await;
    assert!(cause(opened.unwrap_err()).ends_with("a kind of frame that does not belong there"));
}

#[tokio::test]
async fn causes_are_not_lost() {
    let (mut peer, connection) = Peer::connected().await;
    peer.say_raw(&[0, 0, 0, 5, 0, 0, 0, 1, 99]).await;
    within(connection.closed()).await;
    let Some(GuestError::Broken(broken)) = connection.broken() else { panic!("not broken") };
    assert!(matches!(&*broken, Cause::Malformed(_)), "{broken:?}");
}
