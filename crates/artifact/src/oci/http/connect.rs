//! Connections: to which addresses, and how they are made private.
//!
//! A name is looked up once, here, and the connection goes to an address that was checked: a name that means another
//! address a moment later leads nowhere else.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::tls::Tls;
use crate::oci::Settings;
use crate::oci::address::is_public;

/// Why there is no connection.
#[derive(Debug, Clone)]
pub(crate) enum ConnectError {
    /// The operator's rules are against it, now and later.
    Refused(String),
    /// It could not be made.
    Failed(String),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(message) | Self::Failed(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for ConnectError {}

/// Makes connections.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    settings: Arc<Settings>,
    tls: Arc<Tls>,
    /// Whether the operator names the hosts, and so may name their own.
    is_operators: bool,
}

/// Who a connection is to.
struct Target {
    host: String,
    port: u16,
    is_tls: bool,
}

impl Target {
    fn of(uri: &Uri) -> Self {
        let is_tls = uri.scheme_str() != Some("http");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Self { host: uri.host().unwrap_or_default().to_owned(), port, is_tls }
    }

    /// Without the brackets of IPv6.
    fn name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Connector {
    pub(crate) fn new(settings: Arc<Settings>, tls: Arc<Tls>, is_operators: bool) -> Self {
        Self { settings, tls, is_operators }
    }

    async fn connect(&self, target: &Target) -> Result<Wire, ConnectError> {
        let addresses = self.resolve(target).await?;
        let tcp = dial(target, &addresses).await?;
        if !target.is_tls {
            return Ok(Wire(Box::new(tcp)));
        }
        let config = self.tls.for_host(&target.host, target.port).map_err(ConnectError::Refused)?;
        let name = ServerName::try_from(target.name().to_owned())
            .map_err(|_| ConnectError::Refused(format!("{target} is no name a certificate can have")))?;
        let tls =
            TlsConnector::from(config).connect(name, tcp).await.map_err(|error| handshake(target, &error))?;
        Ok(Wire(Box::new(tls)))
    }

    /// The addresses of a host that we may speak to.
    async fn resolve(&self, target: &Target) -> Result<Vec<SocketAddr>, ConnectError> {
        let found = tokio::net::lookup_host((target.name(), target.port)).await;
        let found: Vec<_> = found
            .map_err(|error| ConnectError::Failed(format!("{} cannot be looked up: {error}", target.host)))?
            .collect();
        let may = |address: &SocketAddr| {
            self.is_operators
                || is_public(address.ip())
                || self.settings.allows_private(&target.host, target.port, address.ip())
        };
        let allowed: Vec<_> = found.iter().copied().filter(may).collect();
        match (found.first(), allowed.is_empty()) {
            (Some(first), true) => Err(ConnectError::Refused(private(target, first.ip()))),
            (None, _) => Err(ConnectError::Failed(format!("{} has no address", target.host))),
            _ => Ok(allowed),
        }
    }
}

fn private(target: &Target, address: IpAddr) -> String {
    let host = &target.host;
    let at =
        if target.name() == address.to_string() { String::new() } else { format!(" is at {address}, which") };
    format!(
        "{host}{at} is not on the internet; the operator can allow it with --registry-allow-private {host}"
    )
}

/// The first address that answers.
async fn dial(target: &Target, addresses: &[SocketAddr]) -> Result<TcpStream, ConnectError> {
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(tcp) => {
                drop(tcp.set_nodelay(true));
                return Ok(tcp);
            }
            Err(error) => last = Some(error),
        }
    }
    let error = last.map_or_else(String::new, |error| error.to_string());
    Err(ConnectError::Failed(format!("{target} cannot be connected to: {error}")))
}

/// A certificate that is not believed is not believed the next time either.
fn handshake(target: &Target, error: &io::Error) -> ConnectError {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(why)) => ConnectError::Refused(format!(
            "the certificate of {target} is not believed ({why:?}); \
             the operator can name who signs it with --registry-ca {target}=FILE"
        )),
        Some(rustls::Error::InvalidMessage(_)) => ConnectError::Refused(format!(
            "{target} does not speak TLS; the operator can allow it without with --registry-plain-http {target}"
        )),
        _ => ConnectError::Failed(format!("{target} made no TLS connection: {error}")),
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Wire>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (this, target) = (self.clone(), Target::of(&uri));
        Box::pin(async move {
            let bound = this.settings.patience.connect;
            match tokio::time::timeout(bound, this.connect(&target)).await {
                Ok(made) => made.map(TokioIo::new),
                Err(_) => {
                    let seconds = bound.as_secs();
                    Err(ConnectError::Failed(format!("{target} cannot be connected to within {seconds} s")))
                }
            }
        })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection, private or plain.
pub(crate) struct Wire(Box<dyn Stream>);

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
