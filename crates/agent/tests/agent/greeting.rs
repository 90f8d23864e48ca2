//! Who may speak with an agent, and what ends a connection.

use bytes::BytesMut;
use wire::guest::frame::{Body, Channel, Frame, INITIAL_CREDIT_BYTES};
use wire::guest::{Claim, ErrorCode, NodeHello, Request};

use crate::harness::{Agent, TOKEN, claim, eventually, shell};

const OTHER_TOKEN: &str = "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

#[test]
fn the_first_connection_claims_and_the_token_opens_later_ones() {
    let agent = Agent::start();
    let mut first = agent.connect();
    assert!(first.hello(TOKEN, Some(claim())).claimed_now);
    let mut second = agent.connect();
    let hello = second.hello(TOKEN, Some(Claim { workdir: "/other".into(), ..claim() }));
    assert_eq!((hello.claimed_now, hello.refused), (false, None));
    let workdir = second.sh("pwd").text();
    assert!(workdir.ends_with("/work\n"), "a second claim was taken: {workdir}");
    assert_eq!(first.sh("echo $FROM_CLAIM").text(), "yes\n", "the first connection still works");
}

#[test]
fn a_wrong_token_is_refused_and_hung_up_on() {
    let (agent, mut first) = Agent::claimed();
    for token in [OTHER_TOKEN, "", &TOKEN[1..]] {
        let mut stranger = agent.connect();
        let hello = stranger.hello(token, Some(claim()));
        assert_eq!(hello.refused.as_deref(), Some("the token is wrong"));
        assert!(stranger.is_hung_up());
    }
    assert_eq!(first.sh("exit 3").end.exit_code, Some(3));
}

#[test]
fn an_agent_is_claimed_by_a_whole_claim_or_not_at_all() {
    let agent = Agent::start();
    let refusal = |token: &str, claim: Option<Claim>| agent.connect().hello(token, claim).refused.unwrap();
    assert!(refusal(TOKEN, None).contains("no claim"));
    assert!(refusal("short", Some(claim())).contains("64 hexadecimal digits"));
    assert!(refusal(TOKEN, Some(Claim { user: "nosuch".into(), ..claim() })).contains("`nosuch`"));
    assert!(refusal(TOKEN, Some(Claim { workdir: "here".into(), ..claim() })).contains("not absolute"));
    let old = NodeHello { generation: 0, token: TOKEN.into(), claim: Some(claim()), dial: None };
    assert!(agent.connect().hello_of(old).refused.unwrap().contains("generation"));
    assert!(agent.connect().hello(TOKEN, Some(claim())).claimed_now);
}

#[test]
fn malformed_frames_close_their_connection_alone() {
    let (agent, mut good) = Agent::claimed();
    let no_kind = [0, 0, 0, 5, 0, 0, 0, 1, 99];
    let too_long = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 2];
    for bytes in [no_kind, too_long] {
        let mut bad = agent.reconnect();
        bad.send_bytes(&bytes);
        assert!(bad.is_hung_up());
        let mut stranger = agent.connect();
        stranger.send_bytes(&bytes);
        assert!(stranger.is_hung_up());
    }
    assert_eq!(good.sh("echo fine").text(), "fine\n");
}

#[test]
fn frames_out_of_place_close_the_connection() {
    let (agent, _good) = Agent::claimed();
    let exec = serde_json::to_vec(&Request::Exec(shell("sleep 60"))).unwrap();
    let misplaced = [
        Frame::new(0, Body::Hello("{}".into())),
        Frame::new(0, Body::Open(exec.clone().into())),
        Frame::new(5, Body::End("{}".into())),
    ];
    for frame in misplaced {
        let mut client = agent.reconnect();
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        client.send_bytes(&bytes);
        assert!(client.is_hung_up(), "{frame:?}");
    }
    let mut twice = agent.reconnect();
    twice.send(7, Body::Open(exec.clone().into()));
    twice.send(7, Body::Open(exec.into()));
    eventually("the connection is closed", || twice.receive().is_none());
}

#[test]
fn more_data_than_was_granted_closes_the_connection() {
    let (agent, _good) = Agent::claimed();
    let mut greedy = agent.reconnect();
    // Nobody takes this process's input, so nothing is granted for it.
    let stream = greedy.open(&Request::Exec(wire::guest::Exec { stdin: true, ..shell("exec sleep 60") }));
    let mut frame = BytesMut::new();
    Frame::new(stream, Body::Data(Channel::Stdin, vec![0; 32 * 1024].into())).encode(&mut frame);
    // What the pipe and one piece on its way hold is granted again; the rest is not.
    let fits = INITIAL_CREDIT_BYTES as usize + 1024 * 1024;
    for _ in 0..=fits / (32 * 1024) {
        if greedy.try_send_bytes(&frame).is_err() {
            break;
        }
    }
    eventually("the connection is closed", || greedy.receive().is_none());
}

#[test]
fn strangers_cannot_keep_a_node_out() {
    let (agent, _node) = Agent::claimed();
    let crowd: Vec<_> = (0..200).map(|_| agent.connect()).collect();
    let mut late = agent.connect();
    assert_eq!(late.hello(TOKEN, None).refused, None);
    assert_eq!(late.sh("echo in").text(), "in\n");
    drop(crowd);
}

#[test]
fn a_request_it_does_not_know_fails_alone() {
    let (_agent, mut client) = Agent::claimed();
    let code = |client: &mut crate::harness::Client, json: &str| {
        let stream = client.open_json(json.into());
        client.collect(stream).3.unwrap_err().code
    };
    assert_eq!(code(&mut client, r#"{"op":"teleport","to":"/"}"#), ErrorCode::Unsupported);
    assert_eq!(code(&mut client, r#"{"op":"exec"}"#), ErrorCode::Invalid);
    assert_eq!(code(&mut client, "not json"), ErrorCode::Invalid);
    assert_eq!(client.sh("echo on").text(), "on\n");
}
