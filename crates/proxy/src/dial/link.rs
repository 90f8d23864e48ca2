//! A link to a node: connections are asked for over it, as many at once as are wanted, lent, and given back.

use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::{AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, SocketAddrUnix};
use rustix::net::{RecvFlags, SocketFlags, SocketType, connect, recvmsg, socket_with};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use wire::ingress::{
    ANSWER_BYTES_MAX, Dial as Wanted, DialAnswer, DialOrder, DialRefusal, DialRefusalCode, LoanId, Route,
};

use super::Lease;
use super::local::unreachable;

/// What is asked for and the node has not yet been told of, at most; who asks for more waits.
const UNTOLD_MAX: usize = 1024;

/// See the module. It ends with whoever holds it, and with all that is lent over it; or the node ends it.
pub struct Link {
    loans: Arc<Loans>,
    wanted: mpsc::Sender<Wanted>,
    /// Of what the node was told is wanted, and never more than that.
    done: mpsc::UnboundedSender<LoanId>,
}

/// What was asked for and is not over.
struct Loans(Mutex<Book>);

struct Book {
    next: u64,
    /// None: the link has ended.
    open: Option<HashMap<LoanId, Loan>>,
}

enum Loan {
    Asked(oneshot::Sender<Result<Lent, DialRefusal>>),
    /// Dropped when it is over.
    Lent {
        _ends: oneshot::Sender<()>,
    },
}

struct Lent {
    descriptor: OwnedFd,
    over: oneshot::Receiver<()>,
}

/// Gives it back when it is dropped, unless it is over.
struct Held {
    link: Arc<Link>,
    id: LoanId,
    is_asked: bool,
}

/// The link ended before there was an answer.
pub struct Broken;

impl Link {
    /// One to the node that listens here.
    ///
    /// # Errors
    /// When none does.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        let socket = UnixStream::from_std(socket.into())?;
        let loans = Arc::new(Loans(Mutex::new(Book { next: 0, open: Some(HashMap::new()) })));
        let ((wanted, asked), (done, given_back)) = (mpsc::channel(UNTOLD_MAX), mpsc::unbounded_channel());
        tokio::spawn(keep(socket, loans.clone(), asked, given_back));
        Ok(Self { loans, wanted, done })
    }

    /// Whether the node may still be there.
    pub fn is_open(&self) -> bool {
        self.loans.lock().open.is_some()
    }

    /// A connection to where `route` leads, and for how long it is ours. Dropped before it is there, it is wanted no more.
    ///
    /// # Errors
    /// When the link is at its end, or comes to it meanwhile.
    pub async fn borrow(
        self: &Arc<Self>,
        route: &Route,
        wait: Duration,
    ) -> Result<Result<(OwnedFd, Lease), DialRefusal>, Broken> {
        let (asker, answer) = oneshot::channel();
        let id = self.loans.begin(asker).ok_or(Broken)?;
        let mut held = Held { link: self.clone(), id, is_asked: false };
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let wanted = Wanted { id, sandbox: route.sandbox.clone(), port: route.port, wait_ms };
        self.wanted.send(wanted).await.map_err(|_| Broken)?;
        held.is_asked = true;
        let answered = answer.await.map_err(|_| Broken)?;
        Ok(answered.map(|Lent { descriptor, over }| {
            let lease = async move {
                let _held = held;
                // Nothing is ever sent there.
                let _ = over.await;
            };
            (descriptor, Box::pin(lease) as Lease)
        }))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.link.loans.end(self.id).is_some() && self.is_asked {
            // Where nobody takes it, the link has ended.
            let _ = self.link.done.send(self.id);
        }
    }
}

impl Loans {
    fn begin(&self, asker: oneshot::Sender<Result<Lent, DialRefusal>>) -> Option<LoanId> {
        let mut book = self.lock();
        let id = LoanId(book.next);
        book.open.as_mut()?.insert(id, Loan::Asked(asker));
        book.next += 1;
        Some(id)
    }

    fn end(&self, id: LoanId) -> Option<Loan> {
        self.lock().open.as_mut()?.remove(&id)
    }

    /// What the node says of one. Of those that are wanted no more, it says nothing that matters: their descriptors close.
    fn heed(&self, answer: DialAnswer, descriptor: Option<OwnedFd>) {
        let (asked, outcome) = match answer {
            DialAnswer::Connected(id) => {
                let (ends, over) = oneshot::channel();
                let outcome = descriptor.map(|descriptor| Lent { descriptor, over });
                (self.lend(id, ends), outcome.ok_or_else(|| unreachable("no descriptor came")))
            }
            DialAnswer::Refused { id, refusal } => (self.end(id), Err(refusal)),
            DialAnswer::Over(id) => (self.end(id), Err(gone())),
        };
        if let Some(Loan::Asked(asker)) = asked {
            // Who asked may have left.
            let _ = asker.send(outcome);
        }
    }

    fn lend(&self, id: LoanId, ends: oneshot::Sender<()>) -> Option<Loan> {
        let mut book = self.lock();
        let loan = book.open.as_mut()?.get_mut(&id)?;
        Some(std::mem::replace(loan, Loan::Lent { _ends: ends }))
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a link until either end leaves; then, or when this is dropped, all that was lent over it is over.
async fn keep(
    socket: UnixStream,
    loans: Arc<Loans>,
    wanted: mpsc::Receiver<Wanted>,
    done: mpsc::UnboundedReceiver<LoanId>,
) {
    let until = EndOfAll(loans);
    let ended = tokio::select! {
        ended = listen(&socket, &until.0) => ended,
        ended = tell(&socket, wanted, done) => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "the link to the node has ended");
    }
}

struct EndOfAll(Arc<Loans>);

impl Drop for EndOfAll {
    fn drop(&mut self) {
        self.0.lock().open = None;
    }
}

async fn listen(socket: &UnixStream, loans: &Loans) -> io::Result<()> {
    loop {
        let (message, descriptor) = socket.async_io(Interest::READABLE, || receive(socket)).await?;
        if message.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        loans.heed(serde_json::from_slice(&message)?, descriptor);
    }
}

async fn tell(
    socket: &UnixStream,
    mut wanted: mpsc::Receiver<Wanted>,
    mut done: mpsc::UnboundedReceiver<LoanId>,
) -> io::Result<()> {
    loop {
        let order = tokio::select! {
            // What is done was wanted before.
            biased;
            Some(wanted) = wanted.recv() => DialOrder::Dial(wanted),
            Some(id) = done.recv() => DialOrder::Done(id),
            else => return Ok(()),
        };
        let message = serde_json::to_vec(&order)?;
        // A message is taken whole or not at all.
        while let Err(error) = socket.try_write(&message) {
            if error.kind() != io::ErrorKind::WouldBlock {
                return Err(error);
            }
            socket.writable().await?;
        }
    }
}

/// A message, and the descriptor that came with it, unless we have no room for more.
fn receive(socket: &UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut bytes = vec![0; ANSWER_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut pieces = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(socket, &mut pieces, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptor = descriptors.flatten().next();
    bytes.truncate(received);
    Ok((bytes, descriptor))
}

fn gone() -> DialRefusal {
    DialRefusal { code: DialRefusalCode::Gone, message: "the sandbox is going away".into() }
}
