use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::net::{SocketAddrUnix, bind, listen, sendmsg, socket_with};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use wire::id::{NodeId, SandboxId};
use wire::ingress::{ANSWER_BYTES_MAX, Dial as Wanted, DialAnswer, DialOrder, LoanId};

use super::*;

/// What a test waits for has so long to happen.
const BOUND: Duration = Duration::from_secs(30);

/// An ingress's end, and the node's place.
struct Place {
    dir: TempDir,
    node: Arc<LocalNode>,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = Arc::new(LocalNode::new(dir.path().join("ports.sock")));
        Self { dir, node }
    }

    fn listener(&self) -> UnixListener {
        let path = self.dir.path().join("ports.sock");
        let _ = std::fs::remove_file(&path);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&socket, 4).unwrap();
        UnixListener::from_std(socket.into()).unwrap()
    }

    /// Asks for a connection to this port.
    fn dial(&self, port: u16) -> JoinHandle<Result<Line, DialRefusal>> {
        let node = self.node.clone();
        tokio::spawn(async move { node.dial(&route(port), BOUND).await })
    }
}

fn route(port: u16) -> Route {
    Route { sandbox: SandboxId::from_entropy([7; 20]), port, node: NodeId::from_entropy([1; 20]) }
}

/// The node's end of a link.
struct End(UnixStream);

impl End {
    async fn of(listener: &UnixListener) -> Self {
        Self(bounded(listener.accept()).await.unwrap().0)
    }

    async fn order(&self) -> DialOrder {
        let mut bytes = [0; ANSWER_BYTES_MAX];
        loop {
            bounded(self.0.readable()).await.unwrap();
            if let Ok(length) = self.0.try_read(&mut bytes) {
                return serde_json::from_slice(&bytes[..length]).unwrap();
            }
        }
    }

    /// The id of the connection to this port that is asked for now.
    async fn asked(&self, expect: u16) -> LoanId {
        match self.order().await {
            DialOrder::Dial(Wanted { id, port, .. }) if port == expect => id,
            other => panic!("asked for {other:?}"),
        }
    }

    fn say(&self, answer: &DialAnswer, descriptor: Option<BorrowedFd<'_>>) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<_> = descriptor.into_iter().collect();
        if !descriptors.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        let message = serde_json::to_vec(answer).unwrap();
        sendmsg(&self.0, &[IoSlice::new(&message)], &mut ancillary, SendFlags::NOSIGNAL).unwrap();
    }

    /// Lends one; the app's end of it.
    fn lend(&self, id: LoanId) -> UnixStream {
        let (app, lent) = UnixStream::pair().unwrap();
        self.say(&DialAnswer::Connected(id), Some(lent.as_fd()));
        app
    }
}

async fn bounded<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, what).await.expect("it happens in time")
}

async fn lent(dialling: JoinHandle<Result<Line, DialRefusal>>) -> Line {
    bounded(dialling).await.unwrap().expect("there is a connection")
}

async fn refused(dialling: JoinHandle<Result<Line, DialRefusal>>) -> DialRefusalCode {
    bounded(dialling).await.unwrap().err().expect("there is no connection").code
}

async fn is_over(line: &mut Line) -> bool {
    tokio::select! {
        biased;
        () = &mut line.lease => true,
        () = tokio::task::yield_now() => false,
    }
}

#[tokio::test]
async fn many_are_asked_for_over_one_link_and_each_gets_what_is_its_own_in_any_order() {
    let place = Place::new();
    let listener = place.listener();
    let first = place.dial(1);
    let end = End::of(&listener).await;
    let first_id = end.asked(1).await;
    let (second, third) = (place.dial(2), place.dial(3));
    let (second_id, third_id) = (end.asked(2).await, end.asked(3).await);
    let mut app = end.lend(second_id);
    let refusal = DialRefusal { code: DialRefusalCode::NotListening, message: "nobody".into() };
    end.say(&DialAnswer::Refused { id: third_id, refusal }, None);
    let mut line = lent(second).await;
    assert_eq!(refused(third).await, DialRefusalCode::NotListening);
    assert!(!first.is_finished(), "it waits for its own answer");
    app.write_all(b"2").await.unwrap();
    assert_eq!(line.wire.read_u8().await.unwrap(), b'2');
    let mut app = end.lend(first_id);
    app.write_all(b"1").await.unwrap();
    assert_eq!(lent(first).await.wire.read_u8().await.unwrap(), b'1');
    assert_eq!(end.order().await, DialOrder::Done(first_id), "a connection that is dropped is given back");
}

#[tokio::test]
async fn the_node_ends_one_and_the_end_of_the_link_ends_all_and_the_next_is_asked_for_anew() {
    let place = Place::new();
    let listener = place.listener();
    let dialling = [place.dial(1), place.dial(1)];
    let end = End::of(&listener).await;
    let ids = [end.asked(1).await, end.asked(1).await];
    let _apps = ids.map(|id| end.lend(id));
    let [first, second] = dialling;
    let (mut first, mut second) = (lent(first).await, lent(second).await);
    let waiting = place.dial(2);
    end.asked(2).await;
    // Which of the two it is, the order of their ids does not tell.
    end.say(&DialAnswer::Over(ids[0]), None);
    bounded(async {
        tokio::select! {
            () = &mut first.lease => assert!(!is_over(&mut second).await),
            () = &mut second.lease => std::mem::swap(&mut first, &mut second),
        }
    })
    .await;
    drop(end);
    bounded(&mut second.lease).await;
    drop(listener);
    assert_eq!(refused(waiting).await, DialRefusalCode::Unreachable, "nobody listens any more");
    let listener = place.listener();
    let next = place.dial(3);
    let end = End::of(&listener).await;
    let _app = end.lend(end.asked(3).await);
    assert!(!is_over(&mut lent(next).await).await);
}

#[tokio::test]
async fn what_is_wanted_no_more_is_given_back_and_closed_when_it_comes_all_the_same() {
    let place = Place::new();
    let listener = place.listener();
    let dialling = place.dial(1);
    let end = End::of(&listener).await;
    let id = end.asked(1).await;
    dialling.abort();
    assert_eq!(end.order().await, DialOrder::Done(id));
    let mut app = end.lend(id);
    assert_eq!(bounded(app.read(&mut [0])).await.unwrap(), 0, "somebody holds it");
    let dialling = place.dial(2);
    let id = end.asked(2).await;
    end.say(&DialAnswer::Connected(id), None);
    assert_eq!(refused(dialling).await, DialRefusalCode::Unreachable, "no descriptor came");
    assert_eq!(end.order().await, DialOrder::Done(id));
    let dialling = place.dial(3);
    end.say(&DialAnswer::Over(end.asked(3).await), None);
    assert_eq!(refused(dialling).await, DialRefusalCode::Gone, "it went before it was lent");
}

#[tokio::test]
async fn a_link_ends_with_the_last_that_needs_it() {
    let place = Place::new();
    let listener = place.listener();
    let dialling = place.dial(1);
    let end = End::of(&listener).await;
    let id = end.asked(1).await;
    let _app = end.lend(id);
    let line = lent(dialling).await;
    drop(place);
    drop(line);
    assert_eq!(end.order().await, DialOrder::Done(id));
    bounded(end.0.readable()).await.unwrap();
    assert_eq!(end.0.try_read(&mut [0]).unwrap(), 0);
}

#[tokio::test]
async fn what_was_lent_is_over_with_the_thread_that_kept_the_link_and_the_next_is_asked_for_anew() {
    let place = Place::new();
    let listener = place.listener();
    let node = place.node.clone();
    let elsewhere = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { node.dial(&route(1), BOUND).await })
    });
    let end = End::of(&listener).await;
    let _app = end.lend(end.asked(1).await);
    let mut line = bounded(elsewhere).await.unwrap().expect("there is a connection");
    bounded(&mut line.lease).await;
    let next = place.dial(2);
    let end = End::of(&listener).await;
    let _app = end.lend(end.asked(2).await);
    assert!(!is_over(&mut lent(next).await).await);
}
