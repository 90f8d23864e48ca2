//! Connections to what listens on the loopback interface alone.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpListener};
use std::thread;

use wire::guest::{AGENT_TCP_PORT, GENERATION, NodeHello};

use crate::harness::{Agent, Client, TOKEN};

const BYTES: usize = 1_000_000;

fn hello(token: &str, port: u16) -> NodeHello {
    NodeHello { generation: GENERATION, token: token.into(), claim: None, dial: Some(port) }
}

fn listen(address: impl Into<IpAddr>) -> (TcpListener, u16) {
    let app = TcpListener::bind((address.into(), 0)).unwrap();
    let port = app.local_addr().unwrap().port();
    (app, port)
}

fn dialled(agent: &Agent, port: u16) -> Client {
    let mut client = agent.connect();
    let answer = client.hello_of(hello(TOKEN, port));
    assert_eq!((answer.dialled, answer.refused), (true, None));
    client
}

fn bytes_go_both_ways(address: impl Into<IpAddr>) {
    let (agent, _session) = Agent::claimed();
    let (app, port) = listen(address);
    let serving = thread::spawn(move || {
        let (mut stream, _) = app.accept().unwrap();
        stream.write_all(b"welcome; ").unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        // It answers after the other side has ended.
        stream.write_all(heard.len().to_string().as_bytes()).unwrap();
    });
    let (said, mut socket) = dialled(&agent, port).into_bytes();
    socket.write_all(&vec![7; BYTES]).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let mut said = said.to_vec();
    socket.read_to_end(&mut said).unwrap();
    assert_eq!(String::from_utf8(said).unwrap(), format!("welcome; {BYTES}"));
    serving.join().unwrap();
}

#[test]
fn bytes_go_both_ways_until_each_side_has_ended() {
    bytes_go_both_ways(Ipv4Addr::LOCALHOST);
    bytes_go_both_ways(Ipv6Addr::LOCALHOST);
}

#[test]
fn a_port_that_nobody_has_or_the_agent_itself_is_refused() {
    let (agent, mut session) = Agent::claimed();
    let (app, port) = listen(Ipv4Addr::LOCALHOST);
    drop(app);
    for (port, reason) in [(port, "refused"), (AGENT_TCP_PORT, "the agent's own")] {
        let mut client = agent.connect();
        let answer = client.hello_of(hello(TOKEN, port));
        assert!(!answer.dialled);
        assert!(answer.refused.as_ref().is_some_and(|said| said.contains(reason)), "{answer:?}");
        assert!(client.is_hung_up());
    }
    assert_eq!(session.sh("echo fine").text(), "fine\n");
}

#[test]
fn whoever_has_no_token_has_nothing_dialled() {
    let (agent, _session) = Agent::claimed();
    let (app, port) = listen(Ipv4Addr::LOCALHOST);
    let mut stranger = agent.connect();
    let answer = stranger.hello_of(hello("", port));
    assert_eq!((answer.dialled, answer.refused.as_deref()), (false, Some("the token is wrong")));
    assert!(stranger.is_hung_up());
    app.set_nonblocking(true).unwrap();
    assert!(app.accept().is_err(), "a stranger was let in");
}

#[test]
fn an_app_learns_that_the_other_side_broke_off() {
    let (agent, _session) = Agent::claimed();
    let (app, port) = listen(Ipv4Addr::LOCALHOST);
    let client = dialled(&agent, port);
    let (mut stream, _) = app.accept().unwrap();
    drop(client);
    let piece = vec![0; BYTES];
    while stream.write_all(&piece).is_ok() {}
}
