//! The node on this host: it dials, and hands us the descriptor over a Unix socket, so that no byte takes a detour.
//!
//! One link carries all that is asked of it; one that broke is made anew when the next connection is wanted.

use std::fmt::Display;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::{AddressFamily, sockopt};
use tokio::net::{TcpStream, UnixStream};
use wire::ingress::{DialRefusal, DialRefusalCode, Route};

use super::link::{Broken, Link};
use super::prompt::Prompt;
use super::{Dial, Dialling, Lease, Line, Wire};

/// What the node may take longer than it was to wait.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// See the module.
pub struct LocalNode {
    socket: PathBuf,
    link: Mutex<Option<Arc<Link>>>,
}

impl LocalNode {
    /// The node that lends connections on this socket.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, link: Mutex::default() }
    }

    async fn borrow(&self, route: &Route, wait: Duration) -> Result<Line, DialRefusal> {
        let asked = tokio::time::timeout(wait + ANSWER_GRACE, self.ask(route, wait)).await;
        let (descriptor, lease) = asked.map_err(|_| unreachable("it does not answer"))??;
        line(descriptor, lease).map_err(unreachable)
    }

    /// Asks once more if the link is found to be broken: the node may be another process by now.
    async fn ask(&self, route: &Route, wait: Duration) -> Result<(OwnedFd, Lease), DialRefusal> {
        let link = self.link().map_err(unreachable)?;
        if let Ok(answer) = link.borrow(route, wait).await {
            return answer;
        }
        let link = self.link().map_err(unreachable)?;
        link.borrow(route, wait).await.unwrap_or_else(|Broken| Err(unreachable("its link broke")))
    }

    fn link(&self) -> io::Result<Arc<Link>> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = link.as_ref().filter(|link| link.is_open()) {
            return Ok(open.clone());
        }
        let fresh = Arc::new(Link::open(&self.socket)?);
        *link = Some(fresh.clone());
        Ok(fresh)
    }
}

impl Dial for LocalNode {
    fn dial<'a>(&'a self, route: &'a Route, wait: Duration) -> Dialling<'a> {
        Box::pin(self.borrow(route, wait))
    }
}

pub(super) fn unreachable(why: impl Display) -> DialRefusal {
    DialRefusal { code: DialRefusalCode::Unreachable, message: format!("the sandbox's node: {why}") }
}

fn line(descriptor: OwnedFd, lease: Lease) -> io::Result<Line> {
    rustix::io::ioctl_fionbio(&descriptor, true)?;
    let wire: Box<dyn Wire> = match sockopt::socket_domain(&descriptor)? {
        // An agent that is reached over the host's file system, and has become the app's.
        AddressFamily::UNIX => Box::new(UnixStream::from_std(descriptor.into())?),
        _ => Box::new(Prompt::new(TcpStream::from_std(descriptor.into())?)),
    };
    Ok(Line { wire, lease })
}

#[cfg(test)]
mod tests;
