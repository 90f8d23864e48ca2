//! The least of a client of the agent that these tests need.

use bytes::{Bytes, BytesMut};
use engine::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::guest::frame::{Body, CONNECTION, Channel, Frame};
use wire::guest::{
    AgentHello, Claim, Command, Done, Exec, ExecEnd, GENERATION, NodeHello, Outcome, Request, Shims,
};

use crate::lab::WAIT;

/// The token of every claim here, in digits of which there are 64.
pub const TOKEN: &str = "5";

pub struct Guest {
    stream: Stream,
    input: BytesMut,
    next: u32,
    pub hello: AgentHello,
}

impl Guest {
    /// Says hello with 64 of this digit and claims the agent, if nobody has.
    pub async fn greet(mut stream: Stream, token: &str) -> Self {
        let claim = Claim {
            hostname: "lab".into(),
            env: [("PATH".to_owned(), "/bin".to_owned())].into(),
            user: "root".into(),
            workdir: "/".into(),
            processes_max: 256,
            memory_reserve_bytes: 0,
            shims: Shims { mask_close_range: true, uncover_tmp: true },
        };
        let (token, claim) = (token.repeat(64), Some(claim));
        let hello = NodeHello { generation: GENERATION, token, claim, dial: None };
        send(&mut stream, CONNECTION, Body::Hello(json(&hello))).await;
        let mut input = BytesMut::new();
        let frame = tokio::time::timeout(WAIT, receive(&mut stream, &mut input)).await.unwrap();
        let Body::Hello(answer) = frame.body else { panic!("not a hello: {frame:?}") };
        let hello = serde_json::from_slice(&answer).unwrap();
        Self { stream, input, next: 1, hello }
    }

    /// Runs a script and returns how it ended and what it wrote, both channels together.
    pub async fn shell(&mut self, script: &str) -> (ExecEnd, String) {
        let exec = Exec {
            command: Command::Shell(script.into()),
            cwd: None,
            env: Default::default(),
            user: None,
            timeout_ms: None,
            stdin: false,
            id: None,
        };
        let (outcome, output) = self.ask(&Request::Exec(exec)).await;
        let Ok(Done::Exec(end)) = outcome else { panic!("{script}: {outcome:?}") };
        (end, output)
    }

    /// Asks something and returns what came of it and what was said meanwhile, both channels together.
    pub async fn ask(&mut self, request: &Request) -> (Outcome, String) {
        let number = self.next;
        self.next += 1;
        send(&mut self.stream, number, Body::Open(json(request))).await;
        let mut output = Vec::new();
        loop {
            let frame = receive(&mut self.stream, &mut self.input);
            match tokio::time::timeout(WAIT, frame).await.unwrap().body {
                Body::Data(Channel::Stdout | Channel::Stderr, bytes) => output.extend_from_slice(&bytes),
                Body::End(outcome) => {
                    let outcome = serde_json::from_slice(&outcome).unwrap();
                    return (outcome, String::from_utf8_lossy(&output).into_owned());
                }
                _ => {}
            }
        }
    }

    /// Says that this was all, and waits until the agent hangs up.
    pub async fn hang_up(mut self) {
        self.stream.shutdown().await.unwrap();
        while tokio::time::timeout(WAIT, self.stream.read_buf(&mut self.input)).await.unwrap().unwrap() > 0 {}
    }

    /// Starts a script and does not wait for its end.
    pub async fn start(&mut self, script: &str) {
        let (started, _) = self.shell(&format!("({script}) >/dev/null 2>&1 &")).await;
        assert_eq!(started.exit_code, Some(0));
    }
}

fn json(value: &impl serde::Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap().into()
}

async fn send(stream: &mut Stream, number: u32, body: Body) {
    let mut bytes = BytesMut::new();
    Frame::new(number, body).encode(&mut bytes);
    stream.write_all(&bytes).await.unwrap();
}

async fn receive(stream: &mut Stream, input: &mut BytesMut) -> Frame {
    loop {
        if let Some(frame) = Frame::decode(input).unwrap() {
            return frame;
        }
        assert_ne!(stream.read_buf(input).await.unwrap(), 0, "the agent hung up");
    }
}
