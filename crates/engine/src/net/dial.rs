//! TCP to a port inside a sandbox, through its policy namespace.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::{INSIDE, on_own_thread};
use crate::Error;

/// How long the first attempt may take; each later one twice as long as the one before. The engine loses packets while
/// it takes the wire over, and TCP itself would wait a second before it repeats one.
const ATTEMPT_WAIT_MIN: Duration = Duration::from_millis(5);
/// How long an attempt may take at most, which is what a host under heavy load needs.
const ATTEMPT_WAIT_MAX: Duration = Duration::from_millis(500);
/// How long to wait after the first attempt that was refused: nobody listens yet. After each later one twice as long.
const REFUSED_WAIT_MIN: Duration = Duration::from_millis(2);
/// How long at most for the agent, which listens as soon as it runs.
pub(crate) const AGENT_REFUSED_WAIT_MAX: Duration = REFUSED_WAIT_MIN;
/// How long sent bytes may stay unacknowledged. A killed sandbox says nothing, but its process's end is seen sooner.
///
/// Longer than an agent may be silent: whoever asks it knows better who it is that does not answer.
const UNACKNOWLEDGED_MS_MAX: u32 = 180_000;
/// How long a connection may be silent before the other side is asked whether it is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// Connects to `port` inside, `bound` at most: again and again where it is not answered, and, at least every
/// `refused_wait_max`, where it is refused; without that, a refusal is the last word.
///
/// # Errors
/// [`Error::Timeout`] when nobody answered at all; [`Error::Io`] when the connection was refused to the end, or the
/// namespace is unusable.
pub(crate) async fn connect(
    namespace: &File,
    port: u16,
    bound: Duration,
    refused_wait_max: Option<Duration>,
) -> Result<TcpStream, Error> {
    let deadline = Instant::now() + bound;
    let what = || format!("opening a socket to port {port} of a sandbox");
    let (mut attempt_wait, mut refused_wait) = (ATTEMPT_WAIT_MIN, REFUSED_WAIT_MIN);
    let mut refusal = None;
    loop {
        let socket = open(namespace).await.map_err(Error::io(what()))?;
        let address = SocketAddr::V4(SocketAddrV4::new(INSIDE.address, port));
        match tokio::time::timeout(attempt_wait, socket.connect(address)).await {
            Ok(Ok(stream)) => return tuned(stream).map_err(Error::io(what())),
            Ok(Err(error)) => {
                let Some(wait_max) = refused_wait_max else { return Err(Error::io(what())(error)) };
                refusal = Some(error);
                tokio::time::sleep(refused_wait).await;
                refused_wait = wait_max.min(refused_wait * 2);
            }
            Err(_) => attempt_wait = ATTEMPT_WAIT_MAX.min(attempt_wait * 2),
        }
        if Instant::now() >= deadline {
            return Err(match refusal {
                Some(error) => Error::io(what())(error),
                None => Error::Timeout { what: "the answer of a port inside a sandbox", bound },
            });
        }
    }
}

/// A socket that belongs to the namespace; it can be used from anywhere.
async fn open(namespace: &File) -> io::Result<TcpSocket> {
    let namespace: OwnedFd = namespace.try_clone()?.into();
    let socket = on_own_thread(move || {
        rustix::thread::move_into_link_name_space(namespace.as_fd(), None)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Ok(rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?)
    });
    let socket = socket.await?.into_raw_fd();
    // SAFETY: the descriptor was just taken out of its owner and is a TCP socket.
    Ok(unsafe { TcpSocket::from_raw_fd(socket) })
}

fn tuned(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    sockopt::set_tcp_user_timeout(&stream, UNACKNOWLEDGED_MS_MAX)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, KEEPALIVE_IDLE)?;
    Ok(stream)
}
