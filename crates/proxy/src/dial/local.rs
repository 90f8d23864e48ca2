//! The node on this host: it dials, and hands us the descriptor over a Unix socket, so that no byte takes a detour.
//!
//! That socket stays open as long as the connection is in use: the node closes it when the sandbox goes away, and we
//! when we need the connection no more.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::{AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UnixStream};
use wire::ingress::{ANSWER_BYTES_MAX, Dial as Order, DialAnswer, DialRefusal, DialRefusalCode, Route};

use super::prompt::Prompt;
use super::{Dial, Dialling, Lease, Line, Wire};

/// What the node may take longer than it was to wait.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Clone)]
pub struct LocalNode {
    socket: PathBuf,
}

impl LocalNode {
    /// The node that lends connections on this socket.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    async fn borrow(&self, route: &Route, wait: Duration) -> Result<Line, DialRefusal> {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let order = Order { sandbox: route.sandbox.clone(), port: route.port, wait_ms };
        let asking = ask(&self.socket, &order);
        let asked = tokio::time::timeout(wait + ANSWER_GRACE, asking).await;
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the node does not answer");
        let (answer, descriptor, link) = asked.map_err(late).flatten().map_err(unreachable)?;
        match (answer, descriptor) {
            (DialAnswer::Connected, Some(descriptor)) => line(descriptor, link).map_err(unreachable),
            (DialAnswer::Connected, None) => Err(unreachable(io::Error::other("no descriptor came"))),
            (DialAnswer::Refused(refusal), _) => Err(refusal),
        }
    }
}

impl Dial for LocalNode {
    fn dial<'a>(&'a self, route: &'a Route, wait: Duration) -> Dialling<'a> {
        Box::pin(self.borrow(route, wait))
    }
}

fn unreachable(error: io::Error) -> DialRefusal {
    DialRefusal { code: DialRefusalCode::Unreachable, message: format!("the sandbox's node: {error}") }
}

async fn ask(socket: &PathBuf, order: &Order) -> io::Result<(DialAnswer, Option<OwnedFd>, UnixStream)> {
    let mut link = UnixStream::connect(socket).await?;
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    link.write_all(&line).await?;
    let (answer, descriptor) = receive(&link).await?;
    Ok((answer, descriptor, link))
}

/// A line, and the descriptor that came with its first byte.
async fn receive(link: &UnixStream) -> io::Result<(DialAnswer, Option<OwnedFd>)> {
    let (mut line, mut descriptor) = (Vec::new(), None);
    while !line.ends_with(b"\n") && line.len() < ANSWER_BYTES_MAX {
        let (bytes, with_it) = link.async_io(Interest::READABLE, || receive_some(link)).await?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.extend_from_slice(&bytes);
        descriptor = descriptor.or(with_it);
    }
    Ok((serde_json::from_slice(&line)?, descriptor))
}

fn receive_some(link: &UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut bytes = vec![0; ANSWER_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut pieces = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(link, &mut pieces, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptor = descriptors.flatten().next();
    bytes.truncate(received);
    Ok((bytes, descriptor))
}

fn line(descriptor: OwnedFd, link: UnixStream) -> io::Result<Line> {
    rustix::io::ioctl_fionbio(&descriptor, true)?;
    let wire: Box<dyn Wire> = match sockopt::socket_domain(&descriptor)? {
        // An agent that is reached over the host's file system, and has become the app's.
        AddressFamily::UNIX => Box::new(UnixStream::from_std(descriptor.into())?),
        _ => Box::new(Prompt::new(TcpStream::from_std(descriptor.into())?)),
    };
    let lease: Lease = Box::pin(ended(link));
    Ok(Line { wire, lease })
}

/// The node says no more on this link; it can only end it.
async fn ended(mut link: UnixStream) {
    let _ = link.read_u8().await;
}
