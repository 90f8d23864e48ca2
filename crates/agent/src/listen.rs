//! The sockets nodes connect to.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::AbortHandle;

use crate::agent::Agent;
use crate::args::Address;
use crate::connection::{self, Greeted, loopback};
use crate::init;

/// Connections that have not said a valid `Hello`. One more, and the oldest is dropped:
/// processes inside can connect too, and must not keep the node out by being many.
const STRANGERS_MAX: usize = 32;

/// Between two tries to accept while descriptors or memory are short, in milliseconds.
const ACCEPT_RETRY_MS: u64 = 50;

/// Length of the kernel's queue of connections nobody has accepted yet.
const BACKLOG: i32 = 128;

/// What a connection reads and writes.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin {
    /// Has the other side learn, when this is closed, that it did not end as it should; where there is a way to.
    fn break_off(&self) {}
}

impl ByteStream for UnixStream {}

impl ByteStream for TcpStream {
    fn break_off(&self) {
        // Without it, it looks like an end, as it does to whoever talks with a program that was killed.
        let _ = self.set_zero_linger();
    }
}

/// A socket that waits for nodes.
pub enum Listener {
    /// Reached over the sandbox's network.
    Tcp(TcpListener),
    /// Reached over the host's file system.
    Unix(UnixListener),
}

impl Listener {
    /// Starts to listen. Must run in the event loop.
    pub fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => bind_tcp(*address).map(Self::Tcp),
            Address::Unix(path) => UnixListener::bind(path).map(Self::Unix),
        }
    }

    /// Serves every connection; never returns.
    pub async fn accept_all(self, agent: Rc<Agent>) {
        let strangers = Rc::new(Strangers::default());
        loop {
            match self.accept().await {
                Ok(Some(stream)) => strangers.admit(agent.clone(), stream),
                Ok(None) => {}
                Err(_) => tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await,
            }
        }
    }

    /// The next connection, or `None` if it came from inside.
    async fn accept(&self) -> io::Result<Option<Box<dyn ByteStream>>> {
        match self {
            Self::Unix(listener) => Ok(Some(Box::new(listener.accept().await?.0))),
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                if init::is_first_process() && is_from_inside(peer.ip(), stream.local_addr()?.ip()) {
                    return Ok(None);
                }
                // A frame is a message: it should not wait for the next one.
                stream.set_nodelay(true)?;
                Ok(Some(Box::new(stream)))
            }
        }
    }
}

fn bind_tcp(address: std::net::SocketAddr) -> io::Result<TcpListener> {
    let socket =
        if address.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG as u32)
}

/// A node is never on the same machine as the agent it speaks to.
fn is_from_inside(peer: IpAddr, local: IpAddr) -> bool {
    let (peer, local) = (peer.to_canonical(), local.to_canonical());
    peer == local || peer.is_loopback() || local.is_loopback()
}

/// The connections that have not yet shown that they are a node's.
#[derive(Default)]
struct Strangers(RefCell<VecDeque<(u64, AbortHandle)>>);

impl Strangers {
    fn admit(self: &Rc<Self>, agent: Rc<Agent>, stream: Box<dyn ByteStream>) {
        let number = self.0.borrow().back().map_or(0, |(last, _)| last + 1);
        let strangers = self.clone();
        let task = tokio::task::spawn_local(async move {
            let greeted = connection::greet(&agent, stream).await;
            strangers.forget(number);
            // A task of its own, which is no stranger's and cannot be dropped for being one.
            match greeted {
                Some(Greeted::Requests(wire, session)) => {
                    tokio::task::spawn_local(connection::serve(session, wire));
                }
                Some(Greeted::App(wire, app)) => {
                    tokio::task::spawn_local(loopback::relay(wire, app));
                }
                None => {}
            }
        });
        let mut strangers = self.0.borrow_mut();
        strangers.push_back((number, task.abort_handle()));
        if strangers.len() > STRANGERS_MAX
            && let Some((_, oldest)) = strangers.pop_front()
        {
            oldest.abort();
        }
    }

    fn forget(&self, number: u64) {
        self.0.borrow_mut().retain(|(other, _)| *other != number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_machines_are_nodes() {
        let is_inside =
            |peer: &str, local: &str| is_from_inside(peer.parse().unwrap(), local.parse().unwrap());
        assert!(!is_inside("172.16.0.1", "172.16.0.2"));
        assert!(is_inside("172.16.0.2", "172.16.0.2"));
        assert!(is_inside("127.0.0.1", "172.16.0.2"));
        assert!(is_inside("172.16.0.2", "127.0.0.1"));
        assert!(is_inside("::ffff:127.0.0.5", "127.0.0.1"));
    }
}
