//! The way to a port of a sandbox: a connection that somebody with more rights made, and lends us.

mod link;
mod local;
mod prompt;

use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use wire::ingress::{DialRefusal, Route};

pub use local::LocalNode;

/// Bytes both ways.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Completes when the sandbox goes away, and with it the connection. Dropped, it says that the connection is given back.
pub type Lease = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection to a port of a sandbox.
pub struct Line {
    /// The connection.
    pub wire: Box<dyn Wire>,
    /// For how long it is ours.
    pub lease: Lease,
}

/// A dial under way.
pub type Dialling<'a> = Pin<Box<dyn Future<Output = Result<Line, DialRefusal>> + Send + 'a>>;

/// Makes connections into sandboxes.
pub trait Dial: Send + Sync + 'static {
    /// A new connection to where `route` leads, waiting for somebody to listen there, `wait` at most.
    fn dial<'a>(&'a self, route: &'a Route, wait: Duration) -> Dialling<'a>;
}
