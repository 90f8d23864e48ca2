//! What a well-behaved agent and its callers see.

use futures_util::FutureExt;
use wire::guest::frame::{DATA_BYTES_MAX, INITIAL_CREDIT_BYTES, STREAMS_MAX};
use wire::guest::{Head, Status};

use super::peer::json;
use super::*;

#[tokio::test]
async fn events_arrive_in_order_and_nothing_after_the_end() {
    let (mut peer, connection) = Peer::connected().await;
    let mut call = connection.request(&exec(false)).await.unwrap();
    let stream = peer.opened().await;
    peer.say(stream, Body::Head(json(&Head::Process { pid: 9 }))).await;
    peer.say(stream, Body::Data(Channel::Stdout, Bytes::from_static(b"out"))).await;
    peer.say(stream, Body::Eof(Channel::Stdout)).await;
    peer.end(stream, &exited(3)).await;
    assert_eq!(within(call.next()).await.unwrap(), Event::Head(Head::Process { pid: 9 }));
    assert_eq!(within(call.next()).await.unwrap(), Event::Data(Channel::Stdout, Bytes::from_static(b"out")));
    assert_eq!(within(call.next()).await.unwrap(), Event::Eof(Channel::Stdout));
    assert_eq!(within(call.next()).await.unwrap(), Event::End(exited(3)));
    assert!(matches!(call.next().await, Err(GuestError::Over)));
}

#[tokio::test]
async fn what_came_before_a_break_is_delivered_and_then_the_break() {
    let (mut peer, connection) = Peer::connected().await;
    let mut call = connection.request(&exec(false)).await.unwrap();
    let stream = peer.opened().await;
    peer.say(stream, Body::Data(Channel::Stdout, Bytes::from_static(b"half"))).await;
    drop(peer);
    within(connection.closed()).await;
    assert_eq!(call.next().await.unwrap(), Event::Data(Channel::Stdout, Bytes::from_static(b"half")));
    assert_eq!(cause(call.next().await.unwrap_err()), "the agent hung up");
    assert!(matches!(connection.request(&exec(false)).await, Err(GuestError::Broken(_))));
}

#[tokio::test]
async fn an_unread_stream_holds_up_only_itself() {
    let (mut peer, connection) = Peer::connected().await;
    let mut unread = connection.request(&exec(false)).await.unwrap();
    let slow = peer.opened().await;
    for _ in 0..INITIAL_CREDIT_BYTES as usize / DATA_BYTES_MAX {
        peer.say(slow, Body::Data(Channel::Stdout, Bytes::from(vec![1; DATA_BYTES_MAX]))).await;
    }
    for _ in 0..100 {
        let mut call = connection.request(&exec(false)).await.unwrap();
        let stream = peer.opened().await;
        peer.say(stream, Body::Data(Channel::Stderr, Bytes::from_static(b"quick"))).await;
        peer.end(stream, &exited(0)).await;
        assert_eq!(
            within(call.next()).await.unwrap(),
            Event::Data(Channel::Stderr, Bytes::from_static(b"quick"))
        );
        assert_eq!(within(call.next()).await.unwrap(), Event::End(exited(0)));
    }
    assert!(matches!(unread.next().await.unwrap(), Event::Data(_, bytes) if bytes.len() == DATA_BYTES_MAX));
    let granted = Frame::new(slow, Body::Credit(DATA_BYTES_MAX as u32));
    assert_eq!(peer.next().await, granted, "taking did not grant");
}

#[tokio::test]
async fn input_waits_for_credit() {
    let (mut peer, connection) = Peer::connected().await;
    let mut call = connection.request(&write_file()).await.unwrap();
    let stream = peer.opened().await;
    let content = Bytes::from(vec![2; INITIAL_CREDIT_BYTES as usize + 10]);
    let mut sending = Box::pin(call.send(content));
    assert!(sending.as_mut().now_or_never().is_none(), "it was all sent at once");
    let mut received = 0;
    while received < INITIAL_CREDIT_BYTES as usize {
        match peer.next().await.body {
            Body::Data(Channel::Stdin, bytes) => received += bytes.len(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(received, INITIAL_CREDIT_BYTES as usize);
    peer.say(stream, Body::Credit(3)).await;
    peer.say(stream, Body::Credit(7)).await;
    within(sending).await.unwrap();
    call.eof();
    while received < INITIAL_CREDIT_BYTES as usize + 10 {
        match peer.next().await.body {
            Body::Data(Channel::Stdin, bytes) => received += bytes.len(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(peer.next().await.body, Body::Eof(Channel::Stdin));
    assert!(matches!(call.send(Bytes::from_static(b"x")).await, Err(GuestError::TakesNoInput)));
}

#[tokio::test]
async fn a_sender_that_waits_for_credit_learns_of_the_end() {
    let (mut peer, connection) = Peer::connected().await;
    let (mut sender, mut receiver) = connection.request(&exec(true)).await.unwrap().split();
    let stream = peer.opened().await;
    let sending = tokio::spawn(async move { sender.send(Bytes::from(vec![0; 1 << 20])).await });
    peer.end(stream, &exited(1)).await;
    assert!(matches!(within(sending).await.unwrap(), Err(GuestError::Over)));
    assert_eq!(within(receiver.next()).await.unwrap(), Event::End(exited(1)));
}

#[tokio::test]
async fn a_dropped_call_is_cancelled_and_what_still_comes_of_it_is_dropped() {
    let (mut peer, connection) = Peer::connected().await;
    let call = connection.request(&exec(false)).await.unwrap();
    let stream = peer.opened().await;
    drop(call);
    assert_eq!(peer.next().await, Frame::new(stream, Body::Cancel));
    peer.say(stream, Body::Data(Channel::Stdout, Bytes::from_static(b"late"))).await;
    peer.end(stream, &exited(0)).await;
    answer_a_ping(&mut peer, &connection).await;
}

#[tokio::test]
async fn input_that_breaks_off_cancels_but_input_that_ended_does_not() {
    let (mut peer, connection) = Peer::connected().await;
    let (sender, _receiver) = connection.request(&write_file()).await.unwrap().split();
    let stream = peer.opened().await;
    drop(sender);
    assert_eq!(peer.next().await, Frame::new(stream, Body::Cancel));

    let (mut sender, _receiver) = connection.request(&write_file()).await.unwrap().split();
    let stream = peer.opened().await;
    sender.eof();
    drop(sender);
    assert_eq!(peer.next().await, Frame::new(stream, Body::Eof(Channel::Stdin)));
    let (sender, _receiver) = connection.request(&exec(false)).await.unwrap().split();
    drop(sender);
    peer.opened().await;
    answer_a_ping(&mut peer, &connection).await;
}

#[tokio::test]
async fn the_connection_lives_as_long_as_its_last_call() {
    let (mut peer, connection) = Peer::connected().await;
    let mut call = connection.request(&exec(false)).await.unwrap();
    let stream = peer.opened().await;
    drop(connection);
    peer.end(stream, &exited(0)).await;
    assert_eq!(within(call.next()).await.unwrap(), Event::End(exited(0)));
    drop(call);
    peer.hung_up_on().await;
}

#[tokio::test]
async fn a_closed_connection_fails_what_is_under_way() {
    let (mut peer, connection) = Peer::connected().await;
    let mut call = connection.request(&exec(false)).await.unwrap();
    peer.opened().await;
    assert!(connection.broken().is_none());
    connection.close();
    assert_eq!(cause(within(call.next()).await.unwrap_err()), "the node closed the connection");
    peer.hung_up_on().await;
}

#[tokio::test]
async fn requests_under_way_are_limited_and_abandoned_ones_count() {
    let (mut peer, connection) = Peer::connected().await;
    let mut calls: Vec<GuestCall> = Vec::new();
    for _ in 0..STREAMS_MAX {
        calls.push(connection.request(&exec(false)).await.unwrap());
    }
    assert!(matches!(connection.request(&exec(false)).await, Err(GuestError::TooManyStreams)));
    drop(calls.pop());
    assert!(matches!(connection.request(&exec(false)).await, Err(GuestError::TooManyStreams)));
    let first = peer.opened().await;
    peer.end(first, &exited(0)).await;
    assert_eq!(within(calls[0].next()).await.unwrap(), Event::End(exited(0)));
    connection.request(&exec(false)).await.unwrap();
}

#[tokio::test]
async fn a_ping_that_is_not_answered_times_out_and_leaves_nothing() {
    let (mut peer, connection) = Peer::connected().await;
    let silent = connection.ping(Duration::from_millis(20)).await;
    assert!(matches!(silent, Err(GuestError::Timeout { .. })));
    let stream = peer.opened().await;
    assert_eq!(peer.next().await, Frame::new(stream, Body::Cancel));
    answer_a_ping(&mut peer, &connection).await;
}

/// Shows that the connection works.
async fn answer_a_ping(peer: &mut Peer, connection: &Connection) {
    let status = Status {
        agent_version: "0".into(),
        uptime_seconds: 0,
        processes: 0,
        requests: 1,
        memory_total_bytes: 0,
        memory_available_bytes: 0,
        agent_resident_bytes: 0,
        memory_kills: 0,
    };
    let answering = async {
        let stream = peer.opened().await;
        peer.end(stream, &Ok(Done::Status(status.clone()))).await;
    };
    let (answer, ()) = tokio::join!(connection.ping(BOUND), answering);
    assert_eq!(answer.unwrap(), status);
}
