//! One link of an ingress: what is asked for over it, lent, and given back.
//!
//! Each connection has a task of its own from the order to its end, so none waits for another, and a message is sent whole
//! or not at all, so they need not agree on who writes.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType,
};
use rustix::net::{bind, sendmsg, socket_with};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet};
use wire::ingress::{ANSWER_BYTES_MAX, Dial, DialAnswer, DialOrder, DialRefusalCode, LoanId};

use super::{Lender, Loan, refusal};

/// Links that wait to be heard.
const BACKLOG: i32 = 16;

/// Where ingresses link up.
///
/// # Errors
/// When there is something already, or no socket can be made there.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    UnixListener::from_std(socket.into())
}

/// Lends over this link until it ends; with it, or when this is dropped, all that was lent over it is over.
///
/// # Errors
/// When what comes is no order.
pub async fn serve(lender: Arc<Lender>, link: UnixStream) -> io::Result<()> {
    let link = Arc::new(link);
    let (mut lent, mut tasks) = (HashMap::new(), JoinSet::new());
    loop {
        tokio::select! {
            Some(ended) = tasks.join_next() => {
                // Else it was given back, and is known no more.
                if let Ok(id) = ended {
                    lent.remove(&id);
                }
            }
            order = receive(&link) => match order? {
                Some(DialOrder::Dial(dial)) => begin(&lender, &link, dial, &mut lent, &mut tasks).await?,
                Some(DialOrder::Done(id)) => lent.remove(&id).iter().for_each(AbortHandle::abort),
                None => return Ok(()),
            },
        }
    }
}

async fn begin(
    lender: &Arc<Lender>,
    link: &Arc<UnixStream>,
    dial: Dial,
    lent: &mut HashMap<LoanId, AbortHandle>,
    tasks: &mut JoinSet<LoanId>,
) -> io::Result<()> {
    let id = dial.id;
    if lent.contains_key(&id) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "one id for two connections"));
    }
    let Ok(place) = lender.places.clone().try_acquire_owned() else {
        let refusal = refusal(DialRefusalCode::Unreachable, "the node lends as many connections as it may");
        return send(link, &DialAnswer::Refused { id, refusal }, None).await;
    };
    let (lender, link) = (lender.clone(), link.clone());
    let lending = async move {
        if let Err(error) = lend(&lender, &link, &dial).await {
            tracing::debug!(%error, "a link of the ingress broke");
        }
        drop(place);
        id
    };
    lent.insert(id, tasks.spawn(lending));
    Ok(())
}

/// Lends one, until its sandbox goes away; if it is given back before, this is dropped.
async fn lend(lender: &Lender, link: &UnixStream, dial: &Dial) -> io::Result<()> {
    let id = dial.id;
    let Loan { stream, handle, talking } = match lender.dial(dial).await {
        Ok(loan) => loan,
        Err(refusal) => return send(link, &DialAnswer::Refused { id, refusal }, None).await,
    };
    let handing_over = async move {
        send(link, &DialAnswer::Connected(id), Some(stream.as_fd())).await?;
        // The ingress has its own descriptor of it now.
        drop(stream);
        std::future::pending::<io::Result<()>>().await
    };
    tokio::select! {
        biased;
        _ = handle.wait(|observed| !super::runs(observed)) => {}
        broken = handing_over => return broken,
    }
    drop(talking);
    send(link, &DialAnswer::Over(id), None).await
}

/// The next order; `None` when the ingress has left.
async fn receive(link: &UnixStream) -> io::Result<Option<DialOrder>> {
    let mut bytes = [0; ANSWER_BYTES_MAX];
    loop {
        link.readable().await?;
        match link.try_read(&mut bytes) {
            Ok(0) => return Ok(None),
            // What was longer has lost its end, and is no order.
            Ok(length) => return Ok(Some(serde_json::from_slice(&bytes[..length])?)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// A message, and with it the descriptor.
async fn send(link: &UnixStream, answer: &DialAnswer, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let message = serde_json::to_vec(answer)?;
    link.async_io(Interest::WRITABLE, || send_now(link, &message, descriptor)).await
}

fn send_now(link: &UnixStream, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    sendmsg(link, &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}
